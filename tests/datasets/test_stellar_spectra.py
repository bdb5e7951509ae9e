"""make_stellar_spectra: black bodies, errors that are right, redshifts, lines of known strength."""

import numpy as np
import pytest

from skae.datasets import make_stellar_spectra


@pytest.fixture(scope="module")
def spectra():
    return make_stellar_spectra(500, random_state=0)


def test_errors_are_those_of_the_fluxes(spectra):
    pulls = ((spectra.flux - spectra.truth) / spectra.errors).ravel()
    seen = ~np.isnan(pulls)
    assert np.isnan(spectra.flux).mean() == pytest.approx(0.09, abs=0.01)
    np.testing.assert_array_equal(np.isnan(spectra.flux), np.isnan(spectra.errors))
    assert pulls[seen].mean() == pytest.approx(0.0, abs=0.01)
    assert pulls[seen].std() == pytest.approx(1.0, abs=0.01)
    assert np.isfinite(spectra.truth).all()
    assert (spectra.truth > 0.0).all()
    assert (spectra.errors[seen.reshape(spectra.errors.shape)] > 0.0).all()


def test_brightness_is_spread_over_its_range():
    medians = np.median(make_stellar_spectra(2000, gaps=0.0, random_state=1).truth, axis=1)
    assert medians.min() == pytest.approx(1.0, rel=0.02)
    assert medians.max() == pytest.approx(1e3, rel=0.02)
    assert np.median(medians) == pytest.approx(1e3**0.5, rel=0.2)


def test_hot_stars_are_blue_and_have_hydrogen_cool_ones_titanium_oxide(spectra):
    def ratio(low, high):
        """Mean flux of pixels around one wavelength over that around another."""
        means = [
            spectra.truth[:, np.abs(spectra.wavelengths - place) < 15.0].mean(axis=1)
            for place in (low, high)
        ]
        return means[0] / means[1]

    hot, cool = spectra.temperature > 8000.0, spectra.temperature < 3600.0
    colour = ratio(4500.0, 9000.0)
    assert np.median(colour[hot]) > 3.0 * np.median(colour[cool])
    near = np.abs(np.log(spectra.temperature / 9500.0)) < 0.15
    assert np.median(ratio(4861.0, 4750.0)[near]) < 0.7
    assert np.median(ratio(4861.0, 4750.0)[cool]) > 0.85
    assert np.median(ratio(7070.0, 7030.0)[cool]) < 0.8


def test_redshifts_shift(spectra):
    """The darkest pixel around Hα is where it should be."""
    shifted = make_stellar_spectra(500, n_pixels=2000, max_redshift=0.1, random_state=0)
    near = np.flatnonzero(np.abs(np.log(shifted.temperature / 9500.0)) < 0.15)
    assert len(near) > 20
    for i in near:
        expected = 6562.8 * (1.0 + shifted.redshift[i])
        window = np.abs(shifted.wavelengths - expected) < 60.0
        found = shifted.wavelengths[window][shifted.truth[i, window].argmin()]
        assert found == pytest.approx(expected, abs=6.0)
    assert not spectra.redshift.any()


def test_anomalies_have_the_strength_that_was_asked_for():
    options = {"gaps": 0.0, "random_state": 0}
    plain = make_stellar_spectra(300, **options)
    strange = make_stellar_spectra(300, anomalies=0.3, anomaly_strength=100.0, **options)
    gain = np.square((strange.flux - plain.flux) / plain.errors).sum(axis=1)
    np.testing.assert_allclose(gain, np.where(strange.is_anomaly, 100.0, 0.0), atol=1e-6)
    assert strange.is_anomaly.mean() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("gaps", [0.09, 0.33])
def test_something_is_seen_of_each_row_and_of_each_column(gaps):
    spectra = make_stellar_spectra(500, gaps=gaps, random_state=0)
    seen = ~np.isnan(spectra.flux)
    np.testing.assert_array_equal(seen, ~np.isnan(spectra.errors))
    assert seen.mean() == pytest.approx(1.0 - gaps, abs=0.06)
    assert seen.mean(axis=0).min() > 0.3
    assert seen.any(axis=1).all()


def test_seeds_and_wrong_arguments():
    first, second = (make_stellar_spectra(5, random_state=3).flux for _ in range(2))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ValueError, match="gaps"):
        make_stellar_spectra(5, gaps=1.0)
    with pytest.raises(ValueError, match="max_redshift"):
        make_stellar_spectra(5, max_redshift=-0.1)
