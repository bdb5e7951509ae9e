"""Export to ONNX: what onnxruntime computes is what the estimator does."""

import copy
import os
import pickle
import re
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from fits import global_states, no_space, weights_of
from fitted import FITTED, last_of
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

import skae
from skae import PulseLocator
from skae.datasets import make_jets, make_pulses
from skae.estimators._tensor_steps import as_tensor_step
from skae.export import OnnxPredictor, to_onnx

# What networks of two epochs decode is out of range, and their showers' energies are few.
pytestmark = [
    pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning"),
    pytest.mark.filterwarnings("ignore::skae.exceptions.ExtrapolationWarning"),
]

# One of each kind of network; the others run with the slow tests.
QUICK = ("jets-linear", "spectra-lstm", "spectra-mask", "showers-grid", "sequences-vector")


def rng():
    return np.random.default_rng(0)


def run(graph, X):
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"X": np.asarray(X, dtype=np.float32)})[0]


NETWORKS = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in FITTED
    if name.startswith(("jets", "spectra", "showers", "pulses", "sequences"))
]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_computes_what_the_estimator_does(name):
    model, X = FITTED[name]()
    X = X.astype(np.float32)
    with pytest.raises(ValueError, match=r"method='fit' .* these can: ") as refused:
        to_onnx(model, method="fit")
    methods = re.findall(r"\w+", str(refused.value).partition("these can: ")[2])
    assert methods
    if name == "spectra-mask":  # each row has equations of its own
        methods = ["inverse_transform"]
        with pytest.raises(TypeError, match=r"cannot export transform of a SpectraVAE: .*cholesky"):
            to_onnx(model)
    for method in methods:
        graph = to_onnx(model, method=method)
        onnx.checker.check_model(graph, full_check=True)
        rows = model.transform(X) if method == "inverse_transform" else X
        expected = getattr(model, method)(rows)
        for n in (1, 7, len(X)):
            found = run(graph, rows[:n])
            assert found.dtype == np.float32
            assert found.shape == expected[:n].shape
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected[:n], rtol=1e-5, atol=2e-6 * scale)


def jets():
    return make_jets(60, random_state=0)


def momenta():
    E, pt, eta, phi = jets().T
    return np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), E])


def showers():
    energy = rng().uniform(10.0, 100.0, size=(60, 1))
    voxels = energy * rng().dirichlet(np.ones(8), size=60) * (rng().uniform(size=(60, 8)) > 0.3)
    return np.hstack([energy, voxels])


def table():
    return rng().gamma(2.0, size=(60, 4)) * [1.0, 1e3, 1e-3, 10.0]


def with_a_constant():
    return np.column_stack([table(), np.full(60, 3.0)])


STEPS = {
    "standard": (StandardScaler(), with_a_constant),
    "centred": (StandardScaler(with_std=False), table),
    "scaled": (StandardScaler(with_mean=False), table),
    "untouched": (StandardScaler(with_mean=False, with_std=False), table),
    "robust": (RobustScaler(), table),
    "robust, not centred": (RobustScaler(with_centering=False), table),
    "robust, not scaled": (RobustScaler(with_scaling=False), table),
    "range": (MinMaxScaler((-1.0, 2.0)), with_a_constant),
    "clipped range": (MinMaxScaler(clip=True), table),
    "largest": (MaxAbsScaler(), table),
    "clipped largest": (MaxAbsScaler(clip=True), table),
    "pca": (PCA(2), table),
    "whitened": (PCA(3, whiten=True), table),
    "logarithm": (FunctionTransformer(np.log1p, np.expm1), table),
    "root": (FunctionTransformer(np.sqrt, np.square), table),
    "none": (FunctionTransformer(), table),
    "box-cox": (skae.BoxCoxTransformer(), table),
    "box-cox of few": (skae.BoxCoxTransformer(lmbda=[0.0, 1.0, 1e-9, -0.5]), table),
    "box-cox, not standardised": (skae.BoxCoxTransformer(standardize=False), table),
    "logit": (skae.LogRatioTransformer("logit", reference=0), showers),
    "log1p": (skae.LogRatioTransformer("log1p", reference=0, threshold=0.5), showers),
    "log1p in the middle": (
        skae.LogRatioTransformer("log1p", reference=3),
        lambda: showers()[:, [1, 2, 3, 0, 4]],
    ),
    "logit of the sum": (skae.LogRatioTransformer("logit", reference=None), showers),
    "logit of the sum over a threshold": (
        skae.LogRatioTransformer("logit", reference=None, threshold=0.5),
        showers,
    ),
    "jets": (skae.KinematicsTransformer(), jets),
    "jets, scaled": (skae.KinematicsTransformer(scale=True), jets),
    "jets by mass": (
        skae.KinematicsTransformer(columns=("m", "pt", "eta", "phi")),
        lambda: jets() * [0.01, 1.0, 1.0, 1.0],
    ),
    "momenta and more": (
        skae.KinematicsTransformer(columns=("px", "py", "pz", "E")),
        lambda: np.column_stack([momenta(), table()]),
    ),
    "noise": (skae.NoiseInjector("gaussian", sigma=0.1), table),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_the_same_formulas_in_torch(name):
    step, make = STEPS[name]
    X = make()
    step.fit(X[:40])
    beyond = [1.5, 1.5, 1.0, 1.0] if name.startswith("jets") else 1.5  # η stays: E is above p
    X = np.vstack([X, beyond * X[40:]])
    forward, backward = as_tensor_step(step)
    Z = step.transform(X)
    rounding = 1e-6 if "momenta" in name else 1e-9  # an angle goes through single precision
    found = forward(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, Z, rtol=rounding, atol=rounding)
    if backward is None:
        assert not hasattr(step, "inverse_transform")
        return
    if name.startswith("jets") or "momenta" in name:
        Z[::2, 2] += 2.0 * np.pi  # brought back into the circle
    Z[:3] *= 0.9
    back = step.inverse_transform(Z)
    scale = np.abs(back).max(axis=0)
    np.testing.assert_allclose(
        backward(torch.from_numpy(Z)).numpy() / scale, back / scale, rtol=1e-6, atol=1e-9
    )


def test_columns_that_were_found_by_name_keep_their_places_in_torch():
    frame = pd.DataFrame(jets(), columns=["E", "pt", "eta", "phi"]).assign(tracks=3.0)
    frame = frame[["tracks", "pt", "eta", "E", "phi"]]
    step = skae.KinematicsTransformer(scale=True).fit(frame)
    forward, backward = as_tensor_step(step)
    features = forward(torch.from_numpy(frame.to_numpy()))
    np.testing.assert_allclose(features.numpy(), step.transform(frame), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(backward(features).numpy(), frame, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in STEPS if name.startswith("box-cox")])
def test_box_cox_goes_on_in_the_same_straight_lines_in_torch(name):
    step, make = STEPS[name]
    X = make()
    Z = step.fit(X).transform(X)
    far = np.concatenate([X - np.ptp(X, axis=0), X + 10.0 * np.ptp(X, axis=0)])
    forward, backward = as_tensor_step(step)
    found = forward(torch.from_numpy(far)).numpy()
    np.testing.assert_allclose(found, step.transform(far), rtol=1e-12)
    far = np.concatenate([Z - 3.0 * Z.std(axis=0), Z + 3.0 * Z.std(axis=0), -1e6 * Z**2])
    back = step.inverse_transform(far)
    assert (back == 0.0).any()
    np.testing.assert_allclose(backward(torch.from_numpy(far)).numpy(), back, rtol=1e-9)


with pytest.raises(TypeError, match="one of these is: ") as refused:
    as_tensor_step(FunctionTransformer(np.sinc))
FUNCTIONS = [getattr(np, name) for name in re.findall(r"np\.(\w+)", str(refused.value))]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_of_numpy_are_torchs_of_the_same_name(function):
    X = rng().gamma(2.0, size=(20, 2))
    step = FunctionTransformer(function).fit(X)
    found = as_tensor_step(step).forward(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, step.transform(X), rtol=1e-14)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples"])
def test_a_pipeline_is_one_graph(method):
    X = np.abs(showers()) + 0.01
    X[:, 0] += 1.0
    model = make_pipeline(
        "passthrough",
        skae.LogRatioTransformer("logit", reference=0),
        make_pipeline(skae.BoxCoxTransformer(shift="auto"), RobustScaler()),
        PCA(6),
        MinMaxScaler(),
        skae.JetAutoencoder(n_components=2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0),
    ).fit(X)
    X = X.astype(np.float32)
    # three times as far as any latent: Box-Cox goes on as a straight line there
    rows = 3.0 * model.transform(X) if method == "inverse_transform" else X
    expected = getattr(model, method)(rows)
    found = run(to_onnx(model, method=method), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_named_and_scaled_columns_go_through_onnxruntime():
    X = pd.DataFrame(jets(), columns=["E", "pt", "eta", "phi"])[["pt", "eta", "phi", "E"]]
    model = make_pipeline(
        skae.KinematicsTransformer(scale=True),
        skae.JetAutoencoder(n_components=3, hidden_layer_sizes=(8,), max_epochs=2, random_state=0),
    ).fit(X)
    X = X.astype(np.float32)
    Z = model.transform(X)
    np.testing.assert_allclose(run(to_onnx(model), X.to_numpy()), Z, rtol=1e-4, atol=1e-5)
    expected = model.inverse_transform(Z)
    found = run(to_onnx(model, method="inverse_transform"), Z)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_momenta_go_through_onnxruntime():
    """Whose operators are fewer in double precision than torch's."""
    X = np.column_stack([momenta(), table()[:, :1]])
    model = make_pipeline(
        skae.KinematicsTransformer(columns=("px", "py", "pz", "E")),
        skae.JetAutoencoder(n_components=3, hidden_layer_sizes=(8,), max_epochs=2, random_state=0),
    ).fit(X)
    X = X.astype(np.float32)
    Z = model.transform(X)
    np.testing.assert_allclose(run(to_onnx(model), X), Z, rtol=1e-4, atol=1e-5)
    expected = model.inverse_transform(Z)
    found = run(to_onnx(model, method="inverse_transform"), Z)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def model():
    return FITTED["jets"]()[0]


def test_a_file_says_what_it_holds(model, tmp_path, monkeypatch):
    path = tmp_path / "jets.onnx"
    frame = pd.DataFrame(jets(), columns=["E", "pt", "η", "φ"])
    named = make_pipeline(StandardScaler(), skae.JetAutoencoder(max_epochs=1)).fit(frame)
    graph = to_onnx(named, path)
    assert path.read_bytes() == graph.SerializeToString()
    read = onnx.load(path)
    assert (read.producer_name, read.producer_version) == ("skae", skae.__version__)
    described = {entry.key: entry.value for entry in read.metadata_props}
    assert described["estimator"] == "JetAutoencoder"
    assert described["method"] == "transform"
    assert described["feature_names"] == '["E", "pt", "η", "φ"]'
    (found,) = read.graph.input
    assert found.name == "X"
    shape = [d.dim_param or d.dim_value for d in found.type.tensor_type.shape.dim]
    assert shape == ["n_samples", 4]
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("whole")
    with pytest.raises(OSError, match="missing"):
        to_onnx(model, tmp_path / "missing" / "jets.onnx")
    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        to_onnx(model, path)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_changes_nothing(model, capfd):
    before, states = weights_of(last_of(model)).clone(), global_states()
    expected = model.transform(jets())
    to_onnx(model)
    assert torch.equal(weights_of(last_of(model)), before)
    assert global_states() == states
    np.testing.assert_array_equal(model.transform(jets()), expected)
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_exported_is_refused(model):
    with pytest.raises(NotFittedError):
        to_onnx(skae.JetAutoencoder())
    with pytest.raises(NotFittedError):
        to_onnx(make_pipeline(StandardScaler(), skae.JetAutoencoder()))
    with pytest.raises(ValueError, match=r"'predict' of a JetAutoencoder .*transform, inverse_tr"):
        to_onnx(model, method="predict")
    with pytest.raises(TypeError, match="ends in one, not a StandardScaler"):
        to_onnx(StandardScaler())
    with pytest.raises(TypeError, match="not a KMeans"):
        to_onnx(make_pipeline(StandardScaler(), KMeans()))
    net = skae.JetAutoencoder(max_epochs=1)
    with pytest.raises(TypeError, match=r"PowerTransformer is not known as .* BoxCoxTransformer, "):
        to_onnx(make_pipeline(PowerTransformer(), net).fit(jets()))
    with pytest.raises(TypeError, match="kind='clr'"):
        to_onnx(make_pipeline(skae.LogRatioTransformer("clr"), net).fit(showers() + 0.1))
    with pytest.raises(TypeError, match=r"one of these is: np\.log"):
        to_onnx(make_pipeline(FunctionTransformer(np.cbrt), net).fit(jets()))
    with_arguments = FunctionTransformer(np.log1p, kw_args={"dtype": float})
    with pytest.raises(TypeError, match="kw_args"):
        to_onnx(make_pipeline(with_arguments, net).fit(table()))
    noisy = make_pipeline(skae.NoiseInjector("gaussian", sigma=0.1), net).fit(jets())
    with pytest.raises(ValueError, match="NoiseInjector has no way back"):
        to_onnx(noisy, method="inverse_transform")
    counts = skae.SpectraVAE(likelihood="poisson", max_epochs=1).fit(np.round(table()))
    with pytest.raises(ValueError, match="'score_samples' of a SpectraVAE"):
        to_onnx(counts, method="score_samples")


class Counting(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) * len(x)


def test_a_network_of_ones_own_that_counts_its_rows_is_refused():
    net = skae.JetAutoencoder(max_epochs=1).fit(jets())
    net.module_.encoder = Counting(4, 3)
    with pytest.raises(TypeError, match=r"transform of a JetAutoencoder: .*shape\[0\]"):
        to_onnx(net)


def test_without_onnx_it_is_said_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnxscript: pip install skae\[export\]"):
        to_onnx(model)


def test_of_a_regressor_its_predictions_are_exported():
    X, y = skae.datasets.make_pulses(60, n_times=21, random_state=0)
    locator = skae.PulseLocator(max_epochs=1, random_state=0).fit(X, y)
    graph = to_onnx(locator)
    assert [each.name for each in graph.graph.output] == ["predict"]
    np.testing.assert_allclose(run(graph, X), locator.predict(X), atol=1e-4)


# -- run by ONNX Runtime -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locator():
    X, y = make_pulses(200, n_times=40, empty_fraction=0.3, random_state=0)
    options = {"trace_channels": 4, "n_channels": 4, "absent": "learn", "random_state": 0}
    return PulseLocator(max_epochs=2, **options).fit(X, y), X


@pytest.fixture(scope="module")
def fast(locator):
    return OnnxPredictor(locator[0])


def test_a_predictor_has_the_estimators_methods(locator, fast):
    model, X = locator
    assert fast.methods == ("predict", "predict_distribution", "predict_presence")
    assert set(fast.methods) < set(dir(fast))
    assert "predict_presence" in repr(fast)
    for name in fast.methods:
        for n in (1, 30):
            expected = getattr(model, name)(X[:n])
            np.testing.assert_allclose(getattr(fast, name)(X[:n]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        AttributeError, match=r"no 'transform'\. It has: predict, predict_distribution"
    ):
        fast.transform  # noqa: B018


def test_a_predictor_of_a_pipeline_and_of_files(tmp_path):
    X = make_jets(100, random_state=0)
    model = make_pipeline(StandardScaler(), skae.JetAutoencoder(max_epochs=2)).fit(X)
    expected = model.transform(X)
    np.testing.assert_allclose(OnnxPredictor(model).transform(X), expected, rtol=1e-4, atol=1e-5)
    path = tmp_path / "jets.onnx"
    graph = to_onnx(model, path, dtype="float64")
    for source in (path, str(path), path.read_bytes(), graph):
        fast = OnnxPredictor(source)
        assert fast.methods == ("transform",)
        found = fast.transform(X)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(AttributeError, match=r"no 'inverse_transform'\. It has: transform"):
        fast.inverse_transform(expected)


def test_a_predictor_refuses_what_the_network_does_not_know(locator, fast):
    _, X = locator
    with pytest.raises(ValueError, match=r"dtype complex\d+, and must hold real numbers"):
        fast.predict(X + 1j)
    for wrong in (X[0], X[:, :2], X[:, :, :30], X[:0]):
        with pytest.raises(ValueError, match=r"X has shape .* must have \(n_samples, 3, 40\)"):
            fast.predict(wrong)
    for bad in (np.nan, np.inf, 1e300):
        broken = X[:2].astype(float)
        broken[1, 0, 3] = bad
        with pytest.raises(ValueError, match="X has NaN or infinity"):
            fast.predict(broken)


def test_a_predictor_takes_nan_where_the_estimator_does_alone_and_in_a_pipeline():
    X, y = make_pulses(200, n_times=40, random_state=0)
    X[::2, 0] = np.nan
    options = {"trace_channels": 4, "n_channels": 4, "missing": "mask", "random_state": 0}
    model = PulseLocator(max_epochs=2, **options).fit(X, y)
    fast = OnnxPredictor(model)
    np.testing.assert_array_equal(fast.predict(X), model.predict(X))
    X[1, 0, 0] = np.inf
    with pytest.raises(ValueError, match="X has NaN or infinity"):
        fast.predict(X)
    X[1, 0, 0] = 0.0
    flat = X.reshape(len(X), -1)
    model = make_pipeline(StandardScaler(), PulseLocator(n_traces=3, max_epochs=2, **options))
    model.fit(flat, y)
    np.testing.assert_array_equal(OnnxPredictor(model).predict(flat), model.predict(flat))


def test_a_predictor_stays_what_it_was_and_can_be_pickled(locator):
    model, X = locator
    live = copy.deepcopy(model)
    fast, expected = OnnxPredictor(live), model.predict_presence(X)
    assert callable(fast.predict)
    assert not fast._graphs  # asking for a method exports nothing
    live.set_params(max_epochs=1).fit(X[:50], np.where(np.arange(50) % 2, np.nan, 7.0))
    np.testing.assert_allclose(fast.predict_presence(X), expected, rtol=1e-4, atol=1e-5)
    again = pickle.loads(pickle.dumps(fast))
    assert list(again._graphs) == ["predict_presence"]
    np.testing.assert_array_equal(again.predict_presence(X), fast.predict_presence(X))


def test_a_predictor_computes_in_double_precision_and_knows_the_names_of_columns():
    X = pd.DataFrame(make_jets(100, random_state=0), columns=["E", "pt", "eta", "phi"])
    model = make_pipeline(StandardScaler(), skae.JetAutoencoder(max_epochs=2)).fit(X)
    fast = OnnxPredictor(model, dtype="float64")
    assert fast.transform(X).dtype == np.float64
    np.testing.assert_allclose(fast.transform(X), model.transform(X), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"columns \['phi', 'eta', 'pt', 'E'\], and in training"):
        fast.transform(X[X.columns[::-1]])


def test_a_predictor_refuses_other_sources():
    with pytest.raises(TypeError, match="not a KMeans"):
        OnnxPredictor(KMeans())
    with pytest.raises(NotFittedError):
        OnnxPredictor(PulseLocator())
    with pytest.raises(ValueError, match=r"not made by skae\.export\.to_onnx"):
        OnnxPredictor(onnx.ModelProto())
    with pytest.raises(ValueError, match="n_threads=0 must be 1 or more"):
        OnnxPredictor(PulseLocator(), n_threads=0)
