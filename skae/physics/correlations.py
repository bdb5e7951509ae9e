r"""Second-order correlations of light in closed form: what is generated, and what is fitted.

Behind an emitter excited by pulses a period P apart, coincidences lie in peaks around each multiple of
P; the one at zero delay holds the share :math:`g^{(2)}(0)` of the others. Under continuous excitation
they have a dip there (Kimble, Dagenais & Mandel, 1977, doi:10.1103/PhysRevLett.39.691).

A histogram counts what falls into its bins, and a lifetime may be as short as one of them: everything
here is averaged over bins, as differences of integrals in closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, erfc, erfcx

# A step between delays that is longer than its neighbours by this factor is a gap between bins.
_GAP = 1.5

# Lifetimes shorter than the jitter by this factor leave no tail that reaches a peak two periods away.
_BLURRED_AWAY = 3.0

# The least relative difference of a lifetime and the time of afterpulses, which is divided by.
_APART = 1e-4


@dataclass(frozen=True)
class Bins:
    """The bins of a histogram.

    Attributes
    ----------
    edges : ndarray of shape (n_edges,)
        Edges of all bins, each once.
    first, last : ndarray of shape (n_bins,)
        Numbers of the edges where each bin begins and ends.
    """

    edges: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def around(cls, delays: np.ndarray, bin_width: np.ndarray | float | None = None) -> "Bins":
        """Return bins around delays that increase.

        Without widths they meet halfway; a step that is much longer than its neighbours is a gap.

        Raises
        ------
        ValueError
            If widths have another shape, or bins overlap.
        """
        if bin_width is not None:
            return cls._of_width(delays, np.asarray(bin_width, dtype=np.float64))
        if len(delays) == 1:
            return cls._between(delays - 0.5, delays + 0.5)
        steps = np.diff(delays)
        before = np.concatenate([steps[:1], steps[:-1]])
        after = np.concatenate([steps[1:], steps[-1:]])
        gap = steps > _GAP * np.maximum(before, after)
        reach_up = 0.5 * np.where(gap, before, steps)
        reach_down = 0.5 * np.where(gap, after, steps)
        low = delays - np.concatenate([reach_up[:1], reach_down])
        high = delays + np.concatenate([reach_up, reach_down[-1:]])
        return cls._between(low, high)

    @classmethod
    def _of_width(cls, delays: np.ndarray, width: np.ndarray) -> "Bins":
        if width.shape not in ((), delays.shape) or not (np.isfinite(width) & (width > 0.0)).all():
            raise ValueError(
                f"bin_width must be a number above 0, or {len(delays)} of them, one for each delay."
            )
        half = np.broadcast_to(0.5 * width, delays.shape)
        if (np.diff(delays) < (half[1:] + half[:-1]) * (1.0 - 1e-6)).any():
            raise ValueError("bin_width is larger than the steps between delays: bins overlap.")
        return cls._between(delays - half, delays + half)

    @classmethod
    def _between(cls, low: np.ndarray, high: np.ndarray) -> "Bins":
        close = 1e-9 * (high - low).min()
        shared = np.abs(low[1:] - high[:-1]) <= np.maximum(close, 1e-14 * np.abs(low[1:]))
        new = np.concatenate([[True], ~shared])
        # a bin begins where the one before ended, or at an edge of its own
        first = np.arange(len(low)) + np.cumsum(new) - 1
        edges = np.empty(len(low) + new.sum())
        edges[first[new]] = low[new]
        edges[first + 1] = high
        return cls(edges, first, first + 1)

    @property
    def widths(self) -> np.ndarray:
        """Widths of the bins, ``(n_bins,)``."""
        return self.edges[self.last] - self.edges[self.first]

    @property
    def centres(self) -> np.ndarray:
        """Middles of the bins, ``(n_bins,)``."""
        return 0.5 * (self.edges[self.last] + self.edges[self.first])

    def averages(self, integrals: np.ndarray) -> np.ndarray:
        """Return averages over the bins of functions whose integrals up to each edge are given."""
        return (integrals[..., self.last] - integrals[..., self.first]) / self.widths


def decay_integral(delay: np.ndarray, lifetime: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    r"""Return the integral from 0 of :math:`e^{-|t|/T}`, blurred by a Gaussian.

    The arrays broadcast; ``jitter`` is its standard deviation, and where it is 0 nothing is blurred.
    """
    away = np.abs(delay)
    sharp = np.copysign(-np.expm1(-away / lifetime), delay) * lifetime
    if not jitter.any():
        return sharp
    sigma = np.where(jitter > 0.0, jitter, 1.0)
    tails = _one_side(-away, lifetime, sigma) - _one_side(away, lifetime, sigma)
    blurred = np.copysign(erf(away / (np.sqrt(2.0) * sigma)) + 0.5 * tails, delay) * lifetime
    return np.where(jitter > 0.0, blurred, sharp)


def _one_side(t: np.ndarray, lifetime: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return a decay that begins at zero, blurred, and written so that nothing overflows."""
    ratio = sigma / lifetime
    x = (ratio - t / sigma) / np.sqrt(2.0)
    near = np.exp(-0.5 * (t / sigma) ** 2) * erfcx(np.maximum(x, 0.0))
    far = np.exp(np.minimum(0.5 * ratio**2 - t / lifetime, 0.0)) * erfc(np.minimum(x, 0.0))
    return np.where(x > 0.0, near, far)


def train_integral(
    delay: np.ndarray, period: np.ndarray, lifetime: np.ndarray, jitter: np.ndarray
) -> np.ndarray:
    """Return the integral from 0 of a decay around each multiple of the period, however many there are.

    The arrays broadcast. A jitter is to be no longer than a quarter of the period.
    """
    if not jitter.any():
        number = np.floor(delay / period)
        phase = delay - number * period
        ends = np.exp(-phase / lifetime) - np.exp((phase - period) / lifetime)
        return lifetime * (2.0 * number + 1.0 + ends / np.expm1(-period / lifetime))
    number = np.rint(delay / period)
    phase = delay - number * period
    near = sum(decay_integral(phase + k * period, lifetime, jitter) for k in (-1.0, 0.0, 1.0))
    # what reaches here from further peaks is exponential again
    rise = np.minimum(0.5 * (jitter / lifetime) ** 2, 0.5 * _BLURRED_AWAY**2)
    start = rise - 2.0 * period / lifetime
    far = np.exp(start + phase / lifetime) - np.exp(start - phase / lifetime)
    far = np.where(jitter > _BLURRED_AWAY * lifetime, 0.0, far / -np.expm1(-period / lifetime))
    return 2.0 * lifetime * number + near + lifetime * far


def fading_train_integral(
    delay: np.ndarray,
    period: np.ndarray,
    lifetime: np.ndarray,
    jitter: np.ndarray,
    fading_time: np.ndarray,
) -> np.ndarray:
    r"""Return the integral of decays around all multiples k of the period, :math:`e^{-|k|P/T_B}` high.

    Up to a constant, from 0. The arrays broadcast; ``fading_time`` is :math:`T_B`. A jitter is to be no
    longer than a quarter of the period.
    """
    q, x = period / fading_time, period / lifetime
    number = np.rint(delay / period)
    phase = delay - number * period
    total = sum(
        np.exp(-q * np.abs(number - k)) * decay_integral(phase + k * period, lifetime, jitter)
        for k in (-1.0, 0.0, 1.0)
    )
    # peaks two and more periods before the delay, and behind it: whole, less their exponential tails
    rise = np.minimum(0.5 * (jitter / lifetime) ** 2, 0.5 * _BLURRED_AWAY**2)
    for sign in (1.0, -1.0):
        last = sign * number - 2.0
        tails = np.exp(rise - 2.0 * x - sign * phase / lifetime) * _faded_tails(last, q, x)
        tails = np.where(jitter > _BLURRED_AWAY * lifetime, 0.0, tails)
        total = total + sign * lifetime * (_faded_peaks(last, q) - tails)
    return total


def _faded_peaks(last: np.ndarray, q: np.ndarray) -> np.ndarray:
    r"""Return :math:`\sum_{k \le l} e^{-q|k|}`, ``last`` being l, less that of :math:`k \le 0`."""
    between = np.expm1(-q * np.abs(last)) / np.expm1(-q)
    return np.where(last >= 0.0, np.exp(-q) * between, -between)


def _faded_tails(last: np.ndarray, q: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""Return :math:`\sum_{k \le l} e^{-q|k| - x(l - k)}`, ``last`` being l."""
    n = np.maximum(last, 0.0)
    up_to_0 = np.exp(-q * np.maximum(-last, 0.0) - x * n) / -np.expm1(-(q + x))
    # from 1 to l: the larger of the two factors to the power l - 1, times a sum of powers of their ratio
    apart = np.maximum(np.abs(q - x), 1e-300)
    powers = np.where(q == x, n, np.expm1(-n * apart) / np.expm1(-apart))
    return up_to_0 + np.exp(-q - np.maximum(n - 1.0, 0.0) * np.minimum(q, x)) * powers


def hump_integral(delay: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the integral from 0 of a Gaussian of height 1 and standard deviation ``width``."""
    return np.sqrt(0.5 * np.pi) * width * erf(delay / (np.sqrt(2.0) * width))


def pulsed_parts(
    bins: Bins,
    *,
    period: np.ndarray,
    zero_delay: np.ndarray,
    lifetimes: np.ndarray,
    jitter: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the train of all peaks and the peak at zero delay, of height 1, for each lifetime.

    Parameters
    ----------
    bins : Bins
        Bins that are averaged over.
    period, zero_delay, jitter : ndarray of shape (n,)
        Time between pulses, the delay of the peak at zero, and the standard deviation of the blur.
    lifetimes : ndarray of shape (n, n_lifetimes)
        Lifetimes.

    Returns
    -------
    trains, centres : ndarray of shape (n, n_lifetimes, n_bins)
    """
    t = (bins.edges - zero_delay[:, None])[:, None]
    period, jitter = period[:, None, None], jitter[:, None, None]
    lifetimes = lifetimes[:, :, None]
    trains = train_integral(t, period, lifetimes, jitter)
    return bins.averages(trains), bins.averages(decay_integral(t, lifetimes, jitter))


def pulsed_correlation(
    bins: Bins,
    *,
    g2_zero: np.ndarray,
    period: np.ndarray,
    zero_delay: np.ndarray,
    lifetimes: np.ndarray,
    weights: np.ndarray,
    jitter: np.ndarray,
    background: np.ndarray,
    blinking: tuple[np.ndarray, np.ndarray] | None = None,
    afterpulses: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    r"""Return :math:`b + \sum_i a_i [r D_i(t) + \sum_{k \ne 0} D_i(t + kP)]`, averaged over bins.

    :math:`D_i(t) = e^{-|t|/T_i}`, blurred by the jitter, and :math:`t = \tau - \tau_0`. The k-th peak of
    an emitter that blinks is :math:`1 + B e^{-|k|P/T_B}` times as high, the one at zero delay included
    (Santori et al., 2004, doi:10.1103/PhysRevB.69.205324).

    Parameters
    ----------
    bins : Bins
        Bins.
    g2_zero, period, zero_delay, jitter, background : ndarray of shape (n,)
        r, P, τ₀, the standard deviation of the blur, and b.
    lifetimes, weights : ndarray of shape (n, n_lifetimes)
        Lifetimes, and what share of the emission decays with each.
    blinking : (ndarray of shape (n,), ndarray of shape (n,)), optional
        B and T_B.
    afterpulses : (ndarray of shape (n,), ndarray of shape (n,)), optional
        What share of the coincidences has an afterpulse in it, and after what time on average.

    Returns
    -------
    correlation : ndarray of shape (n, n_bins)
    """
    times = {"period": period, "zero_delay": zero_delay, "jitter": jitter}

    def peaks(lifetimes: np.ndarray) -> np.ndarray:
        trains, centres = pulsed_parts(bins, lifetimes=lifetimes, **times)
        parts = trains - (1.0 - g2_zero)[:, None, None] * centres
        if blinking is not None:
            bunching, time = (q[:, None, None] for q in blinking)
            t = (bins.edges - zero_delay[:, None])[:, None]
            fading = fading_train_integral(
                t, period[:, None, None], lifetimes[:, :, None], jitter[:, None, None], time
            )
            parts += bunching * (bins.averages(fading) - (1.0 - g2_zero)[:, None, None] * centres)
        return parts

    parts = _with_afterpulses(peaks, lifetimes, afterpulses)
    return background[:, None] + np.einsum("nk,nkm->nm", weights, parts)


def _with_afterpulses(
    shapes: Callable[[np.ndarray], np.ndarray],
    lifetimes: np.ndarray,
    afterpulses: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    r"""Return shapes that are linear in decays, of detectors that click again after they have clicked.

    An afterpulse comes after a time that is distributed exponentially, of mean T_a, in either detector:
    of a share w of the coincidences the delay is convolved with :math:`e^{-|s|/T_a} / 2T_a`. A decay
    over T becomes one over T and one over T_a.

    ``shapes(lifetimes)`` is of shape ``(n, n_lifetimes, n_bins)``.
    """
    as_they_are = shapes(lifetimes)
    if afterpulses is None:
        return as_they_are
    share, mean_time = (values[:, None] for values in afterpulses)
    is_close = np.abs(mean_time - lifetimes) < _APART * lifetimes
    mean_time = np.where(is_close, (1.0 + _APART) * lifetimes, mean_time)
    ratio = mean_time / lifetimes
    own = share * ratio**2 / (1.0 - ratio**2)
    other = share * ratio / (1.0 - ratio**2)
    return (1.0 + own)[:, :, None] * as_they_are - other[:, :, None] * shapes(mean_time)


def continuous_parts(
    bins: Bins, *, zero_delay: np.ndarray, lifetimes: np.ndarray, jitter: np.ndarray
) -> np.ndarray:
    """Return a decay around zero delay, of height 1, for each lifetime, ``(n, n_lifetimes, n_bins)``."""
    t = (bins.edges - zero_delay[:, None])[:, None]
    return bins.averages(decay_integral(t, lifetimes[:, :, None], jitter[:, None, None]))


def continuous_correlation(
    bins: Bins,
    *,
    g2_zero: np.ndarray,
    zero_delay: np.ndarray,
    lifetimes: np.ndarray,
    bunching: np.ndarray,
    jitter: np.ndarray,
    signal: np.ndarray,
    afterpulses: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    r"""Return :math:`1 + \rho^2 (g - 1)`, :math:`g = 1 - (1 - r + b) D_1(t) + b D_2(t)`, over bins.

    Two levels have b = 0, and a third, dark one bunches the photons at longer delays (Kurtsiefer et al.,
    2000, doi:10.1103/PhysRevLett.85.290). Thermal light has b = 0 and r = 2.

    Parameters
    ----------
    bins : Bins
        Bins.
    g2_zero, zero_delay, bunching, jitter, signal : ndarray of shape (n,)
        r, τ₀, b, the standard deviation of the blur, and ρ, the share of counts that are signal.
    lifetimes : ndarray of shape (n, 1) or (n, 2)
        Times of antibunching and, where b is not 0, of bunching.
    afterpulses : (ndarray of shape (n,), ndarray of shape (n,)), optional
        What share of the coincidences has an afterpulse in it, and after what time on average.

    Returns
    -------
    correlation : ndarray of shape (n, n_bins)
    """

    def decays_of(lifetimes: np.ndarray) -> np.ndarray:
        return continuous_parts(bins, zero_delay=zero_delay, lifetimes=lifetimes, jitter=jitter)

    decays = _with_afterpulses(decays_of, lifetimes, afterpulses)
    dip = (1.0 - g2_zero + bunching)[:, None] * decays[:, 0] - bunching[:, None] * decays[:, -1]
    return 1.0 - signal[:, None] ** 2 * dip
