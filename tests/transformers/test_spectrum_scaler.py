"""with_errors and SpectrumScaler: fluxes and errors go through a Pipeline together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skae
from skae import SpectrumScaler


@pytest.fixture
def table(rng):
    flux = rng.normal(size=(20, 6)) + np.geomspace(1.0, 1e3, 20)[:, None]
    errors = 0.1 * flux
    errors[rng.uniform(size=flux.shape) < 0.2] = 0.0
    return flux, errors


def test_what_was_not_seen_is_marked():
    flux = np.array([[1.0, np.inf, np.nan, -4.0, 5.0]])
    errors = np.array([[0.1, 0.0, 0.3, np.inf, -1.0]])
    X = skae.with_errors(flux, errors)
    np.testing.assert_array_equal(X[0, :5], [1.0, np.nan, np.nan, -4.0, 5.0])
    np.testing.assert_array_equal(X[0, 5:], [0.1, np.nan, 0.3, np.nan, np.nan])


def test_an_infinite_flux_that_was_seen_stays():
    assert np.isposinf(skae.with_errors(np.array([[np.inf]]), np.array([[1.0]]))[0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_the_dtype_is_kept_where_it_can_be(dtype):
    X = skae.with_errors(np.ones((3, 2), dtype), np.ones((3, 2), dtype))
    assert X.dtype == (np.float32 if dtype == np.float32 else np.float64)


def test_one_row_of_errors_is_that_of_all(table):
    flux, errors = table
    X = skae.with_errors(flux, errors[0])
    np.testing.assert_array_equal(X, skae.with_errors(flux, np.tile(errors[0], (20, 1))))


def test_a_data_frame_stays_one(table):
    flux, errors = table
    frame = pd.DataFrame(flux, columns=list("abcdef"), index=range(5, 25))
    X = skae.with_errors(frame, errors)
    assert list(X.columns) == [*"abcdef", *(f"{c}_error" for c in "abcdef")]
    assert (X.index == frame.index).all()
    np.testing.assert_array_equal(X, skae.with_errors(flux, errors))


def test_memory_maps_are_written_in_parts(table, tmp_path, monkeypatch):
    monkeypatch.setattr("skae.transformers.spectrum_scaler._NUMBERS_AT_ONCE", 18)
    flux, errors = table
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (20, 12))
    assert skae.with_errors(flux, errors, out=out) is out
    np.testing.assert_array_equal(out, skae.with_errors(flux, errors).astype(np.float32))


def test_shapes_that_do_not_fit_are_an_error(table):
    flux, errors = table
    with pytest.raises(ValueError, match=r"\(20, 6\) and errors \(20, 5\)"):
        skae.with_errors(flux, errors[:, :5])
    with pytest.raises(ValueError, match=r"out has shape \(20, 6\)"):
        skae.with_errors(flux, errors, out=np.empty((20, 6)))


@pytest.mark.parametrize(("statistic", "mean"), [("median", np.median), ("mean", np.mean)])
def test_rows_are_divided_by_what_was_seen_of_them(table, statistic, mean):
    flux, errors = table
    X = skae.with_errors(flux, errors)
    scaled = SpectrumScaler(statistic=statistic, error_columns=True).fit_transform(X)
    for row, given_row, sigma in zip(scaled, flux, errors, strict=True):
        unit = mean(given_row[sigma > 0.0])
        np.testing.assert_allclose(row[:6], given_row / unit)
        np.testing.assert_allclose(row[6:][sigma > 0.0], (sigma / unit)[sigma > 0.0])


def test_a_weighted_median_is_closest_to_all_fluxes_in_units_of_their_errors(table):
    flux, errors = table
    scaled = SpectrumScaler(error_columns=True).fit_transform(skae.with_errors(flux, errors))
    for row, given_row, sigma in zip(scaled, flux, errors, strict=True):
        seen = sigma > 0.0
        distances = np.abs(given_row[seen][:, None] - given_row[seen]) / sigma[seen]
        unit = given_row[seen][distances.sum(axis=1).argmin()]
        np.testing.assert_allclose(row[:6], given_row / unit)
    # of equal errors it is the median, midway where there are two
    for d in (5, 6):
        X = skae.with_errors(flux[:, :d], np.full((20, d), 0.3))
        by_weight, by_order = (
            SpectrumScaler(statistic=name, error_columns=True).fit_transform(X)
            for name in ("weighted_median", "median")
        )
        np.testing.assert_allclose(by_weight, by_order)


def test_pulls_do_not_change(table):
    flux, errors = table
    X = skae.with_errors(flux, errors)
    for by in ("row", "column"):
        scaled = SpectrumScaler(by, error_columns=True).fit_transform(X)
        np.testing.assert_allclose(scaled[:, :6] / scaled[:, 6:], X[:, :6] / X[:, 6:])


@given(factor=st.floats(-12.0, 12.0))
def test_brightness_has_no_unit(factor):
    X = np.arange(1.0, 13.0).reshape(2, 6)
    scaled = SpectrumScaler().fit_transform(X)
    np.testing.assert_allclose(SpectrumScaler().fit_transform(10.0**factor * X), scaled)


def test_columns_come_back_with_and_without_errors(table):
    X = skae.with_errors(*table)
    scaler = SpectrumScaler("column", error_columns=True).fit(X)
    seen = np.where(np.isnan(X[:, 6:]), np.nan, X[:, :6])
    np.testing.assert_allclose(scaler.scale_, np.nanstd(seen, axis=0))
    scaled = scaler.transform(X)
    np.testing.assert_allclose(scaler.inverse_transform(scaled), X)
    np.testing.assert_allclose(scaler.inverse_transform(scaled[:, :6]), X[:, :6])
    with pytest.raises(ValueError, match="give 6 of fluxes, or 12 with errors"):
        scaler.inverse_transform(X[:, :5])


def test_rows_stay_in_units_of_their_brightness(table):
    X = skae.with_errors(*table)
    scaler = SpectrumScaler(error_columns=True).fit(X)
    scaled = scaler.transform(X)
    np.testing.assert_array_equal(scaler.inverse_transform(scaled), scaled)
    np.testing.assert_array_equal(scaler.inverse_transform(scaled[:, :6]), scaled[:, :6])


def test_rows_of_zeros_and_constant_columns_stay_as_they_are():
    X = np.zeros((3, 4))
    np.testing.assert_array_equal(SpectrumScaler().fit_transform(X), X)
    X = np.full((3, 4), 7.1)
    np.testing.assert_array_equal(SpectrumScaler("column").fit_transform(X), X)
    nothing = skae.with_errors(np.ones((2, 3)), np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    scaled = SpectrumScaler(error_columns=True).fit_transform(nothing)
    np.testing.assert_array_equal(scaled, nothing)


def test_lines_on_no_continuum_have_a_brightness():
    scaled = SpectrumScaler().fit_transform(np.array([[0.0, 0.0, 0.0, 8.0]]))
    np.testing.assert_array_equal(scaled, [[0.0, 0.0, 0.0, 4.0]])


def test_errors_that_another_step_has_scaled_are_refused(table):
    X = skae.with_errors(*table)
    X[4, 7] = -0.5
    with pytest.raises(ValueError, match=r"-0\.5 in row 4, column 7.*skae\.with_errors"):
        SpectrumScaler(error_columns=True).fit(X)
    with pytest.raises(ValueError, match="5 columns, which are not as many errors as fluxes"):
        SpectrumScaler(error_columns=True).fit(np.ones((3, 5)))
