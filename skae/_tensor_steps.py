"""What fitted steps of a Pipeline do, as functions of tensors: float64 rows, exported with a net.

NumPy does the same elsewhere, in blocks and with checks; here are the formulas alone. What would be
refused there goes unnoticed.
"""

import math
from collections.abc import Callable
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

from skae.transformers import (
    BoxCoxTransformer,
    KinematicsTransformer,
    LogRatioTransformer,
    NoiseInjector,
)

__all__ = ["TensorStep", "as_tensor_step", "known_steps"]

Function = Callable[[Tensor], Tensor]

# NumPy's functions of elements that have a name in torch, too.
_UFUNCS = {
    np.log: torch.log,
    np.log1p: torch.log1p,
    np.log2: torch.log2,
    np.log10: torch.log10,
    np.exp: torch.exp,
    np.expm1: torch.expm1,
    np.sqrt: torch.sqrt,
    np.square: torch.square,
    np.absolute: torch.abs,
    np.tanh: torch.tanh,
    np.negative: torch.neg,
}


class TensorStep(NamedTuple):
    """What a step does on the way to the estimator, and on the way back."""

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
    raise TypeError(
        f"{type(step).__name__} has no form that can be exported; these have: {', '.join(known_steps())}."
    )


def known_steps() -> list[str]:
    """Return the names of the classes whose steps can be exported."""
    return sorted(cls.__name__ for cls in as_tensor_step.registry if cls is not object)


def _affine(scale: Any, offset: Any) -> TensorStep:
    """Return x · scale + offset."""
    scale, offset = _tensor(scale), _tensor(offset)
    return TensorStep(lambda x: x * scale + offset, lambda z: (z - offset) / scale)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


@as_tensor_step.register
def _(step: StandardScaler) -> TensorStep:
    scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
    mean = 0.0 if step.mean_ is None or not step.with_mean else step.mean_
    return _affine(1.0 / scale, -mean / scale)


@as_tensor_step.register
def _(step: RobustScaler) -> TensorStep:
    scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
    center = 0.0 if step.center_ is None else step.center_
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
        lambda x: ((x - mean) @ axes.T) / spread, lambda z: (z * spread) @ axes + mean
    )


@as_tensor_step.register
def _(step: FunctionTransformer) -> TensorStep:
    def twin(function: Any) -> Function:
        if function is None:
            return lambda x: x
        if function not in _UFUNCS:
            raise TypeError(
                f"A FunctionTransformer of {function!r} cannot be exported; one of these can: "
                + ", ".join(f"np.{ufunc.__name__}" for ufunc in _UFUNCS)
            )
        return _UFUNCS[function]

    if step.kw_args or step.inv_kw_args:
        raise TypeError("A FunctionTransformer with kw_args cannot be exported.")
    return TensorStep(twin(step.func), twin(step.inverse_func))


@as_tensor_step.register
def _(_: NoiseInjector) -> TensorStep:
    return TensorStep(lambda x: x, None)


@as_tensor_step.register
def _(step: BoxCoxTransformer) -> TensorStep:
    law = step._law
    power, shift, centre, mean, scale, low, high, image_low, image_high = map(
        _tensor,
        (law.power, law.shift, law.centre, law.mean, law.scale, law.low, law.high,
         law.image_low, law.image_high),
    )  # fmt: skip
    linear, logarithm = torch.from_numpy(law.linear), power == 0.0
    divisor = torch.where(logarithm, 1.0, power)

    def forward(x: Tensor) -> Tensor:
        logs = torch.log((x + shift).clamp(low, high)) - centre
        curved = torch.where(logarithm, logs, torch.expm1(logs * power) / divisor)
        return (torch.where(linear, x, curved) - mean) / scale

    def backward(z: Tensor) -> Tensor:
        line = z.clamp(image_low, image_high) * scale + mean
        argument = torch.where(linear, 0.0, line * power)
        logs = torch.where(logarithm, line, torch.log1p(argument) / divisor)
        curved = torch.exp(logs + centre).clamp(low, high) - shift
        return torch.where(linear, line, curved)

    return TensorStep(forward, backward)


@as_tensor_step.register
def _(step: LogRatioTransformer) -> TensorStep:
    if step.kind not in ("logit", "log1p"):
        raise TypeError(
            f"A LogRatioTransformer of kind={step.kind!r} cannot be exported; of kind 'logit' and "
            "'log1p' it can."
        )
    k, threshold, epsilon = step.reference_, float(step.threshold), float(step.epsilon)
    slope = 1.0 - 2.0 * epsilon
    is_logit = step.kind == "logit"

    def forward(x: Tensor) -> Tensor:
        parts = x if k is None else torch.cat([x[:, :k], x[:, k + 1 :]], dim=1)
        parts = torch.where(parts < threshold, 0.0, parts)
        total = parts.sum(dim=1, keepdim=True) if k is None else x[:, k : k + 1]
        if is_logit:
            fraction = parts / torch.where(total > 0.0, total, 1.0)
            rest = 1.0 - fraction * (slope / (1.0 - epsilon))
            parts = fraction * (slope / (epsilon * (1.0 - epsilon))) / rest
        return torch.cat([total, torch.log1p(parts)], dim=1)

    def backward(z: Tensor) -> Tensor:
        total, parts = z[:, :1], torch.expm1(z[:, 1:].clamp_min(0.0))
        if is_logit:
            # ε = w / (c + b·w), so written that w = 0 has its limit
            parts = (
                total
                * parts
                / (slope / (epsilon * (1.0 - epsilon)) + parts * (slope / (1.0 - epsilon)))
            )
        dark = (parts < threshold) | (total <= 0.0)
        parts = torch.where(dark, 0.0, parts)
        return parts if k is None else torch.cat([parts[:, :k], total, parts[:, k:]], dim=1)

    return TensorStep(forward, backward)


@as_tensor_step.register
def _(step: KinematicsTransformer) -> TensorStep:
    names = list(step.columns)

    def forward(x: Tensor) -> Tensor:
        p = dict(zip(names, x[:, :4].unbind(dim=1), strict=True))
        if "px" in p:
            pt = torch.sqrt(p["px"] * p["px"] + p["py"] * p["py"])
            eta = _arcsinh(p["pz"] / pt)
            phi = torch.atan2(p["py"].float(), p["px"].float()).double()
        else:
            pt, eta, phi = p["pt"], p["eta"], p["phi"]
        if "m" in p:
            mass = p["m"]
        else:
            total = 0.5 * pt * (torch.exp(eta) + torch.exp(-eta))
            square = (p["E"] - total) * (p["E"] + total)
            mass = torch.sign(square) * torch.sqrt(torch.abs(square))
        return _join([torch.log(pt), eta, phi, mass / pt], x)

    def backward(z: Tensor) -> Tensor:
        log_pt, eta, phi, mass = z[:, :4].unbind(dim=1)
        pt = torch.exp(log_pt)
        turned = phi - 2.0 * math.pi * torch.floor((phi + math.pi) / (2.0 * math.pi))
        phi = torch.where(torch.abs(phi) <= float(np.float32(np.pi)), phi, turned)
        up, down = torch.exp(eta), torch.exp(-eta)
        square = 0.25 * (up + down) ** 2 + mass * torch.abs(mass)
        angle = phi.float()  # runtimes lack cosines in double precision
        momentum = {
            "pt": pt, "eta": eta, "phi": phi, "m": mass * pt,
            "E": pt * torch.sqrt(square.clamp_min(0.0)),
            "px": pt * torch.cos(angle).double(), "py": pt * torch.sin(angle).double(),
            "pz": 0.5 * pt * (up - down),
        }  # fmt: skip
        return _join([momentum[name] for name in names], z)

    return TensorStep(forward, backward)


def _arcsinh(x: Tensor) -> Tensor:
    size = torch.abs(x)
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1.0))


def _join(first_four: list[Tensor], x: Tensor) -> Tensor:
    return torch.cat([torch.stack(first_four, dim=1), x[:, 4:]], dim=1)
