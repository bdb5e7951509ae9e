"""examples/search_on_dask.py: a worker that is killed half-way changes nothing but the time."""

import re
from pathlib import Path

import numpy as np
import pytest
from scripts import imported

import skae
from skae.datasets import make_jets

EXAMPLE = Path(__file__).parents[1] / "examples" / "search_on_dask.py"


@pytest.fixture
def example():
    return imported(EXAMPLE)


@pytest.mark.slow
def test_a_search_that_loses_a_worker_is_the_serial_search(example, tmp_path, capfd, monkeypatch):
    """The serial one runs on one thread here, as workers do; with two, products round otherwise."""
    grid = {**example.GRID, "jetautoencoder__hidden_layer_sizes": [(8,), (6, 5)]}
    monkeypatch.setattr(example, "GRID", grid)
    path = tmp_path / "jets.skops"
    search = example.main(["--kill", "--jets", "900", "--epochs", "6", "--out", str(path)])
    said = capfd.readouterr().out
    assert re.search(r"^killed worker \d+$", said, re.MULTILINE)
    assert re.search(r"^18 fits on [12] workers", said, re.MULTILINE)
    line = r"^latent coordinates in 4 chunks: \(900, \d\), (\S+) off$"
    chunks = re.search(line, said, re.MULTILINE)
    # some machines round a product by how many rows it has
    assert float(chunks.group(1)) < 1e-6

    X = make_jets(900, random_state=0)
    serial = example.make_search(list(example.KFold(3).split(X)), max_epochs=6).fit(X)
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], serial.cv_results_[name])
    assert search.best_params_ == serial.best_params_
    best = skae.load(path)
    np.testing.assert_array_equal(best.transform(X), serial.best_estimator_.transform(X))


def test_a_cluster_of_ones_own_is_not_killed(example, capsys):
    with pytest.raises(SystemExit):
        example.main(["--kill", "--scheduler", "tcp://127.0.0.1:1"])
    assert "--kill is for workers that start here" in capsys.readouterr().err
