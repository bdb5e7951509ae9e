"""Columns of a table: which are meant, and how much an error of each counts."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from skae.estimators._data import blocks


def column_indices(
    columns: Sequence[int | str], n_features: int, names: np.ndarray | None
) -> tuple[int, ...]:
    """Turn column names or indices into indices, each checked."""
    known = [] if names is None else list(names)
    indices = []
    for column in columns:
        if isinstance(column, str):
            if column not in known:
                raise ValueError(
                    f"angles names column {column!r}, but X has "
                    + (f"columns {known}." if known else "no column names; use its index.")
                )
            indices.append(known.index(column))
        elif (
            isinstance(column, Integral)
            and not isinstance(column, bool | np.bool)
            and 0 <= column < n_features
        ):
            indices.append(int(column))
        else:
            raise ValueError(
                f"angles has {column!r}, but X has {n_features} columns: use 0 to {n_features - 1}, "
                "or column names."
            )
    if len(set(indices)) < len(indices):
        raise ValueError(f"angles={list(columns)} names a column twice.")
    return tuple(indices)


def weigh_columns(
    metric: str,
    X: np.ndarray,
    spread: np.ndarray,
    scale: float,
    angles: Sequence[int],
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what a metric multiplies errors of columns by, and the least size it divides them by.

    Both (d,), for errors and sizes in units of ``scale``; None where no size counts. A size that is
    infinite is not divided by.
    """
    if metric == "standardised":
        return scale / np.where(spread > 0.0, spread, scale), None
    lowest, highest = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for _, rows in blocks(X):
        lowest = np.minimum(lowest, rows.min(axis=0))
        highest = np.maximum(highest, rows.max(axis=0))
    relative = (lowest > 0.0) | (highest < 0.0)
    relative[list(angles)] = False
    least = np.minimum(np.abs(lowest), np.abs(highest)) / scale
    return np.where(relative, 1.0, scale), np.where(relative, least, np.inf)
