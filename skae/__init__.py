"""skae: scikit-learn-compatible deep-learning estimators for physics."""

from skae._version import __version__
from skae.transformers import KinematicsTransformer

__all__ = ["KinematicsTransformer", "__version__"]
