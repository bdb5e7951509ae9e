"""A parameter of an estimator or a transformer, declared once: its default, and what it may be.

Both are dataclasses whose fields are their parameters. The fields give the constructor and its
signature, the constraints that ``fit`` checks, the parameters that a built network is bound to, and the
documentation of those that base classes declare.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import MISSING, Field, dataclass, field
from functools import wraps
from numbers import Integral, Real
from textwrap import dedent, indent
from typing import Any, TypeVar, dataclass_transform

from skae._sklearn import Interval, validate_params

F = TypeVar("F", bound=Callable)

#: what numbers are most often allowed to be
COUNT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")

# Words that other libraries have for parameters of ours.
_FOREIGN = {
    "max_epochs": "epochs n_epochs num_epochs max_iter n_iter n_steps",
    "lr": "learning_rate learning_rate_init eta0",
    "lr_schedule": "scheduler lr_scheduler",
    "hidden_layer_sizes": "hidden_layers hidden_dim hidden_dims hidden_units hidden_sizes layers",
    "n_components": "latent_dim latent_size n_latent z_dim encoding_dim bottleneck",
    "n_iter_no_change": "patience",
    "random_state": "seed random_seed",
    "validation_fraction": "validation_split",
}

_SECTION = r"^{}\n-+\n(.*?)(?=\n\n[A-Z][\w ]*\n-+\n|\Z)"


# What is said of a parameter, behind a margin.
_ENTRY = r"^{0}{1} : .*\n(?:{0} .*\n| *\n)*"


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
    metadata = {"allowed": _constraints(allowed), "shapes": shapes, "of_fit": of_fit}
    return field(default=default, kw_only=kw_only, metadata=metadata)


def arguments(**allowed: Any) -> Callable[[F], F]:
    """Have the arguments of a function checked, given what each may be in the words of `parameter`."""
    constraints = {name: _constraints(one) for name, one in allowed.items()}
    return validate_params(constraints, prefer_skip_nested_validation=True)


def _constraints(allowed: Any) -> Any:
    return allowed if isinstance(allowed, list) or allowed == "no_validation" else [allowed]


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

    def set_params(self, **params: Any) -> Any:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Values by names; ``<component>__<parameter>`` is a parameter of a component.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter; it says what a word of another library is called here.
        """
        try:
            return super().set_params(**params)  # type: ignore[misc]
        except ValueError as error:
            known = self._get_param_names()  # type: ignore[attr-defined]
            if hint := _hint(self, (name.partition("__")[0] for name in params), known):
                raise ValueError(f"{error} {hint}") from None
            raise


def _inherited(cls: type) -> dict[str, Field]:
    """Return the parameters of the base classes, those of the nearest first."""
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        fields = vars(base).get("__dataclass_fields__", {})
        introduced = {name: known for name, known in fields.items() if name not in found}
        found = introduced | found | fields
    return found


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
    cls.__init__ = _with_hints(cls.__init__, parameters)
    cls.__init__.__signature__ = _signature(parameters)
    cls._parameter_constraints = {
        name: known.metadata["allowed"] for name, known in parameters.items()
    } | vars(cls).get("_parameter_constraints", {})
    cls.__doc__ = doc and _documented(cls, doc, {n: f.default for n, f in parameters.items()})


def _with_hints(constructor: Callable, known: Collection[str]) -> Callable:
    """Have a constructor say what a parameter is called here."""

    @wraps(constructor)
    def make(self, *args, **named):
        if (named.keys() - known) and (hint := _hint(self, named, known)):
            raise TypeError(hint)
        constructor(self, *args, **named)

    return make


def _hint(made: object, words: Iterable[str], known: Collection[str]) -> str:
    """Say what words that are no parameters stand for; nothing of words that resemble none."""
    hints, name = [], type(made).__name__
    for word in words:
        if word not in known:
            ours = [ours for ours, theirs in _FOREIGN.items() if word in theirs.split()]
            ours = [each for each in ours if each in known] or difflib.get_close_matches(
                word, known
            )
            hints += [f"{name} has no parameter {word!r}: use {ours[0]}."] if ours else []
    return " ".join(hints)


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
    """Fill in what base classes say of their parameters and attributes, with the class's defaults.

    What the class says of one of them itself stands in its place.
    """

    def entry(line: re.Match) -> str:
        value = defaults.get(line[1], line[3])
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        return f"{line[1]} : {line[2]}, default={shown}"

    for title in ("Parameters", "Attributes"):
        section = _section_of_bases(cls, title)
        # behind a margin, which Python 3.13 takes off
        for line in re.finditer(rf"^( *)\{{shared_{title.lower()}\}}$", doc, re.M):
            doc, section = _moved(doc, section, line[1])
            text = re.sub(r"^(\w+) : (.*), default=(.*)$", entry, section, flags=re.M)
            doc = doc.replace(line[0], indent(text, line[1]))
    return doc


def _moved(doc: str, section: str, margin: str) -> tuple[str, str]:
    """Move what a class says of parameters that its bases describe, too, to their places in a section."""
    for name in re.findall(r"^(\w+) : ", section, re.M):
        if own := re.search(_ENTRY.format(margin, name), doc, re.M):
            doc, said = doc.replace(own[0], ""), dedent(own[0]).replace("\\", r"\\")
            section = re.sub(_ENTRY.format("", name), said, section, flags=re.M)
    return doc, section


def _section_of_bases(cls: type, title: str) -> str:
    """Return a section of the documentation of the nearest base that has it."""
    docs = (base.__doc__ or "" for base in cls.__mro__[1:] if hasattr(base, "__dataclass_fields__"))
    sections = (
        re.search(_SECTION.format(title), inspect.cleandoc(doc), re.S | re.M) for doc in docs
    )
    return next((section[1] for section in sections if section), "")
