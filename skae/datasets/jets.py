"""Jets: a generator with the look of a real sample, and a reader for the files people have."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skae._parameters import COUNT, arguments
from skae._sklearn import StrOptions
from skae._warn import warn
from skae.datasets._binary import check_size, entry_of, flat_branches, map_npy, real_numbers
from skae.datasets._files import kind_of, reading
from skae.datasets._text import DECIMAL, read_table
from skae.exceptions import UnitsWarning
from skae.physics.column_names import find_components, shown, unit_of
from skae.physics.kinematics import are_below_mass_shell, implausible_angles

_NAMES = ("E", "pt", "eta", "phi")
# In GeV. No collider reaches the former; jets are not defined at the latter, but jets in GeV, taken for
# MeV, are there.
_LARGEST_MEDIAN_PT = 1e4
_SMALLEST_MEDIAN_PT = 1.0
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
    decimal=DECIMAL,
)
def load_jets(path, *, unit="GeV", columns=_NAMES, key=None, as_frame=False, decimal=None):
    """Read jets from a CSV, NPY, HDF5 or ROOT file.

    Parameters
    ----------
    path : str or Path
        A .csv or .txt table, with or without a line of names; an .npy array; an .h5 or .hdf5 file
        with one two-dimensional dataset or one dataset for each column (needs h5py: the extra ``calo``),
        all of it in this file; a .root file with a tree (needs uproot: the extra ``root``), whose jagged
        branches are flattened: every jet of every event is a row. All four need as many entries in each
        event.
    unit : {"MeV", "GeV", "TeV"}, default="GeV"
        The unit of energies and momenta *in the file*. The result is in GeV. Names that state another
        one, "pt [MeV]" say, are an error.
    columns : sequence of str, default=("E", "pt", "eta", "phi")
        The file's names for energy, transverse momentum, pseudorapidity and azimuth, in any order in
        the file. They are matched regardless of case, and with aliases, as
        :class:`~skae.KinematicsTransformer` does. In a file without names the first four columns are
        taken, in this order.
    key : str, default=None
        Dataset or group (HDF5), tree (ROOT); None takes the only one there is.
    as_frame : bool, default=False
        Return a DataFrame with column names rather than an array.
    decimal : {".", ","}, default=None
        The decimal sign of a text file. None finds it, and refuses a file that could be read in two ways.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, 4)
        Energy and transverse momentum in GeV, pseudorapidity, azimuth in radians.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, lacks a column, or has no rows; if its names state another unit; if
        values are missing, infinite, complex or dates, or energies are below the momenta by more than
        1e-4 of these; if branches have other numbers of jets in an event; or if it refers to other files.

    Warns
    -----
    UnitsWarning
        If angles look like degrees, or the median pT is above 10⁴ GeV, which no collider reaches, or,
        after a conversion from MeV, below 1 GeV.

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
        X = np.array(_READERS[kind](path, _Wanted(columns, unit), key, decimal), dtype=np.float64)
        if len(X) == 0:
            raise ValueError("it has no rows")
    _refuse_rows(path, X, ~np.isfinite(X).all(axis=1), "missing or infinite values")
    is_below = are_below_mass_shell(dict(zip(_NAMES, X.T, strict=True)))
    _refuse_rows(path, X, is_below, f"energies below their momenta (is columns={columns} right?)")
    X[:, :2] *= _GEV[unit]
    for clause in _implausible(X, unit):
        warn(f"path={str(path)!r}: {clause}.", UnitsWarning)
    return _as_frame(X) if as_frame else X


def _refuse_rows(path: Path, X: np.ndarray, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise ValueError(
            f"path={str(path)!r} has {bad.sum()} rows with {what}, the first is row {bad.argmax()}: "
            f"{X[bad.argmax()]}. Remove them from the file."
        )


def _implausible(X: np.ndarray, unit: str) -> list[str]:
    """Return what looks wrong with jets in GeV, each in a clause."""
    found, median = implausible_angles(X[:, 2], X[:, 3]), np.median(X[:, 1])
    if median > _LARGEST_MEDIAN_PT or (unit == "MeV" and median < _SMALLEST_MEDIAN_PT):
        found.append(
            f"the median pT is {median:.4g} GeV; is the file in {unit}? Set unit= to what it is"
        )
    return found


def _as_frame(X: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=list(_NAMES))


class _Wanted(NamedTuple):
    """The columns that are asked for, and their unit."""

    columns: list[str]
    unit: str

    def places_in(self, present: Sequence[str]) -> list[int] | None:
        """Tell where they stand among those that a file names; None where it names none of them."""
        try:
            places = find_components(self.columns, present)
            stated = None if places is None else unit_of([present[place] for place in places])
        except ValueError as error:
            raise ValueError(f"{error}; set columns=") from None
        if stated not in (None, self.unit):
            raise ValueError(f"its names say {stated}, not {self.unit}; set unit=")
        return places

    def names_in(self, present: Iterable[str]) -> list[str]:
        """Return the columns as a file names them."""
        names = list(present)
        places = self.places_in(names)
        if places is None:
            missing = [name for name in self.columns if name not in names]
            raise ValueError(
                f"it has no column {missing}, only {shown(names, missing)}; set columns="
            )
        return [names[place] for place in places]


def _from_array(array: np.ndarray, wanted: _Wanted) -> np.ndarray:
    """The columns of a table, the first four where they have no names."""
    if array.dtype.names:
        names = wanted.names_in(array.dtype.names)
        return np.column_stack([real_numbers(array[name]) for name in names])
    if array.ndim != 2 or array.shape[1] < 4:
        raise ValueError(f"its shape is {array.shape}, not (n, 4) or wider")
    return real_numbers(array[:, :4])


def _read_npy(path: Path, wanted: _Wanted, key: str | None, decimal: str | None) -> np.ndarray:
    return _from_array(map_npy(path), wanted)


def _read_text(path: Path, wanted: _Wanted, key: str | None, decimal: str | None) -> np.ndarray:
    """Read a table whose names stand in the line before the numbers, plain or behind a #, or nowhere."""
    table = read_table(path, decimal=decimal, least=4)
    values = table.values
    if table.names is not None:
        return values[:, [table.names.index(name) for name in wanted.names_in(table.names)]]
    # a comment may be NumPy's way to give names
    places = None if table.remark is None else wanted.places_in(table.remark)
    if places is not None:
        return values[:, places]
    if np.array_equal(values[0], np.arange(values.shape[1])):  # pandas' names of columns without
        values = values[1:]
    return _from_array(values, wanted)


def _read_hdf5(path: Path, wanted: _Wanted, key: str | None, decimal: str | None) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        name = next(iter(file)) if key is None and len(file) == 1 else key
        node = file if name is None else entry_of(file, name)
        if isinstance(node, h5py.Dataset):
            return _from_array(node[...], wanted)
        names = wanted.names_in(node)
        return np.column_stack([real_numbers(entry_of(node, name)[...]) for name in names])


def _read_root(path: Path, wanted: _Wanted, key: str | None, decimal: str | None) -> np.ndarray:
    import uproot

    with uproot.open(path) as file:
        tree = file[_only(file.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"]), key)]
        names = wanted.names_in(tree.keys())
        check_size(8 * tree.num_entries, path.stat().st_size)
        branches = {name: tree[name].array() for name in names}
    return np.column_stack([real_numbers(b) for b in flat_branches(branches, names)])


def _only(names, key: str | None) -> str:
    """The entry that was asked for, or the only one there is."""
    names = list(names)
    if key in names:
        return key
    if key is None and len(set(names)) == 1:
        return names[0]
    raise ValueError(f"key={key!r} does not choose one of its entries {names}")


_READERS = {
    ".npy": _read_npy,
    ".csv": _read_text,
    ".txt": _read_text,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".root": _read_root,
}
