"""Calorimeters of the CaloChallenge, built in and read; files of showers, whole and broken."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from skae.datasets import (
    CaloGeometry,
    calochallenge,
    load_calochallenge,
    make_showers,
    save_calochallenge,
)

BINNINGS = Path(__file__).parents[3] / "shared" / "data" / "calochallenge"
NAMES = {"dataset_1_photons": 368, "dataset_1_pions": 533, "dataset_2": 6480, "dataset_3": 40500}
SMALL = CaloGeometry(
    radial_edges=[(0, 5, 20)] * 3, n_angles=[4] * 3, threshold=0.1, layer_edges=(0, 20, 60, 120)
)

XML = """<Bins>
  <Bin pid="22" etaMin="0" etaMax="130" name="photon">
    <Layer id="0" r_edges="0,5,10.5" n_bin_alpha="1" />
    <Layer id="1" r_edges="0,2" n_bin_alpha="10" />
    <Layer id="4" r_edges="0" n_bin_alpha="1" />
    <Layer id="12" r_edges="0,100,200,400" n_bin_alpha="2" />
  </Bin>
</Bins>
"""


@pytest.mark.parametrize("name", NAMES)
def test_calorimeters_have_the_voxels_of_the_challenge(name):
    geometry = CaloGeometry.named(name)
    assert geometry.n_voxels == NAMES[name] == len(geometry.r) == len(geometry.angle)
    assert sum(where.stop - where.start for where in geometry.layers) == geometry.n_voxels
    assert geometry.threshold == (1.0 if "dataset_1" in name else 0.01515)


@pytest.mark.skipif(
    not BINNINGS.exists(), reason="the challenge's files are not beside this checkout"
)
@pytest.mark.parametrize("name", NAMES)
def test_built_in_calorimeters_are_those_of_the_files(name):
    built_in = CaloGeometry.named(name)
    read = CaloGeometry.from_xml(
        BINNINGS / f"binning_{name}.xml",
        threshold=built_in.threshold,
        layer_edges=built_in.layer_edges,
    )
    assert read == built_in
    assert hash(read) == hash(built_in)


def test_binning_is_read(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(XML)
    geometry = CaloGeometry.from_xml(path, threshold=1.0)
    assert geometry.radial_edges == ((0.0, 5.0, 10.5), (0.0, 2.0), (0.0, 100.0, 200.0, 400.0))
    assert geometry.n_angles == (1, 10, 2)
    assert geometry.layer_names == ("0", "1", "12")
    assert geometry.layers == [slice(0, 2), slice(2, 12), slice(12, 18)]
    assert geometry.voxel_shape is None


def test_radius_is_fastest_then_the_angle():
    geometry = CaloGeometry([(0, 2, 6)] * 2, [4] * 2)
    assert geometry.voxel_shape == (2, 4, 2)
    np.testing.assert_allclose(geometry.r[:4], [1, 4, 1, 4])
    quarter = np.pi / 4
    np.testing.assert_allclose(
        geometry.angle[:8:2], [-3 * quarter, -quarter, quarter, 3 * quarter], rtol=1e-12
    )
    np.testing.assert_allclose(geometry.x, geometry.r * np.cos(geometry.angle))
    np.testing.assert_allclose(geometry.y**2 + geometry.x**2, geometry.r**2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (XML[:150], "cannot be read as a binning"),
        (XML.replace("n_bin_alpha", "angles"), "'n_bin_alpha'"),
        (XML.replace("5,10.5", "5,broad"), "could not convert"),
        (XML.replace("<Bins>", "<Bins><Bin/>"), "2 particles"),
        ('<Bins><Bin><Layer r_edges="0"/></Bin></Bins>', "none of its layers"),
    ],
)
def test_binning_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "binning.xml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        CaloGeometry.from_xml(path)
    with pytest.raises(FileNotFoundError, match="not a file"):
        CaloGeometry.from_xml(tmp_path / "elsewhere.xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_angles": [4]}, "2 layers and n_angles 1"),
        ({"radial_edges": [(0, 5), (5, 5)]}, r"radial_edges\[1\] must be two or more numbers that"),
        ({"radial_edges": [(0, 5), (-1, 5)]}, "below 0"),
        ({"n_angles": [4, 0]}, "must be 1 or more"),
        ({"threshold": -1.0}, "0 or more"),
        ({"layer_edges": (0, 1)}, "2 layers have 3 edges"),
        ({"layer_edges": (0, 2, 1)}, "layer_edges must be two or more"),
        ({"layer_edges": (-1, 2, 3)}, "layer_edges begin at -1"),
        ({"n_angles": [4, 1.9]}, "must be whole numbers"),
        ({"layer_names": ["a"]}, "1 names for 2 layers"),
    ],
)
def test_geometry_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CaloGeometry(**{"radial_edges": [(0, 5)] * 2, "n_angles": [4, 4], **arguments})
    with pytest.raises(ValueError, match="'dataset_4' is none of 'dataset_1_photons'"):
        make_showers(2, geometry="dataset_4")


@pytest.fixture
def showers():
    return make_showers(60, geometry=SMALL, random_state=0)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_files_come_back(tmp_path, showers, compression):
    path = tmp_path / "showers.hdf5"
    save_calochallenge(path, showers, source="parametrised", compression=compression)
    with h5py.File(path) as file:
        assert file["incident_energies"].shape == (60, 1)
        assert file["showers"].shape == (60, SMALL.n_voxels)
        assert file.attrs["source"] == "parametrised"
    np.testing.assert_array_equal(load_calochallenge(path, geometry=SMALL), showers)
    np.testing.assert_array_equal(load_calochallenge(path, start=7, stop=20), showers[7:20])
    for dtype in ("float64", np.float64):
        assert load_calochallenge(path, dtype=dtype).dtype == np.float64
    assert [file.name for file in tmp_path.iterdir()] == ["showers.hdf5"]


def test_several_files_follow_each_other_and_are_read_as_needed(tmp_path, showers, monkeypatch):
    paths = [tmp_path / f"showers_{i}.hdf5" for i in range(3)]
    for path, rows in zip(paths, np.split(showers, [10, 25]), strict=True):
        save_calochallenge(path, rows, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(paths), showers)
    lazy = load_calochallenge(paths, start=5, stop=50, lazy=True)
    assert lazy.shape == (45, 1 + SMALL.n_voxels)
    for rows in (slice(0, 5), slice(4, 30), slice(-7, None), slice(20, 20)):
        np.testing.assert_array_equal(lazy[rows], showers[5:50][rows])
    np.testing.assert_array_equal(lazy[-1], showers[49])
    np.testing.assert_array_equal(np.concatenate(list(lazy.chunks(8))), showers[5:50])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[:], showers[5:50])
    opened = []
    monkeypatch.setattr(
        calochallenge, "_open", lambda path, of=calochallenge._open: opened.append(path) or of(path)
    )
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


def test_energies_without_a_second_axis_are_read(tmp_path, showers):
    path = tmp_path / "flat.hdf5"
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = showers[:, 0], showers[:, 1:]
    np.testing.assert_array_equal(load_calochallenge(path), showers)


def test_damaged_files_are_refused(tmp_path, showers):
    path = tmp_path / "showers.hdf5"
    save_calochallenge(path, showers, source="parametrised")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"text", b""):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"showers.hdf5' cannot be read as showers of the Calo"
        ):
            load_calochallenge(path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_calochallenge(tmp_path / "elsewhere.hdf5")
    with pytest.raises(ValueError, match="empty sequence"):
        load_calochallenge([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"showers": np.ones((3, 2))}, "it has no 'incident_energies' but 'showers'"),
        ({}, "but nothing"),
        ({"incident_energies": np.ones((2, 1)), "showers": np.ones((3, 2))}, "shapes are"),
        ({"incident_energies": np.ones((3, 1)), "showers": np.ones((3, 2, 2))}, "shapes are"),
        ({"incident_energies": np.ones((0, 1)), "showers": np.ones((0, 2))}, "shapes are"),
        ({"incident_energies": np.array([[b"a"]]), "showers": np.ones((1, 2))}, "cannot be read"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, content, message):
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values
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
def test_energies_that_cannot_be_are_refused(tmp_path, showers, where, value, message):
    path = tmp_path / "showers.hdf5"
    showers[7, 1] = 1.0
    showers[where] = value
    with pytest.raises(ValueError, match=message):
        save_calochallenge(path, showers, source="parametrised")
    assert not list(tmp_path.iterdir())
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = showers[:, :1], showers[:, 1:]
    with pytest.raises(ValueError, match=rf"^path='.*showers.hdf5': .*{message}"):
        load_calochallenge(path)
    assert load_calochallenge(path, stop=4).shape == (4, 1 + SMALL.n_voxels)


def test_zero_energy_without_lit_voxels_is_read(tmp_path, showers):
    showers[3] = 0.0
    save_calochallenge(tmp_path / "a.hdf5", showers, source="parametrised")
    np.testing.assert_array_equal(load_calochallenge(tmp_path / "a.hdf5"), showers)


def test_a_group_is_no_dataset(tmp_path):
    path = tmp_path / "group.hdf5"
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.ones((2, 1))
        file.create_group("showers")
    with pytest.raises(ValueError, match="it has no 'showers'"):
        load_calochallenge(path)


def test_numbers_of_voxels_are_checked(tmp_path, showers):
    save_calochallenge(tmp_path / "a.hdf5", showers, source="parametrised")
    save_calochallenge(tmp_path / "b.hdf5", showers[:, :-1], source="parametrised")
    photons = np.ones((2, 369))
    save_calochallenge(tmp_path / "c.hdf5", photons, source="test")
    with pytest.raises(ValueError, match="has 24 voxels a shower, geometry='dataset_2' 6480"):
        load_calochallenge(tmp_path / "a.hdf5", geometry="dataset_2")
    with pytest.raises(ValueError, match="6480; geometry='dataset_1_photons' has"):
        load_calochallenge(tmp_path / "c.hdf5", geometry="dataset_2")
    with pytest.raises(ValueError, match=r"differ: a.hdf5: 24, b.hdf5: 23"):
        load_calochallenge([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    with pytest.raises(ValueError, match="start=60 and stop=None leave none of the 60"):
        load_calochallenge(tmp_path / "a.hdf5", start=60)


def test_a_file_is_replaced_whole_or_stays(tmp_path, showers, monkeypatch):
    path = tmp_path / "showers.hdf5"
    save_calochallenge(path, showers, source="parametrised")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OSError, match="No space left"):
            save_calochallenge(path, showers[:5], source="parametrised")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    save_calochallenge(path, showers[:5], source="parametrised")
    assert load_calochallenge(path).shape[0] == 5
