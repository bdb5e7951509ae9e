"""Residuals: relative, absolute, around the circle, weighted."""

import numpy as np
import pytest

from skae.metrics import relative_residuals, residual_moments, scaled_mean_squared_error


def test_relative_and_absolute_residuals():
    residuals = relative_residuals([[100.0, 2.0]], [[101.0, 2.5]], absolute=[1])
    np.testing.assert_allclose(residuals, [[0.01, 0.5]], rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 2 * np.pi, -6 * np.pi])
def test_angles_are_taken_around_the_circle(shift):
    true, decoded = np.pi - 1e-4, -np.pi + 1e-4 + shift
    absolute = relative_residuals([[true]], [[decoded]], angles=[0], absolute=[0])
    np.testing.assert_allclose(absolute, [[2e-4]], rtol=1e-6)
    relative = relative_residuals([[true]], [[decoded]], angles=[0])
    np.testing.assert_allclose(relative, [[2e-4 / true]], rtol=1e-6)
    error = scaled_mean_squared_error([[true]], [[decoded]], scale=[1.0], angles=[0])
    assert error == pytest.approx(4e-8, rel=1e-6)


def test_division_by_zero_is_infinite_and_silent():
    residuals = relative_residuals([[0.0, 0.0]], [[1.0, 0.0]])
    assert np.isinf(residuals[0, 0])
    assert np.isnan(residuals[0, 1])


def test_moments_are_those_of_numpy(rng):
    residuals = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3))
    moments = residual_moments(residuals)
    np.testing.assert_allclose(moments.mean, residuals.mean(axis=0))
    np.testing.assert_allclose(moments.std, residuals.std(axis=0))
    np.testing.assert_allclose(moments.correlation, np.corrcoef(residuals.T))


def test_integer_weights_are_repetitions(rng):
    X, Y = rng.normal(size=(2, 50, 3))
    weight = rng.integers(0, 4, size=50)
    repeated = np.repeat(np.arange(50), weight)
    for weighted, plain in zip(
        residual_moments(Y - X, sample_weight=weight),
        residual_moments((Y - X)[repeated]),
        strict=True,
    ):
        np.testing.assert_allclose(weighted, plain)
    assert scaled_mean_squared_error(X, Y, scale=[1, 2, 3], sample_weight=weight) == pytest.approx(
        scaled_mean_squared_error(X[repeated], Y[repeated], scale=[1, 2, 3])
    )


def test_negative_weights_cancel(rng):
    residuals = rng.normal(size=(50, 2))
    doubled = np.vstack([residuals, residuals[:10] + 9.0, residuals[:10] + 9.0])
    weight = np.concatenate([np.ones(50), np.ones(10), -np.ones(10)])
    for weighted, plain in zip(
        residual_moments(doubled, sample_weight=weight), residual_moments(residuals), strict=True
    ):
        np.testing.assert_allclose(weighted, plain, atol=1e-12)


def test_a_constant_column_has_no_correlation():
    assert residual_moments([[1.0, 0.0], [1.0, 1.0]]).correlation[0, 1] == 0.0


def test_scaled_error_is_the_error_on_standardised_features(rng):
    X, Y = rng.normal(size=(2, 50, 3))
    scale = np.array([1.0, 10.0, 0.1])
    assert scaled_mean_squared_error(X, Y, scale=scale) == pytest.approx(
        np.mean(((X - Y) / scale) ** 2)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: relative_residuals(X, X[:, :2]), r"X_true has shape \(5, 3\), X_pred \(5, 2\)"),
        (
            lambda X: relative_residuals(X, X, angles=[3]),
            "angles has column 3, but X has columns 0 to 2",
        ),
        (lambda X: relative_residuals(X, X, absolute=[-1]), "absolute has column -1"),
        (lambda X: relative_residuals(X * np.nan, X), "Input X_true contains NaN"),
        (
            lambda X: scaled_mean_squared_error(X, X, scale=[1.0]),
            "scale must hold 3 positive numbers",
        ),
        (lambda X: scaled_mean_squared_error(X, X, scale=[1, 0, 1]), "scale must hold 3 positive"),
        (lambda X: residual_moments(X, sample_weight=np.zeros(5)), "sum of sample_weight is 0"),
        (lambda X: residual_moments(X, sample_weight=np.ones(4)), "sample_weight.shape"),
    ],
)
def test_bad_input_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((5, 3)))
