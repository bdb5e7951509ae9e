"""Transformers that prepare physical data for the estimators, exactly invertible."""

from skae.transformers.kinematics import KinematicsTransformer

__all__ = ["KinematicsTransformer"]
