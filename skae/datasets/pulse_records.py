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

# Places looked at to learn how many windows at random are empty, and to find empty ones.
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
    empty_fraction=[SHARE, None],
    random_state="random_state",
)
def cut_pulse_windows(X, event, position, *, n_times=100, empty_fraction=None, random_state=None):
    """Cut windows out of labelled records, to train :class:`skae.PulseLocator` on.

    Each pulse gets a window in which it stands at a random place; a window with two pulses is there once
    for each of them, with the position of one. Windows without a pulse are cut at random places.

    Parameters
    ----------
    X : array-like of shape (n_records, n_traces, n_times) or (n_records, n_times)
        Records, which may be memory-mapped.
    event : array-like of shape (n_pulses,)
        The record of each pulse.
    position : array-like of shape (n_pulses,)
        Its position in samples of the record.
    n_times : int, default=100
        Samples in a window. It should hold a pulse with its tail, and few of them at once.
    empty_fraction : float, default=None
        Share of windows without a pulse. None takes the share that they have at random places: what a
        network says of a pulse's presence is then right for such records.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    windows : ndarray of shape (n_windows, n_traces, n_times) or (n_windows, n_times)
        In random order, in the dtype of ``X``.
    y : ndarray of shape (n_windows,)
        Positions in samples of the window, NaN where it has no pulse.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.datasets import cut_pulse_windows, make_pulse_records
    >>> records = make_pulse_records(20, n_times=2000, random_state=0)
    >>> X, y = cut_pulse_windows(
    ...     records.X, records.event, records.position, n_times=64, random_state=0)
    >>> X.shape[1:], bool(np.isnan(y).any())
    ((1, 64), True)
    """
    X, event, position = _check_pulses(X, event, position, n_times)
    rng = check_random_state(random_state)
    last = X.shape[-1] - n_times
    # the earliest and the latest window that holds the pulse
    low = np.maximum(0, np.ceil(position - (n_times - 1))).astype(int)
    high = np.minimum(last, np.floor(position)).astype(int)
    first = rng.randint(low, high + 1)
    bare_record, bare_first, share = _empty_places(len(X), last, event, position, n_times, rng)
    n_empty = 0
    fraction = share if empty_fraction is None else empty_fraction
    if len(event):
        n_empty = round(len(event) * fraction / (1.0 - fraction)) if fraction < 1.0 else 0
    if n_empty > len(bare_first) or len(event) == 0:
        raise ValueError(
            f"There are {len(event)} pulses and {len(bare_first)} places without any, from which "
            f"{n_empty} empty windows of n_times={n_times} samples were to be cut. Take shorter windows, "
            "more records, or a smaller empty_fraction."
        )
    record = np.concatenate([event, bare_record[:n_empty]])
    start = np.concatenate([first, bare_first[:n_empty]])
    y = np.concatenate([position - first, np.full(n_empty, np.nan)])
    order = rng.permutation(len(y))
    windows = np.empty((len(y), *X.shape[1:-1], n_times), dtype=X.dtype)
    for place, one in enumerate(order):
        windows[place] = X[record[one], ..., start[one] : start[one] + n_times]
    return windows, y[order]


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


def _empty_places(
    n_records: int,
    last: int,
    event: np.ndarray,
    position: np.ndarray,
    n_times: int,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return random windows without a pulse, record and first sample of each, and the share they have."""
    n_places = max(_PLACES, 20 * len(event))
    record, first = rng.randint(n_records, size=n_places), rng.randint(last + 1, size=n_places)
    order = np.lexsort([position, event])
    length = last + n_times  # along one line of all records, one behind the other
    pulses = event[order] * float(length) + position[order]
    begin = record * float(length) + first
    n_inside = np.searchsorted(pulses, begin + (n_times - 1), side="right")
    n_inside = n_inside - np.searchsorted(pulses, begin, side="left")
    bare = n_inside == 0
    return record[bare], first[bare], float(bare.mean())
