"""Where the fit of a histogram begins: the likeliest period, peaks, dips and humps."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.sparse import csr_array

from skae.physics.correlations import decay_integral, hump_integral
from skae.transformers.correlations.likelihood import Histograms, maximise
from skae.transformers.correlations.model import CorrelationModel

# Lifetimes, and widths of humps, that are tried at first, and how many starts are followed.
_LIFETIMES = 6
_HUMP_WIDTHS = 4
_TRAINS = 2
_PLACES = 3  # peaks; dips, and as many bumps

# Periods looked at for each cycle that fits into the histogram.
_PERIODS_A_CYCLE = 8

# Numbers in the waves that a histogram is compared with at a time.
_WAVE_NUMBERS = 2**20

# Places of a dip that are tried are this share of its lifetime apart.
_DIP_STEP = 0.5

# A decay is followed for so many lifetimes.
_REACH = 8.0


@dataclass(frozen=True)
class Fits:
    """The most likely parameters of each row, and what they stand against.

    Attributes
    ----------
    places : ndarray of shape (n, n_places, n_params)
        Parameters of the likeliest places of zero delay, the best one first.
    deviances : ndarray of shape (n, n_places)
        Their deviances; infinite where there is no such place.
    plain : ndarray of shape (n, n_params)
        Parameters with g²(0) = 1: no place is like no other.
    plain_deviance : ndarray of shape (n,)
        Its deviance.
    trials : ndarray of shape (n,)
        How many peaks zero delay was looked for among; 1 where it is known.
    """

    places: np.ndarray
    deviances: np.ndarray
    plain: np.ndarray
    plain_deviance: np.ndarray
    trials: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The most likely parameters, ``(n, n_params)``."""
        return self.places[:, 0]

    @property
    def deviance(self) -> np.ndarray:
        """Their deviances, ``(n,)``."""
        return self.deviances[:, 0]


def fit_rows(model: CorrelationModel, data: Histograms) -> Fits:
    """Fit histograms, each from the likeliest starts."""
    flat = model.bounded(g2_zero=(1.0, 1.0))
    starts = _trains(flat, data) if model.is_pulsed else [_middle(flat, data)]
    tried = [maximise(flat, data, _with_humps(flat, data, start)) for start in starts]
    plain, plain_deviance = _best(tried)
    if model.is_pulsed:
        places, trials = _peaks(model, data, plain)
    else:
        places, trials = _dips(model, data, plain), np.ones(len(data))
    n_places = places.shape[1]
    found, deviance = maximise(
        model,
        data[np.repeat(np.arange(len(data)), n_places)],
        places.reshape(-1, places.shape[2]),
    )
    found, deviance = found.reshape(places.shape), deviance.reshape(-1, n_places)
    order = np.argsort(deviance, axis=1, kind="stable")
    rows = np.arange(len(data))[:, None]
    found, deviance = found[rows, order], deviance[rows, order]
    deviance[:, 1:][_are_the_same(model, found, deviance)] = np.inf
    empty = ~(data.counts.max(axis=1) > 0.0)  # nothing was counted: nothing is known but that
    for table in (found, plain[:, None]):
        table[empty] = [*(low for low, _ in model.bounds.values()), 0.0]
    deviance[empty], plain_deviance[empty] = 0.0, 0.0
    return Fits(found, deviance, plain, plain_deviance, trials)


def _are_the_same(model, found, deviance):
    """Return which places, after the first, have been reached before."""
    delay = found[:, :, model.index["zero_delay"]]
    near = np.abs(np.diff(delay, axis=1)) < model.bins.widths.min()
    return near & (np.diff(deviance, axis=1) < 1e-3)


def _best(tried):
    """Return the values of smallest deviance for each row, and that."""
    deviances = np.stack([deviance for _, deviance in tried])
    best = deviances.argmin(axis=0)
    rows = np.arange(deviances.shape[1])
    return np.stack([values for values, _ in tried])[best, rows], deviances[best, rows]


def _middle(model, data):
    """Return parameters in the middle of their bounds, g²(0) = 1, at the mean rate of each row."""
    guesses = {"background": 0.1, "bunching": 0.0, "weight_1": 0.5, "g2_zero": 1.0}
    row = []
    for name, (low, high) in model.bounds.items():
        guess = guesses.get(name, 0.0 if name.startswith("crosstalk_height") else None)
        middle = 0.5 * (low + high) if guess is None else guess
        row.append(min(max(middle, low), high))
    values = np.tile([*row, 1.0], (len(data), 1))
    total = (data.known * model.exposure).sum(axis=1)
    values[:, -1] = np.maximum((data.counts * data.known).sum(axis=1), 1e-300) / np.maximum(
        total, 1e-300
    )
    return values


# -- pulsed light ------------------------------------------------------------------------------


def _trains(model, data):
    """Return the likeliest starts of trains of equal peaks."""
    low, high = model.limits
    starts, deviances = [], []
    for period, place in _combs(model, data):
        for number in range(_LIFETIMES):
            values = _middle(model, data)
            values[:, model.index["period"]] = period
            values[:, model.index["zero_delay"]] = place
            for index in model.lifetimes:
                longest = np.clip(0.5 * period, low[index], high[index])
                octaves = np.log(longest / low[index])
                values[:, index] = low[index] * np.exp(octaves * number / (_LIFETIMES - 1))
            shortest = values[:, model.lifetimes].min(axis=1)
            jitter = model.index["jitter"]
            values[:, jitter] = np.clip(0.3 * shortest, low[jitter], high[jitter])
            values = _heights(model, data, values)
            starts.append(values)
            deviances.append(_rough(model, data, values))
            if all(low[index] == high[index] for index in model.lifetimes):
                break
    order = np.argsort(deviances, axis=0, kind="stable")[:_TRAINS]
    rows = np.arange(len(data))
    return [np.stack(starts)[number, rows] for number in order]


def _rough(model, data, values):
    """Return how far off starts are: least squares, weighted by what was counted on average."""
    return (data.known * np.square(model.curves(values) - data.counts)).sum(axis=1)


def _heights(model, data, values):
    """Fit the heights of background and peaks, which are linear, by least squares."""
    index, (low, high) = model.index, model.limits
    unit = values.copy()
    unit[:, index["background"]], unit[:, -1] = 0.0, 1.0
    train = model.curves(unit) * data.known
    flat = model.exposure * data.known
    tt, tf, ff = (train * train).sum(1), (train * flat).sum(1), (flat * flat).sum(1)
    tx, fx = (train * data.counts).sum(1), (flat * data.counts).sum(1)
    determinant = np.maximum(tt * ff - tf * tf, 1e-12 * tt * ff)
    height = np.where(determinant > 0.0, (ff * tx - tf * fx) / np.maximum(determinant, 1e-300), 0.0)
    level = np.where(ff > 0.0, (fx - height * tf) / np.maximum(ff, 1e-300), 0.0)
    alone = np.where(tt > 0.0, tx / np.maximum(tt, 1e-300), 0.0)
    height = np.where(level < 0.0, alone, height)
    height = np.where(height > 0.0, height, values[:, -1])
    values = values.copy()
    background = np.maximum(level, 0.0) / height
    values[:, index["background"]] = np.clip(
        background, low[index["background"]], high[index["background"]]
    )
    values[:, -1] = height
    return values


def _combs(model, data):
    """Return the likeliest pairs of period and place of the peaks, each ``(n,)``."""
    first, last = model.bounds["zero_delay"]
    level = data.counts.sum(axis=1) / np.maximum((data.known * model.exposure).sum(axis=1), 1e-300)
    excess = data.counts - data.known * model.exposure * level[:, None]
    periods, waves = _spectrum(model, excess)
    if first == last:  # the train's place is known
        along = (waves * np.exp(2j * np.pi * first / periods)).real
        order = np.argsort(-along, axis=1, kind="stable").T[:2]
        return [(periods[best], np.full(len(data), first)) for best in order]
    rows, combs = np.arange(len(data)), []
    for best in np.argsort(-np.abs(waves), axis=1, kind="stable").T[:2]:
        period = periods[best]
        place = -np.angle(waves[rows, best]) / (2.0 * np.pi) * period
        middle = 0.5 * (first + last)
        place += period * np.rint((middle - place) / period)
        combs.append((period, np.clip(place, first, last)))
    return combs


def _spectrum(model, excess):
    """Return periods within their bounds, and each histogram's wave of each, ``(n, n_periods)``."""
    tau = model.bins.centres
    low, high = model.bounds["period"]
    span = max(np.ptp(tau), 1e-300)
    n = int(np.ceil(_PERIODS_A_CYCLE * span * (1.0 / low - 1.0 / high)))
    frequencies = np.linspace(1.0 / high, 1.0 / low, n + 2 if low < high else 1)
    steps = np.diff(tau)
    if n * len(tau) > _WAVE_NUMBERS and np.ptp(steps) < 1e-6 * steps.mean():
        # many of equal steps: those of a fast Fourier transform that lie in between
        size = next_fast_len(_PERIODS_A_CYCLE * len(tau), real=True)
        known = np.arange(size // 2 + 1) / (size * steps.mean())
        inside = (frequencies[0] <= known) & (known <= frequencies[-1])
        turns = np.exp(-2j * np.pi * tau[0] * known[inside])
        return 1.0 / known[inside], np.fft.rfft(excess, size, axis=1)[:, inside] * turns
    at_once = max(1, _WAVE_NUMBERS // len(tau))
    waves = [
        excess @ np.exp(-2j * np.pi * frequencies[start : start + at_once] * tau[:, None])
        for start in range(0, len(frequencies), at_once)
    ]
    return 1.0 / frequencies, np.concatenate(waves, axis=1)


def _peaks(model, data, plain):
    """Return starts at the peaks that are least like the others, and how many peaks there are."""
    place, period = (plain[:, model.index[name]] for name in ("zero_delay", "period"))
    first, last = model.bounds["zero_delay"]
    lowest = np.ceil((first - place) / period - 1e-9)
    trials = np.maximum(np.floor((last - place) / period + 1e-9) - lowest + 1.0, 1.0)
    numbers = lowest[:, None] + np.arange(int(trials.max()))
    delays = np.clip(place[:, None] + numbers * period[:, None], first, last)
    lifetimes, jitter = plain[:, model.lifetimes], plain[:, model.index["jitter"]]
    means, variance = _expected(model, data, plain)
    scores = []
    for column in delays.T:
        t = (model.bins.edges - column[:, None])[:, None]
        decays = model.bins.averages(
            decay_integral(t, lifetimes[:, :, None], jitter[:, None, None])
        )
        template = decays.mean(axis=1) * model.exposure * plain[:, -1:]
        scores.append(_score(template, data, means, variance))
    is_one = np.arange(len(scores)) < trials[:, None]
    gains = np.where(is_one, np.abs(scores).T, -1.0)
    best = np.argsort(-gains, axis=1, kind="stable")[:, :_PLACES]
    rows = np.arange(len(data))[:, None]
    starts = np.repeat(plain[:, None], best.shape[1], axis=1)
    starts[:, :, model.index["zero_delay"]] = delays[rows, best]
    return starts, trials


def _expected(model, data, values):
    """Return what is expected of histograms, and its variance: 1 where noise is Gaussian."""
    means = model.curves(values)
    if model.gaussian:
        return means, np.ones_like(means)
    floor = 1e-9 * data.counts.max(axis=1, keepdims=True) + 1e-300
    means = np.maximum(means, floor)
    return means, means


def _score(template, data, means, variance):
    """Return how many standard deviations of a template the histograms hold above their means."""
    template = template * data.known
    force = (template * (data.counts - means) / variance).sum(axis=1)
    weight = (template * template / variance).sum(axis=1)
    return force / np.sqrt(np.maximum(weight - _of_level(template, data, means, variance), 1e-300))


def _of_level(template, data, means, variance):
    """Return what of a template's weight is also the level's, which is fitted."""
    level = means * data.known
    shared = (template * level / variance).sum(axis=1)
    return np.square(shared) / np.maximum((level * level / variance).sum(axis=1), 1e-300)


# -- continuous light --------------------------------------------------------------------------


def _dips(model, data, plain):
    """Return starts at the delays where the histograms are least like flat light."""
    low, high = model.limits
    means, variance = _expected(model, data, plain)
    first, last = model.bounds["zero_delay"]
    index = model.lifetimes[0]
    n_lifetimes = _LIFETIMES + 4 if low[index] < high[index] else 1
    lifetimes = np.geomspace(low[index], high[index], n_lifetimes)
    seen = data.known * model.exposure
    force, weight = seen * (data.counts - means) / variance, seen * model.exposure / variance
    shared = seen * means / variance
    total = np.maximum((data.known * means * means / variance).sum(axis=1), 1e-300)
    found = []
    for lifetime in lifetimes:
        step = max(_DIP_STEP * lifetime, model.bins.widths.min())
        delays = np.linspace(first, last, int((last - first) / step) + 2 if first < last else 1)
        shapes = _decays(model.bins, delays, lifetime)
        spread = shapes.power(2) @ weight.T - np.square(shapes @ shared.T) / total
        scores = (shapes @ force.T) / np.sqrt(np.maximum(spread, 1e-300))
        for sign in (-1.0, 1.0):
            best = (sign * scores).argmax(axis=0)
            score = scores[best, np.arange(len(data))]
            found.append((score, delays[best], np.full(len(data), lifetime)))
    scores, delays, lifetimes = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    order = np.argsort(scores, axis=1, kind="stable")
    best = np.concatenate([order[:, :_PLACES], order[:, ::-1][:, :_PLACES]], axis=1)
    rows = np.arange(len(data))[:, None]
    starts = np.repeat(plain[:, None], best.shape[1], axis=1)
    starts[:, :, model.index["zero_delay"]] = delays[rows, best]
    starts[:, :, index] = lifetimes[rows, best]
    for slow in model.lifetimes[1:]:
        starts[:, :, slow] = np.clip(5.0 * lifetimes[rows, best], low[slow], high[slow])
    return starts


def _decays(bins, delays, lifetime):
    """Return decays around delays, ``(n_delays, n_bins)``, as far as they reach."""
    reach = _REACH * lifetime + bins.widths.max()
    first = np.searchsorted(bins.centres, delays - reach)
    n = np.searchsorted(bins.centres, delays + reach) - first
    ends = np.cumsum(n)
    columns = np.arange(ends[-1]) + np.repeat(first - (ends - n), n)
    away = np.repeat(delays, n)
    low, high = (bins.edges[edge[columns]] - away for edge in (bins.first, bins.last))
    sharp = np.zeros(1)
    values = decay_integral(high, lifetime, sharp) - decay_integral(low, lifetime, sharp)
    pointers = np.concatenate([[0], ends])
    shape = (len(delays), len(bins.widths))
    return csr_array((values / bins.widths[columns], columns, pointers), shape=shape)


# -- humps -------------------------------------------------------------------------------------


def _with_humps(model, data, values):
    """Return starts with each hump where most is left over."""
    low, high = model.limits
    for delay, height, width in model.humps:
        means, variance = _expected(model, data, values)
        best = np.full(len(data), -np.inf)
        values = values.copy()
        for sigma in np.geomspace(low[width], high[width], _HUMP_WIDTHS):
            n = int((high[delay] - low[delay]) / sigma) + 2 if low[delay] < high[delay] else 1
            for t in np.linspace(low[delay], high[delay], n):
                shape = model.bins.averages(hump_integral(model.bins.edges - t, sigma))
                template = np.broadcast_to(shape * model.exposure, data.counts.shape)
                score = _score(template, data, means, variance)
                better = score > best
                best = np.where(better, score, best)
                values[better, delay], values[better, width] = t, sigma
                left = (template * data.known * (data.counts - means)).sum(axis=1)
                share = left / np.square(template * data.known).sum(axis=1) / values[:, -1]
                values[:, height] = np.where(
                    better, np.clip(share, low[height], high[height]), values[:, height]
                )
    return values
