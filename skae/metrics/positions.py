"""Figures of merit of positions: the share of right ones, and the error of those near enough."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from skae.metrics._weights import cancels, check_weight


def position_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    tolerance: float = 0.5,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the share of events whose predicted position is within a tolerance of the true one.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True positions, in samples. Events in which it is NaN have no pulse, and are left out.
    y_pred : array-like of shape (n_samples,)
        Predicted positions.
    tolerance : float, default=0.5
        Largest distance that counts as right, in samples; the default asks of whole numbers to be equal.
        With 2, one minus the result is the share of gross errors, P(abs(Δ) > 2).
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the events; single ones may be negative, their sum must be positive.

    Returns
    -------
    accuracy : float
        From 0 to 1.

    Examples
    --------
    >>> from skae.metrics import position_accuracy
    >>> position_accuracy([10, 20, 30], [10, 21, 80])
    0.3333333333333333
    >>> position_accuracy([10, 20, 30], [10, 21, 80], tolerance=2)
    0.6666666666666666
    """
    error, weight = _errors(y_true, y_pred, sample_weight)
    if not tolerance >= 0.0:
        raise ValueError(f"tolerance={tolerance} must be 0 or more.")
    return float(np.average(error <= tolerance, weights=weight))


def position_rmse(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    within: float | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the root of the mean squared distance between predicted and true positions.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True positions, in samples. Events in which it is NaN have no pulse, and are left out.
    y_pred : array-like of shape (n_samples,)
        Predicted positions.
    within : float, default=None
        Leave out events that are farther off, in samples: they are few and would decide the result.
        Quote their share beside it, from :func:`position_accuracy`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the events; single ones may be negative, their sum must be positive.

    Returns
    -------
    rmse : float
        In samples; NaN where no event is left, or negative weights make the sum of weights or the mean
        square negative.

    Examples
    --------
    >>> from skae.metrics import position_rmse
    >>> position_rmse([10, 20, 30], [10, 21, 80], within=2)
    0.7071067811865476
    """
    error, weight = _errors(y_true, y_pred, sample_weight)
    if within is not None:
        if not within >= 0.0:
            raise ValueError(f"within={within} must be 0 or more, or None.")
        error, weight = error[error <= within], weight[error <= within]
    total = weight @ error**2
    if cancels(weight) or total < 0.0:
        return float("nan")
    return float(np.sqrt(total / weight.sum()))


def _errors(
    y_true: Any, y_pred: Any, sample_weight: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Absolute distances and weights, checked."""
    options = {"ensure_2d": False, "dtype": np.float64}
    y_true = check_array(y_true, input_name="y_true", ensure_all_finite="allow-nan", **options)
    y_pred = check_array(y_pred, input_name="y_pred", **options)
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(y_true, y_pred)
    is_there = ~np.isnan(y_true)
    if not is_there.any():
        raise ValueError(
            "y_true is NaN in all events: none has a pulse whose position could be judged."
        )
    weight = None
    if sample_weight is not None:
        weight = check_weight(sample_weight, y_true, positive=False)[is_there]
    y_true, y_pred = y_true[is_there], y_pred[is_there]
    return np.abs(y_pred - y_true), check_weight(weight, y_true)
