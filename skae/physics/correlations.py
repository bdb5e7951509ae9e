r"""Second-order correlations of light in closed form: what is generated, and what is fitted.

Behind an emitter excited by pulses a period P apart, coincidences lie in peaks around each multiple of
P; the one at zero delay holds the share :math:`g^{(2)}(0)` of the others. Under continuous excitation
they have a dip there (Kimble, Dagenais & Mandel, 1977, doi:10.1103/PhysRevLett.39.691).
"""

import numpy as np
from scipy.special import erfc, erfcx

# Peaks are summed as far as they reach: e⁻²⁵ of their height is below what float64 adds to the rest.
_REACH = 25.0


def two_sided_decay(delay: np.ndarray, lifetime: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    r"""Return :math:`e^{-|t|/T}`, blurred by a Gaussian of standard deviation ``jitter``.

    The arrays broadcast; where ``jitter`` is 0 nothing is blurred.
    """
    delay, lifetime, jitter = np.broadcast_arrays(np.abs(delay), lifetime, jitter)
    if not jitter.any():
        return np.exp(-delay / lifetime)
    sigma = np.where(jitter > 0.0, jitter, 1.0)
    blurred = 0.5 * sum(_one_side(side * delay, lifetime, sigma) for side in (1.0, -1.0))
    return np.where(jitter > 0.0, blurred, np.exp(-delay / lifetime))


def _one_side(t: np.ndarray, lifetime: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return a decay that begins at zero, blurred, and written so that nothing overflows."""
    ratio = sigma / lifetime
    x = (ratio - t / sigma) / np.sqrt(2.0)
    near = np.exp(-0.5 * (t / sigma) ** 2) * erfcx(np.maximum(x, 0.0))
    far = np.exp(np.minimum(0.5 * ratio**2 - t / lifetime, 0.0)) * erfc(np.minimum(x, 0.0))
    return np.where(x > 0.0, near, far)


def pulsed_correlation(
    tau: np.ndarray,
    *,
    g2_zero: np.ndarray,
    period: np.ndarray,
    zero_delay: np.ndarray,
    lifetimes: np.ndarray,
    weights: np.ndarray,
    jitter: np.ndarray,
    background: np.ndarray,
) -> np.ndarray:
    r"""Return :math:`b + \sum_i a_i [r D_i(t) + \sum_{k \ne 0} D_i(t + kP)]`.

    :math:`D_i` is :func:`two_sided_decay` with the i-th lifetime, and :math:`t = \tau - \tau_0`.

    Parameters
    ----------
    tau : ndarray of shape (n_times,)
        Delays.
    g2_zero, period, zero_delay, jitter, background : ndarray of shape (n,)
        r, P, τ₀, the standard deviation of the blur, and b.
    lifetimes, weights : ndarray of shape (n, n_lifetimes)
        Lifetimes, and what share of the emission decays with each.

    Returns
    -------
    correlation : ndarray of shape (n, n_times)
    """
    period, jitter = period[:, None], jitter[:, None]
    t = tau - zero_delay[:, None]
    phase = np.abs(t - period * np.rint(t / period))  # (n, n_times), to the nearest peak
    total = np.repeat(background[:, None], len(tau), axis=1)
    for lifetime, weight in zip(lifetimes.T[:, :, None], weights.T[:, :, None], strict=True):
        if jitter.any():
            reach = int(np.ceil((_REACH * lifetime + 9.0 * jitter).max() / period.min() + 0.5))
            train = sum(
                two_sided_decay(phase + k * period, lifetime, jitter)
                for k in range(-reach, reach + 1)
            )
        else:
            train = (np.exp(-phase / lifetime) + np.exp((phase - period) / lifetime)) / -np.expm1(
                -period / lifetime
            )
        centre = two_sided_decay(t, lifetime, jitter)
        total += weight * (train - (1.0 - g2_zero[:, None]) * centre)
    return total


def continuous_correlation(
    tau: np.ndarray,
    *,
    zero_delay: np.ndarray,
    lifetimes: np.ndarray,
    bunching: np.ndarray,
    jitter: np.ndarray,
    signal: np.ndarray,
) -> np.ndarray:
    r"""Return :math:`1 + \rho^2 (g - 1)`, :math:`g = 1 - (1 + b) D_1(t) + b D_2(t)`.

    Two levels have b = 0, and a third, dark one bunches the photons at longer delays (Kurtsiefer et al.,
    2000, doi:10.1103/PhysRevLett.85.290).

    Parameters
    ----------
    tau : ndarray of shape (n_times,)
        Delays.
    zero_delay, bunching, jitter, signal : ndarray of shape (n,)
        τ₀, b, the standard deviation of the blur, and ρ, the share of counts that are signal.
    lifetimes : ndarray of shape (n, 1) or (n, 2)
        Times of antibunching and, where b is not 0, of bunching.

    Returns
    -------
    correlation : ndarray of shape (n, n_times)
    """
    t = tau - zero_delay[:, None]
    dip = (1.0 + bunching)[:, None] * two_sided_decay(t, lifetimes[:, :1], jitter[:, None])
    if bunching.any():
        dip -= bunching[:, None] * two_sided_decay(t, lifetimes[:, -1:], jitter[:, None])
    return 1.0 - signal[:, None] ** 2 * dip
