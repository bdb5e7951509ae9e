"""skae.compress and skae.decompress: every value comes back within its bound, or an error is raised."""

import hashlib
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skae
from skae.compression import bounded, coder, polynomials, prediction, table, writing
from skae.compression.streams import zstd
from skae.datasets import make_jets

BOUNDS = {"relative": {0: 1e-3, 1: 1e-3}, "absolute": 1e-3}


@np.errstate(all="ignore")
def compress_with(model, X, *, degree=2, embed_model=True, **bounds):
    """Compress by a model, whether it pays or not; without one where no row is finite."""
    task = writing.Writing.of(model, X, degree, **bounds)
    plan = None if model is None else task.with_model(model, embed_model)
    return task.write(task.without_model() if plan is None else plan)


def assert_within(X, back, kind, bound):
    """Check every value by the definition of its bound, and what is no number bit for bit."""
    assert back.dtype == X.dtype
    assert back.shape == X.shape
    is_apart = ~np.isfinite(X) | (X == 0.0) if kind == "relative" else ~np.isfinite(X)
    assert X[is_apart].tobytes() == back[is_apart].tobytes()
    x, y = X[~is_apart].astype(np.longdouble), back[~is_apart].astype(np.longdouble)
    room = bound * np.abs(x) if kind == "relative" else bound
    assert (np.abs(y - x) <= room * (1.0 + 1e-15)).all()


def assert_jets_within(X, back):
    for columns, kind in ((slice(0, 2), "relative"), (slice(2, 4), "absolute")):
        assert_within(X[:, columns], back[:, columns], kind, 1e-3)


@pytest.fixture(scope="module", name="X")
def many_jets():
    return make_jets(1500, random_state=1)


@pytest.fixture(scope="module")
def models(X):
    transformer = skae.KinematicsTransformer()
    inside = {"angles": [3], "transformer": transformer, "metric": "standardised"}
    small = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return {
        "pca": make_pipeline(transformer, StandardScaler(), PCA(3)).fit(X),
        "inside": skae.JetAutoencoder(3, **inside, **small).fit(X),
        "pipeline": make_pipeline(StandardScaler(), skae.JetAutoencoder(2, **small)).fit(X),
        "wound": skae.JetAutoencoder(2, angles=[3], winding=4, **small).fit(X),
        "convolutions": skae.JetAutoencoder(2, block="conv", batch_norm=True, **small).fit(X),
    }


KINDS = ("pca", "inside", "pipeline", "wound", "convolutions")


# -- bounds ----------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    X=st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
        lambda dtype: stn.arrays(dtype, stn.array_shapes(min_dims=2, max_dims=2, max_side=12))
    ),
    kind=st.sampled_from(["relative", "absolute"]),
    exponent=st.floats(-20.0, -0.05),
    scale=st.integers(-300, 300),
)
@example(np.array([[-0.0, 0.0, 5e-324, -5e-324, 1e308, -1e308, np.nan, np.inf, -np.inf]]).T,
         "relative", -3.0, 0)  # fmt: skip
def test_any_floats_come_back_within_any_bound(X, kind, exponent, scale):
    bound = 10.0**exponent * (10.0**scale if kind == "absolute" else 1.0)
    back = skae.decompress(
        skae.compress(None, X, **{kind: dict.fromkeys(range(X.shape[1]), bound)})
    )
    assert_within(X, back, kind, bound)


@settings(max_examples=40)
@given(X=stn.arrays(
    st.one_of(stn.integer_dtypes(), stn.unsigned_integer_dtypes(), stn.boolean_dtypes()),
    stn.array_shapes(min_dims=2, max_dims=2, max_side=12),
))  # fmt: skip
def test_integers_come_back_exactly(X):
    native = X.astype(X.dtype.newbyteorder("="))
    back = skae.decompress(skae.compress(None, X, relative=0.1))
    assert back.dtype == native.dtype
    np.testing.assert_array_equal(back, native)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), data=st.data())
def test_outliers_among_columns_that_predict_one_another_are_within_bounds(seed, n, data):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1)) + 0.01 * rng.normal(size=(n, 6))
    special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e-310, 3.0])
    for _ in range(data.draw(st.integers(0, 10))):
        X[rng.integers(n), rng.integers(6)] = data.draw(special)
    with np.errstate(over="ignore"):
        X = X.astype(data.draw(st.sampled_from([np.float32, np.float64])))
    kind = data.draw(st.sampled_from(["relative", "absolute"]))
    model = PCA(2).fit(rng.normal(size=(50, 6))) if data.draw(st.booleans()) else None
    bounds = dict.fromkeys(range(6), 1e-3)
    assert_within(X, skae.decompress(compress_with(model, X, **{kind: bounds})), kind, 1e-3)


def test_floats_that_are_whole_come_back_exactly_unless_they_are_named():
    X = np.column_stack([[1e5, 2e5, np.nan], [0.5, 0.25, 0.1], [1.0, 2.0, -0.0]])
    back = skae.decompress(skae.compress(None, X, absolute=10.0))
    assert back[:, [0, 2]].tobytes() == X[:, [0, 2]].tobytes()
    assert np.isfinite(back[:, 1]).all()
    back = skae.decompress(skae.compress(None, X, absolute={0: 1e6, 1: 0.0}, relative=1e-6))
    assert back[:, 1:].tobytes() == X[:, 1:].tobytes()
    assert back[0, 0] != X[0, 0]


def test_a_bound_of_zero_is_exact():
    X = np.random.default_rng(0).normal(size=(50, 2))
    assert skae.decompress(skae.compress(None, X, absolute=0)).tobytes() == X.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "compress needs a bound: tolerance=1e-3"),
        ({"relative": 1e-3, "absolute": 1e-3}, "are both for all columns"),
        (
            {"tolerance": 1e-3, "absolute": 1e-3},
            "are both for all columns; .*absolute={'n': 0.001}",
        ),
        (
            {"relative": {"a": 1e-3}, "absolute": {"a": 1e-3}},
            "'a' has two bounds, relative and abs",
        ),
        (
            {"tolerance": {"a": 1e-3}, "relative": {"a": 1e-3}},
            "'a' has two bounds, tolerance and rel",
        ),
        ({"tolerance": {"a": 1e-3}}, "column 'b' has no bound"),
        ({"tolerance": {"c": 1e-3}}, "tolerance names a column 'c', which X has not"),
        ({"tolerance": 2.0}, "tolerance=2 is relative for column 'a', and must be below 1 there"),
        (
            {"tolerance": -1.0},
            "tolerance=-1.0 of all columns must be a number of 0 or more, and fin",
        ),
        ({"tolerance": {"n": 1.0, "a": 0.1}, "absolute": 0.1}, "'n' is of int64, and comes back"),
        ({"relative": {"a": 1e-3}}, "column 'b' has no bound"),
        ({"relative": {"c": 1e-3}}, "names a column 'c', which X has not"),
        ({"relative": 1.0}, "relative=1.0 of all columns must be a number of 0 or more, below 1"),
        ({"absolute": {"a": -1.0}, "relative": 0.1}, "absolute=-1.0 of a must be"),
        ({"absolute": np.nan}, "absolute=nan of all columns"),
        ({"absolute": "1"}, "absolute='1' of all columns"),
        ({"absolute": {"n": 1.0}, "relative": 0.1}, "'n' is of int64, and comes back exactly"),
        ({"absolute": 1.0, "degree": 3}, "degree=3 must be 0, 1 or 2"),
    ],
)
def test_bounds_that_are_none_are_named(options, message):
    X = pd.DataFrame({"a": [0.5, 1.5], "b": [0.5, 2.5], "n": [1, 2]})
    with pytest.raises(ValueError, match=message):
        skae.compress(None, X, **options)


@np.errstate(all="ignore")
def kinds_of(X, model=None, **bounds):
    """Return kind and bound of each column of a DataFrame or an array."""
    columns = writing.Writing.of(model, X, 0, **bounds).columns
    return [(column.kind, column.bound) for column in columns]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["E", "m", "pt", "px", "py", "pz", "jet_mass", "Jet_pT [GeV]", "lead.energy"], "relative"),
        (["eta", "phi", "jet_eta", "φ [rad]"], "absolute"),
    ],
)
def test_names_say_of_which_kind_a_tolerance_is(names, kind):
    for values in ([0.5, -1.5, 0.0], [0.5, 1.5, 2.5]):
        X = pd.DataFrame(dict.fromkeys(names, values))
        assert kinds_of(X, tolerance=0.01) == [(kind, 0.01)] * len(names)


def test_what_is_said_of_an_angle_is_no_angle():
    X = pd.DataFrame({name: [0.5, 1.5, 2.5] for name in ("eta_err", "phi_width", "pt_frac")})
    assert kinds_of(X, tolerance=0.01) == [("relative", 0.01)] * 3


def test_models_are_fitted_and_masks_are_not_dropped(X):
    with pytest.raises(NotFittedError):
        skae.compress(skae.JetAutoencoder(2), X, tolerance=1e-3)
    with pytest.raises(TypeError, match=r"a masked array; pass on X.filled"):
        skae.compress(None, np.ma.masked_less(X, 0.0), tolerance=1e-3)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5, np.nan], "relative"),
        ([-0.5, -np.inf, -1e-9], "relative"),
        ([0.5, 1.5, 0.0], "relative"),
        ([0.0, -0.5, -1.5], "relative"),
        ([-0.5, 1.5, 2.5], "absolute"),
        ([np.nan, np.inf, np.nan], "absolute"),
        ([1.0, 2.0, np.nan], "exact"),
    ],
)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_signs_say_it_where_no_name_does(values, kind, unit):
    column = np.array(values) * (1.0 if kind == "exact" else np.pi * unit)
    for X in (column[:, None], pd.DataFrame({"tau21": column}), pd.DataFrame({7: column})):
        ((found, _),) = kinds_of(X, tolerance=0.01)
        assert found == kind
    back = skae.decompress(skae.compress(None, column[:, None], tolerance=0.01))
    assert_within(column[:, None], back, "absolute" if kind == "exact" else kind, 0.01)


def test_a_tolerance_by_columns_and_the_kinds_that_are_given_beside():
    X = pd.DataFrame({"E": [0.5, 1.5], "phi": [0.5, 1.5], "n": [3, 4], "whole": [1.0, 2.0]})
    named = kinds_of(X, tolerance={"E": 0.1, "phi": 0.2, "whole": 0.3})
    assert named == [("relative", 0.1), ("absolute", 0.2), ("exact", 0.0), ("relative", 0.3)]
    beside = kinds_of(X, tolerance=0.1, absolute={"E": 5.0}, relative={"phi": 0.2})
    assert beside == [("absolute", 5.0), ("relative", 0.2), ("exact", 0.0), ("exact", 0.0)]
    rest = kinds_of(X, tolerance={"phi": 0.0}, absolute=5.0)
    assert rest == [("absolute", 5.0), ("exact", 0.0), ("exact", 0.0), ("exact", 0.0)]
    assert {kind for kind, _ in kinds_of(X, tolerance=0)} == {"exact"}


def test_angles_of_a_network_are_absolute(X):
    """All columns are positive, so that signs would say relative."""
    small = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    X = np.abs(X)
    names = ["a", "b", "c", "pt"]  # a name that would say relative, too
    model = skae.JetAutoencoder(2, angles=[3], **small).fit(X)
    named = skae.JetAutoencoder(2, angles=["pt"], **small).fit(pd.DataFrame(X, columns=names))
    other = skae.JetAutoencoder(2, **small).fit(X)
    absolute = [
        (X, model),
        (X, make_pipeline(model)),
        (X, make_pipeline("passthrough", model)),
        (pd.DataFrame(X, columns=names), named),
        (pd.DataFrame(X, columns=names), model),
        (X, named),
    ]
    for table_, one in absolute:
        kinds = [kind for kind, _ in kinds_of(table_, one, tolerance=0.01)]
        assert kinds == ["relative"] * 3 + ["absolute"]
    behind = make_pipeline(StandardScaler(), model)
    for one in (None, other, behind, PCA(2)):
        assert {kind for kind, _ in kinds_of(X, one, tolerance=0.01)} == {"relative"}
    assert kinds_of(X, model, tolerance=0.01, relative={3: 0.1})[3] == ("relative", 0.1)


@pytest.mark.parametrize(
    "X", [[["a"]], [[1j]], np.zeros((2, 1), "M8[s]"), np.zeros(3, [("a", "f8")])]
)
def test_what_is_no_number_is_refused(X):
    with pytest.raises(TypeError, match=r"compress takes NumPy's|structured array"):
        skae.compress(None, X, absolute=1.0)


@pytest.mark.parametrize("X", [[1.0], np.zeros((2, 0)), pd.DataFrame([[1, 2]], columns=["a", "a"])])
def test_what_is_no_table_is_refused(X):
    with pytest.raises(ValueError, match=r"two dimensions|no columns|each once"):
        skae.compress(None, X, absolute=1.0)


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_keeps_its_names_and_dtypes():
    X = pd.DataFrame({
        "E": np.array([10.5, 20.5, np.nan], np.float32),
        3: [2**63 - 1, -(2**63), 7],
        "u": np.array([2**64 - 1, 0, 2**63], np.uint64),
        "is_b": [True, False, True],
        "half": np.array([0.1, 65504.0, -np.inf], np.float16),
    })  # fmt: skip
    back = skae.decompress(skae.compress(None, X, relative=1e-3))
    pd.testing.assert_frame_equal(back.drop(columns=["E", "half"]), X.drop(columns=["E", "half"]))
    assert back.columns.tolist() == X.columns.tolist()
    for name in ("E", "half"):
        assert_within(X[name].to_numpy(), back[name].to_numpy(), "relative", 1e-3)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("with_model", [False, True])
def test_few_rows_or_none(shape, with_model):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = PCA(1).fit(np.random.default_rng(1).normal(size=(9, shape[1]))) if with_model else None
    assert_within(X, skae.decompress(compress_with(model, X, absolute=1e-3)), "absolute", 1e-3)
    back = skae.decompress(
        skae.compress(None, pd.DataFrame(X, columns=list("abc")[: shape[1]]), absolute=1)
    )
    assert back.shape == shape


def test_constant_columns_take_next_to_nothing():
    X = np.full((30_000, 3), [np.pi, 0.0, np.nan])
    data = skae.compress(None, X, absolute=1e-3)
    assert len(data) < 1500
    assert_within(X, skae.decompress(data), "absolute", 1e-3)


def test_blocks_are_joined(X, models, monkeypatch):
    for module in (table, bounded):
        monkeypatch.setattr(module, "BLOCK_ROWS", 700)
    monkeypatch.setattr(polynomials, "CHUNK_ROWS", 128)
    for model in (None, models["inside"]):
        assert_jets_within(X, skae.decompress(compress_with(model, X, **BOUNDS)))


def test_the_same_table_gives_the_same_bytes(X, models):
    first, second = (compress_with(models["inside"], X, **BOUNDS) for _ in range(2))
    assert first == second


# -- what is gained --------------------------------------------------------------------------------


def bytes_a_row(X, model=None, **options):
    return len(skae.compress(model, X, **{**BOUNDS, **options})) / len(X)


def test_a_function_of_other_columns_takes_few_bits():
    """E = pT cosh η, to its bound, whatever the order of the columns."""
    X = make_jets(6000, random_state=0)
    without = bytes_a_row(X[:, 1:], relative={0: 1e-3}, absolute=1e-3)
    energy = bytes_a_row(X) - without
    assert bytes_a_row(X, degree=0) - without > 1.3  # bytes: an energy by itself has eleven bits
    assert energy < 0.8
    backwards = bytes_a_row(X[:, ::-1], relative={2: 1e-3, 3: 1e-3})
    assert backwards - without < 0.8


def test_a_model_predicts_columns():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 12))
    X = rng.normal(size=(4000, 2)) @ mixing + 1e-3 * rng.normal(size=(4000, 12))
    model = PCA(2).fit(X)
    with_model, alone = (
        len(skae.compress(m, X, absolute=1e-3, degree=0, embed_model=False)) for m in (model, None)
    )
    assert with_model < 0.45 * alone


@pytest.mark.parametrize("degree", [0, 2])
@pytest.mark.parametrize("embed_model", [False, True])
def test_a_model_that_does_not_pay_is_dropped(degree, embed_model, X, models):
    options = {"degree": degree, "embed_model": embed_model, **BOUNDS}
    alone = skae.compress(None, X, **options)
    for model in models.values():
        data = skae.compress(model, X, **options)
        assert len(data) == min(len(alone), len(compress_with(model, X, **options)))
        assert_jets_within(X, skae.decompress(data, model))


def test_a_model_larger_than_the_table_is_dropped_before_columns_are_fitted(X, models, monkeypatch):
    fits = []
    fit = writing.fit_chain
    monkeypatch.setattr(writing, "fit_chain", lambda *args: fits.append(args) or fit(*args))
    data = skae.compress(models["inside"], X[:50], **BOUNDS)
    assert data == skae.compress(None, X[:50], **BOUNDS)
    assert len(fits) == 2


def test_a_model_that_does_not_pay_must_be_able_to_do_its_work(X):
    """Whether an error is raised does not depend on what a model saves."""
    with pytest.raises(ValueError, match="4 features, but PCA is expecting 3"):
        skae.compress(PCA(2).fit(X[:, :3]), X[:5], tolerance=0.9)


def test_the_encoder_of_a_network_is_left_out(X, models):
    data = skae.compress(models["inside"], X, **BOUNDS)
    wide = skae.JetAutoencoder(3, hidden_layer_sizes=(64,), max_epochs=1, random_state=0).fit(X)
    whole = skae.persistence.content_of(wide)
    alone = skae.persistence.content_of(prediction.decoder_alone(wide))
    packed = [len(zstd().compress(content)) for content in (whole, alone)]
    assert packed[1] < 0.75 * packed[0]
    before = models["inside"].transform(X)
    skae.compress(models["inside"], X, **BOUNDS)
    np.testing.assert_array_equal(models["inside"].transform(X), before)
    assert len(data) > 0


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [0, 2])
def test_values_are_within_bounds_with_any_model(kind, degree, X, models):
    data = compress_with(models[kind], X, degree=degree, **BOUNDS)
    assert_jets_within(X, skae.decompress(data))
    apart = compress_with(models[kind], X, degree=degree, embed_model=False, **BOUNDS)
    assert len(apart) < len(data)
    assert_jets_within(X, skae.decompress(apart, models[kind]))


def test_rows_that_a_model_refuses_come_back(X, models):
    X = X.copy()
    X[5] = np.nan
    X[6, 0] = np.inf
    X[7] = [1.0, 100.0, 0.0, 0.0]  # an energy below its momentum
    X[8, 1] = -3.0
    X[9:12] = 0.0
    X[13, 2] = 1e300
    for model in (models["inside"], models["pca"]):
        assert_jets_within(X, skae.decompress(compress_with(model, X, **BOUNDS)))
    nothing = np.full((20, 4), np.nan)
    assert np.isnan(skae.decompress(compress_with(models["inside"], nothing, absolute=1.0))).all()


class Particular(PCA):
    """Refuses rows below zero, and counts how often it is asked."""

    asked = 0

    def transform(self, X):
        type(self).asked += 1
        if (X[:, 0] < 0.0).any():
            raise ValueError("it is negative")
        return super().transform(X)


@pytest.mark.parametrize("share", [1e-3, 0.3])
def test_rows_that_a_model_refuses_are_sought_in_a_bounded_number_of_calls(share):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(30_000, 1))) @ [[1.0, 2.0, 3.0]] + rng.normal(size=(30_000, 3))
    is_refused = rng.random(len(X)) < share
    X[:, 0] = np.where(is_refused, -1.0, 1.0) * np.abs(X[:, 0])
    model = Particular(1).fit(X)
    Particular.asked = 0
    latent = prediction.Model(model, model, None).encode(X, np.ones(3))
    assert Particular.asked <= prediction._MOST_CALLS + 1
    usual = PCA.transform(model, np.ones((1, 3)))
    np.testing.assert_array_equal(latent[is_refused], np.repeat(usual, is_refused.sum(), axis=0))
    true = PCA.transform(model, X)
    is_found = np.isclose(latent, true, rtol=0.0, atol=1e-9)[:, 0]
    if share < 0.01:
        np.testing.assert_array_equal(is_found, ~is_refused)
    data = compress_with(model, X, absolute=0.1, embed_model=False)
    assert_within(X, skae.decompress(data, model), "absolute", 0.1)


def test_named_columns_reach_a_model_by_name(X, models):
    frame = pd.DataFrame(X, columns=["E", "pt", "eta", "phi"])
    bounds = {"relative": {"E": 1e-3, "pt": 1e-3}, "absolute": 1e-3}
    with warnings.catch_warnings(action="error"):
        model = make_pipeline(StandardScaler(), PCA(2)).fit(frame)
        back = skae.decompress(compress_with(model, frame, **bounds))
        assert_jets_within(X, back.to_numpy())
        back = skae.decompress(compress_with(models["inside"], frame, **bounds))
        assert_jets_within(X, back.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        skae.compress(model, frame[["pt", "E", "eta", "phi"]], **bounds)


def test_a_model_that_takes_no_row_says_why(X):
    model = PCA(2).fit(X[:, :3])
    with pytest.raises(ValueError, match="4 features, but PCA is expecting 3"):
        skae.compress(model, X, absolute=1.0)


def test_what_cannot_predict_is_named(X):
    one_way = make_pipeline(FunctionTransformer(np.log1p), PCA(1)).fit(np.abs(X))
    with pytest.raises(TypeError, match="FunctionTransformer has no inverse_transform"):
        skae.compress(one_way, X, absolute=1.0)
    with pytest.raises(TypeError, match="cannot compute a SpectraVAE in float64"):
        skae.compress(skae.SpectraVAE(max_epochs=1).fit(X), X, absolute=1.0)


def test_the_model_comes_first(X):
    for swapped in (X, X.tolist(), pd.DataFrame(X)):
        with pytest.raises(TypeError, match=r"and no estimator: skae.compress\(model, X"):
            skae.compress(swapped, PCA(2).fit(X), tolerance=1e-3)


def test_the_right_model_must_be_there(X, models):
    data = compress_with(models["pca"], X, degree=0, embed_model=False, **BOUNDS)
    with pytest.raises(ValueError, match="is not in it: pass it on as model="):
        skae.decompress(data)
    another = make_pipeline(skae.KinematicsTransformer(), StandardScaler(), PCA(3)).fit(X[:500])
    for wrong in (another, models["pipeline"], PCA(3).fit(X[:, :3])):
        with pytest.raises(ValueError, match=r"The data cannot be decompressed: .*"):
            skae.decompress(data, wrong)


# -- other machines --------------------------------------------------------------------------------


def with_rounding(monkeypatch, size):
    """Let models give something else by so much, as another machine's would."""
    decode, rng = prediction.Model.decode, np.random.default_rng(0)

    def otherwise(self, latent):
        rows = decode(self, latent)
        return rows * (1.0 + size * rng.uniform(-1.0, 1.0, size=rows.shape))

    monkeypatch.setattr(prediction.Model, "decode", otherwise)


@pytest.mark.parametrize("size", [1e-12, 9e-12])
def test_what_another_machine_rounds_otherwise_comes_back_the_same(X, models, size, monkeypatch):
    data = compress_with(models["inside"], X, **BOUNDS)
    before = skae.decompress(data)
    with_rounding(monkeypatch, size)
    np.testing.assert_array_equal(skae.decompress(data), before)


def test_a_prediction_that_is_another_is_an_error_and_no_wrong_value(X, models, monkeypatch):
    data = compress_with(models["inside"], X, **BOUNDS)
    with_rounding(monkeypatch, 1e-5)
    with pytest.raises(ValueError, match="predictions are other than when it was compressed"):
        skae.decompress(data)


def test_a_prediction_near_a_half_is_not_relied_upon(monkeypatch):
    """All are: the values are stored beside, and come back whichever way a half is rounded."""
    X = np.arange(300.0)[:, None] % 7 + np.array([[0.0, 100.0]])
    model = FunctionTransformer(
        lambda x: x[:, :1], lambda z: np.hstack([z, z]) + 0.5, check_inverse=False
    ).fit(X)
    monkeypatch.setattr(polynomials, "_BITS_OF_EXCEPTION", -1.0)  # wanted, for once
    monkeypatch.setattr(coder, "choose_steps", lambda *_: np.ones(1))
    data = compress_with(model, X, absolute=0, degree=0, embed_model=False)
    for move in (-1e-12, 1e-12):
        other = lambda _, z, move=move: z @ [[1, 1]] + 0.5 + move  # noqa: E731
        monkeypatch.setattr(prediction.Model, "decode", other)
        np.testing.assert_array_equal(skae.decompress(data, model), X)


# -- damage, and harm ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def datas(X, models):
    return [compress_with(m, X[:300], **BOUNDS) for m in (None, models["inside"], models["pca"])]


def forged(data, place, byte):
    """Return data with a byte changed, and a digest that fits."""
    content = bytearray(data[:-16])
    content[place % len(content)] = byte
    return bytes(content) + hashlib.blake2b(content, digest_size=16).digest()


@settings(max_examples=60)
@given(which=st.integers(0, 2), place=st.integers(0, 10**6), byte=st.integers(1, 255))
def test_a_changed_byte_is_noticed(datas, which, place, byte):
    data = bytearray(datas[which])
    data[place % len(data)] ^= byte
    with pytest.raises(ValueError, match="The data were"):
        skae.decompress(bytes(data))


@settings(max_examples=30)
@given(which=st.integers(0, 2), share=st.floats(0.0, 1.0, exclude_max=True))
def test_what_was_cut_off_is_noticed(datas, which, share):
    with pytest.raises(ValueError, match="The data were"):
        skae.decompress(datas[which][: int(share * len(datas[which]))])


@settings(max_examples=250)
@given(which=st.integers(0, 2), place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_what_was_made_to_fit_its_digest_is_refused_or_a_table(datas, which, place, byte):
    try:
        back = skae.decompress(forged(datas[which], place, byte))
    except ValueError:
        return
    assert back.shape == (300, 4)


def test_pickles_and_other_files_are_refused():
    for data in (b"", b"\x80\x04", b"PK\x03\x04" * 20, bytes(100), writing.FRONT):
        with pytest.raises(ValueError, match="The data were"):
            skae.decompress(data)
    with pytest.raises(TypeError, match="takes bytes, not a str"):
        skae.decompress("a.bin")


@pytest.mark.usefixtures("no_pickles")
def test_no_pickle_is_read(datas):
    for data in datas:
        skae.decompress(data)


def test_a_header_that_declares_more_than_there_is_is_refused(X, monkeypatch):
    header = writing.Header

    def large(**fields):
        return header(**{**fields, "n_rows": 10**13})

    monkeypatch.setattr(writing, "Header", large)
    data = skae.compress(None, X, **BOUNDS)
    monkeypatch.setattr(writing, "Header", header)
    with pytest.raises(ValueError, match=r"ends too early|does not have|more rows"):
        skae.decompress(data)


def test_exceptions_are_bit_for_bit():
    payload = np.array([0x7FF8000000000123, 0xFFF0000000000001], np.uint64).view(np.float64)
    X = np.concatenate([payload, [-0.0, np.pi]])[:, None]
    back = skae.decompress(skae.compress(None, X, relative={0: 0.01}))
    assert back[:3].tobytes() == X[:3].tobytes()
