"""Stellar spectra as surveys give them: errors of each pixel of each row, gaps, redshifts, anomalies."""

from numbers import Integral, Real

import numpy as np
from scipy import constants
from sklearn.utils import Bunch, check_random_state

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, arguments
from skae._sklearn import Interval

# Å
_SECOND_RADIATION = constants.h * constants.c / constants.k * 1e10  # hc/k, Å K
_VISUAL = 5500.0

# Lines of hydrogen, strongest at 9500 K; of metals, with the temperature above which they are weak and
# their depth; heads of the bands of titanium oxide, which fall off to the red.
_HYDROGEN = (6562.8, 4861.3, 4340.5, 4101.7, 3970.1)
_HOTTEST_HYDROGEN, _HYDROGEN_RANGE = 9500.0, 0.35
_METALS = (
    (3933.7, 8000.0, 0.75),
    (3968.5, 8000.0, 0.7),
    (4304.0, 6500.0, 0.35),
    (5175.0, 6000.0, 0.4),
    (5893.0, 5000.0, 0.4),
    (8498.0, 7000.0, 0.25),
    (8542.1, 7000.0, 0.4),
    (8662.1, 7000.0, 0.35),
)
_METAL_WIDTH = 9.0
_TITANIUM_OXIDE = (4954.0, 5448.0, 6158.0, 6651.0, 7053.0, 8432.0)
_COOL, _BAND_LENGTH = 4000.0, 150.0

# Lines of the night sky, and how many times the error around them is that of the rest.
_SKY = ((5577.3, 8.0, 3.0), (6300.3, 8.0, 1.5), (7600.0, 60.0, 1.5), (8400.0, 250.0, 1.0))

# Scatter of rows' errors in decades, and part of the flux that is added to them.
_ERROR_SCATTER, _FLUX_ERROR = 0.2, 0.02

# Standard deviation of a line that does not belong there, in pixels.
_ANOMALY_WIDTH = 1.5


@arguments(
    n_samples=COUNT,
    n_pixels=Interval(Integral, 8, None, closed="left"),
    brightness_range=Interval(Real, 1, None, closed="left"),
    max_redshift=NOT_NEGATIVE,
    gaps=Interval(Real, 0, 1 / 3, closed="left"),
    anomalies=SHARE,
    anomaly_strength=POSITIVE,
    random_state="random_state",
)
def make_stellar_spectra(
    n_samples=1000,
    *,
    n_pixels=400,
    brightness_range=1e3,
    max_redshift=0.0,
    gaps=0.09,
    anomalies=0.0,
    anomaly_strength=64.0,
    random_state=None,
):
    r"""Generate spectra of stars, each with errors of its own, as a survey gives them.

    A star is a black body of 3000 to 20,000 K, behind some dust, with lines of hydrogen, of metals and
    bands of titanium oxide that follow the temperature, the abundance of metals and the gravity. Its
    brightness is log-uniform. The variance of a pixel is that of the sky, which has lines, times a factor
    of each row, and (2 % of the flux)². The beginning of half of the rows was not seen, and a part inside
    of each.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of spectra.
    n_pixels : int, default=400
        Pixels from 3800 to 9200 Å.
    brightness_range : float, default=1000
        Brightest over faintest row. The median flux of the faintest is that of the sky's error.
    max_redshift : float, default=0
        Redshifts are uniform up to it.
    gaps : float, default=0.09
        Share of the pixels that were not seen, less than a third: something is seen of each row.
    anomalies : float, default=0
        Share of the rows that have an emission line more, of any wavelength.
    anomaly_strength : float, default=64
        Δχ² of that line.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    spectra : Bunch
        flux, errors : ndarray of shape (n_samples, n_pixels)
            What was measured, and standard deviations; NaN where nothing was seen.
        truth : ndarray of shape (n_samples, n_pixels)
            The spectra without noise or anomaly.
        wavelengths : ndarray of shape (n_pixels,)
            In Å.
        temperature, redshift : ndarray of shape (n_samples,)
            In K; redshifts.
        is_anomaly : ndarray of shape (n_samples,)
            Which rows have a line more.

    See Also
    --------
    skae.with_errors : Fluxes and errors in one table.

    Examples
    --------
    >>> from skae.datasets import make_stellar_spectra
    >>> spectra = make_stellar_spectra(100, random_state=0)
    >>> spectra.flux.shape, spectra.errors.shape
    ((100, 400), (100, 400))
    """
    rng = check_random_state(random_state)
    wavelengths = np.linspace(3800.0, 9200.0, n_pixels)
    temperature = np.exp(rng.uniform(np.log(3000.0), np.log(20000.0), n_samples))
    redshift = rng.uniform(0.0, max_redshift, n_samples)
    shapes = _shapes(wavelengths / (1.0 + redshift[:, np.newaxis]), temperature, rng)
    brightness = brightness_range ** rng.uniform(size=(n_samples, 1))
    truth = shapes / np.median(shapes, axis=1, keepdims=True) * brightness
    sky = 1.0 + sum(
        times * np.exp(-0.5 * ((wavelengths - place) / width) ** 2) for place, width, times in _SKY
    )
    errors = np.hypot(
        sky * 10.0 ** (_ERROR_SCATTER * rng.standard_normal((n_samples, 1))), _FLUX_ERROR * truth
    )
    flux = truth + errors * rng.standard_normal(truth.shape)
    is_anomaly = rng.uniform(size=n_samples) < anomalies
    places = rng.uniform(size=n_samples) * (n_pixels - 1)
    profile = np.exp(-0.5 * ((np.arange(n_pixels) - places[:, np.newaxis]) / _ANOMALY_WIDTH) ** 2)
    strength = np.square(profile / errors).sum(axis=1, keepdims=True)
    flux += is_anomaly[:, np.newaxis] * np.sqrt(anomaly_strength / strength) * profile
    unseen = _gaps(n_samples, n_pixels, gaps, rng)
    flux[unseen], errors[unseen] = np.nan, np.nan
    return Bunch(
        flux=flux,
        errors=errors,
        truth=truth,
        wavelengths=wavelengths,
        temperature=temperature,
        redshift=redshift,
        is_anomaly=is_anomaly,
    )


def _shapes(rest, temperature, rng):
    """Return spectra at wavelengths of their own ``(n, n_pixels)``, up to a factor."""
    n = len(temperature)
    hot = temperature[:, np.newaxis]
    metals, gravity = np.exp(rng.standard_normal((2, n, 1)) * [[[0.4]], [[0.2]]])
    dust = rng.exponential(0.2, (n, 1))
    light = rest**-5.0 / np.expm1(_SECOND_RADIATION / (rest * hot))
    light = light * 10.0 ** (-0.4 * dust * (_VISUAL / rest))
    depth = 0.6 * np.exp(-np.square(np.log(hot / _HOTTEST_HYDROGEN) / _HYDROGEN_RANGE))
    width = (6.0 + 20.0 * depth) * gravity
    for place in _HYDROGEN:
        light = light * (1.0 - depth * np.exp(-0.5 * ((rest - place) / width) ** 2))
    for place, weak, most in _METALS:
        # saturated: more metal deepens a line less and less
        depth = -np.expm1(-metals * most / (1.0 + (hot / weak) ** 8))
        light = light * (1.0 - depth * np.exp(-0.5 * ((rest - place) / _METAL_WIDTH) ** 2))
    depth = -np.expm1(-0.8 * metals / (1.0 + (hot / _COOL) ** 16))
    for head in _TITANIUM_OXIDE:
        behind = np.exp(-np.maximum(rest - head, 0.0) / _BAND_LENGTH) * (rest > head)
        light = light * (1.0 - depth * behind)
    return light


def _gaps(n, n_pixels, share, rng):
    """Return which pixels were not seen: at the beginning of half of the rows, and inside of each."""
    pixels = np.arange(n_pixels)
    length = rng.uniform(0.0, share * n_pixels, (2, n, 1))
    length[0] *= 2.0 * (rng.uniform(size=(n, 1)) < 0.5)
    start = rng.uniform(size=(n, 1)) * (n_pixels - length[1])
    inside = (pixels >= start) & (pixels < start + length[1])
    return (pixels < length[0]) | inside
