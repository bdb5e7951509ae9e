"""make_jets looks like real jets; load_jets reads what people have, and says what it cannot."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import uproot

from skae import KinematicsTransformer
from skae.datasets import load_jets, make_jets

REAL = Path(__file__).parents[3] / "shared/data/jets/monojet_jets_E_pt_eta_phi.npy"
needs_real_jets = pytest.mark.skipif(not REAL.is_file(), reason=f"no real jets at {REAL}")


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
    assert list(frame.columns) == ["E", "pt", "eta", "phi"]
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
    real, generated = (
        summary(load_jets(REAL, unit="MeV")),
        summary(make_jets(20_000, random_state=0)),
    )
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


def write_npy(path, X):
    np.save(path, X)


def write_csv_with_names(path, X):
    pd.DataFrame(X, columns=["E", "pt", "eta", "phi"]).to_csv(path, index=False)


def write_csv_without_names(path, X):
    np.savetxt(path, X, delimiter=",", fmt="%.17g")


def write_text(path, X):
    np.savetxt(path, X, fmt="%.17g")


def write_text_with_names(path, X):
    np.savetxt(path, X, fmt="%.17g", header="E pt eta phi")


def write_text_with_remarks(path, X):
    np.savetxt(path, X, fmt="%.17g", header="run 7, calibrated\nno names here")


def write_csv_with_index(path, X):
    pd.DataFrame(X, columns=["E", "pt", "eta", "phi"]).to_csv(path)


def write_csv_with_numbers_for_names(path, X):
    pd.DataFrame(X).to_csv(path, index=False)


def write_csv_in_another_order(path, X):
    pd.DataFrame(X, columns=["E", "pt", "eta", "phi"])[["phi", "E", "eta", "pt"]].to_csv(
        path, index=False
    )


def write_hdf5_table(path, X):
    with h5py.File(path, "w") as file:
        file["jets"] = X


def write_hdf5_columns(path, X):
    with h5py.File(path, "w") as file:
        for name, column in zip(("phi", "pt", "E", "eta"), X[:, [3, 1, 0, 2]].T, strict=True):
            file[f"jets/{name}"] = column


def write_hdf5_records(path, X):
    with h5py.File(path, "w") as file:
        file["jets"] = np.rec.fromarrays(X.T, names="E,pt,eta,phi")


def write_root_flat(path, X):
    with uproot.recreate(path) as file:
        file["events"] = dict(zip(("E", "pt", "eta", "phi"), X.T, strict=True))


def write_root_jagged(path, X):
    import awkward

    counts = [len(X) - 3, 0, 3]
    with uproot.recreate(path) as file:
        file["events"] = {
            name: awkward.unflatten(column, counts)
            for name, column in zip(("E", "pt", "eta", "phi"), X.T, strict=True)
        }


WRITERS = [
    (write_npy, "npy"), (write_csv_with_names, "csv"), (write_csv_without_names, "csv"),
    (write_text, "txt"), (write_text_with_names, "txt"), (write_text_with_remarks, "txt"),
    (write_csv_with_index, "csv"), (write_csv_with_numbers_for_names, "csv"),
    (write_csv_in_another_order, "csv"), (write_hdf5_table, "h5"), (write_hdf5_columns, "hdf5"),
    (write_hdf5_records, "h5"), (write_root_flat, "root"), (write_root_jagged, "root"),
]  # fmt: skip


# uproot's writer still calls what NumPy 2.4 deprecates
@pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")
@pytest.mark.parametrize(("write", "suffix"), WRITERS, ids=lambda w: getattr(w, "__name__", None))
def test_every_format_gives_the_same_jets(write, suffix, tmp_path):
    X = make_jets(20, random_state=0)
    write(tmp_path / f"jets.{suffix}", X)
    np.testing.assert_allclose(load_jets(tmp_path / f"jets.{suffix}"), X, rtol=1e-15)


@pytest.mark.parametrize(("unit", "factor"), [("MeV", 1e-3), ("GeV", 1.0), ("TeV", 1e3)])
def test_energies_and_momenta_are_converted_angles_are_not(unit, factor, tmp_path):
    X = make_jets(20, random_state=0)
    np.save(tmp_path / "jets.npy", X)
    frame = load_jets(str(tmp_path / "jets.npy"), unit=unit, as_frame=True)
    np.testing.assert_allclose(frame.to_numpy(), X * [factor, factor, 1, 1], rtol=1e-15)
    assert list(frame.columns) == ["E", "pt", "eta", "phi"]


def test_other_names_and_keys_can_be_given(tmp_path):
    X = make_jets(20, random_state=0)
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        for group in ("leading", "other"):
            for name, column in zip("abcd", X.T, strict=True):
                file[f"{group}/{name}"] = column
    jets = load_jets(tmp_path / "jets.h5", key="leading", columns=("a", "b", "c", "d"))
    np.testing.assert_array_equal(jets, X)


def test_a_path_inside_an_hdf5_file_is_a_key(tmp_path):
    X = make_jets(20, random_state=0)
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["events/jets"], file["other"] = X, [1.0]
    np.testing.assert_array_equal(load_jets(tmp_path / "jets.h5", key="events/jets"), X)


def test_missing_values_name_the_row(tmp_path):
    X = make_jets(20, random_state=0)
    X[7, 2] = np.nan
    np.save(tmp_path / "jets.npy", X)
    with pytest.raises(
        ValueError, match="has 1 rows with missing or infinite values, the first is row 7"
    ):
        load_jets(tmp_path / "jets.npy")


@pytest.mark.parametrize("text", ["E,pt,eta,phi\n", "E,pt,eta,phi\n1,2,3,4,5\n", ""])
def test_tables_without_rows_or_with_more_columns_than_names_are_errors(text, tmp_path):
    (tmp_path / "jets.csv").write_text(text)
    with pytest.raises(ValueError, match="cannot be read as four columns of numbers"):
        load_jets(tmp_path / "jets.csv")


def test_the_file_is_not_changed_and_not_held(tmp_path):
    np.save(tmp_path / "jets.npy", make_jets(5, random_state=0))
    before = (tmp_path / "jets.npy").read_bytes()
    load_jets(tmp_path / "jets.npy", unit="MeV")[:] = 0.0
    assert (tmp_path / "jets.npy").read_bytes() == before


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy' is not a file"):
        load_jets(tmp_path / "nowhere.npy")


@pytest.mark.parametrize("suffix", ["npy", "csv", "h5", "root"])
def test_a_corrupt_file_is_named(suffix, tmp_path):
    path = tmp_path / f"jets.{suffix}"
    path.write_bytes(b"\x93NUMPY\x01\x00 no jets here, \x00\x01\x02\n1,2\n")
    with pytest.raises(
        ValueError, match=rf"jets.{suffix}' cannot be read as four columns of numbers"
    ):
        load_jets(path)


def test_a_missing_column_lists_those_there_are(tmp_path):
    pd.DataFrame(make_jets(5, random_state=0), columns=["e", "pt", "eta", "phi"]).to_csv(
        tmp_path / "jets.csv", index=False
    )
    with pytest.raises(
        ValueError, match=r"no column \['E'\], only \['e', 'pt', 'eta', 'phi'\]; set columns="
    ):
        load_jets(tmp_path / "jets.csv")


def test_an_ambiguous_key_lists_the_choices(tmp_path):
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["a/E"], file["b/E"] = [1.0], [1.0]
    with pytest.raises(
        ValueError, match=r"key='c' does not choose one of its entries \['a', 'b'\]"
    ):
        load_jets(tmp_path / "jets.h5", key="c")


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.ones((5, 3)), r"its shape is \(5, 3\)"), (np.ones(5), r"its shape is \(5,\)")],
)
def test_too_few_columns_are_an_error(array, message, tmp_path):
    np.save(tmp_path / "jets.npy", array)
    with pytest.raises(ValueError, match=message):
        load_jets(tmp_path / "jets.npy")


def test_other_arguments_are_checked(tmp_path):
    (tmp_path / "jets.xls").write_text("")
    with pytest.raises(ValueError, match=r"ends in '.xls'; known are .npy, .csv"):
        load_jets(tmp_path / "jets.xls")
    with pytest.raises(ValueError, match="'unit' parameter of load_jets must be a str among"):
        load_jets(tmp_path / "jets.npy", unit="keV")
    with pytest.raises(ValueError, match="must name four columns"):
        load_jets(tmp_path / "jets.npy", columns=("E", "pt"))
    with pytest.raises(ValueError, match="'n_samples' parameter of make_jets"):
        make_jets(0)
