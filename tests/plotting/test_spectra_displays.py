"""LatentDisplay and SpectrumDisplay: what they draw, by artists and data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import JetAutoencoder, SpectraVAE
from skae.datasets import make_spectra
from skae.plotting import LatentDisplay, SpectrumDisplay

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture(scope="module")
def spectra():
    return make_spectra(100, n_bins=40, random_state=0)


@pytest.fixture(scope="module")
def vae(spectra):
    return SpectraVAE(3, likelihood="poisson", max_epochs=5, random_state=0).fit(spectra[0])


def test_the_latent_plane_shows_ellipses_against_the_prior(vae, spectra):
    X, fluxes = spectra
    colour = pd.Series(fluxes[:, 0], name="flux 1")
    display = LatentDisplay.from_estimator(vae, X, c=colour, components=(0, 2), n_sigma=2.0)
    mean, std = vae.posterior(X)
    points, ellipses = display.ax_.collections
    np.testing.assert_allclose(points.get_offsets(), mean[:, [0, 2]])
    np.testing.assert_allclose(points.get_array(), fluxes[:, 0])
    np.testing.assert_allclose(ellipses.get_widths(), 4.0 * std[:, 0])
    np.testing.assert_allclose(ellipses.get_heights(), 4.0 * std[:, 2])
    assert [patch.radius for patch in display.ax_.patches] == [1.0, 2.0]
    assert display.ax_.get_ylabel() == "latent coordinate 2"
    assert display.figure_.axes[1].get_ylabel() == "flux 1"


def test_pipelines_and_plain_autoencoders(spectra):
    X, _ = spectra
    pipeline = make_pipeline(StandardScaler(), SpectraVAE(max_epochs=2)).fit(X)
    assert len(LatentDisplay.from_estimator(pipeline, X).ax_.collections) == 2
    plain = JetAutoencoder(2, max_epochs=1).fit(X)
    display = LatentDisplay.from_estimator(plain, X)
    (points,) = display.ax_.collections
    np.testing.assert_allclose(points.get_offsets(), plain.transform(X))


def test_the_circles_are_those_of_the_normal_prior(spectra):
    X, _ = spectra
    vae = SpectraVAE(prior="mixture", max_epochs=1).fit(X)
    assert len(LatentDisplay.from_estimator(vae, X).ax_.patches) == 0
    with pytest.raises(ValueError, match="could not convert"):
        LatentDisplay.from_estimator(vae, X, c=np.full(100, "red"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": np.ones((3, 1))}, r"mean has shape \(3, 1\)"),
        ({"mean": np.ones((3, 2)), "std": np.ones((2, 2))}, r"std has shape \(2, 2\)"),
        ({"mean": np.ones((3, 2)), "c": np.ones(4)}, r"c has shape \(4,\)"),
    ],
)
def test_latents_of_the_wrong_shape_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentDisplay.from_predictions(**arguments)


def test_spectra_come_with_bands_and_pulls(vae, spectra):
    X = spectra[0][:2]
    display = SpectrumDisplay.from_estimator(vae, X, xlabel="bin", ylabel="counts")
    mean, std = vae.reconstruct(X, return_std=True)
    assert len(display.ax_) == len(display.pull_ax_) == 2
    assert display.ax_[0].get_ylabel() == "counts"
    for i in range(2):
        observed, reconstructed = display.ax_[i].lines
        np.testing.assert_allclose(observed.get_ydata(), X[i])
        np.testing.assert_allclose(reconstructed.get_ydata(), mean[i])
        noise, posterior = (
            part.get_paths()[0].vertices[:, 1] for part in display.ax_[i].collections
        )
        assert noise.max() == pytest.approx((mean[i] + np.sqrt(mean[i])).max(), rel=1e-6)
        assert posterior.max() == pytest.approx((mean[i] + std[i]).max(), rel=1e-6)
        pulls = display.pull_ax_[i].lines[0].get_ydata()
        np.testing.assert_allclose(pulls, (X[i] - mean[i]) / np.sqrt(mean[i]), rtol=1e-5)
        assert display.pull_ax_[i].get_xlabel() == "bin"


def test_spectra_on_their_grid_with_gaps(spectra):
    X = spectra[0].copy()
    X[:, 5] = np.where(np.arange(100) % 2, np.nan, X[:, 5])
    grid = np.geomspace(400.0, 900.0, 40)
    vae = SpectraVAE(noise_sigma=18.0, missing="mask", wavelengths=grid, max_epochs=2).fit(X)
    display = SpectrumDisplay.from_estimator(make_pipeline(vae), X[:1])
    np.testing.assert_array_equal(display.ax_[0].lines[0].get_xdata(), grid)


def test_residuals_where_the_noise_is_not_known(spectra):
    X = spectra[0][:1]
    display = SpectrumDisplay.from_predictions(X, X + 1.0)
    np.testing.assert_allclose(display.pull_ax_[0].lines[0].get_ydata(), -1.0)
    assert display.pull_ax_[0].get_ylabel() == "residual"
    with pytest.raises(ValueError, match="they must be equal"):
        SpectrumDisplay.from_predictions(X, X[:, 1:])
    with pytest.raises(ValueError, match="grid has shape"):
        SpectrumDisplay.from_predictions(X, X, grid=np.arange(3))


def test_errors_of_rows_are_drawn(spectra):
    """The same through both doors; bands are as wide as each row's errors, and gaps are left out."""
    X, errors = spectra[0][:60], np.full((60, 40), 18.0)
    errors[:30] *= 2.0
    errors[0, 5] = np.nan
    table = skae.with_errors(X, errors)
    options = {"max_epochs": 40, "random_state": 0}
    by_keyword = SpectraVAE(**options).fit(X, errors=errors)
    by_column = SpectraVAE(error_columns=True, **options).fit(table)
    rows = [0, 40]
    for display in (
        SpectrumDisplay.from_estimator(by_keyword, X[rows], errors=errors[rows]),
        SpectrumDisplay.from_estimator(make_pipeline(by_column), table[rows]),
    ):
        pulls = np.array([ax.lines[0].get_ydata() for ax in display.pull_ax_])
        expected = by_keyword.pulls(X[rows], errors=errors[rows])
        np.testing.assert_allclose(pulls, expected, rtol=1e-4, atol=1e-4)
        assert np.isnan(display.ax_[0].lines[0].get_ydata()[5])
    display = LatentDisplay.from_estimator(by_keyword, X, errors=errors)
    np.testing.assert_array_equal(display.std, by_keyword.posterior(X, errors=errors)[1])


def test_counts_with_exposures_are_drawn_as_rates(spectra):
    X, exposure = spectra[0][:60], np.linspace(1.0, 3.0, 60)
    vae = SpectraVAE(likelihood="poisson", max_epochs=3, random_state=0).fit(X, exposure=exposure)
    display = SpectrumDisplay.from_estimator(vae, X[:2], exposure=exposure[:2])
    rates = X[:2] / exposure[:2, None]
    for i in range(2):
        np.testing.assert_allclose(display.ax_[i].lines[0].get_ydata(), rates[i])
        pulls = vae.pulls(X[:2], exposure=exposure[:2])[i]
        np.testing.assert_allclose(display.pull_ax_[i].lines[0].get_ydata(), pulls, rtol=1e-4)
