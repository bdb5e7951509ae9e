"""Weights of either sign in metrics: what their sum has to be."""

import numpy as np
import pytest

from skae.exceptions import WeightWarning
from skae.metrics import (
    position_accuracy,
    position_rmse,
    residual_moments,
    scaled_mean_squared_error,
)

each_metric = pytest.mark.parametrize(
    "metric",
    [
        lambda y, weight: position_accuracy(y, y, sample_weight=weight),
        lambda y, weight: position_rmse(y, y, sample_weight=weight),
        lambda y, weight: residual_moments(y[:, None], sample_weight=weight),
        lambda y, weight: scaled_mean_squared_error(
            y[:, None], y[:, None], scale=[1.0], sample_weight=weight
        ),
    ],
    ids=["accuracy", "rmse", "moments", "mse"],
)


@each_metric
def test_sums_that_are_rounding_or_noise_are_told(metric):
    y, weight = np.zeros(100), np.repeat([1.0, -1.0], 50)
    for rest in (0.0, 1e-12, 9e-5):
        with pytest.raises(ValueError, match=r"sum of sample_weight is .* must be positive"):
            metric(y, weight + rest / 100)
    for rest in (1.1e-4, 29.0):
        with pytest.warns(WeightWarning, match=r"times its standard error"):
            metric(y, weight + rest / 100)
    metric(y, weight + 0.5)  # 4.5 standard errors
    metric(y, np.eye(100)[0])  # of one sign


def test_positions_within_a_limit_whose_weights_cancel_have_no_rmse():
    weight = np.r_[1.0, -1.0 + 1e-9, np.ones(50)]
    y_true, y_pred = np.zeros(52), np.r_[0.0, 0.0, np.full(50, 9.0)]
    assert np.isnan(position_rmse(y_true, y_pred, within=1.0, sample_weight=weight))
