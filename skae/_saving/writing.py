"""Taking an object apart, and what it refers to: to values that JSON and safetensors hold."""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skae._saving.kinds import UnsavableError
from skae._saving.layout import axes_in_memory, reordered
from skae._saving.table import ClassTable

_NUMBERS = "biuf"  # kinds of NumPy's dtypes
_TEXT = "OU"


def write_object(value: Any, table: ClassTable) -> dict[str, Any]:
    """Return an object as plain values, tensors and arrays.

    Raises
    ------
    UnsavableError
        If something in it cannot be written.
    """
    writer = Writer(table)
    root = writer.encode(value, type(value).__name__)
    return {"objects": writer.objects, "root": root}


class Writer:
    """Plain values stay, what JSON cannot hold becomes a tuple that begins with its kind.

    Objects stand in a list, each behind those that it refers to, and are referred to by number: one that
    is met twice is one object again when it is read.

    Parameters
    ----------
    table : ClassTable
        Classes whose objects may be met.
    """

    def __init__(self, table: ClassTable):
        self.table = table
        self.objects: list[dict[str, Any]] = []
        self._numbers: dict[int, int | None] = {}
        self._met: list[Any] = []  # kept, so that no other object takes over an id

    def encode(self, value: Any, where: str) -> Any:
        """Return the form that a value has in the file; ``where`` says in an error where it stands."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.generic | np.ndarray):
            return self._array(value, where)
        if type(value) is list:
            return self._items(value, where)
        if type(value) in (tuple, torch.Size):
            return "tuple", self._items(value, where)
        if type(value) is dict:
            pairs = [
                [self.encode(k, f"a key of {where}"), self.encode(v, f"{where}[{k!r}]")]
                for k, v in value.items()
            ]
            return "dict", pairs
        if isinstance(value, slice):
            return "slice", self._items([value.start, value.stop, value.step], where)
        if isinstance(value, type) and (name := self.table.name_of(value)):
            return "class", name
        if isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is value:
            return "ufunc", value.__name__
        if isinstance(value, np.dtype) and value.kind in _NUMBERS + _TEXT:
            return "dtype", value.str
        if isinstance(value, torch.device):
            return "device", str(value)
        if isinstance(value, os.PathLike):
            return "path", os.fspath(value)
        if isinstance(value, np.random.RandomState):
            return "random_state", self.encode(value.get_state(legacy=False), where)
        return "object", self._object(value, where)

    def attributes(self, attributes: dict[str, Any], where: str) -> dict[str, Any]:
        """Return attributes by their names."""
        return {name: self.encode(v, f"{where}.{name}") for name, v in attributes.items()}

    def _items(self, values: Any, where: str) -> list[Any]:
        return [self.encode(v, f"{where}[{k}]") for k, v in enumerate(values)]

    def _array(self, value: np.generic | np.ndarray, where: str) -> Any:
        if isinstance(value, np.str_):
            return str(value)
        if isinstance(value, np.generic) and value.dtype.kind in _NUMBERS:
            return "scalar", np.asarray(value)
        if type(value) is np.ndarray and value.dtype.kind in _NUMBERS:
            axes = axes_in_memory(value)
            return "array", axes, np.asarray(reordered(value, axes), order="C"), list(value.shape)
        if type(value) is np.ndarray and value.dtype.kind in _TEXT:
            entries = self._items(value.ravel().tolist(), where)
            return "entries", value.dtype.str, list(value.shape), entries
        raise UnsavableError(where, f"a {type(value).__name__} of dtype {value.dtype}")

    def _object(self, value: Any, where: str) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = None
            self._met.append(value)
            self.objects.append(self._entry(value, where))
            self._numbers[id(value)] = len(self.objects) - 1
        number = self._numbers[id(value)]
        if number is None:
            raise UnsavableError(where, "part of itself")
        return number

    def _entry(self, value: Any, where: str) -> dict[str, Any]:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        kind = self.table.kind_of(type(value))
        if kind is None:
            is_class = isinstance(value, type)
            name = (value if is_class else type(value)).__name__
            raise UnsavableError(where, f"the class {name}" if is_class else f"a {name}")
        return {"class": self.table.name_of(type(value)), **kind.take_apart(value, self, where)}

    def _tensor(self, value: Tensor, where: str) -> dict[str, Any]:
        if type(value) not in (Tensor, nn.Parameter) or value.layout is not torch.strided:
            raise UnsavableError(where, "a tensor of a special kind")
        axes = axes_in_memory(value)
        return {
            "axes": axes,
            "tensor": reordered(value.detach().cpu(), axes),
            "is_parameter": isinstance(value, nn.Parameter),
            "requires_grad": value.requires_grad,
        }
