"""Showers in sparse .npz files: incident energies, and the voxels that are lit, shower after shower."""

import os
import zipfile
from contextlib import contextmanager

import numpy as np

from skae.datasets._binary import check_size, npz_array, real_numbers
from skae.datasets._files import reading

_NAMES = ("energy", "indptr", "indices", "values", "n_voxels")

# Showers whose voxels are put in their places at a time.
_ROWS = 4096


@contextmanager
def _open(path):
    what = (
        "sparse showers, .npz with 'energy' of shape (n,), 'indptr' of shape (n + 1,), 'indices' and "
        "'values' of one length, and the number 'n_voxels'"
    )
    with reading(path, what), zipfile.ZipFile(path) as archive:
        yield archive


def shape_of(path):
    """Return a file's numbers of showers and voxels, once it is known where each shower's voxels are."""
    with _open(path) as archive:
        shapes = {name: _shape_of_array(archive, name) for name in _NAMES}
        n = shapes["energy"][0] if len(shapes["energy"]) == 1 else 0
        of_values = shapes["values"]
        expected = {"energy": (n,), "indptr": (n + 1,), "indices": of_values, "n_voxels": ()}
        if n == 0 or len(of_values) != 1 or any(shapes[k] != v for k, v in expected.items()):
            raise ValueError(f"their shapes are {shapes}")
        n_voxels = int(_integers(archive, "n_voxels"))
        if n_voxels < 1:
            raise ValueError(f"its n_voxels is {n_voxels}")
        check_size(4 * n * n_voxels, path.stat().st_size)
        _bounds(archive, of_values[0])
    return n, n_voxels


def read_rows(path, rows, out):
    """Read the rows of a slice into ``out``, of shape (n_samples, 1 + n_voxels)."""
    n_voxels = out.shape[1] - 1
    with _open(path) as archive:
        out[:, 0] = real_numbers(_array(archive, "energy", rows.start, rows.stop))
        bounds = _bounds(archive, _shape_of_array(archive, "values")[0])[rows.start : rows.stop + 1]
        of_rows = int(bounds[0]), int(bounds[-1])
        indices = _integers(archive, "indices", *of_rows)
        values = real_numbers(_array(archive, "values", *of_rows))
        row_of = np.repeat(np.arange(len(out)), np.diff(bounds))
        beyond = (indices < 0) | (indices >= n_voxels)
        if beyond.any():
            k = np.argmax(beyond)
            raise ValueError(
                f"row {rows.start + row_of[k]} has a voxel {indices[k]}, and n_voxels is {n_voxels}"
            )
        bounds = bounds - bounds[0]
        for start in range(0, len(out), _ROWS):
            part = out[start : start + _ROWS, 1:]
            of_part = slice(bounds[start], bounds[min(start + _ROWS, len(out))])
            part[:] = 0.0
            _fill(
                part, row_of[of_part] - start, indices[of_part], values[of_part], rows.start + start
            )


def _fill(voxels, row_of, indices, values, first):
    places = row_of * voxels.shape[1] + indices
    ordered = places if (np.diff(places) > 0).all() else np.sort(places)
    twice = np.diff(ordered) == 0
    if twice.any():
        row, voxel = divmod(ordered[np.argmax(twice)], voxels.shape[1])
        raise ValueError(f"row {first + row} has its voxel {voxel} twice")
    voxels[row_of, indices] = values


def _bounds(archive, n_values):
    """Return where each shower's voxels begin, and the last one's end."""
    bounds = _integers(archive, "indptr")
    if bounds[0] != 0 or bounds[-1] != n_values or (np.diff(bounds) < 0).any():
        raise ValueError(
            f"its indptr must go from 0 to the {n_values} values there are and never fall; it goes from "
            f"{bounds[0]} to {bounds[-1]}, with {(np.diff(bounds) < 0).sum()} steps down"
        )
    return bounds


def _integers(archive, name, start=0, stop=None):
    values = _array(archive, name, start, stop)
    if values.dtype.kind not in "iu":
        raise ValueError(f"its {name!r} are {values.dtype}, no integers")
    return real_numbers(values).astype(np.int64)


def _shape_of_array(archive, name):
    with npz_array(archive, name) as (_, shape, _dtype):
        return shape


def _array(archive, name, start=0, stop=None):
    """Return the numbers from one place to another of an array, all others passed by."""
    with npz_array(archive, name) as (file, shape, dtype):
        if dtype.hasobject:
            raise ValueError(f"its {name!r} holds Python objects; save numbers")
        stop = int(np.prod(shape)) if stop is None else stop
        file.seek(start * dtype.itemsize, os.SEEK_CUR)
        values = np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)
        if len(values) != stop - start:
            raise ValueError(f"its {name!r} end before they should; it is damaged")
        return values.reshape(shape) if shape == () else values
