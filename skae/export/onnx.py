"""Fitted estimators as ONNX: for triggers, and for whatever has no Python."""

import copy
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._extras import optional
from skae._version import __version__
from skae._warn import warn
from skae.estimators._base import BaseNeuralEstimator
from skae.estimators._tensor_steps import Function, as_tensor_step
from skae.exceptions import PrecisionWarning
from skae.training.batches import Units
from skae.training.hardware import own_settings
from skae.training.packing import write_atomically

__all__ = ["to_onnx"]

# Of the operators; what runtimes of 2023 and later know.
_OPSET = 18

_DTYPES = {"float32": torch.float32, "float64": torch.float64}

# Centres further from zero than this, in spreads, leave too few of float32's digits.
_FAR = 1e4

# A batch that is exported along, of no size that a dimension of a row is likely to have.
_N_EXAMPLES = 3


@own_settings()
def to_onnx(estimator, path=None, *, method=None, dtype="float32"):
    """Export a method of a fitted estimator, or of a Pipeline that ends in one, as an ONNX graph.

    The graph takes a batch ``X`` of any number of rows, in the units of the training data, and gives a
    batch of what the method returns with its defaults. There are no checks of X in it: where the
    estimator raises an error, the graph gives NaN or something wrong. Bounds on a likelihood are
    exported where they have a closed form, not where they are averaged over draws.

    Steps of a Pipeline before the estimator, and the estimator's own ``center_`` and ``scale_``, are
    computed in float64. They may be scikit-learn's
    StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler, PCA and FunctionTransformer with a function
    of NumPy's, and skae's transformers (LogRatioTransformer with "logit" or "log1p"). NoiseInjector is
    left out, as in ``transform``.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted.
    path : path-like, default=None
        Where the graph is written. A file of that name is replaced when the new one is whole on the
        disk. None writes none.
    method : str, default=None
        What is exported: "transform", "inverse_transform" and "score_samples" of autoencoders, "predict"
        of regressors, "predict_distribution" of PulseLocator. None takes "transform" or "predict".
    dtype : {"float32", "float64"}, default="float32"
        What ``X`` and the result are. Where a column lies far from zero, float32 has few digits left for
        its differences; a warning says so.

    Returns
    -------
    model : onnx.ModelProto
        The graph, from ``X`` to an output with the name of the method. Its ``metadata_props`` have the
        version of skae, the class of the estimator, and as JSON the names of the columns in training and
        whether X may have NaN.

    Raises
    ------
    ImportError
        If onnx and onnxscript are not installed: ``pip install skae[export]``.
    TypeError
        If a step, or the estimator, cannot be exported; the message says which can, or what of a network
        torch cannot export: ``SpectraVAE(missing="mask")`` solves equations for each row, for example.
    ValueError
        If the estimator has no such method that can be exported, or ``dtype`` is another.

    Warns
    -----
    PrecisionWarning
        If a column's centre is more than 10,000 of its spreads from zero and ``dtype`` is "float32".

    Examples
    --------
    >>> import skae
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae.datasets import make_jets
    >>> X = make_jets(200, random_state=0)
    >>> model = make_pipeline(skae.KinematicsTransformer(), skae.JetAutoencoder(max_epochs=2)).fit(X)
    >>> graph = skae.export.to_onnx(model, method="score_samples")
    >>> [each.name for each in graph.graph.output]
    ['score_samples']
    """
    optional("to_onnx", "export", "onnx", "onnxscript")
    if dtype not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} must be 'float32' or 'float64'.")
    *steps, last = _fitted_steps_of(estimator)
    last = copy.deepcopy(last)  # on the CPU, whatever the original computes on
    last.net_.to(torch.device("cpu"))
    last.module_.eval()
    if method is None:
        method = "predict" if is_regressor(last) else "transform"
    if method not in last._exportable:
        known = ", ".join(last._exportable)
        raise ValueError(
            f"method={method!r} of {_named(last)} cannot be exported"
            + (f"; these can: {known}." if known else ".")
        )
    before, after = [as_tensor_step(step).forward for step in steps], []
    shape = (steps[0].n_features_in_,) if steps else last._row_shape
    if steps and len(last._row_shape) > 1:  # a table's rows are traces, one behind the other
        before.append(partial(_unflatten, shape=last._row_shape))
    if method == "inverse_transform":
        before, after = [], [_way_back(step) for step in reversed(steps)]
        shape = (last._n_features_out,)
    units, function = last._units_of(method), getattr(last, f"_tensor_{method}")
    if dtype == "float32":
        _warn_of_far_columns(last, steps)
    graph = _Graph(last, before, function, after, units, _DTYPES[dtype])
    try:
        model = _export(graph, torch.zeros(_N_EXAMPLES, *shape, dtype=_DTYPES[dtype]), method)
    except Exception as error:  # torch's are of many classes, and long
        raise TypeError(
            f"torch cannot export {method} of {_named(last)}: {_innermost(error)}."
        ) from error
    _describe(model, estimator, method)
    if path is not None:
        write_atomically(Path(os.fspath(path)), model.SerializeToString())
    return model


def exportable_methods(estimator: Any) -> tuple[str, ...]:
    """Return the methods of a fitted estimator, or of a Pipeline, that can be exported."""
    return tuple(_fitted_steps_of(estimator)[-1]._exportable)


class _Graph(nn.Module):
    """Graph for export: steps in float64, the estimator in float32."""

    def __init__(
        self,
        estimator: BaseNeuralEstimator,
        before: list[Function],
        function: Function,
        after: list[Function],
        units: tuple[Units, Units],
        dtype: torch.dtype,
    ):
        super().__init__()
        self.module, self.criterion = estimator.module_, estimator.net_.criterion_
        self._before, self._function, self._after = before, function, after
        self._units = [
            [torch.as_tensor(part, dtype=torch.float64) for part in (each.center, each.scale)]
            for each in units
        ]
        self._dtype = dtype

    def forward(self, X: Tensor) -> Tensor:
        """Compute the method: all but the networks in float64."""
        (center, scale), (back, unit) = self._units
        rows = (_through(self._before, X.double()) - center) / scale
        result = self._function(rows.float()).double() * unit + back
        return _through(self._after, result).to(self._dtype)


def _through(functions: list[Function], x: Tensor) -> Tensor:
    for function in functions:
        x = function(x)
    return x


def _unflatten(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.unflatten(1, shape)


def _way_back(step: BaseEstimator) -> Function:
    backward = as_tensor_step(step).backward
    if backward is None:
        raise ValueError(f"A {type(step).__name__} has no way back: export another method.")
    return backward


def _warn_of_far_columns(last: BaseNeuralEstimator, steps: list[BaseEstimator]) -> None:
    """Warn of columns of X, before all steps, and of targets of which single precision sees little."""
    ways_back = [as_tensor_step(step).backward for step in reversed(steps)]
    pairs = []
    if None not in ways_back:
        center = np.broadcast_to(last.center_, last._spread_.shape)
        ends = torch.from_numpy(np.stack([center, center + last._spread_])).flatten(1)
        pairs.append(_through(ways_back, ends).numpy())
    if hasattr(last, "target_center_"):
        center = last.target_center_
        pairs.append(np.stack([center, center + last._target_spread_]))
    for low, high in pairs:
        spread = np.abs(high - low)
        distance = np.divide(np.abs(low), spread, out=np.zeros_like(spread), where=spread > 0.0)
        if distance.max() > _FAR:
            warn(
                f"The centre of a column lies {distance.max():.3g} spreads from zero, so that float32 "
                "has few digits for its differences. Use dtype='float64', or shift the data.",
                PrecisionWarning,
            )
            return


def _fitted_steps_of(estimator: Any) -> list[Any]:
    """Return the steps of what ends in an estimator of skae, and is fitted."""
    steps = _steps_of(estimator)
    if not isinstance(steps[-1], BaseNeuralEstimator):
        raise TypeError(
            "An estimator of skae can be exported, or a Pipeline that ends in one, not "
            f"{_named(steps[-1])}."
        )
    check_is_fitted(estimator)
    return steps


def _steps_of(estimator: Any) -> list[BaseEstimator]:
    """Return an estimator, or the steps of a Pipeline, of Pipelines inside of it too."""
    if not isinstance(estimator, Pipeline):
        return [estimator]
    steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [inner for step in steps for inner in _steps_of(step)]


def _named(estimator: Any) -> str:
    return f"a {type(estimator).__name__}"


def _export(graph: _Graph, rows: Tensor, method: str) -> Any:
    with _silence(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (rows,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["X"],
            output_names=[method],
            dynamic_shapes={"X": {0: torch.export.Dim("n_samples")}},
            verbose=False,
        )
    model = program.model_proto
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise TypeError("its code asks for the number of rows, with len(x) for x.shape[0] say")
    return model


def _innermost(error: BaseException) -> str:
    """Return the first line of what caused an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).split("\n")[0].rstrip(".")


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch and onnxscript say of their own inside."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(model: Any, estimator: Any, method: str) -> None:
    names = getattr(estimator, "feature_names_in_", None)
    steps = _steps_of(estimator)
    takes_nan = all(get_tags(step).input_tags.allow_nan for step in steps)
    takes_nan &= method != "inverse_transform"
    model.producer_name, model.producer_version = "skae", __version__
    described = {
        "estimator": type(steps[-1]).__name__,
        "method": method,
        "takes_nan": json.dumps(bool(takes_nan)),
        "feature_names": json.dumps(None if names is None else list(names), ensure_ascii=False),
    }
    for key, value in described.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
