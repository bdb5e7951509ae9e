"""Checks of spectra: counts, gaps, errors of each number, and the noise around them."""

from typing import Any

import numpy as np

from skae.estimators._data import blocks, check_finite_rows, to_host, validate_table
from skae.transformers._messages import name_column
from skae.transformers.spectrum_scaler import with_errors


def validate_spectra(
    estimator: Any, X: Any, *, counts: bool, gaps: bool, reset: bool
) -> np.ndarray:
    """Check X as scikit-learn does, and that it holds counts, or rows with gaps, as the model asks."""
    X = validate_table(estimator, X, reset=reset, gaps=True)
    if not gaps:
        check_finite_rows(
            X,
            lambda row, column: f"row {row}, {name_column(estimator, column)}",
            "Fit with missing='mask' to take NaN for what was not observed, or leave these rows out.",
        )
    if counts:
        check_counts(estimator, X)
    if gaps:
        check_gaps(estimator, X, axis=1)
    return X


def check_counts(estimator: Any, X: np.ndarray) -> None:
    """Refuse negative numbers where the likelihood is one of counts; NaN is let through."""
    n_bad, first = 0, None
    for start, rows in blocks(X):
        bad = rows < 0
        n_bad += int(bad.sum())
        if first is None and bad.any():
            row, column = np.argwhere(bad)[0]
            first = start + int(row), int(column)
    if first is not None:
        raise ValueError(
            f"Negative values in data passed to {type(estimator).__name__}(likelihood='poisson'): "
            f"{n_bad} of {X.size}, the first is {X[first]:.6g} in row {first[0]}, "
            f"{name_column(estimator, first[1])}. Counts are never negative: pass them as they were "
            "counted, or use likelihood='gaussian' for what was subtracted from or scaled."
        )


def check_gaps(estimator: Any, X: np.ndarray, *, axis: int) -> None:
    """Refuse rows (axis 1) or columns (axis 0) of which nothing was observed."""
    parts = [np.isnan(rows).all(axis=axis) for _, rows in blocks(X)]
    empty = np.concatenate(parts) if axis == 1 else np.logical_and.reduce(parts)
    _refuse_empty(estimator, empty, "rows" if axis == 1 else "columns")


class SeenFluxes:
    """Rows without the errors, or exposures, behind them, NaN where nothing was observed.

    They are read as they are needed.

    Parameters
    ----------
    X : ndarray of shape (n, n_parts d)
        Rows with what belongs to each of their numbers.
    n_parts : int
        How many parts they have.
    """

    def __init__(self, X: np.ndarray, n_parts: int):
        self.rows, self.dtype, self.n_parts = X, X.dtype, n_parts
        self.shape = len(X), X.shape[1] // n_parts

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        numbers, beside = np.hsplit(self.rows[part], self.n_parts)[:2]
        return np.where(beside > 0.0, numbers, np.nan)


def with_checked_errors(
    estimator: Any, X: Any, errors: Any, *, reset: bool, columns: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Check rows and their errors; return both in one array, ``(n, 2 d)``, and how many saw each column.

    With ``columns`` the errors are columns of X already.
    """
    X = validate_table(estimator, X, reset=reset, gaps=True)
    if columns:
        if errors is not None:
            raise ValueError(
                "errors were given, but with error_columns=True they are columns of X: leave one out."
            )
        if X.shape[1] % 2:
            raise ValueError(
                f"X has {X.shape[1]} columns, which are not as many errors as fluxes: make it by "
                "skae.with_errors(flux, errors), or use error_columns=False."
            )
    else:
        errors = to_host(errors)
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        X = with_errors(X, np.asarray(errors, dtype=dtype))
    d, per_row = X.shape[1] // 2, []
    per_column = np.zeros(d, dtype=np.int64)
    for start, rows in blocks(X):
        errors = rows[:, d:]
        if (errors < 0.0).any():
            row, column = np.argwhere(errors < 0.0)[0]
            raise ValueError(
                f"X has negative errors, {errors[row, column]:.6g} in row {start + row}, "
                f"{name_column(estimator, d + int(column))}. A scaler that shifts columns must not touch "
                "errors: use SpectrumScaler(error_columns=True) in its place."
            )
        seen = ~np.isnan(rows[:, :d]) & (errors > 0.0)
        per_row.append(~seen.any(axis=1))
        per_column += seen.sum(axis=0)
    _refuse_empty(estimator, np.concatenate(per_row), "rows")
    if reset:
        _refuse_empty(estimator, per_column == 0, "columns")
    return X, per_column


def with_checked_exposure(
    estimator: Any, X: Any, exposure: Any, background: Any, *, reset: bool
) -> np.ndarray:
    """Check counts, exposures and backgrounds; return all in one array, ``(n, 3 d)``.

    Exposures are NaN where nothing was seen.
    """
    X = validate_table(estimator, X, reset=reset, gaps=True)
    check_counts(estimator, X)
    exposure = _of_each_count("exposure", 1.0 if exposure is None else exposure, X.shape)
    background = _of_each_count("background", 0.0 if background is None else background, X.shape)
    if (background < 0.0).any():
        row, column = np.argwhere(background < 0.0)[0]
        raise ValueError(
            f"background has negative counts, {background[row, column]:.6g} in row {row}, "
            f"{name_column(estimator, int(column))}: give the counts that are expected from it in each "
            "bin, which is what they are on average, not what was subtracted."
        )
    table = np.empty((len(X), 3 * X.shape[1]), dtype=X.dtype if X.dtype.kind == "f" else np.float64)
    counts, exposures, backgrounds = np.hsplit(table, 3)  # views
    counts[...], backgrounds[...] = X, background
    with np.errstate(invalid="ignore"):
        seen = ~np.isnan(X) & np.isfinite(exposure) & (exposure > 0.0) & np.isfinite(background)
    exposures[...] = np.where(seen, exposure, np.nan)
    _refuse_empty(estimator, ~seen.any(axis=1), "rows")
    if reset:
        _refuse_empty(estimator, ~seen.any(axis=0), "columns")
    return table


def _of_each_count(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Bring a number of each row, or of each number in it, to the shape of the rows."""
    values = np.asarray(to_host(values), dtype=np.float64)
    if values.shape not in ((), shape[:1], shape):
        raise ValueError(
            f"{name} has shape {values.shape}, but X {shape}: give one number for each row, "
            f"({shape[0]},), or one for each number in it, {shape}."
        )
    return np.broadcast_to(values[:, None] if values.ndim == 1 else values, shape)


def check_sampled_errors(
    errors: Any, shape: tuple[int, int], has_errors: bool, *, noise: bool
) -> np.ndarray | None:
    """Return the errors with which rows of this shape are to be drawn, NaN where nothing is seen."""
    if errors is None:
        if has_errors and noise:
            raise ValueError(
                "errors are missing: this model was fitted to rows with errors of their own, most "
                "of their noise. Pass errors=, those of observed rows say, or noise=False."
            )
        return None
    if not (has_errors and noise):
        reason = "noise=False adds none" if has_errors else "this model was fitted without"
        raise ValueError(f"errors were given, but {reason}: leave them out.")
    errors = np.asarray(to_host(errors), dtype=np.float64)
    if errors.shape not in (shape, shape[1:]):
        raise ValueError(
            f"errors has shape {errors.shape}: {shape[0]} rows are to be drawn, of {shape[1]} numbers. "
            f"Give an error for each, {shape}, or one for each column, {shape[1:]}."
        )
    seen = np.isfinite(errors) & (errors > 0.0)
    return np.broadcast_to(np.where(seen, errors, np.nan), shape)


def _refuse_empty(estimator: Any, empty: np.ndarray, what: str) -> None:
    """Refuse rows or columns of which nothing was observed."""
    if empty.any():
        first = int(empty.argmax())
        where = f"row {first}" if what == "rows" else name_column(estimator, first)
        raise ValueError(
            f"X has {empty.sum()} {what} of nothing but NaN, the first is {where}: there is nothing to "
            f"learn from or to encode. Leave these {what} out."
        )


def check_noise(
    sigma: Any, n_features: int, unit: float | None = None, *, beside_errors: bool = False
) -> np.ndarray:
    """Return the standard deviation of the noise, ``(1,)`` or ``(n_features,)``.

    Refuse what is not positive and finite, in single precision once the unit of the network is known.
    Beside errors of each row it may be 0.
    """
    array = np.atleast_1d(np.asarray(sigma, dtype=np.float64))
    if array.shape not in ((1,), (n_features,)):
        raise ValueError(
            f"noise_sigma has shape {array.shape}, but X has {n_features} columns: it needs one "
            f"number, or one for each column, shape ({n_features},)."
        )
    dtype = np.float64 if unit is None else np.float32
    with np.errstate(over="ignore", under="ignore"):
        used = (array / (unit or 1.0)).astype(dtype)
    bad = ~((used > np.finfo(dtype).tiny) & np.isfinite(used))
    if beside_errors:
        bad &= array != 0.0
    if bad.any():
        first = int(bad.argmax())
        where = "" if array.size == 1 else f" at column {first} (and {bad.sum() - 1} more)"
        raise ValueError(
            f"noise_sigma={array[first]:.6g}{where} must be positive and finite in float32: it is the "
            "standard deviation of the noise, in the units of X. Leave out columns without one."
        )
    return array
