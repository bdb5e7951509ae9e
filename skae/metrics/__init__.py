"""Figures of merit."""

from skae.metrics.residuals import (
    ResidualMoments,
    relative_residuals,
    residual_moments,
    scaled_mean_squared_error,
)

__all__ = [
    "ResidualMoments",
    "relative_residuals",
    "residual_moments",
    "scaled_mean_squared_error",
]
