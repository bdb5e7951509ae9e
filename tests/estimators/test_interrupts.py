"""What ends a fit early, and what it leaves: no more progress, divergence, Ctrl-C."""

import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from fits import at_epoch, small, weights_of

from skae.exceptions import DivergenceError
from skae.training import net

# -- no more progress --------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights(standard_jets):
    options = {"early_stopping": True, "n_iter_no_change": 5, "validation_fraction": 0.3}
    model = small(**options, max_epochs=200, lr=0.05, lr_schedule="constant").fit(standard_jets)
    valid = model.history_[:, "valid_loss"]
    assert len(valid) < 200
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    held_out = order[:120].numpy()
    assert -model.score(standard_jets[held_out]) == pytest.approx(min(valid), rel=1e-4)


def test_patience_counts_in_the_annealing_phase_only(standard_jets):
    """An impossible demand: no epoch ever counts as an improvement after the first."""
    options = {"early_stopping": True, "max_epochs": 20, "n_iter_no_change": 2, "tol": 1.0}
    assert small(lr_schedule="one_cycle", **options).fit(standard_jets).n_iter_ == 6 + 2
    assert small(lr_schedule="constant", **options).fit(standard_jets).n_iter_ == 1 + 2


def test_without_a_limit_to_patience_the_best_weights_are_kept_all_the_same(standard_jets):
    options = {"early_stopping": True, "max_epochs": 20, "tol": 1.0, "lr_schedule": "constant"}
    model = small(**options, lr=0.05, n_iter_no_change=np.inf).fit(standard_jets)
    same = small(**options, lr=0.05, n_iter_no_change=20).fit(standard_jets)
    assert model.n_iter_ == 20
    assert torch.equal(weights_of(model), weights_of(same))


def test_early_stopping_needs_rows_to_train_on():
    with pytest.raises(ValueError, match="early_stopping=True holds out 1 of n_samples=1 rows"):
        small(early_stopping=True).fit([[1.0, 2.0]])


# -- divergence --------------------------------------------------------------------------------


def test_divergence_is_an_error_that_leaves_finite_weights(standard_jets):
    model = small(optimizer="sgd", lr=1e6, lr_schedule="constant", max_epochs=20)
    with pytest.raises(DivergenceError, match=r"in epoch \d+ \(lr=1000000.0"):
        model.fit(standard_jets)
    assert torch.isfinite(weights_of(model)).all()
    assert np.isfinite(model.transform(standard_jets)).all()


def test_after_a_divergence_early_stopping_leaves_the_best_weights(standard_jets):
    def explode(net):
        net.optimizer_.param_groups[0]["lr"] = 1e30

    options = {"early_stopping": True, "max_epochs": 20, "lr": 0.01, "lr_schedule": "constant"}
    model = small(**options, callbacks=[at_epoch(6, explode, "on_epoch_begin")])
    with pytest.raises(DivergenceError, match=r"in epoch \d+ .*Lower lr"):
        model.fit(standard_jets)
    valid = [loss for loss in model.history_[:, "valid_loss"] if np.isfinite(loss)]
    assert len(valid) >= 5
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    held_out = standard_jets[order[:40].numpy()]
    assert -model.score(held_out) == pytest.approx(min(valid), rel=1e-4)


# -- interrupts --------------------------------------------------------------------------------


def test_an_interrupt_leaves_a_usable_estimator_and_goes_on_upwards():
    script = """
        import os, signal, numpy as np
        from skorch.callbacks import Callback
        from skae import JetAutoencoder

        class Ready(Callback):
            def on_epoch_end(self, net, **kwargs):
                print("epoch", flush=True)

        X = np.random.default_rng(0).normal(size=(500, 4))
        model = JetAutoencoder(max_epochs=10**6, device="cpu", callbacks=[Ready()])
        try:
            model.fit(X)
        except KeyboardInterrupt:
            assert np.isfinite(model.transform(X)).all()
            assert 1 <= model.n_iter_ == len(model.loss_curve_) < 10**6
            print("interrupted, usable", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    while "epoch" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.endswith("interrupted, usable\n")


def test_an_interrupt_while_training_is_prepared_leaves_a_usable_estimator(
    standard_jets, monkeypatch
):
    for name in ("start_schedule", "Position"):
        with monkeypatch.context() as patch:
            patch.setattr(net, name, lambda *_: signal.raise_signal(signal.SIGINT))
            model = small()
            with pytest.raises(KeyboardInterrupt):
                model.fit(standard_jets)
        pickle.dumps(model)
        assert np.isfinite(model.transform(standard_jets)).all()
