"""Optimisers, learning-rate schedules, and copies of weights to go back to.

A schedule is a function of a fit's progress, from 0 at its start to 1 at its end.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}

_FUSED_DEVICES = ("cpu", "cuda", "mps")

# Smith & Topin, 2018, arXiv:1708.07120, with the cosine shape and proportions that torch's
# OneCycleLR uses: 30 % of the steps rise from lr/25 to lr, the rest fall to lr/25/1e4.
_WARM_UP = 0.3
_START = 1.0 / 25.0
_END = _START / 1e4


def resolve_optimizer(
    optimizer: str | type[torch.optim.Optimizer], weight_decay: float | None, device: torch.device
) -> tuple[type[torch.optim.Optimizer], dict[str, object]]:
    """Return an optimiser's class, and its arguments but ``lr`` under the names that skorch has."""
    cls = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    if not issubclass(cls, torch.optim.Optimizer):
        raise ValueError(f"optimizer={cls!r} is a class, but none of torch.optim's.")
    accepted = inspect.signature(cls).parameters
    arguments: dict[str, object] = {}
    if "fused" in accepted and device.type in _FUSED_DEVICES:
        arguments["optimizer__fused"] = True
    if weight_decay is None:
        pass  # torch's default
    elif "weight_decay" in accepted:
        arguments["optimizer__weight_decay"] = weight_decay
    elif weight_decay:
        raise ValueError(
            f"weight_decay={weight_decay!r} was given, but optimizer {cls.__name__} has no weight decay; "
            "use weight_decay=0."
        )
    return cls, arguments


def _rise_and_fall(warm_up: float, progress: float) -> float:
    """Rise from 1/25 up to 1, then fall to nearly 0, each along half a cosine."""
    start, end, share = _START, 1.0, progress / warm_up if warm_up else 1.0
    if progress >= warm_up:
        start, end, share = 1.0, _END, (progress - warm_up) / (1.0 - warm_up)
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0


#: name → (factor of lr at a given progress, progress at which the annealing phase begins)
SCHEDULES: dict[str, tuple[Callable[[float], float], float]] = {
    "one_cycle": (partial(_rise_and_fall, _WARM_UP), _WARM_UP),
    # Loshchilov & Hutter, 2017, arXiv:1608.03983
    "cosine": (partial(_rise_and_fall, 0.0), 0.0),
    "constant": (lambda progress: 1.0, 0.0),
}


class Restart(NamedTuple):
    """Restart of a schedule: its place as a share of the steps, and a factor of the rate."""

    at: float
    factor: float


def start_schedule(
    optimizer: Optimizer, lr: float, name: str, n_steps: int, restart: Restart | None = None
) -> LambdaLR | None:
    """Set the learning rate and let it follow a schedule over this many steps.

    ``lr`` is the highest rate, before the schedule begins again for the rest of the steps, if it does. A
    constant rate, for which None is returned, is left to the callbacks, skorch's LRScheduler say, and
    stays what it is.
    """
    shape, _ = SCHEDULES[name]
    for group in optimizer.param_groups:
        group["lr"] = lr  # a schedule before this one may have ended elsewhere
        group.pop("initial_lr", None)
    if name == "constant":
        return None

    def factor(step: int) -> float:
        progress = min(step / n_steps, 1.0)
        if restart is None:
            return shape(progress)
        if progress < restart.at:
            return shape(progress / restart.at)
        return restart.factor * shape((progress - restart.at) / (1.0 - restart.at))

    return LambdaLR(optimizer, factor)


class ScalarsInFloat32(dict):
    """An optimiser's state of a parameter; torch makes its scalars in the default dtype."""

    _NAMES = ("step", "mu_product", "eta", "mu")

    def __setitem__(self, name: str, value: Any) -> None:
        is_scalar = name in self._NAMES and isinstance(value, Tensor)
        super().__setitem__(name, value.float() if is_scalar else value)


class Weights:
    """A copy of a module's parameters and buffers, refreshed in place."""

    def __init__(self, module: nn.Module):
        self._tensors = list(module.state_dict(keep_vars=True).values())
        self.copies: list[Tensor] = []
        for tensor in self._tensors:
            self.copies.append(tensor.detach().clone())

    def are_finite(self) -> bool:
        """Tell whether the module's weights, not their copies, are all finite."""
        total: Tensor | float = 0.0
        with torch.no_grad():
            for tensor in self._tensors:
                if tensor.is_floating_point():
                    total = total + tensor.sum()
        return math.isfinite(total)

    def keep(self, tensors: list[Tensor] | None = None) -> None:
        """Copy the weights as they are, or the copies of another one."""
        with torch.no_grad():
            for copy, tensor in zip(self.copies, tensors or self._tensors, strict=True):
                copy.copy_(tensor)

    def restore(self) -> None:
        """Put the copied weights back into the module."""
        with torch.no_grad():
            for copy, tensor in zip(self.copies, self._tensors, strict=True):
                tensor.copy_(copy)
