"""Values as whole numbers, one for each cell of twice the bound, and back: each value is checked.

A relative bound makes cells of log|x|, an absolute one of x, and whole numbers are their own. What does
not come back within its bound by way of a whole number is an exception, and kept as it is.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skae.physics.column_names import component_of

#: whole numbers up to here, so that doubles and differences hold them
LARGEST = 2**52

# Share of a cell that is given away, so that rounding in exp, or in a check in X's own precision, is
# within the bound.
_SPARE = 2.0**-10

_ANGLES = ("eta", "phi")  # and what is like them; all other components have a unit

KINDS = ("exact", "absolute", "relative")
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """How a column becomes whole numbers.

    Attributes
    ----------
    dtype : str
        Of its values.
    kind : {"exact", "absolute", "relative"}
        What the bound is.
    bound : float
        0 for "exact".
    step : float
        Width of a cell, of log|x| for "relative"; 1 for "exact".
    offset : float
        Where in a cell the value lies that comes back.
    """

    dtype: str
    kind: str
    bound: float
    step: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        numbers = self.bound, self.step, self.offset
        if self.dtype not in DTYPES or self.kind not in KINDS:
            raise ValueError(f"a column is {self.kind!r} of {self.dtype!r}")
        if not all(isinstance(x, float) and math.isfinite(x) for x in numbers) or self.step <= 0.0:
            raise ValueError(f"a column has the numbers {numbers}")


class Cells(NamedTuple):
    """A column, or a part of it, as whole numbers."""

    numbers: np.ndarray  # (n,), int64; 0 for exceptions
    is_negative: np.ndarray  # (n,), of a relative column, whose sign is apart
    is_exception: np.ndarray  # (n,)


def make_column(values: np.ndarray, kind: str, bound: float) -> Column:
    """Return how the values of a column, all of them, become whole numbers."""
    dtype = str(values.dtype)
    if kind == "exact":
        return Column(dtype, kind, 0.0)
    rounding = float(np.finfo(dtype).eps) / 2.0
    if kind == "relative":
        room = bound - rounding if bound > 2.0 * rounding else bound
        width = (math.log1p(room) - math.log1p(-room)) * (1.0 - _SPARE)
        return Column(dtype, kind, bound, width, math.log1p(room) - width / 2.0)
    size = np.abs(values[np.isfinite(values)].astype(np.float64))
    lost = rounding * float(np.quantile(size, 0.99)) if len(size) else 0.0
    room = bound - lost if bound > 2.0 * lost else bound
    return Column(dtype, kind, bound, max(2.0 * room * (1.0 - _SPARE), 5e-324))


def are_whole(values: np.ndarray) -> bool:
    """Tell whether all finite values are whole numbers, of which there is one at least."""
    finite = values[np.isfinite(values)]
    return bool(len(finite)) and bool((finite == np.rint(finite)).all())


def to_cells(column: Column, values: np.ndarray) -> Cells:
    """Return values as whole numbers; what :func:`from_cells` does not bring back is an exception."""
    if np.issubdtype(values.dtype, np.floating):
        scaled = in_steps(column, values.astype(np.float64))
        is_usable = np.abs(scaled) <= LARGEST  # not so for NaN
        numbers = np.rint(np.where(is_usable, scaled, 0.0)).astype(np.int64)
    else:
        numbers = values.astype(np.int64)
        is_usable = (np.abs(numbers) <= LARGEST) & (numbers >= -LARGEST)
        is_usable &= numbers.astype(values.dtype) == values
    is_negative = (values < 0) & (column.kind == "relative")
    back = from_cells(column, numbers, is_negative)
    is_exception = ~(is_usable & are_within(column, values, back))
    return Cells(np.where(is_exception, 0, numbers), is_negative, is_exception)


def from_cells(column: Column, numbers: np.ndarray, is_negative: np.ndarray) -> np.ndarray:
    """Return the values of whole numbers, in the dtype of the column."""
    if column.kind == "exact":
        return numbers.astype(column.dtype)
    values = numbers * column.step
    if column.kind == "relative":
        values = np.exp(values + column.offset)
        values = np.where(is_negative, -values, values)
    return values.astype(column.dtype)


def in_steps(column: Column, values: np.ndarray) -> np.ndarray:
    """Return float64 values in the unit of whole numbers; NaN and ±inf where there is none."""
    if column.kind == "exact":
        return values
    if column.kind == "relative":
        return np.log(np.abs(values)) / column.step
    return values / column.step


def are_within(column: Column, values: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Tell which values have come back within the bound."""
    if column.kind == "exact":
        is_same_zero = np.signbit(values) == np.signbit(back) if values.dtype.kind == "f" else True
        return (values == back) & is_same_zero
    wide, wide_back = values.astype(np.float64), back.astype(np.float64)
    allowed = column.bound * (np.abs(wide) if column.kind == "relative" else 1.0)
    is_finite = np.isfinite(wide) & np.isfinite(wide_back)
    is_near = (np.abs(wide_back - wide) <= allowed) & is_finite
    return is_near & (wide != 0.0) if column.kind == "relative" else is_near


# -- what bound a column has -----------------------------------------------------------------------


def choose_bounds(
    names: list[Any],
    columns: list[np.ndarray],
    tolerance: Any = None,
    relative: Any = None,
    absolute: Any = None,
    angles: Collection[Any] = (),
) -> list[tuple[str, float]]:
    """Return kind and bound of each column; see :func:`skae.compress`.

    Parameters
    ----------
    angles : collection of str or int
        Names of columns whose tolerance is absolute.

    Raises
    ------
    ValueError
        If a column has no bound, or two, or a bound is none.
    """
    given = {"tolerance": tolerance, "relative": relative, "absolute": absolute}
    given = {argument: bounds for argument, bounds in given.items() if bounds is not None}
    if not given:
        raise ValueError(
            "compress needs a bound: tolerance=1e-3, say, relative for energies and absolute for angles; "
            "or relative={'pt': 1e-3}, absolute={'eta': 1e-3}."
        )
    named: dict[int, tuple[str, Any]] = {}
    for argument, bounds in given.items():
        for key, bound in bounds.items() if isinstance(bounds, Mapping) else ():
            place = _place(key, names, argument)
            if place in named:
                raise ValueError(
                    f"column {key!r} has two bounds, {named[place][0]} and {argument}."
                )
            named[place] = argument, bound
    general = [(a, bounds) for a, bounds in given.items() if not isinstance(bounds, Mapping)]
    if len(general) > 1:
        (first, number), (second, other) = general[:2]
        raise ValueError(
            f"{first}={number} and {second}={other} are both for all columns; say which columns one of "
            f"them is for: {second}={{{names[-1]!r}: {other}}}."
        )
    for argument, bound in general:
        _check(bound, argument, "all columns")
    return [
        _bound_of(name, values, named.get(place), general, name in angles)
        for place, (name, values) in enumerate(zip(names, columns, strict=True))
    ]


def _bound_of(
    name: Any,
    values: np.ndarray,
    named: tuple[str, Any] | None,
    general: list[tuple[str, Any]],
    is_angle: bool,
) -> tuple[str, float]:
    is_float = values.dtype.kind == "f"
    if named is None and (not is_float or are_whole(values)):
        return "exact", 0.0
    if named is None and not general:
        raise ValueError(
            f"column {name!r} has no bound; name it in tolerance, relative or absolute, or give one of "
            "them as a number, for all columns that are not named."
        )
    argument, bound = named or general[0]
    _check(bound, argument, name)
    bound = float(bound)
    if not is_float and bound > 0.0:
        raise ValueError(
            f"column {name!r} is of {values.dtype}, and comes back exactly; to round it, pass it on as "
            "floats."
        )
    if bound == 0.0:
        return "exact", 0.0
    if argument != "tolerance":
        return argument, bound
    if is_angle or not _is_relative(name, values):
        return "absolute", bound
    if bound >= 1.0:
        raise ValueError(
            f"tolerance={bound:g} is relative for column {name!r}, and must be below 1 there; in the "
            f"column's unit it is absolute={{{name!r}: {bound:g}}}."
        )
    return "relative", bound


def _is_relative(name: Any, values: np.ndarray) -> bool:
    """Tell whether a tolerance of a column is relative: by its name, or by its signs."""
    component = component_of(name, alone=True) if isinstance(name, str) else None
    if component is not None:
        return component not in _ANGLES
    finite = values[np.isfinite(values)]  # zeros come back as they are
    return bool(finite.any()) and bool((finite >= 0).all() or (finite <= 0).all())


def _check(bound: Any, argument: str, name: Any) -> None:
    try:
        number = float(bound)
    except (TypeError, ValueError):
        number = math.nan
    most = 1.0 if argument == "relative" else math.inf
    if isinstance(bound, str) or not 0.0 <= number < most:
        upper = "below 1" if argument == "relative" else "and finite"
        raise ValueError(f"{argument}={bound!r} of {name} must be a number of 0 or more, {upper}.")


def _place(key: Any, names: list[Any], argument: str) -> int:
    if key in names:
        return names.index(key)
    raise ValueError(f"{argument} names a column {key!r}, which X has not; it has {names[:20]}.")
