"""Displays: pictures of what an estimator does, each from an estimator or from arrays."""

from skae.plotting.latent import LatentDisplay
from skae.plotting.learning_curve import LearningCurveDisplay
from skae.plotting.pulse import PulseDisplay, PulseKernelDisplay
from skae.plotting.reconstruction import ReconstructionDisplay
from skae.plotting.residual import ResidualDisplay
from skae.plotting.resolution import ResolutionDisplay
from skae.plotting.shower import ShowerDisplay
from skae.plotting.spectrum import SpectrumDisplay

__all__ = [
    "LatentDisplay",
    "LearningCurveDisplay",
    "PulseDisplay",
    "PulseKernelDisplay",
    "ReconstructionDisplay",
    "ResidualDisplay",
    "ResolutionDisplay",
    "ShowerDisplay",
    "SpectrumDisplay",
]
