"""SpectraVAE with decoder="redshift": lines that shift, found again, beside a linear model."""

import warnings

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

import skae
from skae import SpectraVAE
from skae.exceptions import PoorFitWarning
from skae.modules.spectra.rest_frame import RestFrame

N_PIXELS, MOST = 90, 0.1
WAVELENGTHS = np.linspace(4000.0, 6000.0, N_PIXELS)
LINES = (3820.0, 4300.0, 4650.0, 5150.0, 5600.0, 5890.0)

pytestmark = [
    pytest.mark.filterwarnings("ignore::skae.exceptions.PoorFitWarning"),
    pytest.mark.filterwarnings("ignore:max_epochs=:sklearn.exceptions.ConvergenceWarning"),
]


def survey(seed, n=250):
    """Return fluxes, errors, NaN in gaps, fluxes without noise, and ln(1 + z)."""
    rng = np.random.default_rng(seed)
    shift = np.log1p(rng.uniform(0.0, MOST, (n, 1)))
    rest = WAVELENGTHS * np.exp(-shift)
    depth = rng.uniform(0.2, 0.8, (n, 2))
    true = 1.0 + 0.2 * rng.normal(size=(n, 1)) * (rest / 5000.0 - 1.0)
    for i, place in enumerate(LINES):
        true -= depth[:, i % 2, None] * np.exp(-0.5 * ((rest - place) / 30.0) ** 2)
    errors = 0.02 * np.exp(rng.normal(0.0, 0.5, (n, 1))) * np.ones(N_PIXELS)
    flux = true + errors * rng.normal(size=true.shape)
    gap = rng.uniform(size=flux.shape) < 0.05
    flux[gap] = 1e6  # whatever a survey writes there
    return flux, np.where(gap, np.nan, errors), true, shift[:, 0]


def shifting(**options):
    given = {"n_components": 4, "decoder": "redshift", "wavelengths": WAVELENGTHS}
    return SpectraVAE(**{**given, "max_epochs": 10, "random_state": 0, **options})


@pytest.fixture(scope="module")
def rows():
    return survey(1)


@pytest.fixture(scope="module")
def fitted(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        return shifting().fit(rows[0], errors=rows[1])


def in_errors(vae, flux, errors, true):
    """Return the error of the mean rows, in σ."""
    off = (vae.reconstruct(flux, errors=errors) - true) / np.nanmedian(
        errors, axis=1, keepdims=True
    )
    return np.sqrt(np.mean(off**2))


def test_lines_that_shift_are_followed(rows, fitted):
    others = survey(2)
    linear = SpectraVAE(4, random_state=0).fit(rows[0], errors=rows[1])
    assert in_errors(fitted, *others[:3]) < 0.3 * in_errors(linear, *others[:3])
    assert fitted.score(*others[:1], errors=others[1]) > linear.score(others[0], errors=others[1])
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_redshifts_are_found_within_their_errors(fitted):
    flux, errors, _, shift = survey(3)
    found, width = fitted.redshifts(flux, errors=errors, return_std=True)
    np.testing.assert_array_equal(fitted.redshifts(flux, errors=errors), found)
    off = np.log1p(found) - shift
    off -= np.median(off)  # where the rest frame is cannot be known
    assert np.quantile(np.abs(off), 0.95) < 0.001  # a quarter of a pixel
    assert 0.5 < np.sqrt(np.median((off / width) ** 2) / 0.455) < 1.5
    mean, std = fitted.posterior(flux, errors)
    share = norm.cdf(mean[:, 0] + np.outer([-0.01, 0.0, 0.01], std[:, 0]))
    low, middle, high = np.expm1(np.log1p(MOST) * share)
    np.testing.assert_allclose(found, middle, rtol=1e-5)
    np.testing.assert_allclose(width, (high - low) / 0.02, rtol=1e-2)
    assert not hasattr(SpectraVAE(), "redshifts")
    np.testing.assert_array_equal(fitted.transform(flux, errors), mean)


def test_bands_cover(fitted):
    flux, errors, true, _ = survey(4)
    mean, std = fitted.reconstruct(flux, errors=errors, return_std=True)
    within = np.abs(mean - true) < std
    assert within.mean() == pytest.approx(0.68, abs=0.1)
    pulls = fitted.pulls(flux, errors)
    assert np.nanmean(pulls**2) == pytest.approx(1.0, abs=0.15)


def test_both_doors_and_files_give_the_same(rows, fitted, tmp_path):
    flux, errors, *_ = rows
    X = skae.with_errors(flux, errors)
    within = shifting(error_columns=True).fit(X)
    latent = fitted.transform(flux, errors)
    np.testing.assert_allclose(within.transform(X), latent, atol=1e-6)
    skae.save(fitted, tmp_path / "redshift.skae")
    again = skae.load(tmp_path / "redshift.skae")
    np.testing.assert_array_equal(again.transform(flux, errors), latent)
    np.testing.assert_array_equal(
        again.score_samples(flux, errors), fitted.score_samples(flux, errors)
    )


def test_what_was_not_seen_leaves_the_prior(rows, fitted):
    mean, std = fitted.posterior(rows[0][:3], np.full((3, N_PIXELS), 1e9))
    np.testing.assert_allclose(mean, 0.0, atol=1e-3)
    np.testing.assert_allclose(std, 1.0, rtol=1e-3)


def test_rows_do_not_depend_on_their_neighbours(rows, fitted):
    flux, errors, *_ = rows
    whole = fitted.transform(flux, errors)
    parts = [fitted.transform(flux[i : i + 1], errors[i : i + 1]) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(parts), whole[:5], atol=1e-5)


def test_bounds_are_tighter_with_draws_that_are_weighted(rows, fitted):
    plain = fitted.score_samples(rows[0], rows[1])
    weighted = fitted.score_samples(rows[0], rows[1], n_importance=64)
    assert np.mean(weighted) == pytest.approx(np.mean(plain), abs=0.05)
    assert np.corrcoef(plain, weighted)[0, 1] > 0.999


def test_samples_are_rows_at_redshifts(rows, fitted, tmp_path):
    drawn = fitted.sample(50, noise=False, random_state=0)
    noisy = fitted.sample(50, random_state=0, errors=np.full(N_PIXELS, 0.1))
    assert drawn.shape == noisy.shape == (50, N_PIXELS)
    width = np.sqrt(0.1**2 + np.mean(fitted.misfit_sigma_**2))
    assert np.std(noisy - drawn) == pytest.approx(width, rel=0.05)
    skae.export.to_onnx(fitted, tmp_path / "redshift.onnx", method="inverse_transform")
    session = InferenceSession(tmp_path / "redshift.onnx")
    latent = fitted.transform(*rows[:2]).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: latent})
    np.testing.assert_allclose(found, fitted.inverse_transform(latent), rtol=1e-4, atol=1e-4)


def test_scatter_beyond_errors_is_learnt(rows):
    flux, errors, *_ = rows
    rng = np.random.default_rng(0)
    scattered = flux + 0.05 * rng.normal(size=flux.shape)
    vae = shifting(noise_sigma="learn", misfit_errors=False).fit(scattered, errors=errors)
    np.testing.assert_allclose(vae.noise_sigma_, 0.05, rtol=0.1)
    with pytest.raises(AttributeError, match="misfit_errors=True"):
        _ = vae.misfit_sigma_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelengths": None}, "needs wavelengths="),
        ({"wavelengths": np.arange(N_PIXELS)}, "must be positive"),
        ({"n_components": 1}, "n_components of 2 or more"),
        ({"hidden_layer_sizes": (8,)}, "takes no hidden_layer_sizes"),
        ({"likelihood": "laplace"}, "takes no likelihood='laplace'"),
        ({"prior": "mixture"}, "takes no prior='mixture'"),
        ({"beta": 2.0}, "takes no beta=2.0"),
    ],
)
def test_what_does_not_go_with_redshifts_is_refused(rows, options, message):
    with pytest.raises(ValueError, match=message):
        shifting(**options).fit(rows[0], errors=rows[1])


def test_few_pixels_are_refused(rows):
    with pytest.raises(ValueError, match="needs 8 pixels or more, but X has 1"):
        shifting(wavelengths=[5000.0]).fit(rows[2][:, :1], errors=np.ones((len(rows[2]), 1)))


def test_rows_without_errors_are_refused(rows):
    with pytest.raises(ValueError, match="needs errors of the rows"):
        shifting().fit(rows[2])


@pytest.mark.filterwarnings("always::skae.exceptions.PoorFitWarning")
def test_a_range_that_is_too_small_is_warned_of(rows):
    with pytest.warns(PoorFitWarning, match="at the ends of their range.* raise max_redshift"):
        shifting(max_redshift=0.03).fit(rows[0], errors=rows[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shifting().fit(rows[0], errors=rows[1])
    assert not any("max_redshift" in str(each.message) for each in caught)


def test_wavelengths_that_nearly_coincide_take_no_more_knots():
    places = np.sort(np.r_[np.log(WAVELENGTHS), np.log(WAVELENGTHS[40]) + 1e-12])
    assert RestFrame(torch.from_numpy(places), MOST).n_knots < 10 * N_PIXELS


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_are_fitted_as_well(rows, n):
    flux, errors = rows[2][:n], np.full((n, N_PIXELS), 0.02)
    vae = shifting(max_epochs=2).fit(flux, errors=errors)
    assert np.isfinite(vae.reconstruct(flux, errors=errors)).all()
    assert np.isfinite(vae.score(flux, errors=errors))


def test_rows_of_no_weight_do_not_count(rows):
    flux, errors, *_ = (each[:120] for each in rows)
    weight = np.r_[np.ones(100), np.zeros(20)]
    strange = np.where(np.arange(120)[:, None] < 100, flux, -50.0)
    fits = [
        shifting(max_epochs=2).fit(each, sample_weight=weight, errors=errors)
        for each in (flux, strange)
    ]
    np.testing.assert_allclose(*(fit.transform(flux, errors) for fit in fits), atol=1e-4)
