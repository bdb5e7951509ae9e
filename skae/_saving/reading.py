"""Putting objects together again from what may have been made by anybody.

Classes come from a table, never from an import. Objects are filled with their attributes, functions are
names of NumPy's, and no attribute may hide a method. So a file can describe a wrong object, but nothing
of it is run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skae._saving.layout import restored
from skae._saving.table import ClassTable

# Bytes of an entry in an array of text.
_LONGEST_TEXT = 2**16


def read_object(content: dict[str, Any], table: ClassTable) -> Any:
    """Put together what :func:`skae._saving.write_object` took apart.

    Parameters
    ----------
    content : dict
        What that returned.
    table : ClassTable
        Classes that may be named.

    Raises
    ------
    Exception
        Of any kind, if the content is not what was written.
    """
    reader = Reader(table)
    for entry in content["objects"]:
        reader.add(entry)
    return reader.decode(content["root"])


class Reader:
    """Reads the forms that :class:`skae._saving.Writer` gives to values.

    Parameters
    ----------
    table : ClassTable
        Classes that may be named.
    """

    def __init__(self, table: ClassTable):
        self.table = table
        self._objects: list[Any] = []

    def add(self, entry: dict[str, Any]) -> None:
        """Make the next object; it may refer to those before it."""
        if "class" not in entry:
            self._objects.append(_tensor(entry))
            return
        cls = self.table[entry["class"]]
        kind = self.table.kind_of(cls)
        if kind is None:
            raise ValueError(f"an object of {entry['class']} cannot be in a file")
        self._objects.append(kind.put_together(cls, entry, self))

    def decode(self, value: Any) -> Any:
        """Return the value of a form."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.decode(v) for v in value]
        kind, *content = value
        return getattr(self, f"_decode_{_word(kind)}")(*content)

    def _decode_tuple(self, items: list[Any]) -> tuple[Any, ...]:
        return tuple(self.decode(items))

    def _decode_dict(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.decode(k): self.decode(v) for k, v in pairs}

    def _decode_slice(self, ends: list[Any]) -> slice:
        start, stop, step = self.decode(ends)
        return slice(start, stop, step)

    def _decode_class(self, name: str) -> type:
        return self.table[name]

    def _decode_ufunc(self, name: str) -> np.ufunc:
        function = getattr(np, _word(name))
        if not isinstance(function, np.ufunc):
            raise ValueError(f"{name} is no function of NumPy's for elements")
        return function

    def _decode_dtype(self, text: str) -> np.dtype:
        return np.dtype(str(text))

    def _decode_device(self, text: str) -> torch.device:
        return torch.device(str(text))

    def _decode_path(self, text: str) -> Path:
        return Path(str(text))

    def _decode_random_state(self, state: Any) -> np.random.RandomState:
        random_state = np.random.RandomState()
        random_state.set_state(self.decode(state))
        return random_state

    def _decode_scalar(self, array: np.ndarray) -> np.generic:
        return array.reshape(())[()]

    def _decode_array(self, axes: list[int], stored: np.ndarray, shape: list[int]) -> np.ndarray:
        array = restored(stored, axes)
        if list(array.shape) != shape:
            raise ValueError(f"an array has the shape {array.shape} instead of {shape}")
        return array

    def _decode_entries(self, dtype: str, shape: list[int], entries: list[Any]) -> np.ndarray:
        kind = np.dtype(str(dtype))
        if kind.kind not in "OU" or kind.itemsize > _LONGEST_TEXT:
            raise ValueError(f"{dtype} is no dtype of text")
        array = np.empty(len(entries), dtype=kind)
        array[:] = self.decode(entries)
        return array.reshape(shape)

    def _decode_object(self, number: int) -> Any:
        if not isinstance(number, int) or number < 0:
            raise ValueError(f"{number} is no number of an object")
        return self._objects[number]


def _tensor(entry: dict[str, Any]) -> torch.Tensor:
    tensor = restored(entry["tensor"], entry["axes"])
    if entry["is_parameter"]:
        return nn.Parameter(tensor, requires_grad=entry["requires_grad"])
    return tensor.requires_grad_(entry["requires_grad"])


def _word(name: Any) -> str:
    """Return a name that is one word without underscores at its ends."""
    if not isinstance(name, str) or not name.isidentifier() or name.strip("_") != name:
        raise ValueError(f"{name!r} is no name")
    return name
