"""What readers of binary files share: real numbers, sizes that can be true, nothing of another file."""

import gzip
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from skae._numbers import refuse_dates

# A file may be compressed to this share, or leave as many bytes unwritten.
_MOST_COMPRESSED = 10_000
_UNWRITTEN = 2**20

_FITS_BLOCK, _MOST_BLOCKS = 2880, 1000  # of a header

_ELSEWHERE = "which is not read: copy all into one file (h5repack, or h5copy -f ext)"


def real_numbers(values: Any) -> np.ndarray:
    """Return an array, unless it is of dates, durations or complex numbers, which a cast would change.

    Raises
    ------
    ValueError
        If it is, or of integers that float64 does not hold exactly.
    """
    values = np.asarray(values)
    refuse_dates(values)
    if values.dtype.kind == "c":
        raise ValueError("it holds complex numbers; save their real parts, or their moduli")
    is_long = values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size > 0
    if is_long and max(int(values.max()), -int(values.min())) > 2**53:
        raise ValueError("it holds integers beyond 2^53, of which float64 loses digits")
    return values


def check_size(n_bytes: int, stored: int, most_compressed: int = _MOST_COMPRESSED) -> None:
    """Refuse what a file says to hold, and cannot, before memory is asked for.

    Raises
    ------
    ValueError
        If more bytes are to come of those ``stored`` than there can be in them.
    """
    if n_bytes > _UNWRITTEN + most_compressed * stored:
        raise ValueError(
            f"it declares {n_bytes} bytes of data and holds {stored}: it is damaged, or was never filled"
        )


def map_npy(path: Path) -> np.ndarray:
    """Return the array of an .npy file, mapped: one that is shorter than its header says is an error."""
    return np.lib.format.open_memmap(path, mode="r")


@contextmanager
def npz_array(
    archive: zipfile.ZipFile, name: str
) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype]]:
    """Open an array of an .npz file: yield the file behind its header, its shape and its type.

    Raises
    ------
    ValueError
        If there is none of that name, or it is shorter than it declares.
    """
    infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if name not in infos:
        raise ValueError(f"it has no {name!r}, only {list(infos)}")
    info = infos[name]
    check_size(info.file_size, info.compress_size)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if np.prod(shape, dtype=float) * dtype.itemsize > info.file_size:
            raise ValueError(f"its {info.filename!r} is shorter than it declares; it is damaged")
        yield file, shape, dtype


def entry_of(group: Any, path: str) -> Any:
    """Return the group or dataset at a path in an HDF5 file, if all of it lies in that file.

    h5py follows links to other files, and opens pipes and devices so, even to tell whether a name exists.

    Raises
    ------
    ValueError
        If nothing is there, or it refers to another file, or holds less than it declares.
    """
    import h5py

    node = group.file["/"] if path.startswith("/") else group
    for name in filter(None, path.split("/")):
        if not isinstance(node, h5py.Group) or name not in list(node):
            raise ValueError(f"it has no {path!r}, only {list(group)}")
        link = name.encode()
        kind = node.id.links.get_info(link).type
        if kind == h5py.h5l.TYPE_SOFT:  # to another place in this file
            node = entry_of(node, node.id.links.get_val(link).decode())
        elif kind == h5py.h5l.TYPE_HARD:
            node = node[name]
        else:
            raise ValueError(f"{path!r} is a link to another file, {_ELSEWHERE}")
    if isinstance(node, h5py.Dataset):
        stored = node.id.get_create_plist()
        if stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
            raise ValueError(f"{path!r} has its numbers in another file, {_ELSEWHERE}")
        check_size(node.nbytes, node.id.get_storage_size())
    return node


def check_fits(path: Path) -> None:
    """Refuse a FITS file whose headers declare negative axes, or more than it can hold.

    Raises
    ------
    ValueError
        If one does.
    """
    stored, is_packed = path.stat().st_size, path.name.lower().endswith(".gz")
    with gzip.open(path) if is_packed else open(path, "rb") as file:
        while (header := _next_header(file)) is not None:
            # a compressed image is a table of bytes
            sizes = _axes_of(header, ""), _axes_of(header, "Z")
            others = header.get("PCOUNT", 0), header.get("GCOUNT", 1)
            if min(0, *sizes[0], *sizes[1], *others) < 0:
                raise ValueError(f"its header declares negative sizes: NAXIS {sizes[0]}")
            n_bytes = abs(header["BITPIX"]) // 8 * others[1] * (others[0] + math.prod(sizes[0]))
            n_bytes *= bool(sizes[0])
            check_size(n_bytes, stored, _MOST_COMPRESSED if is_packed else 1)
            check_size(abs(header.get("ZBITPIX", 0)) // 8 * math.prod(sizes[1]), stored)
            file.seek(-(-n_bytes // _FITS_BLOCK) * _FITS_BLOCK, os.SEEK_CUR)


def _next_header(file: IO[bytes]) -> Any:
    """Return the header that begins here, or None behind the last one."""
    from astropy.io.fits import Header

    text = b""
    for _ in range(_MOST_BLOCKS):
        block = file.read(_FITS_BLOCK)
        text += block
        if any(block[k : k + 8] == b"END     " for k in range(0, len(block), 80)):
            return Header.fromstring(text)
        if len(block) < _FITS_BLOCK:
            return None
    raise ValueError("it has a header without an end")


def _axes_of(header: Any, kind: str) -> list[int]:
    return [header[f"{kind}NAXIS{k + 1}"] for k in range(header.get(f"{kind}NAXIS", 0))]


def check_fits_rows(unit: Any) -> None:
    """Refuse a FITS table whose columns take more bytes than its rows have.

    Raises
    ------
    ValueError
        If they do.
    """
    columns, width = getattr(unit, "columns", None), unit.header.get("NAXIS1", 0)
    if columns is not None and columns.dtype.itemsize > width:
        raise ValueError(
            f"the columns of {unit.name!r} take {columns.dtype.itemsize} bytes, its rows {width}"
        )


def flat_branches(
    branches: Sequence[Any], names: Sequence[str], n_together: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return one number after the other of jagged branches, and which event each is of.

    The first ``n_together`` must have as many numbers in each event; others may have one for all of them.

    Raises
    ------
    ValueError
        If a branch has records, or another number of entries: those of one object would stand beside
        those of another one, or of another event.
    """
    import awkward

    flat, shapes = [], []
    for name, branch in zip(names, branches, strict=True):
        counts = []
        if awkward.fields(branch):
            raise ValueError(
                f"its branch {name!r} holds records; name their fields with columns=, one each: "
                f"{[f'{name}.{field}' for field in awkward.fields(branch)]}"
            )
        while branch.ndim > 1:
            counts.append(awkward.to_numpy(awkward.fill_none(awkward.num(branch, axis=1), 0)))
            branch = awkward.flatten(branch, axis=1)
        flat.append(awkward.to_numpy(awkward.fill_none(branch, np.nan, axis=0)))
        shapes.append(counts)
    event = np.arange(len(branches[0]))
    for counts in shapes[0]:
        event = np.repeat(event, counts)
    for j in range(n_together, len(flat)):
        if not shapes[j] and len(flat[j]) == len(branches[0]):
            flat[j], shapes[j] = flat[j][event], shapes[0]
    other = [name for name, s in zip(names, shapes, strict=True) if not _are_equal(s, shapes[0])]
    if other:
        raise ValueError(
            f"its branches {other} have other numbers of entries in an event than {names[0]!r}: name "
            "those of one collection with columns=, or save what awkward.broadcast_arrays makes of them"
        )
    return flat, event


def _are_equal(counts: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(counts) == len(others) and all(map(np.array_equal, counts, others))
