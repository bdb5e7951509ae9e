"""Whose checkpoint it is: a fit of other parameters or other data has a folder of its own."""

import shutil
import warnings
from functools import partial

import fits
import numpy as np
import pandas as pd
import pytest
import torch
from fits import weights_of
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skae import NoiseInjector
from skae.exceptions import CheckpointError

small = partial(fits.small, max_epochs=6)


def folders(path):
    return sorted(f for f in path.iterdir() if f.is_dir())


@pytest.mark.parametrize(
    "changed",
    [
        {"lr": 1e-3}, {"max_epochs": 3}, {"random_state": 1}, {"hidden_layer_sizes": (8,)},
        {"noise": NoiseInjector("gaussian")}, {"optimizer": torch.optim.Adam}, {"dropout": 0.1},
        {"precision": "bf16-mixed"}, {"early_stopping": True},
    ],
    ids=str,
)  # fmt: skip
def test_other_parameters_have_a_folder_of_their_own(changed, standard_jets, tmp_path):
    small(checkpoint=tmp_path, max_epochs=2).fit(standard_jets)
    model = small(**{"checkpoint": tmp_path, "max_epochs": 2, **changed}).fit(standard_jets)
    assert len(folders(tmp_path)) == 2
    expected = small(**{"max_epochs": 2, **changed}).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))


@pytest.mark.parametrize(
    "changed",
    [{"verbose": 2}, {"callbacks": [Callback()]}, {"device": "cpu"}, {"hidden_layer_sizes": [16]}],
    ids=", ".join,  # an object's address is another one in each process
)
def test_what_does_not_change_the_result_has_the_same_folder(changed, standard_jets, tmp_path):
    small(checkpoint=tmp_path, max_epochs=2).fit(standard_jets)
    small(**{"checkpoint": tmp_path, "max_epochs": 2, **changed}).fit(standard_jets)
    assert len(folders(tmp_path)) == 1


def test_other_data_have_a_folder_of_their_own(standard_jets, tmp_path):
    model = small(checkpoint=tmp_path, max_epochs=1)
    model.fit(standard_jets)
    model.fit(np.asfortranarray(standard_jets))
    assert len(folders(tmp_path)) == 1, "the same numbers in another order of memory"
    model.fit(standard_jets[::-1])
    model.fit(standard_jets.astype(np.float32))
    model.fit(standard_jets, sample_weight=np.arange(len(standard_jets)))
    assert len(folders(tmp_path)) == 4


def test_other_names_of_columns_have_a_folder_of_their_own(standard_jets, tmp_path):
    """Under other names ``angles`` are other columns."""
    model = small(checkpoint=tmp_path, angles=["phi"])
    for names in (["E", "phi", "eta", "pt"], ["E", "eta", "pt", "phi"]):
        frame = pd.DataFrame(standard_jets, columns=names)
        model.fit(frame)
        expected = small(angles=["phi"]).fit(frame)
        assert model.angles_ == expected.angles_
        assert torch.equal(weights_of(model), weights_of(expected))
    assert len(folders(tmp_path)) == 2


def test_a_network_that_does_not_fit_its_checkpoint_is_an_error(
    standard_jets, tmp_path, monkeypatch
):
    small(checkpoint=tmp_path).fit(standard_jets)
    monkeypatch.setattr("skae.estimators._resume.describe", lambda value: None)
    small(checkpoint=tmp_path).fit(standard_jets)
    with pytest.raises(CheckpointError, match=r"(?s)does not fit this network: .*size mismatch"):
        small(checkpoint=tmp_path, hidden_layer_sizes=(8,)).fit(standard_jets)


def test_a_folder_of_another_fit_is_refused_with_what_differs(standard_jets, tmp_path):
    small(checkpoint=tmp_path / "a").fit(standard_jets)
    small(checkpoint=tmp_path / "b", lr=0.01).fit(standard_jets)
    (ours,), (theirs,) = folders(tmp_path / "a"), folders(tmp_path / "b")
    shutil.rmtree(ours)
    shutil.move(theirs, ours)
    model = small(checkpoint=tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"parameters.lr is 0.01 there and 0.003 here"):
        model.fit(standard_jets)
    assert not hasattr(model, "net_")


def test_clones_of_a_search_do_not_touch_each_others_files(standard_jets, tmp_path):
    grid = {"n_components": [1, 2], "max_epochs": [2, 3]}

    def scores(**parameters):
        search = GridSearchCV(small(**parameters), grid, cv=2, n_jobs=2).fit(standard_jets)
        return search.cv_results_["mean_test_score"]

    plain = scores()
    np.testing.assert_array_equal(scores(checkpoint=tmp_path), plain)
    fits = folders(tmp_path)
    assert len(fits) == 4 * 2 + 1  # each candidate on each fold, and the best on all rows
    before = {f: f.stat().st_mtime_ns for fit in fits for f in fit.glob("*.safetensors")}
    assert all(len(list(fit.glob("*.safetensors"))) == 2 for fit in fits)
    np.testing.assert_array_equal(scores(checkpoint=tmp_path), plain)
    after = {f: f.stat().st_mtime_ns for fit in fits for f in fit.glob("*.safetensors")}
    assert before == after
    assert folders(tmp_path) == fits


def test_a_search_over_epochs_at_a_constant_rate_shares_folders_safely(standard_jets, tmp_path):
    def scores(**parameters):
        model = small(lr_schedule="constant", **parameters)
        search = GridSearchCV(model, {"max_epochs": [4, 2, 3]}, cv=2, n_jobs=2, error_score="raise")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in the workers: one waits for another
            return search.fit(standard_jets).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(scores(checkpoint=tmp_path), scores())


class Shift(torch.nn.Module):
    def forward(self, batch, generator):
        return batch + 0.1


def test_a_module_may_be_the_noise(standard_jets, tmp_path):
    model = small(noise=Shift(), checkpoint=tmp_path).fit(standard_jets)
    assert not torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))
