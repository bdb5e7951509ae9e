"""A trained net as its parts: what goes into a file, and what it is built from again."""

from typing import TYPE_CHECKING, Any

import torch
from skorch.history import History
from torch import nn

from skae._saving import Kind, Reader, Writer
from skae._saving.table import optimizers
from skae.training.optimisation import resolve_optimizer
from skae.training.seeding import RandomStreams
from skae.training.state import load_optimizer

if TYPE_CHECKING:
    from skae.training.net import TrainingNet


class NetKind(Kind):
    """Nets: to predict with after reading, and to be trained further exactly."""

    def take_apart(self, value: "TrainingNet", writer: Writer, where: str) -> dict[str, Any]:
        """Return module, criterion, and all that further training depends on."""
        parts = {
            "module": value.module_,
            "criterion": value.criterion_,
            "optimizer": value.optimizer,
            "weight_decay": getattr(value, "optimizer__weight_decay", 0.0),
            "optimizer_state": value.optimizer_.state_dict(),
            "lr": value.lr,
            "seed": value.streams.seed,
            "history": list(value.history),
            "best_losses": value.best_losses_,
            "weight_mean": value.weight_mean_,
        }
        return {"parts": writer.attributes(parts, where)}

    def put_together(self, cls: Any, entry: dict[str, Any], reader: Reader) -> "TrainingNet":
        """Build the net, on the CPU."""
        parts = {name: reader.decode(part) for name, part in entry["parts"].items()}
        if not all(isinstance(parts[part], nn.Module) for part in ("module", "criterion")):
            raise ValueError("a net needs a module and a criterion")
        if parts["optimizer"] not in optimizers():
            raise ValueError(f"{parts['optimizer']!r} is no optimizer of torch")
        device = torch.device("cpu")
        optimizer, arguments = resolve_optimizer(parts["optimizer"], parts["weight_decay"], device)
        net = cls(
            parts["module"],
            parts["criterion"],
            streams=RandomStreams(int(parts["seed"]), device),
            optimizer=optimizer,
            lr=parts["lr"],
            device=str(device),
            verbose=0,
            **arguments,
        ).initialize()
        load_optimizer(net.optimizer_, parts["optimizer_state"])
        net.history = History(parts["history"])
        net.best_losses_ = dict(parts["best_losses"])
        net.weight_mean_ = parts["weight_mean"]
        return net
