"""Spectra in text files and .npy arrays: rows or columns, with or without names, ECSV, RRUFF."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skae.datasets._binary import map_npy
from skae.datasets._spectra_fits import Columns, from_columns
from skae.datasets._spectra_parts import (
    ERROR,
    FLAGS,
    FLUX,
    GRID,
    Reading,
    kind_of_errors,
    linear,
    spectra_of,
)  # fmt: skip
from skae.datasets._text import Table, read_table

# Two columns of at least so many rows, the first in order, are a grid and fluxes.
_LEAST_ROWS = 10


def read_npy(path: Path, reading: Reading) -> list[Bunch]:
    """Read the spectra of an .npy file."""
    array = map_npy(path)
    if array.ndim != 2:
        raise ValueError(f"its shape is {array.shape}, not (n_samples, n_bins)")
    return [_from_array(array, reading.names, reading)]


def read_text(path: Path, reading: Reading) -> list[Bunch]:
    """Read the spectra of a text file."""
    if _is_ecsv(path):
        return [_read_ecsv(path, reading)]
    import pandas as pd

    table = _table_of(path, reading)
    names, array = table.names or table.remark, table.values
    if table.names is None and names is not None and any("=" in name for name in names):
        names = None  # an entry of a header, "##STATUS=verified, by chemistry"
    if reading.names is not None:
        return [_from_array(array, reading.names, reading)]
    # pandas writes an index without a name; over it a line of numbers is the grid
    is_unnamed = np.isnan(array[0, 0]) if names is None else names[0] in ("", "index")
    body = array[1:] if names is None else array
    if is_unnamed and len(body) and np.array_equal(body[:, 0], np.arange(len(body))):
        names = [f"{x:.17g}" for x in array[0, 1:]] if names is None else names[1:]
        array = body[:, 1:]
        numbers = pd.to_numeric(names, errors="coerce")
        if reading.grid is None and reading.orient != "columns" and np.isfinite(numbers).all():
            return [spectra_of(array, numbers, mask=reading.mask)]
    return [_from_array(array, names, reading)]


def _table_of(path: Path, reading: Reading) -> Table:
    """Read a table; a title that names no columns is none where columns tell what they are."""
    try:
        return read_table(path, decimal=reading.decimal, named=reading.names is None)
    except ValueError:
        table = read_table(path, decimal=reading.decimal, named=False)
        if reading.orient is not None or _orient_of(table.values, None, reading) != (
            "columns",
            True,
        ):
            raise
        return table


def _is_ecsv(path: Path) -> bool:
    with open(path, "rb") as file:
        return re.match(rb"#\s*%ECSV", file.read(64)) is not None


def _read_ecsv(path: Path, reading: Reading) -> Bunch:
    """Read an enhanced CSV table, whose header has units and types, through astropy."""
    from astropy.table import Table as EnhancedTable

    table = EnhancedTable.read(path, format="ascii.ecsv")

    def read(name: str) -> np.ndarray:
        values = table[name]
        is_number = values.dtype.kind in "biuf"
        if not is_number:
            raise ValueError(f"its column {name!r} holds {values.dtype}, no numbers")
        gaps = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        numbers = np.asarray(values)
        return numbers if gaps is None else np.where(gaps, np.nan, numbers.astype(np.float64))

    def unit(name: str) -> str | None:
        return None if table[name].unit is None else str(table[name].unit)

    return from_columns(Columns(table.colnames, read, unit), reading)


def word_of(name: str) -> str:
    """Return the word that tells what a column is: "ivar" of "flux_ivar", "wave" of "Wave (nm)"."""
    match = re.match(r"[a-z_]*[a-z]", re.sub(r"[\s.-]+", "_", name.strip().lower()))
    whole = match.group() if match else ""
    if whole in (*GRID, *ERROR, *FLUX, *FLAGS):
        return whole
    first, last = whole.split("_")[0], whole.rsplit("_", 1)[-1]
    return last if last in (*ERROR, *FLAGS) and first not in GRID else first


def _unit_in(name: str) -> str | None:
    """Return the unit in the name of a column: "nm" of "Wavelength (nm)"."""
    match = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", name)
    return match.group(1).strip() if match else None


def _from_array(table: np.ndarray, names: Sequence[str] | None, reading: Reading) -> Bunch:
    """Spectra in rows or in columns, of which the first may be their grid."""
    if names is not None and len(names) != table.shape[1] and reading.names is not None:
        raise ValueError(f"names= has {len(names)} entries, the table {table.shape[1]} columns")
    orient, has_grid = reading.orient, reading.grid
    if orient is None:
        orient, has_grid = _orient_of(table, names, reading)
    if orient == "rows":
        _refuse_column(reading)
        if has_grid:
            return spectra_of(table[1:], table[0], mask=reading.mask)
        return spectra_of(table, mask=reading.mask)
    named = [""] * table.shape[1] if names is None else list(names)
    wavelengths, said = None, {}
    if has_grid or (has_grid is None and word_of(named[0]) in GRID):
        wavelengths = linear(word_of(named[0]), table[:, 0])
        said["wavelength_unit"] = _unit_in(named[0])
        named, table = named[1:], table[:, 1:]
    return _from_columns(table, named, wavelengths, reading, said)


def _orient_of(
    table: np.ndarray, names: Sequence[str] | None, reading: Reading
) -> tuple[str, bool | None]:
    """Find out how a table lies, where its names, or two columns of which one is a grid, tell."""
    if reading.names is not None or (names is not None and word_of(names[0]) in GRID):
        return "columns", reading.grid
    n_rows, n_columns = table.shape
    steps = np.diff(table[:, 0])
    is_ordered = (steps > 0).all() or (steps < 0).all()
    if reading.grid is False or n_rows < _LEAST_ROWS or not (2 <= n_columns <= 4 and is_ordered):
        return "rows", reading.grid
    if n_columns == 2 or (names is not None and word_of(names[1]) in FLUX):
        return "columns", True
    raise ValueError(
        f"it has {n_rows} rows of {n_columns} numbers, the first in order, and no names that tell: say "
        "names=['wavelength', 'flux', 'error'], or what else columns hold, or orient='columns' for "
        "spectra in columns and orient='rows' for spectra in rows"
    )


def _from_columns(
    table: np.ndarray, names: list[str], wavelengths: Any, reading: Reading, said: dict[str, Any]
) -> Bunch:
    """Spectra in columns, which may have columns of errors and of flags beside them."""
    fluxes, errors, flags = _roles(names, reading.column)
    unused = [f"column {names[j]!r}" for j in range(len(names)) if j not in fluxes + errors + flags]
    if errors and len(errors) != len(fluxes):
        raise ValueError(
            f"it has {len(errors)} columns of errors for {len(fluxes)} spectra: {names}; name the fluxes "
            "with column="
        )
    kinds = {kind_of_errors(word_of(names[j])) for j in errors} or {"error"}
    if len(kinds) > 1:
        raise ValueError(f"its columns of errors are of different kinds: {sorted(kinds)}")
    units = {_unit_in(names[j]) for j in fluxes}
    return spectra_of(
        table.T[fluxes], wavelengths, table.T[errors] if errors else None,
        np.nan_to_num(table.T[flags]) if len(flags) == len(fluxes) else None,
        kind=kinds.pop(), mask=reading.mask, unused=unused,
        unit=units.pop() if len(units) == 1 else None, **said,
    )  # fmt: skip


def _roles(names: list[str], column: str | None) -> tuple[list[int], list[int], list[int]]:
    """Return which columns are fluxes, errors and flags."""
    words = [word_of(name) for name in names]
    fluxes = [j for j, word in enumerate(words) if word not in (*ERROR, *FLAGS)]
    errors = [j for j, word in enumerate(words) if word in ERROR]
    flags = [j for j, word in enumerate(words) if word in FLAGS]
    named = [j for j in fluxes if words[j] in FLUX]
    if column is not None:
        fluxes = [j for j, name in enumerate(names) if name.lower() == column.lower()]
        if not fluxes:
            raise ValueError(f"it has no column {column!r}, only {names}; set column=")
    elif len(named) == 1:
        fluxes = named
    if len(fluxes) > 1:
        return fluxes, errors, flags
    # errors are of the column "flux" where there is one, and not of a model beside it
    is_main = not named or fluxes[0] in named
    return fluxes, errors[: int(is_main)], flags[:1]


def _refuse_column(reading: Reading) -> None:
    if reading.column is not None or reading.names is not None:
        raise ValueError("column= and names= are of spectra in columns: say orient='columns'")
