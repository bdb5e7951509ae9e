"""Pulses: digitised waveforms of a few detectors, in which one pulse is coincident."""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, arguments
from skae._sklearn import Interval, StrOptions
from skae.datasets._pulse_parts import (
    SHAPES,
    check_amplitude,
    digitise,
    draw_heights,
    draw_noise,
    pulses_at,
    shape_of,
)

# Events whose waveforms are computed at once: they stay in cache.
_CHUNK_EVENTS = 256

# Waves of which the baseline of a trace is the sum.
_WAVES = 3

# Standard deviation of a pulse, in units of the trace's length.
_PULSE_WIDTH = 0.02

# Heights of the pulses that pile up, in units of the event's, and their distances from it, in widths.
_PILE_UP_HEIGHTS, _PILE_UP_DISTANCES = (0.2, 0.8), (1.5, 6.0)

#: what the arguments that shape traces may be
TRACE_ARGUMENTS = {
    "amplitude": [POSITIVE, "array-like"],
    "shape": [StrOptions(set(SHAPES)), callable],
    "noise_sigma": NOT_NEGATIVE,
    "noise": [StrOptions({"white", "pink"}), callable],
    "saturation": [Interval(Real, None, None, closed="neither"), None],
    "digitised": ["boolean", Interval(Integral, 1, 16, closed="both")],
}


@arguments(
    n_samples=COUNT,
    n_traces=COUNT,
    n_times=Interval(Integral, 2, None, closed="left"),
    background_rate=NOT_NEGATIVE,
    baseline="boolean",
    width=[POSITIVE, None],
    pile_up=Interval(Real, 0, 1, closed="both"),
    pedestal=[Real, "array-like"],
    empty_fraction=SHARE,
    sub_bin="boolean",
    random_state="random_state",
    **TRACE_ARGUMENTS,
)
@np.errstate(under="ignore")
def make_pulses(
    n_samples=10000,
    *,
    n_traces=3,
    n_times=100,
    amplitude=5.0,
    background_rate=1.0,
    baseline=True,
    shape="gaussian",
    width=None,
    noise_sigma=0.0,
    noise="white",
    pile_up=0.0,
    pedestal=0.0,
    saturation=None,
    empty_fraction=0.0,
    digitised=False,
    sub_bin=False,
    random_state=None,
):
    r"""Generate events of a few traces with one pulse that all of them share.

    Each trace is sampled at ``n_times`` instants from 0 to T. It holds a baseline of three slow
    cosines, a Gaussian pulse of standard deviation 0.02 T at a time that all traces of the event
    have in common, drawn uniformly from 0.05 T to 0.95 T, and a Poisson number of background pulses of
    the same shape at times of its own. With the default arguments and the same seed the draws are those
    of the published generator [1]_, and so are X and y, bit for bit.

    Further arguments make of it what stands behind a detector: other shapes of pulses, noise of other
    spectra, pile-up, pedestals, saturation, digitised counts, and events without a pulse.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of events.
    n_traces : int, default=3
        Traces in an event.
    n_times : int, default=100
        Samples in a trace.
    amplitude : float or (low, high), default=5.0
        Height of each pulse, or bounds between which heights are log-uniform: one for an event, and one
        for each background pulse. The baseline moves between −3 and 3.
    background_rate : float, default=1.0
        Mean number of background pulses in a trace.
    baseline : bool, default=True
        Add the slow cosines.
    shape : {"gaussian", "exponential", "crrc"} or callable, default="gaussian"
        Shape of all pulses, in times u = t / ``width``: a Gaussian exp(−u²/2); an exponential decay
        behind a finite rise, exp(−u) − exp(−5u); a CR-RC shaper's u exp(1 − u); or a callable that maps
        an array of u to heights. Each is shifted to have its maximum at its position, and scaled to unit
        height.
    width : float, default=None
        Width of the pulses in samples: standard deviation, decay time, or shaping time. None is
        0.02 (n_times − 1), the published one.
    noise_sigma : float, default=0.0
        Standard deviation of the noise; ``amplitude / noise_sigma`` is the signal-to-noise ratio at
        the peak.
    noise : {"white", "pink"} or callable, default="white"
        Gaussian noise, white or with a power that falls as 1/f, or a callable that is given a
        RandomState and a shape, times along the last axis, and returns noise of unit variance.
    pile_up : float, default=0.0
        Share of events in which a second, lower pulse stands in all of the traces: 0.2 to 0.8 times as
        high, 1.5 to 6 widths before or behind the first.
    pedestal : float or (level, wander), default=0.0
        Level added to all traces; with ``wander`` each trace of each event has its own, normally
        distributed around it.
    saturation : float, default=None
        Samples above this are cut off at it.
    empty_fraction : float, default=0.0
        Share of events without a pulse that the traces share. Their ``y`` is NaN.
    digitised : bool or int, default=False
        Round to whole counts from 0 to 2\ :sup:`bits` − 1, of 16 bits, or of as many as are given.
        ``amplitude``, ``noise_sigma`` and ``pedestal`` are then in counts.
    sub_bin : bool, default=False
        Return the true times rather than the sample next to them.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    X : ndarray of shape (n_samples, n_traces, n_times)
        Traces, float32 as the published ones; uint16 where they are digitised.
    y : ndarray of shape (n_samples,)
        Position of the maximum of the coincident pulse in samples: the sample where it is highest, an
        integer, or with ``sub_bin`` its time as a fraction of samples. Where there are empty events,
        floating-point numbers.

    See Also
    --------
    make_pulse_records : Long records with several pulses each.

    References
    ----------
    .. [1] D. Kirkby, "Machine Learning and Statistics for Physicists", University of California,
       Irvine (2018): the convolutional network of its notebook on deep learning.

    Examples
    --------
    >>> from skae.datasets import make_pulses
    >>> X, y = make_pulses(500, random_state=123)
    >>> X.shape, y.dtype.kind
    ((500, 3, 100), 'i')
    >>> X, y = make_pulses(500, sub_bin=True, noise_sigma=0.5, random_state=123)
    >>> y.dtype.kind
    'f'

    A digitiser of 12 bits, with pulses of a CR-RC shaper, and every fourth event empty:

    >>> X, y = make_pulses(
    ...     500, shape="crrc", width=3, amplitude=800, noise_sigma=40, pedestal=(400, 20),
    ...     baseline=False, empty_fraction=0.25, digitised=12, random_state=0)
    >>> X.dtype
    dtype('uint16')
    """
    check_trace_arguments(amplitude, noise, noise_sigma)
    level, wander = check_pedestal(pedestal)
    rng = check_random_state(random_state)
    times = np.linspace(0.0, 1.0, n_times)
    # what is drawn, and in which order, is the published generator's; all else comes behind it
    wavelength = 2.0 * rng.lognormal(mean=0.0, sigma=0.2, size=(_WAVES, n_samples, n_traces, 1))
    phase = rng.uniform(size=wavelength.shape)
    signal = rng.uniform(0.05, 0.95, size=n_samples)
    counts = rng.poisson(background_rate, size=(n_samples, n_traces))
    background = rng.uniform(size=counts.sum())
    drawn = amplitude, pile_up, empty_fraction, _width_of(width, n_times) / (n_times - 1)
    further = _draw_further(rng, n_samples, len(background), *drawn)
    levels = np.full((n_samples, 1, 1), level)
    if wander:
        levels = levels + wander * rng.normal(size=(n_samples, n_traces, 1))
    draw_pulses = _pulses_of(times, shape, width)

    X = np.empty((n_samples, n_traces, n_times), dtype=np.uint16 if digitised else np.float32)
    y = signal * (n_times - 1) if sub_bin else np.empty(n_samples, dtype=np.int64)
    ends = np.cumsum(counts.sum(axis=1))
    for start in range(0, n_samples, _CHUNK_EVENTS):
        events = slice(start, start + _CHUNK_EVENTS)
        shared = further.heights[events] * draw_pulses(signal[events])
        if not sub_bin:
            np.argmax(shared, axis=1, out=y[events])
        shared = _with_second(shared, signal[events], further, events, draw_pulses)
        first = ends[start] - counts[start].sum()
        last = ends[min(start + _CHUNK_EVENTS, n_samples) - 1]
        others = further.background[first:last] * draw_pulses(background[first:last])
        own = _sum_by_trace(others, counts[events])
        traces = np.broadcast_to(shared[:, np.newaxis], own.shape)
        waves = times, wavelength[:, events], phase[:, events]
        traces = _add_exactly(waves, traces, own) if baseline else traces + own
        if noise_sigma > 0.0:
            traces = traces + draw_noise(noise, noise_sigma, rng, traces.shape)
        X[events] = as_recorded(traces, levels[events], saturation, digitised)
    if further.empty.any():
        y = np.where(further.empty, np.nan, y)
    return X, y


class _Further(NamedTuple):
    """What is drawn of events behind the published draws; heights are columns."""

    heights: np.ndarray  # (n, 1)
    background: np.ndarray  # (n_background, 1)
    piled: np.ndarray | None  # (n, 1), heights of second pulses; None where there are none
    distance: np.ndarray  # (n,), of the second pulses from the first, in units of the trace
    empty: np.ndarray  # (n,)


def _draw_further(
    rng: np.random.RandomState,
    n_samples: int,
    n_background: int,
    amplitude: Any,
    pile_up: float,
    empty_fraction: float,
    width: float,
) -> _Further:
    heights = draw_heights(amplitude, rng, (n_samples, 1))
    background = draw_heights(amplitude, rng, (n_background, 1))
    piled, distance = None, np.zeros(n_samples)
    if pile_up:
        has_second = rng.uniform(size=(n_samples, 1)) < pile_up
        piled = has_second * heights * rng.uniform(*_PILE_UP_HEIGHTS, size=(n_samples, 1))
        distance = width * rng.uniform(*_PILE_UP_DISTANCES, size=n_samples)
        distance *= rng.choice([-1.0, 1.0], size=n_samples)
    empty = np.zeros(n_samples, dtype=bool)
    if empty_fraction:
        empty = rng.uniform(size=n_samples) < empty_fraction
    return _Further(heights, background, piled, distance, empty)


def _with_second(
    shared: np.ndarray,
    signal: np.ndarray,
    further: _Further,
    events: slice,
    draw_pulses: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return what traces share (n, n_times): with the pulses that pile up, nothing in empty events."""
    if further.piled is not None:
        shared = shared + further.piled[events] * draw_pulses(signal + further.distance[events])
    return np.where(further.empty[events][:, np.newaxis], 0.0, shared)


def _width_of(width: float | None, n_times: int) -> float:
    return _PULSE_WIDTH * (n_times - 1) if width is None else float(width)


def _pulses_of(times: np.ndarray, shape: Any, width: float | None) -> Callable:
    """Return what maps positions (n,), in units of the trace, to pulses of unit height (n, n_times)."""
    if shape == "gaussian" and width is None:
        return lambda centres: _pulses(times, centres)
    function, samples, last = shape_of(shape), _width_of(width, len(times)), len(times) - 1
    return lambda centres: pulses_at(centres * last, function, samples, len(times))


def check_trace_arguments(amplitude: Any, noise: Any, noise_sigma: float) -> None:
    """Refuse heights that are none, and a spectrum of noise that there is none of."""
    check_amplitude(amplitude)
    if noise_sigma == 0.0 and not (isinstance(noise, str) and noise == "white"):
        raise ValueError(f"noise={noise!r} has no effect with noise_sigma=0: give its size.")


def check_pedestal(pedestal: Any) -> tuple[float, float]:
    """Return level and wander of a pedestal."""
    values = np.asarray(pedestal, dtype=np.float64)
    level, wander = (values, 0.0) if values.ndim == 0 else (values if len(values) == 2 else (0, -1))
    if not (np.isfinite(level) and np.isfinite(wander) and wander >= 0.0):
        raise ValueError(
            f"pedestal={pedestal!r} must be a level, or (level, wander) with a wander of 0 or more."
        )
    return float(level), float(wander)


def as_recorded(
    traces: np.ndarray, level: Any, saturation: float | None, digitised: Any
) -> np.ndarray:
    """Return traces on their pedestals, cut off and digitised as they are recorded."""
    if np.any(level):
        traces = traces + level
    if saturation is not None:
        traces = np.minimum(traces, saturation)
    if digitised is not False:
        return digitise(traces, 16 if digitised is True else digitised)
    return traces


def _pulses(times: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return Gaussian pulses of unit height, ``(n, n_times)``."""
    return np.exp(-0.5 * (times - centres[:, np.newaxis]) ** 2 / _PULSE_WIDTH**2)


def _sum_by_trace(pulses: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum the first ``counts[0, 0]`` pulses, then the next ``counts[0, 1]``, …, for each trace."""
    result = np.zeros((counts.size, pulses.shape[1]))
    flat = counts.ravel()
    lit = np.flatnonzero(flat)
    if len(lit):
        starts = np.cumsum(flat[lit]) - flat[lit]
        result[lit] = np.add.reduceat(pulses, starts, axis=0)
    return result.reshape(*counts.shape, -1)


def _add_exactly(
    waves: tuple[np.ndarray, np.ndarray, np.ndarray], shared: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """Return ``sum of waves + shared + own`` in float32, rounded as if every cosine had been taken.

    Cosines would be most of the work. The fast ones are good to 1e-15 for each sample of a trace; where
    that might round to another float32, which is in a few samples of a million, they are taken.
    """
    fast = _sum_waves(*waves)
    fast += shared
    fast += own
    bound = 4e-15 * fast.shape[2]
    result = (fast + bound).astype(np.float32)
    doubtful = np.flatnonzero(result != (fast - bound).astype(np.float32))
    if len(doubtful):
        event, trace, time = np.unravel_index(doubtful, result.shape)
        times, wavelength, phase = waves
        wavelength = wavelength[:, event, trace, 0]
        angle = 2.0 * np.pi * (times[time] + phase[:, event, trace, 0] * wavelength) / wavelength
        at = event, trace, time
        result[at] = np.cos(angle).sum(axis=0) + shared[at] + own[at]
    return result


def _sum_waves(times: np.ndarray, wavelength: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Return the sum of ``cos(2π (t + phase · wavelength) / wavelength)``, ``(m, n_traces, n_times)``.

    Times are equidistant, so that exp(iωt) is a product of two powers: of the step from one sample
    to the next, and of that over a block of samples.
    """
    n_times = len(times)
    block = math.isqrt(n_times - 1) + 1
    step = np.exp(2j * np.pi * times[1] / wavelength)
    fine = _powers(step, block)  # (waves, m, n_traces, block)
    coarse = np.exp(2j * np.pi * phase) * _powers(fine[..., -1:] * step, block)
    # the real part of their product, summed over the waves
    left = np.concatenate([coarse.real, -coarse.imag]).transpose(1, 2, 3, 0)
    right = np.concatenate([fine.real, fine.imag]).transpose(1, 2, 0, 3)
    return np.matmul(left, right).reshape(*left.shape[:2], -1)[..., :n_times]


def _powers(base: np.ndarray, n: int) -> np.ndarray:
    """Return the powers 0 to n − 1 along the last axis."""
    result = np.ones((*base.shape[:-1], n), dtype=base.dtype)
    result[..., 1:] = base
    return np.multiply.accumulate(result, axis=-1, out=result)
