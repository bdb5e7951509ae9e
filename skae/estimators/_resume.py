"""Where a fit begins: afresh, or where the checkpoint of the same fit ends."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from skae._version import __version__
from skae.estimators._data import TrainingData
from skae.estimators._identity import describe, fingerprint
from skae.exceptions import CheckpointError
from skae.training.checkpoints import Checkpoint
from skae.training.state import starting_point
from skae.training.step import PROCESSES


@dataclass
class Beginning:
    """The seed of a fit, and its checkpoint.

    Attributes
    ----------
    seed : int
        Seed of the fit.
    checkpoint : Checkpoint or None
        Where the fit is saved.
    state : dict or None
        What is saved there of an earlier run of the same fit.
    """

    seed: int
    checkpoint: Checkpoint | None = None
    state: dict[str, Any] | None = None

    def write(self, processes: Any) -> None:
        """Save the beginning of a new fit, to find out whether one can, in all processes."""

        def write() -> None:
            if self.checkpoint is not None and self.state is None:
                self.checkpoint.write({"epoch": 0, "seed": self.seed})

        write() if processes is None else processes.on_main(write)


@contextlib.contextmanager
def begin(
    estimator: BaseEstimator, data: TrainingData, seed: int, *, fresh: bool, saved: bool
) -> Iterator[Beginning]:
    """Begin a fit, alone or with other processes, and go on with an earlier run of it if there is one.

    Parameters
    ----------
    estimator : estimator
        What is fitted; its ``checkpoint`` is the folder that holds the folders of all fits.
    data : TrainingData
        The data of the fit.
    seed : int
        Seed of the fit if nothing is there.
    fresh : bool
        Whether a new network is trained.
    saved : bool
        Whether the fit is one that ``checkpoint`` is for.
    """
    start = None if fresh else starting_point(estimator.net_)
    with contextlib.ExitStack() as stack:

        def find() -> Beginning:
            if estimator.checkpoint is None or not saved:
                return Beginning(seed)
            return stack.enter_context(_open_checkpoint(estimator, data, seed, start))

        if (processes := PROCESSES.get()) is None:
            yield find()
            return
        described = _description_of(estimator, data)
        processes.check_equal(described | {"start": start, "saved": saved})
        found = processes.on_main(find)
        yield found if processes.is_main else replace(found, checkpoint=None)


@contextlib.contextmanager
def _open_checkpoint(
    estimator: BaseEstimator, data: TrainingData, seed: int, start: str | None
) -> Iterator[Beginning]:
    """Open the folder of this fit, and go on from what it holds of an earlier run of the same fit.

    ``start`` is a digest of what training starts from, where that is not a new network.
    """
    identity = _identity_of(estimator, data, seed, start)
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
        yield Beginning(seed if state is None else state["seed"], checkpoint, state)


def _identity_of(
    estimator: BaseEstimator, data: TrainingData, seed: int, start: str | None
) -> dict[str, Any]:
    """Return what makes this fit another one than others."""
    names = _names_of_fit(estimator)
    if estimator.lr_schedule == "constant" and not estimator._plans_epochs:
        names.remove("max_epochs")  # an epoch is the same, however many there are
    is_drawn_anew = estimator.random_state is None and start is None
    columns = getattr(estimator, "feature_names_in_", None)
    return {
        "skae": __version__,
        "estimator": _describe_parameter("the estimator's class", type(estimator)),
        "parameters": {name: _describe_parameter(name, getattr(estimator, name)) for name in names},
        "data": _fingerprints(data) | {"columns": None if columns is None else list(columns)},
        "random_state": None if is_drawn_anew else seed,
        "start": start,
    }


def _names_of_fit(estimator: BaseEstimator) -> set[str]:
    """Return the parameters on which what is learnt depends, those of a hand-written constructor too."""
    outside = {known.name for known in fields(estimator) if not known.metadata["of_fit"]}
    return {*estimator.get_params(deep=False)} - outside


def _description_of(estimator: BaseEstimator, data: TrainingData) -> dict[str, Any]:
    """Return what processes that share a fit compare: data, and parameters that can be told apart."""
    parameters = {}
    for name in _names_of_fit(estimator):
        with contextlib.suppress(TypeError):
            parameters[name] = describe(getattr(estimator, name))
    return {"parameters": parameters, "data": _fingerprints(data)}


def _fingerprints(data: TrainingData) -> dict[str, Any]:
    return {
        "X": fingerprint(data.X),
        "y": fingerprint(data.y),
        "sample_weight": fingerprint(data.weight),
    }


def _describe_parameter(name: str, value: Any) -> Any:
    try:
        return describe(value)
    except TypeError as error:
        raise CheckpointError(
            f"With checkpoint, {name}={value!r} must be told from others in a later process, but {error}."
            " Use a function or a class with plain attributes, or checkpoint=None."
        ) from error
