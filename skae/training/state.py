"""A run: what it is asked to do, where it is, and all that the rest of it depends on, to be saved."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor

from skae.exceptions import CheckpointError
from skae.training.checkpoints import Checkpoint
from skae.training.net_file import load_training, training_of
from skae.training.optimisation import Restart
from skae.training.packing import digest_of
from skae.training.step import Step

#: (minibatch, generator) → what goes into the module
Corruption = Callable[[Tensor, torch.Generator], Tensor]
#: (minibatch, targets, generator) → minibatch and targets
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Run:
    """Settings that may differ from one run of the same net to the next."""

    epochs: int  # those of a run that is resumed included
    batch_size: int  # rows in a minibatch
    lr: float  # the highest learning rate
    lr_schedule: str = "constant"  # a name of skae.training.optimisation.SCHEDULES
    lr_restart: Restart | None = None  # where the schedule begins again, if it does
    corruption: Corruption | None = None  # what it returns goes into the module
    augmentation: Augmentation | None = None  # comes before the corruption; is trained on
    callbacks: Sequence[Any] = ()  # of skorch
    loss_unit: float = 1.0  # what losses are multiplied by before they are shown
    precision: str = "float32"  # a name of skae.training.step.PRECISIONS
    compile: bool = False  # compile the loss of a full minibatch
    step: type[Step] | None = None  # another way to learn from minibatches than by gradients
    verbose: int = 0  # 2 or more prints skorch's table of epochs
    checkpoint: Checkpoint | None = None  # where the run is saved, from time to time and at its end
    #: what the checkpoint holds of this run; training goes on from there
    resume_from: dict[str, Any] | None = field(default=None, repr=False)
    processes: Any = None  # AcceleratedProcesses that share the run; None for one alone


@dataclass
class Position:
    """Position of a run: epochs that ended, and the steps of the next one."""

    epoch: int = 0  # epochs of this run that ended
    step: int = 0  # steps of the next epoch that are done
    losses: Tensor | None = None  # (n_batches,), those of these steps
    #: their rows of the history, where a callback listens
    batches: list[dict[str, Any]] = field(default_factory=list)
    generator: Tensor | None = None  # state of the one of noise and dropout behind them


def starting_point(net: NeuralNet) -> str:
    """Return a digest of what a further run of a net would start from."""
    state = {
        "module": dict(net.module_.state_dict()),
        "optimizer": net.optimizer_.state_dict(),
        "seed": net.random_streams.seed,
        "epochs": len(net.history),
    }
    try:
        return digest_of(state)
    except TypeError as error:
        raise CheckpointError(
            f"This fit cannot be saved: {error}. Use checkpoint=None, or another optimizer."
        ) from error


def take_state(loop: Any) -> dict[str, Any]:
    """Return the state of a run, from the loop that makes it."""
    net, position = loop.net, loop.position
    within = position.step > 0
    training = training_of(net)
    if within:
        del training["history"][-1]  # the row of this epoch, which is not whole
    return {
        **training,
        "epoch": position.epoch,
        "step": position.step,
        "losses": position.losses if within else None,
        "batches": net.history[-1]["batches"] if within and loop.has_batch_callbacks else [],
        "generator": net.random_streams.corruption.get_state() if within else None,
        "last_finite": loop.last_finite.copies if within else None,  # else those of the module
        "stopped": net.stop_training,
        "module": dict(net.module_.state_dict()),
        "schedule": None if loop.schedule is None else loop.schedule.last_epoch,
        "callbacks": {
            name: callback.state_dict()
            for name, callback in net.callbacks_
            if hasattr(callback, "state_dict")
        },
    }


def load_state(loop: Any, state: dict[str, Any]) -> Position:
    """Let a run go on from a state that :func:`take_state` returned; say where that was taken."""
    if "module" not in state:
        return Position()
    net = loop.net
    try:
        net.module_.load_state_dict(state["module"])
        loop.last_finite.keep()
        if state["last_finite"] is not None:
            loop.last_finite.keep(state["last_finite"])
        load_training(net, state)
        if loop.schedule is not None:
            loop.schedule.last_epoch = state["schedule"]
        net.stop_training = state["stopped"]
        losses = None if state["losses"] is None else state["losses"].to(net.device)
        return Position(state["epoch"], state["step"], losses, state["batches"], state["generator"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint does not fit this network: {error} Delete its folder to train afresh."
        ) from error


def load_callbacks(net: NeuralNet, state: dict[str, Any]) -> None:
    """Give the callbacks that were saved their states back."""
    saved = state.get("callbacks", {})
    for name, callback in net.callbacks_:
        if name in saved and hasattr(callback, "load_state_dict"):
            # a copy: the callback may keep it and go on to change it
            callback.load_state_dict(copy.deepcopy(saved[name]))
