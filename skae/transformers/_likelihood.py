r"""The arithmetic of the Box–Cox power: its maximum-likelihood value for many columns at once.

Write :math:`l = \log x` less its mean and :math:`y_\lambda = (e^{\lambda l} - 1)/\lambda`. The
log-likelihood of λ is then :math:`-\frac n2 \log\operatorname{Var}(y_\lambda)` and a constant, and
since :math:`y_\lambda(l) - y_\lambda(l') = \int_{l'}^{l} e^{\lambda s}\,ds`, the variance is a mixture
of exponentials in λ with positive weights: its logarithm is convex. So there is one maximum, and
Newton's method inside a bracket finds it.
"""

from dataclasses import dataclass

import numpy as np

#: below this power of the standardised logs, exp(λl) − 1 would lose digits and expm1 is used
SMALL_POWER = 1e-2
#: below this one, 1/λ would, and the likelihood's expansion around 0 is used
TINY_POWER = 1e-5

#: rows that Newton's method starts on
_SAMPLE = 2048
#: a sample that varies less, beside the column, says nothing of it
_SMALLEST_SPREAD = 1e-3
#: logs that are worked on at a time: with their scratch arrays they fit into a core's cache
_PIECE_SIZE = 2**14
_TOLERANCE = 1e-9
_MAX_STEPS = 100


def largest_power(log_range: np.ndarray, precision: float) -> np.ndarray:
    r"""Return the largest \|λ\| at which a column whose logs span ``log_range`` comes back.

    The power stretches the logs so that steps at the flat end are
    :math:`(e^{|\lambda| R} - 1)/|\lambda|` times finer than the whole; where that exceeds
    ``precision`` (tolerated error by rounding error) they drown in rounding.
    """
    with np.errstate(divide="ignore"):
        ratio = precision / log_range
    product = np.full_like(ratio, 50.0)
    for _ in range(60):  # a contraction towards the solution of expm1(w) = w · ratio
        product = np.log1p(product * np.minimum(ratio, 1e300))
    return np.where(ratio > 1.0, product, 0.0) / np.maximum(log_range, 1e-300)


def most_likely_power(
    logs: np.ndarray, count: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return the maximum-likelihood power of each row of logs ``(n_columns, n)``.

    They have zero mean and unit variance, and are 0 where a value is missing. ``count`` is how many are
    not; ``lower`` and ``upper`` are bounds of the power, one on each side of 0: all ``(n_columns,)``.
    """
    start = np.zeros(len(logs))
    step = logs.shape[1] // _SAMPLE
    if step > 4:
        # a sample brings the power close, so that the whole takes three steps
        sample = logs[:, ::step]
        sample = sample - sample.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.mean(sample * sample, axis=1))
        usable = np.flatnonzero(spread > _SMALLEST_SPREAD)
        spread = spread[usable]
        size = np.full(len(usable), sample.shape[1])
        found = _newton(
            sample[usable] / spread[:, None],
            size,
            start[usable],
            lower[usable] * spread,
            upper[usable] * spread,
        )
        start[usable] = found / spread
    return _newton(logs, count, start, lower, upper)


@dataclass
class _Bracket:
    """Bracket of the maximum: two ends, whose slopes have been seen or not."""

    low: np.ndarray
    high: np.ndarray
    low_seen: np.ndarray
    high_seen: np.ndarray

    def narrow(self, rows: np.ndarray, power: np.ndarray, slope: np.ndarray) -> None:
        up = slope > 0.0  # of minus the likelihood: the maximum lies below
        self.high[rows[up]], self.high_seen[rows[up]] = power[up], True
        self.low[rows[~up]], self.low_seen[rows[~up]] = power[~up], True

    def step(self, rows: np.ndarray, proposal: np.ndarray) -> np.ndarray:
        """Keep a proposal inside; an end that has been seen is not tried again."""
        low, high = self.low[rows], self.high[rows]
        middle = 0.5 * (low + high)
        inside = np.clip(np.where(np.isfinite(proposal), proposal, middle), low, high)
        again = ((inside <= low) & self.low_seen[rows]) | ((inside >= high) & self.high_seen[rows])
        return np.where(again, middle, inside)


def _newton(logs, count, start, lower, upper):
    n_columns = len(logs)
    unseen = np.zeros(n_columns, dtype=bool)
    bracket = _Bracket(lower.copy(), upper.copy(), unseen.copy(), unseen.copy())
    power = np.clip(start, lower, upper)
    cube, fourth = _third_and_fourth_moments(logs, count)
    active = np.arange(n_columns)
    for _ in range(_MAX_STEPS):
        if not len(active):
            break
        slope, curvature = _derivatives(
            logs, active, power[active], count[active], cube[active], fourth[active]
        )
        bracket.narrow(active, power[active], slope)
        proposal = bracket.step(active, power[active] - slope / curvature)
        at_bound = ((power[active] >= upper[active]) & (slope <= 0.0)) | (
            (power[active] <= lower[active]) & (slope >= 0.0)
        )
        proposal[at_bound] = power[active][at_bound]
        moved = np.abs(proposal - power[active]) > _TOLERANCE * (1.0 + np.abs(proposal))
        power[active] = proposal
        active = active[moved]
    return power


def _third_and_fourth_moments(logs, count):
    cube, fourth = np.zeros(len(logs)), np.zeros(len(logs))
    for part in _pieces(logs, np.arange(len(logs))):
        square = part * part
        cube += np.vecdot(square, part)
        fourth += np.vecdot(square, square)
    return cube / count, fourth / count


def _pieces(logs, rows):
    """Walk along the rows in pieces that fit into the cache."""
    length = max(256, _PIECE_SIZE // max(1, len(rows)))
    everything = len(rows) == len(logs)
    for start in range(0, logs.shape[1], length):
        piece = logs[:, start : start + length]
        yield piece if everything else piece[rows]


def _derivatives(logs, rows, power, count, cube, fourth):
    """First and second derivative by λ of half the logarithm of the variance."""
    # with v = exp(λl) − 1, missing values (l = 0) add nothing to any of these sums
    sums = np.zeros((6, len(rows)))
    small = np.abs(power) < SMALL_POWER
    for part in _pieces(logs, rows):
        v = part * power[:, None]
        if small.all():
            np.expm1(v, out=v)
        else:
            slow = np.expm1(v[small])
            np.exp(v, out=v)
            v -= 1.0
            v[small] = slow
        lv = part * v
        sums[0] += v.sum(axis=1)
        sums[1] += np.vecdot(v, v)
        sums[2] += lv.sum(axis=1)
        sums[3] += np.vecdot(lv, v)
        sums[4] += np.vecdot(part, lv)
        sums[5] += np.vecdot(lv, lv)
    v, vv, lv, lvv, llv, llvv = sums / count
    variance = vv - v * v
    # u = 1 + v; the derivatives of Var(u) are 2 Cov(u, lu) and 2 Var(lu) + 2 Cov(u, l²u)
    first = lv + lvv - v * lv
    second = (1.0 + 2.0 * llv + llvv - lv * lv) + (llv + llvv - v * (1.0 + llv))
    tiny = np.abs(power) < TINY_POWER
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = first / variance - 1.0 / power
        curvature = second / variance - 2.0 * (first / variance) ** 2 + 1.0 / power**2
    curvature_at_0 = (7.0 * fourth - 3.0) / 12.0 - 0.5 * cube**2
    slope = np.where(tiny, 0.5 * cube + power * curvature_at_0, slope)
    return slope, np.where(tiny, curvature_at_0, curvature)
