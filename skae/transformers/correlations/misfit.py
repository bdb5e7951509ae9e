"""Whether a fitted histogram looks like one that its curve would give."""

from functools import lru_cache

import numpy as np
from scipy.special import gammaln, kl_div
from scipy.stats import norm, poisson
from sklearn.utils import Bunch

from skae.transformers.correlations.likelihood import Histograms, deviances
from skae.transformers.correlations.model import CorrelationModel

# Means at which a bin's expected deviance is summed up exactly.
_MEANS = np.geomspace(1e-6, 1e3, 361)

# Windows that are compared reach from a bin to this share of the histogram.
_LARGEST_WINDOW = 0.25

# A fit is poor where chance gives as large a deviance, in standard deviations, or as unlikely a window.
_DEVIATIONS = 3.5
_CHANCE = 0.02


def goodness(model: CorrelationModel, data: Histograms, values: np.ndarray) -> Bunch:
    """Return how well curves describe histograms: see ``PhotonCorrelationFit.goodness_of_fit``."""
    means = model.curves(values)
    each = deviances(model, data, means)
    n_bins = np.maximum(data.known.sum(axis=1), 1.0)
    n_free = np.minimum((model.limits[0] < model.limits[1]).sum(), n_bins - 1.0)
    if model.gaussian:
        noise = np.maximum(each.sum(axis=1) / np.maximum(n_bins - n_free, 1.0), 1e-300)
        each = each / noise[:, None]
        expected, variance = n_bins, 2.0 * n_bins
    else:
        mean, spread = _of_poisson(means)
        expected, variance = (data.known * mean).sum(axis=1), (data.known * spread).sum(axis=1)
        noise = None
    chance, windows, excess = _worst_window(data, means, noise)
    return Bunch(
        deviance=each.sum(axis=1) / n_bins,
        expected=np.maximum(expected - n_free, 0.0) / n_bins,
        spread=np.sqrt(variance) / n_bins,
        residuals=np.sign(data.counts - means) * np.sqrt(np.maximum(each, 0.0)),
        chance=chance,
        window=model.bins.edges[
            np.stack([model.bins.first[windows[0]], model.bins.last[windows[1] - 1]], axis=1)
        ],
        excess=excess,
    )


def is_poor(fit: Bunch) -> np.ndarray:
    """Return which rows of :func:`goodness` are worse than chance makes them."""
    off = (fit.deviance - fit.expected) > _DEVIATIONS * fit.spread
    return off | (fit.chance < _CHANCE)


def log_likelihoods(model: CorrelationModel, data: Histograms, deviance: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of rows, in nats, of their deviances."""
    x, known = data.counts, data.known
    if model.gaussian:
        n = known.sum(axis=1)
        variance = np.maximum(deviance / np.maximum(n, 1.0), 1e-300)
        return -0.5 * n * (np.log(2.0 * np.pi * variance) + 1.0)
    logs = x * np.log(np.where(x > 0.0, x, 1.0)) - x - gammaln(x + 1.0)
    return (known * logs).sum(axis=1) - 0.5 * deviance


def _of_poisson(means):
    """Return the mean and the variance of a bin's deviance, at each mean."""
    mean, spread = _table()
    at = np.log(np.clip(means, _MEANS[0], None))
    small = np.clip(means / _MEANS[0], 0.0, 1.0)
    return (
        small * np.interp(at, np.log(_MEANS), mean),
        small * np.interp(at, np.log(_MEANS), spread),
    )


@lru_cache(maxsize=1)
def _table():
    """Return the mean and variance of the deviance of a Poisson count, summed over all counts."""
    counts = np.arange(2000.0)
    weights = poisson.pmf(counts, _MEANS[:, None])
    deviance = 2.0 * kl_div(counts, _MEANS[:, None])
    mean = (weights * deviance).sum(axis=1)
    return mean, (weights * np.square(deviance - mean[:, None])).sum(axis=1)


def _worst_window(data, means, noise):
    """Return how likely chance is as far off anywhere, the first bin and that behind, and the excess.

    Counts are summed over windows of 1, 2, 4, … bins, half of a window apart. Each width has an equal
    share of what chance may do, and each window of it (Bonferroni): few wide windows do not pay for many
    narrow ones.
    """
    n, n_bins = data.counts.shape
    sums = np.zeros((2, n, n_bins + 1))
    np.cumsum(data.counts * data.known, axis=1, out=sums[0, :, 1:])
    np.cumsum(means * data.known, axis=1, out=sums[1, :, 1:])
    known = np.concatenate([np.zeros((n, 1)), np.cumsum(data.known, axis=1)], axis=1)
    best = np.ones(n)
    first, last, excess = np.zeros(n, dtype=int), np.full(n, n_bins), np.zeros(n)
    widths = [2**k for k in range(max(1, int(_LARGEST_WINDOW * n_bins)).bit_length())]
    for width in widths:
        begin = np.arange(0, n_bins - width + 1, max(1, width // 2))
        seen, mean = sums[:, :, begin + width] - sums[:, :, begin]
        if noise is None:
            mean = np.maximum(mean, 1e-12)
            chance = np.minimum(poisson.cdf(seen, mean), poisson.sf(seen - 1.0, mean))
        else:
            size = np.maximum(known[:, begin + width] - known[:, begin], 1.0)
            chance = norm.sf(np.abs(seen - mean) / np.sqrt(size * noise[:, None]))
        chance = 2.0 * len(widths) * len(begin) * chance
        worst = chance.argmin(axis=1)
        rows = np.arange(n)
        better = chance[rows, worst] < best
        best = np.where(better, chance[rows, worst], best)
        first = np.where(better, begin[worst], first)
        last = np.where(better, begin[worst] + width, last)
        excess = np.where(better, (seen - mean)[rows, worst], excess)
    return best, (first, last), excess
