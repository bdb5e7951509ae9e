"""Checkpoints that cannot be written or read: errors that say what to do, and what is left."""

import contextlib
import pickle
import subprocess
from functools import partial

import fits
import numpy as np
import pytest
import torch
from fits import Steps, at_epoch, interrupted, no_space, weights_of
from sklearn.base import clone

from skae.exceptions import CheckpointError, DivergenceError
from skae.training import checkpoints

small = partial(fits.small, max_epochs=6)


class Odd(torch.optim.SGD):
    """An optimizer with a state that cannot be saved."""

    def step(self, closure=None):
        self.state[self.param_groups[0]["params"][0]]["tag"] = {1, 2}
        return super().step(closure)


# -- what cannot be written --------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_found_out_before_training(standard_jets, tmp_path):
    (tmp_path / "file").write_text("mine")
    model = small().fit(standard_jets)
    before = weights_of(model)
    with pytest.raises(CheckpointError, match="Choose a folder, not a file"):
        model.set_params(checkpoint=tmp_path / "file").fit(standard_jets)
    assert torch.equal(weights_of(model), before)


def test_on_a_disk_mounted_read_only_no_training_starts(standard_jets, small_disk):
    model = small(checkpoint=small_disk).fit(standard_jets)
    before = weights_of(model)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    steps = Steps(1)
    model.set_params(lr=0.01, callbacks=[steps])
    with pytest.raises(CheckpointError, match="Choose a folder that is not mounted read-only"):
        model.fit(standard_jets)
    assert steps.count == 0
    assert torch.equal(weights_of(model), before)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    model.set_params(lr=3e-3).fit(standard_jets)
    assert steps.count == 0, "the fit from before is still there"


def test_a_disk_that_is_full_in_truth(standard_jets, small_disk, save_always):
    def fill(net):
        with contextlib.suppress(OSError), open(small_disk / "other", "wb") as other:
            while True:
                other.write(bytes(4096))
                other.flush()

    model = small(checkpoint=small_disk, callbacks=[at_epoch(3, fill)])
    with pytest.raises(CheckpointError, match=r"No space left on device\. Free some space and fit"):
        model.fit(standard_jets)
    assert model.n_iter_ == 3
    assert np.isfinite(model.transform(standard_jets)).all()
    (small_disk / "other").unlink()
    steps = Steps()
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count <= 3 * 7 + 1
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_a_disk_that_fills_up_leaves_a_usable_estimator(
    standard_jets, tmp_path, save_always, monkeypatch
):
    written = []
    whole = checkpoints.write_atomically

    def fill(path, content):
        if len(written) == 12:
            no_space()
        whole(path, content)
        written.append(path)

    monkeypatch.setattr(checkpoints, "write_atomically", fill)
    model = small(checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="No space left on device"):
        model.fit(standard_jets)
    assert np.isfinite(model.transform(standard_jets)).all()
    assert model.n_iter_ == 1
    monkeypatch.setattr(checkpoints, "write_atomically", whole)
    steps = Steps()
    resumed = clone(model).set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == 6 * 7 - 10
    assert torch.equal(weights_of(resumed), weights_of(small().fit(standard_jets)))


def test_a_warm_start_that_is_refused_leaves_nothing_of_its_run(
    standard_jets, tmp_path, monkeypatch
):
    model = small(warm_start=True, checkpoint=tmp_path).fit(standard_jets)
    monkeypatch.setattr(checkpoints, "write_atomically", no_space)
    model.set_params(noise=lambda batch, generator: batch, callbacks=[Steps()])
    with pytest.raises(CheckpointError, match="No space left"):
        model.fit(standard_jets)
    pickle.dumps(model.set_params(noise=None, callbacks=None))


def test_an_optimizer_that_cannot_be_saved_is_named_in_a_warm_start_too(standard_jets, tmp_path):
    model = small(optimizer=Odd, warm_start=True).fit(standard_jets)
    with pytest.raises(CheckpointError, match=r"tag is a set.*Use checkpoint=None"):
        model.set_params(checkpoint=tmp_path).fit(standard_jets)


def test_what_an_optimizer_keeps_that_cannot_be_saved_is_named(
    standard_jets, tmp_path, save_always
):
    model = small(optimizer=Odd, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"tag is a set.*Use checkpoint=None"):
        model.fit(standard_jets)


# -- what cannot be gone on with ---------------------------------------------------------------


def test_a_truncated_file_is_refused_and_without_it_the_fit_goes_on(
    standard_jets, tmp_path, save_always
):
    model = small(checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    newest = sorted(tmp_path.glob("*/*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"cannot be read: .*Delete that file") as error:
        model.fit(standard_jets)
    assert str(newest) in str(error.value)
    newest.unlink()
    steps = Steps()
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == 6 * 7 - 8
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_a_fit_that_diverges_keeps_its_last_good_checkpoint(standard_jets, tmp_path, save_always):
    options = {"optimizer": "sgd", "lr": 1e6, "lr_schedule": "one_cycle"}
    message = r"in epoch \d+ \(lr=1000000.0.*Lower lr"
    for _ in range(2):  # the second goes on, and diverges in the same place
        model = small(**options, checkpoint=tmp_path)
        with pytest.raises(DivergenceError, match=message) as error:
            model.fit(standard_jets)
        assert torch.isfinite(weights_of(model)).all()
        assert np.isfinite(model.transform(standard_jets)).all()
    plain = small(**options)
    with pytest.raises(DivergenceError) as expected:
        plain.fit(standard_jets)
    assert str(error.value) == str(expected.value)
    assert torch.equal(weights_of(model), weights_of(plain))
