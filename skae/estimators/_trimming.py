"""Rows that lie far off the principal axes of the others, as anomalies among training data do."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from skae.estimators._data import blocks

# A row is far from as many times the distance, squared, that this share of rows keeps within.
_SHARE, _TIMES = 0.9, 1.5

# Most steps of concentration, of which a few are enough; rows that the first axes are found from.
_STEPS, _ROWS_AT_FIRST = 20, 10_000


def rows_far_off_axes(
    X: np.ndarray,
    weight: np.ndarray | None,
    n_components: int,
    *,
    features: Callable[[np.ndarray], np.ndarray] = np.asarray,
    alike: bool = False,
) -> np.ndarray:
    """Tell which rows lie off the principal axes of the others by more than most of these do.

    Steps of concentration (Rousseeuw & Van Driessen, 1999, doi:10.1080/00401706.1999.10485670): axes are
    found from the rows that are near, and rows by their distances from the axes, until neither changes.
    The first axes are those of directions from the median (Locantore et al., 1999,
    doi:10.1007/BF02595862), to which a row far away is one row. So anomalies that share a corner do not
    turn the axes to themselves, as they do where all squares count.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    weight : ndarray of shape (n,) or None
        Their weights, of which the absolute values count.
    n_components : int
        Number of axes.
    features : callable
        Maps rows (m, d) to those (m, k) whose axes are meant.
    alike : bool
        Divide each column by its spread. Otherwise distances are in the units of the features.

    Returns
    -------
    far : ndarray of bool of shape (n,)
        At most a tenth of the weight, and of the rows that have some.
    """
    counts = np.ones(len(X)) if weight is None else np.abs(weight)

    def parts() -> Iterator[tuple[slice, np.ndarray]]:
        for start, rows in blocks(X):
            yield slice(start, start + len(rows)), np.asarray(features(rows), dtype=np.float64)

    total = np.cumsum(counts)
    steps = (np.arange(_ROWS_AT_FIRST) + 0.5) / _ROWS_AT_FIRST
    some = features(X[np.unique(np.searchsorted(total, steps * total[-1]))])
    if np.shape(some)[1] == 0:
        return np.zeros(len(X), dtype=bool)
    axes, far = _axes_of_directions(np.asarray(some, np.float64), n_components, alike), None
    for _ in range(_STEPS):
        distance = np.concatenate([_squared_distances(rows, axes) for _, rows in parts()])
        usual = max(
            _weighted_quantile(distance, of_rows, _SHARE)
            for of_rows in (counts, (counts > 0.0).astype(float))
        )
        before, far = far, distance > _TIMES * usual
        if before is not None and np.array_equal(far, before):
            break
        axes = _principal_axes(parts, np.where(far, 0.0, counts), n_components, alike)
    return far


class _Axes(NamedTuple):
    """A centre (k,), the unit of each column (k,), and the axes that are left out (k, k − n)."""

    centre: np.ndarray
    unit: np.ndarray
    left_out: np.ndarray


def _squared_distances(rows: np.ndarray, axes: _Axes) -> np.ndarray:
    return np.square((rows - axes.centre) * axes.unit @ axes.left_out).sum(axis=1)


def _axes_of_directions(rows: np.ndarray, n_components: int, alike: bool) -> _Axes:
    """Return the principal axes of directions from the median."""
    middle = np.median(rows, axis=0)
    rows = rows - middle
    size = np.abs(rows).max() or 1.0
    unit = np.full(len(middle), 1.0 / size)
    if alike:
        spread = np.median(np.abs(rows), axis=0)
        # of columns that are mostly one number
        spread = np.where(spread > 0.0, spread, np.sqrt(np.mean((rows / size) ** 2, axis=0)) * size)
        unit = 1.0 / np.where(spread > 0.0, spread, size)
    rows = rows * unit
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0.0, length, 1.0)
    return _Axes(middle, unit, _left_out(rows.T @ rows, n_components))


def _principal_axes(
    parts: Callable[[], Iterator[tuple[slice, np.ndarray]]],
    counts: np.ndarray,
    n_components: int,
    alike: bool,
) -> _Axes:
    """Return the principal axes of the rows that count."""
    total = counts.sum()
    mean = sum(counts[part] @ rows for part, rows in parts()) / total
    size = max(np.abs(rows - mean).max() for _, rows in parts()) or 1.0
    covariance = np.zeros((len(mean), len(mean)))
    for part, rows in parts():
        z = (rows - mean) / size
        covariance += (z * counts[part, np.newaxis]).T @ z / total
    unit, variance = np.ones(len(mean)), covariance.diagonal()
    if alike:
        unit = 1.0 / np.sqrt(np.where(variance > 0.0, variance, 1.0))
    left_out = _left_out(covariance * unit * unit[:, np.newaxis], n_components)
    return _Axes(mean, unit / size, left_out)


def _left_out(covariance: np.ndarray, n_components: int) -> np.ndarray:
    """Return the axes of least variance, those beyond so many."""
    _, axes = np.linalg.eigh(covariance)  # of rising variance
    return axes[:, : max(0, len(axes) - n_components)]


def _weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])
