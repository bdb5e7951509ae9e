"""NoiseInjector and its twin for minibatches: the right distribution, where it is asked for."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from fits import small, weights_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from strategies import tables

from skae import JetAutoencoder, NoiseInjector
from skae.modules.noise import RowNoise

MIXTURE = {"poisson": 0.7, "gaussian": 0.3}


def as_twin(injector, X, seed=0):
    """The noise of minibatches, on the CPU."""
    twin = RowNoise(**injector._resolve_noise(X))
    rows = torch.from_numpy(X.astype(np.float32))
    return twin(rows, torch.Generator().manual_seed(seed)).numpy()


def as_step(injector, X):
    return clone(injector).set_params(random_state=0).fit_transform(X)


BOTH = pytest.mark.parametrize("add_noise", [as_step, as_twin], ids=["transformer", "minibatch"])


@BOTH
@pytest.mark.parametrize("mean", [0.3, 4.0, 250.0])
def test_poisson_noise_has_a_variance_equal_to_its_mean(add_noise, mean):
    n = 200_000
    draws = add_noise(NoiseInjector(counts=1.0, relative_to=None), np.full((n, 1), mean))
    np.testing.assert_array_equal(draws, draws.round())
    assert abs(draws.mean() - mean) < 5 * np.sqrt(mean / n)
    # the variance of a sample variance: (μ4 − σ⁴) / n, with μ4 = 3 mean² + mean
    assert abs(draws.var() - mean) < 5 * np.sqrt((2 * mean**2 + mean) / n)


@BOTH
def test_counts_refer_to_the_maximum_of_the_clean_row_and_to_bin_widths(add_noise):
    X = np.tile([[5.0, 20.0, 10.0]], (100_000, 1))
    widths = [1.0, 1.0, 4.0]
    noisy = add_noise(NoiseInjector(counts=50.0, bin_widths=widths), X)
    # 50 counts where the row is 20: 20/50 each, a quarter of that in the bin four times as wide
    counted = noisy / [0.4, 0.4, 0.1]
    np.testing.assert_allclose(counted, counted.round(), atol=1e-3)
    variance = np.array([5.0, 20.0, 10.0]) * [0.4, 0.4, 0.1]
    np.testing.assert_allclose(noisy.mean(axis=0), X[0], rtol=5e-3)
    np.testing.assert_allclose(noisy.var(axis=0), variance, rtol=0.03)


@BOTH
@pytest.mark.parametrize(
    ("relative_to", "scale"), [("clean_max", 4.0), ("std", np.std([1.0, -4.0, 0.0])), (None, 1.0)]
)
def test_gaussian_noise_is_gaussian_of_the_stated_width(add_noise, relative_to, scale):
    X = np.tile([[1.0, -4.0, 0.0]], (20_000, 1))
    noise = add_noise(NoiseInjector("gaussian", sigma=0.25, relative_to=relative_to), X) - X
    assert stats.kstest(noise.ravel(), "norm", (0.0, 0.25 * scale)).pvalue > 1e-4


@BOTH
def test_each_row_draws_its_kind_with_the_stated_probability(add_noise):
    n = 50_000
    noisy = add_noise(
        NoiseInjector({"poisson": 0.95, "gaussian": 0.05}, counts=9.0), np.ones((n, 4))
    )
    whole = np.isclose(noisy * 9, np.round(noisy * 9), atol=1e-4)
    counted = whole.all(axis=1)
    assert abs(counted.mean() - 0.95) < 5 * np.sqrt(0.05 * 0.95 / n)
    assert whole[~counted].mean() < 0.01  # rows are of one kind throughout


@BOTH
def test_a_range_of_counts_is_log_uniform_by_row(add_noise):
    noisy = add_noise(NoiseInjector(counts=(100.0, 1e5)), np.ones((2000, 4000)))
    found = 1.0 / noisy.astype(np.float64).var(axis=1)  # of 4000 bins, to 2 %
    spread = (np.log(100.0), np.log(1e5) - np.log(100.0))
    assert stats.kstest(np.log(found), "uniform", spread).statistic < 0.05


@pytest.mark.parametrize("kind", ["poisson", "gaussian", MIXTURE], ids=str)
@pytest.mark.parametrize("relative_to", ["clean_max", "std", None])
def test_transformer_and_minibatch_noise_are_equal_in_distribution(rng, kind, relative_to):
    X = np.tile(rng.lognormal(1.0, 1.0, size=(1, 6)), (20_000, 1))
    injector = NoiseInjector(
        kind, counts=(2.0, 200.0), sigma=0.3, relative_to=relative_to, bin_widths=[1, 2, 1, 3, 1, 1]
    )
    step, twin = as_step(injector, X), as_twin(injector, X)
    for a, b in zip(step.T, twin.T, strict=True):
        # a float32 rounds: ties of the counts must not be told apart
        assert stats.ks_2samp(a.astype(np.float32).round(3), b.round(3)).pvalue > 1e-4
    np.testing.assert_allclose(np.cov(step.T), np.cov(twin.T), rtol=0.2, atol=0.05 * step.var())


@given(tables(zeros=True), st.sampled_from(["poisson", "gaussian"]), st.booleans())
def test_finite_in_finite_out_in_the_same_dtype(X, kind, always):
    injector = NoiseInjector(kind, apply="always" if always else "fit", random_state=0)
    noisy = injector.fit_transform(X)
    assert noisy.dtype == X.dtype
    assert np.isfinite(noisy).all()
    np.testing.assert_array_equal(noisy[X.max(axis=1) == 0], 0.0)
    again = injector.transform(X)
    np.testing.assert_array_equal(again, noisy if always else X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(injector)).transform(X), again)
    if kind == "poisson":
        assert (noisy >= 0).all()


def test_huge_counts_are_drawn_from_the_gaussian_limit():
    noisy = NoiseInjector(counts=1e18, random_state=0).fit_transform(np.ones((1000, 50)))
    np.testing.assert_allclose(noisy.std(), 1e-9, rtol=0.05)


def test_noise_in_fit_transform_only_and_always(rng):
    X = rng.uniform(size=(50, 3))
    injector = NoiseInjector(random_state=0)
    assert not np.array_equal(injector.fit_transform(X), X)
    np.testing.assert_array_equal(injector.transform(X), X)
    assert not np.shares_memory(injector.transform(X), X)
    always = NoiseInjector(apply="always", random_state=0).fit(X)
    np.testing.assert_array_equal(always.transform(X), injector.fit_transform(X))
    fresh = NoiseInjector(apply="always").fit(X)
    assert not np.array_equal(fresh.transform(X), fresh.transform(X))
    first, second = (NoiseInjector(random_state=seed).fit_transform(X) for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_pipeline_trains_on_noise_and_predicts_without(rng):
    X = rng.uniform(1.0, 2.0, size=(200, 3))
    y = X @ [1.0, 2.0, 3.0]
    model = make_pipeline(NoiseInjector(counts=20.0, random_state=0), Ridge(1e-6)).fit(X, y)
    assert np.abs(model[-1].coef_ - [1.0, 2.0, 3.0]).max() > 0.2  # it saw the noise
    np.testing.assert_array_equal(model.predict(X), model[-1].predict(X))


def test_no_global_random_state_is_touched(rng):
    X = rng.uniform(size=(20, 2))
    before = np.random.get_state()[1].copy()
    NoiseInjector(MIXTURE, apply="always").fit(X).transform(X)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_pandas_in_and_pandas_out():
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=[5, 7])
    noisy = NoiseInjector().set_output(transform="pandas").fit_transform(X)
    assert list(noisy.columns) == ["a", "b"]
    assert list(noisy.index) == [5, 7]


def test_noise_of_an_autoencoder_corrupts_the_input_and_not_the_target(rng):
    X = rng.normal(size=(300, 4))

    def weights(sigma):
        noise = None if sigma is None else NoiseInjector("gaussian", sigma=sigma)
        return weights_of(small(noise=noise).fit(X))

    clean, silent, noisy, again = (weights(sigma) for sigma in (None, 0.0, 0.5, 0.5))
    assert torch.equal(clean, silent)
    assert not torch.equal(clean, noisy)
    assert torch.equal(noisy, again)  # the estimator's random_state rules


def test_a_search_reaches_the_noise_of_an_autoencoder(rng):
    X = rng.normal(size=(60, 4))
    model = make_pipeline(StandardScaler(), small(noise=NoiseInjector("gaussian")))
    search = GridSearchCV(model, {"jetautoencoder__noise__sigma": [0.0, 2.0]}, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]


def test_poisson_noise_of_negative_columns_is_refused_before_training(rng):
    X = rng.normal(size=(20, 4))
    with pytest.raises(ValueError, match=r"Negative values in data.*Use kind='gaussian'"):
        JetAutoencoder(noise=NoiseInjector(), max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="'sigma' parameter of NoiseInjector"):
        JetAutoencoder(noise=NoiseInjector("gaussian", sigma=-1.0), max_epochs=1).fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"X has 2 negative values in column 'b' \(min -3\), one of 1 such columns; Poisson"),
        ({"kind": {"poisson": 0.5, "gaussian": 0.4}}, "they must sum to 1"),
        ({"kind": {"poisson": 1.5, "gaussian": -0.5}}, "a probability of 0 or more each"),
        ({"kind": {"salt": 1.0}}, "must give 'poisson', 'gaussian' or both"),
        ({"kind": "gaussian", "counts": (5.0, 1.0)}, r"counts=\(5.0, 1.0\) must be a positive"),
        ({"kind": "gaussian", "bin_widths": [1.0]}, "it must hold 2 positive numbers"),
        ({"kind": "gaussian", "bin_widths": [1.0, 0.0]}, "it must hold 2 positive numbers"),
        ({"kind": "pepper"}, "'kind' parameter of NoiseInjector"),
        ({"sigma": -1.0}, "'sigma' parameter of NoiseInjector"),
    ],
)
def test_errors_say_what_to_do(parameters, message):
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [-3.0, -1.0]})
    with pytest.raises(ValueError, match=message):
        NoiseInjector(**parameters).fit(X)
