"""Displays: pictures of what an estimator does, each from an estimator or from arrays."""

from skae.plotting.learning_curve import LearningCurveDisplay
from skae.plotting.pulse import PulseDisplay, PulseKernelDisplay
from skae.plotting.reconstruction import ReconstructionDisplay
from skae.plotting.residual import ResidualDisplay

__all__ = [
    "LearningCurveDisplay",
    "PulseDisplay",
    "PulseKernelDisplay",
    "ReconstructionDisplay",
    "ResidualDisplay",
]
