"""LogRatioTransformer: published formulas, exact ways back, and zeros that stay zero."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.base import clone
from strategies import tables

from skae import LogRatioTransformer

KINDS = ("logit", "log1p", "alr", "clr", "ilr")
SINGLE = ("logit", "log1p")
kinds = st.sampled_from(KINDS)


@st.composite
def showers(draw):
    """Total first, then parts of very different size, many of them empty, some rows all of them."""
    parts = draw(tables(kinds=("lognormal", "uniform", "constant"), zeros=True))
    parts[draw(st.integers(0, len(parts) - 1))] = 0.0
    total = parts.sum(axis=1, dtype=np.float64, keepdims=True) * draw(st.floats(0.9, 3.0))
    total = np.maximum(total, parts.max(axis=1, keepdims=True)).astype(parts.dtype)
    return np.hstack([total, parts])


def assert_comes_back(X, back):
    """Each value to its own precision, or to that of the whole where it is lost beside it."""
    assert back.dtype == X.dtype
    rtol = 1e-6 if X.dtype == np.float64 else 1e-3
    assert (np.abs(back.astype(np.float64) - X) <= rtol * X).all()


@given(showers(), st.sampled_from(SINGLE), st.booleans())
def test_showers_come_back_and_empty_voxels_are_exactly_zero(X, kind, with_total):
    X = X if with_total else X[:, 1:]
    log_ratio = LogRatioTransformer(kind, reference=0 if with_total else None).fit(X)
    Z = log_ratio.transform(X)
    assert np.isfinite(Z).all()
    parts, coordinates = (X[:, 1:], Z[:, 1:]) if with_total else (X, Z[:, 1:])
    np.testing.assert_array_equal(coordinates == 0.0, parts == 0.0)
    if with_total:
        np.testing.assert_array_equal(Z[:, 0], X[:, 0])
    back = log_ratio.inverse_transform(Z)
    np.testing.assert_array_equal(back == 0.0, X == 0.0)
    assert_comes_back(X, back)


@given(tables(kinds=("lognormal", "uniform", "constant")), kinds, st.booleans())
def test_compositions_without_zeros_come_back(X, kind, with_total):
    if with_total and X.shape[1] == 1:
        return
    if with_total:
        X[:, 0] = np.nextafter(X.sum(axis=1), np.array(np.inf, dtype=X.dtype))
    log_ratio = LogRatioTransformer(kind, reference=0 if with_total else None).fit(X)
    assert_comes_back(X, log_ratio.inverse_transform(log_ratio.transform(X)))


@given(showers(), kinds, st.booleans())
def test_finite_in_finite_out_both_ways(X, kind, with_total):
    log_ratio = LogRatioTransformer(kind, reference=0 if with_total else None).fit(X)
    Z = log_ratio.transform(X)
    assert np.isfinite(Z).all()
    rng = np.random.default_rng(0)
    for size in (1.0, 1e3, 1e30):
        wild = (size * rng.normal(size=Z.shape)).astype(Z.dtype)
        wild[:, 0] = Z[:, 0]
        back = log_ratio.inverse_transform(wild)
        assert np.isfinite(back).all()
        assert (back >= 0).all()


@given(showers(), kinds)
def test_rows_do_not_see_one_another(X, kind):
    log_ratio = LogRatioTransformer(kind, reference=0).fit(X)
    Z = log_ratio.transform(X)
    np.testing.assert_array_equal(log_ratio.transform(X[::-1]), Z[::-1])
    np.testing.assert_array_equal(log_ratio.transform(X[:1]), Z[:1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(log_ratio)).transform(X), Z)
    np.testing.assert_array_equal(clone(log_ratio).fit(X).transform(X), Z)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_columns", [2, 5])
def test_rows_that_lie_otherwise_in_memory_give_the_same_numbers(rng, kind, n_columns, dtype):
    X = rng.lognormal(sigma=3.0, size=(2000, n_columns)).astype(dtype)
    X[:, 0] = 2 * X.sum(axis=1)
    log_ratio = LogRatioTransformer(kind, reference=0).fit(X)
    Z = log_ratio.transform(X)
    np.testing.assert_array_equal(log_ratio.transform(X[::-1])[::-1], Z)
    np.testing.assert_array_equal(log_ratio.transform(np.asfortranarray(X)), Z)
    back = log_ratio.inverse_transform(Z)
    np.testing.assert_array_equal(log_ratio.inverse_transform(Z[::-1])[::-1], back)
    np.testing.assert_array_equal(log_ratio.inverse_transform(np.asfortranarray(Z)), back)


@given(showers(), st.sampled_from((*SINGLE, "clr")))
def test_permuted_parts_give_permuted_coordinates(X, kind):
    X = X[:, 1:].astype(np.float64)
    Z = LogRatioTransformer(kind).fit_transform(X)
    permuted = LogRatioTransformer(kind).fit_transform(X[:, ::-1])
    # the sum's rounding depends on the order, and the logit of nearly everything is steep: 1e-16 / R
    np.testing.assert_allclose(permuted[:, :0:-1], Z[:, 1:], rtol=1e-12, atol=1e-7)


@given(showers(), st.sampled_from(SINGLE))
def test_more_energy_gives_a_larger_coordinate(X, kind):
    Z = LogRatioTransformer(kind, reference=0).fit_transform(X)
    for row, coordinates in zip(X[:, 1:].astype(np.float64), Z[:, 1:], strict=True):
        order = np.argsort(row)
        apart = np.diff(row[order]) > 1e-5 * row[order][1:]
        rises = np.diff(coordinates[order])
        assert (rises >= 0).all()
        assert (rises[apart] > 0).all()


def test_the_logit_is_the_published_formula(rng):
    energy = rng.uniform(1.0, 1000.0, size=(200, 1))
    fraction = 10.0 ** rng.uniform(-9, 0, size=(200, 30)) * (rng.uniform(size=(200, 30)) > 0.3)
    X = np.hstack([energy, energy * fraction])
    epsilon = 1e-7
    published = logit(epsilon + (1 - 2 * epsilon) * X[:, 1:] / energy) - logit(epsilon)
    # the published formula cancels by 1 − R − (1 − 2R)ε where a voxel holds nearly everything
    usual = fraction < 0.99
    Z = LogRatioTransformer(reference=0, epsilon=epsilon).fit_transform(X)
    np.testing.assert_allclose(Z[:, 1:][usual], published[usual], rtol=1e-12, atol=1e-12)


def test_clr_rows_sum_to_zero_and_ilr_keeps_distances(rng):
    X = rng.lognormal(sigma=3.0, size=(50, 12))
    clr = LogRatioTransformer("clr").fit_transform(X)[:, 1:]
    ilr = LogRatioTransformer("ilr").fit_transform(X)[:, 1:]
    np.testing.assert_allclose(clr.sum(axis=1), 0.0, atol=1e-12)
    # Aitchison's distance, from all pairs of log-ratios
    pairs = np.log(X)[:, :, None] - np.log(X)[:, None, :]
    aitchison = np.sqrt(((pairs[:, None] - pairs[None]) ** 2).sum(axis=(2, 3)) / (2 * X.shape[1]))
    for Z in (clr, ilr):
        distance = np.linalg.norm(Z[:, None] - Z[None], axis=2)
        np.testing.assert_allclose(distance, aitchison, rtol=1e-12, atol=1e-12)
    assert ilr.shape[1] == X.shape[1] - 1


def test_alr_divides_by_the_total_or_by_the_last_part(rng):
    X = rng.lognormal(size=(5, 4))
    X[:, 1] = 2 * X.sum(axis=1)
    Z = LogRatioTransformer("alr", reference=1).fit_transform(X)
    np.testing.assert_allclose(Z[:, 1:], np.log(X[:, [0, 2, 3]] / X[:, 1:2]), rtol=1e-12)
    Z = LogRatioTransformer("alr").fit_transform(X)
    np.testing.assert_allclose(Z[:, 1:], np.log(X[:, :3] / X[:, 3:]), rtol=1e-12)
    np.testing.assert_allclose(Z[:, 0], X.sum(axis=1), rtol=1e-12)


COMPOSITIONS = ("alr", "clr", "ilr")


@pytest.mark.parametrize("kind", COMPOSITIONS)
def test_zeros_of_a_composition_come_back_as_epsilon_of_the_total(kind):
    X = np.array([[0.0, 0.0, 0.0, 1.0, 1.0], [0.0, 3.0, 1.0, 2.0, 2.0], [0.0] * 5])
    log_ratio = LogRatioTransformer(kind, epsilon=0.01).fit(X)
    Z = log_ratio.transform(X)
    assert (Z[2] == 0).all()
    back = log_ratio.inverse_transform(Z)
    np.testing.assert_allclose(back[0], [0.02, 0.02, 0.02, 0.97, 0.97], rtol=1e-12)
    np.testing.assert_allclose(back[1], [0.08, 2.97, 0.99, 1.98, 1.98], rtol=1e-12)
    np.testing.assert_array_equal(back[2], 0.0)


@given(showers(), st.sampled_from(COMPOSITIONS), st.floats(1e-9, 0.019))
def test_zeros_are_replaced_multiplicatively(X, kind, epsilon):
    """As Martín-Fernández et al. (2003) do: totals and ratios are kept."""
    X = X[:, 1:].astype(np.float64)
    total, zero = X.sum(axis=1, keepdims=True), X == 0.0
    log_ratio = LogRatioTransformer(kind, epsilon=epsilon).fit(X)
    back = log_ratio.inverse_transform(log_ratio.transform(X))
    room = 1.0 - epsilon * zero.sum(axis=1, keepdims=True)
    expected = np.where(zero, epsilon * total, X * room)
    np.testing.assert_allclose(back, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", COMPOSITIONS)
def test_beside_a_reference_the_positive_parts_come_back_as_they_were(kind):
    X = np.array([[4.0, 0.0, 0.0, 3.0, 2.0]])
    log_ratio = LogRatioTransformer(kind, reference=0, epsilon=0.4).fit(X)
    back = log_ratio.inverse_transform(log_ratio.transform(X))
    np.testing.assert_allclose(back, [[4.0, 1.6, 1.6, 3.0, 2.0]], rtol=1e-12)


def test_zeros_that_would_take_the_whole_total_are_an_error():
    X = np.array([[0.0, 0.0, 0.0, 1.0], [0.0] * 4])
    log_ratio = LogRatioTransformer("clr", epsilon=0.333).fit(X)
    back = log_ratio.inverse_transform(log_ratio.transform(X))
    np.testing.assert_allclose(back, [[0.333, 0.333, 0.333, 0.001], [0.0] * 4], rtol=1e-9)
    message = r"epsilon=0.4 for each of the 3 zeros .* an epsilon below 0.333, or kind='logit'"
    log_ratio = LogRatioTransformer("clr", epsilon=0.4)
    with pytest.raises(ValueError, match=message):
        log_ratio.fit(X)
    with pytest.raises(ValueError, match=message):
        log_ratio.fit(X[1:]).transform(X)


def test_a_sum_above_the_incident_energy_is_physical():
    X = np.array([[10.0, 9.0, 8.0]])
    log_ratio = LogRatioTransformer(reference=0).fit(X)
    np.testing.assert_allclose(log_ratio.inverse_transform(log_ratio.transform(X)), X, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_pandas(kind):
    X = pd.DataFrame({"a": [1.0, 2.0], "E": [9.0, 9.0], "b": [3.0, 0.0]})
    frame = LogRatioTransformer(kind, reference="E").set_output(transform="pandas").fit_transform(X)
    parts = {"ilr": ["1", "2"], "clr": ["a", "E", "b"]}.get(kind, ["a", "b"])
    assert list(frame.columns) == ["E", *(f"{kind}_{part}" for part in parts)]
    assert LogRatioTransformer(kind).fit(X).get_feature_names_out()[0] == "total"
    back = LogRatioTransformer(kind, reference="E").fit(X).inverse_transform(frame.to_numpy())
    np.testing.assert_allclose(back, X, atol=1e-5)


def test_single_precision_stays_and_large_arrays_are_not_copied_to_double(rng):
    import tracemalloc

    X = rng.uniform(size=(4000, 1000)).astype(np.float32)
    log_ratio = LogRatioTransformer().fit(X)
    tracemalloc.start()
    Z = log_ratio.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Z.dtype == np.float32
    assert peak < 2 * X.nbytes


@pytest.mark.parametrize(
    ("X", "parameters", "message"),
    [
        (
            [[1.0, -0.2], [1.0, -0.1]],
            {},
            r"Negative values in data: X has 2 negative values in column 1 \(min -0.2\)",
        ),
        (
            [[1.0, 1.0], [1.0, 1.1]],
            {"reference": 0},
            r"X has 1 values in column 1, one of 1 .* that reach 1.0000001 times .*kind='log1p'",
        ),
        (
            [[0.0, 1.0], [0.0, 0.0]],
            {"reference": 0, "kind": "log1p"},
            r"X has 1 rows with positive parts but a total of 0 in column 0; drop",
        ),
        ([[1.0, 1.0]], {"reference": 2}, "reference=2, but X has 2 columns: use 0 to 1"),
        ([[1.0, 1.0]], {"reference": -1}, "reference=-1, but X has 2 columns"),
        ([[1.0, 1.0]], {"reference": "E"}, "reference names column 'E', but X has no column names"),
        ([[1.0]], {"reference": 0}, "parts must stand beside it"),
        ([[1.0, 1.0]], {"kind": "plr"}, "'kind' parameter of LogRatioTransformer"),
        ([[1.0, 1.0]], {"epsilon": 0.5}, "'epsilon' parameter of LogRatioTransformer"),
    ],
)
def test_errors_name_column_count_and_remedy(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        LogRatioTransformer(**parameters).fit(X)


def test_what_fit_accepted_is_checked_again_in_transform():
    log_ratio = LogRatioTransformer(reference=0).fit([[2.0, 1.0]])
    with pytest.raises(ValueError, match=r"that reach 1\.0000001 times"):
        log_ratio.transform([[2.0, 3.0]])
    with pytest.raises(ValueError, match="X has 3 columns, but transform returns 2"):
        log_ratio.inverse_transform([[2.0, 3.0, 1.0]])


@pytest.mark.parametrize("kind", ["logit", "log1p"])
@pytest.mark.parametrize("reference", [None, 0])
def test_parts_below_a_threshold_are_zero_there_and_back(kind, reference):
    X = np.array([[100.0, 0.5, 3.0, 0.0], [50.0, 2.0, 0.99, 20.0]])
    plain = LogRatioTransformer(kind, reference=reference).fit(X)
    transformer = LogRatioTransformer(kind, reference=reference, threshold=1.0).fit(X)
    kept = np.where(X < 1.0, 0.0, X)
    z, expected = transformer.transform(X), plain.transform(kept)
    first = 1 if reference == 0 else 2
    assert z[0, first] == z[1, first + 1] == 0.0
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_array_equal(z[:, 0], X[:, 0] if reference == 0 else kept.sum(axis=1))
    low = plain.transform(X)  # what a network might give
    back = transformer.inverse_transform(low)
    np.testing.assert_allclose(back, kept, rtol=1e-9)
    with pytest.raises(ValueError, match="Negative values in data"):
        transformer.transform(-X)


def test_a_threshold_is_for_kinds_that_have_zeros():
    with pytest.raises(
        ValueError, match=r"threshold=0\.1 makes zeros, which kind='clr' cannot have"
    ):
        LogRatioTransformer("clr", threshold=0.1).fit(np.ones((3, 3)))
