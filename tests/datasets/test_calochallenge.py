"""Files of showers, whole and broken, whole or in part or as needed."""

import pickle
import sys

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
from fits import no_space

from skae.datasets import (
    CaloGeometry,
    LazyShowers,
    load_calochallenge,
    make_showers,
    save_calochallenge,
)

SMALL = CaloGeometry(
    radial_edges=[(0, 5, 20)] * 3, n_angles=[4] * 3, threshold=0.1, layer_edges=(0, 20, 60, 120)
)


@pytest.fixture
def showers():
    return make_showers(60, geometry=SMALL, random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "showers.hdf5"


@pytest.fixture
def saved(path, showers):
    save_calochallenge(path, showers, source="parametrised")
    return path


@pytest.fixture
def three_files(tmp_path, showers):
    paths = [tmp_path / f"showers_{i}.hdf5" for i in range(3)]
    for path, rows in zip(paths, np.split(showers, [10, 25]), strict=True):
        save_calochallenge(path, rows, source="parametrised")
    return paths


def write(path, content):
    """Write datasets as they are, whether they are showers or not."""
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_files_come_back(path, showers, compression):
    save_calochallenge(path, showers, source="parametrised", compression=compression)
    with h5py.File(path) as file:
        assert file["incident_energies"].shape == (60, 1)
        assert file["showers"].shape == (60, SMALL.n_voxels)
        assert file.attrs["source"] == "parametrised"
    np.testing.assert_array_equal(load_calochallenge(path, geometry=SMALL), showers)
    np.testing.assert_array_equal(load_calochallenge(path, start=7, stop=20), showers[7:20])
    for dtype in ("float64", np.float64):
        assert load_calochallenge(path, dtype=dtype).dtype == np.float64
    assert list(path.parent.iterdir()) == [path]


def test_several_files_follow_each_other_and_are_read_as_needed(three_files, showers, monkeypatch):
    paths = three_files
    np.testing.assert_array_equal(load_calochallenge(paths), showers)
    lazy = load_calochallenge(paths, start=5, stop=50, lazy=True)
    assert lazy.shape == (45, 1 + SMALL.n_voxels)
    for rows in (slice(0, 5), slice(4, 30), slice(-7, None), slice(20, 20)):
        np.testing.assert_array_equal(lazy[rows], showers[5:50][rows])
    np.testing.assert_array_equal(lazy[-1], showers[49])
    np.testing.assert_array_equal(np.concatenate(list(lazy.chunks(8))), showers[5:50])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[:], showers[5:50])
    opened = []
    open_ = h5py.File
    monkeypatch.setattr(h5py, "File", lambda path, mode: opened.append(path) or open_(path, mode))
    np.testing.assert_array_equal(np.asarray(lazy), showers[5:50])
    assert opened == paths  # each once, not for each row
    assert np.asarray(lazy, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="can only be copied"):
        np.array(lazy, copy=False)
    with pytest.raises(ValueError, match="n_samples=-5 must be"):
        next(lazy.chunks(-5))
    with pytest.raises(IndexError):
        lazy[45]
    with pytest.raises(TypeError, match="slice without a step"):
        lazy[::2]


def test_dask_arrays_read_the_chunks_that_are_asked_for(three_files, showers, monkeypatch):
    lazy = load_calochallenge(three_files, start=5, stop=50, lazy=True)
    opened, read = [], []
    open_, rows_of = h5py.File, LazyShowers.__getitem__
    monkeypatch.setattr(h5py, "File", lambda path, mode: opened.append(path) or open_(path, mode))
    monkeypatch.setattr(
        LazyShowers, "__getitem__", lambda self, rows: read.append(rows) or rows_of(self, rows)
    )
    X = lazy.to_dask(8)
    assert isinstance(X, da.Array)
    assert X.shape == lazy.shape
    assert X.dtype == np.float32
    # 5 rows of the first file are left, 15 of the second, 25 of the third
    assert X.chunks == ((5, 8, 7, 8, 8, 8, 1), (1 + SMALL.n_voxels,))
    with dask.config.set(scheduler="synchronous"):
        parts = X[7:9], X[2:40:3, 0], X[-1], X[:, 1:].sum(axis=1)
        assert not opened
        np.testing.assert_array_equal(parts[0].compute(), showers[12:14])
        assert opened == [three_files[1]]
        assert read == [slice(5, 13)]
        for part, expected in zip(
            parts[1:], (showers[7:45:3, 0], showers[49], showers[5:50, 1:].sum(axis=1)), strict=True
        ):
            np.testing.assert_allclose(part.compute(), expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(X), showers[5:50])  # in threads
    stored = np.zeros(X.shape, X.dtype)
    X.store(stored)
    np.testing.assert_array_equal(stored, showers[5:50])
    with pytest.raises(ValueError, match="n_samples=0 must be"):
        lazy.to_dask(0)


def test_dask_chunks_are_checked_and_named_by_what_is_in_the_files(three_files, showers):
    X = load_calochallenge(three_files, lazy=True).to_dask(8)
    assert X.name == load_calochallenge(three_files, lazy=True).to_dask(8).name
    assert X.name != load_calochallenge(three_files[:2], lazy=True).to_dask(8).name
    showers[30, 4] = -1.0
    energies = {"incident_energies": showers[25:, :1], "showers": showers[25:, 1:]}
    write(three_files[2], energies)
    again = load_calochallenge(three_files, lazy=True).to_dask(8)
    assert again.name != X.name
    np.testing.assert_array_equal(again[:25].compute(), showers[:25])
    with pytest.raises(
        ValueError, match=r"showers_2.hdf5': .* negative energies, the first is row 5"
    ):
        again.compute()


def test_dask_that_is_missing_is_named(saved, monkeypatch):
    lazy = load_calochallenge(saved, lazy=True)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"needs dask; pip install skae\[distributed\]"):
        lazy.to_dask()


def test_energies_without_a_second_axis_are_read(path, showers):
    write(path, {"incident_energies": showers[:, 0], "showers": showers[:, 1:]})
    np.testing.assert_array_equal(load_calochallenge(path), showers)


def test_damaged_files_are_refused(tmp_path, saved):
    whole = saved.read_bytes()
    message = r"showers.hdf5' cannot be read as showers of the Calo"
    for content in (whole[: len(whole) // 2], b"text", b""):
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_calochallenge(saved)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_calochallenge(tmp_path / "elsewhere.hdf5")
    with pytest.raises(ValueError, match="empty sequence"):
        load_calochallenge([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"showers": np.ones((3, 2))}, r"no 'incident_energies', only \['showers'\]"),
        ({}, "it has no 'incident_energies'"),
        ({"incident_energies": np.ones((2, 1)), "showers": np.ones((3, 2))}, "shapes are"),
        ({"incident_energies": np.ones((3, 1)), "showers": np.ones((3, 2, 2))}, "shapes are"),
        ({"incident_energies": np.ones((0, 1)), "showers": np.ones((0, 2))}, "shapes are"),
        ({"incident_energies": np.array([[b"a"]]), "showers": np.ones((1, 2))}, "cannot be read"),
    ],
)
def test_files_of_something_else_are_refused(path, content, message):
    write(path, content)
    with pytest.raises(ValueError, match=message):
        load_calochallenge(path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((4, 3), np.nan, "1 of 60 showers from row 0 on have missing .* row 4"),
        ((5, 0), np.inf, "infinite energies, the first is row 5"),
        ((6, 2), -1.0, "negative energies, the first is row 6"),
        ((7, 0), 0.0, "an incident energy of zero and lit voxels, the first is row 7"),
    ],
)
def test_energies_that_cannot_be_are_refused(path, showers, where, value, message):
    showers[7, 1] = 1.0
    showers[where] = value
    with pytest.raises(ValueError, match=message):
        save_calochallenge(path, showers, source="parametrised")
    assert not list(path.parent.iterdir())
    write(path, {"incident_energies": showers[:, :1], "showers": showers[:, 1:]})
    with pytest.raises(ValueError, match=rf"^path='.*showers.hdf5': .*{message}"):
        load_calochallenge(path)
    assert load_calochallenge(path, stop=4).shape == (4, 1 + SMALL.n_voxels)


def test_zero_energy_without_lit_voxels_is_read(path, showers):
    showers[3] = 0.0
    save_calochallenge(path, showers, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(path), showers)


def write_in(path, showers, incident, voxels):
    """Write showers in units of so many MeV."""
    energies = showers.astype(np.float64)
    content = {"incident_energies": energies[:, :1] / incident, "showers": energies[:, 1:] / voxels}
    write(path, content)


@pytest.mark.parametrize(
    ("incident", "voxels", "said", "message", "unit"),
    [
        (1e3, 1, "MeV", r"E_tot/E_inc of 9\d\d, as of incident energies in GeV and voxels in MeV",
         ("GeV", "MeV")),
        (1, 1e3, "MeV", r"of 0.0009\d*, as of incident energies in MeV and voxels in GeV",
         ("MeV", "GeV")),
        (1e3, 1e3, "MeV", r"energy of 4\d\.\d MeV and \d\d% .* of 1 MeV, as of energies in GeV", "GeV"),
        (1, 1e3, "GeV", "of incident energies in MeV and voxels in GeV", ("MeV", "GeV")),
        (1, 1, ("GeV", "MeV"), r"energies in MeV or energies in GeV.*unit='MeV' or 'GeV' reads", "MeV"),
        (1, 1, ["MeV", "GeV"], r"energies in MeV or energies in GeV.*unit='MeV' or 'GeV' reads", "MeV"),
        (1e3, 1, ("MeV", "GeV"), r"of 9\.\d+e\+05, as of incident energies in GeV", ("GeV", "MeV")),
    ],
)  # fmt: skip
def test_units_that_are_mixed_up_are_refused(path, incident, voxels, said, message, unit):
    name = "dataset_1_photons"
    showers = make_showers(200, geometry=name, energy=(1e3, 1e6), random_state=0)
    write_in(path, showers, incident, voxels)
    with pytest.raises(ValueError, match=message) as caught:
        load_calochallenge(path, geometry=name, unit=said)
    assert "showers.hdf5': 200 showers from row 0 on have a median" in str(caught.value)
    assert "unit=None" in str(caught.value)
    read = load_calochallenge(path, geometry=name, unit=unit)
    np.testing.assert_allclose(read, showers, rtol=1e-6)
    if unit != "MeV":
        assert f"If so, unit={unit!r} reads them as MeV" in str(caught.value)
    as_it_is = load_calochallenge(path, geometry=name, unit=None)
    np.testing.assert_allclose(as_it_is[:, 0] * incident, showers[:, 0], rtol=1e-6)


def test_units_that_no_parameter_explains_are_refused_too(path, showers):
    write_in(path, showers, 1e3, 1e-3)  # GeV and keV
    with pytest.raises(ValueError, match=r"as of another unit\. If so, convert them; unit=None"):
        load_calochallenge(path, unit=("GeV", "MeV"))


def test_gev_are_known_by_the_threshold_of_the_challenge(path):
    """Where no geometry is given, too; all energies are far below any of the challenge."""
    write_in(path, make_showers(20, random_state=0), 1e3, 1e3)
    with pytest.raises(ValueError, match=r"threshold of 0\.01515 MeV, as of energies in GeV"):
        load_calochallenge(path)


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.05), (5.0, 20.0), (0.0, 0.6)])
def test_odd_showers_are_read(path, low, high):
    """Voxels that are not corrected for the sampling fraction, and pions, of which little is seen."""
    rng = np.random.default_rng(0)
    incident = 10.0 ** rng.uniform(2.5, 6, 100)
    response = rng.uniform(low, high, 100) * (rng.random(100) < 0.8)
    voxels = rng.dirichlet(np.ones(8), 100) * (incident * response)[:, None]
    write(path, {"incident_energies": incident[:, None], "showers": voxels})
    assert load_calochallenge(path).shape == (100, 9)


def test_few_odd_showers_are_no_slip(path, showers):
    showers[:9, 1:] *= 1e-3
    showers[9:15, 0] *= 1e-3
    save_calochallenge(path, showers, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(path), showers)
    np.testing.assert_array_equal(load_calochallenge(path, stop=9), showers[:9])  # too few to judge


def test_low_energies_above_the_threshold_are_read(path):
    low = make_showers(50, geometry=SMALL, energy=(50.0, 200.0), random_state=0)
    save_calochallenge(path, low, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(path, geometry=SMALL), low)


def test_parts_are_judged_by_their_own_rows(tmp_path, path, showers):
    mixed = showers.copy()
    mixed[30:, 0] /= 1e3
    save_calochallenge(path, mixed, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(path, stop=30), showers[:30])
    message = r"showers.hdf5': {} showers from row {} on have a median E_tot/E_inc of 9\d\d"
    with pytest.raises(ValueError, match=message.format(30, 30)):
        load_calochallenge(path, start=30)
    lazy = load_calochallenge(path, lazy=True)
    np.testing.assert_array_equal(lazy[:20], showers[:20])
    with pytest.raises(ValueError, match=message.format(20, 40)):
        lazy[40:]
    good = tmp_path / "good.hdf5"
    save_calochallenge(good, showers, source="parametrised")
    with pytest.raises(
        ValueError, match=message.format(15, 45)
    ):  # the rows of each file, by itself
        load_calochallenge([good, path], start=105)


@pytest.mark.parametrize("unit", ["TeV", ("MeV",), ("MeV", "eV"), 1000, ["GeV"] * 3])
def test_units_that_are_none_are_named(saved, unit):
    with pytest.raises(ValueError, match=r"unit"):
        load_calochallenge(saved, unit=unit)


def test_a_group_is_no_dataset(path):
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.ones((2, 1))
        file.create_group("showers")
    with pytest.raises(ValueError, match="'showers' is a group"):
        load_calochallenge(path)


def test_numbers_of_voxels_are_checked(tmp_path, showers):
    save_calochallenge(tmp_path / "a.hdf5", showers, source="parametrised")
    save_calochallenge(tmp_path / "b.hdf5", showers[:, :-1], source="parametrised")
    save_calochallenge(tmp_path / "c.hdf5", np.ones((2, 369)), source="test")
    with pytest.raises(ValueError, match="has 24 voxels a shower, geometry='dataset_2' 6480"):
        load_calochallenge(tmp_path / "a.hdf5", geometry="dataset_2")
    with pytest.raises(ValueError, match="6480; geometry='dataset_1_photons' has"):
        load_calochallenge(tmp_path / "c.hdf5", geometry="dataset_2")
    with pytest.raises(ValueError, match=r"differ: a.hdf5: 24, b.hdf5: 23"):
        load_calochallenge([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    with pytest.raises(ValueError, match="start=60 and stop=None leave none of the 60"):
        load_calochallenge(tmp_path / "a.hdf5", start=60)


def test_a_file_is_replaced_whole_or_stays(saved, showers, monkeypatch):
    before = saved.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(h5py.Group, "create_dataset", lambda *_, **__: no_space())
        with pytest.raises(OSError, match="No space left"):
            save_calochallenge(saved, showers[:5], source="parametrised")
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    save_calochallenge(saved, showers[:5], source="parametrised")
    assert load_calochallenge(saved).shape[0] == 5
