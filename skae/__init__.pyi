from . import (
    datasets,
    estimators,
    exceptions,
    export,
    metrics,
    plotting,
    transformers,
)
from ._trusted import TRUSTED_TYPES
from ._version import __version__
from .compression import compress, decompress
from .estimators import (
    CaloShowerVAE,
    JetAutoencoder,
    MatchedFilterLocator,
    MultiResRNNRegressor,
    PulseLocator,
    SpectraVAE,
)
from .persistence import load, save
from .sampling import sample
from .scoring import ShowerScorer, make_shower_scorer
from .training.processes import distribute
from .transformers import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
    PhotonCorrelationFit,
    SpectrumScaler,
)
from .transformers.spectrum_scaler import with_errors

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
    "SpectrumScaler",
    "__version__",
    "compress",
    "datasets",
    "decompress",
    "distribute",
    "estimators",
    "exceptions",
    "export",
    "load",
    "make_shower_scorer",
    "metrics",
    "plotting",
    "sample",
    "save",
    "transformers",
    "with_errors",
]
