"""skae.sample: a draw comes back through the steps of a Pipeline."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

import skae
from skae import JetAutoencoder, SpectraVAE
from skae.datasets import make_spectra


@pytest.fixture(scope="module", name="X")
def spectra():
    return make_spectra(300, n_bins=30, random_state=0)[0]


def test_a_draw_is_brought_back_step_by_step(X):
    pipeline = make_pipeline(MinMaxScaler(), StandardScaler(), SpectraVAE(max_epochs=5)).fit(X)
    draw = skae.sample(pipeline, 4, random_state=0)
    by_hand = pipeline[-1].sample(4, random_state=0)
    by_hand = pipeline[0].inverse_transform(pipeline[1].inverse_transform(by_hand))
    np.testing.assert_array_equal(draw, by_hand)
    many = skae.sample(pipeline, 4000, random_state=0)
    np.testing.assert_allclose(many.mean(axis=0), X.mean(axis=0), rtol=0.05)


def test_arguments_reach_the_last_step(X):
    vae = SpectraVAE(max_epochs=2).fit(X)
    np.testing.assert_array_equal(
        skae.sample(vae, 3, noise=False, random_state=1), vae.sample(3, noise=False, random_state=1)
    )
    assert skae.sample(vae).shape == (1, 30)


def test_steps_that_pass_through_and_pipelines_inside_pipelines(X):
    inner = make_pipeline(StandardScaler(), "passthrough")
    pipeline = make_pipeline(inner, None, SpectraVAE(max_epochs=2)).fit(X)
    assert skae.sample(pipeline, 3).shape == (3, 30)


def test_a_search_draws_from_its_best(X):
    pipeline = make_pipeline(StandardScaler(), SpectraVAE(max_epochs=2, random_state=0))
    search = GridSearchCV(pipeline, {"spectravae__n_components": [1, 2]}, cv=2).fit(X)
    ours, its = (skae.sample(m, 2, random_state=0) for m in (search, search.best_estimator_))
    np.testing.assert_array_equal(ours, its)


def test_what_cannot_draw_or_bring_back_is_named(X):
    with pytest.raises(TypeError, match="PCA has no sample"):
        skae.sample(PCA(2).fit(X), 3)
    with pytest.raises(TypeError, match="JetAutoencoder has no sample"):
        skae.sample(make_pipeline(StandardScaler(), JetAutoencoder(max_epochs=1)).fit(X), 3)

    class OneWay(StandardScaler):
        inverse_transform = property()

    with pytest.raises(TypeError, match="OneWay has no inverse_transform"):
        skae.sample(make_pipeline(OneWay(), SpectraVAE(max_epochs=1)).fit(X), 3)


def test_a_pipeline_that_ends_in_a_search_draws_from_its_best(X):
    search = GridSearchCV(SpectraVAE(max_epochs=1), {"n_components": [1]}, cv=2)
    assert skae.sample(make_pipeline(StandardScaler(), search).fit(X), 2).shape == (2, 30)


def test_a_function_without_an_inverse_is_named(X):
    pipeline = make_pipeline(FunctionTransformer(np.log1p), SpectraVAE(max_epochs=1)).fit(X)
    with pytest.raises(TypeError, match="FunctionTransformer has no inverse_transform"):
        skae.sample(pipeline)


def test_selections_and_functions_with_an_inverse_work(X):
    y = X[:, 0] > X[:, 0].mean()
    pipeline = make_pipeline(
        FunctionTransformer(np.log1p, np.expm1), SelectKBest(k=20), SpectraVAE(max_epochs=2)
    ).fit(X, y)
    assert skae.sample(pipeline, 3, random_state=0).shape == (3, 30)
