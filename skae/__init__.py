"""skae: scikit-learn-compatible deep-learning estimators for physics."""

from skae._version import __version__
from skae.estimators import JetAutoencoder, MatchedFilterLocator, PulseLocator
from skae.transformers import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
)

__all__ = [
    "BoxCoxTransformer",
    "JetAutoencoder",
    "KinematicsTransformer",
    "LogRatioTransformer",
    "MatchedFilterLocator",
    "NoiseInjector",
    "PulseLocator",
    "__version__",
]
