"""skae: scikit-learn-compatible deep-learning estimators for physics."""

from skae import export
from skae._trusted import TRUSTED_TYPES
from skae._version import __version__
from skae.estimators import (
    CaloShowerVAE,
    JetAutoencoder,
    MatchedFilterLocator,
    MultiResRNNRegressor,
    PulseLocator,
    SpectraVAE,
)
from skae.persistence import load, save
from skae.sampling import sample
from skae.scoring import ShowerScorer, make_shower_scorer
from skae.training.processes import distribute
from skae.transformers import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
    PhotonCorrelationFit,
)

__all__ = [
    "TRUSTED_TYPES",
    "BoxCoxTransformer",
    "CaloShowerVAE",
    "JetAutoencoder",
    "KinematicsTransformer",
    "LogRatioTransformer",
    "MatchedFilterLocator",
    "MultiResRNNRegressor",
    "NoiseInjector",
    "PhotonCorrelationFit",
    "PulseLocator",
    "ShowerScorer",
    "SpectraVAE",
    "__version__",
    "distribute",
    "export",
    "load",
    "make_shower_scorer",
    "sample",
    "save",
]
