"""Fitted transformers as functions of tensors, float64 rows: inside of a network, or exported with one.

The formulas of skae's transformers stand with them, written for any array namespace; here torch is
that namespace. Those of scikit-learn's steps stand here. There are no checks: what ``transform`` refuses
goes unnoticed.
"""

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor

from skae.physics.kinematics import features_of_momenta, momenta_of_features
from skae.transformers import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
)
from skae.transformers._log_ratios import (
    SINGLE,
    drop_below,
    put_reference,
    single_backward,
    single_forward,
    take_reference,
)

__all__ = ["TensorStep", "as_tensor_step"]

Function = Callable[[Tensor], Tensor]


class _TorchForRuntimes:
    """torch as an array namespace: here stands where the two differ.

    ONNX runtimes lack some functions in double precision: angles go through single precision, hyperbolic
    functions and signs are made of others. torch lacks ``copyto``, and differentiates nothing that is
    written into what was there (``out``), or overwritten behind a function that goes back by its result.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def asarray(self, x: Any, dtype: Any = None, copy: bool = False) -> Tensor:
        return torch.as_tensor(x, dtype=dtype).clone()  # torch.asarray forgets where x comes from

    def log(self, x: Tensor, out: Any = None) -> Tensor:
        return torch.log(x)

    def log1p(self, x: Tensor, out: Any = None) -> Tensor:
        return torch.log1p(x)

    def exp(self, x: Tensor, out: Any = None) -> Tensor:
        # no infinity, which times a gradient of 0 were no number
        return torch.exp(x.clamp(max=_LARGEST_EXPONENT)).clone()

    def expm1(self, x: Tensor, out: Any = None) -> Tensor:
        return torch.expm1(x).clone()

    def clip(self, x: Tensor, low: Any, high: Any, out: Any = None) -> Tensor:
        return torch.clip(x, low, high)

    def divide(self, a: Any, b: Any, out: Any = None) -> Tensor:
        return torch.divide(a, b).clone()

    def cos(self, x: Tensor) -> Tensor:
        return torch.cos(x.float()).double()

    def sin(self, x: Tensor) -> Tensor:
        return torch.sin(x.float()).double()

    def arctan2(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.atan2(y.float(), x.float()).double()

    def cosh(self, x: Tensor) -> Tensor:
        return 0.5 * (torch.exp(x) + torch.exp(-x))

    def sinh(self, x: Tensor) -> Tensor:
        return 0.5 * (torch.exp(x) - torch.exp(-x))

    def arcsinh(self, x: Tensor) -> Tensor:
        size = torch.abs(x)
        return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))

    def hypot(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sqrt(x * x + y * y)

    def copysign(self, size: Tensor, signed: Tensor) -> Tensor:
        return torch.sign(signed) * torch.abs(size)

    def copyto(self, x: Tensor, value: float, where: Tensor) -> None:
        x.masked_fill_(where, value)


# Of float64, but for some room.
_LARGEST_EXPONENT = 700.0

_XP = _TorchForRuntimes()

# Functions of elements that a FunctionTransformer may have: torch knows them by the same name.
_UFUNCS = (
    np.log, np.log1p, np.log2, np.log10, np.exp, np.expm1, np.sqrt, np.square, np.absolute, np.tanh,
    np.negative,
)  # fmt: skip


class TensorStep(NamedTuple):
    """A step on the way to the estimator, and on the way back, on whatever device rows are."""

    forward: Function
    backward: Function | None  # None where there is no way back


@singledispatch
def as_tensor_step(step: Any) -> TensorStep:
    """Return what a fitted step does.

    Raises
    ------
    TypeError
        If this is not known of such a step.
    """
    known = sorted(cls.__name__ for cls in as_tensor_step.registry if cls is not object)
    raise TypeError(
        f"{type(step).__name__} is not known as a function of tensors, as a network or a graph needs it; "
        f"these are: {', '.join(known)}."
    )


def _affine(scale: Any, offset: Any) -> TensorStep:
    """Return x · scale + offset."""
    scale, offset = _tensor(scale), _tensor(offset)
    return TensorStep(
        lambda x: x * scale.to(x) + offset.to(x), lambda z: (z - offset.to(z)) / scale.to(z)
    )


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


@as_tensor_step.register
def _(step: StandardScaler) -> TensorStep:
    return _centred(step.mean_ if step.with_mean else None, step)


@as_tensor_step.register
def _(step: RobustScaler) -> TensorStep:
    return _centred(step.center_, step)


def _centred(center: np.ndarray | None, step: StandardScaler | RobustScaler) -> TensorStep:
    """Return (x − center) / scale, either of which a step may leave out."""
    scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
    center = 0.0 if center is None else center
    return _affine(1.0 / scale, -center / scale)


@as_tensor_step.register
def _(step: MaxAbsScaler) -> TensorStep:
    affine = _affine(1.0 / step.scale_, 0.0)
    return _clipped(affine, -1.0, 1.0) if step.clip else affine


@as_tensor_step.register
def _(step: MinMaxScaler) -> TensorStep:
    affine = _affine(step.scale_, step.min_)
    return _clipped(affine, *map(float, step.feature_range)) if step.clip else affine


def _clipped(step: TensorStep, low: float, high: float) -> TensorStep:
    return TensorStep(lambda x: step.forward(x).clamp(low, high), step.backward)


@as_tensor_step.register
def _(step: PCA) -> TensorStep:
    axes, mean = _tensor(step.components_), _tensor(step.mean_)
    spread = _tensor(np.sqrt(step.explained_variance_)) if step.whiten else _tensor(1.0)
    return TensorStep(
        lambda x: ((x - mean.to(x)) @ axes.T.to(x)) / spread.to(x),
        lambda z: (z * spread.to(z)) @ axes.to(z) + mean.to(z),
    )


@as_tensor_step.register
def _(step: FunctionTransformer) -> TensorStep:
    def twin(function: Any) -> Function:
        if function is None:
            return lambda x: x
        if function not in _UFUNCS:
            raise TypeError(
                f"A FunctionTransformer of {function!r} is not known as a function of tensors; one of "
                "these is: " + ", ".join(f"np.{ufunc.__name__}" for ufunc in _UFUNCS)
            )
        return getattr(torch, function.__name__)

    if step.kw_args or step.inv_kw_args:
        raise TypeError("A FunctionTransformer with kw_args is not known as a function of tensors.")
    return TensorStep(twin(step.func), twin(step.inverse_func))


@as_tensor_step.register
def _(_: NoiseInjector) -> TensorStep:
    return TensorStep(lambda x: x, None)


@as_tensor_step.register
def _(step: BoxCoxTransformer) -> TensorStep:
    fitted = step._fitted_map.converted(lambda values: torch.from_numpy(values.copy()))

    def beside(x: Tensor) -> Any:
        return (
            fitted if x.device.type == "cpu" else fitted.converted(lambda part: part.to(x.device))
        )

    return TensorStep(lambda x: beside(x).forward(x, _XP), lambda z: beside(z).backward(z, _XP))


@as_tensor_step.register
def _(step: LogRatioTransformer) -> TensorStep:
    if step.kind not in SINGLE:
        raise TypeError(
            f"A LogRatioTransformer of kind={step.kind!r} is not known as a function of tensors; "
            "those of kind 'logit' and 'log1p' are."
        )
    kind, reference = step.kind, step.reference_
    threshold, epsilon = float(step.threshold), float(step.epsilon)

    def forward(x: Tensor) -> Tensor:
        if reference is None:
            parts = drop_below(x, threshold, _XP)
            total = parts.sum(dim=1, keepdim=True)
        else:
            parts, total = take_reference(x, reference, _XP)
            parts = drop_below(parts, threshold, _XP)
        return torch.cat([total, single_forward(kind, parts, total, epsilon, _XP)], dim=1)

    def backward(z: Tensor) -> Tensor:
        total, logs = z[:, :1], z[:, 1:].clone()
        parts = single_backward(kind, logs, total, epsilon, threshold, _XP)
        return parts if reference is None else put_reference(parts, total, reference, _XP)

    return TensorStep(forward, backward)


@as_tensor_step.register
def _(step: KinematicsTransformer) -> TensorStep:
    names = list(step.columns_)
    order, scale = (
        torch.from_numpy(step.column_order_.copy()),
        _tensor(step.scale_ if step.scale else 1.0),
    )
    largest_angle = float(np.float32(np.pi))  # networks give float32

    def forward(x: Tensor) -> Tensor:
        x = x[:, order]
        momenta = dict(zip(names, x[:, :4].unbind(dim=1), strict=True))
        return _join(features_of_momenta(momenta, _XP), x) / scale.to(x)

    def backward(z: Tensor) -> Tensor:
        z = z * scale.to(z)
        features = z[:, :4].unbind(dim=1)
        return _join(momenta_of_features(features, names, largest_angle, _XP), z)[
            :, order.argsort()
        ]

    return TensorStep(forward, backward)


def _join(first_four: Sequence[Tensor], x: Tensor) -> Tensor:
    return torch.cat([torch.stack(list(first_four), dim=1), x[:, 4:]], dim=1)
