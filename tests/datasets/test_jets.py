"""make_jets looks like real jets; load_jets reads what people have, and says what it cannot."""

import bz2
import gzip
import lzma
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
from skae.physics.column_names import find_momentum

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


ROOT_FILES = REAL.parents[1] / "root"


@pytest.mark.skipif(not ROOT_FILES.is_dir(), reason=f"no real files in {ROOT_FILES}")
def test_real_root_files_are_read_by_name_with_what_stands_beside():
    path = ROOT_FILES / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    X, event = load_jets(path, features=["Jet_nConstituents", "MET_pt"], return_event=True)
    with uproot.open(path) as file:
        jets = file["Events"].arrays(["Jet_pt", "Jet_mass", "Jet_nConstituents", "MET_pt"])
    np.testing.assert_allclose(X[:, 1], awkward.flatten(jets["Jet_pt"]))
    masses = awkward.to_numpy(awkward.flatten(jets["Jet_mass"]))
    np.testing.assert_allclose(masses_of(X), masses, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(event, np.repeat(np.arange(200), awkward.num(jets["Jet_pt"])))
    np.testing.assert_array_equal(X[:, 4], awkward.flatten(jets["Jet_nConstituents"]))
    np.testing.assert_array_equal(X[:, 5], awkward.to_numpy(jets["MET_pt"])[event])
    jets = load_jets(ROOT_FILES / "uproot-HZZ.root")
    with uproot.open(ROOT_FILES / "uproot-HZZ.root") as file:
        px, py = (awkward.flatten(file["events"][name].array()) for name in ("Jet_Px", "Jet_Py"))
    np.testing.assert_allclose(jets[:, 1], np.hypot(px, py), rtol=1e-7)


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


def masses_of(X):
    return KinematicsTransformer().fit_transform(X)[:, 3] * X[:, 1]


def by_mass(X, prefix="", m="m"):
    """A table of pT, η, φ and mass."""
    names = [f"{prefix}{name}" for name in ("pt", "eta", "phi", m)]
    return frame_of(np.column_stack([X[:, 1:], masses_of(X)]), names)


def cartesian(X, prefix="", last="E"):
    _, pt, eta, phi = X.T
    columns = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    columns.append(X[:, 0] if last == "E" else masses_of(X))
    return frame_of(
        np.column_stack(columns), [f"{prefix}{name}" for name in ("px", "py", "pz", last)]
    )


def write_packed(open_packed):
    def write(path, X):
        with open_packed(path, "wt") as file:
            frame_of(X).to_csv(file, index=False)

    return write


def write_parquet(path, columns):
    """Write a table, with lists of records for awkward arrays of them."""
    awkward.to_parquet(awkward.Array(columns), path)


def jagged(frame):
    return {name: by_event(frame[name].to_numpy()) for name in frame}


def write_rntuple(path, **fields):
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", fields)


def write_trees(path, **trees):
    with uproot.recreate(path) as file:
        for name, branches in trees.items():
            kinds = {n: "var * float64" if b.ndim == 2 else b.dtype for n, b in branches.items()}
            file.mktree(name, kinds)
            file[name].extend(branches)


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
    "announced.txt": lambda path, X: write_text(
        path, X[:, [1, 2, 3, 0]], header="columns: pt eta phi E"
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
    "array.npz": lambda path, X: np.savez(path, jets=X),
    "beside_labels.npz": lambda path, X: np.savez_compressed(
        path, labels=np.ones((len(X), 1)), jets=X
    ),
    "columns.npz": lambda path, X: np.savez(path, **by_mass(X, "jet_")),
    "records.npz": lambda path, X: np.savez(path, jets=by_mass(X).to_records(index=False), y=[1.0]),
    "tabs.tsv": lambda path, X: frame_of(X).to_csv(path, index=False, sep="\t"),
    "packed.csv.gz": write_packed(gzip.open),
    "packed.tsv.bz2": write_packed(bz2.open),
    "packed.txt.xz": write_packed(lzma.open),
    "masses.csv": lambda path, X: by_mass(X, "Jet_", "mass").to_csv(path, index=False),
    "cartesian.csv": lambda path, X: cartesian(X).to_csv(path, index=False),
    "cartesian_masses.dat": lambda path, X: cartesian(X, "jet1_", "m").to_csv(path, index=False),
    "flat.parquet": lambda path, X: by_mass(X).to_parquet(path),
    "jagged.parquet": lambda path, X: write_parquet(path, jagged(by_mass(X, "Jet_", "mass"))),
    "records.parquet": lambda path, X: write_parquet(
        path, {"Jet": awkward.zip(jagged(by_mass(X))), "MET": [1.0, 2.0, 3.0]}
    ),
    "pandas_fixed.h5": lambda path, X: by_mass(X).assign(n=1).to_hdf(path, key="df"),
    "pandas_table.h5": lambda path, X: (
        cartesian(X).assign(n=1).to_hdf(path, key="df", format="table")
    ),
    "pandas_data_columns.h5": lambda path, X: cartesian(X).to_hdf(
        path, key="a/b", format="table", data_columns=True
    ),
    "beside_tracks.h5": lambda path, X: write_hdf5(
        path,
        jets=by_mass(X).to_records(index=False),
        tracks=np.ones((len(X), 5), dtype=[("pt", "f4"), ("d0", "f4")]),
        images=np.ones((len(X), 3, 3)),
    ),
    "groups.h5": lambda path, X: write_hdf5(
        path,
        **{f"events/jets/{name}": column for name, column in by_mass(X).items()},
        **{"events/met": np.ones(3), "labels": np.ones(len(X))},
    ),
    "masses.root": lambda path, X: write_root(path, **jagged(by_mass(X, "Jet_", "mass"))),
    "cartesian.root": lambda path, X: write_root(path, **jagged(cartesian(X, "Jet_"))),
    "nano_aod.root": lambda path, X: write_root(
        path,
        **jagged(by_mass(X, "Jet_", "mass")),
        **jagged(by_mass(X[::-1], "FatJet_", "mass")),
        Muon_pt=by_event(X[:, 1]),
        MET_phi=np.ones(3),
    ),
    "physlite.root": lambda path, X: write_trees(
        path,
        CollectionTree={
            **jagged(by_mass(X, "AnalysisJetsAuxDyn.")),
            **jagged(by_mass(X[::-1], "AnalysisLargeRJetsAuxDyn.")),
        },
        MetaData={"version": np.ones(1)},
    ),
    "records.root": lambda path, X: write_rntuple(
        path, Jet=awkward.zip(jagged(by_mass(X))), MET=np.ones(3)
    ),
    "several_trees.root": lambda path, X: write_trees(
        path,
        Runs={"run": np.arange(2)},
        Events={name: column.to_numpy() for name, column in by_mass(X, "Jet_").items()},
        Meta={"name_length": np.ones(3)},
    ),
}


# uproot's writer still calls what NumPy 2.4 deprecates
@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_jets(name, tmp_path):
    X = make_jets(20, random_state=0)
    FORMATS[name](tmp_path / name, X)
    np.testing.assert_allclose(load_jets(tmp_path / name), X, rtol=1e-13)


# -- which columns -----------------------------------------------------------------------------

LHCO = [f"{name}j{k}" for k in (1, 2) for name in ("px", "py", "pz", "m", "tau1", "tau2")]
DELPHES = [
    "Event", "Event/Event.Number", "GenJet", "GenJet/GenJet.PT", "GenJet/GenJet.Eta",
    "GenJet/GenJet.Phi", "GenJet/GenJet.Mass", "Jet", "Jet/Jet.fUniqueID", "Jet/Jet.PT", "Jet/Jet.Eta",
    "Jet/Jet.Phi", "Jet/Jet.T", "Jet/Jet.Mass", "Jet/Jet.DeltaEta", "Jet_size", "MissingET/MissingET.Phi",
]  # fmt: skip


def test_names_of_common_files_are_known():
    found = find_momentum(DELPHES)
    assert {c: DELPHES[place] for c, place in found.items()} == {
        "m": "Jet/Jet.Mass",
        "pt": "Jet/Jet.PT",
        "eta": "Jet/Jet.Eta",
        "phi": "Jet/Jet.Phi",
    }
    rntuple_of_atlas = [f"AnalysisJetsAuxDyn:{name}" for name in ("eta", "m", "phi", "pt", "Jvt")]
    assert find_momentum(rntuple_of_atlas) == {"m": 1, "pt": 3, "eta": 0, "phi": 2}
    assert find_momentum(LHCO[:6]) == {"px": 0, "py": 1, "pz": 2, "m": 3}
    with pytest.raises(ValueError, match=r"several four-momenta: \['pxj1', 'pxj2'\]"):
        find_momentum(LHCO)


def lhco_file(path, X, Y):
    parts = [cartesian(jets, last="m").assign(tau1=0.1, tau2=k) for k, jets in ((1, X), (2, Y))]
    frame = pd.concat(parts, axis=1)
    frame.columns = LHCO
    frame.to_hdf(path, key="df")


def test_one_of_several_jets_in_a_row_is_chosen_by_its_names(tmp_path):
    X, Y = make_jets(10, random_state=0), make_jets(10, random_state=1)
    lhco_file(tmp_path / "lhco.h5", X, Y)
    with pytest.raises(ValueError, match=r"several four-momenta.*; set columns="):
        load_jets(tmp_path / "lhco.h5")
    for columns in (
        {"m": "mj2", "px": "pxj2", "py": "pyj2", "pz": "pzj2"},
        ("mj2", "pxj2", "pyj2", "pzj2"),
        ("pxj2", "pyj2", "pzj2", "mj2"),
    ):
        jets = load_jets(
            tmp_path / "lhco.h5", columns=columns, features=["tau2j2", "tau1j1"], as_frame=True
        )
        np.testing.assert_allclose(jets[NAMES], Y, rtol=1e-13)
        assert list(jets.columns) == [*NAMES, "tau2j2", "tau1j1"]
        np.testing.assert_array_equal(jets.iloc[:, 4:], np.tile([2.0, 0.1], (10, 1)))


@pytest.mark.parametrize("name", ["jets.npy", "jets.npz", "jets.txt", "jets.h5"])
def test_columns_without_names_have_numbers(name, tmp_path):
    X = make_jets(20, random_state=0)
    table = np.column_stack([np.arange(20.0) + 0.5, by_mass(X), np.full(20, np.nan)])
    write = {"npy": np.save, "npz": np.savez, "txt": write_text}.get(name[-3:])
    if write is None:
        write_hdf5(tmp_path / name, jets=table)
    else:
        write(tmp_path / name, table)
    columns = {"m": 4, "pt": 1, "eta": 2, "phi": 3}
    jets = load_jets(tmp_path / name, columns=columns, features=[5, 0], as_frame=True)
    np.testing.assert_allclose(jets[NAMES], X, rtol=1e-13)
    assert list(jets.columns) == [*NAMES, "5", "0"]
    assert jets["5"].isna().all()
    np.testing.assert_array_equal(jets["0"], np.arange(20.0) + 0.5)
    with pytest.raises(ValueError, match="there is no column 6, of 6 from 0 on; set features="):
        load_jets(tmp_path / name, columns=columns, features=[6])
    with pytest.raises(
        ValueError, match="its columns have no names; give their numbers, from 0 on"
    ):
        load_jets(tmp_path / name, columns=columns, features=["tau"])


def test_four_names_stand_for_what_they_say_in_any_order(tmp_path):
    X = make_jets(20, random_state=0)
    np.save(tmp_path / "jets.npy", by_mass(X))
    jets = load_jets(tmp_path / "jets.npy", columns=("pt", "eta", "phi", "m"))
    np.testing.assert_allclose(jets, X, rtol=1e-13)
    message = "'mass' does not name E, the column that stands there"
    with pytest.raises(ValueError, match=message):
        load_jets(tmp_path / "jets.npy", columns=("mass", "a", "b", "c"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_further_columns_ride_along_and_events_are_told(suffix, tmp_path):
    X = make_jets(20, random_state=0)
    path, tag = tmp_path / f"jets.{suffix}", np.arange(20)
    branches = {
        **jagged(by_mass(X, "Jet_")),
        "Jet_tag": by_event(tag),
        "met": np.array([1.0, 2, 3]),
    }
    if suffix == "root":
        write_root(path, **branches)
    else:
        write_parquet(path, branches)
    jets, event = load_jets(path, features=["met", "Jet_tag"], return_event=True)
    of_event = np.repeat([0, 2], [17, 3])
    np.testing.assert_array_equal(event, of_event)
    np.testing.assert_allclose(jets[:, :4], X, rtol=1e-13)
    np.testing.assert_array_equal(jets[:, 4:], np.column_stack([of_event + 1.0, tag]))


def test_in_a_table_an_event_is_a_row(tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(5, random_state=0))
    _, event = load_jets(tmp_path / "jets.npy", return_event=True)
    np.testing.assert_array_equal(event, np.arange(5))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
def test_further_columns_of_other_collections_are_refused(tmp_path):
    X = make_jets(20, random_state=0)
    muons = awkward.unflatten(np.ones(20), [3, 3, 14])
    write_root(tmp_path / "jets.root", **jagged(by_mass(X)), muon_charge=muons)
    with pytest.raises(ValueError, match=r"\['muon_charge'\] have other numbers of entries"):
        load_jets(tmp_path / "jets.root", features=["muon_charge"])


def test_one_of_several_tables_with_jets_is_chosen_by_its_key(tmp_path):
    X, Y = make_jets(10, random_state=0), make_jets(10, random_state=1)
    both = {
        "b/jets": by_mass(X).to_records(index=False),
        "a/jets": by_mass(Y).to_records(index=False),
    }
    write_hdf5(tmp_path / "two.h5", **both)
    np.savez(tmp_path / "two.npz", **{name.replace("/", "_"): x for name, x in both.items()})
    for name, key in (("two.h5", "b/jets"), ("two.npz", "b_jets")):
        with pytest.raises(ValueError, match=rf"jets may be in .*'{key}'.*; choose with key="):
            load_jets(tmp_path / name)
        np.testing.assert_allclose(load_jets(tmp_path / name, key=key), X, rtol=1e-13)
    with pytest.raises(ValueError, match=r"key='c' is none of its entries \['b_jets', 'a_jets'\]"):
        load_jets(tmp_path / "two.npz", key="c")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
def test_a_key_that_is_not_there_is_no_other_table(tmp_path):
    X = make_jets(20, random_state=0)
    write_trees(tmp_path / "jets.root", nominal={n: x.to_numpy() for n, x in frame_of(X).items()})
    np.savez(tmp_path / "jets.npz", train=X)
    frame_of(X).to_csv(tmp_path / "jets.csv")
    for name, key in (("jets.root", "nominal"), ("jets.root", "nominal;1"), ("jets.npz", "train")):
        np.testing.assert_array_equal(load_jets(tmp_path / name, key=key), X)
    for name in ("jets.root", "jets.npz", "jets.csv"):
        with pytest.raises(ValueError, match="key='JES_up' is none of its entries"):
            load_jets(tmp_path / name, key="JES_up")


@pytest.mark.parametrize(
    "names",
    [
        ["Jet_pt", "Jet_eta", "Jet_phi", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass"],
        ["Jet_pt", "Jet_eta", "GenJet_pt", "GenJet_eta", "GenJet_phi", "GenJet_mass"],
    ],
)
def test_other_objects_are_not_taken_for_jets(names, tmp_path):
    frame = frame_of(np.ones((5, len(names))), names)
    frame.to_csv(tmp_path / "jets.csv", index=False)
    with pytest.raises(ValueError, match=r"name no (E|phi)"):
        load_jets(tmp_path / "jets.csv")
    with pytest.raises(ValueError, match=r"name no (E|phi)"):
        KinematicsTransformer().fit(frame)
    others = [name for name in names if not name.startswith("Jet_")]
    frame[others].to_csv(tmp_path / "others.csv", index=False)
    with pytest.raises(ValueError, match=r"it has no jets by their names, only .*; set columns="):
        load_jets(tmp_path / "others.csv")
    load_jets(tmp_path / "others.csv", columns=others[-1:] + others[:-1])


def test_units_of_named_columns_are_held_against_the_one_given(tmp_path):
    path = tmp_path / "jets.csv"
    path.write_text("pt [TeV],eta,phi,m [TeV]\n0.1,0.5,3.0,0.01\n")
    columns = {"pt": "pt [TeV]", "eta": "eta", "phi": "phi", "m": "m [TeV]"}
    with pytest.raises(ValueError, match="its names say TeV, not GeV; set unit="):
        load_jets(path, columns=columns)
    assert load_jets(path, columns=columns, unit="TeV")[0, 1] == pytest.approx(100.0)
    np.save(tmp_path / "jets.npy", make_jets(20, random_state=0) * [1e-3, 1e-3, 1, 1])
    with pytest.warns(UnitsWarning, match=r"the median pT is 0.0971 GeV"):
        load_jets(tmp_path / "jets.npy")


def test_columns_that_are_arrays_or_given_twice_are_refused(tmp_path):
    X = make_jets(5, random_state=0)
    records = np.zeros(5, dtype=[*((name, "f8") for name in NAMES), ("tags", "f4", (3,))])
    for j, name in enumerate(NAMES):
        records[name] = X[:, j]
    np.save(tmp_path / "jets.npy", records)
    np.testing.assert_array_equal(load_jets(tmp_path / "jets.npy"), X)
    with pytest.raises(ValueError, match=r"'tags' has \(3,\) numbers in a row"):
        load_jets(tmp_path / "jets.npy", features=["tags"])
    np.save(tmp_path / "plain.npy", X)
    with pytest.raises(ValueError, match="columns= names a column twice"):
        load_jets(tmp_path / "plain.npy", columns={"E": 0, "pt": 1, "eta": 2, "phi": 2})
    with pytest.raises(ValueError, match="features= names a column twice"):
        load_jets(tmp_path / "plain.npy", features=[3, 3])
    with pytest.raises(
        ValueError, match=r"2.7 is no name and no number of a column; set features="
    ):
        load_jets(tmp_path / "plain.npy", features=[2.7])
    with pytest.raises(ValueError, match="must be names; numbers go in a dict"):
        load_jets(tmp_path / "plain.npy", columns=[0, 1, 2, 3])


def test_what_is_missing_in_lists_is_no_jet_and_no_number(tmp_path):
    path = tmp_path / "jets.parquet"
    columns = {"pt": [[50.0, 40.0], None, [30.0]], "eta": [[0.0, 0.1], None, [0.2]]}
    columns |= {"phi": columns["eta"], "m": columns["eta"], "tag": [[1.0, None], None, [3.0]]}
    write_parquet(path, {name: awkward.Array(column) for name, column in columns.items()})
    X, event = load_jets(path, features=["tag"], return_event=True)
    np.testing.assert_array_equal(event, [0, 0, 2])
    np.testing.assert_array_equal(X[:, [1, 4]], [[50.0, 1.0], [40.0, np.nan], [30.0, 3.0]])
    columns["pt"] = [[50.0, None], None, [30.0]]
    write_parquet(path, {name: awkward.Array(column) for name, column in columns.items()})
    with pytest.raises(ValueError, match="1 rows with missing or infinite values"):
        load_jets(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
def test_counters_of_branches_are_no_object(tmp_path):
    X = make_jets(20, random_state=0)
    write_trees(tmp_path / "jets.root", events=jagged(by_mass(X, "fatjet_")))
    np.testing.assert_allclose(load_jets(tmp_path / "jets.root"), X, rtol=1e-13)


def test_negative_masses_are_those_of_negative_squares_and_markers_are_refused(tmp_path):
    rows = [[50.0, 0.5, 1.0, -0.02], [60.0, -0.5, 2.0, 5.0]]
    frame_of(np.array(rows), ["pt", "eta", "phi", "m"]).to_csv(tmp_path / "jets.csv")
    X = load_jets(tmp_path / "jets.csv")
    np.testing.assert_allclose(
        KinematicsTransformer().fit_transform(X)[0, 3], -0.02 / 50, rtol=1e-6
    )
    rows[0][3] = -999.0
    frame_of(np.array(rows), ["pt", "eta", "phi", "m"]).to_csv(tmp_path / "marked.csv")
    with pytest.raises(ValueError, match="1 rows with masses below zero and beyond their momenta"):
        load_jets(tmp_path / "marked.csv")


@pytest.mark.parametrize("order", [[1, 2, 3, 0], [3, 2, 1, 0], [0, 2, 3, 1], [1, 0, 2, 3]])
def test_another_order_is_refused(order, tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(100, random_state=0)[:, order])
    with pytest.raises(
        ValueError, match=r"what each column is, a mass say, is told by columns=\{'m'"
    ):
        load_jets(tmp_path / "jets.npy")


def test_a_mass_taken_for_an_energy_is_refused(tmp_path):
    frame = by_mass(make_jets(20, random_state=0), "jet_")
    frame.to_csv(tmp_path / "jets.csv", index=False)
    columns = {"E": "jet_m", "pt": "jet_pt", "eta": "jet_eta", "phi": "jet_phi"}
    with pytest.raises(
        ValueError, match=r"20 rows with energies below .*, a mass say, is told by columns="
    ):
        load_jets(tmp_path / "jets.csv", columns=columns)
    np.save(tmp_path / "jets.npy", frame.to_numpy()[:, [3, 0, 1, 2]])
    with pytest.raises(
        ValueError, match=r"20 rows with energies below .*, a mass say, is told by columns="
    ):
        load_jets(tmp_path / "jets.npy")


def test_energies_in_another_unit_than_momenta_are_told(tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(20, random_state=0) * [1e3, 1, 1, 1])
    with pytest.warns(UnitsWarning, match="median mass is .* times pT, as no jet's is"):
        load_jets(tmp_path / "jets.npy")


@pytest.mark.parametrize(
    ("columns", "features", "message"),
    [
        ({"m": "m", "pt": "pt"}, [], "must say which columns are"),
        ({"E": "E", "m": "m", "eta": "eta", "phi": "phi"}, [], "must say which columns are"),
        ({"m": "mass", "pt": "pt", "eta": "eta", "phi": "phi"}, [], "no column 'mass', only .*'m'"),
        (None, ["pt"], r"features=\['pt'\] has \['pt'\], which come anyway"),
        (None, ["tau21"], r"no column 'tau21', only .*; set features="),
    ],
)
def test_columns_that_are_not_there_are_errors(columns, features, message, tmp_path):
    by_mass(make_jets(5, random_state=0)).to_csv(tmp_path / "jets.csv", index=False)
    with pytest.raises(ValueError, match=message):
        load_jets(tmp_path / "jets.csv", columns=columns, features=features)


# -- units and other arguments -----------------------------------------------------------------


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
    with pytest.raises(
        ValueError, match=r"key=None does not choose .*\['a', 'b'\], and none names"
    ):
        load_jets(tmp_path / "jets.h5")


def test_other_arguments_are_checked(tmp_path):
    (tmp_path / "jets.xls").write_text("")
    with pytest.raises(ValueError, match=r"is of no known kind; known are .npy, .npz, .csv"):
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
