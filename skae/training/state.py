"""All that the rest of a run depends on, but its data and parameters: to be saved, and taken over."""

import copy
from dataclasses import dataclass, field
from typing import Any

from skorch import NeuralNet
from torch import Tensor

from skae.exceptions import CheckpointError
from skae.training.packing import digest_of
from skae.training.weights import Weights

# Flags of an optimiser that depend on the device it runs on.
_OF_THE_DEVICE = ("fused", "foreach", "capturable")


@dataclass
class Position:
    """Where a run is: epochs that ended, and the steps of the next one.

    Attributes
    ----------
    epoch : int
        Epochs of this run that ended.
    step : int
        Steps of the next epoch that are done.
    losses : Tensor of shape (n_batches,) or None
        Their losses.
    batches : list of dict
        Their rows of the history, where a callback listens.
    generator : Tensor or None
        State of the generator of noise and dropout behind them.
    """

    epoch: int = 0
    step: int = 0
    losses: Tensor | None = None
    batches: list[dict[str, Any]] = field(default_factory=list)
    generator: Tensor | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Stand before the first step of this epoch."""
        self.epoch, self.step, self.losses, self.batches, self.generator = epoch, 0, None, [], None


def starting_point(net: NeuralNet) -> str:
    """Return a digest of what a further run of a net would start from."""
    state = {
        "module": dict(net.module_.state_dict()),
        "optimizer": net.optimizer_.state_dict(),
        "seed": net.streams.seed,
        "epochs": len(net.history),
    }
    try:
        return digest_of(state)
    except TypeError as error:
        raise CheckpointError(
            f"This fit cannot be saved: {error}. Use checkpoint=None, or another optimizer."
        ) from error


def take_state(net: NeuralNet, position: Position, finite: Weights) -> dict[str, Any]:
    """Return the state of a run.

    Parameters
    ----------
    net : TrainingNet
        The net that runs.
    position : Position
        Where the run is.
    finite : Weights
        The weights of the last finite epoch.
    """
    within = position.step > 0
    schedule = net.schedule_
    return {
        "seed": net.streams.seed,
        "epoch": position.epoch,
        "step": position.step,
        "losses": position.losses if within else None,
        "batches": net.history[-1]["batches"] if within and net.listens_to_batches_ else [],
        "generator": net.streams.corruption.get_state() if within else None,
        "finite": finite.copies() if within else None,  # else those of the module
        "stopped": net.stop_training,
        "module": dict(net.module_.state_dict()),
        "optimizer": net.optimizer_.state_dict(),
        "schedule": None if schedule is None else schedule.last_epoch,
        "history": list(net.history[:-1] if within else net.history),
        "best_losses": net.best_losses_,
        "callbacks": {
            name: callback.state_dict()
            for name, callback in net.callbacks_
            if hasattr(callback, "state_dict")
        },
    }


def load_state(net: NeuralNet, state: dict[str, Any] | None, finite: Weights) -> Position:
    """Make a net go on from a state that :func:`take_state` returned; say where that was taken."""
    if state is None or "module" not in state:
        return Position()
    try:
        net.module_.load_state_dict(state["module"])
        finite.remember()
        if state["finite"] is not None:
            finite.remember(state["finite"])
        load_optimizer(net.optimizer_, state["optimizer"])
        if net.schedule_ is not None:
            net.schedule_.last_epoch = state["schedule"]
        net.history[:] = state["history"]
        net.best_losses_ = state["best_losses"]
        net.stop_training = state["stopped"]
        losses = None if state["losses"] is None else state["losses"].to(net.device)
        return Position(state["epoch"], state["step"], losses, state["batches"], state["generator"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint does not fit this network: {error} Delete its folder to train afresh."
        ) from error


def load_callbacks(net: NeuralNet, state: dict[str, Any] | None) -> None:
    """Give the callbacks that were saved their states back."""
    saved = {} if state is None else state.get("callbacks", {})
    for name, callback in net.callbacks_:
        if name in saved and hasattr(callback, "load_state_dict"):
            # a copy: the callback may keep it and go on to change it
            callback.load_state_dict(copy.deepcopy(saved[name]))


def load_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    """Give an optimiser a state that was saved, but for what depends on the device."""
    own = [
        {flag: group[flag] for flag in _OF_THE_DEVICE if flag in group}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, flags in zip(optimizer.param_groups, own, strict=True):
        group.update(flags)
