"""Nothing depends on units: data times any factor, plus any offset, give the same fit."""

import functools
import math
import warnings

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import CaloShowerVAE, JetAutoencoder, MultiResRNNRegressor, PulseLocator, SpectraVAE
from skae.datasets import CaloGeometry, make_pulses, make_showers
from skae.exceptions import PrecisionWarning
from skae.export import to_onnx

RNG = np.random.default_rng(0)
CURVES = RNG.normal(size=(200, 2)) @ RNG.normal(size=(2, 8)) + 0.1 * RNG.normal(size=(200, 8))
PULSES, POSITIONS = make_pulses(200, n_times=40, random_state=0)
PULSES = PULSES.astype(np.float64)  # float32 has no digits left beside large offsets
SHOWERS = np.column_stack([RNG.uniform(1.0, 100.0, 200), RNG.gamma(2.0, size=(200, 12))])
SHOWERS[:, 1:] *= RNG.uniform(size=(200, 12)) < 0.6
SHORT = {"max_epochs": 5, "random_state": 0}

MODELS = {
    "jets": JetAutoencoder(2, hidden_layer_sizes=(16,), **SHORT),
    # of all rows at once, and of few steps, the gradient at an optimum is rounding, by which Adam walks
    "linear jets": JetAutoencoder(2, linear_path=True, batch_size=16, **SHORT),
    "spectra": SpectraVAE(2, batch_size=16, lr=1e-3, **SHORT),
    "deep spectra": SpectraVAE(2, hidden_layer_sizes=(16,), likelihood="laplace", **SHORT),
    "spectra at random": SpectraVAE(2, hidden_layer_sizes=(16,), init="random", **SHORT),
    "spectra, noise known": SpectraVAE(2, noise_sigma=0.1, batch_size=16, lr=1e-3, **SHORT),
}

FACTORS = st.floats(-12.0, 12.0).map(lambda power: 10.0**power)
OFFSETS = st.one_of(st.just(0.0), st.floats(0.0, 8.0).map(lambda power: 10.0**power))


@functools.cache
def fit(name, factor=1.0, offset=0.0):
    """Return a model of curves, moved by ``offset`` spreads and then in another unit."""
    model = clone(MODELS[name])
    if name.endswith("known"):
        model.set_params(noise_sigma=model.noise_sigma * factor)
    return model.fit((CURVES + offset * CURVES.std()) * factor)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8)
@given(factor=FACTORS, offset=OFFSETS)
def test_an_autoencoder_does_not_depend_on_units(name, factor, offset):
    far, near = fit(name, factor, offset), fit(name)
    X = (CURVES + offset * CURVES.std()) * factor
    z = far.transform(X)
    np.testing.assert_allclose(z, near.transform(CURVES), atol=1e-3)
    rows = far.inverse_transform(z) / factor - offset * CURVES.std()
    expected = near.inverse_transform(near.transform(CURVES))
    assert np.abs((rows - expected) / CURVES.std(axis=0)).max() < 1e-3
    if isinstance(far, JetAutoencoder):  # squares
        scores, losses = far.score_samples(X) / factor**2, np.array(far.loss_curve_) / factor**2
    else:  # nats of densities
        nats = CURVES.shape[1] * math.log(factor)
        scores, losses = far.score_samples(X) + nats, np.array(far.loss_curve_) - nats
        np.testing.assert_allclose(far.noise_sigma_ / factor, near.noise_sigma_, rtol=1e-3)
        drawn = far.sample(5, random_state=0) / factor - offset * CURVES.std()
        np.testing.assert_allclose(drawn, near.sample(5, random_state=0), atol=1e-3)
        np.testing.assert_allclose(far.pulls(X), near.pulls(CURVES), atol=1e-2)
    np.testing.assert_allclose(scores, near.score_samples(CURVES), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(losses, near.loss_curve_, rtol=1e-3, atol=1e-3)


@functools.cache
def locate(factor=1.0, offset=0.0):
    model = PulseLocator(trace_channels=4, n_channels=8, **SHORT)
    return model.fit((PULSES + offset * PULSES.std()) * factor, POSITIONS)


@settings(max_examples=8)
@given(factor=FACTORS, offset=OFFSETS)
def test_a_pulse_is_where_it_is_in_any_units(factor, offset):
    X = (PULSES + offset * PULSES.std()) * factor
    far, near = locate(factor, offset), locate()
    ours, theirs = far.predict_distribution(X), near.predict_distribution(PULSES)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@functools.cache
def regress(is_sequence, x_factor=1.0, x_offset=0.0, y_factor=1.0, y_offset=0.0):
    X = (CURVES + x_offset * CURVES.std()) * x_factor
    y = CURVES[:, ::-1] if is_sequence else CURVES[:, :3] * [1.0, 10.0, 0.1]
    y = (y + y_offset * y.std(axis=0)) * y_factor
    model = MultiResRNNRegressor(downsampling=(2,), hidden_size=8, lr=0.02, **SHORT)
    return model.fit(X, y), X, y


@pytest.mark.parametrize("is_sequence", [True, False])
@settings(max_examples=5)
@given(units=st.tuples(FACTORS, OFFSETS, FACTORS, OFFSETS))
def test_a_regression_does_not_depend_on_units(is_sequence, units):
    (far, X, _), (near, X_near, y_near) = regress(is_sequence, *units), regress(is_sequence)
    spread = y_near.std(axis=0)
    predicted = far.predict(X) / units[2] - units[3] * spread
    assert np.abs((predicted - near.predict(X_near)) / spread).max() < 1e-3
    if is_sequence:
        coarse = far.predict_resolutions(X)[0] / units[2]
        expected = near.predict_resolutions(X_near)[0]
        offset = units[3] * (spread[0::2] + spread[1::2]) / 2.0
        assert np.abs(coarse - offset - expected).max() < 1e-3 * spread.max()


def test_regressors_learn_what_lies_far_from_zero():
    T = np.random.RandomState(0).rand(100, 8)
    for offset in (0.0, 1e7, 1e8):
        y = 10.0 * T.mean(axis=1) + offset
        model = MultiResRNNRegressor(
            max_epochs=15, lr=0.02, downsampling=(2,), hidden_size=8, random_state=0
        )
        assert r2_score(y, model.fit(T, y).predict(T)) > 0.99


@functools.cache
def shower_model(factor=1.0):
    # logarithms have a unit in them
    model = CaloShowerVAE(2, hidden_size=16, voxel_scale="energy", **SHORT)
    return model.fit(SHOWERS * factor)


@settings(max_examples=6)
@given(factor=FACTORS)
def test_showers_do_not_depend_on_units(factor):
    far, near = shower_model(factor), shower_model()
    z = far.transform(SHOWERS * factor)
    expected = near.transform(SHOWERS)
    np.testing.assert_allclose(z[:, 1] / factor, expected[:, 1], rtol=1e-5)
    np.testing.assert_allclose(z[:, 2:], expected[:, 2:], atol=1e-3)
    means = far.inverse_transform(z) / factor
    expected = near.inverse_transform(near.transform(SHOWERS))
    assert np.abs(means - expected)[:, 1:].max() < 1e-3 * SHOWERS[:, 1:].std()
    drawn = far.sample(SHOWERS[:20, 0] * factor, random_state=0) / factor
    expected = near.sample(SHOWERS[:20, 0], random_state=0)
    np.testing.assert_allclose(drawn, expected, rtol=1e-2, atol=1e-3)
    # of the hits of one layer, whose energy is known
    nats = math.log(factor) * ((SHOWERS[:, 1:] > 0.0).sum(axis=1) - 1).clip(0)
    scores = far.score_samples(SHOWERS * factor) + nats
    np.testing.assert_allclose(scores, near.score_samples(SHOWERS), atol=2e-2)


def test_what_neighbours_share_does_not_depend_on_units():
    geometry = CaloGeometry([(0, 10, 20, 30)] * 6, [8] * 6, layer_edges=np.arange(7) * 20.0)
    X = make_showers(1500, energy=(1e3, 3e4), geometry=geometry, random_state=0)
    X[:, 1:] *= X[:, 1:] > 0.5
    model = CaloShowerVAE(
        2, geometry=geometry, hidden_size=16, voxel_scale="energy", max_epochs=4, random_state=0
    )
    (near,), (far,) = (clone(model).fit(X * f).module_.field.blocks for f in (1.0, 10.0))
    assert near.covariance[1:].abs().max() > 0.05  # something was found
    # rounding may decide over a voxel or two, which must not grow from round to round
    np.testing.assert_allclose(far.covariance, near.covariance, atol=0.02)
    np.testing.assert_allclose(far.strength, near.strength, atol=0.05)


def test_units_are_those_of_the_first_chunk():
    model = JetAutoencoder(2, random_state=0).partial_fit(CURVES + 100.0)
    center, scale = model.center_.copy(), model.scale_
    np.testing.assert_allclose(center, CURVES.mean(axis=0) + 100.0)
    np.testing.assert_allclose(scale, np.sqrt(CURVES.var(axis=0).mean()))
    model.partial_fit(5.0 * CURVES)
    np.testing.assert_array_equal(model.center_, center)
    assert model.scale_ == scale


def test_what_is_constant_but_for_rounding_is_constant():
    X = np.column_stack([CURVES, np.full(200, 0.1) * (1.0 + 1e-16 * RNG.integers(-3, 3, 200))])
    model = JetAutoencoder(2, **SHORT).fit(X)
    assert model.module_.scale[-1] == 1.0
    np.testing.assert_allclose(model.inverse_transform(model.transform(X))[:, -1], 0.1, atol=1.0)


def test_noise_sees_rows_in_their_units():
    seen = []

    def noise(rows, generator):
        seen.append(rows)
        return rows

    JetAutoencoder(2, noise=noise, max_epochs=1, random_state=0).fit(CURVES * 1e-6 + 1e3)
    rows = np.concatenate([part.numpy() for part in seen])
    expected = CURVES * 1e-6 + 1e3
    order, there = np.argsort(rows[:, 0]), np.argsort(expected[:, 0])
    np.testing.assert_allclose(rows[order] - 1e3, expected[there] - 1e3, atol=1e-11)


def test_numbers_that_rounding_has_eaten_are_a_warning():
    far = CURVES + 1e6
    JetAutoencoder(2, **SHORT).fit(far)  # float64 has them all
    with pytest.warns(PrecisionWarning, match=r"8 of 8 columns of X .* first is \[:, 0\]"):
        JetAutoencoder(2, **SHORT).fit(far.astype(np.float32))
    regressor = MultiResRNNRegressor(downsampling=(2,), hidden_size=4, **SHORT)
    with pytest.warns(PrecisionWarning, match="3 of 3 columns of y"):
        regressor.fit(CURVES, far[:, :3].astype(np.float32))
    counts = RNG.poisson(1e11, size=(100, 6)).astype(float)
    with pytest.warns(PrecisionWarning, match="columns of X"):  # Poisson rates are not centred
        SpectraVAE(1, likelihood="poisson", **SHORT).fit(counts)


def test_rounding_that_adds_up_in_double_precision_is_no_warning():
    steps = RNG.integers(-6, 7, size=(200, 1)).astype(float)  # as of curves divided by their maxima
    for dtype in (np.float64, np.float32):
        X = np.column_stack([CURVES, 1.0 + steps * np.finfo(dtype).eps]).astype(dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PrecisionWarning)
            JetAutoencoder(2, **SHORT).fit(X)
        warned = [each for each in caught if each.category is PrecisionWarning]
        assert bool(warned) == (dtype is np.float32)  # perhaps the digits of better numbers


@pytest.mark.parametrize("factor", [1e-200, 1e200])
@pytest.mark.parametrize("gaps", [True, False])
def test_numbers_without_squares_are_refused(factor, gaps):
    X = CURVES * factor
    X[0, 0] = np.nan if gaps else X[0, 0]
    model = SpectraVAE(2, missing="mask" if gaps else "error", **SHORT)
    with pytest.raises(ValueError, match="beyond the range of float64"):
        model.fit(X)
    assert not hasattr(model, "center_")


@functools.cache
def constants(value):
    """Return what comes back of a constant target, and of constant rows, in terms of the constant."""
    y = np.column_stack([CURVES[:, 0], np.full(200, value)])
    model = MultiResRNNRegressor(downsampling=(2,), hidden_size=4, output="vector", **SHORT)
    rows = np.full((100, 4), value)
    autoencoder = JetAutoencoder(2, hidden_layer_sizes=(8,), **SHORT).fit(rows)
    decoded = autoencoder.inverse_transform(autoencoder.transform(rows))
    return model.fit(CURVES, y).predict(CURVES)[:, 1] / value, decoded / value


@pytest.mark.parametrize("value", [3e-9, -7e11])
def test_constants_have_their_size_as_unit(value):
    for ours, theirs in zip(constants(value), constants(math.copysign(1.0, value)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        assert np.abs(ours - 1.0).max() < 0.3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_graph_keeps_the_digits_that_its_dtype_has(dtype):
    X = CURVES + 1e6
    model = JetAutoencoder(2, **SHORT).fit(X)
    if dtype == "float32":
        with pytest.warns(PrecisionWarning, match="float64"):
            graph = to_onnx(model, method="inverse_transform", dtype=dtype)
    else:
        graph = to_onnx(model, method="inverse_transform", dtype=dtype)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    z = model.transform(X)
    (rows,) = session.run(None, {"X": z.astype(dtype)})
    tolerance = {"float32": 0.1, "float64": 1e-5}[dtype]
    np.testing.assert_allclose(rows, model.inverse_transform(z), rtol=0.0, atol=tolerance)


def test_a_graph_warns_of_what_goes_into_a_pipeline_and_of_single_columns():
    X = np.column_stack([CURVES, 1e-6 * CURVES[:, :1] + 1.0])  # narrow, beside wide ones
    autoencoder = JetAutoencoder(2, **SHORT)
    for model, rows in (
        (autoencoder, X),
        (make_pipeline(StandardScaler(), clone(autoencoder)), CURVES + 1e6),
    ):
        model.fit(rows)
        with pytest.warns(PrecisionWarning, match="float64"):
            to_onnx(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error", PrecisionWarning)
            to_onnx(model, dtype="float64")
            to_onnx(clone(model).fit(CURVES))


def test_a_graph_of_another_dtype_is_refused():
    model = JetAutoencoder(2, **SHORT).fit(CURVES)
    with pytest.raises(ValueError, match="float16"):
        to_onnx(model, dtype="float16")
