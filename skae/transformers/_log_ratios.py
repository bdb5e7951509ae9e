"""The arithmetic of log-ratios, both ways: rows of parts and their totals, in float64.

What looks at each part by itself is written for any array namespace ``xp``, NumPy's or another's.
"""

from typing import Any

import numpy as np

#: what a network may ask for without overflow on the way back
_LARGEST = 1e100


SINGLE = ("logit", "log1p")  # kinds that look at each part by itself


def largest_fraction(epsilon: float) -> float:
    """Return the fraction below which the logit is defined: 1 + R/(1 − 2R)."""
    return (1.0 - epsilon) / (1.0 - 2.0 * epsilon)


def take_reference(x: Any, reference: int, xp: Any = np) -> tuple[Any, Any]:
    """Split rows into parts ``(m, d - 1)`` and the column of their total ``(m, 1)``."""
    k = reference
    parts = x[:, 1:] if k == 0 else xp.concat([x[:, :k], x[:, k + 1 :]], axis=1)
    return parts, x[:, k : k + 1]


def put_reference(parts: Any, total: Any, reference: int, xp: Any = np) -> Any:
    """Put the column of the total back among the parts."""
    return xp.concat([parts[:, :reference], total, parts[:, reference:]], axis=1)


def drop_below(parts: Any, threshold: float, xp: Any = np) -> Any:
    """Return parts with zeros where they are below the threshold."""
    return xp.where(parts < threshold, 0.0, parts)


def single_forward(
    kind: str, parts: Any, total: Any, epsilon: float, xp: Any = np, out: Any = None
) -> Any:
    """Transform parts ``(m, p)`` one by one, into ``out`` if given; a part of 0 gives exactly 0."""
    if kind == "logit":
        parts = _relative_odds(parts, total, epsilon, xp)
    elif xp is np and min(parts.strides) < 0:
        # Single precision loses nothing here, but what lies backwards in memory is copied: there NumPy
        # takes another log1p, whose last digit differs.
        parts = parts.copy()
    return xp.log1p(parts, out=out)


def _relative_odds(parts, total, epsilon, xp):
    """Return the odds of R + aε over those of R, less 1, a = 1 − 2R: the digits of a small ε are kept."""
    a = 1.0 - 2.0 * epsilon
    x = xp.asarray(parts, dtype=xp.float64, copy=True)
    x /= xp.where(total > 0.0, total, 1.0)
    rest = x * (-a / (1.0 - epsilon))
    rest += 1.0
    x *= a / (epsilon * (1.0 - epsilon))
    x /= rest
    return x


def single_backward(
    kind: str, z: Any, total: Any, epsilon: float, threshold: float, xp: Any = np
) -> Any:
    """Bring parts back, in place.

    What would be below the threshold, or negative, is 0, and so are all where the total is.
    """
    z = xp.clip(z, 0.0, None, out=z)
    z = xp.expm1(z, out=z)
    if kind == "logit":
        # ε = w / (c + b·w), written so that w = 0 and w = ∞ have their limits
        a = 1.0 - 2.0 * epsilon
        c = xp.asarray(a / (epsilon * (1.0 - epsilon)), dtype=xp.float64)
        z = xp.divide(c, z, out=z)
        z += a / (1.0 - epsilon)
        z = xp.divide(total, z, out=z)
    xp.copyto(z, 0.0, where=(z < threshold) | (total <= 0.0))
    return z


def composition_forward(
    kind: str, x: np.ndarray, total: np.ndarray, epsilon: float, base: int, *, is_sum: bool
) -> np.ndarray:
    """Transform compositions ``(m, d)``; ``base`` is the part that alr divides by.

    A zero becomes ``epsilon`` of the total. Where that is the sum, the others make room for it in
    proportion: the multiplicative replacement of Martín-Fernández et al. (2003).
    """
    lit = x > 0.0
    room = 1.0 - epsilon * (~lit).sum(axis=1, keepdims=True) if is_sum else 1.0
    logs = np.where(lit, x * room, epsilon * total)
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
