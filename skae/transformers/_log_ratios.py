"""The arithmetic of log-ratios, both ways: rows of parts and their totals, in float64."""

import numpy as np

#: what a network may ask for without overflow on the way back
_LARGEST = 1e100


SINGLE = ("logit", "log1p")  # kinds that look at each part by itself


def largest_fraction(epsilon: float) -> float:
    """Return the fraction below which the logit is defined: 1 + R/(1 − 2R)."""
    return (1.0 - epsilon) / (1.0 - 2.0 * epsilon)


def single_forward(
    kind: str, parts: np.ndarray, total: np.ndarray, epsilon: float, out: np.ndarray
) -> None:
    """Transform parts ``(m, p)`` one by one into ``out``; a part of 0 gives exactly 0."""
    if kind == "log1p":
        # Single precision loses nothing here, but what lies backwards in memory is copied: there NumPy
        # takes another log1p, whose last digit differs.
        np.log1p(parts if min(parts.strides) >= 0 else parts.copy(), out=out)
        return
    # logit(R + aε) − logit(R) in one logarithm that keeps the digits of a small ε, a = 1 − 2R
    a = 1.0 - 2.0 * epsilon
    x = parts.astype(np.float64)
    x /= np.where(total > 0.0, total, 1.0)
    rest = x * (-a / (1.0 - epsilon))
    rest += 1.0
    x *= a / (epsilon * (1.0 - epsilon))
    x /= rest
    out[:] = np.log1p(x, out=x)


def single_backward(kind: str, z: np.ndarray, total: np.ndarray, epsilon: float) -> np.ndarray:
    """Bring parts back, in place; what would be negative is 0, and so are all where the total is."""
    np.clip(z, 0.0, None, out=z)
    np.expm1(z, out=z)
    if kind == "logit":
        # ε = w / (c + b·w), written so that w = 0 and w = ∞ have their limits
        a = 1.0 - 2.0 * epsilon
        np.divide(a / (epsilon * (1.0 - epsilon)), z, out=z)
        z += a / (1.0 - epsilon)
        np.divide(total, z, out=z)
    z[total[:, 0] <= 0.0] = 0.0
    return z


def composition_forward(
    kind: str, x: np.ndarray, total: np.ndarray, epsilon: float, base: int
) -> np.ndarray:
    """Transform compositions ``(m, d)``; ``base`` is the part that alr divides by."""
    logs = np.where(x > 0.0, x, epsilon * total)
    logs[total[:, 0] <= 0.0] = 1.0
    np.log(logs, out=logs)
    if kind == "alr":
        return np.delete(logs - logs[:, base : base + 1], base, axis=1)
    if kind == "clr":
        return logs - logs.mean(axis=1, keepdims=True)
    # ilr in the basis of Egozcue et al. (2003): z_j = √(j/(j+1)) (mean of the first j logs − log x_{j+1})
    j = np.arange(1, x.shape[1])
    return np.sqrt(j / (j + 1.0)) * (np.cumsum(logs[:, :-1], axis=1) / j - logs[:, 1:])


def composition_backward(
    kind: str, z: np.ndarray, total: np.ndarray, base: int, *, is_sum: bool
) -> np.ndarray:
    """Bring compositions back; ``total`` is their sum, or the part number ``base``."""
    z = np.clip(z, -_LARGEST, _LARGEST)
    if kind == "alr":
        logs = np.insert(z, base, 0.0, axis=1)
    elif kind == "clr":
        logs = z
    else:
        logs = _inverse_ilr(z)
    if not is_sum:
        x = total * np.exp(logs - logs[:, base : base + 1])
    else:
        x = np.exp(logs - logs.max(axis=1, keepdims=True))
        x *= total / x.sum(axis=1, keepdims=True)
    x[total[:, 0] <= 0.0] = 0.0
    return x


def _inverse_ilr(z):
    j = np.arange(1, z.shape[1] + 1)
    logs = np.zeros((len(z), z.shape[1] + 1))
    logs[:, :-1] = np.cumsum((z / np.sqrt(j * (j + 1.0)))[:, ::-1], axis=1)[:, ::-1]
    logs[:, 1:] -= z * np.sqrt(j / (j + 1.0))
    return logs
