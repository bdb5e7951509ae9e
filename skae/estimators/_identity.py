"""What a parameter or an array is, in words and digests that are the same in every process."""

import functools
import hashlib
import types
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator

_BLOCK_BYTES = 2**24


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
    """Return what identifies a parameter's value from one process to the next, in JSON's terms.

    Functions and classes that are none of a library's are known by their code, and by the constants and
    functions that the code refers to.

    Raises
    ------
    TypeError
        If the value cannot be identified.
    """
    return _Describer().describe(value)


# Classes and functions of these are what their names say.
_LIBRARIES = {
    "builtins",
    "functools",
    "math",
    "numpy",
    "scipy",
    "skae",
    "sklearn",
    "skorch",
    "torch",
}


class _Describer:
    """Describes a value: inside itself it is described once, and each function once altogether."""

    def __init__(self) -> None:
        self._open: list[Any] = []
        self._told: list[types.FunctionType] = []

    def describe(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if any(value is other for other in self._open):
            return "itself"
        self._open.append(value)
        try:
            return self._describe(value)
        finally:
            self._open.pop()

    def _describe(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            return self.describe(value.tolist()) if value.size <= 64 else fingerprint(value)
        if isinstance(value, list | tuple):
            return [self.describe(v) for v in value]
        if isinstance(value, dict):
            return {str(k): self.describe(v) for k, v in value.items()}
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, torch.Tensor):
            return fingerprint(value.detach().cpu().numpy())
        if isinstance(value, type):
            return self._describe_class(value)
        if isinstance(value, types.FunctionType):
            return self._describe_function(value)
        if isinstance(value, types.BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, types.MethodType):
            return {"method": value.__name__, "of": self.describe(value.__self__)}
        kind = {"class": self.describe(type(value))}
        if isinstance(value, BaseEstimator):
            return {**kind, **self.describe(value.get_params(deep=False))}
        if isinstance(value, functools.partial):
            return {**kind, "of": self.describe([value.func, value.args, value.keywords])}
        if isinstance(value, torch.nn.Module):
            return {**kind, "repr": repr(value), "state": self.describe(dict(value.state_dict()))}
        if type(value).__reduce_ex__ is object.__reduce_ex__ and hasattr(value, "__dict__"):
            return {**kind, "attributes": self.describe(vars(value))}
        return {**kind, "digest": _digest_of_pickle(value)}

    def _describe_class(self, cls: type) -> Any:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if cls.__module__.partition(".")[0] in _LIBRARIES:
            return name
        functions = [v for v in vars(cls).values() if isinstance(v, types.FunctionType)]
        return {
            "class": name,
            "bases": [*map(self.describe, cls.__bases__)],
            "of": [*map(self.describe, functions)],
        }

    def _describe_function(self, function: types.FunctionType) -> Any:
        name = f"{function.__module__}.{function.__qualname__}"
        is_told = any(function is other for other in self._told)
        if is_told or str(function.__module__).partition(".")[0] in _LIBRARIES:
            return name
        self._told.append(function)
        code = function.__code__
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.describe(cell.cell_contents))
            except ValueError:  # nothing in it yet
                cells.append(None)
        return {
            "function": name,
            "code": hashlib.blake2b(repr(_code(code)).encode(), digest_size=8).hexdigest(),
            "values": [
                self.describe(function.__defaults__),
                self.describe(function.__kwdefaults__),
            ],
            "cells": cells,
            "globals": {
                name: self.describe(function.__globals__[name])
                for name in sorted(_names(code))
                if _tells(function.__globals__.get(name))
            },
        }


def _tells(value: Any) -> bool:
    """Tell whether a global value says what a function does, beyond its name."""
    plain = bool | int | float | str | list | tuple | dict
    return isinstance(value, plain | types.FunctionType | np.ndarray | torch.Tensor)


def _names(code: types.CodeType) -> set[str]:
    """The names that a function's code refers to, the functions inside it included."""
    inner = (_names(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return {*code.co_names}.union(*inner)


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
