from .correlation import CorrelationDisplay
from .latent import LatentDisplay
from .learning_curve import LearningCurveDisplay
from .pulse import PulseDisplay, PulseKernelDisplay
from .reconstruction import ReconstructionDisplay
from .residual import ResidualDisplay
from .resolution import ResolutionDisplay
from .shower import ShowerDisplay
from .shower_correlation import NeighbourCorrelationDisplay
from .spectrum import SpectrumDisplay

__all__ = [
    "CorrelationDisplay",
    "LatentDisplay",
    "LearningCurveDisplay",
    "NeighbourCorrelationDisplay",
    "PulseDisplay",
    "PulseKernelDisplay",
    "ReconstructionDisplay",
    "ResidualDisplay",
    "ResolutionDisplay",
    "ShowerDisplay",
    "SpectrumDisplay",
]
