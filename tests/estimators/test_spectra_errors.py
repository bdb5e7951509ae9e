"""SpectraVAE of rows with errors of their own: two doors, closed forms, bands that cover."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from onnxruntime import InferenceSession
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import SpectraVAE, SpectrumScaler
from skae.exceptions import PoorFitWarning
from skae.modules.spectra.factor_analysis import ExpectedSums, FactorModel

N_ROWS, N_PIXELS = 400, 24


def survey(seed, n=N_ROWS, scatter=0.0):
    """Return fluxes, their errors, NaN in gaps, and what the fluxes would be without noise."""
    rng = np.random.default_rng(seed)
    shapes = np.random.default_rng(0).normal(size=(3, N_PIXELS))
    true = 20.0 + rng.normal(size=(n, 3)) @ (shapes * [[3.0], [1.5], [0.8]])
    errors = np.exp(rng.normal(0.0, 0.7, (n, 1)) + rng.normal(0.0, 0.2, (n, N_PIXELS)))
    true += scatter * rng.normal(size=true.shape)
    flux = true + errors * rng.normal(size=true.shape)
    gap = rng.uniform(size=flux.shape) < 0.1
    flux[gap] = 1e6  # whatever a survey writes there
    return flux, np.where(gap, np.nan, errors), true


@pytest.fixture(scope="module")
def rows():
    return survey(1)


@pytest.fixture(scope="module")
def fitted(rows):
    flux, errors, _ = rows
    return SpectraVAE(3, random_state=0).fit(flux, errors=errors)


# -- doors ---------------------------------------------------------------------------------------


# after few passes there is more to come
@pytest.mark.filterwarnings("ignore:max_epochs=:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_both_doors_lead_to_the_same(rows, hidden):
    flux, errors, _ = rows
    options = {"hidden_layer_sizes": hidden, "max_epochs": 3, "random_state": 0}
    beside = SpectraVAE(3, **options)
    latent = beside.fit_transform(flux, errors=errors)
    X = skae.with_errors(flux, errors)
    within = SpectraVAE(3, error_columns=True, **options).fit(X)
    assert (beside.n_features_in_, within.n_features_in_) == (N_PIXELS, 2 * N_PIXELS)
    assert beside.has_errors_
    assert within.has_errors_
    np.testing.assert_allclose(within.transform(X), latent, atol=1e-6)
    for method in ("reconstruct", "pulls", "score_samples"):
        ours, theirs = getattr(within, method)(X), getattr(beside, method)(flux, errors=errors)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for ours, theirs in zip(within.posterior(X), beside.posterior(flux, errors), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert within.score(X) == pytest.approx(beside.score(flux, errors=errors), rel=1e-6)
    assert within.inverse_transform(latent).shape == flux.shape
    assert within.sample(2, noise=False, random_state=0).shape == (2, N_PIXELS)
    assert within.noise_sigma_.shape == (N_PIXELS,)


def test_what_was_not_seen_may_be_said_in_any_way(rows, fitted):
    flux, errors, _ = rows
    expected = fitted.transform(flux, errors)
    for nothing in (0.0, np.inf, -1.0):
        found = fitted.transform(flux, np.where(np.isnan(errors), nothing, errors))
        np.testing.assert_array_equal(found, expected)
    strange = np.where(np.isnan(errors), np.nan, flux)
    np.testing.assert_array_equal(fitted.transform(strange, errors), expected)


def test_errors_without_end_leave_the_prior(rows, fitted):
    flux, errors, _ = rows
    few = np.full_like(errors[:3], 1e9)
    mean, std = fitted.posterior(flux[:3], few)
    np.testing.assert_allclose(mean, 0.0, atol=1e-4)
    np.testing.assert_allclose(std, 1.0, rtol=1e-3)


def test_pulls_are_in_units_of_each_rows_errors(rows, fitted):
    flux, errors, _ = rows
    seen = ~np.isnan(errors)
    given = {"noise_sigma": 0.1, "misfit_errors": False}
    for vae, beyond in (
        (fitted, fitted.misfit_sigma_),
        (SpectraVAE(3, random_state=0, **given).fit(flux, errors=errors), 0.1),
    ):
        pulls = vae.pulls(flux, errors)
        np.testing.assert_array_equal(np.isnan(pulls), ~seen)
        mean = vae.reconstruct(flux, errors=errors)
        width = np.hypot(errors, beyond)
        np.testing.assert_allclose(pulls[seen], ((flux - mean) / width)[seen], rtol=1e-5)
    # three of 24 numbers are spent on the factors
    assert np.mean(pulls[seen] ** 2) == pytest.approx(21 / 24, abs=0.06)


def test_tables_and_pipelines_and_searches(rows):
    flux, errors, _ = rows
    names = [f"p{i}" for i in range(N_PIXELS)]
    table = pd.DataFrame(flux, columns=names)
    X = skae.with_errors(table, errors)
    pipeline = make_pipeline(
        SpectrumScaler(error_columns=True), SpectraVAE(3, error_columns=True, random_state=0)
    )
    latent = pipeline.set_output(transform="pandas").fit_transform(X)
    assert list(latent.columns) == ["spectravae0", "spectravae1", "spectravae2"]
    assert skae.sample(pipeline, 4, noise=False, random_state=0).shape == (4, N_PIXELS)
    search = GridSearchCV(pipeline, {"spectravae__n_components": [1, 3]}, cv=3).fit(X)
    assert search.best_params_ == {"spectravae__n_components": 3}


def test_errors_are_routed(rows):
    flux, errors, _ = rows
    with config_context(enable_metadata_routing=True):
        vae = SpectraVAE(3, random_state=0).set_fit_request(errors=True)
        vae.set_transform_request(errors=True).set_score_request(errors=True)
        pipeline = make_pipeline(vae).fit(flux, errors=errors)
        np.testing.assert_array_equal(
            pipeline.transform(flux, errors=errors), pipeline[-1].transform(flux, errors)
        )
        assert pipeline.score(flux, errors=errors) == pipeline[-1].score(flux, errors=errors)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_rows_are_drawn_with_the_errors_that_are_asked_for(rows, hidden):
    flux, errors, _ = rows
    vae = SpectraVAE(
        3, hidden_layer_sizes=hidden, noise_sigma=2.0, max_epochs=5, random_state=0
    ).fit(flux, errors=errors)
    asked = np.full((20_000, N_PIXELS), 3.0)
    asked[:, 1], asked[:10_000, 2] = 0.0, np.inf
    drawn = vae.sample(20_000, random_state=0, errors=asked)
    mean = vae.sample(20_000, noise=False, random_state=0)
    assert np.isnan(drawn[:, 1]).all()
    assert np.isnan(drawn[:10_000, 2]).all()
    noise = (drawn - mean)[:, 3:]
    np.testing.assert_allclose(noise.std(axis=0), np.hypot(2.0, 3.0), rtol=0.03)
    by_column = vae.sample(20_000, random_state=0, errors=asked[-1])
    np.testing.assert_array_equal(by_column[:, 3:], drawn[:, 3:])


# -- refusals ------------------------------------------------------------------------------------


def test_errors_that_are_wrong_are_refused(rows, fitted):
    flux, errors, _ = rows
    with pytest.raises(ValueError, match="errors are missing: this SpectraVAE was fitted to rows"):
        fitted.transform(flux)
    with pytest.raises(ValueError, match="give an error for each flux"):
        fitted.transform(flux, errors[:, :3])
    plain = SpectraVAE(3, max_epochs=1, random_state=0).fit(survey(2)[2])
    with pytest.raises(ValueError, match="was fitted without"):
        plain.score_samples(flux, errors)
    X = skae.with_errors(flux, errors)
    columns = SpectraVAE(3, error_columns=True, random_state=0)
    with pytest.raises(ValueError, match=r"negative errors, .* use SpectrumScaler"):
        columns.fit(StandardScaler().fit_transform(X))
    with pytest.raises(ValueError, match="not as many errors as fluxes"):
        columns.fit(X[:, 1:])
    with pytest.raises(ValueError, match="leave one out"):
        columns.fit(X, errors=errors)
    with pytest.raises(ValueError, match="takes no errors"):
        SpectraVAE(likelihood="poisson").fit(np.abs(flux), errors=errors)
    with pytest.raises(ValueError, match="errors are missing: this model"):
        fitted.sample(3)
    with pytest.raises(ValueError, match="noise=False adds none"):
        fitted.sample(3, noise=False, errors=errors[:3])
    with pytest.raises(ValueError, match="this model was fitted without"):
        plain.sample(3, errors=errors[:3])
    with pytest.raises(ValueError, match=r"shape \(2, 24\): 3 rows are to be drawn"):
        fitted.sample(3, errors=errors[:2])
    nothing = errors.copy()
    nothing[5] = np.nan
    with pytest.raises(ValueError, match="1 rows of nothing but NaN, the first is row 5"):
        SpectraVAE(3).fit(flux, errors=nothing)
    nothing[5], nothing[:, 2] = 1.0, np.nan
    with pytest.raises(ValueError, match="1 columns of nothing but NaN"):
        SpectraVAE(3).fit(flux, errors=nothing)
    with pytest.raises(ValueError, match="nor errors"):
        SpectraVAE(3, noise=skae.NoiseInjector()).fit(flux, errors=errors)


def test_a_refused_fit_leaves_what_was_there(rows, fitted):
    flux, errors, _ = rows
    before = fitted.transform(flux, errors)
    with pytest.raises(ValueError, match="nothing but NaN"):
        fitted.fit(flux, errors=np.zeros_like(errors))
    np.testing.assert_array_equal(fitted.transform(flux, errors), before)


# -- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"noise_sigma": 0.0}, {"loading_errors": False}])
def test_scores_are_those_of_dense_gaussians(rows, options):
    flux, errors, _ = rows
    vae = SpectraVAE(3, random_state=0, **options).fit(flux, errors=errors)
    module, scale = vae.module_, vae.scale_
    loadings = module.loadings.detach().double().numpy() * scale
    centre = module.centre.detach().double().numpy() * scale + vae.center_
    scores = vae.score_samples(flux[:20], errors[:20])
    for row, error, score in zip(flux, errors, scores, strict=False):
        seen = ~np.isnan(error)
        noise = error[seen] ** 2 + vae.noise_sigma_[seen] ** 2
        covariance = loadings[:, seen].T @ loadings[:, seen] + np.diag(noise)
        residual = row[seen] - centre[seen]
        expected = -0.5 * (
            residual @ np.linalg.solve(covariance, residual)
            + np.linalg.slogdet(covariance)[1]
            + seen.sum() * math.log(2.0 * math.pi)
        )
        assert score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("sigma", ["learn", 0.0])
def test_a_fit_ends_at_the_optimum(rows, sigma):
    """The best of three long runs of EM from random loadings, in double precision."""
    flux, errors, _ = rows
    options = {"loading_errors": False, "smooth_loadings": False}
    vae = SpectraVAE(3, noise_sigma=sigma, random_state=0, **options)
    vae.fit(flux, errors=errors)
    assert vae.n_iter_ == len(vae.loss_curve_) < 100
    x = torch.from_numpy(np.where(np.isnan(errors), np.nan, flux))
    variance = torch.from_numpy(np.where(np.isnan(errors), np.inf, errors**2))
    best, ones = -math.inf, torch.ones(N_ROWS, dtype=torch.float64)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        loadings = torch.randn(3, N_PIXELS, generator=generator, dtype=torch.float64)
        scatter = torch.tensor([1.0 if sigma == "learn" else 0.0], dtype=torch.float64)
        model, value = FactorModel(x.nanmean(dim=0), loadings, scatter), 0.0
        for _ in range(300):
            sums = ExpectedSums(model, sigma == "learn")
            sums.add(x, variance, ones)
            model, value = sums.better(), sums.log_likelihood / sums.total
        best = max(best, value)
    assert vae.score(flux, errors=errors) == pytest.approx(best, abs=0.05)
    assert vae.score(flux, errors=errors) < best + 1e-3


def test_bands_cover_what_they_should(rows):
    """Bright and faint rows that were held out; bright ones too little where a model trusts itself."""
    flux, errors, true = survey(3, n=200, scatter=0.1)
    held, of_held, true = survey(4, n=1000, scatter=0.1)

    def covered(n_components, **options):
        vae = SpectraVAE(n_components, random_state=0, **options).fit(flux, errors=errors)
        mean, std = vae.reconstruct(held, return_std=True, errors=of_held)
        within = np.abs(mean - true) < std
        order = np.argsort(np.nanmedian(of_held, axis=1))
        return [within[part].mean() for part in np.array_split(order, 2)]

    np.testing.assert_allclose(covered(3), 0.683, atol=0.04)
    assert covered(3, loading_errors=False, misfit_errors=False)[0] < 0.6
    # one component is missing
    np.testing.assert_allclose(covered(2), 0.683, atol=0.06)
    assert covered(2, misfit_errors=False)[0] < 0.4


def test_scatter_beyond_the_errors_is_found():
    flux, errors, _ = survey(5, n=1000, scatter=0.5)
    for name, options in (("noise_sigma_", {"noise_sigma": "learn"}), ("misfit_sigma_", {})):
        vae = SpectraVAE(3, random_state=0, **options).fit(flux, errors=errors)
        found = getattr(vae, name)
        assert found.shape == (N_PIXELS,)
        assert np.sqrt(np.square(found).mean()) == pytest.approx(0.5, rel=0.1)
        shifted = SpectraVAE(3, random_state=0, **options).fit(1e3 * flux, errors=1e3 * errors)
        np.testing.assert_allclose(getattr(shifted, name), 1e3 * found, rtol=1e-3)
        latent = vae.transform(flux, errors)
        np.testing.assert_allclose(shifted.transform(1e3 * flux, 1e3 * errors), latent, atol=1e-3)
    assert not vae.noise_sigma_.any()
    # what scatters beyond the errors is neither odd, nor left out of what is drawn
    assert np.sqrt(np.nanmean(np.square(vae.pulls(flux, errors)))) == pytest.approx(1.0, abs=0.1)
    drawn = vae.sample(4000, random_state=0, errors=np.full(N_PIXELS, 0.1))
    spread = (drawn - vae.sample(4000, noise=False, random_state=0)).std(axis=0)
    np.testing.assert_allclose(spread, np.hypot(0.1, vae.misfit_sigma_), rtol=0.1)
    plain = SpectraVAE(3, misfit_errors=False, random_state=0).fit(flux, errors=errors)
    assert not hasattr(plain, "misfit_sigma_")


def test_latent_coordinates_allow_for_what_the_model_does_not_follow():
    """Rows that scatter, seen twice: their latents differ as posteriors say, only with the misfit."""
    flux, errors, true = survey(5, n=2000, scatter=0.0)
    rng = np.random.default_rng(0)
    shape = 3.0 * rng.normal(size=(2, len(true), N_PIXELS))  # what differs, pixel by pixel
    flux = flux + shape[0]
    for misfit, low, high in ((True, 0.9, 1.1), (False, 1.5, 9.0)):
        vae = SpectraVAE(3, misfit_errors=misfit, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorFitWarning)  # pulls are too large, it says
            vae.fit(flux, errors=errors)
        mean, std = vae.posterior(flux, errors)
        other, _ = vae.posterior(flux - shape[0] + shape[1], errors)
        # the noise of both is the same
        assert np.isfinite(std).all()
        pulls = (other - mean) / std
        assert low < np.sqrt(np.square(pulls).mean() / 2.0) < high


def test_too_few_components_are_warned_of():
    """Shapes that are wide along the columns leave correlated residuals if one is missing."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1.0, 60)
    shapes = np.exp(-0.5 * ((x - rng.uniform(0.1, 0.9, (4, 1))) / 0.05) ** 2)
    errors = np.exp(0.5 * rng.normal(size=(600, 1))) * np.ones(60)
    flux = 20.0 + 5.0 * rng.normal(size=(600, 4)) @ shapes + errors * rng.normal(size=(600, 60))
    errors[rng.uniform(size=errors.shape) < 0.1] = np.nan
    for k in (4, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SpectraVAE(k, random_state=0).fit(flux, errors=errors)
    for options in ({}, {"noise_sigma": 0.1}):
        with pytest.warns(
            PoorFitWarning, match=r"neighbouring columns .* too small by a factor"
        ) as caught:
            SpectraVAE(2, random_state=0, **options).fit(flux, errors=errors)
        assert "Training took only" not in str(caught[0].message)
    with pytest.warns(PoorFitWarning, match="neighbouring columns"):
        SpectraVAE(2, max_epochs=40, random_state=0).fit(np.where(np.isnan(errors), 20.0, flux))


def test_columns_seen_in_few_rows_follow_their_neighbours():
    """Means of rows that were held out, in two columns that three rows in a hundred saw."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1.0, 60)
    shapes = np.exp(-0.5 * ((x - [[0.2], [0.5], [0.7]]) / 0.1) ** 2)
    true = 20.0 + 5.0 * rng.normal(size=(500, 3)) @ shapes
    errors = np.exp(0.5 * rng.normal(size=(500, 1))) * np.ones(60)
    flux = true + errors * rng.normal(size=true.shape)
    errors[:, 28:30] = np.where(rng.uniform(size=(500, 2)) < 0.03, errors[:, 28:30], np.nan)
    off = {}
    for is_smooth in (True, False):
        vae = SpectraVAE(3, smooth_loadings=is_smooth, random_state=0)
        match = (
            r"^Poor fit of SpectraVAE: 2 of 60 columns were seen in fewer than 40 rows.*column 28"
        )
        with pytest.warns(PoorFitWarning, match=match):
            vae.fit(flux[:250], errors=errors[:250])
        mean, std = vae.reconstruct(flux[250:], return_std=True, errors=errors[250:])
        residual = mean - true[250:]
        off[is_smooth] = np.sqrt(np.square(residual).mean(axis=0))
        # bands there are somewhat narrow, with either
        assert np.mean(np.abs(residual)[:, 28:30] < 2.0 * std[:, 28:30]) > 0.8
    assert off[True][28:30].mean() < 0.4 * off[False][28:30].mean()
    assert off[True][28:30].max() < 1.5 * off[True][[27, 30]].max()
    assert np.median(off[True]) < np.median(off[False])


# -- how it is fitted ----------------------------------------------------------------------------


def test_batches_change_nothing_but_rounding(rows):
    flux, errors, _ = rows
    parts = [
        SpectraVAE(3, batch_size=size, max_epochs=10, random_state=0).fit(flux, errors=errors)
        for size in (64, 1000)
    ]
    losses = [part.loss_curve_ for part in parts]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert np.diff(losses[0]).max() < 1e-3  # each step makes rows likelier


def test_a_converged_fit_goes_on_by_next_to_nothing(rows):
    flux, errors, _ = rows
    vae = SpectraVAE(3, warm_start=True, random_state=0).fit(flux, errors=errors)
    before, first = vae.transform(flux, errors), vae.n_iter_
    vae.fit(flux, errors=errors)
    assert vae.n_iter_ < 0.3 * first
    np.testing.assert_allclose(vae.transform(flux, errors), before, atol=0.01)


def test_a_path_over_components_is_short(rows):
    """Likelihoods are those of fits from the beginning, which they are closer to, down as well as up."""
    flux, errors, _ = rows
    path = SpectraVAE(warm_start=True, smooth_loadings=False, random_state=0)
    scores = []
    for k in (6, 4, 3, 2, 3):
        path.set_params(n_components=k).fit(flux, errors=errors)
        assert path.transform(flux, errors).shape == (N_ROWS, k)
        alone = SpectraVAE(k, smooth_loadings=False, random_state=0).fit(flux, errors=errors)
        scores.append([part.score(flux, errors=errors) for part in (path, alone)])
        if len(scores) > 1:
            assert path.loss_curve_[0] < alone.loss_curve_[0]
    np.testing.assert_allclose(*np.transpose(scores), atol=0.05)


# after few passes there is more to come
@pytest.mark.filterwarnings("ignore:max_epochs=:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"beta": 2.0},
        {"likelihood": "laplace"},
        {"prior": "mixture", "n_mixture": 3},
        {"init": "random"},
        {"hidden_layer_sizes": (8,), "likelihood": "laplace", "init": "random"},
        {"decoder": "lstm", "hidden_size": 4},
    ],
)
def test_models_that_are_trained_by_gradients_read_errors_too(options, rows):
    flux, errors, _ = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)  # after two epochs
        vae = SpectraVAE(3, max_epochs=2, random_state=0, **options).fit(flux, errors=errors)
    mean, std = vae.reconstruct(flux, return_std=True, errors=errors)
    assert mean.shape == std.shape == flux.shape
    scores = vae.score_samples(flux, errors)
    assert np.isfinite(scores).all()
    if (
        "init" not in options
    ):  # which starts where larger errors tell less, and at random it is learnt
        less = vae.posterior(flux, 10.0 * errors)[1]
        assert (less > vae.posterior(flux, errors)[1]).mean() > 0.5


def test_rows_of_which_nothing_is_known_leave_nothing_to_learn(rows):
    flux, errors, _ = rows
    vae = SpectraVAE(3, random_state=0).fit(flux, errors=1e8 * errors)
    np.testing.assert_allclose(vae.transform(flux, 1e8 * errors), 0.0, atol=1e-3)
    assert np.isfinite(vae.score(flux, errors=1e8 * errors))


def test_a_path_keeps_the_noise_that_was_given_and_all_else(rows):
    flux, errors, _ = rows
    options = {"noise_sigma": 0.3, "smooth_loadings": False, "random_state": 0}
    path = SpectraVAE(6, warm_start=True, **options).fit(flux, errors=errors)
    path.set_params(n_components=2).fit(flux, errors=errors)
    alone = SpectraVAE(2, **options).fit(flux, errors=errors)
    np.testing.assert_allclose(path.noise_sigma_, 0.3, rtol=1e-6)
    assert path.score(flux, errors=errors) == pytest.approx(
        alone.score(flux, errors=errors), abs=0.05
    )
    before = path.transform(flux, errors)
    with pytest.raises(ValueError, match="errors are missing"):
        path.set_params(n_components=3).fit(flux)
    with pytest.raises(ValueError, match="X has 20 columns of fluxes"):
        path.fit(flux[:, :20], errors=errors[:, :20])
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        path.set_params(hidden_layer_sizes=(4,)).fit(flux, errors=errors)
    np.testing.assert_array_equal(path.transform(flux, errors), before)


def test_parts_of_the_rows_make_steps(rows):
    flux, errors, _ = rows
    vae = SpectraVAE(3, random_state=0)
    for _ in range(5):
        vae.partial_fit(flux, errors=errors)
    whole = SpectraVAE(3, max_epochs=5, random_state=0).fit(flux, errors=errors)
    np.testing.assert_allclose(vae.loss_curve_, whole.loss_curve_, rtol=1e-5)


# after few passes there is more to come
@pytest.mark.filterwarnings("ignore:max_epochs=:sklearn.exceptions.ConvergenceWarning")
def test_a_fit_is_saved_and_goes_on(rows, tmp_path):
    flux, errors, _ = rows
    options = {"random_state": 0, "lr_schedule": "constant", "checkpoint": tmp_path}
    SpectraVAE(3, max_epochs=4, **options).fit(flux, errors=errors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "max_epochs=12 ended")
        resumed = SpectraVAE(3, max_epochs=12, **options).fit(flux, errors=errors)
    whole = SpectraVAE(3, max_epochs=12, random_state=0).fit(flux, errors=errors)
    np.testing.assert_array_equal(resumed.loss_curve_, whole.loss_curve_)
    skae.save(resumed, tmp_path / "vae.skae")
    loaded = skae.load(tmp_path / "vae.skae")
    np.testing.assert_array_equal(loaded.transform(flux, errors), whole.transform(flux, errors))


def test_early_stopping_judges_by_rows_held_out(rows):
    flux, errors, _ = rows
    vae = SpectraVAE(6, early_stopping=True, n_iter_no_change=3, random_state=0)
    vae.fit(flux, errors=errors)
    losses = vae.history_[:, "valid_loss"]
    assert np.isfinite(losses).all()
    assert min(losses) < losses[0]


def test_weights_count_as_repeated_rows(rows):
    flux, errors, _ = rows
    weight = np.where(np.arange(N_ROWS) < 50, 2.0, 1.0)
    weighed = SpectraVAE(3, max_epochs=20, random_state=0).fit(flux, None, weight, errors)
    twice = SpectraVAE(3, max_epochs=20, random_state=0).fit(
        np.r_[flux, flux[:50]], errors=np.r_[errors, errors[:50]]
    )
    assert weighed.score(flux, errors=errors) == pytest.approx(
        twice.score(flux, errors=errors), abs=0.01
    )


def test_rows_in_a_file_give_the_same_fit(rows, tmp_path, monkeypatch):
    flux, errors, _ = rows
    X = skae.with_errors(flux, errors)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", X.dtype, X.shape)
    mapped[:] = X
    from skae.estimators import _data

    monkeypatch.setattr(_data, "buffer_size", lambda *_: 100)
    monkeypatch.setattr(_data, "fits_in_memory", lambda *_: False)
    streamed = SpectraVAE(3, error_columns=True, random_state=0).fit(mapped)
    monkeypatch.undo()
    held = SpectraVAE(3, error_columns=True, random_state=0).fit(X)
    assert streamed.score(X) == pytest.approx(held.score(X), abs=1e-3)


def test_a_fit_that_is_cut_short_says_so(rows):
    flux, errors, _ = rows
    with pytest.warns(
        ConvergenceWarning, match=r"max_epochs=3 ended .* by .* nats: raise max_epochs"
    ):
        vae = SpectraVAE(3, max_epochs=3, random_state=0).fit(flux, errors=errors)
    vae.set_params(warm_start=True, max_epochs=100).fit(flux, errors=errors)  # which says nothing
    assert vae.n_iter_ < 100


def test_a_graph_takes_nothing_beside_rows(rows, fitted):
    flux, _, _ = rows
    counts = SpectraVAE(1, likelihood="poisson", max_epochs=1)
    counts.fit(np.round(np.abs(flux[:50])), exposure=np.arange(1.0, 51.0))
    for vae in (fitted, counts):
        with pytest.raises(ValueError, match="cannot be exported; these can: inverse_transform"):
            skae.export.to_onnx(vae, method="transform")
        latent = np.zeros((2, vae.n_components_), dtype=np.float32)
        session = InferenceSession(
            skae.export.to_onnx(vae, method="inverse_transform").SerializeToString()
        )
        (found,) = session.run(None, {session.get_inputs()[0].name: latent})
        np.testing.assert_allclose(found, vae.inverse_transform(latent), rtol=1e-5)
