"""Exported methods, run by ONNX Runtime under the names they have: for one event at a time."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from skae._extras import optional
from skae.export.onnx import exportable_methods, to_onnx

__all__ = ["OnnxPredictor"]


class OnnxPredictor:
    """Methods of a fitted estimator, computed by ONNX Runtime.

    What a call costs beside the arithmetic is much less than in torch: of single events that is most of
    it. Of thousands of rows in a call the estimator itself may be faster. It computes what
    :func:`to_onnx` exports: arrays without column names in, and results in single precision. X is
    checked for its shape and for what is not finite.

    Parameters
    ----------
    source : estimator, Pipeline, path-like, onnx.ModelProto or bytes
        A fitted estimator, of which each method is exported when it is first called; or a graph that
        :func:`to_onnx` made, which has one method.
    n_threads : int, default=1
        Threads of ONNX Runtime for a call.

    Attributes
    ----------
    methods : tuple of str
        Methods that it has, of those that the estimator has: "predict", "transform" and so on.

    Raises
    ------
    ImportError
        If onnx, onnxscript or onnxruntime is not installed: ``pip install skae[export]``.
    TypeError, ValueError
        As of :func:`to_onnx`; and ValueError if a graph is not one that it made.

    See Also
    --------
    to_onnx : The graph alone, for programs without Python.

    Examples
    --------
    >>> from skae import PulseLocator
    >>> from skae.datasets import make_pulses
    >>> from skae.export import OnnxPredictor
    >>> X, y = make_pulses(300, random_state=0)
    >>> locator = PulseLocator(max_epochs=2, random_state=0).fit(X, y)
    >>> fast = OnnxPredictor(locator)
    >>> fast.methods
    ('predict', 'predict_distribution')
    >>> bool((fast.predict(X[:1]) == locator.predict(X[:1])).all())
    True
    """

    def __init__(self, source: Any, *, n_threads: int = 1):
        self._runtime, self._onnx = optional(
            "OnnxPredictor", "export", "onnxruntime", "onnx", "onnxscript"
        )[:2]
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads!r} must be 1 or more.")
        self._n_threads = n_threads
        self._calls: dict[str, Callable[[Any], np.ndarray]] = {}
        self._estimator = None
        if isinstance(source, str | os.PathLike):
            source = Path(source).read_bytes()
        if isinstance(source, bytes):
            source = self._onnx.load_from_string(source)
        if isinstance(source, self._onnx.ModelProto):
            about = {each.key: each.value for each in source.metadata_props}
            if source.producer_name != "skae" or "method" not in about:
                raise ValueError(
                    "This graph was not made by skae.export.to_onnx: it names no method."
                )
            self.methods: tuple[str, ...] = (about["method"],)
            self._calls[about["method"]] = self._session_of(source)
        else:
            self.methods = exportable_methods(source)
            self._estimator = source

    def __getattr__(self, name: str) -> Callable[[Any], np.ndarray]:
        """Return a method; exported when it is first asked for."""
        if name.startswith("_") or name not in self.__dict__.get("methods", ()):
            known = ", ".join(self.__dict__.get("methods", ()))
            raise AttributeError(f"An OnnxPredictor of these methods has no {name!r}: {known}.")
        if name not in self._calls:
            self._calls[name] = self._session_of(to_onnx(self._estimator, method=name))
        return self._calls[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.methods]

    def __repr__(self) -> str:
        return f"<OnnxPredictor: {', '.join(self.methods)}>"

    def _session_of(self, model: Any) -> Callable[[Any], np.ndarray]:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._n_threads
        options.inter_op_num_threads = 1
        session = self._runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        given = session.get_inputs()[0]
        shape = tuple(given.shape[1:])
        dtype = np.dtype({"tensor(float)": np.float32, "tensor(double)": np.float64}[given.type])
        about = {each.key: each.value for each in model.metadata_props}
        takes_nan = about.get("takes_nan") == "true"

        def call(X: Any) -> np.ndarray:
            X = np.asarray(X)
            if X.ndim != len(shape) + 1 or X.shape[1:] != shape:
                rows = ", ".join(map(str, shape))
                raise ValueError(f"X has shape {X.shape}, and must have (n_samples, {rows}).")
            X = np.ascontiguousarray(X, dtype=dtype)
            if not takes_nan and not np.isfinite(X).all():
                raise ValueError(
                    f"X has NaN or infinity, or numbers beyond the range of {dtype.name}: the network "
                    "knows neither."
                )
            return session.run(None, {given.name: X})[0]

        call.__name__ = about["method"]
        call.__doc__ = f"Compute {about['method']} of rows of shape {shape}."
        return call
