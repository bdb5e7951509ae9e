"""Pulses: digitised waveforms of a few detectors, in which one pulse is coincident."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, arguments
from skae._sklearn import Interval

# Events whose waveforms are computed at once: they stay in cache.
_CHUNK_EVENTS = 256

# Waves of which the baseline of a trace is the sum.
_WAVES = 3

# Standard deviation of a pulse, in units of the trace's length.
_PULSE_WIDTH = 0.02


@arguments(
    n_samples=COUNT,
    n_traces=COUNT,
    n_times=Interval(Integral, 2, None, closed="left"),
    amplitude=POSITIVE,
    background_rate=NOT_NEGATIVE,
    baseline="boolean",
    noise_sigma=NOT_NEGATIVE,
    sub_bin="boolean",
    random_state="random_state",
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
    noise_sigma=0.0,
    sub_bin=False,
    random_state=None,
):
    r"""Generate events of a few traces with one pulse that all of them share.

    Each trace is sampled at ``n_times`` instants from 0 to T. It holds a baseline of three slow
    cosines, a Gaussian pulse of standard deviation 0.02 T at a time that all traces of the event
    have in common, drawn uniformly from 0.05 T to 0.95 T, and a Poisson number of background pulses of
    the same shape at times of its own. With the default arguments and the same seed the draws are those
    of the published generator [1]_, and so are X and y, bit for bit.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of events.
    n_traces : int, default=3
        Traces in an event.
    n_times : int, default=100
        Samples in a trace. The pulse's width is 0.02 of the trace: 1.98 samples of 100.
    amplitude : float, default=5.0
        Height of each pulse; the baseline moves between −3 and 3.
    background_rate : float, default=1.0
        Mean number of background pulses in a trace.
    baseline : bool, default=True
        Add the slow cosines.
    noise_sigma : float, default=0.0
        Standard deviation of white Gaussian noise; ``amplitude / noise_sigma`` is the
        signal-to-noise ratio at the peak.
    sub_bin : bool, default=False
        Return the true times rather than the sample next to them.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    X : ndarray of shape (n_samples, n_traces, n_times)
        Traces, float32 as the published ones.
    y : ndarray of shape (n_samples,)
        Position of the coincident pulse in samples: the sample where it is highest, an integer, or with
        ``sub_bin`` its time as a fraction of samples.

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
    """
    rng = check_random_state(random_state)
    times = np.linspace(0.0, 1.0, n_times)
    # what is drawn, and in which order, is the published generator's; noise comes behind it
    wavelength = 2.0 * rng.lognormal(mean=0.0, sigma=0.2, size=(_WAVES, n_samples, n_traces, 1))
    phase = rng.uniform(size=wavelength.shape)
    signal = rng.uniform(0.05, 0.95, size=n_samples)
    counts = rng.poisson(background_rate, size=(n_samples, n_traces))
    background = rng.uniform(size=counts.sum())

    X = np.empty((n_samples, n_traces, n_times), dtype=np.float32)
    y = signal * (n_times - 1) if sub_bin else np.empty(n_samples, dtype=np.int64)
    ends = np.cumsum(counts.sum(axis=1))
    for start in range(0, n_samples, _CHUNK_EVENTS):
        events = slice(start, start + _CHUNK_EVENTS)
        shared = amplitude * _pulses(times, signal[events])
        if not sub_bin:
            np.argmax(shared, axis=1, out=y[events])
        first = ends[start] - counts[start].sum()
        last = ends[min(start + _CHUNK_EVENTS, n_samples) - 1]
        own = _sum_by_trace(amplitude * _pulses(times, background[first:last]), counts[events])
        traces = np.broadcast_to(shared[:, np.newaxis], own.shape)
        if baseline:
            waves = times, wavelength[:, events], phase[:, events]
            traces = _add_exactly(waves, traces, own)
        else:
            traces = traces + own
        if noise_sigma > 0.0:
            traces = traces + rng.normal(scale=noise_sigma, size=traces.shape)
        X[events] = traces
    return X, y


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
