"""Showers in files like the CaloChallenge's, HDF5 with incident energies and voxels, and sparse ones."""

import os
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import check_array

from skae._parameters import arguments
from skae._sklearn import Interval, Options, StrOptions
from skae.datasets import _sparse_showers
from skae.datasets._binary import entry_of, real_numbers
from skae.datasets._files import install_hint, reading
from skae.datasets._shower_units import resolve_unit, to_mev
from skae.physics.calorimeter import CALOCHALLENGE, CaloGeometry, resolve_geometry

_ENERGIES, _SHOWERS = "incident_energies", "showers"

# Rows that are read, checked or written at a time.
_ROWS = 4096


@arguments(
    path=[str, Path, "array-like"],
    geometry=[str, CaloGeometry, None],
    start=Interval(Integral, 0, None, closed="left"),
    stop=[Interval(Integral, 0, None, closed="left"), None],
    unit=[StrOptions({"MeV", "GeV"}), tuple, list, None],
    lazy="boolean",
    dtype=[StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64})],
)
def load_calochallenge(
    path, *, geometry=None, start=0, stop=None, unit="MeV", lazy=False, dtype="float32"
):
    """Read showers in the HDF5 format of the CaloChallenge (needs h5py: the extra ``calo``), or sparse.

    Parameters
    ----------
    path : str, Path or sequence of them
        A file with the datasets ``incident_energies``, of shape (n, 1), and ``showers``, of shape
        (n, n_voxels); or several, whose showers follow each other. A file that ends in .npz is sparse:
        ``energy`` of shape (n,), and the voxels ``indices[indptr[i]:indptr[i + 1]]`` of shower i, with
        their energies at the same places of ``values``; all others of the ``n_voxels`` are zero.
    geometry : str or CaloGeometry, default=None
        What the voxels are: their number is checked. One of "dataset_1_photons", "dataset_1_pions",
        "dataset_2" and "dataset_3", or one's own; None accepts any number.
    start, stop : int, default=0 and None
        First row, and the one after the last, over all files. None reads to the end.
    unit : {"MeV", "GeV"}, pair of them or None, default="MeV"
        The unit of energies *in the files*; a pair tells that of incident energies and that of voxels.
        The result is in MeV. Numbers that look like other units are refused, unless this is None, which
        reads them as they are, those of an uncalibrated detector say.
    lazy : bool, default=False
        Return the rows as a :class:`LazyShowers`, which reads those that it is indexed with, part by part
        or as an array of Dask.
    dtype : {"float32", "float64"}, default="float32"
        Type of the result. The files' float64 takes 5 GB for the 100,000 showers of data set 2.

    Returns
    -------
    X : ndarray or LazyShowers of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged or none of these, has another number of voxels, or has energies that are
        negative, missing, or zero where voxels are lit; if the rows of a file that are read, ten or more,
        look like another unit: E_tot/E_inc is above 30 or below 1/300, by its median and by the total,
        or most incident energies are below 256 MeV and many voxels below the threshold.

    References
    ----------
    C. Krause et al., "CaloChallenge 2022: a community challenge for fast calorimeter simulation", 2024,
    arXiv:2410.21611.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skae.datasets import load_calochallenge, make_showers, save_calochallenge
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "showers.hdf5")
    ...     save_calochallenge(file, make_showers(20, random_state=0), source="parametrised")
    ...     load_calochallenge(file, geometry="dataset_2", start=5, stop=15).shape
    (10, 6481)
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ValueError("path is an empty sequence; give one file or more.")
    showers = LazyShowers(paths, geometry=geometry, start=start, stop=stop, unit=unit, dtype=dtype)
    return showers if lazy else showers[:]


class LazyShowers:
    """Showers that stay in their files until rows of them are asked for.

    ``showers[a:b]`` reads these rows and checks them. Files are open only meanwhile, so the object may
    be pickled, and read from several processes. :meth:`chunks` and :meth:`to_dask` read part by part.

    Parameters
    ----------
    paths : sequence of str or Path
        See :func:`load_calochallenge`, like all that follow.
    geometry : str or CaloGeometry, default=None
        What the voxels are.
    start, stop : int, default=0 and None
        First row, and the one after the last.
    unit : {"MeV", "GeV"}, pair of them or None, default="MeV"
        The unit in the files, of incident energies and of voxels. Each part that is read is judged by its
        own rows.
    dtype : {"float32", "float64"}, default="float32"
        Type of what is read.

    Attributes
    ----------
    shape : (n_samples, 1 + n_voxels)
        As the array would have it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skae.datasets import LazyShowers, make_showers, save_calochallenge
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "showers.hdf5")
    ...     save_calochallenge(file, make_showers(20, random_state=0), source="parametrised")
    ...     showers = LazyShowers([file])
    ...     [len(part) for part in showers.chunks(8)]
    [8, 8, 4]
    """

    ndim = 2

    def __init__(self, paths, *, geometry=None, start=0, stop=None, unit="MeV", dtype="float32"):
        self.dtype = np.dtype(dtype)
        self._unit = resolve_unit(unit)
        self._paths = [Path(path) for path in paths]
        lengths, widths = zip(*map(_shape_of, self._paths), strict=True)
        self._firsts = np.concatenate([[0], np.cumsum(lengths)])  # row of each file's first shower
        if len(set(widths)) > 1:
            listed = ", ".join(f"{p.name}: {w}" for p, w in zip(self._paths, widths, strict=True))
            raise ValueError(f"the files' numbers of voxels differ: {listed}.")
        known = {CaloGeometry.named(name).n_voxels: name for name in CALOCHALLENGE}
        if geometry is not None and widths[0] != resolve_geometry(geometry).n_voxels:
            meant = f"; geometry={known[widths[0]]!r} has" if widths[0] in known else ""
            raise ValueError(
                f"path={str(self._paths[0])!r} has {widths[0]} voxels a shower, geometry={geometry!r} "
                f"{resolve_geometry(geometry).n_voxels}{meant}."
            )
        geometry = known.get(widths[0]) if geometry is None else geometry
        self._threshold = 0.0 if geometry is None else resolve_geometry(geometry).threshold
        self._rows = range(*slice(start, stop).indices(self._firsts[-1]))
        if not self._rows:
            raise ValueError(
                f"start={start} and stop={stop} leave none of the {self._firsts[-1]} showers."
            )
        self.shape = (len(self._rows), 1 + widths[0])

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        """Read the rows of a slice, or one row."""
        if isinstance(rows, Integral):
            row = range(len(self))[rows]  # counts negative ones from the end; IndexError beyond
            return self[row : row + 1][0]
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(
                f"{rows!r} must be a row number or a slice without a step; read the rows between and "
                "choose among them."
            )
        wanted = self._rows[rows]
        X = np.empty((len(wanted), self.shape[1]), dtype=self.dtype)
        for path, (first, end) in zip(self._paths, pairwise(self._firsts), strict=True):
            start, stop = max(wanted.start, first), min(wanted.stop, end)
            if start < stop:
                out = X[start - wanted.start : stop - wanted.start]
                _read(path, slice(start - first, stop - first), out)
                where = f"path={str(path)!r}: {len(out)} showers from row {start - first} on"
                to_mev(out, self._unit, threshold=self._threshold, where=where)
        return X

    def __array__(self, dtype=None, copy=None):
        """Read all rows at once."""
        if copy is False:
            raise ValueError("showers that are in a file can only be copied; leave copy out.")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def chunks(self, n_samples=_ROWS):
        """Read the rows one part after the other, for ``partial_fit`` or features.

        Parameters
        ----------
        n_samples : int, default=4096
            Rows of a part; the last one may have fewer.

        Yields
        ------
        X : ndarray of shape (n_samples, 1 + n_voxels)
            The next part.
        """
        _check_part(n_samples)
        for start in range(0, len(self), n_samples):
            yield self[start : start + n_samples]

    def to_dask(self, n_samples=_ROWS):
        """Return the showers as an array of Dask, of which nothing is read before it is computed.

        Parameters
        ----------
        n_samples : int, default=4096
            Rows of a chunk, which are of one file: the last one of a file may have fewer.

        Returns
        -------
        X : dask.array.Array of shape (n_samples, 1 + n_voxels)
            In chunks of whole rows. Each is read, and checked, when something asks for a row of it.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from skae.datasets import load_calochallenge, make_showers, save_calochallenge
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "showers.hdf5")
        ...     save_calochallenge(file, make_showers(20, random_state=0), source="parametrised")
        ...     X = load_calochallenge(file, lazy=True).to_dask(8)
        ...     X.chunks[0], X[10:, 1:].sum(axis=1).compute().shape
        ((8, 8, 4), (10,))
        """
        _check_part(n_samples)
        try:
            import dask.array as da
        except ImportError as error:
            raise ImportError(f"to_dask needs dask; {install_hint('dask')}.") from error
        rows = []
        for first, end in pairwise(self._firsts):
            n = max(0, min(self._rows.stop, end) - max(self._rows.start, first))
            rows += [min(n_samples, n - start) for start in range(0, n, n_samples)]
        # the slices of from_array may come with a step, and as a tuple, once Dask has fused them
        return da.map_blocks(
            _chunk_of,
            showers=self,
            chunks=(tuple(rows), (self.shape[1],)),
            dtype=self.dtype,
            meta=np.empty((0, 0), self.dtype),
        )

    def __dask_tokenize__(self):
        """Return what Dask names the showers by: files that were written anew are others."""
        files = [(str(p.absolute()), p.stat().st_mtime_ns, p.stat().st_size) for p in self._paths]
        return (files, str(self._rows), self._unit, self._threshold, self.dtype.str)


def _chunk_of(showers, block_info):
    start, stop = block_info[None]["array-location"][0]
    return showers[start:stop]


def _check_part(n_samples):
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples={n_samples!r} must be an integer of 1 or more.")


@contextmanager
def _open(path):
    what = (
        "showers of the CaloChallenge, HDF5 with "
        f"{_ENERGIES!r} of shape (n, 1) and {_SHOWERS!r} of shape (n, n_voxels)"
    )
    with reading(path, what):
        import h5py

        with h5py.File(path, "r") as file:
            yield file


def _is_sparse(path):
    return path.suffix.lower() == ".npz"


def _shape_of(path):
    """Return a file's numbers of showers and voxels."""
    if _is_sparse(path):
        return _sparse_showers.shape_of(path)
    with _open(path) as file:
        energies, showers = (_dataset_of(file, name).shape for name in (_ENERGIES, _SHOWERS))
        if len(showers) != 2 or 0 in showers or energies not in ((showers[0], 1), (showers[0],)):
            raise ValueError(f"their shapes are {energies} and {showers}")
        return showers


def _dataset_of(file, name):
    entry = entry_of(file, name)
    if not hasattr(entry, "shape"):
        raise ValueError(f"{name!r} is a group of {list(entry)}, and no dataset")
    return entry


def _read(path, rows, out):
    """Read rows of a file into ``out``, and check them."""
    if _is_sparse(path):
        _sparse_showers.read_rows(path, rows, out)
    else:
        _read_dense(path, rows, out)
    for start in range(0, len(out), _ROWS):
        _check_rows(out[start : start + _ROWS], rows.start + start, f"path={str(path)!r}: ")


def _read_dense(path, rows, out):
    with _open(path) as file:
        energies, showers = entry_of(file, _ENERGIES), entry_of(file, _SHOWERS)
        for start in range(rows.start, rows.stop, _ROWS):
            stop = min(start + _ROWS, rows.stop)
            part = out[start - rows.start : stop - rows.start]
            part[:, 0] = real_numbers(energies[start:stop]).ravel()
            part[:, 1:] = real_numbers(showers[start:stop])


def _check_rows(X, first=0, where=""):
    """Refuse energies that are missing, negative, or 0 where voxels are lit."""
    unlit = X[:, 0] <= 0.0
    for wrong, what in (
        (~np.isfinite(X).all(axis=1), "missing or infinite energies"),
        ((X < 0.0).any(axis=1), "negative energies"),
        (unlit & (X[:, 1:] > 0.0).any(axis=1), "an incident energy of zero and lit voxels"),
    ):
        if wrong.any():
            raise ValueError(
                f"{where}{wrong.sum()} of {len(X)} showers from row {first} on have {what}, the first is "
                f"row {first + int(np.argmax(wrong))}."
            )


@arguments(
    path=[str, Path],
    X="array-like",
    source=str,
    compression=[StrOptions({"gzip", "lzf"}), None],
)
def save_calochallenge(path, X, *, source, compression="gzip"):
    """Write showers as the CaloChallenge has them (needs h5py).

    The file is written under another name and renamed when it is complete: one that was there before
    is replaced by the whole of the new one, or stays.

    Parameters
    ----------
    path : str or Path
        The file.
    X : array-like of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.
    source : str
        Where the showers are from; "parametrised" for those of :func:`make_showers`. Kept as an
        attribute of the file, so that nobody takes generated showers for simulated ones.
    compression : {"gzip", "lzf"}, default="gzip"
        Showers are mostly zeros, and compressed ones take a tenth. None writes them as they are.

    Raises
    ------
    ValueError
        If X is no array of showers; see :func:`load_calochallenge`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skae.datasets import load_calochallenge, make_showers, save_calochallenge
    >>> X = make_showers(20, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "showers.hdf5")
    ...     save_calochallenge(file, X, source="parametrised")
    ...     bool((load_calochallenge(file, dtype="float64") == X).all())
    True
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"HDF5 files need h5py; {install_hint('h5py')}.") from error
    X = check_array(
        X,
        dtype=(np.float64, np.float32),
        ensure_all_finite=False,  # the check below names rows
        ensure_min_features=2,
        input_name="X",
    )
    for start in range(0, len(X), _ROWS):
        _check_rows(X[start : start + _ROWS], first=start)
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with h5py.File(unfinished, "w") as file:
            file.attrs["source"] = source
            file.attrs["unit"] = "MeV"
            stored = {"compression": compression, "shuffle": compression is not None}
            file.create_dataset(_ENERGIES, data=X[:, :1], **stored)
            file.create_dataset(_SHOWERS, data=X[:, 1:], chunks=True, **stored)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
