"""Tables in files of many kinds: what their columns are called, and what reads some of them.

No numbers are read until they are asked for, but those of text.
"""

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skae.datasets._binary import check_size, entry_of, map_npy, npz_array
from skae.datasets._text import read_table
from skae.physics.column_names import shown

# Entries of an HDF5 file that are looked at, and groups in groups.
_MOST_ENTRIES, _DEEPEST = 1000, 8

# What a pickled list of strings is made of, beside these.
_OF_LISTS = {"PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "STOP"}
_OF_LISTS |= {"PUT", "BINPUT", "MEMOIZE"}


class Table(NamedTuple):
    """A table in a file: names of its columns, and what reads some of them.

    Attributes
    ----------
    names : list of str or None
        One for each column.
    width : int
        How many there are.
    read : callable
        Returns columns, NumPy's or awkward's, of a list of places.
    is_sure : bool
        Whether ``names`` are those of columns, and no comment that looks so.
    """

    names: list[str] | None
    width: int
    read: Callable[[list[int]], list[Any]]
    is_sure: bool = True


def tables_of(
    path: Path, kind: str, key: str | None = None, decimal: str | None = None
) -> AbstractContextManager[dict[str, Table]]:
    """Return the tables of a file by their names, while it is open.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        One of ``KINDS``.
    key : str, default=None
        Of an HDF5 or a ROOT file, where to look; there may be others beside.
    decimal : {".", ","}, default=None
        The decimal sign of text; None finds it.
    """
    return _READERS[kind](path, key, decimal)


def _table_of(array: np.ndarray) -> Table:
    if array.dtype.names:
        names = list(array.dtype.names)
        return Table(names, len(names), lambda places: [array[names[j]] for j in places])
    if array.ndim != 2 or array.shape[1] < 4:
        raise ValueError(f"its shape is {array.shape}, not (n, 4) or wider")
    return Table(None, array.shape[1], lambda places: [array[:, j] for j in places])


@contextmanager
def _npy(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    yield {path.stem: _table_of(map_npy(path))}


@contextmanager
def _npz(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    """Arrays by name: tables each, or columns of one if they have one dimension."""
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers = {name: _npz_header(archive, name) for name in infos}
        columns = [
            n for n, (shape, dtype) in headers.items() if len(shape) == 1 and not dtype.names
        ]

        def read(name: str) -> np.ndarray:
            with archive.open(infos[name]) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        tables = {}
        for name, (shape, dtype) in headers.items():
            names = list(dtype.names) if dtype.names else None
            if names or len(shape) == 2:
                width = len(names) if names else shape[1]
                tables[name] = Table(
                    names, width, lambda places, name=name: _table_of(read(name)).read(places)
                )
        if columns:
            tables[path.name] = Table(
                columns, len(columns), lambda places: [read(columns[j]) for j in places]
            )
        yield tables


def _npz_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple, np.dtype]:
    with npz_array(archive, name) as (_, shape, dtype):
        return shape, dtype


@contextmanager
def _text(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    """A table whose names stand in the line before the numbers, plain or behind a #, or nowhere."""
    table = read_table(path, decimal=decimal, least=4)
    values, names = table.values, table.names if table.names is not None else table.remark
    if names is None and np.array_equal(values[0], np.arange(values.shape[1])):
        values = values[1:]  # pandas' names of columns without
    read = (
        _table_of(values).read if names is None else lambda places: [values[:, j] for j in places]
    )
    yield {path.stem: Table(names, values.shape[1], read, is_sure=table.names is not None)}


@contextmanager
def _root(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    import uproot

    with uproot.open(path) as file:
        found = file.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"])
        tables = {}
        for name in [key] if key in found else dict.fromkeys(found):
            tree = file[name]
            check_size(8 * tree.num_entries, path.stat().st_size)
            names = tree.keys()
            names = [
                name for name in names if name[1:] not in names
            ]  # without counters, nJet of Jet
            tables[name] = Table(
                names,
                len(names),
                lambda places, tree=tree, names=names: [tree[names[j]].array() for j in places],
            )
        yield tables


@contextmanager
def _parquet(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    """Columns, plain or with a list for each event, of numbers or of records."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        check_size(8 * file.metadata.num_rows, path.stat().st_size)
        parts = [part for field in file.schema_arrow for part in _parquet_parts(field)]

        def read(places: list[int]) -> list[Any]:
            table = file.read(columns=[parts[j][0] for j in places])
            return [_from_arrow(table[parts[j][0]], parts[j][1]) for j in places]

        names = [".".join(part) if part[1] else part[0] for part in parts]
        yield {path.stem: Table(names, len(names), read)}


def _parquet_parts(field: Any) -> list[tuple[str, str]]:
    """Return the name of a column, with those of the fields of its records."""
    kind = field.type
    while hasattr(kind, "value_type"):  # of lists
        kind = kind.value_type
    fields = [kind.field(j).name for j in range(kind.num_fields)]
    return [(field.name, name) for name in fields] if fields else [(field.name, "")]


def _from_arrow(column: Any, part: str) -> Any:
    if not column.type.num_fields:
        return column.to_numpy()
    import awkward

    array = awkward.from_arrow(column)
    return array[part] if part else array


@contextmanager
def _hdf5(path: Path, key: str | None, decimal: str | None) -> Iterator[dict[str, Table]]:
    import h5py

    with h5py.File(path) as file:
        tables: dict[str, Table] = {}
        if key is not None:
            _collect(tables, key, entry_of(file, key), entry_of, 0)
        else:
            _collect(tables, "/", file, _entry_or_none, 0)
            if not tables:
                for name in file:
                    entry_of(file, name)  # may say why not
                raise ValueError(f"it has no table of numbers, only {shown(file)}")
        yield tables


def _entry_or_none(group: Any, name: str) -> Any:
    try:
        return entry_of(group, name)
    except ValueError:
        return None


def _collect(tables: dict[str, Table], path: str, node: Any, entry: Callable, depth: int) -> None:
    """Find the tables in an entry of an HDF5 file, and below it."""
    if depth > _DEEPEST or len(tables) > _MOST_ENTRIES:
        raise ValueError("it has too many entries to look for jets in all of them; set key=")
    if not hasattr(node, "items"):
        names = node.dtype.names
        if names and node.ndim == 1:
            tables[path] = _records(node, list(names))
        elif node.ndim == 2 and not names:
            tables[path] = Table(
                None, node.shape[1], lambda places: _table_of(node[...]).read(places)
            )
        elif depth == 0:
            raise ValueError(f"its shape is {node.shape}, not (n, 4) or wider")
        return
    if (frame := _pandas_frame(node)) is not None:
        tables[path] = frame
        return
    columns = []
    for name in node:
        inside = entry(node, name)
        if inside is None:
            continue
        if not hasattr(inside, "items") and inside.ndim == 1 and not inside.dtype.names:
            columns.append(name)
        else:
            _collect(tables, f"{path.rstrip('/')}/{name}".lstrip("/"), inside, entry, depth + 1)
    if columns:
        tables[path] = Table(
            columns, len(columns), lambda places: [node[columns[j]][...] for j in places]
        )


def _records(node: Any, names: list[str]) -> Table:
    def read(places: list[int]) -> list[np.ndarray]:
        fields = list(dict.fromkeys(names[j] for j in places))
        rows = node.fields(fields)[...]
        return [rows[names[j]] for j in places]

    return Table(names, len(names), read)


def _pandas_frame(group: Any) -> Table | None:
    """Return what pandas' ``to_hdf`` wrote, in either of its formats."""
    kind = group.attrs.get("pandas_type", b"")
    columns: list[tuple[str, Callable[[], np.ndarray]]] = []
    if kind == b"frame":
        n_blocks = int(group.attrs.get("nblocks", 0))
        for block in range(min(n_blocks, _MOST_ENTRIES)):
            items = entry_of(group, f"block{block}_items")
            values = entry_of(group, f"block{block}_values")
            by_rows = bool(values.attrs.get("transposed", False))
            for k, name in enumerate(np.atleast_1d(items[...])):
                name = name.decode() if isinstance(name, bytes) else str(name)
                columns.append((name, lambda v=values, k=k, r=by_rows: v[:, k] if r else v[k]))
    elif kind == b"frame_table":
        table = entry_of(group, "table")
        for field in table.dtype.names or ():
            pickled = b"]." if field == "index" else table.attrs.get(f"{field}_kind", b"].")
            for k, name in enumerate(_strings_in(pickled)):
                columns.append(
                    (name, lambda f=field, k=k: table.fields(f)[...].reshape(len(table), -1)[:, k])
                )
    else:
        return None
    return Table(
        [name for name, _ in columns],
        len(columns),
        lambda places: [columns[j][1]() for j in places],
    )


def _strings_in(pickled: bytes) -> list[str]:
    """Return the strings of a pickled list of them, without unpickling what may be anything."""
    strings = []
    for code, value, _ in pickletools.genops(bytes(pickled)):
        if "UNICODE" in code.name:
            strings.append(value)
        elif code.name not in _OF_LISTS:
            raise ValueError(
                "its names of columns are no list of strings; save it with format='fixed'"
            )
    return strings


TEXTS = (".csv", ".tsv", ".txt", ".dat")
_READERS: dict[str, Callable[..., AbstractContextManager[dict[str, Table]]]] = {
    ".npy": _npy,
    ".npz": _npz,
    **dict.fromkeys(TEXTS, _text),
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".root": _root,
    ".parquet": _parquet,
}

#: endings of files that are read
KINDS = tuple(_READERS)
