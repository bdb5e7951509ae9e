"""Figures of merit of positions."""

import numpy as np
import pytest

from skae.exceptions import WeightWarning
from skae.metrics import position_accuracy, position_rmse

TRUE, PREDICTED = [10, 20, 30, 40], [10, 21, 28, 90]


def test_accuracy_counts_what_is_within_the_tolerance():
    assert position_accuracy(TRUE, PREDICTED) == 0.25
    assert position_accuracy(TRUE, PREDICTED, tolerance=1) == 0.5
    assert position_accuracy(TRUE, PREDICTED, tolerance=2) == 0.75
    assert position_accuracy([5.0], [5.4]) == 1.0
    assert position_accuracy([5.0], [5.6]) == 0.0


def test_rmse_may_leave_gross_errors_out():
    assert position_rmse(TRUE, PREDICTED) == pytest.approx(np.sqrt((0 + 1 + 4 + 2500) / 4))
    assert position_rmse(TRUE, PREDICTED, within=2) == pytest.approx(np.sqrt(5 / 3))
    assert np.isnan(position_rmse([0], [9], within=2))


def test_weights_repeat_events():
    weight = np.array([1, 3, 0, 2])
    repeated = np.repeat(TRUE, weight), np.repeat(PREDICTED, weight)
    accuracy = position_accuracy(TRUE, PREDICTED, sample_weight=weight)
    assert accuracy == pytest.approx(position_accuracy(*repeated))
    rmse = position_rmse(TRUE, PREDICTED, sample_weight=weight, within=1)
    assert rmse == pytest.approx(position_rmse(*repeated, within=1))


@pytest.mark.parametrize("metric", [position_accuracy, position_rmse])
def test_bad_input_is_refused(metric):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        metric([1, 2], [1])
    with pytest.raises(ValueError, match="y_pred contains NaN"):
        metric([1.0], [np.nan])


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="tolerance=-1"):
        position_accuracy([1], [1], tolerance=-1)
    with pytest.raises(ValueError, match="within=-1"):
        position_rmse([1], [1], within=-1)


def test_weights_without_a_mean_square_give_nan_or_an_error():
    assert np.isnan(position_rmse([0, 10], [0, 20], within=2, sample_weight=[0, 1]))
    with pytest.warns(WeightWarning):
        assert np.isnan(position_rmse([0, 10], [0, 20], sample_weight=[3, -1]))
    with pytest.raises(ValueError, match="sum of sample_weight is 0"):
        position_accuracy([0, 10], [0, 20], sample_weight=[0, 0])
