"""What a file may name: the classes of a table and no others. A name is looked up, never imported."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import nn

import skae.modules
from skae._saving.kinds import Kind, ModuleKind
from skae.modules.blocks import activation_names, make_activation

# Of torch the layers that skae builds with, beside the activations.
_LAYERS = (
    nn.BatchNorm1d, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Flatten, nn.GRU, nn.LSTM, nn.Linear,
    nn.ModuleList, nn.Sequential, nn.Unflatten,
)  # fmt: skip

# Types that are parameters' values: a dtype, say.
_NUMBERS = {np.dtype(code).type for code in "?bBhHiIlLqQefdFD"}
_ABSTRACT_NUMBERS = (np.number, np.integer, np.inexact, np.floating, np.complexfloating)


class ClassTable:
    """Classes by the names that they have in files, and how their objects are taken apart.

    A name is the library's and the class's own. Where in the library it lives is left out, so it may
    move. Classes without a kind may be named, but no object of theirs may be in a file.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._names: dict[type, str] = {}
        self._kinds: dict[type, Kind] = {}

    def add(self, library: str, classes: Iterable[type], kind: Kind | None = None) -> "ClassTable":
        """Add classes of a library, all of one kind."""
        for cls in classes:
            name = f"{library}.{cls.__name__}"
            if self._classes.setdefault(name, cls) is not cls:
                raise ValueError(f"two classes have the name {name}")
            self._names[cls] = name
            if kind is not None:
                self._kinds[cls] = kind
        return self

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._classes)

    def name_of(self, cls: type) -> str | None:
        """Return the name of a class, None for one that is not in the table."""
        return self._names.get(cls)

    def kind_of(self, cls: type) -> Kind | None:
        """Return how objects of a class are taken apart, None where they are not."""
        return self._kinds.get(cls)

    def __getitem__(self, name: str) -> type:
        """Return the class of a name.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not isinstance(name, str) or name not in self._classes:
            raise ValueError(f"it names {name!r}, which skae does not load")
        return self._classes[name]


def table_of_networks() -> ClassTable:
    """Return a table of all that networks are built of, and of torch's optimisers."""
    kind = ModuleKind()
    activations = (type(make_activation(name)) for name in activation_names())
    return (
        ClassTable()
        .add("torch.nn", {*_LAYERS, *activations}, kind)
        .add("skae", _modules_of(skae.modules), kind)
        .add("torch.optim", optimizers())
        .add("builtins", (bool, float, int, object, str))
        .add("numpy", {*_NUMBERS, *_ABSTRACT_NUMBERS})
    )


@cache
def optimizers() -> frozenset[type[torch.optim.Optimizer]]:
    """Return torch's own optimisers."""
    return frozenset(
        thing
        for thing in vars(torch.optim).values()
        if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer)
    )


@cache
def _modules_of(package: ModuleType) -> list[type[nn.Module]]:
    """Return the modules that a package of skae defines, in whichever of its files."""
    files = [
        importlib.import_module(file.name)
        for file in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [
        thing
        for file in files
        for thing in vars(file).values()
        if isinstance(thing, type)
        and issubclass(thing, nn.Module)
        and thing.__module__ == file.__name__
    ]
