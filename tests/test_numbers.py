"""Dates and durations are not numbers, wherever X, targets and weights come in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fitted import RECIPES, last_of
from sklearn.base import clone

from skae import BoxCoxTransformer, LogRatioTransformer, NoiseInjector
from skae._numbers import refuse_dates

SECONDS = np.arange(120, 160)
DATES = {
    "dates": SECONDS.astype("M8[s]"),
    "durations": SECONDS.astype("m8[s]"),
    "dates of another machine": SECONDS.astype(">M8[s]"),
    "dates of pandas": pd.DataFrame({"a": 1.0, "t": SECONDS.astype("M8[s]")}),
    "periods": pd.DataFrame({"t": pd.period_range("2020-01", periods=3, freq="M")}),
    "dates of polars": pl.DataFrame({"a": [1.0], "t": SECONDS[:1].astype("M8[ms]")}),
    "durations of polars": pl.DataFrame({"t": SECONDS.astype("m8[ms]")}),
}
NUMBERS = {
    "integers": SECONDS,
    "a list": [1, 2],
    "a table": pd.DataFrame({"time": SECONDS, "date": SECONDS * 0.5}),
    "many columns": pl.DataFrame({f"time {k}": [1.0] for k in range(100)}),
}


@pytest.mark.parametrize("name", DATES)
def test_dates_are_refused_with_a_remedy(name):
    with pytest.raises(ValueError, match=r"are not numbers, .* divide .* by a unit"):
        refuse_dates(DATES[name])


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_not_taken_for_dates(name):
    refuse_dates(NUMBERS[name])


def _as_dates(array):
    return (1e6 * np.abs(array)).astype("i8").astype("M8[s]")


def _as_table_of_dates(array):
    return pd.DataFrame(_as_dates(array))


ESTIMATORS = (
    "jets", "spectra", "showers", "pulses", "sequences", "matched-filter", "photons", "kinematics",
)  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_estimator_takes_dates(name):
    model, rows = RECIPES[name]
    X, y = rows()
    model = clone(last_of(model))
    wrong = [(_as_dates(X), y), *([] if y is None else [(X, _as_dates(y))])]
    wrong += [(_as_table_of_dates(X), y)] if X.ndim == 2 else []
    for rows_of, targets in wrong:
        with pytest.raises(ValueError, match="Dates and durations are not numbers"):
            model.fit(rows_of, targets)
    if name in ESTIMATORS[:5]:
        with pytest.raises(ValueError, match="Dates and durations are not numbers"):
            model.fit(X, y, sample_weight=_as_dates(np.ones(len(X))))


@pytest.mark.parametrize(
    "transformer",
    [BoxCoxTransformer(), LogRatioTransformer(), NoiseInjector("gaussian", sigma=0.1)],
    ids=lambda transformer: type(transformer).__name__,
)
def test_no_transformer_takes_dates(transformer):
    X = np.random.default_rng(0).gamma(2.0, size=(30, 3))
    for dates in (_as_dates(X), _as_table_of_dates(X)):
        with pytest.raises(ValueError, match="Dates and durations are not numbers"):
            transformer.fit(dates)
