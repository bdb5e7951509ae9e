"""``checkpoint=``: a fit goes on where it was killed, to the same weights."""

import json
import os
from functools import partial

import fits
import pytest
import torch
from fits import CrashError, Steps, assert_goes_on, at_epoch, interrupted, weights_of
from scripts import printed_by
from sklearn.base import clone
from skorch.callbacks import Callback

from skae import NoiseInjector
from skae.training import hardware

small = partial(fits.small, max_epochs=6)


def history_of(estimator):
    return [{k: v for k, v in row.items() if k != "dur"} for row in estimator.history_]


def add_noise(batch, generator):
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


# -- from where it crashed ---------------------------------------------------------------------

CONFIGURATIONS = {
    "defaults": {},
    "cosine": {"lr_schedule": "cosine"},
    "constant": {"lr_schedule": "constant"},
    "dropout": {"dropout": 0.3},
    "noise": {"noise": NoiseInjector("gaussian", sigma=0.1)},
    "callable noise": {"noise": add_noise},
    "batch norm": {"batch_norm": True},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.2, "lr": 0.03},
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "lbfgs": {"optimizer": torch.optim.LBFGS, "weight_decay": 0.0, "lr": 0.01},
    "bf16": {"precision": "bf16-mixed"},
    "linear path": {"linear_path": True, "angles": [2]},
}


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_crashed_fit_goes_on_to_the_same_weights(options, standard_jets, tmp_path, save_always):
    expected = small(**options).fit(standard_jets)
    assert expected.n_iter_ >= 3
    model = small(**options, checkpoint=tmp_path)
    interrupted(model, standard_jets, 1, 3, 8)
    steps = Steps()
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == sum(row["train_batch_count"] for row in expected.history_) - 9
    assert torch.equal(weights_of(model), weights_of(expected))
    assert len(list(tmp_path.iterdir())) == 1
    plain = small(**options, checkpoint=tmp_path).fit(standard_jets)
    assert history_of(plain)[-1]["train_loss"] == history_of(expected)[-1]["train_loss"]


def test_weights_of_rows_are_part_of_the_fit(standard_jets, tmp_path, rng, save_always):
    weight = rng.uniform(size=len(standard_jets))
    weighted = assert_goes_on(small(), tmp_path, standard_jets, 10, sample_weight=weight)
    assert not torch.equal(weights_of(weighted), weights_of(small().fit(standard_jets)))


def test_callbacks_see_the_batches_of_a_resumed_epoch(standard_jets, tmp_path, save_always):
    expected = small(callbacks=[Steps()]).fit(standard_jets)
    model = small(checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    model.set_params(callbacks=[Steps()]).fit(standard_jets)
    assert history_of(model) == history_of(expected)


def test_a_fit_without_a_seed_goes_on_with_the_seed_it_drew(standard_jets, tmp_path, save_always):
    model = small(random_state=None, checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    first = model.fit(standard_jets).net_.random_streams.seed
    expected = small(random_state=first).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))
    assert clone(model).fit(standard_jets).net_.random_streams.seed == first


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_goes_on_bit_for_bit_on_a_machine_with_more_or_less_memory(
    early_stopping, standard_jets, tmp_path, save_always, monkeypatch
):
    model = small(early_stopping=early_stopping)
    for share, other in ((0.0, 1.0), (1.0, 0.0)):
        fits.read_in_pieces(monkeypatch.setattr, run=10 * 4, buffer=100 * 4, share=share)
        expected = clone(model).fit(standard_jets)
        folder = tmp_path / str(share)
        saved = clone(model).set_params(checkpoint=folder)
        interrupted(saved, standard_jets, 10)
        monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", other)
        saved.fit(standard_jets)
        assert torch.equal(weights_of(saved), weights_of(expected))


@pytest.mark.parametrize("method", ["on_epoch_begin", "on_grad_computed"])
def test_a_stop_that_was_asked_for_in_an_epoch_waits_for_its_end(
    method, standard_jets, tmp_path, save_always
):
    def ask(net):
        net.stop_training = True

    asking = at_epoch(3, ask, method)
    expected = small(callbacks=[asking]).fit(standard_jets)
    assert expected.n_iter_ == 3
    model = small(checkpoint=tmp_path)
    with pytest.raises(CrashError):
        clone(model).set_params(callbacks=[asking, at_epoch(3)]).fit(standard_jets)
    model.set_params(callbacks=[asking]).fit(standard_jets)
    assert model.n_iter_ == 3
    assert torch.equal(weights_of(model), weights_of(expected))


def test_callbacks_that_can_be_saved_are(standard_jets, tmp_path, save_always):
    class Counter(Callback):
        def initialize(self):
            self.epochs = []
            return self

        def on_epoch_begin(self, net, **kwargs):
            self.epochs.append(len(net.history))

        def state_dict(self):
            return {"epochs": self.epochs}

        def load_state_dict(self, state):
            self.epochs = state["epochs"]

    model = small(checkpoint=tmp_path)
    for step in (10, 11):
        with pytest.raises(CrashError):
            clone(model).set_params(callbacks=[Steps(step), Counter()]).fit(standard_jets)
    counter = Counter()
    model.set_params(callbacks=[counter]).fit(standard_jets)
    assert counter.epochs == [1, 2, 3, 4, 5, 6]


KILLED = """
    import hashlib, json, os, random, shutil, signal, sys, time, traceback
    import numpy as np, torch
    torch.set_num_threads(1)
    from skae import JetAutoencoder, NoiseInjector
    from fits import save_always

    save_always()
    X = np.random.default_rng(0).normal(size=(240, 4))  # too few to be judged
    random.seed(0)

    def fit(folder):
        model = JetAutoencoder(
            hidden_layer_sizes=(16,), batch_norm=True, dropout=0.2, noise=NoiseInjector("gaussian"),
            early_stopping=True, max_epochs=12, batch_size=64, device="cpu", random_state=0,
            checkpoint=folder,
        ).fit(X)
        state = model.module_.state_dict()
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in state.values())).hexdigest()

    def in_child(folder):
        child = os.fork()
        if not child:
            try:
                print(json.dumps(fit(folder)), flush=True)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        return child

    fit(sys.argv[1] + "/first")  # what takes long once is behind
    begin = time.monotonic()
    print(json.dumps(fit(sys.argv[1] + "/whole")), flush=True)
    duration = time.monotonic() - begin
    kills = steps = partial = 0
    while kills < int(sys.argv[2]):
        folder = f"{sys.argv[1]}/{kills}"
        child = in_child(folder)
        time.sleep(random.uniform(0.0, duration))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):  # it was too fast: this moment does not count
            shutil.rmtree(folder)
            continue
        kills += 1
        for _, _, names in os.walk(folder):
            steps += sum(name.endswith(".safetensors") for name in names) == 2
            partial += any(name.endswith(".tmp") for name in names)
        _, status = os.waitpid(in_child(folder), 0)
        assert status == 0, status
    print(json.dumps([steps, partial]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("n_kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_fit_ends_with_the_same_weights(tmp_path, n_kills):
    printed = printed_by(KILLED, tmp_path, n_kills, PYTHONWARNINGS="error")
    whole, *rest = map(json.loads, printed.splitlines())
    (steps, _), results = rest[-1], [r for r in rest[:-1] if r != whole]
    assert results == []
    assert len(rest) - 1 >= n_kills
    assert steps >= n_kills // 2, "most kills came behind the first steps"


# -- from where it ended -----------------------------------------------------------------------


def test_a_fit_that_has_ended_is_not_trained_again(standard_jets, tmp_path):
    first = small(checkpoint=tmp_path, early_stopping=True).fit(standard_jets)
    steps = Steps(1)
    second = small(checkpoint=str(tmp_path), early_stopping=True, callbacks=[steps], verbose=0)
    second.fit(standard_jets)
    assert steps.count == 0
    assert torch.equal(weights_of(first), weights_of(second))
    assert history_of(first) == history_of(second)


def test_a_fit_that_a_callback_ended_has_ended(standard_jets, tmp_path):
    model = small(checkpoint=tmp_path, callbacks=[Steps(9, fits.stop)]).fit(standard_jets)
    assert model.n_iter_ == 2
    again = small(checkpoint=tmp_path).fit(standard_jets)
    assert again.n_iter_ == 2
    assert torch.equal(weights_of(model), weights_of(again))


def test_more_epochs_at_a_constant_rate_go_on_from_fewer(standard_jets, tmp_path):
    options = {"lr_schedule": "constant", "dropout": 0.2}
    model = small(**options, checkpoint=tmp_path, max_epochs=4).fit(standard_jets)
    steps = Steps()
    model.set_params(max_epochs=6, callbacks=[steps]).fit(standard_jets)
    assert steps.count == 2 * 7
    assert torch.equal(weights_of(model), weights_of(small(**options).fit(standard_jets)))
    # fewer than are there: as if the longer fit were not there, and without harm to it
    model.set_params(max_epochs=3, callbacks=None).fit(standard_jets)
    expected = small(**options, max_epochs=3).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))
    steps = Steps(1)
    assert model.set_params(max_epochs=6, callbacks=[steps]).fit(standard_jets).n_iter_ == 6
    assert steps.count == 0


def test_a_shorter_fit_does_not_take_the_middle_of_a_longer_one(
    standard_jets, tmp_path, save_always
):
    options = {"lr_schedule": "constant", "dropout": 0.2}
    interrupted(small(**options, checkpoint=tmp_path), standard_jets, 3 * 7 + 4)
    model = small(**options, checkpoint=tmp_path, max_epochs=3).fit(standard_jets)
    expected = small(**options, max_epochs=3).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))


def test_a_warm_start_has_a_checkpoint_of_its_own(standard_jets, tmp_path, save_always):
    def twice(model):
        return model.fit(standard_jets).fit(standard_jets)

    expected = twice(small(warm_start=True, dropout=0.1))
    model = small(warm_start=True, dropout=0.1, checkpoint=tmp_path)
    model.fit(standard_jets)
    with pytest.raises(CrashError):
        model.set_params(callbacks=[Steps(10)]).fit(standard_jets)
    # a new process: the first call finds its end, the second goes on
    steps = Steps()
    again = clone(model.set_params(callbacks=None)).set_params(callbacks=[steps])
    assert twice(again).n_iter_ == 6
    assert len(again.history_) == 12
    assert steps.count == 42 - 9  # the step that crashed was not saved yet
    assert torch.equal(weights_of(again), weights_of(expected))


@pytest.mark.filterwarnings("ignore::skae.exceptions.IgnoredParameterWarning")
def test_partial_fit_writes_nothing(standard_jets, tmp_path):
    small(checkpoint=tmp_path).partial_fit(standard_jets)
    assert not list(tmp_path.iterdir())


def test_a_progress_bar_starts_where_the_fit_goes_on(standard_jets, tmp_path, capsys):
    options = {"lr_schedule": "constant", "checkpoint": tmp_path}
    small(**options, max_epochs=4).fit(standard_jets)
    small(**options, max_epochs=5, verbose=1).fit(standard_jets)
    shown = capsys.readouterr().err
    assert "(4 epochs restored)" in shown
    assert "5/5 epochs" in shown


def test_a_fit_that_a_checkpoint_holds_is_said_to_be_restored(standard_jets, tmp_path, capsys):
    options = {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.2, "lr": 0.03}
    for more in {}, options:
        model = small(checkpoint=tmp_path, **more).fit(standard_jets)
        n, loss = model.n_iter_, f"loss {model.loss_curve_[-1]:.3g}"
        capsys.readouterr()
        small(checkpoint=tmp_path, verbose=1, **more).fit(standard_jets)
        shown = " ".join(capsys.readouterr().err.split())  # lines of a narrow terminal
        assert f"JetAutoencoder ({n} epochs restored)" in shown
        assert f"{n}/6 epochs, {loss}" in shown
        small(checkpoint=tmp_path, verbose=2, **more).fit(standard_jets)
        assert f"{n} of 6 epochs restored from the checkpoint." in capsys.readouterr().out


def test_a_fit_that_is_computed_is_not_said_to_be_restored(standard_jets, tmp_path, capsys):
    model = small(checkpoint=tmp_path, verbose=1, warm_start=True).fit(standard_jets)
    model.set_params(verbose=2).fit(standard_jets)
    captured = capsys.readouterr()
    assert "restored" not in captured.err + captured.out
