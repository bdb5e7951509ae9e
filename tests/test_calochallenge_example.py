"""examples/calochallenge.py runs on files like the challenge's, and goes on where it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import imported

from skae.datasets import CaloGeometry, load_calochallenge, make_showers, save_calochallenge

EXAMPLE = Path(__file__).parents[1] / "examples" / "calochallenge.py"
XML = """<Bins><Bin pid="22"><Layer id="0" r_edges="0,5,20" n_bin_alpha="4" />
<Layer id="1" r_edges="0,5,20" n_bin_alpha="4" /></Bin></Bins>"""


@pytest.mark.usefixtures("close_figures")
def test_it_trains_judges_and_writes(tmp_path, capsys, monkeypatch):
    example = imported(EXAMPLE)
    geometry = CaloGeometry([(0, 5, 20)] * 2, [4] * 2, layer_edges=(0, 40, 90))
    for name, seed in (("train", 0), ("test", 1)):
        X = make_showers(120, geometry=geometry, threshold=0.01515, random_state=seed)
        save_calochallenge(tmp_path / f"{name}.hdf5", X, source="parametrised")
    (tmp_path / "binning.xml").write_text(XML)
    arguments = [
        str(tmp_path / "train.hdf5"), "--test", str(tmp_path / "test.hdf5"),
        "--binning", str(tmp_path / "binning.xml"), "--out", str(tmp_path / "out"),
        "--threshold", "0.01515",
        "--components", "2", "--epochs", "2",
    ]  # fmt: skip
    example.main(arguments)
    drawn = load_calochallenge(tmp_path / "out" / "showers.hdf5")
    real = load_calochallenge(tmp_path / "test.hdf5")
    np.testing.assert_allclose(drawn[:, 0], real[:, 0], rtol=1e-6)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"model.pickle", "showers.png", "checkpoint", "showers.hdf5"}
    assert "FPD" in capsys.readouterr().out
    steps = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *args, **kwargs: steps.append(1))
    example.main(arguments)  # everything is there
    assert not steps
    said = capsys.readouterr().out
    assert "AUC of layer energies  " in said
    assert "AUC of the voxels      " in said
    assert "of two halves" in said
    np.testing.assert_array_equal(load_calochallenge(tmp_path / "out" / "showers.hdf5"), drawn)


@pytest.mark.usefixtures("close_figures")
def test_sparse_showers_are_learnt_from(tmp_path, capsys):
    """A fifth of the one file is kept to judge by."""
    geometry = CaloGeometry([(0, 5, 20)] * 2, [4] * 2, layer_edges=(0, 40, 90))
    X = make_showers(300, geometry=geometry, threshold=0.01515, random_state=0)
    rows, indices = np.nonzero(X[:, 1:])
    np.savez_compressed(
        tmp_path / "showers.npz",
        energy=X[:, 0],
        indptr=np.searchsorted(rows, np.arange(301)),
        indices=indices.astype(np.uint16),
        values=X[:, 1:][rows, indices],
        n_voxels=16,
    )
    (tmp_path / "binning.xml").write_text(XML)
    imported(EXAMPLE).main([
        str(tmp_path / "showers.npz"), "--binning", str(tmp_path / "binning.xml"),
        "--threshold", "0.01515", "--out", str(tmp_path / "out"), "--components", "2", "--epochs", "1",
    ])  # fmt: skip
    assert "240 showers to learn from, 60 to judge by, 16 voxels" in capsys.readouterr().out
    drawn = load_calochallenge(tmp_path / "out" / "showers.hdf5")
    assert drawn.shape == (60, 17)
    assert np.isin(drawn[:, 0], X[:, 0]).all()
