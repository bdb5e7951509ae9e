"""Optimisers by name, in their fused form where torch has one."""

import inspect

import torch

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


def resolve_optimizer(
    optimizer: str | type[torch.optim.Optimizer], weight_decay: float, device: torch.device
) -> tuple[type[torch.optim.Optimizer], dict[str, object]]:
    """Return the optimiser's class and the arguments, but for ``lr``, that it is built with."""
    cls = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    if not issubclass(cls, torch.optim.Optimizer):
        raise ValueError(f"optimizer={cls!r} is a class, but none of torch.optim's.")
    accepted = inspect.signature(cls).parameters
    arguments: dict[str, object] = {}
    if "fused" in accepted and device.type in _FUSED_DEVICES:
        arguments["fused"] = True
    if "weight_decay" in accepted:
        arguments["weight_decay"] = weight_decay
    elif weight_decay:
        raise ValueError(
            f"weight_decay={weight_decay!r} was given, but optimizer {cls.__name__} has no weight decay; "
            "use weight_decay=0."
        )
    return cls, arguments
