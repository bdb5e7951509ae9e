"""Callbacks of skorch and of scikit-learn see the net and the estimator, and may end a fit."""

import numpy as np
import pytest
import torch
from fits import Steps, each, small, stop, weights_of
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import callbacks as of_skorch

from skae.training.batches import TensorRows
from skae.training.state import Run

# -- of skorch ---------------------------------------------------------------------------------


def test_callbacks_of_skorch_work_as_they_are(standard_jets):
    class Counter(of_skorch.Callback):
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
    callbacks = [counter, ("clip", of_skorch.GradientNormClipping(1.0))]
    model = small(callbacks=callbacks, max_epochs=2, batch_size=200).fit(standard_jets)
    losses = model.loss_curve_
    assert counter.calls == [
        "train begin", "batch", "batch", losses[0], "batch", "batch", losses[1], "train end"
    ]  # fmt: skip
    assert len(model.history_[0, "batches"]) == 2


def test_gradient_clipping_acts(standard_jets):
    def path(lr=0.1, **options):
        start, end = (
            small(optimizer="sgd", lr=r, **options).fit(standard_jets) for r in (1e-12, lr)
        )
        return (weights_of(end) - weights_of(start)).norm()

    assert path(callbacks=[of_skorch.GradientNormClipping(1e-6)]) < 1e-4 < path()


def test_a_skorch_callback_may_end_the_fit(standard_jets):
    options = {"monitor": "train_loss", "patience": 2, "threshold": 10.0, "sink": lambda _: None}
    stopper = of_skorch.EarlyStopping(**options)
    model = small(max_epochs=50, callbacks=[stopper]).fit(standard_jets)
    assert model.n_iter_ < 50


def test_checkpoints_and_passed_through_scores_find_what_they_ask_for(standard_jets, tmp_path):
    callbacks = [
        of_skorch.Checkpoint(dirname=tmp_path / "best"),
        of_skorch.Checkpoint(monitor=None, dirname=tmp_path / "each"),
        of_skorch.TrainEndCheckpoint(dirname=tmp_path / "end"),
        of_skorch.PassthroughScoring("train_loss", on_train=True),
    ]
    model = small(callbacks=callbacks, early_stopping=True).fit(standard_jets)
    for folder in ("best", "each", "end"):
        assert any((tmp_path / folder).iterdir())
    valid = model.history_[:, "valid_loss"]
    bests = [loss < min(valid[:k], default=np.inf) for k, loss in enumerate(valid)]
    assert model.history_[:, "valid_loss_best"] == bests


def test_a_constant_rate_is_left_to_the_schedulers_of_skorch(standard_jets):
    rates = []
    keep = each("on_epoch_end", lambda net: rates.append(net.optimizer_.param_groups[0]["lr"]))
    scheduler = of_skorch.LRScheduler("StepLR", step_size=1, gamma=0.1)
    small(lr=0.1, lr_schedule="constant", callbacks=[scheduler, keep]).fit(standard_jets)
    np.testing.assert_allclose(rates, [1e-2, 1e-3, 1e-4], rtol=1e-6)


def test_a_callback_may_end_the_fit_within_an_epoch(standard_jets):
    model = small(callbacks=[Steps(1, stop)], batch_size=50).fit(standard_jets)
    assert model.n_iter_ == 1
    assert model.history_[0, "train_batch_count"] == 1


def test_epoch_scoring_sees_the_net(standard_jets):
    def mean_squared_error(net, X, y):
        return float(np.mean((net.predict(X) - X.x.numpy()) ** 2))

    scoring = of_skorch.EpochScoring(
        mean_squared_error, name="mse", on_train=True, use_caching=False
    )
    model = small(callbacks=[scoring]).fit(standard_jets)
    assert model.history_[-1, "mse"] == pytest.approx(-model.score(standard_jets), rel=1e-5)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_loop"])
def test_the_net_is_for_callbacks_and_says_so_when_it_is_fitted(method, standard_jets):
    model = small(max_epochs=1).fit(standard_jets)
    with pytest.raises(TypeError, match=r"net_ is for callbacks to look at.*call fit"):
        getattr(model.net_, method)(standard_jets)
    assert model.n_iter_ == 1


def test_nothing_of_a_run_stays_on_the_net(standard_jets):
    class Holder(of_skorch.Callback):
        pass

    model = small(callbacks=[Holder()], noise=lambda x, generator: x).fit(standard_jets)
    kept = [value for value in vars(model.net_).values() if value is not None]
    assert model.net_.callbacks_ == []
    assert not any(isinstance(value, Holder | TensorRows | Run) for value in kept)


# -- of scikit-learn ---------------------------------------------------------------------------


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
