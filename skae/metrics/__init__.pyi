from .distances import (
    PhysicsDistance,
    PhysicsDistanceAndFloor,
    frechet_physics_distance,
    kernel_physics_distance,
)
from .latents import active_units, latent_divergence
from .positions import position_accuracy, position_rmse
from .residuals import (
    ResidualMoments,
    relative_residuals,
    residual_moments,
    scaled_mean_squared_error,
)
from .separation import (
    ClassifierTwoSampleTest,
    classifier_two_sample_test,
    separation_power,
)
from .shower_correlations import neighbour_correlation_names, neighbour_correlations
from .shower_observables import shower_feature_names, shower_features, shower_response

__all__ = [
    "ClassifierTwoSampleTest",
    "PhysicsDistance",
    "PhysicsDistanceAndFloor",
    "active_units",
    "classifier_two_sample_test",
    "frechet_physics_distance",
    "kernel_physics_distance",
    "latent_divergence",
    "neighbour_correlation_names",
    "neighbour_correlations",
    "ResidualMoments",
    "position_accuracy",
    "position_rmse",
    "relative_residuals",
    "residual_moments",
    "separation_power",
    "shower_feature_names",
    "shower_features",
    "shower_response",
    "scaled_mean_squared_error",
]
