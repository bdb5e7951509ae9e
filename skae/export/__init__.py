"""Fitted estimators for what has no Python, or no time."""

from skae.export.onnx import to_onnx
from skae.export.predictor import OnnxPredictor

__all__ = ["OnnxPredictor", "to_onnx"]
