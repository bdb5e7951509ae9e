"""Jets: a generator with the look of a real sample, and a reader for the files people have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skae._parameters import COUNT, arguments
from skae._sklearn import StrOptions
from skae.datasets._files import is_number, kind_of, read_head, reading, words_of

_NAMES = ("E", "pt", "eta", "phi")
_GEV = {"MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}


@arguments(
    n_samples=COUNT,
    random_state="random_state",
    as_frame="boolean",
)
def make_jets(n_samples=10000, *, random_state=None, as_frame=False):
    r"""Generate jets that look like those of a mono-jet selection at the LHC.

    Spectrum, correlations and masses follow a real sample of anti-kt R = 0.4 jets: a falling
    spectrum of soft jets from 22 GeV on and a hump of hard ones around 520 GeV; harder jets are more
    central; m/pT falls with pT, from 0.21 to 0.12 on average, and stays below 0.45, so that
    :math:`E \approx p_T\cosh\eta` to 1 % on average and to 10 % at worst. No simulation of a
    collision is behind it: use it for tests and examples, and measure on real jets.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of jets.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.
    as_frame : bool, default=False
        Return a DataFrame with column names rather than an array.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, 4)
        Energy and transverse momentum in GeV, pseudorapidity, azimuth in radians in [−π, π).

    Examples
    --------
    >>> from skae.datasets import make_jets
    >>> make_jets(3, random_state=0, as_frame=True).round(2)
            E      pt   eta   phi
    ...
    """
    rng = check_random_state(random_state)
    hard = rng.uniform(size=n_samples) < 0.28
    # soft jets: an exponential in log pT (a power law in pT) cut off at 3.6, by its inverse
    soft = -1.7 * np.log1p(rng.uniform(size=n_samples) * np.expm1(-3.6 / 1.7))
    log_pt = np.where(
        hard, np.log(520.0) + 0.42 * rng.standard_normal(n_samples), np.log(22.0) + soft
    )
    log_pt = np.maximum(log_pt, np.log(22.0))
    hardness = (log_pt - np.log(22.0)) / np.log(1000.0 / 22.0)  # 0 for soft, 1 for hard jets
    pt = np.exp(log_pt)
    # the sum of two uniforms: flatter than a Gaussian, as the rapidity plateau is
    spread = np.maximum(2.3 - 1.6 * hardness, 0.4)
    eta = spread * np.sqrt(1.5) * rng.uniform(-1.0, 1.0, size=(2, n_samples)).sum(axis=0)
    eta = np.where(np.abs(eta) > 4.9, np.sign(eta) * 9.8 - eta, eta)  # folded, not piled up
    phi = rng.uniform(-np.pi, np.pi, size=n_samples)
    mass = 0.45 * pt * rng.beta(np.maximum(4.0 - 1.7 * hardness, 1.5), 4.2 + 2.0 * hardness)
    energy = np.hypot(pt * np.cosh(eta), mass)
    X = np.column_stack([energy, pt, eta, phi])
    return _as_frame(X) if as_frame else X


@arguments(
    path=[str, Path],
    unit=StrOptions(set(_GEV)),
    columns="array-like",
    key=[str, None],
    as_frame="boolean",
)
def load_jets(path, *, unit="GeV", columns=_NAMES, key=None, as_frame=False):
    """Read jets from a CSV, NPY, HDF5 or ROOT file.

    Parameters
    ----------
    path : str or Path
        A .csv or .txt table, with or without a line of names; an .npy array; an .h5 or .hdf5 file
        with one two-dimensional dataset or one dataset for each column (needs h5py); a .root file
        with a tree (needs uproot), whose jagged branches are flattened: every jet of every event is
        a row.
    unit : {"MeV", "GeV", "TeV"}, default="GeV"
        The unit of energies and momenta *in the file*. The result is in GeV.
    columns : sequence of str, default=("E", "pt", "eta", "phi")
        The file's names for energy, transverse momentum, pseudorapidity and azimuth. In a file
        without names the first four columns are taken, in this order.
    key : str, default=None
        Dataset or group (HDF5), tree (ROOT); None takes the only one there is.
    as_frame : bool, default=False
        Return a DataFrame with column names rather than an array.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, 4)
        Energy and transverse momentum in GeV, pseudorapidity, azimuth in radians.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, lacks a column, has no rows, or has values that are missing or
        infinite.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from skae.datasets import load_jets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "jets.npy")
    ...     np.save(file, [[120e3, 100e3, 0.5, 3.0]])
    ...     load_jets(file, unit="MeV")
    array([[120. , 100. ,   0.5,   3. ]])
    """
    path = Path(path)
    columns = list(columns)
    if len(columns) != 4:
        raise ValueError(f"columns={columns} must name four columns: energy, pT, eta and phi.")
    kind = kind_of(path, _READERS)
    with reading(path, f"four columns of numbers from a {kind} file"):
        X = np.array(_READERS[kind](path, columns, key), dtype=np.float64)
        if len(X) == 0:
            raise ValueError("it has no rows")
    if not (finite := np.isfinite(X).all(axis=1)).all():
        raise ValueError(
            f"path={str(path)!r} has {(~finite).sum()} rows with missing or infinite values, the first "
            f"is row {np.argmin(finite)}: {X[np.argmin(finite)]}. Remove them from the file."
        )
    X[:, :2] *= _GEV[unit]
    return _as_frame(X) if as_frame else X


def _as_frame(X: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=list(_NAMES))


def _from_array(array: np.ndarray, columns: Sequence[str]) -> np.ndarray:
    """The columns of a table, the first four where they have no names."""
    if array.dtype.names:
        _require(columns, array.dtype.names)
        return np.column_stack([array[name] for name in columns])
    if array.ndim != 2 or array.shape[1] < 4:
        raise ValueError(f"its shape is {array.shape}, not (n, 4) or wider")
    return array[:, :4]


def _read_npy(path: Path, columns: Sequence[str], key: str | None) -> np.ndarray:
    return _from_array(np.load(path, mmap_mode="r", allow_pickle=False), columns)


def _read_csv(path: Path, columns: Sequence[str], key: str | None) -> np.ndarray:
    """Read a table whose names stand in its first line, plain or behind a #, or nowhere."""
    import pandas as pd

    remarks, words, separator = read_head(path)
    are_numbers = all(map(is_number, words))
    are_counted = words == [str(j) for j in range(len(words))]  # pandas' names of columns without
    names = None if are_numbers else words
    if are_numbers and not are_counted and remarks:  # the last may be NumPy's way to give names
        described = words_of(remarks[-1].lstrip("#"))
        names = described if set(columns) <= set(described) else None
    skipped = len(remarks) + (are_counted or not are_numbers)
    table = pd.read_csv(path, sep=separator, header=None, skiprows=skipped, skipinitialspace=True)
    if names is None:
        return _from_array(table.to_numpy(), columns)
    if len(names) != table.shape[1]:
        raise ValueError(f"it has {len(names)} names {names}, but {table.shape[1]} columns")
    _require(columns, names)
    return table.to_numpy()[:, [names.index(name) for name in columns]]


def _read_hdf5(path: Path, columns: Sequence[str], key: str | None) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        node = file[_only(file, key)] if key is not None or len(file) == 1 else file
        if isinstance(node, h5py.Dataset):
            return _from_array(node[...], columns)
        _require(columns, node)
        return np.column_stack([node[name][...] for name in columns])


def _read_root(path: Path, columns: Sequence[str], key: str | None) -> np.ndarray:
    import awkward
    import uproot

    with uproot.open(path) as file:
        tree = file[_only(file.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"]), key)]
        _require(columns, tree.keys())
        branches = tree.arrays(list(columns))
    return np.column_stack(
        [awkward.to_numpy(awkward.flatten(branches[c], axis=None)) for c in columns]
    )


def _only(names, key: str | None) -> str:
    """The entry that was asked for, or the only one there is."""
    if key is not None and key in names:  # an HDF5 file knows paths, too
        return key
    names = list(names)
    if key is None and len(set(names)) == 1:
        return names[0]
    raise ValueError(f"key={key!r} does not choose one of its entries {names}")


def _require(columns: Sequence[str], present) -> None:
    missing = [name for name in columns if name not in present]
    if missing:
        raise ValueError(f"it has no column {missing}, only {list(present)}; set columns=")


_READERS = {
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".txt": _read_csv,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".root": _read_root,
}
