"""Transformers that prepare physical data for the estimators, exactly invertible."""

from skae.transformers.box_cox import BoxCoxTransformer
from skae.transformers.kinematics import KinematicsTransformer
from skae.transformers.log_ratio import LogRatioTransformer
from skae.transformers.noise import NoiseInjector

__all__ = ["BoxCoxTransformer", "KinematicsTransformer", "LogRatioTransformer", "NoiseInjector"]
