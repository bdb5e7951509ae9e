"""Sparse files of showers: the dense ones, part by part, and everything that is wrong refused."""

import h5py
import numpy as np
import pytest
import scipy.sparse

from skae.datasets import CaloGeometry, load_calochallenge, make_showers, save_calochallenge
from skae.datasets import _sparse_showers as module

GEOMETRY = CaloGeometry(
    radial_edges=[(0, 5, 20)] * 3, n_angles=[4] * 3, threshold=20.0, layer_edges=(0, 20, 60, 120)
)


@pytest.fixture
def showers():
    return make_showers(40, geometry=GEOMETRY, random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "showers.npz"


def layout(showers):
    """The arrays of a file, by SciPy."""
    matrix = scipy.sparse.csr_matrix(showers[:, 1:])
    return {
        "energy": showers[:, 0],
        "indptr": matrix.indptr.astype(np.int64),
        "indices": matrix.indices.astype(np.uint16),
        "values": matrix.data,
        "n_voxels": matrix.shape[1],
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_sparse_showers_are_the_dense_ones(path, showers, save, monkeypatch):
    showers[3, 1:] = 0.0  # nothing of it is seen
    assert 0.0 < np.mean(showers[:, 1:] == 0.0) < 1.0
    save(path, **layout(showers))
    np.testing.assert_array_equal(load_calochallenge(path, geometry=GEOMETRY), showers)
    np.testing.assert_array_equal(load_calochallenge(path, start=7, stop=20), showers[7:20])
    assert load_calochallenge(path, dtype="float64").dtype == np.float64
    lazy = load_calochallenge(path, start=2, lazy=True)
    np.testing.assert_array_equal(lazy[1], showers[3])
    np.testing.assert_array_equal(lazy.to_dask(9)[-4:].compute(), showers[-4:])
    monkeypatch.setattr(module, "_ROWS", 7)
    np.testing.assert_array_equal(load_calochallenge(path, start=1), showers[1:])


def test_voxels_may_come_in_any_order(path, showers):
    content = layout(showers)
    for first, end in zip(content["indptr"], content["indptr"][1:], strict=False):
        for name in ("indices", "values"):
            content[name][first:end] = content[name][first:end][::-1].copy()
    np.savez(path, **content)
    np.testing.assert_array_equal(load_calochallenge(path), showers)


def test_rows_are_read_without_the_others(path, showers, monkeypatch):
    """Neither their places in memory nor their numbers: rows beside may be damaged."""
    content = layout(showers)
    content["values"][content["indptr"][10] :] = np.nan
    content["indices"][content["indptr"][10] :] = 60_000
    np.savez(path, **content)
    read, array = {}, module._array

    def watched(archive, name, *places):
        values = array(archive, name, *places)
        read[name] = values.size
        return values

    monkeypatch.setattr(module, "_array", watched)
    np.testing.assert_array_equal(load_calochallenge(path, start=4, stop=10), showers[4:10])
    lit = content["indptr"][10] - content["indptr"][4]
    assert read == {"energy": 6, "indptr": 41, "indices": lit, "values": lit, "n_voxels": 1}


def test_sparse_and_dense_files_follow_each_other(tmp_path, path, showers):
    dense = tmp_path / "showers.hdf5"
    save_calochallenge(dense, showers[:15], source="parametrised")
    np.savez(path, **layout(showers[15:]))
    np.testing.assert_array_equal(load_calochallenge([dense, path]), showers)


def test_sparse_files_need_no_h5py(path, showers, monkeypatch):
    np.savez(path, **layout(showers))
    monkeypatch.setattr(h5py, "File", None)
    assert load_calochallenge(path).shape == showers.shape


def with_indptr(k, value):
    def change(content):
        content["indptr"][k] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("values"), r"has no 'values', only \['energy', "),
        (lambda c: c.update(energy=c["energy"][:-1]), "their shapes are"),
        (lambda c: c.update(energy=c["energy"][:, None]), "their shapes are"),
        (lambda c: c.update(values=c["values"][:-1]), "their shapes are"),
        (lambda c: c.update(n_voxels=[24]), "their shapes are"),
        (lambda c: c.update(n_voxels=0), "n_voxels is 0"),
        (lambda c: c.update(n_voxels=10**12), "declares .* bytes"),
        (lambda c: c.update(n_voxels=24.5), "'n_voxels' are float64, no integers"),
        (lambda c: c.update(indices=c["indices"] * 1.0), "'indices' are float64, no integers"),
        (lambda c: c.update(indptr=c["indptr"] * 1.0), "'indptr' are float64, no integers"),
        (with_indptr(0, 1), "indptr must go from 0 to the .* it goes from 1"),
        (with_indptr(-1, 5), "to 5, with 1 steps down"),
        (with_indptr(7, 0), "never fall; .* with 1 steps down"),
        (with_indptr(7, 10**6), "never fall; .* with 1 steps down"),
        (lambda c: c["indices"].put(0, 24), "row 0 has a voxel 24, and n_voxels is 24"),
        (lambda c: c.update(indices=c["indices"].astype(int) - 1), r"has a voxel -1, and"),
        (lambda c: c["indices"].put(1, c["indices"][0]), r"row 0 has its voxel \d+ twice"),
        (lambda c: c.update(values=c["values"] + 1j), "complex"),
        (lambda c: c.update(values=c["values"].astype(object)), "values.* Python objects"),
    ],
)
def test_layouts_that_cannot_be_are_refused(path, showers, change, message):
    content = layout(showers)
    change(content)
    np.savez(path, **content)
    with pytest.raises(ValueError, match=rf"npz' cannot be read as sparse showers, .*{message}"):
        load_calochallenge(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("values", -1.0, "1 of 40 showers from row 0 on have negative energies, .* row 2"),
        ("values", np.nan, "missing or infinite energies, the first is row 2"),
        ("energy", 0.0, "an incident energy of zero and lit voxels, the first is row 2"),
    ],
)
def test_energies_that_cannot_be_are_refused(path, showers, name, value, message):
    content = layout(showers)
    content[name][2 if name == "energy" else content["indptr"][2]] = value
    np.savez(path, **content)
    with pytest.raises(ValueError, match=message):
        load_calochallenge(path)


def test_gev_are_refused(path, showers):
    showers[:, 0] /= 1e3
    np.savez(path, **layout(showers))
    with pytest.raises(
        ValueError, match=r"showers.npz'.* incident energies in GeV and voxels in MeV"
    ):
        load_calochallenge(path)


def test_damaged_files_are_refused(path, showers):
    np.savez_compressed(path, **layout(showers))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"text", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as sparse showers"):
            load_calochallenge(path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_calochallenge(path.with_name("elsewhere.npz"))
