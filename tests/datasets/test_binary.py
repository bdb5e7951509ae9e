"""Binary files hold what they declare, and nothing of other files; a jet is not made of two objects."""

import gzip
import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import awkward
import h5py
import numpy as np
import pandas as pd
import pytest
import uproot
from astropy.io import fits
from scripts import printed_by

from skae.datasets import load_calochallenge, load_jets, load_spectra, make_jets

X = make_jets(10, random_state=0)
NAMES = ["E", "pt", "eta", "phi"]

# uproot's writer still calls what NumPy 2.4 deprecates
writes_root = pytest.mark.filterwarnings("ignore::DeprecationWarning:uproot")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# -- ROOT ------------------------------------------------------------------------------------------


def by_event(column, counts):
    return awkward.unflatten(column, counts)


def write_tree(**branches):
    with uproot.recreate("jets.root") as file:
        file["events"] = branches


@writes_root
def test_jets_of_every_event_stay_whole():
    write_tree(**{name: by_event(x, [3, 0, 4, 3]) for name, x in zip(NAMES, X.T, strict=True)})
    np.testing.assert_array_equal(load_jets("jets.root"), X)


@writes_root
def test_collections_of_other_sizes_are_not_paired():
    """Ten electrons and ten muons are no ten jets, though their numbers agree over all events."""
    counts = {"E": [3, 4, 3], "pt": [4, 3, 3], "eta": [3, 4, 3], "phi": [2, 5, 3]}
    write_tree(**{n: by_event(x, counts[n]) for n, x in zip(NAMES, X.T, strict=True)})
    with pytest.raises(ValueError, match=r"branches \['pt', 'phi'\] have other .* columns="):
        load_jets("jets.root")


@writes_root
def test_a_number_for_an_event_is_none_for_a_jet():
    columns = dict(zip(NAMES, X[:3].T, strict=True))
    jagged = {name: by_event(columns[name], [1, 2, 0]) for name in NAMES[1:]}
    write_tree(E=columns["E"], **jagged)
    with pytest.raises(ValueError, match=r"\['pt', 'eta', 'phi'\] have other numbers"):
        load_jets("jets.root")


@writes_root
def test_fields_of_records_are_columns_and_records_are_none():
    energy, pt, eta, phi = (by_event(x, [3, 4, 3]) for x in X.T)
    with uproot.recreate("jets.root") as file:
        jets = awkward.zip({"E": energy, "pt": pt})
        file.mkrntuple("events", {"jet": jets, "eta": eta, "phi": phi})
    columns = ["jet.E", "jet.pt", "eta", "phi"]
    np.testing.assert_array_equal(load_jets("jets.root", columns=columns), X)
    with pytest.raises(ValueError, match=r"'jet' holds records; .* \['jet.E', 'jet.pt'\]"):
        load_jets("jets.root", columns=["jet", "jet.pt", "eta", "phi"])


# -- HDF5: other files -----------------------------------------------------------------------------


def _external_link(file, name, other):
    file[name] = h5py.ExternalLink("other.h5", f"/{name}")


def _external_storage(file, name, other):
    Path(f"{name}.raw").write_bytes(other.tobytes())
    file.create_dataset(name, other.shape, "f8", external=[(f"{name}.raw", 0, other.nbytes)])


def _virtual(file, name, other):
    layout = h5py.VirtualLayout(other.shape, "f8")
    layout[:] = h5py.VirtualSource("other.h5", name, other.shape)
    file.create_virtual_dataset(name, layout)


def _soft_link_to_an_external_one(file, name, other):
    _external_link(file, "elsewhere", other)
    file[name] = h5py.SoftLink("/elsewhere")


@pytest.mark.parametrize(
    "refer", [_external_link, _external_storage, _virtual, _soft_link_to_an_external_one]
)
def test_hdf5_files_do_not_lead_to_others(refer):
    showers, energies = np.ones((10, 5)), np.ones((10, 1))
    with h5py.File("other.h5", "w") as file:
        file["showers"], file["jets"], file["elsewhere"] = showers, X, X
    with h5py.File("own.h5", "w") as file:
        file["incident_energies"] = energies
        refer(file, "showers", showers)
    for lazy in (False, True):
        with pytest.raises(ValueError, match="another file"):
            load_calochallenge("own.h5", lazy=lazy)
    with h5py.File("own.h5", "w") as file:
        refer(file, "jets", X)
        file["whole"] = X
    with pytest.raises(ValueError, match="another file"):
        load_jets("own.h5", key="jets")
    np.testing.assert_array_equal(load_jets("own.h5", key="whole"), X)


def test_a_folder_of_an_hdf5_file_is_not_another_file():
    with h5py.File("other.h5", "w") as file:
        file["jets"] = X
    with h5py.File("own.h5", "w") as file:
        file["there"] = h5py.ExternalLink("other.h5", "/")
        file["here/jets"] = X
        file["also/jets"] = h5py.SoftLink("/here/jets")
    with pytest.raises(ValueError, match=r"'there/jets' is a link to another file"):
        load_jets("own.h5", key="there/jets")
    np.testing.assert_array_equal(load_jets("own.h5", key="also/jets"), X)
    with pytest.raises(
        ValueError, match=r"it has no 'here/jets/E', only \['also', 'here', 'there'\]"
    ):
        load_jets("own.h5", key="here/jets/E")


# -- sizes -----------------------------------------------------------------------------------------


def npy(shape):
    header = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(800)


def fits_header(**cards):
    lines = [f"{name:<8}= {value:>20}".ljust(80) for name, value in cards.items()]
    text = "".join([*lines, "END".ljust(80)])
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def image(width, height):
    axes = {"NAXIS": 2, "NAXIS1": width, "NAXIS2": height}
    return fits_header(SIMPLE="T", BITPIX=-64, **axes) + np.arange(360.0).astype(">f8").tobytes()


def _write_unfilled(path, **shapes):
    with h5py.File(path, "w") as file:
        for name, shape in shapes.items():
            file.create_dataset(name, shape, "f8", chunks=(100, shape[1]))


def _write_table(path, old, new):
    """Write a FITS table, then let its header say something else."""
    fits.BinTableHDU.from_columns([fits.Column("flux", "2D", array=np.ones((5, 2)))]).writeto(path)
    content = Path(path).read_bytes()
    assert old in content
    Path(path).write_bytes(content.replace(old, new))


def _write_sparse(path, content=b""):
    with open(path, "wb") as file:
        file.write(content)
        file.truncate(100 * 10**9)


#: small files that declare gigabytes, by their names, and who is given them
HUGE = {
    "array.npy": lambda path: Path(path).write_bytes(npy((10**9, 4))),
    "negative.npy": lambda path: Path(path).write_bytes(npy((-5, -4))),
    "dataset.h5": lambda path: _write_unfilled(path, jets=(10**9, 4)),
    "showers.hdf5": lambda path: _write_unfilled(
        path, incident_energies=(10**4, 1), showers=(10**4, 10**5)
    ),
    "image.fits": lambda path: Path(path).write_bytes(image(10**5, 10**4)),
    "larger.fits": lambda path: Path(path).write_bytes(image(10**9, 10**6)),
    "negative.fits": lambda path: Path(path).write_bytes(image(-10, 5)),
    "positive.fits": lambda path: Path(path).write_bytes(image(-10, -5)),
    "image.fits.gz": lambda path: Path(path).write_bytes(gzip.compress(image(10**5, 10**4))),
    "rows.fits": lambda path: _write_table(
        path, b"NAXIS2  =                    5", b"NAXIS2  =            500000000"
    ),
    "columns.fits": lambda path: _write_table(path, b"'2D      ' ", b"'99999999D'"),
    "sparse.npy": _write_sparse,
    "sparse.h5": _write_sparse,
    "sparse.root": _write_sparse,
    "sparse.fits": _write_sparse,
    "sparse header.fits": lambda path: _write_sparse(path, b"SIMPLE  =                    T"),
}

# Reads each file in an address space that has room for 2 GB more, and says what that raised.
READ = """
import json, resource, sys, warnings
from pathlib import Path
import astropy.io.fits, h5py, pandas, uproot
from skae.datasets import load_calochallenge, load_jets, load_spectra

pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 2**31,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
found = {}
for path in Path(sys.argv[1]).iterdir():
    for load in (load_jets, load_spectra, load_calochallenge):
        try:
            load(path)
            found[f"{path.name} {load.__name__}"] = "read"
        except Exception as error:
            found[f"{path.name} {load.__name__}"] = type(error).__name__
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
def test_files_that_declare_more_than_they_hold_are_refused_before_memory_is_asked_for(tmp_path):
    for name, make in HUGE.items():
        make(tmp_path / name)
    found = json.loads(printed_by(READ, tmp_path))
    assert len(found) == 3 * len(HUGE)
    assert {name: error for name, error in found.items() if error != "ValueError"} == {}


def test_negative_axes_of_fits_files_are_named():
    Path("negative.fits").write_bytes(image(-10, 5))
    with pytest.raises(ValueError, match=r"negative sizes: NAXIS \[-10, 5\]"):
        load_spectra("negative.fits")


def test_what_compresses_well_is_read():
    with h5py.File("alike.h5", "w") as file:
        rows = np.tile([1.1, 1.0, 0.0, 0.0], (10**5, 1))
        file.create_dataset("jets", data=rows, compression="gzip")
    fits.CompImageHDU(np.zeros((500, 500)), compression_type="GZIP_1").writeto("image.fits")
    Path("image.fits.gz").write_bytes(gzip.compress(Path("image.fits").read_bytes()))
    assert load_jets("alike.h5").shape == (10**5, 4)
    assert load_spectra("image.fits").data.shape == (500, 500)
    assert load_spectra("image.fits.gz").data.shape == (500, 500)


def _npz_with(header, content):
    with zipfile.ZipFile("jets.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        described = io.BytesIO()
        np.lib.format.write_array_header_1_0(described, header)
        archive.writestr("jets.npy", described.getvalue() + content)


def test_an_archive_that_is_shorter_than_it_declares_is_refused():
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**10, 4)}
    _npz_with(header, X.tobytes())
    with pytest.raises(ValueError, match="is shorter than it declares"):
        load_jets("jets.npz")
    _npz_with({**header, "shape": X.shape}, X.tobytes())
    np.testing.assert_array_equal(load_jets("jets.npz"), X)
    np.savez("jets.npz", jets=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as four columns"):
        load_jets("jets.npz")


class _Harmful:
    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


def test_pickles_in_files_of_pandas_are_not_run():
    frame = pd.DataFrame(X, columns=NAMES)
    frame.to_hdf("jets.h5", key="df", format="table")
    np.testing.assert_array_equal(load_jets("jets.h5"), X)
    with h5py.File("jets.h5", "r+") as file:
        for protocol in (0, 2, 5):
            pickled = np.void(pickle.dumps([*NAMES, _Harmful()], protocol=protocol))
            file["df/table"].attrs["values_block_0_kind"] = pickled
            file.flush()
            with pytest.raises(ValueError, match="are no list of strings"):
                load_jets("jets.h5")
    assert not Path("harmed").exists()


def test_groups_inside_of_themselves_end():
    with h5py.File("loop.h5", "w") as file:
        file["jets/table"] = X
        file["jets/again"] = file["jets"]
    with pytest.raises(ValueError, match=r"too many entries .* set key="):
        load_jets("loop.h5")
    np.testing.assert_array_equal(load_jets("loop.h5", key="jets/table"), X)


def test_integers_that_would_lose_digits_are_refused():
    frame = pd.DataFrame(X, columns=NAMES).assign(event=2**53 + np.arange(len(X)))
    frame.iloc[:1].to_parquet("jets.parquet")
    assert load_jets("jets.parquet", features=["event"])[0, 4] == 2**53
    frame.to_parquet("jets.parquet")
    with pytest.raises(ValueError, match=r"integers beyond 2\^53"):
        load_jets("jets.parquet", features=["event"])


# -- what is no number -----------------------------------------------------------------------------

OTHERS = {
    "dates": (X * 1e6).astype("i8").astype("M8[s]"),
    "durations": (X * 1e6).astype("i8").astype(">m8[s]"),
    "complex": X + 1j,
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("load", [load_jets, load_spectra])
def test_dates_and_complex_numbers_are_refused(load, kind):
    np.save("table.npy", OTHERS[kind])
    with pytest.raises(ValueError, match=r"Dates and durations|complex numbers"):
        load("table.npy")


def test_a_complex_column_is_refused():
    np.save("records.npy", np.rec.fromarrays([X[:, 0] + 1j, *X.T[1:]], names=NAMES))
    with h5py.File("columns.h5", "w") as file:
        for name, column in zip(NAMES, [*X.T[:3], X[:, 3] + 1j], strict=True):
            file[name] = column
    with h5py.File("showers.h5", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((10, 1)), np.ones((10, 5)) + 1j
    column = fits.Column("flux", "2C", array=np.ones((5, 2)) + 1j)
    fits.BinTableHDU.from_columns([column]).writeto("table.fits")
    for load, path in (
        (load_jets, "records.npy"),
        (load_jets, "columns.h5"),
        (load_calochallenge, "showers.h5"),
        (load_spectra, "table.fits"),
    ):
        with pytest.raises(ValueError, match="complex numbers"):
            load(path)


# -- libraries that are missing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "extra", "load", "path"),
    [
        ("uproot", "root", load_jets, "jets.root"),
        ("h5py", "calo", load_jets, "jets.h5"),
        ("h5py", "calo", load_calochallenge, "showers.hdf5"),
        ("astropy.io", "spectra", load_spectra, "spectra.fits"),
    ],
)
def test_a_library_that_is_missing_is_named_by_its_extra(library, extra, load, path, monkeypatch):
    Path(path).write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install skae\[{extra}\]"):
        load(path)
