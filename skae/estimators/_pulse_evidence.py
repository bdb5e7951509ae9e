"""What events say of themselves: symmetries, polarity, and where samples are cut off."""

from collections import Counter
from typing import Any

import numpy as np
from scipy import stats

from skae.estimators._data import blocks
from skae.estimators._locator import single_positions
from skae.estimators._locator_networks import step_of

# What symmetries are judged by: as many events, as many numbers in them, this far around the pulse.
_JUDGED_EVENTS = 5000
_JUDGED_NUMBERS = 2**22
_JUDGED_SAMPLES = 20

# A difference breaks a symmetry if it is as improbable as this, and this share of the traces' spread:
# what is significant in a large sample may still be small.
_IMPROBABLE = 1e-9
_LARGE = 0.05

# Correlation of a waveform with itself from which on it looks like itself, and how far away it is sought.
_ALIKE, _FARTHEST = 0.05, 2048

# Samples over which slopes of wide pulses are taken at most: the more, the less noise is in them.
_SLOPE_OVER = 8

# Samples are cut off at the most extreme number if it is there as often, as many times as often as the
# next number, and in no more than this share of all samples.
_FEWEST_CUT, _TIMES_THE_NEXT, _MOST_CUT = 5, 3, 0.5


def settle(locator: Any, X: np.ndarray, y: np.ndarray) -> None:
    """Settle what a locator leaves to be decided from the data of its first fit."""
    has_fractions = bool((np.abs(y - np.rint(y)) > 0.0).any())
    wanted = has_fractions if locator.sub_bin == "auto" else locator.sub_bin
    locator.sub_bin_ = bool(wanted) and locator.architecture != "reference"
    locator.several_pulses_ = y.ndim == 2
    alone = single_positions(y)  # what pulses look like is seen where they are alone
    y = np.fmin.reduce(y, axis=1) if y.ndim == 2 and np.isnan(alone).all() else alone
    asked = locator.permute_traces, locator.reverse_time
    found = find_symmetries(X, y) if "auto" in asked else (False, False)
    locator.permute_traces_, locator.reverse_time_ = (
        judged if value == "auto" else bool(value)
        for value, judged in zip(asked, found, strict=True)
    )
    locator.footprint_, edge = find_scales(X, y)
    locator.step_ = step_of(locator.architecture, edge)
    polarity = locator.polarity
    locator.polarity_ = find_polarity(X, y) if polarity == "auto" else polarity
    limit = locator.saturation
    if limit == "auto":  # what is corrupted in training stands at no limit there, but would later
        limit = None if locator.noise is not None else find_saturation(X, locator.polarity_)
    locator.saturation_ = limit


def find_symmetries(X: np.ndarray, y: np.ndarray) -> tuple[bool, bool]:
    """Tell whether the data allow traces to be exchanged, and time to be reversed.

    Looked at are the mean waveform around the pulse, the mean over all of the samples, and the
    traces' variances. A symmetry is denied where they differ significantly, and by more than a
    twentieth of the spread of the samples.

    Parameters
    ----------
    X : ndarray of shape (n, n_traces, n_times) or (n, n_times)
        Events.
    y : ndarray of shape (n,)
        Positions of their pulses.

    Returns
    -------
    exchangeable, reversible : bool
        Of a single trace there is nothing to exchange.
    """
    events, positions = _some_events(X, y)
    aligned = _align(events, positions)  # NaN outside of the trace
    # pedestals are no part of what traces do
    variance = _mean((events - _mean(events, 2)) ** 2, 2)
    spread = max(float(np.sqrt(np.nanmean(variance))), np.finfo(float).tiny)
    reversible = not (
        _differ(aligned, aligned[..., ::-1], spread) or _differ(events, events[..., ::-1], spread)
    )
    if events.shape[1] == 1:
        return False, reversible
    exchangeable = not any(
        _differ(numbers, _mean(numbers, 1), spread)
        for numbers in (aligned, events, variance / spread)
    )
    return exchangeable, reversible


def find_polarity(X: np.ndarray, y: np.ndarray) -> str:
    """Tell whether pulses go up or down: "positive" or "negative".

    The mean waveform around the pulses is looked at, where it is farthest from the traces' levels.
    """
    events, positions = _some_events(X, y)
    mean = _mean(_align(events - _mean(events, 2), positions), (0, 1)).ravel()  # (lags,)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    mean -= np.median(mean)
    return "positive" if mean[np.abs(mean).argmax()] >= 0.0 else "negative"


def find_scales(X: np.ndarray, y: np.ndarray) -> tuple[int, int]:
    """Return by how many samples a pulse, and its slope, are moved to look like themselves no longer.

    Looked at are the samples around the pulse, more and more of them until they are three times as many
    to either side. The slope tells sharp edges that long tails hide.
    """
    events, positions = _some_events(X, y)
    events = events - _mean(events, 2)
    reach, farthest = _JUDGED_SAMPLES, min(_FARTHEST, events.shape[2] - 1)
    while True:
        mean = _mean(_align(events, positions, reach), (0, 1)).ravel()
        mean = np.where(np.isfinite(mean), mean, 0.0)
        footprint = _decay_of(mean - np.median(mean))
        if 3 * footprint <= reach or reach >= farthest:
            apart = min(_SLOPE_OVER, max(1, footprint // 16))
            return footprint, _decay_of(mean[apart:] - mean[:-apart])
        reach *= 2


def _decay_of(mean: np.ndarray) -> int:
    """Return the lag at which a waveform's correlation with itself has fallen to nothing."""
    energy = mean @ mean
    for lag in range(1, len(mean)):
        if mean[lag:] @ mean[:-lag] <= _ALIKE * energy:
            return lag
    return 1


def find_saturation(X: np.ndarray, polarity: str) -> float | None:
    """Return the number at which pulses are cut off, None if they are not.

    That is the largest of all samples, or the smallest where pulses go down, if it is there much more
    often than the number next to it.
    """
    sign = 1.0 if polarity == "positive" else -1.0
    counts: Counter[float] = Counter()
    for _, rows in blocks(X):
        numbers = sign * rows[~np.isnan(rows)].astype(np.float64)
        largest = numbers.max(initial=-np.inf)
        following = numbers[numbers < largest].max(initial=-np.inf)
        for number in (largest, following):
            counts[float(number)] += int((numbers == number).sum())
    limit, following = sorted(counts, reverse=True)[:2]
    is_cut = counts[limit] >= max(_FEWEST_CUT, _TIMES_THE_NEXT * counts[following])
    return sign * limit if is_cut and counts[limit] < _MOST_CUT * X.size else None


def _some_events(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some events ``(n, n_traces, n_times)`` that have a pulse, and the samples of the pulses."""
    n_judged = min(_JUDGED_EVENTS, max(1, _JUDGED_NUMBERS // max(1, X[:1].size)))
    rows = np.flatnonzero(~np.isnan(y))
    rows = rows[:: -(-len(rows) // n_judged)]
    events = np.array(X[rows], dtype=np.float64)
    events = events.reshape(len(events), -1, X.shape[-1])
    return events, np.rint(y[rows]).astype(int)


def _mean(numbers: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Return means along an axis, which is kept, of what is there; NaN where nothing is."""
    known = np.isfinite(numbers)
    n = known.sum(axis=axis, keepdims=True)
    total = np.where(known, numbers, 0.0).sum(axis=axis, keepdims=True)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _align(events: np.ndarray, positions: np.ndarray, reach: int = _JUDGED_SAMPLES) -> np.ndarray:
    """Cut the samples around each position out; NaN where there are none."""
    n_times = events.shape[2]
    reach = min(reach, n_times - 1)
    samples = positions[:, np.newaxis] + np.arange(-reach, reach + 1)  # (n, lags)
    inside = (samples >= 0) & (samples < n_times)
    cut = np.take_along_axis(events, np.clip(samples, 0, n_times - 1)[:, np.newaxis], axis=2)
    return np.where(inside[:, np.newaxis], cut, np.nan)


def _differ(first: np.ndarray, second: np.ndarray, spread: float) -> bool:
    """Tell whether two sets of numbers, paired event by event, have different means somewhere."""
    difference = first - second  # (n, n_traces, lags)
    known = np.isfinite(difference)
    n = known.sum(axis=0)
    difference = np.where(known, difference, 0.0)
    mean = difference.sum(axis=0) / np.maximum(n, 1)
    square = (difference**2).sum(axis=0) / np.maximum(n, 1)
    error = np.sqrt(np.maximum(square - mean**2, 0.0) / np.maximum(n - 1, 1))
    limit = stats.t.isf(_IMPROBABLE, np.maximum(n - 1, 1)) * error
    large = np.abs(mean) > _LARGE * spread
    return bool((large & (np.abs(mean) > limit) & (n > 2)).any())
