"""Rows that lie far off the principal axes of the others, as anomalies among training data do."""

from collections.abc import Callable

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
    if _double(features, X[:1]).shape[1] == 0:
        return np.zeros(len(X), dtype=bool)
    counts = np.ones(len(X)) if weight is None else np.abs(weight)
    distance, far = _distances_at_first(X, counts, n_components, features, alike), None
    for _ in range(_STEPS):
        usual = max(
            _weighted_quantile(distance, counts, _SHARE),
            _weighted_quantile(distance, (counts > 0.0).astype(float), _SHARE),
        )
        before, far = far, distance > _TIMES * usual
        if before is not None and np.array_equal(far, before):
            break
        distance = _distances(X, np.where(far, 0.0, counts), n_components, features, alike)
    return far


def _distances_at_first(
    X: np.ndarray,
    counts: np.ndarray,
    n_components: int,
    features: Callable[[np.ndarray], np.ndarray],
    alike: bool,
) -> np.ndarray:
    """Return the squared distance of each row from the principal axes of directions."""
    total = np.cumsum(counts)
    steps = (np.arange(_ROWS_AT_FIRST) + 0.5) / _ROWS_AT_FIRST
    some = _double(features, X[np.unique(np.searchsorted(total, steps * total[-1]))])
    middle = np.median(some, axis=0)
    some = some - middle
    size = np.abs(some).max() or 1.0
    unit = np.full(len(middle), 1.0 / size)
    if alike:
        spread = np.median(np.abs(some), axis=0)
        # of columns that are mostly one number
        spread = np.where(spread > 0.0, spread, np.sqrt(np.mean((some / size) ** 2, axis=0)) * size)
        unit = 1.0 / np.where(spread > 0.0, spread, size)
    some = some * unit
    length = np.linalg.norm(some, axis=1, keepdims=True)
    some /= np.where(length > 0.0, length, 1.0)
    left_out = _left_out(some.T @ some, n_components)
    return np.concatenate(
        [
            np.square((_double(features, x) - middle) * unit @ left_out).sum(axis=1)
            for _, x in blocks(X)
        ]
    )


def _left_out(covariance: np.ndarray, n_components: int) -> np.ndarray:
    """Return the axes of least variance, those beyond so many."""
    _, axes = np.linalg.eigh(covariance)  # of rising variance
    return axes[:, : max(0, len(axes) - n_components)]


def _distances(
    X: np.ndarray,
    counts: np.ndarray,
    n_components: int,
    features: Callable[[np.ndarray], np.ndarray],
    alike: bool,
) -> np.ndarray:
    """Return the squared distance of each row from the principal axes of those that count."""
    total = counts.sum()
    mean = sum(counts[k : k + len(x)] @ _double(features, x) for k, x in blocks(X)) / total
    size = max(np.abs(_double(features, x) - mean).max() for _, x in blocks(X)) or 1.0
    covariance = np.zeros((len(mean), len(mean)))
    for k, x in blocks(X):
        z = (_double(features, x) - mean) / size
        covariance += (z * counts[k : k + len(x), np.newaxis]).T @ z / total
    variance = covariance.diagonal()
    unit = np.ones(len(mean))
    if alike:
        unit = 1.0 / np.sqrt(np.where(variance > 0.0, variance, 1.0))
    left_out = _left_out(covariance * unit * unit[:, np.newaxis], n_components)
    distance = np.empty(len(X))
    for k, x in blocks(X):
        z = (_double(features, x) - mean) / size * unit
        distance[k : k + len(x)] = np.square(z @ left_out).sum(axis=1)
    return distance


def _double(features: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.asarray(features(rows), dtype=np.float64)


def _weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, share * total[-1])])
