"""Jets in tables of files: the four columns of their momenta, and further ones that are asked for."""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skae.datasets._binary import flat_branches, real_numbers
from skae.datasets._table_files import Table, tables_of
from skae.physics.column_names import (
    component_of,
    find_components,
    find_momentum,
    shown,
    unit_of,
)
from skae.physics.kinematics import COORDINATES

# Objects that have momenta, and are no jets that anybody means without a word.
_OTHERS = re.compile(r"(.*/)?(muon|mu_|electron|el_|photon|tau|met|gen|track|trk|truth)", re.I)


class Jets(NamedTuple):
    """Columns that were asked for, as the file has them.

    Attributes
    ----------
    momenta : dict of ndarray by str
        Components of the four-momenta, each (n,).
    features : list of ndarray
        Further columns, each (n,).
    feature_names : list of str
        Their names.
    event : ndarray of int of shape (n,)
        Which event a jet is of; which row, where the file has a row for each jet.
    """

    momenta: dict[str, np.ndarray]
    features: list[np.ndarray]
    feature_names: list[str]
    event: np.ndarray


class Asked(NamedTuple):
    """What is asked of a file: four columns, further ones, and the unit of the former."""

    columns: list[str] | Mapping[str, str | int] | None
    features: list[str | int]
    unit: str

    def places_in(self, table: Table) -> dict[str, int] | None:
        """Return where the components stand; None where a table's names say nothing of them."""
        names = table.names
        if names is None and not isinstance(self.columns, Mapping):
            return None
        try:
            found = self._found_in(table)
            stated = unit_of([names[j] for j in found.values()]) if names and found else None
        except ValueError as error:
            raise ValueError(f"{error}; set columns=") from None
        if stated not in (None, self.unit):
            raise ValueError(f"its names say {stated}, not {self.unit}; set unit=")
        return found

    def _found_in(self, table: Table) -> dict[str, int] | None:
        if isinstance(self.columns, Mapping):
            return {c: self._place(name, table) for c, name in self.columns.items()}
        names = table.names or []
        if self.columns is None:
            found = find_momentum(names)
            _refuse_other_objects(names, found or {})
            return found
        places = find_components(self.columns, _tails_known(names, self.columns))
        return None if places is None else dict(zip(self._components(), places, strict=True))

    def take(self, table: Table, places: dict[str, int] | None) -> Jets:
        """Read what is asked for; the first four columns where names say nothing of the components."""
        if places is None:
            if table.names is not None and table.is_sure:
                raise ValueError(
                    f"it has no column {list(self._names())}, only {shown(table.names, self._names())}; "
                    "set columns="
                )
            if table.width < len(self._components()):
                raise ValueError(f"it has {table.width} columns, not four or more")
            places = dict(zip(self._components(), range(4), strict=True))
        try:
            further = [self._place(name, table) for name in self.features]
        except ValueError as error:
            raise ValueError(f"{error}; set features=") from None
        for parameter, given in (("columns", list(places.values())), ("features", further)):
            if len(set(given)) < len(given):
                raise ValueError(f"{parameter}= names a column twice; each is one")
        wanted = [*places.values(), *further]
        columns, names = table.read(wanted), [str(j) for j in wanted]
        if table.names is not None and table.is_sure:
            names = [table.names[j] for j in wanted]
        event = np.arange(len(columns[0]))
        if not all(isinstance(column, np.ndarray) for column in columns):
            columns, event = flat_branches(columns, names, len(places))
        for name, column in zip(names, columns, strict=True):
            if column.ndim != 1:
                raise ValueError(
                    f"its column {name!r} has {column.shape[1:]} numbers in a row; save each as a column"
                )
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            raise ValueError(f"its columns {names} have other numbers of entries: {lengths}")
        columns = [_numbers(name, column) for name, column in zip(names, columns, strict=True)]
        return Jets(dict(zip(places, columns, strict=False)), columns[4:], names[4:], event)

    def _components(self) -> Sequence[str]:
        """Tell what the four columns are: what their names say, or E, pT, η and φ."""
        if self.columns is None:
            return COORDINATES[0]
        if isinstance(self.columns, Mapping):
            return list(self.columns)
        said = [component_of(str(name)) for name in self.columns]
        for components in COORDINATES:
            if sorted(components) == sorted(map(str, said)):
                return [str(component) for component in said]
        for component, meant, name in zip(said, COORDINATES[0], self.columns, strict=True):
            if component not in (None, meant):
                raise ValueError(
                    f"{name!r} does not name {meant}, the column that stands there in columns="
                    f"{self.columns}; say which is which: columns={{'m': …, 'pt': …, 'eta': …, 'phi': …}}"
                )
        return COORDINATES[0]

    def _names(self) -> Sequence[str]:
        return COORDINATES[0] if self.columns is None else [str(name) for name in self.columns]

    def _place(self, name: str | int, table: Table) -> int:
        if not isinstance(name, str):
            if not isinstance(name, Integral) or isinstance(name, bool):
                raise ValueError(f"{name!r} is no name and no number of a column")
            if not 0 <= name < table.width:
                raise ValueError(f"there is no column {name}, of {table.width} from 0 on")
            return int(name)
        if table.names is None:
            raise ValueError(
                f"its columns have no names; give their numbers, from 0 on, in place of {name!r}"
            )
        names = _tails_known(table.names, [name])
        if names.count(name) != 1:
            number = "no" if name not in names else "more than one"
            raise ValueError(f"it has {number} column {name!r}, only {shown(table.names, [name])}")
        return names.index(name)


def _refuse_other_objects(names: Sequence[str], found: Mapping[str, int]) -> None:
    """Refuse a momentum that is that of a muon, say, by its names."""
    others = [names[place] for place in found.values() if _OTHERS.match(names[place])]
    if others:
        raise ValueError(f"it has no jets by their names, only {others}")


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    try:
        return real_numbers(column).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"its column {name!r} holds no real numbers: {error}") from None


def _tails_known(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return names, those of branches inside others by their last part where that is wanted."""
    return [
        tail if name not in wanted and (tail := name.rpartition("/")[2]) in wanted else name
        for name in names
    ]


def read_jets(path: Path, kind: str, asked: Asked, key: str | None, decimal: str | None) -> Jets:
    """Read what is asked for from a file of a kind in ``KINDS``."""
    if kind == ".root" and key is not None:
        key = key.partition(";")[0]  # without the cycle
    with tables_of(path, kind, key, decimal) as tables:
        if key is not None and key in tables:
            tables = {key: tables[key]}
        elif key is not None and kind not in (".h5", ".hdf5"):  # whose groups have several tables
            raise ValueError(f"key={key!r} is none of its entries {shown(tables, [key])}")
        if len(tables) == 1:
            (table,) = tables.values()
            return asked.take(table, asked.places_in(table))
        return asked.take(*_with_jets(tables, asked))


def _with_jets(tables: dict[str, Table], asked: Asked) -> tuple[Table, dict[str, int] | None]:
    """Return the only table that has the columns, first of those that name them."""
    named, unnamed = {}, {}
    for name, table in tables.items():
        try:
            places = asked.places_in(table)
        except ValueError:
            continue
        if places is not None:
            named[name] = places
        elif table.names is None and table.width >= 4:
            unnamed[name] = None
    found: dict[str, Any] = named or unnamed
    if len(found) == 1:
        ((name, places),) = found.items()
        return tables[name], places
    raise ValueError(
        f"jets may be in {list(found)}; choose with key="
        if found
        else f"key=None does not choose one of its entries {shown(tables)}, and none names jets"
    )
