"""What the estimators share: data in every form, weights, seeds, callbacks, interrupts, pickles."""

import copy
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import pairwise

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from fits import global_states, weights_of
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from skorch.callbacks import EarlyStopping as SkorchEarlyStopping

from skae import JetAutoencoder
from skae.exceptions import DivergenceError
from skae.training.batches import TensorRows
from skae.training.state import Run


def small(**parameters):
    """A network that trains in a blink."""
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 3, "batch_size": 64, "random_state": 0}
    return JetAutoencoder(**{**defaults, **parameters})


# -- data in every form ------------------------------------------------------------------------


def read_only(X, tmp_path):
    X = X.copy()
    X.flags.writeable = False
    return X


def memory_mapped(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "convert",
    [
        lambda X, _: X.tolist(),
        lambda X, _: np.asfortranarray(X),
        lambda X, _: torch.from_numpy(X.copy()),
        lambda X, _: torch.from_numpy(X.copy()).requires_grad_(),
        lambda X, _: pd.DataFrame(X).to_numpy(),
        read_only,
        memory_mapped,
    ],
    ids=[
        "list",
        "fortran",
        "tensor",
        "tensor with gradient",
        "pandas values",
        "read-only",
        "memmap",
    ],
)
def test_every_form_of_the_data_gives_the_same_fit(convert, standard_jets, tmp_path):
    expected = small().fit(standard_jets).transform(standard_jets)
    X = convert(standard_jets, tmp_path)
    np.testing.assert_array_equal(small().fit(X).transform(X), expected)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_go_in_and_come_out(frame, standard_jets):
    X = (
        frame(standard_jets, columns=list("abcd"))
        if frame is pd.DataFrame
        else frame(standard_jets, schema=list("abcd"))
    )
    model = small(n_components=2).set_output(transform=frame.__module__.split(".")[0]).fit(X)
    Z = model.transform(X)
    assert isinstance(Z, frame)
    assert list(Z.columns) == ["jetautoencoder0", "jetautoencoder1"]
    assert list(model.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(model.inverse_transform(Z), model.inverse_transform(Z.to_numpy()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype, standard_jets):
    X = standard_jets.astype(dtype)
    model = small().fit(X)
    Z = model.transform(X)
    assert Z.dtype == model.inverse_transform(Z).dtype == model.score_samples(X).dtype == dtype


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (65, 4), (50, 1), (1, 1)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_any_number_of_rows_and_columns(shape, batch_norm, rng):
    X = rng.normal(size=shape)
    if batch_norm and shape[0] == 1:  # no variance to divide by
        with pytest.raises(ValueError, match="batch_norm=True needs at least 2 rows"):
            small(batch_norm=True).fit(X)
        return
    model = small(n_components=1, batch_norm=batch_norm).fit(X)
    assert model.transform(X).shape == (shape[0], 1)
    assert np.isfinite(model.inverse_transform(model.transform(X))).all()


def test_constant_columns_come_back(rng):
    X = np.column_stack([rng.normal(size=100), np.full(100, 7.0), np.zeros(100)])
    model = small(max_epochs=300, lr=0.01, n_components=1).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(decoded[:, 1:], X[:, 1:], atol=0.05)


@pytest.mark.parametrize("block", ["dense", "conv"])
def test_a_row_does_not_depend_on_the_rows_beside_it(block, rng):
    X = rng.normal(size=(5000, 4))
    model = small(hidden_layer_sizes=(200, 100, 50), block=block).fit(X[:100])
    together = model.transform(X)
    for rows in (slice(0, 1), slice(17, 30), slice(4990, 5000)):
        np.testing.assert_allclose(model.transform(X[rows]), together[rows], atol=1e-7)


# -- weights -----------------------------------------------------------------------------------


def test_weights_of_one_change_nothing(standard_jets):
    plain = small().fit(standard_jets)
    weighted = small().fit(standard_jets, sample_weight=np.full(len(standard_jets), 3.0))
    torch.testing.assert_close(weights_of(weighted), weights_of(plain), rtol=1e-4, atol=1e-6)


def test_rows_of_weight_zero_are_not_learnt(standard_jets, rng):
    outliers = standard_jets.copy()
    weight = (rng.uniform(size=len(outliers)) < 0.8).astype(float)
    outliers[weight == 0] += 5.0
    options = {"max_epochs": 60, "n_components": 2}
    score = (
        small(**options)
        .fit(outliers, sample_weight=weight)
        .score(standard_jets, sample_weight=weight)
    )
    naive = small(**options).fit(outliers).score(standard_jets, sample_weight=weight)
    assert score > naive


def test_negative_weights_cancel_positive_ones(standard_jets):
    """Rows that stand twice, once with +1 and once with −1, pull nowhere."""
    ghosts = standard_jets[:100] + 4.0
    X = np.vstack([standard_jets, ghosts, ghosts])
    weight = np.concatenate([np.ones(400), np.ones(100), -np.ones(100)])
    # one batch holds all rows, so the ghosts' gradients cancel in every step
    options = {"batch_size": 1000, "max_epochs": 20, "block": "dense", "random_state": 1}
    model = small(**options).fit(X, sample_weight=weight)
    assert np.isfinite(model.loss_curve_).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    kept = -model.score(standard_jets)
    assert model.loss_curve_[-1] == pytest.approx(kept, rel=0.2)


def test_a_batch_is_divided_by_its_size_and_not_by_its_own_weights(standard_jets):
    """The gradient of an epoch's batches adds up to that of all rows, also with a negative batch."""
    X = standard_jets[:8]
    weight = np.array([3.0, 3.0, 3.0, 3.0, -1.0, -0.5, 0.0, 0.5])  # the second half sums to −1

    def step(rows, weights):
        options = {"optimizer": "sgd", "lr": 1e-3, "lr_schedule": "constant", "batch_size": 4}
        model = small(max_epochs=1, weight_decay=0.0, **options).fit(X, sample_weight=weight)
        start = weights_of(model)
        net = model.net_
        x = torch.from_numpy(rows.astype(np.float32))
        rows = TensorRows(x, None, torch.from_numpy(weights.astype(np.float32)))
        run = Run(epochs=1, batch_size=len(rows), lr=1.0)
        with net.listening(run):
            net.train(rows, None, run)
        return weights_of(model) - start

    over_mean = weight / weight.mean()
    halves = step(X[:4], over_mean[:4]) + step(X[4:], over_mean[4:])
    torch.testing.assert_close(halves / 2, step(X, over_mean), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", [1e3, 1e6, 1e18])
def test_rows_without_weight_do_not_set_the_scale(value, standard_jets):
    X = np.vstack([standard_jets, np.full((2, 4), value)])
    expected = small(max_epochs=30).fit(standard_jets).score(standard_jets)
    weight = np.concatenate([np.ones(len(standard_jets)), [0.0, 0.0]])
    model = small(max_epochs=30).fit(X, sample_weight=weight)
    assert model.score(standard_jets) == pytest.approx(expected, rel=0.2)


def test_weights_of_chunks_are_relative_to_the_first(standard_jets):
    def fit(factor):
        model = small(optimizer="sgd", lr=0.01)
        model.partial_fit(standard_jets, sample_weight=np.full(400, 2.0))
        start = weights_of(model)
        model.partial_fit(standard_jets, sample_weight=np.full(400, 2.0 * factor))
        return (weights_of(model) - start).norm().item()

    assert fit(1e-3) == pytest.approx(1e-3 * fit(1.0), rel=0.1)
    assert fit(-1e-3) == pytest.approx(fit(1e-3), rel=0.1), "a later chunk may be negative"


def test_held_out_weights_must_have_a_positive_sum(standard_jets):
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).numpy()
    model = small(early_stopping=True, max_epochs=2)
    for held_out, training in ((0.0, 1.0), (-0.5, 1.0), (20.0, -0.1)):
        weight = np.full(400, training)
        weight[order[:40]] = held_out
        with pytest.raises(
            ValueError, match=r"rows (held out|trained on) with early_stopping=True sum to"
        ):
            model.fit(standard_jets, sample_weight=weight)
    weight = np.ones(400)
    weight[order[:40]] = 0.01
    model.fit(standard_jets, sample_weight=weight)
    plain = -model.score(standard_jets[order[:40]])
    assert min(model.history_[:, "valid_loss"]) == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(400), "sum of sample_weight is 0; it must be positive"),
        (-np.ones(400), "sum of sample_weight is -400; it must be positive"),
        (np.full(400, np.nan), "sample_weight contains NaN"),
        (np.ones(399), "sample_weight.shape == "),
    ],
)
def test_unusable_weights_are_errors(weight, message, standard_jets):
    with pytest.raises(ValueError, match=message):
        small().fit(standard_jets, sample_weight=weight)


def test_score_is_the_mean_of_score_samples(standard_jets, rng):
    model = small().fit(standard_jets)
    samples = model.score_samples(standard_jets)
    assert model.score(standard_jets) == pytest.approx(samples.mean(), rel=1e-12)
    weight = rng.uniform(size=len(samples))
    expected = np.average(samples, weights=weight)
    assert model.score(standard_jets, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="must be positive"):
        model.score(standard_jets, sample_weight=np.zeros(len(samples)))


# -- seeds and global state --------------------------------------------------------------------


@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_states_are_left_as_found(random_state, standard_jets):
    before = global_states()
    model = small(dropout=0.2, early_stopping=True, random_state=random_state)
    model.fit(standard_jets).partial_fit(standard_jets).transform(standard_jets)
    assert global_states() == before


def test_one_seed_gives_one_result(standard_jets):
    first, second = (small(dropout=0.2).fit(standard_jets) for _ in range(2))
    assert torch.equal(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first), weights_of(small(random_state=1).fit(standard_jets)))


def test_no_seed_gives_different_results(standard_jets):
    first, second = (small(random_state=None).fit(standard_jets) for _ in range(2))
    assert not torch.equal(weights_of(first), weights_of(second))


def test_random_state_instance_is_advanced(standard_jets):
    state = np.random.RandomState(3)
    first, second = (small(random_state=state).fit(standard_jets) for _ in range(2))
    assert not torch.equal(weights_of(first), weights_of(second))


def test_modules_are_built_by_one_thread_at_a_time(standard_jets):
    """Each thread builds while the other tries to: without the lock, both would share one stream."""
    inside = []

    class Slow(JetAutoencoder):
        def _build_network(self, rows):
            inside.append("in")
            time.sleep(0.05)
            network = super()._build_network(rows)
            inside.append("out")
            return network

    models = [Slow(hidden_layer_sizes=(8,), max_epochs=1, random_state=s) for s in range(3)]
    threads = [threading.Thread(target=model.fit, args=(standard_jets,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == ["in", "out"] * 3


# -- going on ----------------------------------------------------------------------------------


def test_warm_start_goes_on_and_a_cold_one_does_not(standard_jets):
    model = small(warm_start=True).fit(standard_jets)
    first = model.loss_curve_[0]
    model.fit(standard_jets)
    assert model.n_iter_ == 6
    assert model.loss_curve_[3] < first
    assert small().fit(standard_jets).fit(standard_jets).n_iter_ == 3


def test_partial_fit_learns_chunk_by_chunk(standard_jets):
    model = small(lr=0.01)
    for _ in range(30):
        for chunk in np.array_split(standard_jets, 4):
            model.partial_fit(chunk)
    assert model.n_iter_ == 120
    assert model.score(standard_jets) > small(max_epochs=1).fit(standard_jets).score(standard_jets)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.partial_fit(standard_jets[:, :3])


def test_early_stopping_keeps_the_best_weights(standard_jets):
    model = small(
        early_stopping=True, max_epochs=200, lr=0.05, lr_schedule="constant", n_iter_no_change=5,
        validation_fraction=0.3,
    ).fit(standard_jets)  # fmt: skip
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


def test_early_stopping_needs_rows_to_train_on():
    with pytest.raises(ValueError, match="early_stopping=True holds out 1 of n_samples=1 rows"):
        small(early_stopping=True).fit([[1.0, 2.0]])


def test_a_refused_fit_keeps_the_one_before(standard_jets):
    model = small().fit(standard_jets)
    before = model.transform(standard_jets)
    model.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="holds out"):
        model.fit(standard_jets[:1])
    with pytest.raises(ValueError, match="sum of sample_weight"):
        model.fit(standard_jets, sample_weight=np.zeros(400))
    with pytest.raises(ValueError, match="sum of sample_weight"):
        model.fit(standard_jets[:, :3], sample_weight=np.zeros(400))
    with pytest.raises(ValueError, match="device='quantum'"):
        model.set_params(device="quantum", angles=[0]).fit(standard_jets)
    with pytest.raises(ValueError, match="duplicate user-set callback name"):
        model.set_params(device="cpu", callbacks=[("a", Callback()), ("a", Callback())]).fit(
            standard_jets
        )
    np.testing.assert_array_equal(model.transform(standard_jets), before)
    assert model.angles_ == ()
    pickle.dumps(model)


@pytest.mark.parametrize(
    "changed",
    [{"n_components": 2}, {"hidden_layer_sizes": [8]}, {"angles": [0]}, {"optimizer": "sgd"}],
    ids=str,
)
def test_a_net_that_is_trained_further_keeps_its_structure(changed, standard_jets):
    model = small(warm_start=True).fit(standard_jets)
    before = model.transform(standard_jets)
    model.set_params(**changed)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(
            ValueError, match=f"{next(iter(changed))}=.* set it back, or fit afresh"
        ):
            go_on(standard_jets)
    np.testing.assert_array_equal(model.transform(standard_jets), before)
    model.set_params(hidden_layer_sizes=[16], n_components=3, angles=None, optimizer="adamw")
    assert model.fit(standard_jets).n_iter_ == 6, "a list and a tuple of the same sizes are equal"


# -- noise -------------------------------------------------------------------------------------


def test_noise_is_fresh_in_each_batch_and_the_target_clean(standard_jets):
    seen = []

    def add_noise(batch, generator):
        noise = torch.randn(batch.shape, generator=generator, device=batch.device)
        seen.append((batch.clone(), noise))
        return batch + 0.1 * noise

    targets = []

    class Spy(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            targets.append(batch[1].clone())

    small(noise=add_noise, max_epochs=2, batch_size=100, callbacks=[Spy()]).fit(standard_jets)
    assert len(seen) == len(targets) == 8
    for (clean, _), target in zip(seen, targets, strict=True):
        assert torch.equal(clean, target)
    assert all(not torch.equal(a, b) for (_, a), (_, b) in pairwise(seen))


# -- callbacks ---------------------------------------------------------------------------------


def test_callbacks_of_skorch_work_as_they_are(standard_jets):
    class Counter(Callback):
        def __init__(self):
            self.calls = []

        def on_train_begin(self, net, **kwargs):
            self.calls.append("train begin")

        def on_epoch_end(self, net, **kwargs):
            self.calls.append(net.history[-1, "train_loss"])

        def on_batch_end(self, net, batch=None, training=False, loss=None, **kwargs):
            self.calls.append("batch")

        def on_train_end(self, net, **kwargs):
            self.calls.append("train end")

    counter = Counter()
    model = small(
        callbacks=[counter, ("clip", GradientNormClipping(1.0))], max_epochs=2, batch_size=200
    ).fit(standard_jets)
    losses = model.loss_curve_
    assert counter.calls == [
        "train begin", "batch", "batch", losses[0], "batch", "batch", losses[1], "train end"
    ]  # fmt: skip
    assert len(model.history_[0, "batches"]) == 2


def test_gradient_clipping_acts(standard_jets):
    plain = small(optimizer="sgd", lr=0.1).fit(standard_jets)
    clipped = small(optimizer="sgd", lr=0.1, callbacks=[GradientNormClipping(1e-6)]).fit(
        standard_jets
    )
    start = small(optimizer="sgd", lr=1e-12).fit(standard_jets)
    assert (
        (weights_of(clipped) - weights_of(start)).norm()
        < 1e-4
        < (weights_of(plain) - weights_of(start)).norm()
    )


def test_a_skorch_callback_may_end_the_fit(standard_jets):
    stopper = SkorchEarlyStopping(
        monitor="train_loss", patience=2, threshold=10.0, sink=lambda _: None
    )
    model = small(max_epochs=50, callbacks=[stopper]).fit(standard_jets)
    assert model.n_iter_ < 50


def test_checkpoints_and_passed_through_scores_find_what_they_ask_for(standard_jets, tmp_path):
    callbacks = [
        Checkpoint(dirname=tmp_path / "best"),
        Checkpoint(monitor=None, dirname=tmp_path / "each"),
        TrainEndCheckpoint(dirname=tmp_path / "end"),
        PassthroughScoring("train_loss", on_train=True),
    ]
    model = small(callbacks=callbacks, early_stopping=True).fit(standard_jets)
    for folder in ("best", "each", "end"):
        assert any((tmp_path / folder).iterdir())
    valid = model.history_[:, "valid_loss"]
    bests = [loss < min(valid[:k], default=np.inf) for k, loss in enumerate(valid)]
    assert model.history_[:, "valid_loss_best"] == bests


def test_a_constant_rate_is_left_to_the_schedulers_of_skorch(standard_jets):
    rates = []

    class Spy(Callback):
        def on_epoch_end(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.1)
    small(lr=0.1, lr_schedule="constant", callbacks=[scheduler, Spy()]).fit(standard_jets)
    np.testing.assert_allclose(rates, [1e-2, 1e-3, 1e-4], rtol=1e-6)


def test_a_callback_may_end_the_fit_within_an_epoch(standard_jets):
    class Stop(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training:
                raise KeyboardInterrupt

    model = small(callbacks=[Stop()], batch_size=50).fit(standard_jets)
    assert model.n_iter_ == 1
    assert model.history_[0, "train_batch_count"] == 1


def test_epoch_scoring_sees_the_net(standard_jets):
    def mean_squared_error(net, X, y):
        return float(np.mean((net.predict(X) - X.x.numpy()) ** 2))

    scoring = EpochScoring(mean_squared_error, name="mse", on_train=True, use_caching=False)
    model = small(callbacks=[scoring]).fit(standard_jets)
    assert model.history_[-1, "mse"] == pytest.approx(-model.score(standard_jets), rel=1e-5)


class EpochLog:
    """A callback of scikit-learn's kind that is handed down by meta-estimators."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.scores = []

    def setup(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, X=None):
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
            return self.stop_after is not None and len(self.scores) >= self.stop_after
        return None

    def teardown(self, estimator, context): ...


def test_scikit_learn_callbacks_see_each_epoch_with_a_usable_estimator(standard_jets):
    log = EpochLog()
    model = small(dropout=0.5, max_epochs=4).set_callbacks(log).fit(standard_jets)
    assert len(log.scores) == 4
    assert log.scores[-1] == pytest.approx(model.score(standard_jets), rel=1e-6)
    same = small(dropout=0.5, max_epochs=4).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(same)), "looking on must not change the fit"


def test_a_scikit_learn_callback_may_end_the_fit(standard_jets):
    model = small(max_epochs=10).set_callbacks(EpochLog(stop_after=2)).fit(standard_jets)
    assert model.n_iter_ == 2


def test_progress_bars_of_scikit_learn_nest_epochs_under_a_search(standard_jets, capsys):
    pipeline = make_pipeline(StandardScaler(), small())
    search = GridSearchCV(pipeline, {"jetautoencoder__n_components": [1, 2]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    search.fit(standard_jets)
    shown = capsys.readouterr().out
    assert "GridSearchCV" in shown
    assert "JetAutoencoder" in shown


def test_verbose_shows_a_progress_bar_with_loss(standard_jets, capsys):
    model = small(verbose=1).fit(standard_jets)
    shown = capsys.readouterr().err
    assert "JetAutoencoder" in shown
    assert "3/3 epochs" in shown
    assert f"{model.loss_curve_[-1]:.3g}" in shown
    small(verbose=0).fit(standard_jets)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""
    small(verbose=2).fit(standard_jets)
    assert "train_loss" in capsys.readouterr().out


# -- what ends a fit ---------------------------------------------------------------------------


def test_divergence_is_an_error_that_leaves_finite_weights(standard_jets):
    model = small(optimizer="sgd", lr=1e6, lr_schedule="constant", max_epochs=20)
    with pytest.raises(DivergenceError, match=r"in epoch \d+ \(lr=1000000.0"):
        model.fit(standard_jets)
    assert torch.isfinite(weights_of(model)).all()
    assert np.isfinite(model.transform(standard_jets)).all()


def test_after_a_divergence_early_stopping_leaves_the_best_weights(standard_jets):
    class Explode(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 6:
                net.optimizer_.param_groups[0]["lr"] = 1e30

    model = small(
        early_stopping=True, max_epochs=20, lr=0.01, lr_schedule="constant", callbacks=[Explode()]
    )
    with pytest.raises(DivergenceError, match=r"in epoch \d+ .*Lower lr"):
        model.fit(standard_jets)
    valid = [loss for loss in model.history_[:, "valid_loss"] if np.isfinite(loss)]
    assert len(valid) >= 5
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    held_out = standard_jets[order[:40].numpy()]
    assert -model.score(held_out) == pytest.approx(min(valid), rel=1e-4)


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


# -- copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [
        lambda model, _: pickle.loads(pickle.dumps(model)),
        lambda model, _: cloudpickle.loads(cloudpickle.dumps(model)),
        lambda model, _: copy.deepcopy(model),
        lambda model, path: joblib.load(joblib.dump(model, path / "model.joblib")[0]),
    ],
    ids=["pickle", "cloudpickle", "deepcopy", "joblib"],
)
def test_copies_predict_and_go_on_alike(copied, standard_jets, tmp_path):
    model = small(dropout=0.2).fit(standard_jets)
    twin = copied(model, tmp_path)
    np.testing.assert_array_equal(twin.transform(standard_jets), model.transform(standard_jets))
    model.partial_fit(standard_jets)
    twin.partial_fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(twin))


def test_a_clone_is_not_fitted(standard_jets):
    twin = clone(small().fit(standard_jets))
    with pytest.raises(NotFittedError):
        twin.transform(standard_jets)
    assert not hasattr(twin, "module_")


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0, np.nan], [2.0, 3.0]], "Input X contains NaN"),
        ([[1.0, np.inf], [2.0, 3.0]], "Input X contains infinity"),
        ([["a", "b"], ["c", "d"]], "could not convert string to float"),
        (np.empty((0, 4)), r"0 sample\(s\)"),
        ([1.0, 2.0], "Expected 2D array, got 1D array"),
        ([[1e39, 1.0], [2.0, 3.0]], "beyond the range of float32"),
    ],
    ids=["nan", "inf", "strings", "empty", "1-D", "overflow"],
)
def test_bad_data_is_an_error_before_training(X, message):
    model = small()
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_epochs", 0), ("batch_size", 0), ("lr", 0.0), ("lr", "fast"), ("optimizer", "adamax"),
        ("optimizer", dict), ("weight_decay", -1.0), ("lr_schedule", "linear"),
        ("early_stopping", "yes"), ("validation_fraction", 1.0), ("n_iter_no_change", 0),
        ("tol", -1e-3), ("noise", 0.1), ("device", "quantum"), ("device", 3), ("callbacks", "bar"),
        ("verbose", "loud"), ("warm_start", 2), ("random_state", "lucky"),
    ],
)  # fmt: skip
def test_unknown_parameter_values_are_named_before_training(parameter, value, standard_jets):
    model = small(**{parameter: value})
    with pytest.raises(ValueError, match=parameter) as error:
        model.fit(standard_jets)
    assert str(value) in str(error.value) or repr(value) in str(error.value)
    assert not hasattr(model, "net_")


def test_values_beyond_float32_are_an_error_in_use_too(standard_jets):
    model = small().fit(standard_jets)
    for use in (model.transform, model.score_samples):
        with pytest.raises(ValueError, match=r"values up to 1e\+39, beyond the range of float32"):
            use([[1e39, 0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="beyond the range of float32"):
        model.inverse_transform([[1e39, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("parameters", "rows"), [({"batch_size": 1}, 10), ({"early_stopping": True}, 2)], ids=str
)
def test_batch_norm_needs_two_rows_in_a_batch(parameters, rows, standard_jets):
    with pytest.raises(ValueError, match="batch_norm=True needs at least 2 rows"):
        small(batch_norm=True, **parameters).fit(standard_jets[:rows])


def test_wrong_width_is_an_error(standard_jets):
    model = small().fit(standard_jets)
    with pytest.raises(ValueError, match="X has 3 features, but JetAutoencoder is expecting 4"):
        model.transform(standard_jets[:, :3])
    with pytest.raises(ValueError, match=r"X has 2 columns, but .* n_components=3"):
        model.inverse_transform(np.zeros((5, 2)))


def test_weight_decay_for_an_optimizer_without_it_is_an_error(standard_jets):
    with pytest.raises(ValueError, match="LBFGS has no weight decay"):
        small(optimizer=torch.optim.LBFGS, weight_decay=0.1).fit(standard_jets)


def test_an_optimizer_with_a_closure_works(standard_jets):
    model = small(
        optimizer=torch.optim.LBFGS, weight_decay=0.0, lr=0.5, batch_size=400, max_epochs=10
    )
    model.fit(standard_jets)
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]


# -- the net -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_loop"])
def test_the_net_is_for_callbacks_and_says_so_when_it_is_fitted(method, standard_jets):
    model = small(max_epochs=1).fit(standard_jets)
    with pytest.raises(TypeError, match=r"net_ is for callbacks to look at.*call fit"):
        getattr(model.net_, method)(standard_jets)
    assert model.n_iter_ == 1


def test_nothing_of_a_run_stays_on_the_net(standard_jets):
    class Holder(Callback):
        pass

    model = small(callbacks=[Holder()], noise=lambda x, generator: x).fit(standard_jets)
    kept = [value for value in vars(model.net_).values() if value is not None]
    assert model.net_.callbacks_ == []
    assert not any(isinstance(value, Holder | TensorRows | Run) for value in kept)
