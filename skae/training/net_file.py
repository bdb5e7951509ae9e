"""A trained net as bytes, and back: what pickles, :func:`skae.save` and checkpoints share.

Modules become the names of their classes, their tensors, and plain attributes. Names are looked up among
torch's layers and skae's own, never imported, and no attribute may hide what a class defines: nothing
that was made by somebody else can run, at worst it describes a net that is wrong.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import torch
from skorch import NeuralNet
from skorch.history import History
from torch import nn

import skae.modules
from skae.modules.blocks import activation_names, make_activation
from skae.training.packing import from_bytes, to_bytes

Net = TypeVar("Net", bound=NeuralNet)

# Of torch the layers that skae builds with, beside the activations.
_LAYERS = (
    nn.BatchNorm1d, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Flatten, nn.GRU, nn.LSTM, nn.Linear,
    nn.ModuleList, nn.Sequential, nn.Unflatten,
)  # fmt: skip

# What torch keeps in a module beside what the module itself does; made anew on reading.
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_OF_EVERY_RNN = frozenset({"_flat_weights", "_flat_weight_refs"})

# Flags of an optimiser that depend on the device it runs on.
_OF_THE_DEVICE = ("fused", "foreach", "capturable")

_WITH_OPTIMIZER_STATE: ContextVar[bool] = ContextVar("with_optimizer_state", default=True)


@contextmanager
def optimizer_state_kept(kept: bool) -> Iterator[None]:
    """Keep, or leave out, the optimiser's moments of nets that this thread writes inside."""
    token = _WITH_OPTIMIZER_STATE.set(kept)
    try:
        yield
    finally:
        _WITH_OPTIMIZER_STATE.reset(token)


# -- nets ------------------------------------------------------------------------------------------


def net_to_bytes(net: NeuralNet) -> bytes:
    """Return all of a net: to predict with, and to be trained further exactly.

    Raises
    ------
    TypeError
        If something in it cannot be written: a module or an optimiser of the user's own, say.
    """
    if optimizers().get(net.optimizer.__name__) is not net.optimizer:
        raise TypeError(f"the optimizer is a {net.optimizer.__name__}, which is not torch's own")
    training = training_of(net)
    starts_afresh = net.optimizer_starts_afresh
    if not _WITH_OPTIMIZER_STATE.get():
        starts_afresh = starts_afresh or bool(net.optimizer_.state)
        training["optimizer"] = None
    numbers: dict[int, int] = {}  # of modules met so far: the criterion may be one of the module's
    parts = {
        "module": _take_apart(net.module_, "module", numbers),
        "criterion": _take_apart(net.criterion_, "criterion", numbers),
        "optimizer": net.optimizer.__name__,
        "weight_decay": getattr(net, "optimizer__weight_decay", None),
        "lr": net.lr,
        "weight_mean": net.weight_mean_,
        "training": training,
        "optimizer_starts_afresh": starts_afresh,
    }
    return to_bytes(parts)


def net_from_bytes(content: bytes, cls: type[Net]) -> Net:
    """Build the net again, on the CPU.

    Raises
    ------
    ValueError
        If the content is not what was written.
    """
    parts = from_bytes(content)
    made = _Made()
    net = cls(
        _put_together(parts["module"], made),
        _put_together(parts["criterion"], made),
        seed=int(parts["training"]["seed"]),
        device=torch.device("cpu"),
        optimizer=optimizers()[parts["optimizer"]],
        weight_decay=parts["weight_decay"],
        lr=parts["lr"],
    )
    net.history = History()
    load_training(net, parts["training"])
    net.weight_mean_ = parts["weight_mean"]
    net.optimizer_starts_afresh = bool(parts["optimizer_starts_afresh"])
    return net


def training_of(net: NeuralNet) -> dict[str, Any]:
    """Return what a further run depends on, beside the module: in net files and in checkpoints."""
    return {
        "seed": net.random_streams.seed,
        "optimizer": net.optimizer_.state_dict(),
        "history": list(net.history),
        "best_losses": net.best_losses_,
    }


def load_training(net: NeuralNet, training: dict[str, Any]) -> None:
    """Give a net what :func:`training_of` returned, but for the seed, which it is built with."""
    if training["optimizer"] is not None:
        _load_optimizer(net.optimizer_, training["optimizer"])
    net.history[:] = training["history"]
    net.best_losses_ = dict(training["best_losses"])


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser a state that was saved, but for what depends on the device."""
    groups = [
        saved | {flag: own[flag] for flag in _OF_THE_DEVICE if flag in own}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict(state | {"param_groups": groups})


# -- modules ---------------------------------------------------------------------------------------


class _Made:
    """Modules and parameters that were made of a file: what stands twice in it is one object."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.parameters: dict[int, nn.Parameter] = {}


def _take_apart(module: nn.Module, where: str, numbers: dict[int, int]) -> dict[str, Any]:
    """Return a module as plain values and tensors; ``where`` says in an error where it stands.

    One that was met before is its number among them.
    """
    if id(module) in numbers:
        return {"number": numbers[id(module)]}
    numbers[id(module)] = len(numbers)
    own, name = vars(module), _name_of(type(module))
    if module_classes().get(name) is not type(module):
        raise TypeError(f"{where} is a {type(module).__name__}, which is no module of skae's")
    if any(hooks for attribute, hooks in own.items() if attribute.endswith("_hooks")):
        raise TypeError(f"{where} is a module with hooks, which cannot be saved")
    left_out = _OF_EVERY_MODULE | getattr(type(module), "MADE_ANEW", frozenset())
    if isinstance(module, nn.RNNBase):
        left_out |= _OF_EVERY_RNN
    parameters = own["_parameters"]
    return {
        "class": name,
        "training": module.training,
        "parameters": dict(parameters),
        "fixed": [k for k, p in parameters.items() if p is not None and not p.requires_grad],
        "buffers": dict(own["_buffers"]),
        "not_in_state": sorted(own["_non_persistent_buffers_set"]),
        "modules": {
            k: None if inner is None else _take_apart(inner, f"{where}.{k}", numbers)
            for k, inner in own["_modules"].items()
        },
        "attributes": {k: v for k, v in own.items() if k not in left_out},
    }


def _put_together(entry: dict[str, Any], made: _Made) -> nn.Module:
    """Build a module; ``made`` holds those so far."""
    if "number" in entry:
        return made.modules[range(len(made.modules))[entry["number"]]]
    if entry["class"] not in module_classes():
        raise ValueError(f"it names {entry['class']!r}, which is no module of skae's")
    cls = module_classes()[entry["class"]]
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    made.modules.append(module)
    for name in (*entry["parameters"], *entry["buffers"], *entry["modules"], *entry["attributes"]):
        if name in _OF_EVERY_MODULE or hides_class_attribute(name, cls):
            raise ValueError(f"{name!r} cannot be an attribute of a {cls.__name__}")
    for name, value in entry["parameters"].items():
        if value is not None and id(value) not in made.parameters:
            fixed = name in entry["fixed"]
            made.parameters[id(value)] = nn.Parameter(value, requires_grad=not fixed)
        module.register_parameter(name, None if value is None else made.parameters[id(value)])
    for name, value in entry["buffers"].items():
        module.register_buffer(name, value, persistent=name not in entry["not_in_state"])
    for name, inner in entry["modules"].items():
        module.register_module(name, None if inner is None else _put_together(inner, made))
    vars(module).update(entry["attributes"])
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()
    module.training = bool(entry["training"])
    return module


def hides_class_attribute(name: Any, cls: type) -> bool:
    """Tell whether an attribute of this name would hide what a class defines for all of its objects."""
    return name.startswith("__") or any(name in vars(base) for base in cls.__mro__)


# -- what a file may name --------------------------------------------------------------------------


@cache
def module_classes() -> dict[str, type[nn.Module]]:
    """Return all modules that a net may be built of, by their names in files."""
    activations = [type(make_activation(name)) for name in activation_names()]
    rooms = pkgutil.walk_packages(skae.modules.__path__, "skae.modules.")
    files = [importlib.import_module(room.name) for room in rooms]
    own = [
        cls
        for file in files
        for _, cls in inspect.getmembers(file, inspect.isclass)
        if issubclass(cls, nn.Module) and cls.__module__ == file.__name__
    ]
    return by_name((*_LAYERS, *activations, *own))


def by_name(classes: tuple[type[nn.Module], ...]) -> dict[str, type[nn.Module]]:
    """Return classes by their names in files.

    Raises
    ------
    ValueError
        If two have the same one.
    """
    found: dict[str, type[nn.Module]] = {}
    for cls in classes:
        if found.setdefault(_name_of(cls), cls) is not cls:
            raise ValueError(f"two classes have the name {_name_of(cls)}")
    return found


def _name_of(cls: type) -> str:
    """Return the library's name and the class's own; where a module lives is left out, so it may move."""
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


@cache
def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return torch's own optimisers by their names."""
    classes = inspect.getmembers(torch.optim, inspect.isclass)
    return {name: cls for name, cls in classes if issubclass(cls, torch.optim.Optimizer)}
