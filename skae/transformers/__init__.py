"""Transformers that prepare physical data for the estimators, and one that fits a formula to them."""

from skae.transformers.box_cox import BoxCoxTransformer
from skae.transformers.kinematics import KinematicsTransformer
from skae.transformers.log_ratio import LogRatioTransformer
from skae.transformers.noise import NoiseInjector
from skae.transformers.photon_correlation_fit import PhotonCorrelationFit

__all__ = [
    "BoxCoxTransformer",
    "KinematicsTransformer",
    "LogRatioTransformer",
    "NoiseInjector",
    "PhotonCorrelationFit",
]
