"""Jets: a generator with the look of a real sample, and a reader for the files people have."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skae._parameters import COUNT, arguments
from skae._sklearn import Interval, StrOptions
from skae._warn import warn
from skae.datasets._files import kind_of, reading
from skae.datasets._jet_files import Asked, read_jets
from skae.datasets._jet_substructure import NAMES as SUBSTRUCTURE
from skae.datasets._jet_substructure import add_substructure
from skae.datasets._table_files import KINDS, TEXTS
from skae.datasets._text import DECIMAL
from skae.exceptions import UnitsWarning
from skae.physics.kinematics import (
    COORDINATES,
    are_below_mass_shell,
    energy_pt_eta_phi,
    implausible_angles,
)

_NAMES = ("E", "pt", "eta", "phi")
# In GeV. No collider reaches the former; at the latter there are no jets.
_LARGEST_MEDIAN_PT = 1e4
_SMALLEST_MEDIAN_PT = 1.0
# Of pT. Large jets at small pT have about a third.
_LARGEST_MEDIAN_MASS = 1.0
_GEV = {"MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}


@arguments(
    n_samples=COUNT,
    n_features=Interval(Integral, 4, 4 + len(SUBSTRUCTURE), closed="both"),
    random_state="random_state",
    as_frame="boolean",
)
def make_jets(n_samples=10000, *, n_features=4, random_state=None, as_frame=False):
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
    n_features : int, default=4
        Number of columns, 4 to 25. Those beyond four tell of the inside of a jet, in this order: mass,
        girth, lha, width, n_constituents, n_charged, n_subjets, charged_fraction, em_fraction,
        muon_fraction, pt_dispersion, leading_fraction, charge, tau1, tau21, tau32, C2, D2,
        soft_drop_mass, zg and rg. They follow from a few hidden variables and noise; some are skewed,
        some integers, some often zero.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.
    as_frame : bool, default=False
        Return a DataFrame with column names rather than an array.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        Energy and transverse momentum in GeV, pseudorapidity, azimuth in radians in [−π, π), and what
        ``n_features`` asks for; masses are in GeV, angles in units of the jet's radius.

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
    if n_features > 4:
        X = add_substructure(X, rng)[:, :n_features]
    return _as_frame(X, SUBSTRUCTURE[: n_features - 4]) if as_frame else X


@arguments(
    path=[str, Path],
    unit=StrOptions(set(_GEV)),
    columns=["array-like", Mapping, None],
    features="array-like",
    key=[str, None],
    return_event="boolean",
    as_frame="boolean",
    decimal=DECIMAL,
)
def load_jets(
    path,
    *,
    unit="GeV",
    columns=None,
    features=(),
    key=None,
    return_event=False,
    as_frame=False,
    decimal=None,
):
    """Read jets, one a row, from a file of text, NumPy, HDF5, Parquet or ROOT.

    Four-momenta may be written as E or m with pT, η and φ, or as E or m with px, py and pz; they come
    back as E, pT, η and φ.

    Parameters
    ----------
    path : str or Path
        One of:

        - a .csv, .tsv, .txt or .dat table, with or without names, packed or not (.gz, .bz2, .xz);
        - an array in .npy, or arrays in .npz, with rows of numbers, or records, or one array a column;
        - an .h5 or .hdf5 file with a dataset of these kinds, or one dataset a column, or written by
          pandas' ``to_hdf``; all of it in this file (needs h5py: the extra ``calo``);
        - a .parquet file (needs pyarrow: the extra ``parquet``);
        - a .root file with a TTree or an RNTuple (needs uproot: the extra ``root``).

        Columns with several numbers for each event, jagged ones, are flattened: every jet of every event
        is a row. All four need as many entries in each event.
    unit : {"MeV", "GeV", "TeV"}, default="GeV"
        The unit of energies, momenta and masses *in the file*. The result is in GeV. Names that state
        another one, "pt [MeV]" say, are an error. ATLAS writes MeV, CMS and Delphes GeV.
    columns : sequence or dict of str, default=None
        The file's names of the four-momentum. None finds them by name, regardless of case, with aliases,
        as :class:`~skae.KinematicsTransformer` does: those of NanoAOD, PHYSLITE and Delphes, and any set
        that is complete and the only one, or the only one of an object called "jet". Else four names,
        which stand for what they say, or for E, pT, η and φ in this order; or which column is which:
        ``{"m": "FatJet_mass", "pt": "FatJet_pt", "eta": "FatJet_eta", "phi": "FatJet_phi"}``. In a file
        without names columns are given by number, from 0 on; None takes the first four for E, pT, η, φ.
    features : sequence of str or int, default=()
        Further columns, by name or number: numbers of each jet, or of each event, which all its jets get.
        They stay in the file's units.
    key : str, default=None
        Which table: dataset or group (HDF5), array (.npz), tree (ROOT). None takes the only one there is,
        or the only one with jets.
    return_event : bool, default=False
        Return also which event each jet is of.
    as_frame : bool, default=False
        Return a DataFrame with column names rather than an array.
    decimal : {".", ","}, default=None
        The decimal sign of a text file. None finds it, and refuses a file that could be read in two ways.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, 4 + n_features)
        Energy and transverse momentum in GeV, pseudorapidity, azimuth in radians, and ``features``, where
        missing values are NaN.
    event : ndarray of int of shape (n_samples,)
        With ``return_event``: the number of the event, or of the row, in the file, from 0 on.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, lacks a column, or has no rows; if its names state another unit; if
        momenta are missing, infinite, complex or dates, if a pT is not positive, or energies are below
        the momenta by more than 1e-4 of these; if branches have other numbers of jets in an event; or
        if it refers to other files.

    Warns
    -----
    UnitsWarning
        If angles look like degrees; if the median mass is above the median pT; or if the median pT is
        above 10⁴ GeV, which no collider reaches, or below 1 GeV, where there are no jets.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from skae.datasets import load_jets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "jets.npy")
    ...     np.save(file, [[120e3, 100e3, 0.5, 3.0]])
    ...     load_jets(file, unit="MeV")
    array([[120. , 100. ,   0.5,   3. ]])

    By mass, with a tagger's output beside:

    >>> import pandas as pd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "jets.csv")
    ...     names = ["Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass", "tag"]
    ...     pd.DataFrame([[12.0, 0.0, 1.0, 5.0, 0.9]], columns=names).to_csv(file, index=False)
    ...     load_jets(file, features=["tag"], as_frame=True)
          E    pt  eta  phi  tag
    0  13.0  12.0  0.0  1.0  0.9
    """
    path = Path(path)
    kind = kind_of(path, KINDS, TEXTS)
    asked = Asked(_checked(columns), list(features), unit)
    if repeated := set(_NAMES) & set(asked.features):
        raise ValueError(f"features={asked.features} has {sorted(repeated)}, which come anyway.")
    with reading(path, f"four columns of numbers from a {kind} file"):
        jets = read_jets(path, kind, asked, key, decimal)
        if len(jets.event) == 0:
            raise ValueError("it has no rows")
    _check(path, jets.momenta, columns)
    X = np.column_stack([*energy_pt_eta_phi(jets.momenta), *jets.features])
    X[:, :2] *= _GEV[unit]
    for clause in _implausible(X, unit):
        warn(f"path={str(path)!r}: {clause}{'' if clause.endswith('?') else '.'}", UnitsWarning)
    table = _as_frame(X, jets.feature_names) if as_frame else X
    return (table, jets.event) if return_event else table


def _checked(columns: Any) -> Any:
    """Return ``columns`` if they can be four of a four-momentum."""
    if columns is None:
        return None
    if isinstance(columns, Mapping):
        if sorted(columns) not in [sorted(components) for components in COORDINATES]:
            raise ValueError(
                f"columns={columns} must say which columns are {', '.join(map(str, COORDINATES))}."
            )
        return dict(columns)
    columns = list(columns)
    if len(columns) != 4:
        raise ValueError(f"columns={columns} must name four columns: energy, pT, eta and phi.")
    if not all(isinstance(name, str) for name in columns):
        raise ValueError(
            f"columns={columns} must be names; numbers go in a dict: columns={{'E': 0, 'pt': 1, "
            "'eta': 2, 'phi': 3}."
        )
    return columns


def _check(path: Path, momenta: dict[str, np.ndarray], columns: Any) -> None:
    """Refuse what cannot be four-momenta of jets."""
    rows = np.column_stack(list(momenta.values()))

    def refuse(bad: np.ndarray, what: str) -> None:
        if bad.any():
            raise ValueError(
                f"path={str(path)!r} has {bad.sum()} rows with {what}, the first is row {bad.argmax()}: "
                f"{dict(zip(momenta, rows[bad.argmax()].tolist(), strict=True))}. Remove them."
            )

    remedy = "(what each column is, a mass say, is told by columns={'m': …, 'pt': …, …}"
    remedy += ")" if columns is None else f"; is {columns} right?)"
    refuse(~np.isfinite(rows).all(axis=1), "missing or infinite values")
    if "px" in momenta:
        refuse((momenta["px"] == 0.0) & (momenta["py"] == 0.0), "px = py = 0")
    else:
        refuse(momenta["pt"] <= 0.0, f"pt <= 0 {remedy}")
    energy, pt, eta, _ = energy_pt_eta_phi(momenta)
    below = are_below_mass_shell({"E": energy, "pt": pt, "eta": eta})
    what = (
        "masses below zero and beyond their momenta"
        if "m" in momenta
        else "energies below their momenta"
    )
    refuse(below, f"{what} {remedy}")


def _implausible(X: np.ndarray, unit: str) -> list[str]:
    """Return what looks wrong with jets in GeV, each in a clause."""
    energy, pt, eta, phi = X[:, :4].T
    found, median = implausible_angles(eta, phi), np.median(pt)
    if median > _LARGEST_MEDIAN_PT or median < _SMALLEST_MEDIAN_PT:
        found.append(
            f"the median pT is {median:.4g} GeV; is the file in {unit}? Set unit= to what it is"
        )
    with np.errstate(all="ignore"):
        mass = np.median(np.sqrt(np.clip(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0, None)) / pt)
    if mass > _LARGEST_MEDIAN_MASS:
        found.append(
            f"the median mass is {mass:.4g} times pT, as no jet's is; are E and pT what columns= says, "
            "in one unit?"
        )
    return found


def _as_frame(X: np.ndarray, further: Sequence[str] = ()) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=[*_NAMES, *further])
