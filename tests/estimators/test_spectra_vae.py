"""SpectraVAE against closed forms: the likelihood of probabilistic PCA, its posterior, its limits."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fits import CrashError, at_epoch, each, global_states
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import MultiResRNNRegressor, NoiseInjector, SpectraVAE
from skae.datasets import make_spectra
from skae.exceptions import LongFitWarning
from skae.metrics import latent_divergence


def exact_ppca(X, sigma, n_components):
    """Mean log-likelihood and posterior std of the best linear Gaussian model of this noise."""
    d = X.shape[1]
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), (d,))
    white = (X - X.mean(axis=0)) / sigma
    values = np.linalg.eigvalsh(white.T @ white / len(X))[::-1]
    strength = np.maximum(values[:n_components] - 1.0, 0.0)
    explained = (values[:n_components] * strength / (1.0 + strength)).sum()
    log_det = np.log(1.0 + strength).sum() + 2.0 * np.log(sigma).sum()
    log_likelihood = -0.5 * (d * np.log(2 * np.pi) + log_det + values.sum() - explained)
    return log_likelihood, 1.0 / np.sqrt(1.0 + strength)


def cramer_rao(X, fluxes):
    """Smallest errors of unbiased flux estimates from Poisson counts, rms over the spectra."""
    design = np.c_[np.ones(len(X)), fluxes]
    expected, *_ = np.linalg.lstsq(design, X, rcond=None)
    lines, rates = expected[1:], design @ expected
    information = np.einsum("id,jd,nd->nij", lines, lines, 1.0 / rates)
    return np.sqrt(np.linalg.inv(information).diagonal(axis1=1, axis2=2).mean(axis=0))


def spectra(seed, n=200, n_bins=60):
    return make_spectra(n, n_bins=n_bins, random_state=seed)


@pytest.fixture(scope="module")
def counts():
    return spectra(0)[0]


@pytest.fixture(scope="module")
def vae(counts):
    return SpectraVAE(likelihood="poisson", max_epochs=30, random_state=0).fit(counts)


# -- closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["one number", "one a bin"])
def test_a_linear_vae_reaches_the_likelihood_of_probabilistic_pca(seed, kind):
    X, _ = spectra(seed)
    sigma = 18.0 if kind == "one number" else np.sqrt(X.mean(axis=0))
    vae = SpectraVAE(noise_sigma=sigma, max_epochs=50, random_state=seed).fit(X)
    exact, std = exact_ppca(X, sigma, 2)
    assert exact - 0.05 < vae.score(X) <= exact + 1e-3
    np.testing.assert_allclose(vae.posterior(X)[1], np.broadcast_to(std, (200, 2)), rtol=0.02)


def test_training_finds_the_closed_form_where_it_did_not_start():
    X, _ = spectra(0)
    start = SpectraVAE(noise_sigma=18.0, max_epochs=1, lr=1e-9, random_state=0).fit(X)
    exact, _ = exact_ppca(X, 18.0, 2)
    # a quarter of a turn in each network, another scale, another offset: some 45 nats short
    with torch.no_grad():
        start.module_.encoder.weight.mul_(0.8).add_(0.02)
        start.module_.encoder.bias.add_(0.1)
        start.module_.writing.steps.mul_(1.3).add_(0.05)
    assert start.score(X) < exact - 40.0
    start.set_params(warm_start=True, max_epochs=400, lr=3e-3).fit(X)
    assert exact - 0.5 < start.score(X) <= exact + 1e-3


def test_learnt_noise_is_that_of_pca(counts):
    vae = SpectraVAE(max_epochs=50, random_state=0).fit(counts)
    pca = PCA(2).fit(counts)
    n, d = counts.shape  # PCA divides by n − 1, maximum likelihood by n
    expected = np.sqrt(pca.noise_variance_ * (n - 1) / n)
    np.testing.assert_allclose(vae.noise_sigma_, np.full(d, expected), rtol=2e-3)
    exact, _ = exact_ppca(counts, expected, 2)
    assert exact - 0.1 < vae.score(counts) <= exact + 1e-3


def test_the_likelihood_is_in_the_units_of_the_data(counts):
    one = SpectraVAE(noise_sigma=18.0, max_epochs=5, random_state=0).fit(counts)
    other = SpectraVAE(noise_sigma=0.018, max_epochs=5, random_state=0).fit(counts / 1000.0)
    shift = counts.shape[1] * np.log(1000.0)
    assert other.score(counts / 1000.0) - one.score(counts) == pytest.approx(shift, abs=0.01)


@pytest.mark.parametrize("beta", [0.25, 4.0])
def test_beta_is_a_change_of_the_noise(counts, beta):
    # E ln p / β − KL is the bound for a noise of √β σ, up to a constant
    vae = SpectraVAE(noise_sigma=18.0, beta=beta, max_epochs=30, random_state=0).fit(counts)
    _, std = exact_ppca(counts, 18.0 * np.sqrt(beta), 2)
    np.testing.assert_allclose(vae.posterior(counts)[1][0], std, rtol=0.02)


def test_beta_changes_the_noise_that_is_learnt_in_closed_form(counts):
    # a factor in use leaves βσ² of its eigenvalue, so σ² is the others' sum over d − βk
    values = np.linalg.eigvalsh(np.cov(counts.T, bias=True))[::-1]
    expected = np.sqrt(values[2:].sum() / (60 - 4.0 * 2))
    start = SpectraVAE(beta=4.0, max_epochs=1, lr=1e-9, random_state=0).fit(counts)
    assert start.noise_sigma_[0] == pytest.approx(expected, rel=1e-3)
    trained = SpectraVAE(beta=4.0, max_epochs=100, random_state=0).fit(counts)
    # it is an optimum: training does not leave it
    assert trained.noise_sigma_[0] == pytest.approx(expected, rel=3e-3)
    assert trained.loss_curve_[-1] == pytest.approx(start.loss_curve_[0], abs=0.1)


def test_few_counts_are_learnt_as_many_are():
    rng = np.random.default_rng(0)
    rates = 150.0 * np.linspace(0.3, 10.0, 100) ** -3.5  # of a falling photon spectrum
    X = rng.poisson(rates, size=(2000, 100)).astype(float)
    vae = SpectraVAE(1, likelihood="poisson", max_epochs=60, random_state=0).fit(X)
    mean = vae.reconstruct(X).mean(axis=0)
    for part in (slice(0, 20), slice(20, 60), slice(60, 100)):
        assert mean[part].sum() == pytest.approx(X[:, part].sum() / 2000, rel=0.1, abs=0.02)
    empty = SpectraVAE(likelihood="poisson", max_epochs=30).fit(np.zeros((100, 5)))
    assert empty.sample(500, random_state=0).mean() < 1e-3


@pytest.mark.filterwarnings("ignore::skae.exceptions.PrecisionWarning")  # float32 has 7 digits
@pytest.mark.parametrize("scale", [1e5, 1e11])
def test_the_bound_of_huge_counts_is_no_higher_than_their_likelihood(scale):
    """Spectra whose shape varies by some of the noise's standard deviations."""
    rng, grid = np.random.default_rng(0), np.linspace(0, 1, 20)
    shape = scale * (1 + 0.3 * np.sin(6 * grid))
    mean = shape * (1 + 3 * rng.normal(size=(600, 1)) * np.cos(5 * grid) / scale**0.5)
    X = np.round(mean + np.sqrt(mean) * rng.normal(size=mean.shape))
    vae = SpectraVAE(1, likelihood="poisson", max_epochs=20, random_state=0).fit(X)
    scores = vae.score_samples(X)
    # of one latent coordinate a row tells so much that 2 to 3 nats go into its posterior
    log_prob = -0.5 * ((X - mean) ** 2 / mean + np.log(2 * np.pi * mean)).sum(axis=1)
    assert -4.0 < scores.mean() - log_prob.mean() < 0.0
    assert (scores < -0.5 * np.log(2 * np.pi * X).sum(axis=1)).all()
    assert vae.pulls(X).std() == pytest.approx(1.0, abs=0.1)


def test_the_constant_of_a_bound_is_in_float64():
    """Of rows whose mean is learnt exactly the bound is the sum of many constants."""
    X = np.full((50, 3000), 1e6)
    vae = SpectraVAE(1, likelihood="poisson", max_epochs=1, random_state=0).fit(X)
    expected = -3000 * (0.5 * np.log(2 * np.pi * 1e6) + 1 / 12e6)
    misfit = 0.5 * vae.pulls(X[:1]) ** 2
    assert vae.score_samples(X[:1])[0] == pytest.approx(expected - misfit.sum(), abs=1e-4)
    assert np.spacing(np.float32(-expected)) > 1e-3


def test_one_column_far_from_zero_does_not_spoil_the_others():
    rng = np.random.default_rng(0)
    X = 0.01 * rng.normal(size=(300, 60))
    X[:, 7] += 6e4
    sigma = SpectraVAE(max_epochs=20, random_state=0).fit(X).noise_sigma_[0]
    assert sigma == pytest.approx(0.01, rel=0.15)


def test_the_importance_weighted_bound_tightens_towards_the_likelihood():
    X, _ = make_spectra(50, n_bins=12, flux_mean=20.0, flux_std=10.0, random_state=0)
    sigma = 60.0  # so that a draw from the prior hits now and then
    vae = SpectraVAE(noise_sigma=sigma, max_epochs=20, random_state=0).fit(X)
    exact, _ = exact_ppca(X, sigma, 2)
    with torch.no_grad():  # an encoder that has learnt nothing
        vae.module_.encoder.weight.zero_()
        vae.module_.encoder.bias.zero_()
    draws = (2, 8, 32, 128, 512, 4096)
    bounds = [vae.score_samples(X, n_importance=k, n_draws=4096).mean() for k in draws]
    assert vae.score(X) < exact - 0.3
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] == pytest.approx(exact, abs=0.05)
    assert bounds[-1] <= exact + 0.02


def test_each_doubling_of_the_draws_raises_every_rows_bound(vae, counts):
    scores = [vae.score_samples(counts, n_importance=k, n_draws=32) for k in (2, 4, 8, 16, 32)]
    assert (np.diff(scores, axis=0) >= -1e-4 * np.abs(scores[0])).all()


# -- posteriors, reconstruction, samples -------------------------------------------------------


def test_fluxes_follow_from_the_latents_with_calibrated_errors():
    X, fluxes = make_spectra(3000, random_state=1)
    vae = SpectraVAE(likelihood="poisson", max_epochs=30, random_state=0).fit(X[:1500])
    mean, std = vae.posterior(X)
    line = LinearRegression().fit(mean[:1500], fluxes[:1500])
    error = np.sqrt(std[1500:] ** 2 @ line.coef_.T**2)
    covered = (np.abs(line.predict(mean[1500:]) - fluxes[1500:]) < error).mean(axis=0)
    # 1500 spectra: 0.683 ± 0.012
    assert (np.abs(covered - 0.683) < 0.036).all()


def test_latents_regress_onto_fluxes_at_the_cramer_rao_limit():
    X, fluxes = make_spectra(200, random_state=0)
    vae = SpectraVAE(likelihood="poisson", max_epochs=30, random_state=0).fit(X)
    predicted = cross_val_predict(LinearRegression(), vae.transform(X), fluxes, cv=10)
    assert (np.std(fluxes - predicted, axis=0) < 1.1 * cramer_rao(X, fluxes)).all()


def test_no_latent_collapses(vae, counts):
    assert (latent_divergence(*vae.posterior(counts)).mean(axis=0) > 1.0).all()


def test_reconstruction_averages_the_posterior(counts):
    vae = SpectraVAE(noise_sigma=18.0, max_epochs=5, random_state=0).fit(counts)
    mean, std = vae.reconstruct(counts, return_std=True)
    np.testing.assert_allclose(mean, vae.inverse_transform(vae.transform(counts)), rtol=1e-5)
    axes = vae.inverse_transform(np.eye(2)) - vae.inverse_transform(np.zeros((1, 2)))
    exact = np.sqrt(vae.posterior(counts)[1] ** 2 @ axes**2)
    np.testing.assert_allclose(std, exact, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(vae.reconstruct(counts), mean)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "poisson"])
def test_samples_have_the_moments_of_the_data(likelihood):
    X, _ = make_spectra(2000, n_bins=40, random_state=0)
    sigma = "learn" if likelihood == "poisson" else np.sqrt(X.mean(axis=0))
    vae = SpectraVAE(likelihood=likelihood, noise_sigma=sigma, max_epochs=10, random_state=0).fit(X)
    draws = vae.sample(20000, random_state=0)
    np.testing.assert_allclose(draws.mean(axis=0), X.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(draws.var(axis=0), X.var(axis=0), rtol=0.12)
    if likelihood == "poisson":
        assert (draws == np.rint(draws)).all()
    means = vae.sample(20000, noise=False, random_state=0)
    noise = (draws - means) / vae.noise_std(means)
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1.0, abs=0.01)


def test_a_spike_stands_out_in_the_pulls(vae, counts):
    X = counts.copy()
    X[7, 30] += 10 * np.sqrt(X[7, 30])
    pulls = vae.pulls(X)
    assert pulls.shape == X.shape
    assert np.abs(pulls).max(axis=1).argmax() == 7
    assert pulls[7].argmax() == 30
    assert np.delete(pulls, 7, axis=0).std() == pytest.approx(1.0, abs=0.03)


def test_samples_are_reproducible_and_leave_global_states_alone(vae):
    before = global_states()
    np.testing.assert_array_equal(vae.sample(5, random_state=3), vae.sample(5, random_state=3))
    assert global_states() == before
    assert not np.array_equal(vae.sample(5), vae.sample(5))
    assert vae.sample().shape == (1, 60)


def test_a_mixture_prior_follows_groups_that_a_normal_one_cannot():
    X, _ = make_spectra(1500, n_bins=40, random_state=0)
    options = {"likelihood": "poisson", "hidden_layer_sizes": (32,), "max_epochs": 80}
    plain = SpectraVAE(**options, random_state=0).fit(X)
    mixture = SpectraVAE(**options, prior="mixture", n_mixture=8, random_state=0).fit(X)
    assert mixture.score(X) > plain.score(X) + 1.0
    assert mixture.sample(10, random_state=0).shape == (10, 40)
    fit = make_pipeline(StandardScaler(), skae.SpectraVAE(prior="mixture", max_epochs=3)).fit(X)
    assert skae.sample(fit, 4, random_state=0).shape == (4, 40)


# -- missing pixels ----------------------------------------------------------------------------


def gappy(X, share, seed=0):
    rng = np.random.default_rng(seed)
    X = X.copy()
    X[rng.uniform(size=X.shape) < share] = np.nan
    return X


def test_masked_pixels_change_nothing_where_there_are_none(counts):
    options = {"noise_sigma": 18.0, "max_epochs": 20, "random_state": 0}
    masked = SpectraVAE(**options, missing="mask").fit(counts)
    exact, _ = exact_ppca(counts, 18.0, 2)
    assert exact - 0.05 < masked.score(counts) <= exact + 1e-3


def test_a_row_with_gaps_gets_the_exact_posterior_of_what_was_seen(counts):
    sigma = 1.2 * np.sqrt(counts.mean(axis=0))  # nothing stands above it but the two lines
    vae = SpectraVAE(noise_sigma=sigma, max_epochs=1, lr=1e-9, missing="mask", random_state=0)
    vae.fit(counts)
    X = counts.copy()
    X[:, 20:30] = np.nan
    mean, std = vae.posterior(X)
    loadings = vae.inverse_transform(np.eye(2)) - vae.inverse_transform(np.zeros((1, 2)))
    seen = np.r_[0:20, 30:60]
    weighted = (loadings / sigma**2)[:, seen]
    precision = np.eye(2) + weighted @ loadings[:, seen].T
    centred = (counts - vae.inverse_transform(np.zeros((1, 2))))[:, seen]
    expected = np.linalg.solve(precision, weighted @ centred.T).T
    np.testing.assert_allclose(mean, expected, atol=2e-4)
    np.testing.assert_allclose(std[0], np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-3)


def test_gaps_do_not_count_in_the_likelihood_and_widen_posteriors(counts):
    X = gappy(counts, 0.3)
    vae = SpectraVAE(noise_sigma=18.0, missing="mask", max_epochs=30, random_state=0).fit(X)
    n_seen = (~np.isnan(X)).sum(axis=1)
    per_bin = vae.score_samples(counts).mean() / 60
    expected = per_bin - 8 * (1 / 42 - 1 / 60)  # the divergence, some 8 nats, is the same
    assert (vae.score_samples(X) / n_seen).mean() == pytest.approx(expected, abs=0.05)
    full, holed = vae.posterior(counts)[1], vae.posterior(X)[1]
    assert (holed.mean(axis=0) > 1.1 * full.mean(axis=0)).all()
    # what was masked is found again, to the noise of what was seen
    filled = vae.inverse_transform(vae.transform(X))
    truth = SpectraVAE(noise_sigma=18.0, max_epochs=30, random_state=0).fit(counts)
    rms = np.sqrt(np.mean((filled - truth.inverse_transform(truth.transform(counts))) ** 2))
    assert rms < 4.5


def test_rows_with_few_pixels_get_the_best_untilted_posterior_of_their_decoder(counts):
    X = gappy(counts, 0.8)
    vae = SpectraVAE(noise_sigma=18.0, missing="mask", max_epochs=100, random_state=0).fit(X)
    centre = vae.inverse_transform(np.zeros((1, 2)))[0]
    loadings = (vae.inverse_transform(np.eye(2)) - centre) / 18.0
    exact = []
    for row in X:
        seen = ~np.isnan(row)
        pull, axes = (row[seen] - centre[seen]) / 18.0, loadings[:, seen]
        precision = np.eye(2) + axes @ axes.T  # of the posterior
        log_det = np.linalg.slogdet(precision)[1]
        projected = axes @ pull
        log_likelihood = -0.5 * (
            seen.sum() * np.log(2 * np.pi * 18.0**2) + log_det
            + pull @ pull - projected @ np.linalg.solve(precision, projected)
        )  # fmt: skip
        tilt = 0.5 * (np.log(np.diag(precision)).sum() - log_det)  # what independence costs
        exact.append(log_likelihood - tilt)
    assert np.mean(exact) - 0.2 < vae.score(X) <= np.mean(exact) + 1e-3


@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_that_no_training_row_has_seen(counts, weighted):
    X = counts[:40].copy()
    X[1:, 5] = np.nan
    weight = np.r_[0.0, np.ones(39)] if weighted else None
    for seed in range(3):
        vae = SpectraVAE(missing="mask", early_stopping=not weighted, max_epochs=2)
        vae.set_params(random_state=seed).fit(X, sample_weight=weight)
        assert np.isfinite(vae.transform(X)).all()


@pytest.mark.parametrize(
    "options",
    [pytest.param({"compile": True}, marks=pytest.mark.slow), {"precision": "bf16-mixed"}],
)
def test_gaps_in_compiled_and_in_mixed_precision_fits(counts, options):
    X = gappy(counts, 0.2)
    common = {"noise_sigma": 1.0, "missing": "mask", "max_epochs": 2, "random_state": 0}
    vae = SpectraVAE(**common, **options).fit(X)
    plain = SpectraVAE(**common).fit(X)
    assert vae.score(X) == pytest.approx(plain.score(X), rel=0.02)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "poisson"])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_gaps_are_trained_on_with_every_likelihood_and_start(counts, likelihood, init):
    X = gappy(counts, 0.2)
    options = {"likelihood": likelihood, "init": init, "hidden_layer_sizes": (8,)}
    vae = SpectraVAE(missing="mask", max_epochs=3, **options).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.transform(X)).all()
    assert np.isfinite(vae.loss_curve_).all()


# -- Laplace noise: heavy tails ----------------------------------------------------------------


def one_latent_rows(n=1000, d=6, sigma=0.5, seed=0):
    """Rows of one latent coordinate and Laplace noise of this standard deviation."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(n, 1)) * np.linspace(1.0, -1.0, d) + np.arange(d)
    return mean + rng.laplace(scale=sigma / np.sqrt(2.0), size=(n, d))


@pytest.fixture(scope="module")
def laplace():
    X = one_latent_rows()
    return SpectraVAE(1, likelihood="laplace", max_epochs=40, random_state=0).fit(X), X


def test_the_bound_of_laplace_noise_is_below_its_likelihood_and_tightens_to_it(laplace):
    vae, X = laplace
    z = np.linspace(-6.0, 6.0, 1201)  # finer than the posteriors by a factor of 30
    mean = vae.inverse_transform(z[:, None])  # (n_nodes, d)
    scale = vae.noise_sigma_ / np.sqrt(2.0)
    log_p = stats.laplace.logpdf(X[:, None], mean, scale).sum(axis=2)
    exact = np.logaddexp.reduce(log_p + stats.norm.logpdf(z), axis=1) + np.log(z[1] - z[0])
    gap = exact - vae.score_samples(X)
    assert gap.mean() > -2.0 * gap.std() / np.sqrt(len(X))
    tight = exact - vae.score_samples(X, n_importance=512)
    assert abs(tight.mean()) < 0.05


def test_laplace_noise_is_learnt_in_units_of_its_standard_deviation(laplace):
    vae, X = laplace
    assert vae.noise_sigma_[0] == pytest.approx(0.5, rel=0.05)
    given = SpectraVAE(1, likelihood="laplace", noise_sigma=0.5, max_epochs=2).fit(X)
    assert given.noise_sigma_[0] == pytest.approx(0.5)
    assert (given.noise_std(X[:3]) == given.noise_sigma_[0]).all()


def test_draws_of_laplace_noise_have_its_tails(laplace):
    vae, _ = laplace
    n = 10**6 // 6 + 1
    noise = vae.sample(n, random_state=0) - vae.sample(n, noise=False, random_state=0)
    assert stats.kurtosis(noise, axis=None) == pytest.approx(3.0, abs=0.15)
    assert noise.std() == pytest.approx(vae.noise_sigma_[0], rel=0.01)


def test_outliers_pull_less_at_a_model_of_laplace_noise():
    clean = one_latent_rows(seed=1)
    X = clean.copy()
    rows = np.arange(0, 1000, 20)
    X[rows, rows % 6] += 40.0  # a cosmic ray in 5 % of the spectra
    error = {}
    for likelihood in ("gaussian", "laplace"):
        options = {"likelihood": likelihood, "noise_sigma": 0.5, "max_epochs": 60}
        vae = SpectraVAE(1, init="random", random_state=0, **options).fit(X)
        others = np.setdiff1d(np.arange(1000), rows)
        error[likelihood] = np.mean((vae.reconstruct(X) - clean)[others] ** 2)
    assert error["laplace"] < 0.5 * error["gaussian"]


def test_weights_count_with_laplace_noise():
    X = one_latent_rows(n=300)
    weight = np.where(X[:, 0] > 0.0, 1.0, 0.0)
    options = {"likelihood": "laplace", "hidden_layer_sizes": (8,), "max_epochs": 20}
    weighted = SpectraVAE(1, random_state=0, **options).fit(X, sample_weight=weight)
    mean = weighted.sample(4000, random_state=0).mean(axis=0)
    np.testing.assert_allclose(mean, X[weight > 0].mean(axis=0), atol=0.25)


# -- sequence decoders -------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["lstm", "multires"])
@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_sequence_decoders_see_the_grid_and_the_latent_alone(counts, decoder, latent_state):
    options = {"decoder": decoder, "latent_state": latent_state, "downsampling": (4, 4)}
    vae = SpectraVAE(likelihood="poisson", hidden_size=8, max_epochs=2, **options).fit(counts)
    latent = vae.transform(counts)
    decoded = vae.inverse_transform(latent)
    assert decoded.shape == counts.shape
    # the same latents give the same rows, whatever they came from
    np.testing.assert_array_equal(vae.inverse_transform(latent), decoded)
    other = vae.inverse_transform(latent + 1.0)
    assert np.abs(other - decoded).max() > 1e-3


def test_an_uneven_grid_changes_what_the_lstm_sees(counts):
    options = {"decoder": "lstm", "hidden_size": 4, "max_epochs": 1, "random_state": 0}
    grid = np.geomspace(400.0, 900.0, counts.shape[1])
    even, uneven = (SpectraVAE(**options, wavelengths=w).fit(counts) for w in (None, grid))
    np.testing.assert_array_equal(uneven.grid_, grid)
    features = even.module_.decoder.features, uneven.module_.decoder.features
    assert not torch.equal(*features)


def test_a_multires_decoder_sees_times_of_any_direction_and_asks_for_factors(counts):
    grid = np.geomspace(400.0, 900.0, counts.shape[1])
    options = {"decoder": "multires", "hidden_size": 4, "max_epochs": 1, "random_state": 0}
    fits = [SpectraVAE(**options, wavelengths=w).fit(counts) for w in (grid, grid[::-1], None)]
    places = [vae.module_.decoder.resolutions.places(0) for vae in fits]
    assert all(torch.isfinite(part).all() for part in places)
    assert not torch.equal(places[0], places[2])
    refused("integers of 2 or more", counts, decoder="multires", downsampling=(1,))
    refused("must be even", counts, decoder="multires", hidden_size=5)
    searched = SpectraVAE(**{**options, "hidden_size": np.int64(4)}).fit(counts)
    np.testing.assert_array_equal(searched.transform(counts), fits[2].transform(counts))


@pytest.mark.slow
def test_a_multires_decoder_learns_lines(counts):
    options = {"decoder": "multires", "likelihood": "poisson", "hidden_size": 8, "lr": 1e-2}
    vae = SpectraVAE(**options, downsampling=(4, 4), max_epochs=60, random_state=0).fit(counts)
    linear = SpectraVAE(likelihood="poisson", max_epochs=60, random_state=0).fit(counts)
    mean_only = SpectraVAE(**options, max_epochs=1, random_state=0).fit(counts)
    gained = linear.score(counts) - mean_only.score(counts)
    assert vae.score(counts) - mean_only.score(counts) > 0.9 * gained


def test_an_lstm_learns_lines(counts):
    options = {"decoder": "lstm", "likelihood": "poisson", "hidden_size": 16}
    vae = SpectraVAE(**options, max_epochs=60, lr=1e-2, random_state=0).fit(counts)
    mean_only = SpectraVAE(**options, max_epochs=1).fit(counts)
    assert vae.loss_curve_[-1] < vae.loss_curve_[0] - 50.0
    assert vae.score(counts) > mean_only.score(counts) + 50.0


# -- training ----------------------------------------------------------------------------------


def test_the_divergence_warms_up_to_beta(counts):
    seen = []
    keep = each("on_epoch_end", lambda net: seen.append(float(net.module_.beta)))
    SpectraVAE(beta=2.0, beta_warm_up=0.5, max_epochs=8, callbacks=[keep]).fit(counts)
    np.testing.assert_allclose(seen, [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0])


def test_rows_held_out_are_judged_by_the_whole_bound(counts):
    options = {"noise_sigma": 18.0, "beta_warm_up": 0.5, "early_stopping": True}
    vae = SpectraVAE(**options, max_epochs=6, random_state=0).fit(counts)
    valid = vae.history_[:, "valid_loss"]
    # with a weight of nearly nothing at first these would start some ten nats lower
    assert abs(valid[0] - valid[-1]) < 1.0


def test_early_stopping_waits_for_the_warm_up(counts):
    vae = SpectraVAE(
        noise_sigma=18.0, beta_warm_up=0.5, early_stopping=True, lr_schedule="constant",
        n_iter_no_change=2, max_epochs=20, random_state=0,
    ).fit(counts)  # fmt: skip
    assert vae.n_iter_ > 10
    assert float(vae.module_.beta) == 1.0


def test_a_warm_up_that_was_interrupted_leaves_no_trace(counts):
    vae = SpectraVAE(beta_warm_up=0.9, max_epochs=10, callbacks=[at_epoch(2)], random_state=0)
    with pytest.raises(CrashError):
        vae.fit(counts)
    assert float(vae.module_.beta) < 0.5
    vae.set_params(beta_warm_up=0.0, warm_start=True, callbacks=None, max_epochs=1).fit(counts)
    assert float(vae.module_.beta) == 1.0


@pytest.mark.parametrize("first", [1, 3, 50])
def test_chunks_are_learnt_one_after_the_other(first):
    X, _ = spectra(0, n=1000)
    vae = SpectraVAE(likelihood="poisson", random_state=0, lr=1e-2)
    vae.partial_fit(X[:first])
    for _ in range(40):
        for start in range(first, 1000, 250):
            vae.partial_fit(X[start : start + 250])
    assert np.isfinite(vae.score(X))
    if first == 50:  # rows enough to tell the lines by
        whole = SpectraVAE(likelihood="poisson", random_state=0).fit(X)
        assert vae.score(X) > whole.score(X) - 3.0


def test_a_search_finds_that_one_latent_coordinate_cannot_hold_two_fluxes(vae, counts):
    model = clone(vae).set_params(max_epochs=2)
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2).fit(counts)
    assert search.best_params_ == {"n_components": 2}


def test_the_likelihood_of_the_module_is_the_criterion_also_after_a_pickle(vae):
    for model in (vae, pickle.loads(pickle.dumps(vae)), copy.deepcopy(vae)):
        assert model.net_.criterion_ is model.module_.likelihood


def test_weights_of_rows_count(counts):
    weight = np.r_[np.ones(100), np.zeros(100)]
    options = {"noise_sigma": 18.0, "max_epochs": 40, "random_state": 0}
    weighted = SpectraVAE(**options).fit(counts, sample_weight=weight)
    exact, _ = exact_ppca(counts[:100], 18.0, 2)
    score = weighted.score(counts[:100])
    assert exact - 0.5 < score <= exact + 1e-3
    assert weighted.score(counts, sample_weight=weight) == pytest.approx(score, abs=1e-6)


def test_wide_rows_find_their_factors_without_a_covariance(monkeypatch, counts):
    monkeypatch.setattr("skae.modules.spectra.principal._MOST_COLUMNS", 10)
    vae = SpectraVAE(noise_sigma=18.0, max_epochs=20, random_state=0).fit(counts)
    exact, std = exact_ppca(counts, 18.0, 2)
    assert exact - 0.1 < vae.score(counts) <= exact + 1e-3
    np.testing.assert_allclose(vae.posterior(counts)[1][0], std, rtol=0.02)


# -- what cannot be used -----------------------------------------------------------------------


def refused(match, X, **parameters):
    with pytest.raises(ValueError, match=match):
        SpectraVAE(max_epochs=1, **parameters).fit(X)


def test_negative_counts_are_named(counts):
    X = counts.copy()
    X[3, 7] = -2.0
    message = r"Negative values in data .* 1 of 12000, the first is -2 in row 3, column 7"
    refused(message, X, likelihood="poisson")
    frame = pd.DataFrame(X, columns=[f"bin{j}" for j in range(60)])
    refused(r"column 'bin7'.*likelihood='gaussian'", frame, likelihood="poisson")
    vae = SpectraVAE(likelihood="poisson", max_epochs=1).fit(counts)
    with pytest.raises(ValueError, match="Negative values"):
        vae.transform(X)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (0.0, "noise_sigma=0 must be positive"),
        (-1.0, "noise_sigma=-1 must be positive"),
        (np.nan, "noise_sigma=nan must be positive"),
        (np.ones(59), r"noise_sigma has shape \(59,\), but X has 60 columns"),
        (np.r_[np.ones(58), 0.0, -1.0], r"noise_sigma=0 at column 58 \(and 1 more\)"),
        ("estimate", "noise_sigma"),
    ],
)
def test_noise_must_be_positive_and_of_the_right_length(counts, sigma, message):
    refused(message, counts, noise_sigma=sigma)


def test_counts_have_no_noise_beside_their_mean(counts, vae):
    refused("use likelihood='gaussian'", counts, likelihood="poisson", noise_sigma=1.0)
    with pytest.raises(AttributeError, match="follows from the mean"):
        _ = vae.noise_sigma_


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (np.arange(59.0), r"times has shape \(59,\), but X has 60 columns"),
        (np.r_[0.0, 2.0, 1.0, 3.0:60.0], r"times must rise .* after 2.0 comes 1.0 \(entry 2\)"),
        (np.r_[np.arange(59.0), np.nan], "times contains NaN"),
    ],
)
def test_the_grid_must_fit_the_rows(counts, grid, message):
    refused(message, counts, times=grid)


def test_one_grid_is_enough(counts):
    refused("give one of them", counts, times=np.arange(60.0), wavelengths=np.arange(60.0))


def test_rows_and_columns_of_nothing_are_named(counts):
    X = counts.copy()
    X[5] = np.nan
    refused("1 rows of nothing but NaN, the first is row 5", X, missing="mask")
    X = counts.copy()
    X[:, 7] = np.nan
    refused("1 columns of nothing but NaN, the first is column 7", X, missing="mask")
    refused("contains NaN: .* row 0, column 7. Fit with missing='mask'", X)
    with pytest.raises(ValueError, match=r"column 7\. Fit with missing='mask'"):
        SpectraVAE(max_epochs=1).fit(counts).transform(X)
    vae = SpectraVAE(missing="mask", max_epochs=1).fit(counts)
    assert np.isfinite(vae.transform(X)).all()  # seen in training, missing now
    with pytest.raises(ValueError, match="nothing but NaN"):
        vae.transform(np.full((1, 60), np.nan))
    refused("noise=None", counts, missing="mask", noise=NoiseInjector())


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_numbers_of_draws_are_checked(vae, counts, value):
    with pytest.raises(ValueError, match="n_importance="):
        vae.score_samples(counts, n_importance=value)
    with pytest.raises(ValueError, match="n_samples="):
        vae.sample(value)


def test_parameters_that_shape_the_network_are_fixed_in_a_warm_start(counts):
    vae = SpectraVAE(noise_sigma=np.full(60, 18.0), warm_start=True, max_epochs=1).fit(counts)
    vae.fit(counts)
    with pytest.raises(ValueError, match="noise_sigma"):
        vae.set_params(noise_sigma=np.full(60, 9.0)).fit(counts)


def test_a_long_fit_is_announced(monkeypatch):
    """Before it begins, with the minutes that a step says it will take; weights are as without."""
    X = np.random.default_rng(0).normal(size=(64, 40)).astype(np.float32)
    options = {"decoder": "lstm", "hidden_size": 4, "init": "random", "max_epochs": 2}
    quiet = SpectraVAE(**options, random_state=0).fit(X)
    monkeypatch.setattr("skae.estimators._sequences._FEW_NUMBERS", 1)
    monkeypatch.setattr("skae.estimators._sequences._LONG_MINUTES", 1e-9)
    match = r"about 0 minutes: 2 epochs of 1 steps, each of .* s\. A dense"
    with pytest.warns(LongFitWarning, match=match):
        told = SpectraVAE(**options, random_state=0).fit(X)
    np.testing.assert_array_equal(told.transform(X), quiet.transform(X))
    with pytest.warns(LongFitWarning, match="more downsampling"):
        MultiResRNNRegressor(hidden_size=4, downsampling=(2,), max_epochs=1).fit(X, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LongFitWarning)
        SpectraVAE(max_epochs=1).fit(X)
