"""Exported methods, run by ONNX Runtime under the names they have: for one event at a time."""

import copy
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from skae._extras import optional
from skae.export.onnx import exportable_methods, to_onnx

__all__ = ["OnnxPredictor"]

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class OnnxPredictor:
    """Methods of a fitted estimator, computed by ONNX Runtime.

    A call has much less overhead than in torch, which is most of what a single event costs. For thousands
    of rows in a call the estimator itself may be faster. It computes what :func:`to_onnx` exports. X is
    checked: its shape, its column names if it has any, and that its numbers are finite.

    Parameters
    ----------
    source : estimator, Pipeline, path-like, onnx.ModelProto or bytes
        A fitted estimator; each method is exported when it is first called, from a copy that further fits
        do not change. Or a graph that :func:`to_onnx` made, which has one method.
    dtype : {"float32", "float64"}, default="float32"
        Precision of X and of results, where the source is an estimator; a graph has its own.
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

    def __init__(self, source: Any, *, dtype: str = "float32", n_threads: int = 1):
        _, onnx, _ = _runtime()
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads!r} must be 1 or more.")
        self._dtype, self._n_threads = dtype, n_threads
        self._graphs: dict[str, bytes] = {}
        self._calls: dict[str, Callable[[Any], np.ndarray]] = {}
        self._lock = threading.Lock()
        self._estimator = None
        if isinstance(source, str | os.PathLike):
            source = Path(source).read_bytes()
        if isinstance(source, bytes):
            source = onnx.load_from_string(source)
        if isinstance(source, onnx.ModelProto):
            method = _about(source).get("method")
            if source.producer_name != "skae" or method is None:
                raise ValueError(
                    "This graph was not made by skae.export.to_onnx: it names no method."
                )
            self.methods: tuple[str, ...] = (method,)
            self._graphs[method] = source.SerializeToString()
        else:
            self.methods = exportable_methods(source)
            self._estimator = copy.deepcopy(source)

    def __getattr__(self, name: str) -> Callable[[Any], np.ndarray]:
        """Return a method."""
        methods = self.__dict__.get("methods", ())
        if name not in methods:
            raise AttributeError(
                f"This OnnxPredictor has no {name!r}. It has: {', '.join(methods)}."
            )
        return self._calls.get(name) or partial(self._first_call, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.methods]

    def __repr__(self) -> str:
        return f"<OnnxPredictor: {', '.join(self.methods)}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_calls": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def _first_call(self, name: str, X: Any) -> np.ndarray:
        with self._lock:
            if name not in self._calls:
                if name not in self._graphs:
                    model = to_onnx(self._estimator, method=name, dtype=self._dtype)
                    self._graphs[name] = model.SerializeToString()
                self._calls[name] = _session(self._graphs[name], self._n_threads)
        return self._calls[name](X)


def _runtime() -> list[Any]:
    return optional("OnnxPredictor", "export", "onnxruntime", "onnx", "onnxscript")


def _about(model: Any) -> dict[str, str]:
    return {each.key: each.value for each in model.metadata_props}


def _session(graph: bytes, n_threads: int) -> Callable[[Any], np.ndarray]:
    """Return what computes a graph for rows, which it checks."""
    runtime, onnx, _ = _runtime()
    about = _about(onnx.load_from_string(graph))
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape, dtype = tuple(given.shape[1:]), np.dtype(_DTYPES[given.type])
    names = json.loads(about["feature_names"])
    is_bad = np.isinf if json.loads(about["takes_nan"]) else lambda X: ~np.isfinite(X)

    def call(X: Any) -> np.ndarray:
        if names is not None and hasattr(X, "columns") and list(X.columns) != names:
            raise ValueError(
                f"X has the columns {list(X.columns)}, and in training they were {names}."
            )
        X = np.asarray(X)
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X has dtype {X.dtype}, and must hold real numbers.")
        if X.ndim != len(shape) + 1 or X.shape[1:] != shape or len(X) == 0:
            rows = ", ".join(map(str, shape))
            raise ValueError(f"X has shape {X.shape}, and must have (n_samples, {rows}).")
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused
            X = np.ascontiguousarray(X, dtype=dtype)
        if is_bad(X).any():
            raise ValueError(
                f"X has NaN or infinity, or numbers beyond the range of {dtype.name}, which the network "
                "does not know."
            )
        return session.run(None, {given.name: X})[0]

    return call
