"""Residuals of reconstructed quantities: relative, absolute, around the circle, weighted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array

from skae.metrics._weights import check_weight


def relative_residuals(
    X_true: ArrayLike,
    X_pred: ArrayLike,
    *,
    angles: Sequence[int] = (),
    absolute: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Return (predicted − true) / true for each value.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        True values.
    X_pred : array-like of shape (n_samples, n_features)
        Predicted or reconstructed values.
    angles : sequence of int, default=()
        Columns that are angles in radians: their differences are wrapped to [−π, π) before division.
    absolute : sequence of int, default=()
        Columns whose differences are not divided, in the units of X: for quantities that pass
        through zero, such as η and φ, a relative residual says little.

    Returns
    -------
    residuals : ndarray of shape (n_samples, n_features)
        Dimensionless, but in the units of X in the columns ``absolute``. Infinite where a true value
        is zero and the difference is not, NaN where both are.

    Examples
    --------
    >>> from skae.metrics import relative_residuals
    >>> relative_residuals([[100.0, 3.141]], [[101.0, -3.141]], angles=[1], absolute=[1]).round(5)
    array([[0.01   , 0.00119]])
    """
    X_true, X_pred = _check_pair(X_true, X_pred)
    residuals = _differences(X_true, X_pred, angles)
    divided = _others(absolute, X_true.shape[1], "absolute")
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals[:, divided] /= X_true[:, divided]
    return residuals


class ResidualMoments(NamedTuple):
    """Mean, standard deviation and correlation of residuals.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
        Bias.
    std : ndarray of shape (n_features,)
        Resolution.
    correlation : ndarray of shape (n_features, n_features)
        Pearson's correlation of the columns; 0 where a column is constant.

    Examples
    --------
    >>> from skae.metrics import residual_moments
    >>> mean, std, correlation = residual_moments([[0.01, 0.0], [-0.01, 0.2]])
    >>> correlation.round(6)
    array([[ 1., -1.],
           [-1.,  1.]])
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    correlation: NDArray[np.float64]


def residual_moments(
    residuals: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> ResidualMoments:
    """Return weighted mean, standard deviation and correlation of the columns of residuals.

    Parameters
    ----------
    residuals : array-like of shape (n_samples, n_features)
        As :func:`relative_residuals` gives them. Rows that are not finite are an error.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; single ones may be negative, their sum must be positive.

    Returns
    -------
    moments : ResidualMoments
        Named tuple of mean, std and correlation. A variance that negative weights make negative
        gives NaN.

    Examples
    --------
    >>> from skae.metrics import residual_moments
    >>> residual_moments([[0.01, 0.0], [-0.01, 0.2]]).std
    array([0.01, 0.1 ])
    """
    values = check_array(residuals, dtype=np.float64, input_name="residuals")
    weight = check_weight(sample_weight, values)
    mean = np.average(values, axis=0, weights=weight)
    centred = values - mean
    covariance = (centred * weight[:, None]).T @ centred / weight.sum()
    variance = np.diag(covariance)
    std = np.sqrt(np.where(variance >= 0.0, variance, np.nan))
    scale = np.outer(std, std)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0.0)
    return ResidualMoments(mean, std, correlation)


def scaled_mean_squared_error(
    X_true: ArrayLike,
    X_pred: ArrayLike,
    *,
    scale: ArrayLike,
    angles: Sequence[int] = (),
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the mean squared error of columns divided by ``scale``.

    With the training data's standard deviations as ``scale`` this is the error on standardised
    features, in which reconstructions of jets are quoted.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        True values.
    X_pred : array-like of shape (n_samples, n_features)
        Predicted or reconstructed values.
    scale : array-like of shape (n_features,)
        What the differences in each column are divided by.
    angles : sequence of int, default=()
        Columns that are angles in radians: their differences are wrapped to [−π, π).
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; single ones may be negative, their sum must be positive.

    Returns
    -------
    error : float
        Mean over rows and columns.

    Examples
    --------
    >>> from skae.metrics import scaled_mean_squared_error
    >>> scaled_mean_squared_error([[1.0, 0.0]], [[3.0, 0.0]], scale=[2.0, 1.0])
    0.5
    """
    X_true, X_pred = _check_pair(X_true, X_pred)
    scale = np.asarray(scale, dtype=np.float64)
    if scale.shape != (X_true.shape[1],) or not (scale > 0.0).all():
        raise ValueError(
            f"scale must hold {X_true.shape[1]} positive numbers, one for each column; got {scale}."
        )
    rows = np.square(_differences(X_true, X_pred, angles) / scale).mean(axis=1)
    return float(np.average(rows, weights=check_weight(sample_weight, X_true)))


def _check_pair(X_true: Any, X_pred: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    X_true = check_array(X_true, dtype=np.float64, input_name="X_true")
    X_pred = check_array(X_pred, dtype=np.float64, input_name="X_pred")
    if X_true.shape != X_pred.shape:
        raise ValueError(
            f"X_true has shape {X_true.shape}, X_pred {X_pred.shape}; they must be equal."
        )
    return X_true, X_pred


def _others(columns: Sequence[int], n_features: int, name: str) -> list[int]:
    for column in columns:
        if not 0 <= column < n_features:
            raise ValueError(
                f"{name} has column {column!r}, but X has columns 0 to {n_features - 1}."
            )
    return [j for j in range(n_features) if j not in columns]


def _differences(
    X_true: NDArray[np.float64], X_pred: NDArray[np.float64], angles: Sequence[int]
) -> NDArray[np.float64]:
    """Predicted − true, taken around the circle in the columns that are angles."""
    difference = X_pred - X_true
    _others(angles, X_true.shape[1], "angles")
    for column in angles:
        difference[:, column] = (difference[:, column] + np.pi) % (2.0 * np.pi) - np.pi
    return difference
