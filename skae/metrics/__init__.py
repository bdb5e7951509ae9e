"""Figures of merit."""

from skae.metrics.latents import active_units, latent_divergence
from skae.metrics.positions import position_accuracy, position_rmse
from skae.metrics.residuals import (
    ResidualMoments,
    relative_residuals,
    residual_moments,
    scaled_mean_squared_error,
)

__all__ = [
    "active_units",
    "latent_divergence",
    "ResidualMoments",
    "position_accuracy",
    "position_rmse",
    "relative_residuals",
    "residual_moments",
    "scaled_mean_squared_error",
]
