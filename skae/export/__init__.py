"""Fitted estimators for what has no Python."""

from skae.export.onnx import to_onnx

__all__ = ["to_onnx"]
