"""make_jets looks like real jets; load_jets reads what people have, and says what it cannot."""

import re
from pathlib import Path

import awkward
import h5py
import numpy as np
import pandas as pd
import pytest
import uproot

from skae import KinematicsTransformer
from skae.datasets import load_jets, make_jets
from skae.exceptions import UnitsWarning

REAL = Path(__file__).parents[3] / "shared/data/jets/monojet_jets_E_pt_eta_phi.npy"
needs_real_jets = pytest.mark.skipif(not REAL.is_file(), reason=f"no real jets at {REAL}")
NAMES = ["E", "pt", "eta", "phi"]


# -- the generator -----------------------------------------------------------------------------


def test_generated_jets_are_physical_and_reproducible():
    X = make_jets(5000, random_state=1)
    energy, pt, eta, phi = X.T
    assert X.shape == (5000, 4)
    assert X.dtype == np.float64
    assert (pt >= 22.0 * (1 - 1e-12)).all()
    assert (energy >= pt * np.cosh(eta)).all()
    assert (np.abs(phi) <= np.pi).all()
    np.testing.assert_array_equal(X, make_jets(5000, random_state=1))
    frame = make_jets(5000, random_state=1, as_frame=True)
    assert list(frame.columns) == NAMES
    np.testing.assert_array_equal(frame.to_numpy(), X)


def summary(X):
    """What makes jets look like jets: spectrum, masses, correlations, masslessness."""
    energy, pt, eta, _ = X.T
    mass = KinematicsTransformer().fit_transform(X)[:, 3]
    massless = ((energy - pt * np.cosh(eta)) / energy.std()) ** 2
    return {
        "median pT": np.median(pt),
        "99 % pT": np.quantile(pt, 0.99),
        "median E": np.median(energy),
        "eta spread": eta.std(),
        "median m/pT": np.median(mass),
        "99 % m/pT": np.quantile(mass, 0.99),
        "corr(log pT, m/pT)": np.corrcoef(np.log(pt), mass)[0, 1],
        "corr(log pT, log E)": np.corrcoef(np.log(pt), np.log(energy))[0, 1],
        "massless error": massless.mean() / 4,
    }


def test_generated_jets_have_the_published_look():
    """Real mono-jet sample, measured: 2.3e-5 for E = pT cosh η, correlation −0.43 of m/pT and log pT."""
    look = summary(make_jets(20_000, random_state=0))
    assert 80 < look["median pT"] < 150
    assert 1.8e-5 < look["massless error"] < 2.9e-5
    assert -0.5 < look["corr(log pT, m/pT)"] < -0.3


@needs_real_jets
def test_generated_jets_look_like_the_real_ones():
    real = summary(load_jets(REAL, unit="MeV"))
    generated = summary(make_jets(20_000, random_state=0))
    for name, value in real.items():
        assert generated[name] == pytest.approx(value, rel=0.25), name


@needs_real_jets
def test_real_jets_survive_the_round_trip_negative_masses_included():
    X = load_jets(REAL, unit="MeV")
    kinematics = KinematicsTransformer().fit(X)
    features = kinematics.transform(X)
    assert (features[:, 3] < 0).sum() == 23
    np.testing.assert_allclose(kinematics.inverse_transform(features), X, rtol=1e-12)


# -- the reader --------------------------------------------------------------------------------


def frame_of(X, names=NAMES):
    return pd.DataFrame(X, columns=names)


def write_text(path, X, **options):
    np.savetxt(path, X, fmt="%.17g", **options)


def write_hdf5(path, **entries):
    with h5py.File(path, "w") as file:
        for name, values in entries.items():
            file[name] = values


def write_root(path, **branches):
    with uproot.recreate(path) as file:
        file["events"] = branches


def by_event(column):
    return awkward.unflatten(column, [len(column) - 3, 0, 3])


#: what writes jets to a file, by the name of that file
FORMATS = {
    "array.npy": np.save,
    "names.csv": lambda path, X: frame_of(X).to_csv(path, index=False),
    "no_names.csv": lambda path, X: write_text(path, X, delimiter=","),
    "no_names.txt": write_text,
    "names.txt": lambda path, X: write_text(path, X, header="E pt eta phi"),
    "remarks.txt": lambda path, X: write_text(path, X, header="run 7, calibrated\nno names here"),
    "index.csv": lambda path, X: frame_of(X).to_csv(path),
    "numbers_for_names.csv": lambda path, X: pd.DataFrame(X).to_csv(path, index=False),
    "another_order.csv": lambda path, X: frame_of(X)[["phi", "E", "eta", "pt"]].to_csv(
        path, index=False
    ),
    "title.csv": lambda path, X: path.write_text(
        "Run 7, calibrated\n" + frame_of(X).to_csv(index=False), encoding="utf-8-sig"
    ),
    "excel.csv": lambda path, X: frame_of(X)[["pt", "eta", "phi", "E"]].to_csv(
        path, index=False, sep=";", decimal=",", encoding="utf-8-sig"
    ),
    "unicode_text.txt": lambda path, X: frame_of(X).to_csv(
        path, index=False, sep="\t", decimal=",", encoding="utf-16"
    ),
    "latin.csv": lambda path, X: path.write_bytes(
        "# 24 µW, E in GeV\n".encode("latin-1") + frame_of(X).to_csv(index=False).encode()
    ),
    "described.txt": lambda path, X: write_text(
        path, X[:, [1, 2, 3, 0]], header="pT [GeV], eta, phi, E [GeV]"
    ),
    "other_names.csv": lambda path, X: frame_of(
        X[:, [1, 2, 3, 0]], ["jet_pt", "jet_eta", "jet_phi", "jet_e"]
    ).to_csv(path, index=False),
    "table.h5": lambda path, X: write_hdf5(path, jets=X),
    "columns.hdf5": lambda path, X: write_hdf5(
        path, **{f"jets/{NAMES[j]}": X[:, j] for j in (3, 1, 0, 2)}
    ),
    "other_names.h5": lambda path, X: write_hdf5(
        path, **{f"jets/{['energy', 'pT', 'Eta', 'PHI'][j]}": X[:, j] for j in range(4)}
    ),
    "records.h5": lambda path, X: write_hdf5(path, jets=np.rec.fromarrays(X.T, names=NAMES)),
    "flat.root": lambda path, X: write_root(path, **dict(zip(NAMES, X.T, strict=True))),
    "other_names.root": lambda path, X: write_root(
        path, **dict(zip(["Jet_e", "Jet_pt", "Jet_eta", "Jet_phi"], X.T, strict=True))
    ),
    "jagged.root": lambda path, X: write_root(
        path, **dict(zip(NAMES, map(by_event, X.T), strict=True))
    ),
}


# uproot's writer still calls what NumPy 2.4 deprecates
@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_jets(name, tmp_path):
    X = make_jets(20, random_state=0)
    FORMATS[name](tmp_path / name, X)
    np.testing.assert_allclose(load_jets(tmp_path / name), X, rtol=1e-15)


@pytest.mark.parametrize(("unit", "factor"), [("MeV", 1e-3), ("GeV", 1.0), ("TeV", 1e3)])
def test_energies_and_momenta_are_converted_angles_are_not(unit, factor, tmp_path):
    X = make_jets(20, random_state=0)
    np.save(tmp_path / "jets.npy", X / [factor, factor, 1, 1])
    frame = load_jets(str(tmp_path / "jets.npy"), unit=unit, as_frame=True)
    np.testing.assert_allclose(frame.to_numpy(), X, rtol=1e-15)
    assert list(frame.columns) == NAMES


@pytest.mark.parametrize(
    ("written", "unit", "median"),
    [(1e3, "GeV", "9.71e+04"), (1.0, "TeV", "9.71e+04"), (1.0, "MeV", "0.0971")],
)
def test_another_unit_than_that_of_the_file_is_told(written, unit, median, tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(20, random_state=0) * [written, written, 1, 1])
    message = re.escape(f"the median pT is {median} GeV; is the file in {unit}? Set unit=")
    with pytest.warns(UnitsWarning, match=message) as caught:
        load_jets(tmp_path / "jets.npy", unit=unit)
    assert caught[0].filename == __file__


def test_degrees_are_told(tmp_path):
    X = make_jets(20, random_state=0)
    np.save(tmp_path / "jets.npy", np.column_stack([X[:, :3], np.rad2deg(X[:, 3])]))
    with pytest.warns(UnitsWarning, match=r"jets.npy': phi reaches 1.*, beyond 2π: in degrees"):
        load_jets(tmp_path / "jets.npy")


@needs_real_jets
def test_real_jets_without_their_unit_are_told():
    with pytest.warns(UnitsWarning, match="the median pT is 1.217e"):
        load_jets(REAL)


def test_other_names_and_keys_can_be_given(tmp_path):
    X = make_jets(20, random_state=0)
    groups = ("leading", "other")
    columns = {f"{g}/{name}": x for g in groups for name, x in zip("abcd", X.T, strict=True)}
    write_hdf5(tmp_path / "jets.h5", **columns)
    jets = load_jets(tmp_path / "jets.h5", key="leading", columns=("a", "b", "c", "d"))
    np.testing.assert_array_equal(jets, X)


def test_a_path_inside_an_hdf5_file_is_a_key(tmp_path):
    X = make_jets(20, random_state=0)
    write_hdf5(tmp_path / "jets.h5", **{"events/jets": X, "other": [1.0]})
    np.testing.assert_array_equal(load_jets(tmp_path / "jets.h5", key="events/jets"), X)


def test_the_file_is_not_changed_and_not_held(tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(5, random_state=0) * [1e3, 1e3, 1, 1])
    before = (tmp_path / "jets.npy").read_bytes()
    load_jets(tmp_path / "jets.npy", unit="MeV")[:] = 0.0
    assert (tmp_path / "jets.npy").read_bytes() == before


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy' is not a file"):
        load_jets(tmp_path / "nowhere.npy")


NO_JETS = "cannot be read as four columns of numbers"
JETS_WITH_A_GAP = np.where(np.arange(80).reshape(20, 4) == 7 * 4 + 2, np.nan, 1.0)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "jets.npy",
            lambda path: np.save(path, JETS_WITH_A_GAP),
            "has 1 rows with missing or infinite values, the first is row 7",
        ),
        ("jets.npy", lambda path: np.save(path, np.ones((5, 3))), r"its shape is \(5, 3\)"),
        ("jets.npy", lambda path: np.save(path, np.ones(5)), r"its shape is \(5,\)"),
        (
            "jets.csv",
            lambda path: frame_of(np.ones((5, 4)), ["et", *NAMES[1:]]).to_csv(path, index=False),
            r"its columns \['et', 'pt', 'eta', 'phi'\] name no E; set columns=",
        ),
        (
            "jets.csv",
            lambda path: frame_of(np.ones((5, 4)), list("abcd")).to_csv(path, index=False),
            r"no column \['E', 'pt', 'eta', 'phi'\], only \['a', 'b', 'c', 'd'\]; set columns=",
        ),
        (
            "jets.npy",
            lambda path: np.save(path, np.ones((5, 4))),
            "5 rows with energies below their",
        ),
        ("jets.csv", lambda path: path.write_text("E,pt,eta,phi\n"), NO_JETS),
        ("jets.csv", lambda path: path.write_text("E,pt,eta,phi\n1,2,3,4,5\n"), NO_JETS),
        ("jets.csv", lambda path: path.write_text(""), NO_JETS),
    ],
)
def test_files_without_jets_are_errors_that_say_why(name, write, message, tmp_path):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        load_jets(tmp_path / name)


@pytest.mark.parametrize("suffix", ["npy", "csv", "h5", "root"])
def test_a_corrupt_file_is_named(suffix, tmp_path):
    path = tmp_path / f"jets.{suffix}"
    path.write_bytes(b"\x93NUMPY\x01\x00 no jets here, \x00\x01\x02\n1,2\n")
    with pytest.raises(ValueError, match=rf"jets.{suffix}' {NO_JETS}"):
        load_jets(path)


def test_an_ambiguous_key_lists_the_choices(tmp_path):
    write_hdf5(tmp_path / "jets.h5", **{"a/E": [1.0], "b/E": [1.0]})
    message = r"it has no 'c', only \['a', 'b'\]"
    with pytest.raises(ValueError, match=message):
        load_jets(tmp_path / "jets.h5", key="c")


def test_other_arguments_are_checked(tmp_path):
    (tmp_path / "jets.xls").write_text("")
    with pytest.raises(ValueError, match=r"is of no known kind; known are .npy, .csv"):
        load_jets(tmp_path / "jets.xls")
    with pytest.raises(ValueError, match="'unit' parameter of load_jets must be a str among"):
        load_jets(tmp_path / "jets.npy", unit="keV")
    with pytest.raises(ValueError, match="must name four columns"):
        load_jets(tmp_path / "jets.npy", columns=("E", "pt"))
    with pytest.raises(ValueError, match="'n_samples' parameter of make_jets"):
        make_jets(0)


def test_a_unit_that_the_names_state_is_held_against_the_one_given(tmp_path):
    path = tmp_path / "jets.csv"
    path.write_text("E [MeV],pt [MeV],eta,phi\n120e3,100e3,0.5,3.0\n")
    with pytest.raises(ValueError, match="its names say MeV, not GeV; set unit="):
        load_jets(path)
    np.testing.assert_allclose(load_jets(path, unit="MeV"), [[120.0, 100.0, 0.5, 3.0]])


def test_of_many_columns_the_closest_to_what_is_missing_are_named(tmp_path):
    names = [*(f"HLT_path{i}" for i in range(500)), "Jet_pt", "Jet_eta", "Jet_mass", "Muon_phi"]
    frame_of(np.ones((3, len(names))), names).to_csv(tmp_path / "many.csv", index=False)
    with pytest.raises(ValueError, match=r"the closest of 504: .*'Muon_phi'") as refused:
        load_jets(tmp_path / "many.csv", columns=("m", "pt", "eta", "phi"))
    assert "'Jet_pt'" in str(refused.value)
    assert len(str(refused.value)) < 500
    frame_of(np.ones((3, 500)), names[:500]).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ValueError, match=r"only \(the closest of 500: ") as refused:
        load_jets(tmp_path / "none.csv")
    assert len(str(refused.value)) < 500
