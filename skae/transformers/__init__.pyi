from .box_cox import BoxCoxTransformer
from .kinematics import KinematicsTransformer
from .log_ratio import LogRatioTransformer
from .noise import NoiseInjector
from .photon_correlation_fit import PhotonCorrelationFit
from .spectrum_scaler import SpectrumScaler

__all__ = [
    "BoxCoxTransformer",
    "KinematicsTransformer",
    "LogRatioTransformer",
    "NoiseInjector",
    "PhotonCorrelationFit",
    "SpectrumScaler",
]
