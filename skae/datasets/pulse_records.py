"""Long records of waveforms with several pulses each, and windows of them to train on."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, arguments
from skae._sklearn import Interval
from skae.datasets._pulse_parts import draw_heights, draw_noise, shape_of
from skae.datasets.pulses import (
    TRACE_ARGUMENTS,
    as_recorded,
    check_pedestal,
    check_trace_arguments,
)

# Widths from its maximum to which a pulse is drawn.
_REACH = 40

# Fewest places that windows of a certain kind are chosen from.
_PLACES = 20_000


@arguments(
    n_records=COUNT,
    n_traces=COUNT,
    n_times=Interval(Integral, 2, None, closed="left"),
    rate=NOT_NEGATIVE,
    width=POSITIVE,
    pedestal="no_validation",
    random_state="random_state",
    **TRACE_ARGUMENTS,
)
@np.errstate(under="ignore")
def make_pulse_records(
    n_records=10,
    *,
    n_traces=1,
    n_times=10_000,
    rate=0.003,
    amplitude=5.0,
    shape="gaussian",
    width=2.0,
    noise_sigma=1.0,
    noise="white",
    pedestal=0.0,
    saturation=None,
    digitised=False,
    random_state=None,
):
    """Generate long records with several pulses each, at random times.

    Pulses come as a Poisson process and are the same in all traces of a record, which have noise of
    their own. The truth has the form of what :meth:`skae.PulseLocator.predict_pulses` returns.

    Parameters
    ----------
    n_records : int, default=10
        Number of records.
    n_traces : int, default=1
        Traces of each.
    n_times : int, default=10000
        Samples of each trace.
    rate : float, default=0.003
        Mean number of pulses in a sample.
    amplitude : float or (low, high), default=5.0
        Height of the pulses, or bounds between which heights are log-uniform.
    shape : {"gaussian", "exponential", "crrc"} or callable, default="gaussian"
        Shape of the pulses, as of :func:`make_pulses`. They are drawn up to 40 widths from their maximum.
    width : float, default=2.0
        Their width in samples: standard deviation, decay time, or shaping time.
    noise_sigma : float, default=1.0
        Standard deviation of the noise.
    noise : {"white", "pink"} or callable, default="white"
        Its spectrum, as of :func:`make_pulses`.
    pedestal : float or (level, wander), default=0.0
        Level added to all traces; with ``wander`` each has its own.
    saturation : float, default=None
        Samples above this are cut off at it.
    digitised : bool or int, default=False
        Round to whole counts of 16 bits, or of as many as are given.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    records : Bunch
        ``X`` (n_records, n_traces, n_times), float32, or uint16 if digitised. The pulses of all records
        in flat arrays, in order: ``event`` the number of the record, ``position`` of the maximum in
        samples, ``height``.

    See Also
    --------
    cut_pulse_windows : Windows of such records, to train on.

    Examples
    --------
    >>> from skae.datasets import make_pulse_records
    >>> records = make_pulse_records(5, n_times=1000, random_state=0)
    >>> records.X.shape
    (5, 1, 1000)
    >>> len(records.event) == len(records.position)
    True
    """
    check_trace_arguments(amplitude, noise, noise_sigma)
    level, wander = check_pedestal(pedestal)
    function = shape_of(shape)
    rng = check_random_state(random_state)
    counts = rng.poisson(rate * (n_times - 1), size=n_records)
    event = np.repeat(np.arange(n_records), counts)
    position = rng.uniform(0.0, n_times - 1.0, size=counts.sum())
    order = np.lexsort([position, event])
    position = position[order]
    height = draw_heights(amplitude, rng, len(position))
    reach = int(np.ceil(_REACH * width))
    X = np.empty((n_records, n_traces, n_times), dtype=np.uint16 if digitised else np.float32)
    ends = np.cumsum(counts)
    for record in range(n_records):
        signal = np.zeros(n_times)
        for pulse in range(ends[record] - counts[record], ends[record]):
            first = max(0, int(position[pulse]) - reach)
            times = np.arange(first, min(n_times, int(position[pulse]) + reach + 1))
            signal[times] += height[pulse] * function((times - position[pulse]) / width)
        traces = np.broadcast_to(signal, (n_traces, n_times))
        if noise_sigma > 0.0:
            traces = traces + draw_noise(noise, noise_sigma, rng, traces.shape)
        levels = level + wander * rng.normal(size=(n_traces, 1)) if wander else level
        X[record] = as_recorded(traces, levels, saturation, digitised)
    return Bunch(X=X, event=event, position=position, height=height)


@arguments(
    X="no_validation",
    event="array-like",
    position="array-like",
    n_times=Interval(Integral, 2, None, closed="left"),
    n_windows=[COUNT, None],
    empty_fraction=[SHARE, None],
    random_state="random_state",
)
def cut_pulse_windows(
    X, event, position, *, n_times=100, n_windows=None, empty_fraction=None, random_state=None
):
    """Cut windows at random places of labelled records, to train :class:`skae.PulseLocator` on.

    Parameters
    ----------
    X : array-like of shape (n_records, n_traces, n_times) or (n_records, n_times)
        Records, which may be memory-mapped.
    event : array-like of shape (n_labels,)
        The record of each pulse.
    position : array-like of shape (n_labels,)
        Its position in samples of the record. All pulses must be labelled.
    n_times : int, default=100
        Samples in a window: more than a pulse with its tail, and few pulses at once.
    n_windows : int, default=None
        Number of windows. None cuts three times as many as lie side by side in the records.
    empty_fraction : float, default=None
        Share of windows without a pulse. None leaves it as it is at random places, for which what a
        network says of a pulse's presence is then right.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    windows : ndarray of shape (n_windows, n_traces, n_times) or (n_windows, n_times)
        In the dtype of ``X``.
    y : ndarray of shape (n_windows, n_pulses)
        Positions of all pulses in a window, in samples of it, in order; NaN behind them. ``n_pulses``
        is the most in one window, and 2 at least.

    See Also
    --------
    skae.PulseLocator.predict_pulses : Finds the pulses of records after training on such windows.

    Examples
    --------
    >>> from skae.datasets import cut_pulse_windows, make_pulse_records
    >>> records = make_pulse_records(20, n_times=2000, random_state=0)
    >>> X, y = cut_pulse_windows(
    ...     records.X, records.event, records.position, n_times=64, random_state=0)
    >>> X.shape, len(y)
    ((1860, 1, 64), 1860)
    """
    X, event, position = _check_pulses(X, event, position, n_times)
    rng = check_random_state(random_state)
    if n_windows is None:
        n_windows = 3 * len(X) * (X.shape[-1] // n_times)
    order = np.lexsort([position, event])
    lines = event[order] * float(X.shape[-1]) + position[order]  # records, one behind the other
    n_places = n_windows if empty_fraction is None else max(_PLACES, 20 * n_windows)
    record = rng.randint(len(X), size=n_places)
    first = rng.randint(X.shape[-1] - n_times + 1, size=n_places)
    begin = record * float(X.shape[-1]) + first
    low = np.searchsorted(lines, begin, side="left")
    inside = np.searchsorted(lines, begin + (n_times - 1), side="right") - low
    if empty_fraction is not None:
        chosen = _choose(inside, n_windows, empty_fraction, n_times)
        record, first, begin, low, inside = (
            part[chosen] for part in (record, first, begin, low, inside)
        )
        shuffled = rng.permutation(n_windows)
        record, first, begin, low, inside = (
            part[shuffled] for part in (record, first, begin, low, inside)
        )
    y = np.full((n_windows, max(2, int(inside.max(initial=0)))), np.nan)
    for column in range(y.shape[1]):
        there = inside > column
        y[there, column] = lines[low[there] + column] - begin[there]
    windows = np.empty((n_windows, *X.shape[1:-1], n_times), dtype=X.dtype)
    for place in range(n_windows):
        windows[place] = X[record[place], ..., first[place] : first[place] + n_times]
    return windows, y


def _choose(inside: np.ndarray, n: int, empty_fraction: float, n_times: int) -> np.ndarray:
    """Return places of which a share has no pulse."""
    n_empty = round(empty_fraction * n)
    empty, full = np.flatnonzero(inside == 0), np.flatnonzero(inside > 0)
    if len(empty) < n_empty or len(full) < n - n_empty:
        raise ValueError(
            f"Of {len(inside)} windows of n_times={n_times} samples at random places {len(empty)} have "
            f"no pulse, but empty_fraction={empty_fraction} asks for {n_empty} without and "
            f"{n - n_empty} with one. Take shorter windows, fewer of them, or another share."
        )
    return np.concatenate([empty[:n_empty], full[: n - n_empty]])


def _check_pulses(
    X: Any, event: Any, position: Any, n_times: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check records and the pulses in them."""
    X = X if isinstance(X, np.ndarray) else np.asarray(X)
    if X.ndim not in (2, 3) or X.dtype.kind not in "iuf":
        raise ValueError(
            f"X has shape {X.shape} and dtype {X.dtype}; records are numbers of shape (n_records, "
            "n_traces, n_times) or (n_records, n_times)."
        )
    if n_times > X.shape[-1]:
        raise ValueError(f"n_times={n_times} is more than the {X.shape[-1]} samples of a record.")
    event = column_or_1d(check_array(event, ensure_2d=False, dtype=None, ensure_min_samples=0))
    position = check_array(position, ensure_2d=False, dtype=np.float64, ensure_min_samples=0)
    position = column_or_1d(position)
    check_consistent_length(event, position)
    whole = np.rint(event).astype(np.int64)
    if (whole != event).any() or (whole < 0).any() or (whole >= len(X)).any():
        raise ValueError(f"event must have numbers of the records in X, from 0 to {len(X) - 1}.")
    if (position < 0).any() or (position > X.shape[-1] - 1).any():
        raise ValueError(
            f"position must lie within a record, from 0 to {X.shape[-1] - 1} samples; it runs from "
            f"{position.min():g} to {position.max():g}."
        )
    return X, whole, position
