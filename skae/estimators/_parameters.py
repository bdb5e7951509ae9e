"""A parameter of an estimator, declared once: its default, what it may be, and what depends on it.

An estimator is a dataclass whose fields are its parameters. The fields give the constructor and its
signature, the constraints that ``fit`` checks, the parameters that a built network is bound to, and the
documentation of those that base classes declare.
"""

import inspect
import os
import re
from dataclasses import MISSING, Field, dataclass, field
from numbers import Integral, Real
from textwrap import indent
from typing import Any, dataclass_transform

import torch

from skae._sklearn import Interval, StrOptions
from skae.training.optimisation import OPTIMIZERS, SCHEDULES
from skae.training.step import PRECISIONS
from skae.transformers import NoiseInjector

#: what numbers of estimators are most often allowed to be
COUNT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")

_SECTION = r"^{}\n-+\n(.*?)(?=\n\n[A-Z][\w ]*\n-+\n|\Z)"


def parameter(
    *, default: Any, allowed: Any, shapes: bool = False, of_fit: bool = True, kw_only: bool = True
) -> Any:
    """Declare a parameter, as the value of an annotated name in the class of an estimator.

    Parameters
    ----------
    default : object
        Its default, immutable.
    allowed : constraint or list of constraints
        What it may be, in the words of scikit-learn's ``_parameter_constraints``.
    shapes : bool
        Whether a network, once built, depends on it: a further fit may not change it.
    of_fit : bool
        Whether what a fit learns depends on it.
    kw_only : bool
        Whether a call has to name it.
    """
    constraints = allowed if isinstance(allowed, list) or allowed == "no_validation" else [allowed]
    metadata = {"allowed": constraints, "shapes": shapes, "of_fit": of_fit}
    return field(default=default, kw_only=kw_only, metadata=metadata)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(parameter,))
def estimator(cls: type) -> type:
    """Make an estimator of a class whose annotated names are its parameters.

    Names that begin or end with an underscore are none. A parameter of a base class gets another default
    by ``lr: Any = 0.5`` or ``lr = 0.5``, and keeps its constraints.

    Raises
    ------
    TypeError
        If a new parameter has no default, if a method or property takes the name of a parameter, or if
        defaults are given beside a constructor that is written by hand.
    """
    if "__dataclass_fields__" in vars(cls):
        return cls
    declared = _declared(cls)
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if maker is object or "__dataclass_fields__" in vars(maker):
        _make(cls, declared)
    elif declared:
        raise TypeError(
            f"{cls.__name__} sets {', '.join(declared)}, but {maker.__name__} writes its constructor by "
            "hand, where this has no effect: set the defaults in a constructor."
        )
    return cls


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(parameter,))
class Parameters:
    """Base of estimators: :func:`estimator` makes each subclass, decorated or not."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        estimator(cls)


def _inherited(cls: type) -> dict[str, Field]:
    """Return the parameters of the base classes, those of the nearest first."""
    found: dict[str, Field] = {}
    for base in cls.__mro__[1:]:
        for name, known in vars(base).get("__dataclass_fields__", {}).items():
            found.setdefault(name, known)
    introduced = [name for base in cls.__mro__[1:] for name in _introduced(base)]
    return {name: found[name] for name in introduced}


def _introduced(cls: type) -> list[str]:
    """Return the parameters that a class declares and none of its bases has."""
    known = {
        name for base in cls.__mro__[1:] for name in vars(base).get("__dataclass_fields__", ())
    }
    return [name for name in vars(cls).get("__dataclass_fields__", ()) if name not in known]


def _declared(cls: type) -> dict[str, Field]:
    """Return the parameters that a class declares, or gives another default."""
    inherited, own = _inherited(cls), _own_attributes(cls)
    annotated = [
        name
        for name, hint in inspect.get_annotations(cls).items()
        if name.strip("_") == name and "ClassVar" not in str(hint)
    ]
    for name in own:
        if name in inherited and name not in annotated:
            if hasattr(own[name], "__get__"):
                raise TypeError(
                    f"{name} is a parameter of {cls.__name__}: no method or property can have its name. "
                    f"If a function is meant to be its default, write {name}: Any = …"
                )
            annotated.append(name)
    return {
        name: _as_field(cls, name, own.get(name, MISSING), inherited.get(name))
        for name in annotated
    }


def _own_attributes(cls: type) -> dict[str, Any]:
    """Return the attributes of a class, and of plain classes mixed in before its nearest estimator."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is not cls and "__dataclass_fields__" in vars(base):
            break
        found = {**vars(base), **found}
    return found


def _as_field(cls: type, name: str, value: Any, known: Field | None) -> Field:
    if isinstance(value, Field):
        return value
    if known is not None:
        default = known.default if value is MISSING else value
        return field(default=default, kw_only=known.kw_only, metadata=known.metadata)
    if value is MISSING:
        raise TypeError(f"{name} of {cls.__name__} needs a default, as all parameters do.")
    return parameter(default=value, allowed="no_validation")


def _make(cls: type, declared: dict[str, Field]) -> None:
    """Give a class what follows from its parameters."""
    inherited = _inherited(cls)
    new = {name: known for name, known in declared.items() if name not in inherited}
    parameters = new | inherited | declared
    annotations, doc = inspect.get_annotations(cls), cls.__doc__
    for name, known in declared.items():
        setattr(cls, name, known)
    cls.__annotations__ = dict.fromkeys(declared, Any)  # the others are no fields
    dataclass(eq=False, repr=False, kw_only=True)(cls)
    cls.__annotations__ = {**dict.fromkeys(declared, Any), **annotations}
    for name in declared.keys() & vars(cls).keys():
        delattr(cls, name)  # an attribute of the class would stand in for one that an object lacks
    cls.__init__.__signature__ = _signature(parameters)
    cls._parameter_constraints = {
        name: known.metadata["allowed"] for name, known in parameters.items()
    } | vars(cls).get("_parameter_constraints", {})
    cls.__doc__ = doc and _documented(cls, doc, {n: f.default for n, f in parameters.items()})


def _signature(parameters: dict[str, Field]) -> inspect.Signature:
    """Return the signature of a constructor: parameters of the class before those of its bases."""
    kinds = inspect.Parameter
    ordered = sorted(parameters.items(), key=lambda item: item[1].kw_only)
    return inspect.Signature(
        [
            kinds("self", kinds.POSITIONAL_OR_KEYWORD),
            *(
                kinds(
                    name,
                    kinds.KEYWORD_ONLY if known.kw_only else kinds.POSITIONAL_OR_KEYWORD,
                    default=known.default,
                )
                for name, known in ordered
            ),
        ]
    )


def _documented(cls: type, doc: str, defaults: dict[str, Any]) -> str:
    """Fill in what base classes say of their parameters and attributes, with the class's defaults."""
    nearest = next((base for base in cls.__mro__[1:] if _introduced(base)), object)

    def entry(line: re.Match) -> str:
        value = defaults.get(line[1], line[3])
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        return f"{line[1]} : {line[2]}, default={shown}"

    for title in ("Parameters", "Attributes"):
        section = re.search(
            _SECTION.format(title), inspect.cleandoc(nearest.__doc__ or ""), re.S | re.M
        )
        text = (
            re.sub(r"^(\w+) : (.*), default=(.*)$", entry, section[1], flags=re.M)
            if section
            else ""
        )
        # behind a margin, which Python 3.13 takes off
        for line in re.finditer(rf"^( *)\{{shared_{title.lower()}\}}$", doc, re.M):
            doc = doc.replace(line[0], indent(text, line[1]))
    return doc


class SharedParameters(Parameters):
    """Parameters of the training of all networks, and attributes of a fit.

    Parameters
    ----------
    max_epochs : int, default=100
        Passes through the training data. More is better until the validation loss rises: watch
        ``loss_curve_``.

    batch_size : int, default=256
        Rows in a minibatch. Larger ones are faster by the row and take fewer, less noisy steps.

    lr : float, default=0.003
        Peak learning rate. Lower it when the loss jumps.

    optimizer : str or type, default="adamw"
        "adamw", "adam", "nadam", "radam", "rmsprop", "adagrad", "sgd", or a class of torch.optim.

    weight_decay : float, default=0.0
        Shrinks the weights a little at each step.

    lr_schedule : {"one_cycle", "cosine", "constant"}, default="one_cycle"
        How the learning rate moves: up then down to nearly 0, down only, or not at all.

    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, end when their loss no longer falls, and keep
        the weights that were best on them.

    validation_fraction : float, default=0.1
        Share of the rows held out with ``early_stopping=True``.

    n_iter_no_change : int, default=10
        Epochs without improvement after which early stopping ends the fit. With an annealed schedule
        only those of the annealing phase count.

    tol : float, default=0.0001
        Improvement of the validation loss that counts, relative to its value.

    noise : NoiseInjector or callable, default=None
        Corrupts each training minibatch afresh while the target stays clean, for denoising: a
        :class:`~skae.NoiseInjector`, whose parameters a search reaches as ``noise__sigma``, or a callable
        that gets a tensor of rows and a ``torch.Generator`` to draw from and returns a new tensor.

    device : str or torch.device, default="auto"
        "auto" takes CUDA, else Apple's MPS, else the CPU, when fit is called.

    precision : {"float32", "bf16-mixed"}, default="float32"
        "bf16-mixed" multiplies matrices in bfloat16 while training, faster where the processor or the
        GPU has instructions for it, with three significant digits: reconstructions finer than 1e-2 of
        a column's spread need "float32". What the fitted estimator computes is float32 in any case.

    compile : bool, default=False
        Compile the loss of a full minibatch and its gradients with ``torch.compile``: it takes seconds
        at first and pays on long fits. On CUDA they are replayed as graphs, so that small networks do
        not wait for launches. Dropout gains less: each mask splits what is compiled. Without a C++
        compiler a warning is given and training goes on uncompiled.

    checkpoint : str or path-like, default=None
        Folder in which the fit is saved, at most every 30 seconds, and at its end. The same call, with
        the same parameters and data, goes on from there: bit for bit on the CPU. Each fit has a
        subfolder of its own, so clones in a search do not meet. ``callbacks``, ``device`` and
        ``verbose`` do not make another fit, with ``lr_schedule="constant"`` neither does ``max_epochs``
        unless a warm-up or a second stage is planned by it: callbacks that change what is learnt need a
        folder of their own. Of callbacks only those with ``state_dict`` and ``load_state_dict`` are
        saved; one that ended a fit has ended it. A fit with ``random_state=None`` goes on with the seed
        it drew. Delete the folder to train afresh.

    callbacks : list, default=None
        Callbacks of skorch, used as they are; its LRScheduler needs ``lr_schedule="constant"``.
        scikit-learn's own are set with ``set_callbacks``.

    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.

    warm_start : bool, default=False
        Let ``fit`` go on from the weights of the fit before.

    random_state : int, RandomState instance or None, default=None
        An integer makes the fit reproducible. No global random state is used or changed.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The net that trained the module.

    module_ : torch.nn.Module
        The trained module.

    history_ : skorch.history.History
        One row for each epoch: losses, duration.

    loss_curve_ : list of float
        Training loss of each epoch.

    n_iter_ : int
        Number of epochs run.

    device_ : torch.device
        Where the module is.

    n_features_in_ : int
        Number of columns seen in fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X had string names.
    """

    max_epochs: Any = parameter(default=100, allowed=COUNT)
    batch_size: Any = parameter(default=256, allowed=COUNT)
    lr: Any = parameter(default=3e-3, allowed=POSITIVE)
    optimizer: Any = parameter(
        default="adamw", allowed=[StrOptions(set(OPTIMIZERS)), type], shapes=True
    )
    weight_decay: Any = parameter(default=0.0, allowed=NOT_NEGATIVE, shapes=True)
    lr_schedule: Any = parameter(default="one_cycle", allowed=StrOptions(set(SCHEDULES)))
    early_stopping: Any = parameter(default=False, allowed="boolean")
    validation_fraction: Any = parameter(
        default=0.1, allowed=Interval(Real, 0, 1, closed="neither")
    )
    n_iter_no_change: Any = parameter(default=10, allowed=COUNT)
    tol: Any = parameter(default=1e-4, allowed=NOT_NEGATIVE)
    noise: Any = parameter(default=None, allowed=[NoiseInjector, callable, None])
    device: Any = parameter(default="auto", allowed=[str, torch.device], of_fit=False)
    precision: Any = parameter(default="float32", allowed=StrOptions(set(PRECISIONS)))
    compile: Any = parameter(default=False, allowed="boolean")
    checkpoint: Any = parameter(default=None, allowed=[str, os.PathLike, None], of_fit=False)
    callbacks: Any = parameter(default=None, allowed=[list, None], of_fit=False)
    verbose: Any = parameter(default=0, allowed="verbose", of_fit=False)
    warm_start: Any = parameter(default=False, allowed="boolean", of_fit=False)
    # its seed is a matter of its own
    random_state: Any = parameter(default=None, allowed="random_state", of_fit=False)
