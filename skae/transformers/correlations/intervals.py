"""Likelihood intervals of g²(0), also where it has to be found where zero delay is."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2

from skae.transformers.correlations.likelihood import Histograms, information, maximise
from skae.transformers.correlations.model import CorrelationModel
from skae.transformers.correlations.search import Fits

# The share of what an interval may miss that is spent on finding the place, and the threshold where
# there is but one.
_OF_THE_SEARCH = 0.2
_NEVER = np.inf

# Roots of deviances at the ends are exact to this, deviances to that; so many values are tried, the first
# no further away, and none further than the last of these.
_PRECISION, _TOLERANCE = 2e-3, 1e-5
_MOST_TRIALS, _MOST_STEP, _FURTHEST = 40, 4.0, 1e4

# Where quantiles are tabulated: standard deviations that g²(0) is away from 1, and deviances.
_DISTANCES = np.linspace(0.0, 9.0, 37)
_DEVIANCES = np.linspace(0.0, 100.0, 2001)
_NORMAL = np.linspace(-6.0, 6.0, 2401)


def intervals(
    model: CorrelationModel, data: Histograms, fits: Fits, confidence: float
) -> np.ndarray:
    """Return the lower and upper ends of intervals of g²(0), ``(n, 2)``.

    The interval of a place, of zero delay and of the lifetime, holds the values whose deviance, with
    all else fitted anew, is above the place's own by no more than the quantile of χ² with one degree of
    freedom (Wilks, 1938). Where no place stands out from what the best of so many is by chance, it is
    the hull of those of all places, and of 1, where all places are alike.
    """
    n, n_places = fits.deviances.shape
    search = Search.of(model, fits, confidence)
    several = ~search.stands_out(model, data, fits)
    profiles = _Profiles(model, data, fits, search)
    profiles.holds &= (several[:, None] | (np.arange(n_places) == 0)).ravel()
    ends = [_ends(profiles, side).reshape(n, n_places) for side in (0, 1)]
    low, high = model.bounds["g2_zero"]
    one = np.where(several & (low <= 1.0 <= high) & (search.threshold < _NEVER), 1.0, np.nan)
    ends = [np.concatenate([end, one[:, None]], axis=1) for end in ends]
    return np.stack([np.nanmin(ends[0], axis=1), np.nanmax(ends[1], axis=1)], axis=1)


@dataclass(frozen=True)
class Search:
    """What looking for zero delay and a lifetime costs, in each row.

    Attributes
    ----------
    threshold : ndarray of shape (n,)
        What the deviance of the best place gains over light that is the same everywhere, by chance.
    own : ndarray of shape (n, n_distances)
        By how much the deviance of a place may rise above its own, by the distance of g²(0) from 1.
    """

    threshold: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, model: CorrelationModel, fits: Fits, confidence: float) -> "Search":
        """Return that of fits."""
        low, high = (bound[model.lifetimes[0]] for bound in model.limits)
        first, last = model.bounds["zero_delay"]
        border = area = 0.0
        if not model.is_pulsed:
            narrowest = min(max(low, 0.5 * model.bins.widths.min()), high)
            border = 0.5 * np.log(high / narrowest)
            border += 0.5 * (last - first) * (1.0 / narrowest + 1.0 / high)
            area = 0.5 * (last - first) * (1.0 / narrowest - 1.0 / high)
        tables = {
            trials: _table(confidence, int(trials), border, area) for trials in set(fits.trials)
        }
        rows = [tables[trials] for trials in fits.trials]
        return cls(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))

    def stands_out(self, model: CorrelationModel, data: Histograms, fits: Fits) -> np.ndarray:
        """Return in which rows the best place is better than chance makes one."""
        gain = (fits.plain_deviance - fits.deviance) / noise_of(model, data, fits)
        return (gain > self.threshold) | (self.threshold == _NEVER)

    def at(self, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Return the rises that are allowed, at distances in standard deviations."""
        place = np.clip(distances / _DISTANCES[1], 0.0, len(_DISTANCES) - 1.0)
        below = np.minimum(place.astype(int), len(_DISTANCES) - 2)
        left, right = self.own[rows, below], self.own[rows, below + 1]
        return left + (place - below) * (right - left)


@lru_cache(maxsize=256)
def _table(confidence, trials, border, area):
    r"""Return what the best of all places gains by chance, and what a place's own deviance may rise by.

    With z of the true place, δ the distance from 1 and M the largest gain of the others, the interval
    misses where :math:`z^2` is too large, or where M is above the threshold, and above
    :math:`(\delta + z)^2`, which is what the true place gains. M is that of independent peaks, or of a
    field over delays and lifetimes, of which ``border`` and ``area`` are half the boundary's length and
    the area in units of its correlation (Adler & Taylor, 2007).
    """
    if trials == 1 and border == area == 0.0:
        return _NEVER, np.full(len(_DISTANCES), chi2.ppf(confidence, 1))
    if trials > 1:
        below = (2.0 * ndtr(np.sqrt(_DEVIANCES)) - 1.0) ** (trials - 1)
    else:
        density = border / (2.0 * np.pi) + area * np.sqrt(_DEVIANCES) / (2.0 * np.pi) ** 1.5
        below = np.exp(-2.0 * density * np.exp(-0.5 * _DEVIANCES))
        below[: below.argmin()] = below.min()
    threshold = np.interp(1.0 - _OF_THE_SEARCH * (1.0 - confidence), below, _DEVIANCES)
    z = _NORMAL[np.argsort(np.abs(_NORMAL), kind="stable")]
    weight = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    gains = np.maximum(threshold, (_DISTANCES[:, None] + z) ** 2)
    covered = np.cumsum(weight * np.interp(gains, _DEVIANCES, below), axis=1)
    own = [np.interp(confidence, row, np.abs(z)) ** 2 for row in covered]
    return threshold, np.array(own)


def noise_of(model: CorrelationModel, data: Histograms, fits: Fits) -> np.ndarray:
    """Return the variance that deviances are in units of: 1 for counts."""
    if not model.gaussian:
        return np.ones(len(fits.deviance))
    n_free = (model.limits[0] < model.limits[1]).sum()
    return np.maximum(fits.deviance / np.maximum(data.known.sum(axis=1) - n_free, 1.0), 1e-300)


class _Profiles:
    """Deviances at values of g²(0), all else fitted anew: for each row, and each place."""

    def __init__(self, model, data, fits, search):
        n, n_places = fits.deviances.shape
        self.model, self.search = model, search
        self.row = np.repeat(np.arange(n), n_places)
        self.data = data[self.row]
        self.index = model.index["g2_zero"]
        self.best = fits.places.reshape(n * n_places, -1)
        self.own = fits.deviances.ravel()
        self.holds = np.isfinite(self.own)
        self.noise = noise_of(model, data, fits)[self.row]
        self.begin()
        self.start = self.best[:, self.index].copy()
        plain = fits.plain_deviance[self.row]
        self.root_of_one = np.sign(1.0 - self.start) * self._root(np.arange(len(self.row)), plain)

    def begin(self):
        """Begin at the best parameters again."""
        self.values = self.best.copy()

    def _root(self, rows, deviance):
        return np.sqrt(np.maximum(deviance - self.own[rows], 0.0) / self.noise[rows])

    def excess(self, rows, value):
        """Return by how much the root of the deviance is above what is allowed, after fitting anew.

        The next fit begins at parameters that were allowed: those beyond may be in another valley.
        """
        start = self.values[rows]
        start[:, self.index] = value
        values, deviance = maximise(
            self.model, self.data[rows], start, fixed=("g2_zero",), tolerance=_TOLERANCE
        )
        root = self._root(rows, deviance)
        distance = np.abs(self.root_of_one[rows] - np.sign(value - self.start[rows]) * root)
        excess = root - np.sqrt(self.search.at(self.row[rows], distance))
        self.values[rows] = np.where((excess > 0.0)[:, None], self.values[rows], values)
        return excess

    def first_steps(self):
        """Return how far to look at first: the Cramér–Rao error, all else fixed, times a quantile."""
        spread = information(self.model, self.data, self.values)[:, self.index, self.index]
        error = 1.0 / np.sqrt(np.maximum(spread, 1e-30))
        return np.clip(1.5 * error * np.sqrt(self.search.own[self.row, -1]), 1e-6, _MOST_STEP)


def _ends(profiles, side):
    """Return where the intervals end on one side, for each row and place; NaN where none begins."""
    sign, limit = (-1.0, 1.0)[side], profiles.model.bounds["g2_zero"][side]
    profiles.begin()
    inner = np.where(profiles.holds, profiles.start, np.nan)
    ends, outer = inner.copy(), np.full(len(inner), np.nan)
    at_inner, at_outer = np.full(len(inner), -0.5), np.full(len(inner), np.nan)
    step = profiles.first_steps()
    active = np.flatnonzero(np.isfinite(inner) & (inner != limit))
    for _ in range(_MOST_TRIALS):
        if not len(active):
            break
        bracketed = np.isfinite(at_outer[active])
        share = at_inner[active] / (at_inner[active] - at_outer[active])
        share = np.clip(share, 0.05, 0.95)
        between = inner[active] + share * (outer[active] - inner[active])
        beyond = inner[active] + sign * step[active]
        beyond = np.minimum(beyond, limit) if sign > 0.0 else np.maximum(beyond, limit)
        trial = np.where(bracketed, between, beyond)
        excess = profiles.excess(active, trial)
        above = excess > 0.0
        for mask, place, at in ((above, outer, at_outer), (~above, inner, at_inner)):
            place[active[mask]], at[active[mask]] = trial[mask], excess[mask]
        step[active] *= 2.0
        ends[active] = trial
        reach = np.abs(trial - profiles.start[active])
        close = bracketed & (np.abs(excess) < _PRECISION)
        narrow = bracketed & (np.abs(outer[active] - inner[active]) < 0.1 * _PRECISION * reach)
        endless = ~above & (reach > _FURTHEST)
        ends[active[endless]] = limit
        active = active[~(close | narrow | endless | (~above & (trial == limit)))]
    return ends
