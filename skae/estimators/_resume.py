"""Where a fit begins: afresh, or where the checkpoint of the same fit ends."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sklearn.base import BaseEstimator

from skae._version import __version__
from skae.estimators._data import TrainingData
from skae.estimators._identity import describe, fingerprint
from skae.exceptions import CheckpointError
from skae.training import Checkpoint, Team, current_team

# What does not change what is learnt; the seed is told beside the parameters.
_OUTSIDE = {"callbacks", "checkpoint", "device", "random_state", "verbose", "warm_start"}


@dataclass
class Beginning:
    """What the order of the rows follows from, and the checkpoint.

    Attributes
    ----------
    seed : int
        Seed of the fit.
    streamed : bool
        Whether rows are read as they are needed.
    checkpoint : Checkpoint or None
        Where the fit is saved.
    state : dict or None
        What is saved there of an earlier run of the same fit.
    team : Team or None
        The processes that share the fit; the main one has the checkpoint.
    """

    seed: int
    streamed: bool
    checkpoint: Checkpoint | None = None
    state: dict[str, Any] | None = None
    team: Team | None = None

    @property
    def shows(self) -> bool:
        """Whether this process shows progress."""
        return self.team is None or self.team.is_main

    def write(self) -> None:
        """Save the beginning of a new fit, to find out whether one can."""
        if self.team is None:
            self._write()
        else:
            self.team.on_main(self._write)

    def _write(self) -> None:
        if self.checkpoint is not None and self.state is None:
            self.checkpoint.write({"epoch": 0, "seed": self.seed, "streamed": self.streamed})


@contextlib.contextmanager
def begin(
    estimator: BaseEstimator,
    data: TrainingData,
    seed: int,
    device: torch.device,
    *,
    start: str | None,
    saved: bool,
) -> Iterator[Beginning]:
    """Begin a fit, alone or with other processes, and go on with an earlier run of it if there is one.

    Parameters
    ----------
    estimator : estimator
        What is fitted; its ``checkpoint`` is the folder that holds the folders of all fits.
    data : TrainingData
        The data of the fit.
    seed : int
        Seed of the fit, if nothing is there.
    device : torch.device
        Where it runs.
    start : str or None
        A digest of what training starts from, where that is not a new network.
    saved : bool
        Whether the fit is one that ``checkpoint`` is for.
    """
    beginning = Beginning(seed, data.are_too_many(device))
    is_saved = saved and estimator.checkpoint is not None
    team = current_team()
    with contextlib.ExitStack() as stack:

        def opened() -> Beginning:
            if not is_saved:
                return beginning
            return stack.enter_context(_open_checkpoint(estimator, data, beginning, start=start))

        if team is None:
            yield opened()
            return
        team.check_equal(_description(estimator, data) | {"start": start, "saved": saved})
        checkpoint: list[Checkpoint | None] = [None]

        def opened_by_main() -> Beginning:
            found = opened()
            checkpoint[0] = found.checkpoint
            return replace(found, checkpoint=None)

        yield replace(team.on_main(opened_by_main), checkpoint=checkpoint[0], team=team)


def _description(estimator: BaseEstimator, data: TrainingData) -> dict[str, Any]:
    """Return data, and those parameters that can be told from others, in words."""
    parameters = {}
    for name, value in estimator.get_params(deep=False).items():
        if name not in _OUTSIDE:
            with contextlib.suppress(TypeError):
                parameters[name] = describe(value)
    return {
        "parameters": parameters,
        "X": fingerprint(data.X),
        "y": fingerprint(data.y),
        "sample_weight": fingerprint(data.weight),
    }


@contextlib.contextmanager
def _open_checkpoint(
    estimator: BaseEstimator,
    data: TrainingData,
    beginning: Beginning,
    *,
    start: str | None,
) -> Iterator[Beginning]:
    """Open the folder of this fit, and go on from what it holds of an earlier run of the same fit."""
    identity = _identity_of(estimator, data, beginning.seed, start)
    key = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8)
    folder = Path(estimator.checkpoint) / f"{type(estimator).__name__}-{key.hexdigest()}"
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(Checkpoint(folder, identity).open())
        state = checkpoint.read()
        if state is not None and (state["epoch"], state.get("step", 0)) > (estimator.max_epochs, 0):
            # a longer run of this fit is there: it stays, and this one gets a folder beside it
            stack.close()
            folder = folder.with_name(f"{folder.name}-{estimator.max_epochs}-epochs")
            checkpoint = stack.enter_context(Checkpoint(folder, identity).open())
            state = checkpoint.read()
        if state is None:
            yield Beginning(beginning.seed, beginning.streamed, checkpoint)
        else:
            yield Beginning(state["seed"], state["streamed"], checkpoint, state)


def _identity_of(
    estimator: BaseEstimator, data: TrainingData, seed: int, start: str | None
) -> dict[str, Any]:
    """Return what makes this fit another one than others."""
    outside = {*_OUTSIDE, *estimator._parameters_after_fit}
    if estimator.lr_schedule == "constant" and not estimator._plans_epochs:
        outside.add("max_epochs")  # an epoch is the same, however many there are
    is_drawn_anew = estimator.random_state is None and start is None
    columns = getattr(estimator, "feature_names_in_", None)
    return {
        "skae": __version__,
        "estimator": _describe_parameter("the estimator's class", type(estimator)),
        "parameters": {
            name: _describe_parameter(name, value)
            for name, value in estimator.get_params(deep=False).items()
            if name not in outside
        },
        "data": {
            "X": fingerprint(data.X),
            "y": fingerprint(data.y),
            "sample_weight": fingerprint(data.weight),
            "columns": None if columns is None else list(columns),
        },
        "random_state": None if is_drawn_anew else seed,
        "start": start,
    }


def _describe_parameter(name: str, value: Any) -> Any:
    try:
        return describe(value)
    except TypeError as error:
        raise CheckpointError(
            f"With checkpoint, {name}={value!r} must be told from others in a later process, but {error}."
            " Use a function or a class with plain attributes, or checkpoint=None."
        ) from error
