"""The transformers in one Pipeline, before an autoencoder, under one search."""

import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import BoxCoxTransformer, JetAutoencoder, LogRatioTransformer, NoiseInjector
from skae.exceptions import ClippingWarning


def showers(rng, n=60):
    energy = rng.uniform(10.0, 100.0, size=(n, 1))
    voxels = energy * rng.dirichlet(np.ones(5), size=n) * (rng.uniform(size=(n, 5)) > 0.2)
    return np.hstack([energy, voxels])


def test_parameters_of_all_three_are_searched_at_once_on_two_workers(rng):
    model = make_pipeline(
        LogRatioTransformer(reference=0),
        NoiseInjector("gaussian", random_state=0),
        BoxCoxTransformer(),
        StandardScaler(),
        JetAutoencoder(hidden_layer_sizes=(8,), max_epochs=2, random_state=0),
    )
    grid = {
        "logratiotransformer__kind": ["logit", "log1p"],
        "noiseinjector__sigma": [0.0, 0.1],
        "boxcoxtransformer__skew_threshold": [None, 1e9],
        "jetautoencoder__n_components": [1, 2],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippingWarning)  # test folds reach further
        search = GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(showers(rng))
        serial = GridSearchCV(model, grid, cv=2, n_jobs=1).fit(showers(np.random.default_rng(0)))
    scores = search.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == 16  # each parameter reaches its step
    np.testing.assert_allclose(scores, serial.cv_results_["mean_test_score"], rtol=1e-5)


def test_what_the_pipeline_decodes_are_showers(rng):
    X = showers(rng)
    model = make_pipeline(
        LogRatioTransformer(reference=0),
        BoxCoxTransformer(),
        JetAutoencoder(6, hidden_layer_sizes=(16,), max_epochs=2, linear_path=True, random_state=0),
    ).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippingWarning)  # a network's output may
        back = model.inverse_transform(model.transform(X))
    assert back.shape == X.shape
    assert np.isfinite(back).all()
    assert (back >= 0).all()
