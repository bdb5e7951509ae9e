"""Beginning of a fit: afresh, or at the end of the same fit's checkpoint, found by its identity."""

import contextlib
import dataclasses
import dis
import functools
import hashlib
import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

from skae._version import __version__
from skae.estimators._data import TrainingData
from skae.estimators._qubits import identity_of, is_graph
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
        if state is not None and (state["epoch"], state.get("step", 0)) > (estimator._epochs, 0):
            # a longer run of this fit is there: it stays, and this one gets a folder beside it
            stack.close()
            folder = folder.with_name(f"{folder.name}-{estimator._epochs}-epochs")
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


_BLOCK_BYTES = 2**24


def fingerprint(array: np.ndarray | None) -> dict[str, Any] | None:
    """Return shape, dtype and a digest of an array, read block by block."""
    if array is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    blocks = np.atleast_1d(array)
    rows = max(1, _BLOCK_BYTES // max(1, blocks[:1].nbytes))
    for start in range(0, len(blocks), rows):
        digest.update(np.ascontiguousarray(blocks[start : start + rows]).data)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "digest": digest.hexdigest()}


def describe(value: Any) -> Any:
    """Return what identifies a parameter's value from one process to the next, in JSON's terms.

    Functions and classes that are none of a library's are known by their code, and by all that the code
    refers to; modules by their names.

    Raises
    ------
    TypeError
        If the value cannot be identified.
    """
    try:
        return _Describer().describe(value)
    except RecursionError as error:
        raise TypeError(f"a {type(value).__qualname__} refers to too much") from error


# Classes and functions of these are what their names say.
_LIBRARIES = {*sys.stdlib_module_names, "numpy", "scipy", "skae", "sklearn", "skorch", "torch"}

# What every torch module keeps for itself.
_OF_ANY_MODULE = {*vars(torch.nn.Module())} - {"training"}


class _Describer:
    """Describes a value.

    What stands inside itself is told by its depth there, and a function or class that was described
    before by its number. Equal data are equal, whether they are one object or two.
    """

    def __init__(self) -> None:
        self._open: list[Any] = []
        self._met: dict[int, tuple[int, Any]] = {}  # id → number, and what must stay alive

    def describe(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic | bytes | complex | set | frozenset):
            return {"class": type(value).__name__, "value": _digest_of_pickle(value)}
        if isinstance(value, types.FunctionType | type):
            if id(value) in self._met:
                return {"met": self._met[id(value)][0]}
            self._met[id(value)] = len(self._met), value
        for depth, other in enumerate(self._open):
            if value is other:
                return {"itself at": depth}
        self._open.append(value)
        try:
            return self._describe(value)
        finally:
            self._open.pop()

    def _describe(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.describe(value.tolist()) if value.size <= 64 else fingerprint(value)
        if isinstance(value, list | tuple):
            return [self.describe(v) for v in value]
        if isinstance(value, dict):
            return {str(k): self.describe(v) for k, v in value.items()}
        if isinstance(value, torch.device | torch.dtype):
            return str(value)
        if isinstance(value, torch.Tensor):
            return fingerprint(value.detach().cpu().numpy())
        if is_graph(value):
            return {"graph": identity_of(value)}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, type):
            return self._describe_class(value)
        if isinstance(value, types.FunctionType):
            return self._describe_function(value)
        if isinstance(value, types.BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, types.MethodType):
            return {"method": value.__name__, "of": self.describe(value.__self__)}
        kind = {"class": self.describe(type(value))}
        if isinstance(value, BaseEstimator) and _is_of_library(type(value)):
            return {**kind, **self.describe(value.get_params(deep=False))}
        if isinstance(value, functools.partial):
            return {**kind, "of": self.describe([value.func, value.args, value.keywords])}
        if isinstance(value, staticmethod | classmethod):
            return {**kind, "of": self.describe(value.__func__)}
        if isinstance(value, property):
            return {**kind, "of": self.describe([value.fget, value.fset])}
        if isinstance(value, torch.jit.ScriptModule):
            return {**kind, "code": value.code, "state": self.describe(dict(value.state_dict()))}
        if isinstance(value, torch.nn.Module):
            own = {k: v for k, v in vars(value).items() if k not in _OF_ANY_MODULE}
            parts = {"own": own, "children": dict(value.named_children())}
            return {
                **kind,
                **self.describe(parts),
                "state": self.describe(dict(value.state_dict())),
            }
        if dataclasses.is_dataclass(value):  # what it may have cached is no part of it
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return {**kind, "attributes": self.describe(fields)}
        if type(value).__reduce_ex__ is object.__reduce_ex__ and hasattr(value, "__dict__"):
            return {**kind, "attributes": self.describe(vars(value))}
        return {**kind, "digest": _digest_of_pickle(value)}

    def _describe_class(self, cls: type) -> Any:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if _is_of_library(cls):
            return name
        code = types.FunctionType | staticmethod | classmethod | property
        of_python = types.GetSetDescriptorType | types.MemberDescriptorType
        content = {
            k: v
            for k, v in vars(cls).items()
            if isinstance(v, code)
            or not (k.startswith("__") or k == "_abc_impl" or isinstance(v, of_python))
        }
        return {"class": name, "bases": self.describe(cls.__bases__), "of": self.describe(content)}

    def _describe_function(self, function: types.FunctionType) -> Any:
        name = f"{function.__module__}.{function.__qualname__}"
        if _is_of_library(function):
            return name
        code = function.__code__
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.describe(cell.cell_contents))
            except ValueError:  # nothing in it yet
                cells.append(None)
        known = function.__globals__
        return {
            "function": name,
            "code": hashlib.blake2b(repr(_code(code)).encode(), digest_size=8).hexdigest(),
            "values": self.describe(
                [function.__defaults__, function.__kwdefaults__, vars(function)]
            ),
            "cells": cells,
            "globals": {
                k: self.describe(known[k]) for k in sorted(_globals_of(code)) if k in known
            },
        }


def _is_of_library(value: types.FunctionType | type) -> bool:
    return str(value.__module__).partition(".")[0] in _LIBRARIES


def _globals_of(code: types.CodeType) -> set[str]:
    """The global names that a function's code loads, the functions inside it included."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (_globals_of(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return names.union(*inner)


def _digest_of_pickle(value: Any) -> str:
    try:
        return joblib.hash(value)
    except Exception as error:  # whatever its __reduce__ raises
        raise TypeError(f"a {type(value).__qualname__} cannot be identified ({error})") from error


def _code(code: types.CodeType) -> tuple:
    """A function's instructions, without its file and lines: moving it changes nothing."""
    return code.co_code, code.co_names, tuple(_constant(c) for c in code.co_consts)


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
