"""Spectra: a generator of lines on a continuum with known fluxes."""

from numbers import Integral, Real

import numpy as np
from scipy.special import ndtri
from sklearn.utils import check_array, check_random_state

from skae._parameters import COUNT, POSITIVE, arguments
from skae._sklearn import Interval

# Centre and standard deviation of the two lines, in units of the spectrum's length.
_LINES = ((0.30, 0.05), (0.55, 0.12))

# Counts in a bin of the continuum at x from 0 to 1: a₀ + a₁x + a₂x².
_CONTINUUM = (500.0, -500.0, 200.0)

# Correlation of the normal numbers that decide which of the two lines are there: with half of the fluxes
# zero, both and neither are there in one spectrum of six each.
_PRESENCE_CORRELATION = -0.5


@arguments(
    n_samples=COUNT,
    n_bins=Interval(Integral, 2, None, closed="left"),
    templates=["array-like", None],
    baseline=["array-like", None],
    flux_mean=["array-like", POSITIVE],
    flux_std=["array-like", POSITIVE],
    zero_fraction=Interval(Real, 0, 1, closed="both"),
    noise="boolean",
    random_state="random_state",
)
def make_spectra(
    n_samples=200,
    *,
    n_bins=500,
    templates=None,
    baseline=None,
    flux_mean=(112.0, 78.0),
    flux_std=(29.0, 30.0),
    zero_fraction=0.5,
    noise=True,
    random_state=None,
):
    r"""Generate counted spectra: lines of known fluxes on a falling continuum.

    A spectrum expects :math:`b + f_1 S_1 + f_2 S_2` counts in its bins and holds Poisson draws of them.
    With the default arguments it looks like a published sample of 200 real-looking spectra [1]_: the
    continuum falls from 500 to 200 counts; a narrow line (FWHM 59 of 500 bins) stands at 0.30 of the
    spectrum, a wide one (FWHM 141) at 0.55; half of the fluxes are exactly zero, the others follow
    Gamma distributions, and the two lines tend to avoid each other.

    Parameters
    ----------
    n_samples : int, default=200
        Number of spectra.
    n_bins : int, default=500
        Bins of a spectrum.
    templates : array-like of shape (n_lines, n_bins), default=None
        Shapes of the lines, S; none may be negative. None takes the two lines, Gaussians with a mean
        of 1: a flux is the line's mean number of counts in a bin.
    baseline : array-like of shape (n_bins,), default=None
        Counts that are expected without lines, b. None takes the falling continuum.
    flux_mean, flux_std : float or array-like of shape (n_lines,), default=(112, 78) and (29, 30)
        Mean and standard deviation of the fluxes that are not zero.
    zero_fraction : float, default=0.5
        Share of fluxes that are exactly zero, for each line.
    noise : bool, default=True
        Draw Poisson counts. False returns what is expected.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible; with and without noise it gives the same fluxes.

    Returns
    -------
    X : ndarray of shape (n_samples, n_bins)
        Counts, as floats.
    fluxes : ndarray of shape (n_samples, n_lines)
        Flux of each line.

    References
    ----------
    .. [1] D. Kirkby, "Machine Learning and Statistics for Physicists", University of California,
       Irvine (2018): the spectra of its notebooks.

    Examples
    --------
    >>> from skae.datasets import make_spectra
    >>> X, fluxes = make_spectra(200, random_state=0)
    >>> X.shape, fluxes.shape
    ((200, 500), (200, 2))
    """
    rng = check_random_state(random_state)
    x = (np.arange(n_bins) + 0.5) / n_bins
    if templates is None:
        centre, width = np.array(_LINES).T[:, :, np.newaxis]
        shapes = np.exp(-0.5 * ((x - centre) / width) ** 2) / (np.sqrt(2.0 * np.pi) * width)
        correlation = _PRESENCE_CORRELATION
    else:
        shapes = _check_counts("templates", templates, 2, n_bins)
        correlation = 0.0
    n_lines = len(shapes)
    if baseline is None:
        expected = np.polynomial.polynomial.polyval(x, _CONTINUUM)
    else:
        expected = _check_counts("baseline", baseline, 1, n_bins)
    mean = _one_a_line("flux_mean", flux_mean, n_lines)
    std = _one_a_line("flux_std", flux_std, n_lines)

    normal = rng.standard_normal((n_samples, n_lines))
    if n_lines == 2:
        rest = np.sqrt(1.0 - correlation**2)
        normal[:, 1] = correlation * normal[:, 0] + rest * normal[:, 1]
    is_there = normal > ndtri(zero_fraction)
    fluxes = rng.gamma((mean / std) ** 2, std**2 / mean, size=(n_samples, n_lines))
    fluxes[~is_there] = 0.0
    X = expected + fluxes @ shapes
    return (rng.poisson(X).astype(np.float64) if noise else X), fluxes


def _check_counts(name: str, values, n_axes: int, n_bins: int) -> np.ndarray:
    values = check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)
    wanted = "(n_lines, n_bins)" if n_axes == 2 else "(n_bins,)"
    if values.ndim != n_axes or values.shape[-1] != n_bins:
        raise ValueError(
            f"{name} has shape {values.shape}; it must be {wanted} with n_bins={n_bins}."
        )
    if (values < 0).any():
        raise ValueError(f"{name} has negative values, down to {values.min():.6g}.")
    return values


def _one_a_line(name: str, values, n_lines: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape not in ((), (n_lines,)) or not (values > 0).all():
        raise ValueError(
            f"{name}={values.tolist()} must be one positive number, or one for each of {n_lines} lines."
        )
    return np.broadcast_to(values, n_lines)
