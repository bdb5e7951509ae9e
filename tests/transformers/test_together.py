"""The transformers in one Pipeline, before an autoencoder, under one search; and as base classes."""

import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import (
    BoxCoxTransformer,
    JetAutoencoder,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
    PhotonCorrelationFit,
    SpectrumScaler,
    transformers,
)
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
        JetAutoencoder(5, hidden_layer_sizes=(16,), max_epochs=2, linear_path=True, random_state=0),
    ).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippingWarning)  # a network's output may
        back = model.inverse_transform(model.transform(X))
    assert back.shape == X.shape
    assert np.isfinite(back).all()
    assert (back >= 0).all()


# -- parameters that a subclass gives another default --------------------------------------------


class SquareRoot(BoxCoxTransformer):
    lmbda = 0.5


class Momenta(KinematicsTransformer):
    columns: Any = ("px", "py", "pz", "E")


class Centred(LogRatioTransformer):
    kind = "clr"


class Loud(NoiseInjector):
    sigma = 0.5


class Blurred(PhotonCorrelationFit):
    jitter: Any = 0.3


class Columnwise(SpectrumScaler):
    by = "column"


each_subclass = pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (SquareRoot, "lmbda", 0.5),
        (Momenta, "columns", ("px", "py", "pz", "E")),
        (Centred, "kind", "clr"),
        (Loud, "sigma", 0.5),
        (Blurred, "jitter", 0.3),
        (Columnwise, "by", "column"),
    ],
)


@each_subclass
def test_a_new_default_reaches_the_object_and_its_copies(cls, name, value):
    model = cls()
    assert model.get_params() == {**cls.__base__().get_params(), name: value}
    assert inspect.signature(cls).parameters[name].default == value
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert copy.get_params() == model.get_params()
    assert repr(cls(**{name: value})) == f"{cls.__name__}()"


@each_subclass
def test_constraints_are_inherited_and_methods_refused(cls, name, value, rng):
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of {cls.__name__}"):
        cls(**{name: object()}).fit(rng.uniform(1.0, 2.0, size=(5, 4)))
    with pytest.raises(TypeError, match=f"{name} is a parameter of Mine"):
        type("Mine", (cls,), {name: lambda self: value})


def test_every_transformer_is_among_them():
    subclasses = SquareRoot, Momenta, Centred, Loud, Blurred, Columnwise
    assert [cls.__base__.__name__ for cls in subclasses] == transformers.__all__


@parametrize_with_checks([SquareRoot(), Centred(), Loud("gaussian")])
def test_scikit_learn_checks_of_subclasses(estimator, check):
    check(estimator)
