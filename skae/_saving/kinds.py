"""How objects of some kind are taken apart, and put together again."""

import inspect
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from skae._saving.reading import Reader
    from skae._saving.writing import Writer

# What torch keeps in a module beside what the module itself does; made anew on reading.
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_OF_EVERY_RNN = frozenset({"_flat_weights", "_flat_weight_refs"})

Entry = dict[str, Any]


class UnsavableError(TypeError):
    """Something in an object cannot be written.

    Parameters
    ----------
    where : str
        Where it stands: names of attributes with dots between.
    what : str
        What it is.
    """

    def __init__(self, where: str, what: str):
        super().__init__(f"{where} is {what}, which skae cannot save.")
        self.where = where


class Kind(ABC):
    """Objects of some kind, taken apart to an entry, a table of their attributes."""

    @abstractmethod
    def take_apart(self, value: Any, writer: "Writer", where: str) -> Entry:
        """Return the entry of an object; ``where`` says in an error where it stands."""

    @abstractmethod
    def put_together(self, cls: type, entry: Entry, reader: "Reader") -> Any:
        """Return the object of an entry, which may have been made by anybody."""


class RecordKind(Kind):
    """Dataclasses: made of their fields."""

    def take_apart(self, value: Any, writer: "Writer", where: str) -> Entry:
        """Return the fields that it is made of."""
        attributes = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        return {"attributes": writer.attributes(attributes, where)}

    def put_together(self, cls: type, entry: Entry, reader: "Reader") -> Any:
        """Make it of its fields."""
        return cls(**dict(decoded(entry["attributes"], cls, reader)))


class ModuleKind(Kind):
    """Modules of torch: parameters, buffers, modules inside, and attributes."""

    def take_apart(self, value: nn.Module, writer: "Writer", where: str) -> Entry:
        """Return what is in a module."""
        own = vars(value)
        left_out = _OF_EVERY_MODULE
        if isinstance(value, nn.RNNBase):
            left_out |= _OF_EVERY_RNN
        if any(own[name] for name in own if name.endswith("_hooks")):
            raise UnsavableError(where, "a module with hooks")
        attributes = {k: v for k, v in own.items() if k not in left_out}
        return {
            "training": value.training,
            "parameters": writer.attributes(own["_parameters"], where),
            "buffers": writer.attributes(own["_buffers"], where),
            "not_in_state": sorted(own["_non_persistent_buffers_set"]),
            "modules": writer.attributes(own["_modules"], where),
            "attributes": writer.attributes(attributes, where),
        }

    def put_together(self, cls: type, entry: Entry, reader: "Reader") -> nn.Module:
        """Put a module together."""
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        for name, value in decoded(entry["parameters"], cls, reader):
            module.register_parameter(name, value)
        for name, value in decoded(entry["buffers"], cls, reader):
            module.register_buffer(name, value, persistent=name not in entry["not_in_state"])
        for name, value in decoded(entry["modules"], cls, reader):
            module.register_module(name, value)
        for name, value in decoded(entry["attributes"], cls, reader):
            if name in _OF_EVERY_MODULE or isinstance(value, nn.Module | nn.Parameter):
                raise ValueError(f"{name} is no attribute of a {cls.__name__}")
            vars(module)[name] = value
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
        return module.train(bool(entry["training"]))


def decoded(attributes: dict[str, Any], cls: type, reader: "Reader") -> list[tuple[str, Any]]:
    """Return attributes with their values, if none of them hides what the class is.

    Raises
    ------
    ValueError
        If one does.
    """
    for name in attributes:
        own = inspect.getattr_static(cls, name, None)
        if name.startswith("__") or callable(own) or hasattr(own, "__get__"):
            raise ValueError(f"{name!r} cannot be an attribute of a {cls.__name__}")
    return [(name, reader.decode(value)) for name, value in attributes.items()]
