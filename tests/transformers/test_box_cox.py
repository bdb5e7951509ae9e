"""BoxCoxTransformer: the likelihood's own maximum, and everything that went in comes back."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import boxcox_llf
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer
from strategies import tables

import skae
from skae import BoxCoxTransformer, JetAutoencoder
from skae.exceptions import ClippingWarning

EPSILON = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-6}


def assert_comes_back(box_cox, X):
    back = box_cox.inverse_transform(box_cox.transform(X))
    assert back.dtype == X.dtype
    size = np.abs(X).astype(np.float64) + np.abs(box_cox.shifts_)
    alone = box_cox.lambdas_ == 1.0  # a straight line: its rounding is that of the column's size
    size = np.where(alone, np.abs(X).max(axis=0), size)
    assert (np.abs(back.astype(np.float64) - X) <= EPSILON[X.dtype] * size).all()


@pytest.mark.parametrize("standardize", [True, False])
@given(X=tables(zeros=True, negative=True))
def test_what_was_fitted_comes_back(X, standardize):
    assert_comes_back(BoxCoxTransformer(standardize=standardize).fit(X), X)


@given(tables())
def test_positive_columns_come_back_to_a_relative_error(X):
    box_cox = BoxCoxTransformer(shift=None).fit(X)
    back = box_cox.inverse_transform(box_cox.transform(X))
    np.testing.assert_allclose(back, X, rtol=EPSILON[X.dtype])


@given(tables(zeros=True, negative=True))
def test_finite_in_finite_out_also_far_outside(X):
    box_cox = BoxCoxTransformer().fit(X)
    assert np.isfinite(box_cox.transform(X)).all()
    wild = np.concatenate([X * 0, X - 1e30, X + 1e30, 1e6 * X, -1e6 * X])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippingWarning)
        there = box_cox.transform(wild)
        assert np.isfinite(there).all()
        assert np.isfinite(box_cox.inverse_transform(there)).all()
        assert np.isfinite(box_cox.inverse_transform(wild)).all()


@given(tables(zeros=True, negative=True))
def test_the_map_is_increasing_inside_the_fitted_range(X):
    Z = BoxCoxTransformer().fit_transform(X)
    for x, z in zip(X.T.astype(np.float64), Z.T.astype(np.float64), strict=True):
        order = np.argsort(x, kind="stable")
        steps, rises = np.diff(x[order]), np.diff(z[order])
        assert (rises >= 0).all()
        # strictly so, unless the values are one within the tolerance
        size = np.abs(x) + np.ptp(x)
        apart = steps > 4 * EPSILON[X.dtype] * size[order][1:]
        assert (rises[apart] > 0).all()


@given(tables(zeros=True, negative=True))
def test_rows_and_columns_do_not_see_one_another(X):
    box_cox = BoxCoxTransformer().fit(X)
    Z = box_cox.transform(X)
    np.testing.assert_array_equal(box_cox.transform(X[::-1]), Z[::-1])
    np.testing.assert_array_equal(box_cox.transform(X[:1]), Z[:1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(box_cox)).transform(X), Z)
    np.testing.assert_array_equal(clone(box_cox).fit(X).transform(X), Z)
    permuted = BoxCoxTransformer().fit_transform(X[:, ::-1])
    np.testing.assert_allclose(permuted, Z[:, ::-1], rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(tables(kinds=("lognormal", "uniform"), dtypes=(np.float64,)))
def test_the_power_maximises_the_likelihood(X):
    box_cox = BoxCoxTransformer(shift=None).fit(X)
    for x, power in zip(X.T, box_cox.lambdas_, strict=True):
        x = x / np.exp(np.mean(np.log(x)))  # the likelihood's maximum knows no scale
        if len(np.unique(x)) < 3 or abs(power) * np.ptp(np.log(x)) > 15:
            continue  # two values know no maximum; a large power meets its bound
        best = boxcox_llf(power, x)
        for other in (power - 0.01, power + 0.01, power - 1e-4, power + 1e-4, 0.0, 1.0):
            assert boxcox_llf(other, x) <= best + 1e-6


def test_the_power_is_that_of_scikit_learn(rng):
    X = rng.gamma(rng.uniform(0.5, 5.0, size=20), size=(20_000, 20)) + 0.01
    expected = PowerTransformer("box-cox").fit(X)
    box_cox = BoxCoxTransformer().fit(X)
    np.testing.assert_allclose(box_cox.lambdas_, expected.lambdas_, atol=1e-4)
    np.testing.assert_allclose(box_cox.transform(X), expected.transform(X), atol=1e-4)
    assert np.ptp(box_cox.lambdas_) > 0.1


@pytest.mark.parametrize("lmbda", [-1.5, 0.0, 1e-9, 0.5, 1.0, 2.0])
def test_a_given_power_is_the_formula(rng, lmbda):
    X = rng.lognormal(size=(50, 3))
    Z = BoxCoxTransformer(lmbda=lmbda, standardize=False).fit_transform(X)
    expected = np.log(X) if lmbda == 0 else np.expm1(lmbda * np.log(X)) / lmbda
    np.testing.assert_allclose(Z, expected, rtol=1e-12, atol=1e-12)


def test_skewed_columns_become_symmetric_and_standardised(rng):
    X = rng.lognormal(sigma=[0.5, 1.0, 2.0], size=(50_000, 3))
    box_cox = BoxCoxTransformer().fit(X)
    Z = box_cox.transform(X)
    assert (box_cox.skewness_ > 1.5).all()
    assert (np.abs(np.mean(Z**3, axis=0)) < 0.05).all()
    np.testing.assert_allclose(Z.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), 1.0, rtol=1e-9)


def test_nearly_symmetric_columns_are_left_alone(rng):
    X = np.column_stack([rng.normal(5.0, 0.5, 1000), rng.lognormal(size=1000)])
    box_cox = BoxCoxTransformer(skew_threshold=0.5, standardize=False).fit(X)
    assert box_cox.lambdas_[0] == 1.0
    assert abs(box_cox.lambdas_[1]) < 0.2
    np.testing.assert_array_equal(box_cox.transform(X)[:, 0], X[:, 0])


def test_a_nearly_constant_column_with_an_outlier_keeps_its_digits():
    x = np.array([[1.0 + 1e-4 * k] for k in range(50)] + [[10.0]])
    unbounded = PowerTransformer("box-cox").fit(x)
    assert unbounded.lambdas_[0] < -20
    assert np.abs(unbounded.inverse_transform(unbounded.transform(x)) - x).max() > 0.1
    box_cox = BoxCoxTransformer().fit(x)
    assert -15 < box_cox.lambdas_[0] < 0
    np.testing.assert_allclose(box_cox.inverse_transform(box_cox.transform(x)), x, rtol=1e-6)


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("value", [0.0, -3.0])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_constant_column_that_is_not_positive_survives_a_given_power(power, value, standardize):
    X = np.full((5, 1), value)
    box_cox = BoxCoxTransformer(lmbda=power, standardize=standardize).fit(X)
    np.testing.assert_allclose(box_cox.inverse_transform(box_cox.transform(X)), X, atol=1e-12)


def test_missing_values_are_ignored_in_fit_and_kept(rng):
    X = rng.lognormal(size=(500, 3))
    holes = X.copy()
    holes[:100, 0] = np.nan
    holes[:, 2] = np.nan
    box_cox = BoxCoxTransformer().fit(holes)
    np.testing.assert_allclose(
        box_cox.lambdas_[:2],
        [BoxCoxTransformer().fit(X[100:, :1]).lambdas_[0], BoxCoxTransformer().fit(X).lambdas_[1]],
        atol=1e-8,
    )
    Z = box_cox.transform(holes)
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(holes))
    back = box_cox.inverse_transform(Z)
    np.testing.assert_allclose(back, holes, rtol=1e-9)


def test_many_rows_are_transformed_as_few_are(rng):
    """Blocks and threads are a matter of speed alone."""
    X = rng.lognormal(size=(300_000, 2))
    box_cox = BoxCoxTransformer().fit(X)
    Z = box_cox.transform(X)
    np.testing.assert_allclose(Z[-7:], box_cox.transform(X[-7:]), rtol=1e-14)
    np.testing.assert_allclose(box_cox.inverse_transform(Z), X, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_lie_otherwise_in_memory_give_the_same_numbers(rng, dtype):
    X = rng.lognormal(sigma=[0.1, 1.0, 2.0], size=(2000, 3)).astype(dtype)
    box_cox = BoxCoxTransformer(lmbda=[0.0, 0.3, 1e-4]).fit(X)
    Z = box_cox.transform(X)
    np.testing.assert_array_equal(box_cox.transform(X[::-1])[::-1], Z)
    np.testing.assert_array_equal(box_cox.transform(np.asfortranarray(X)), Z)
    back = box_cox.inverse_transform(Z)
    np.testing.assert_array_equal(box_cox.inverse_transform(Z[::-1])[::-1], back)


def test_copy_false_writes_into_a_writeable_array(rng):
    X = rng.lognormal(size=(50, 2))
    box_cox = BoxCoxTransformer(copy=False).fit(X)
    expected = BoxCoxTransformer().fit(X).transform(X)
    Z = box_cox.transform(X)
    assert np.shares_memory(Z, X)
    np.testing.assert_array_equal(Z, expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"shift": None},
            r"Negative values in data: X has 2 values <= -?0 in column 'E' \(min -3\).*Use shift='auto'",
        ),
        ({"shift": 1.0}, r"X has 2 values <= -1 in column 'E'"),
        ({"lmbda": [1.0, 2.0, 3.0]}, "lmbda=.* one for each of the 2 columns"),
        ({"shift": np.nan}, "shift=nan must be a finite number"),
        ({"lmbda": 1e6}, "lmbda=1e.06 takes column '.*' out of the range"),
        ({"skew_threshold": -1.0}, "'skew_threshold' parameter of BoxCoxTransformer"),
    ],
)
def test_errors_say_what_to_do(parameters, message):
    X = pd.DataFrame({"E": [-3.0, -2.0, 1.0, 7.0], "pt": [1.0, 2.0, 3.0, 9.0]})
    with pytest.raises(ValueError, match=message):
        BoxCoxTransformer(**parameters).fit(X)


def test_a_wrong_width_on_the_way_back_is_an_error(rng):
    box_cox = BoxCoxTransformer().fit(rng.lognormal(size=(20, 3)))
    with pytest.raises(ValueError, match="X has 2 columns, but transform returns 3"):
        box_cox.inverse_transform(np.zeros((2, 2)))


# -- beyond the data ----------------------------------------------------------------------------


@st.composite
def box_coxes(draw):
    """A table, and a transformer that is fitted to it: its power found or given."""
    X = draw(tables(zeros=True, negative=True))
    power = draw(st.none() | st.integers(-40, 40).map(lambda tenths: tenths / 10))
    # of small numbers the formula as it stands, (x^λ − 1)/λ, keeps no digits at a given power
    standardize = power is not None or draw(st.booleans())
    return X, BoxCoxTransformer(lmbda=power, standardize=standardize).fit(X)


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@given(box_coxes(), st.floats(0.0, 1.0))
def test_a_standard_deviation_is_at_most_the_range_of_the_data(fitted, distance):
    X, box_cox = fitted
    Z = box_cox.transform(X).astype(np.float64)
    low, high, size = X.min(axis=0), X.max(axis=0), np.ptp(X, axis=0)
    step = distance * Z.std(axis=0)
    back = box_cox.inverse_transform(np.stack([Z.min(axis=0) - step, Z.max(axis=0) + step]))
    allowed = distance * size
    allowed += EPSILON[X.dtype] * (size + np.abs(X).max(axis=0) + np.abs(box_cox.shifts_))
    assert (back[0] >= low - allowed).all()
    assert (back[1] <= high + allowed).all()
    assert (np.diff(back, axis=0) >= 0).all()


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@given(box_coxes(), st.floats(-3.0, 3.0))
def test_values_beyond_the_data_come_back_and_stay_in_order(fitted, exponent):
    X, box_cox = fitted
    X = X.astype(np.float64)
    low, high = X.min(axis=0), X.max(axis=0)
    size = np.maximum(np.ptp(X, axis=0), 1e-6 * np.abs(X).max(axis=0))
    below = low - 10.0**exponent * size
    below = np.where((low >= 0.0) & (box_cox.lambdas_ != 1.0), np.maximum(below, 0.0), below)
    rows = np.stack([below, low, high, high + 10.0**exponent * size])
    Z = box_cox.transform(rows)
    assert (np.diff(Z, axis=0) >= 0.0).all()
    back = box_cox.inverse_transform(Z)
    assert (np.diff(back, axis=0) >= 0.0).all()
    allowed = 1e-6 * (np.abs(rows) + np.abs(box_cox.shifts_) + size)
    on_a_line = (rows < low) | (rows > high)
    on_a_line &= np.abs(Z) < 1e20  # none goes on for ever
    assert (np.abs(back - rows) <= allowed)[on_a_line].all()


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@given(box_coxes())
def test_where_no_data_were_negative_none_come_back_so(fitted):
    X, box_cox = fitted
    positive = (X >= 0.0).all(axis=0) & (box_cox.lambdas_ != 1.0)
    Z = box_cox.transform(X)
    back = box_cox.inverse_transform(np.concatenate([Z, Z - 3.0, Z - 1e6, Z * 0 - 1e30]))
    assert (back[:, positive] >= 0.0).all()


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
def test_the_lines_have_the_slope_of_the_ends_but_at_most_the_range(rng):
    X = np.sort(rng.uniform(1.0, 9.0, size=(200, 1)), axis=0)
    low, high = X[0, 0], X[-1, 0]
    box_cox = BoxCoxTransformer(lmbda=0.5, standardize=False).fit(X)  # x = (1 + y/2)², dx/dy = √x
    steps = np.array([[0.1], [0.2], [0.4], [10.0]])
    up = box_cox.inverse_transform(2.0 * (np.sqrt(high) - 1.0) + steps)
    np.testing.assert_allclose(up, high + np.sqrt(high) * steps, rtol=1e-12)
    down = box_cox.inverse_transform(2.0 * (np.sqrt(low) - 1.0) - steps)
    np.testing.assert_allclose(down, np.maximum(low - np.sqrt(low) * steps, 0.0), rtol=1e-12)
    assert (down == 0.0).sum() == 1
    # the logarithm of a log-normal of σ = 3, whose slope at the end is 19 ranges
    X = rng.lognormal(sigma=3.0, size=(1000, 1))
    for standardize in (True, False):
        box_cox = BoxCoxTransformer(lmbda=0.0, standardize=standardize).fit(X)
        Z = box_cox.transform(X)
        up = box_cox.inverse_transform(Z.max() + Z.std() * steps)
        np.testing.assert_allclose(up, X.max() + np.ptp(X) * steps, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@given(box_coxes())
def test_what_lies_beyond_the_data_leaves_the_others_alone(fitted):
    X, box_cox = fitted
    Z = box_cox.transform(X)
    with_far = np.concatenate([X, X + 3 * np.ptp(X, axis=0), X - 3 * np.ptp(X, axis=0)])
    np.testing.assert_array_equal(box_cox.transform(with_far)[: len(X)], Z)
    back = box_cox.inverse_transform(np.concatenate([Z, Z * 0 - 1e30, Z * 0 + 1e30]))[: len(X)]
    np.testing.assert_array_equal(back, box_cox.inverse_transform(Z))


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
def test_columns_that_were_negative_go_on_below_their_shift(rng):
    X = 0.02 * rng.exponential(size=(500, 1)) + 0.002 * rng.normal(size=(500, 1))
    box_cox = BoxCoxTransformer().fit(X)
    low = X.min() - np.array([[1e-4], [1e-3], [3e-3]])
    assert (low + box_cox.shifts_ < 0.0).any()
    with pytest.warns(ClippingWarning, match=r"to 0\.16\d+. Beyond, .* in straight lines\.$"):
        Z = box_cox.transform(low)
    assert (np.diff(Z, axis=0) < 0.0).all()
    np.testing.assert_allclose(box_cox.inverse_transform(Z), low, rtol=1e-9)


def test_no_value_between_those_of_the_fit_is_lost_to_a_given_power(rng):
    X = rng.lognormal(sigma=3.0, size=(1000, 1))
    for power in (-20.0, -8.0, 3.0, 20.0):  # powers that drown one end of the column
        box_cox = BoxCoxTransformer(lmbda=power).fit(X)
        back = box_cox.inverse_transform(box_cox.transform(X))
        assert (back >= X.min()).all()
        assert (back <= X.max()).all()
        Z = box_cox.transform(X)
        with pytest.warns(ClippingWarning):
            far = box_cox.inverse_transform([Z.min(axis=0) - 1.001, Z.max(axis=0) + 1.001])
        assert (far >= 0.0).all()
        assert (far <= 2.002 * X.max()).all()


def test_lines_and_the_ends_of_the_data_are_saved(rng, tmp_path):
    X = rng.lognormal(size=(100, 3))
    box_cox = BoxCoxTransformer(lmbda=[-1.0, 0.0, 1.0]).fit(X)
    skae.save(box_cox, tmp_path / "box_cox.skops")
    rows = np.concatenate([0.5 * X.min(axis=0, keepdims=True), 2.0 * X])
    with pytest.warns(ClippingWarning, match="column") as before:
        Z = box_cox.transform(rows)
    with pytest.warns(ClippingWarning, match="column") as after:
        np.testing.assert_array_equal(skae.load(tmp_path / "box_cox.skops").transform(rows), Z)
    assert str(before[0].message) == str(after[0].message)


def power_laws(rng, n):
    """Four energies of a jet, say, that go together over orders of magnitude."""
    sigma = [0.3, 0.3, 0.5, 1.0]
    return (1.0 + rng.pareto(1.0, size=(n, 1))) * rng.lognormal(sigma=sigma, size=(n, 4))


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@pytest.mark.parametrize(
    "model",
    [
        PCA(1),
        JetAutoencoder(1, hidden_layer_sizes=(8,), linear_path=True, max_epochs=10, random_state=0),
    ],
    ids=["PCA", "JetAutoencoder"],
)
@pytest.mark.parametrize("seed", range(4))
def test_what_a_model_of_power_laws_gives_stays_near_the_data(model, seed):
    train, test = np.split(power_laws(np.random.default_rng(seed), 600), 2)
    pipeline = make_pipeline(BoxCoxTransformer(), model).fit(train)
    assert (pipeline[0].lambdas_ < 0.0).all()
    for X in (train, test):
        back = pipeline.inverse_transform(pipeline.transform(X))
        assert (back > 0.0).all()
        assert (back <= 10.0 * np.ptp(train, axis=0)).all()


@pytest.mark.parametrize("names", [["pt", "m"], None])
def test_a_warning_names_the_column_and_the_ends_of_its_data(rng, names):
    X = np.clip(rng.lognormal(size=(500, 2)), 0.125, 8.0)
    column = "column 0" if names is None else "column 'pt'"
    table = X if names is None else pd.DataFrame(X, columns=names)
    box_cox = BoxCoxTransformer().fit(table)
    rows = np.array([[-1.0, 1.0], [-2.0, 1.0], [1.0, 1000.0], [1.0, 7.0]])
    rows = rows if names is None else pd.DataFrame(rows, columns=names)
    ends = rf"most of them \(2\) in {column}, whose data reach from 0\.125 to 8\. .* end at 0 on"
    with pytest.warns(ClippingWarning, match="3 values of X .* " + ends) as caught:
        Z = box_cox.transform(rows)
    assert caught[0].filename == __file__
    assert np.isfinite(Z).all()
    with pytest.warns(ClippingWarning, match="3 values of what is to be brought back .* " + ends):
        back = box_cox.inverse_transform(Z)
    np.testing.assert_allclose(back, np.maximum(rows, 0.0), rtol=1e-9)
    with pytest.warns(ClippingWarning, match="1 values of what is to be brought back"):
        assert np.isfinite(box_cox.inverse_transform([[0.0, 1e300]])).all()


def test_no_warning_within_a_standard_deviation_of_the_data(rng):
    X = rng.lognormal(mean=3.0, sigma=0.3, size=(500, 3)).astype(np.float32)
    box_cox = BoxCoxTransformer().fit(X)
    Z = box_cox.transform(X)
    ends = np.stack([Z.min(axis=0) - 0.99, Z.max(axis=0) + 0.99])
    beyond = box_cox.inverse_transform(ends)
    assert ((beyond[0] < X.min(axis=0)) & (beyond[1] > X.max(axis=0))).all()
    np.testing.assert_allclose(box_cox.transform(beyond), ends, atol=1e-4)
