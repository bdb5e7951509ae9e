"""Which fit a checkpoint belongs to: what its parameters and its data are, in words and digests."""

import contextlib
import functools
import hashlib
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

from skae.training import Checkpoint

# What does not change what is learnt; the seed is told beside the parameters.
_OUTSIDE = {"callbacks", "checkpoint", "device", "random_state", "verbose", "warm_start"}

_BLOCK_BYTES = 2**24


@contextlib.contextmanager
def open_checkpoint(
    estimator: BaseEstimator,
    *,
    data: dict[str, np.ndarray | None],
    seed: int | None,
    start: str | None,
) -> Iterator[tuple[Checkpoint | None, dict[str, Any] | None]]:
    """Open the folder of this fit, and read what it holds of an earlier run of the same fit.

    Parameters
    ----------
    estimator : estimator
        What is fitted; its ``checkpoint`` is the folder that holds the folders of all fits, or None.
    data : dict of ndarray
        The data of the fit.
    seed : int or None
        The seed of the fit, None for one that is drawn anew each time.
    start : str or None
        A digest of what training starts from, where that is not a new network.

    Yields
    ------
    checkpoint : Checkpoint or None
        Where to save; None without ``checkpoint``.
    state : dict or None
        The state to go on from.
    """
    if estimator.checkpoint is None:
        yield None, None
        return
    parameters = estimator.get_params(deep=False)
    open_ended = (
        estimator.lr_schedule == "constant"
    )  # an epoch then is the same in any number of them
    outside = {*_OUTSIDE, *(["max_epochs"] if open_ended else [])}
    identity = {
        "estimator": describe(type(estimator)),
        "parameters": {k: describe(v) for k, v in parameters.items() if k not in outside},
        "data": {name: fingerprint(array) for name, array in data.items()},
        "random_state": seed,
        "start": start,
    }
    key = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8)
    folder = Path(estimator.checkpoint) / f"{type(estimator).__name__}-{key.hexdigest()}"
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(Checkpoint(folder, identity).open())
        state = checkpoint.read()
        if state is not None and state["epoch"] > estimator.max_epochs:
            # a longer run of this fit is there: it stays, and this one gets a folder beside it
            stack.close()
            folder = folder.with_name(f"{folder.name}-{estimator.max_epochs}-epochs")
            checkpoint = stack.enter_context(Checkpoint(folder, identity).open())
            state = checkpoint.read()
        yield checkpoint, state


def fingerprint(array: np.ndarray | None) -> dict[str, Any] | None:
    """Return shape, dtype and a digest of an array, read block by block."""
    if array is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    rows = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "digest": digest.hexdigest()}


def describe(value: Any) -> Any:
    """Return what identifies a parameter's value from one process to the next, in JSON's terms."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return describe(value.tolist()) if value.size <= 64 else fingerprint(value)
    if isinstance(value, list | tuple):
        return [describe(v) for v in value]
    if isinstance(value, dict):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, torch.device):
        return str(value)
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseEstimator):
        return {"class": name, **describe(value.get_params(deep=False))}
    if isinstance(value, functools.partial):
        return {"class": name, "of": describe([value.func, value.args, value.keywords])}
    if isinstance(value, types.FunctionType):
        return _describe_function(value)
    if isinstance(value, types.MethodType):
        return {"method": value.__name__, "of": describe(value.__self__)}
    return {"class": name, "digest": joblib.hash(value)}


def _describe_function(function: Callable) -> dict[str, Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return {
        "function": f"{function.__module__}.{function.__qualname__}",
        "code": hashlib.blake2b(repr(_code(function.__code__)).encode(), digest_size=8).hexdigest(),
        "values": describe([function.__defaults__, function.__kwdefaults__, cells]),
    }


def _code(code: types.CodeType) -> tuple:
    """A function's instructions, without its file and lines: moving it changes nothing."""
    return code.co_code, code.co_names, tuple(_constant(c) for c in code.co_consts)


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
