"""``checkpoint=``: a fit goes on where it was killed, to the same weights, and mixes with no other."""

import contextlib
import copy
import functools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fits import weights_of
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skae import JetAutoencoder, MultiResRNNRegressor, NoiseInjector, PulseLocator
from skae.datasets import make_photon_correlations, make_pulses
from skae.estimators import _resume
from skae.estimators._resume import describe, fingerprint
from skae.exceptions import CheckpointError, DivergenceError
from skae.training import batches, checkpoints, hardware, net, streaming


def small(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 6, "batch_size": 64, "random_state": 0}
    return JetAutoencoder(**{**defaults, **parameters})


def history_of(estimator):
    return [{k: v for k, v in row.items() if k != "dur"} for row in estimator.history_]


def folders(path):
    return sorted(f for f in path.iterdir() if f.is_dir())


@pytest.fixture
def always(monkeypatch):
    """Write behind every step."""
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE_OF_TIME", np.inf)


class EndAt(Callback):
    """End the process, or the fit, behind a given number of steps, in whatever way is asked."""

    def __init__(self, step, act):
        self.step, self.act, self.count = step, act, 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.count += training
        if training and self.count == self.step:
            self.act()


class CrashError(Exception):
    pass


def crash():
    raise CrashError


def interrupted(model, X, step, **fit):
    """Fit up to a step, where the fit crashes."""
    with pytest.raises(CrashError):
        clone(model).set_params(callbacks=[EndAt(step, crash)]).fit(X, **fit)


def add_noise(batch, generator):
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


# -- going on ----------------------------------------------------------------------------------

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
def test_a_crashed_fit_goes_on_to_the_same_weights(options, standard_jets, tmp_path, always):
    expected = small(**options).fit(standard_jets)
    assert expected.n_iter_ >= 3
    model = small(**options, checkpoint=tmp_path)
    for step in (1, 3, 8):  # each counted from where the one before crashed
        interrupted(model, standard_jets, step)
    steps = EndAt(10**9, crash)
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == sum(row["train_batch_count"] for row in expected.history_) - 9
    assert torch.equal(weights_of(model), weights_of(expected))
    assert len(folders(tmp_path)) == 1
    plain = small(**options, checkpoint=tmp_path).fit(standard_jets)
    assert history_of(plain)[-1]["train_loss"] == history_of(expected)[-1]["train_loss"]


def test_a_crashed_fit_of_rows_that_are_streamed_goes_on(
    standard_jets, tmp_path, always, monkeypatch
):
    monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(streaming, "_RUN_NUMBERS", 10 * 4)
    monkeypatch.setattr(batches, "BUFFER_NUMBERS", 100 * 4)
    options = {"early_stopping": True, "dropout": 0.1}
    expected = small(**options).fit(standard_jets)
    model = small(**options, checkpoint=tmp_path)
    for step in (4, 9):
        interrupted(model, standard_jets, step)
    model.fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))


@pytest.mark.parametrize("sub_bin", [False, True])
def test_a_crashed_fit_on_augmented_events_goes_on(sub_bin, tmp_path, always):
    X, y = make_pulses(200, n_times=30, random_state=0)
    options = {"trace_channels": 4, "n_channels": 4, "max_epochs": 4, "sub_bin": sub_bin}
    expected = PulseLocator(**options, random_state=0).fit(X, y)
    assert expected.permute_traces_
    assert expected.reverse_time_
    model = PulseLocator(**options, random_state=0, checkpoint=tmp_path)
    for step in (1, 3, 6):
        interrupted(model, X, step, y=y)
    model.fit(X, y)
    assert torch.equal(weights_of(model), weights_of(expected))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_crashed_fit_to_sequences_goes_on(streamed, tmp_path, always, monkeypatch):
    g2 = make_photon_correlations(60, n_times=50, random_state=0)
    if streamed:
        monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", 0.0)
        monkeypatch.setattr(streaming, "_RUN_NUMBERS", 10 * 200)
        monkeypatch.setattr(batches, "BUFFER_NUMBERS", 60 * 200)
    options = {"downsampling": (4, 4), "hidden_size": 8, "max_epochs": 3, "random_state": 0}
    options["noise"] = NoiseInjector(counts=(1, 100))
    expected = MultiResRNNRegressor(**options).fit(g2.clean, g2.clean)
    model = MultiResRNNRegressor(**options, checkpoint=tmp_path)
    for step in (1, 3, 5):
        interrupted(model, g2.clean, step, y=g2.clean)
    model.fit(g2.clean, g2.clean)
    assert torch.equal(weights_of(model), weights_of(expected))


def test_weights_of_rows_are_part_of_the_fit(standard_jets, tmp_path, rng, always):
    weight = rng.uniform(size=len(standard_jets))
    expected = small().fit(standard_jets, sample_weight=weight)
    model = small(checkpoint=tmp_path)
    interrupted(model, standard_jets, 10, sample_weight=weight)
    model.fit(standard_jets, sample_weight=weight)
    assert torch.equal(weights_of(model), weights_of(expected))
    assert not torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_callbacks_see_the_batches_of_a_resumed_epoch(standard_jets, tmp_path, always):
    class Listener(Callback):
        def on_batch_end(self, net, **kwargs):
            pass

    expected = small(callbacks=[Listener()]).fit(standard_jets)
    model = small(checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    model.set_params(callbacks=[Listener()]).fit(standard_jets)
    assert history_of(model) == history_of(expected)


def test_a_fit_that_has_ended_is_not_trained_again(standard_jets, tmp_path):
    first = small(checkpoint=tmp_path, early_stopping=True).fit(standard_jets)
    steps = EndAt(1, crash)
    second = small(checkpoint=str(tmp_path), early_stopping=True, callbacks=[steps], verbose=0)
    second.fit(standard_jets)
    assert steps.count == 0
    assert torch.equal(weights_of(first), weights_of(second))
    assert history_of(first) == history_of(second)


def test_a_fit_that_a_callback_ended_has_ended(standard_jets, tmp_path):
    def stop():
        raise KeyboardInterrupt  # skorch's way to ask for the end

    model = small(checkpoint=tmp_path, callbacks=[EndAt(9, stop)]).fit(standard_jets)
    assert model.n_iter_ == 2
    again = small(checkpoint=tmp_path).fit(standard_jets)
    assert again.n_iter_ == 2
    assert torch.equal(weights_of(model), weights_of(again))


def test_a_fit_without_a_seed_goes_on_with_the_seed_it_drew(standard_jets, tmp_path, always):
    model = small(random_state=None, checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    first = model.fit(standard_jets).net_.random_streams.seed
    expected = small(random_state=first).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))
    assert clone(model).fit(standard_jets).net_.random_streams.seed == first


def test_more_epochs_at_a_constant_rate_go_on_from_fewer(standard_jets, tmp_path):
    options = {"lr_schedule": "constant", "dropout": 0.2}
    model = small(**options, checkpoint=tmp_path, max_epochs=4).fit(standard_jets)
    steps = EndAt(10**9, crash)
    model.set_params(max_epochs=6, callbacks=[steps]).fit(standard_jets)
    assert steps.count == 2 * 7
    assert torch.equal(weights_of(model), weights_of(small(**options).fit(standard_jets)))
    # fewer than are there: as if the longer fit were not there, and without harm to it
    model.set_params(max_epochs=3, callbacks=None).fit(standard_jets)
    expected = small(**options, max_epochs=3).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))
    steps = EndAt(1, crash)
    assert model.set_params(max_epochs=6, callbacks=[steps]).fit(standard_jets).n_iter_ == 6
    assert steps.count == 0


def test_a_shorter_fit_does_not_take_the_middle_of_a_longer_one(standard_jets, tmp_path, always):
    options = {"lr_schedule": "constant", "dropout": 0.2}
    interrupted(small(**options, checkpoint=tmp_path), standard_jets, 3 * 7 + 4)
    model = small(**options, checkpoint=tmp_path, max_epochs=3).fit(standard_jets)
    expected = small(**options, max_epochs=3).fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(expected))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_goes_on_bit_for_bit_on_a_machine_with_more_or_less_memory(
    early_stopping, standard_jets, tmp_path, always, monkeypatch
):
    monkeypatch.setattr(streaming, "_RUN_NUMBERS", 10 * 4)
    monkeypatch.setattr(batches, "BUFFER_NUMBERS", 100 * 4)
    model = small(early_stopping=early_stopping)
    for share, other in ((0.0, 1.0), (1.0, 0.0)):
        monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", share)
        expected = clone(model).fit(standard_jets)
        folder = tmp_path / str(share)
        saved = clone(model).set_params(checkpoint=folder)
        interrupted(saved, standard_jets, 10)
        monkeypatch.setattr(hardware, "SHARE_OF_MEMORY", other)
        saved.fit(standard_jets)
        assert torch.equal(weights_of(saved), weights_of(expected))


@pytest.mark.parametrize("method", ["on_epoch_begin", "on_grad_computed"])
def test_a_stop_that_was_asked_for_in_an_epoch_waits_for_its_end(
    method, standard_jets, tmp_path, always
):
    class Stop(Callback):
        def stop(self, net, **kwargs):
            if len(net.history) == 3:
                net.stop_training = True

    setattr(Stop, method, Stop.stop)
    expected = small(callbacks=[Stop()]).fit(standard_jets)
    assert expected.n_iter_ == 3
    model = small(checkpoint=tmp_path)

    class CrashAtEnd(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                raise CrashError

    with pytest.raises(CrashError):
        clone(model).set_params(callbacks=[Stop(), CrashAtEnd()]).fit(standard_jets)
    model.set_params(callbacks=[Stop()]).fit(standard_jets)
    assert model.n_iter_ == 3
    assert torch.equal(weights_of(model), weights_of(expected))


def test_callbacks_that_can_be_saved_are(standard_jets, tmp_path, always):
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
            clone(model).set_params(callbacks=[EndAt(step, crash), Counter()]).fit(standard_jets)
    counter = Counter()
    model.set_params(callbacks=[counter]).fit(standard_jets)
    assert counter.epochs == [1, 2, 3, 4, 5, 6]


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


def test_a_warm_start_has_a_checkpoint_of_its_own(standard_jets, tmp_path, always):
    def twice(model):
        return model.fit(standard_jets).fit(standard_jets)

    expected = twice(small(warm_start=True, dropout=0.1))
    model = small(warm_start=True, dropout=0.1, checkpoint=tmp_path)
    model.fit(standard_jets)
    with pytest.raises(CrashError):
        model.set_params(callbacks=[EndAt(10, crash)]).fit(standard_jets)
    # a new process: the first call finds its end, the second goes on
    steps = EndAt(10**9, crash)
    again = clone(model.set_params(callbacks=None)).set_params(callbacks=[steps])
    assert twice(again).n_iter_ == 12
    assert steps.count == 42 - 9  # the step that crashed was not saved yet
    assert torch.equal(weights_of(again), weights_of(expected))


def test_partial_fit_writes_nothing(standard_jets, tmp_path):
    small(checkpoint=tmp_path).partial_fit(standard_jets)
    assert not list(tmp_path.iterdir())


def test_a_progress_bar_starts_where_the_fit_goes_on(standard_jets, tmp_path, capsys):
    options = {"lr_schedule": "constant", "checkpoint": tmp_path}
    small(**options, max_epochs=4).fit(standard_jets)
    small(**options, max_epochs=5, verbose=1).fit(standard_jets)
    assert "5/5 epochs" in capsys.readouterr().err


# -- whose checkpoint --------------------------------------------------------------------------


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
    monkeypatch.setattr(_resume, "describe", lambda value: None)
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

    def search(**parameters):
        return GridSearchCV(small(**parameters), grid, cv=2, n_jobs=2).fit(standard_jets)

    plain = search()
    kept = search(checkpoint=tmp_path)
    np.testing.assert_array_equal(
        kept.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    fits = folders(tmp_path)
    assert len(fits) == 4 * 2 + 1  # each candidate on each fold, and the best on all rows
    before = {f: f.stat().st_mtime_ns for fit in fits for f in fit.glob("*.safetensors")}
    assert all(len(list(fit.glob("*.safetensors"))) == 2 for fit in fits)
    again = search(checkpoint=tmp_path)
    np.testing.assert_array_equal(
        again.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    after = {f: f.stat().st_mtime_ns for fit in fits for f in fit.glob("*.safetensors")}
    assert before == after
    assert folders(tmp_path) == fits


def test_a_search_over_epochs_at_a_constant_rate_shares_folders_safely(standard_jets, tmp_path):
    grid = {"max_epochs": [4, 2, 3]}

    def search(**parameters):
        model = small(lr_schedule="constant", **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in the workers: one waits for another
            return GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(standard_jets)

    np.testing.assert_array_equal(
        search(checkpoint=tmp_path).cv_results_["mean_test_score"],
        search().cv_results_["mean_test_score"],
    )


def make_scaled(factor):
    def scaled(batch, generator):
        return factor * batch

    return scaled


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch, generator):
        return self.factor * batch

    def method(self, batch, generator):
        return self.factor * batch


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (make_scaled(2.0), make_scaled(2.0), make_scaled(3.0)),
        (Scaled(2.0), Scaled(2.0), Scaled(3.0)),
        (Scaled(2.0).method, Scaled(2.0).method, Scaled(3.0).method),
        (
            functools.partial(torch.mul, other=2),
            functools.partial(torch.mul, other=2),
            functools.partial(torch.mul, other=3),
        ),
        (NoiseInjector(sigma=0.1), NoiseInjector(sigma=np.float64(0.1)), NoiseInjector(sigma=0.2)),
        (np.arange(3), [0, 1, 2], (0, 1, 3)),
        (np.arange(100), np.arange(100), np.arange(1, 101)),
        (torch.device("cpu"), "cpu", torch.device("cuda")),
        ({1: "a"}, {1: "a"}, {1: "b"}),
        (lambda b, g: b + 1, lambda b, g: b + 1, lambda b, g: b + 2),
        (torch.optim.Adam, torch.optim.Adam, torch.optim.SGD),
    ],
)
def test_values_are_told_apart_by_what_they_are(value, same, other):
    assert describe(value) == describe(same) != describe(other)


def test_functions_are_told_apart_by_the_globals_they_use():
    def described(sigma, body="SIGMA * batch", method="SIGMA * batch"):
        source = f"""
SIGMA = {sigma}
def inner(batch):
    return {body}
def noise(batch, generator):
    return [inner(b) for b in batch]
class Noise:
    def __call__(self, batch, generator):
        return {method}
"""
        names = {"__name__": "my_script"}
        exec(source, names)
        return [describe(value) for value in (names["noise"], names["Noise"](), names["Noise"])]

    plain = described(0.1)
    assert plain == described(0.1)
    assert plain[0] != described(0.2)[0]
    assert plain[0] != described(0.1, body="batch")[0]
    assert plain[1] != described(0.1, method="batch")[1]
    assert plain[2] != described(0.1, method="batch")[2]


def test_functions_that_call_many_others_are_described_once_each():
    lines = ["def f0(x): return x"]
    lines += [
        f"def f{k}(x): return f{k - 1}(f{k - 1}(x)) + f{max(0, k - 2)}(x)" for k in range(1, 60)
    ]
    names = {"__name__": "my_script"}
    exec("\n".join(lines), names)
    assert len(json.dumps(describe(names["f59"]))) < 60_000  # each path apart would be 10**12 long


def test_values_that_hold_themselves_tensors_or_nothing_are_told():
    def recursive(n):
        return 1 if n == 0 else n * recursive(n - 1)

    def unbound():
        return later

    assert describe(recursive) == describe(recursive)
    assert describe(unbound) == describe(unbound)
    later = 1
    tensors = [Scaled(torch.ones(3)), Scaled(torch.ones(3)), Scaled(torch.zeros(3))]
    assert describe(tensors[0]) == describe(tensors[1]) != describe(tensors[2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(2, 2) for _ in range(2)]
    assert describe(layers[0]) == describe(copy.deepcopy(layers[0])) != describe(layers[1])
    holder = Scaled(1.0)
    holder.other = holder
    assert describe(holder)["attributes"]["other"] == {"itself at": 0}
    shared, apart = (1, [2, 3]), [(1, [2, 3]) for _ in range(2)]
    assert describe([shared, shared]) == describe(apart), "pickling may part them"


SOURCE = """
import abc, dataclasses, functools, types
import torch
SIGMA = {sigma}
CONFIG = types.SimpleNamespace(sigma={sigma})
SCALED = functools.partial(torch.mul, other={sigma})
class Helper:
    sigma = {sigma}
    @staticmethod
    def scale(x):
        return {sigma} * x
    @property
    def size(self):
        return {sigma}
class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.BatchNorm1d(3)
        self.sigma = {sigma}
    def forward(self, x, generator):
        return self.sigma * x
@dataclasses.dataclass
class Data:
    sigma: float = {sigma}
    def __call__(self, x, generator):
        return self.sigma * x
class Abstract(abc.ABC):
    @abc.abstractmethod
    def __call__(self, x, generator): ...
class Concrete(Abstract):
    def __call__(self, x, generator):
        return {sigma} * x
def by_constant(x, generator): return SIGMA * x
def by_attribute(x, generator): return CONFIG.sigma * x
def by_partial(x, generator): return SCALED(x)
def by_class(x, generator): return Helper.scale(x)
def by_inner(x, generator): return (lambda: SIGMA)() * x
def with_attribute(x, generator): return with_attribute.sigma * x
with_attribute.sigma = {sigma}
def unrelated(x, generator): return x.data
data = {sigma}
values = [by_constant, by_attribute, by_partial, by_class, by_inner, with_attribute, Helper, Helper(),
          Module(), Module().forward, Data(), Concrete(), torch.distributions.Normal(0.0, {sigma}),
          torch.tensor({sigma}), [lambda x, k=k: k * x for k in (1, {sigma})]]
"""


def test_everything_that_code_refers_to_tells():
    def run(sigma):
        names = {"__name__": "my_script"}
        exec(SOURCE.format(sigma=sigma), names)
        return names

    first, again, other = run(0.5), run(0.5), run(0.25)
    for value, same, changed in zip(first["values"], again["values"], other["values"], strict=True):
        assert json.dumps(describe(value)) == json.dumps(describe(same)), value
        assert describe(value) != describe(changed), value
    assert describe(first["unrelated"]) == describe(other["unrelated"]), "an attribute is no global"


def test_functions_from_one_factory_are_told_apart():
    f, g = make_scaled(1.0), make_scaled(2.0)
    assert describe([f, g, f]) != describe([f, g, g])


@pytest.mark.parametrize(
    "value", [np.complex128(1j), 1j, np.datetime64("2026-11-24"), {1, 2}, b"abc", range(3)], ids=str
)
def test_values_of_any_plain_kind_are_json(value):
    assert json.dumps(describe(value)) == json.dumps(describe(copy.deepcopy(value)))
    assert describe(value) != describe(None)


def test_a_chain_of_functions_that_is_too_long_is_named():
    lines = ["def f0(x): return x", *(f"def f{k}(x): return f{k - 1}(x)" for k in range(1, 2000))]
    names = {"__name__": "my_script"}
    exec("\n".join(lines), names)
    with pytest.raises(TypeError, match="a function refers to too much"):
        describe(names["f1999"])


class Shift(torch.nn.Module):
    def forward(self, batch, generator):
        return batch + 0.1


def test_a_module_may_be_the_noise(standard_jets, tmp_path):
    model = small(noise=Shift(), checkpoint=tmp_path).fit(standard_jets)
    assert not torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_a_warm_start_that_is_refused_leaves_nothing_of_its_run(
    standard_jets, tmp_path, monkeypatch
):
    model = small(warm_start=True, checkpoint=tmp_path).fit(standard_jets)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_atomically", fail)
    model.set_params(noise=lambda batch, generator: batch, callbacks=[EndAt(10**9, crash)])
    with pytest.raises(CheckpointError, match="No space left"):
        model.fit(standard_jets)
    pickle.dumps(model.set_params(noise=None, callbacks=None))


def test_an_optimizer_that_cannot_be_saved_is_named_in_a_warm_start_too(standard_jets, tmp_path):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["tag"] = {1, 2}
            return super().step(closure)

    model = small(optimizer=Odd, warm_start=True).fit(standard_jets)
    with pytest.raises(CheckpointError, match=r"tag is a set.*Use checkpoint=None"):
        model.set_params(checkpoint=tmp_path).fit(standard_jets)


def test_a_value_that_cannot_be_told_is_an_error_before_training(standard_jets, tmp_path):
    noise = Scaled(threading.Lock())
    model = small(noise=noise, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"noise=.* a lock cannot be identified .*pickle"):
        model.fit(standard_jets)
    assert not hasattr(model, "net_")


def test_descriptions_are_the_same_in_every_process():
    script = """
        import json, torch
        from skae import NoiseInjector
        from skae.estimators._resume import describe

        def noise(batch, generator):
            return batch if "kind" in {"kind", "of", "set"} else [b for b in batch]

        print(json.dumps(describe([noise, NoiseInjector({"poisson": 0.5, "gaussian": 0.5})])))
    """
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_fingerprints_read_arrays_in_blocks(rng):
    X = rng.normal(size=(1000, 5000))  # 40 MB, three blocks
    assert fingerprint(X) == fingerprint(np.asfortranarray(X))
    changed = X.copy()
    changed[-1, -1] += 1e-9
    assert fingerprint(X) != fingerprint(changed)
    assert fingerprint(X[:0]) != fingerprint(X[:, :0].T)
    assert fingerprint(None) is None


# -- what goes wrong ---------------------------------------------------------------------------


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
    steps = EndAt(1, crash)
    model.set_params(lr=0.01, callbacks=[steps])
    with pytest.raises(CheckpointError, match="Choose a folder that is not mounted read-only"):
        model.fit(standard_jets)
    assert steps.count == 0
    assert torch.equal(weights_of(model), before)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    model.set_params(lr=3e-3).fit(standard_jets)
    assert steps.count == 0, "the fit from before is still there"


def test_a_disk_that_is_full_in_truth(standard_jets, small_disk, always):
    class FillAt(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                with contextlib.suppress(OSError), open(small_disk / "other", "wb") as other:
                    while True:
                        other.write(bytes(4096))
                        other.flush()

    model = small(checkpoint=small_disk, callbacks=[FillAt()])
    with pytest.raises(CheckpointError, match=r"No space left on device\. Free some space and fit"):
        model.fit(standard_jets)
    assert model.n_iter_ == 3
    assert np.isfinite(model.transform(standard_jets)).all()
    (small_disk / "other").unlink()
    steps = EndAt(10**9, crash)
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count <= 3 * 7 + 1
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_a_truncated_file_is_refused_and_without_it_the_fit_goes_on(
    standard_jets, tmp_path, always
):
    model = small(checkpoint=tmp_path)
    interrupted(model, standard_jets, 10)
    newest = sorted(tmp_path.glob("*/*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"cannot be read: .*Delete that file") as error:
        model.fit(standard_jets)
    assert str(newest) in str(error.value)
    newest.unlink()
    steps = EndAt(10**9, crash)
    model.set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == 6 * 7 - 8
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_a_disk_that_fills_up_leaves_a_usable_estimator(
    standard_jets, tmp_path, always, monkeypatch
):
    written = []
    whole = checkpoints.write_atomically

    def fill(path, content):
        if len(written) == 12:
            raise OSError(28, "No space left on device")
        whole(path, content)
        written.append(path)

    monkeypatch.setattr(checkpoints, "write_atomically", fill)
    model = small(checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="No space left on device"):
        model.fit(standard_jets)
    assert np.isfinite(model.transform(standard_jets)).all()
    assert model.n_iter_ == 1
    monkeypatch.setattr(checkpoints, "write_atomically", whole)
    steps = EndAt(10**9, crash)
    resumed = clone(model).set_params(callbacks=[steps]).fit(standard_jets)
    assert steps.count == 6 * 7 - 10
    assert torch.equal(weights_of(resumed), weights_of(small().fit(standard_jets)))


def test_a_fit_that_diverges_keeps_its_last_good_checkpoint(standard_jets, tmp_path, always):
    options = {"optimizer": "sgd", "lr": 1e6, "lr_schedule": "one_cycle"}
    for _ in range(2):  # the second goes on, and diverges in the same place
        model = small(**options, checkpoint=tmp_path)
        with pytest.raises(
            DivergenceError, match=r"in epoch \d+ \(lr=1000000.0.*Lower lr"
        ) as error:
            model.fit(standard_jets)
        assert torch.isfinite(weights_of(model)).all()
        assert np.isfinite(model.transform(standard_jets)).all()
    plain = small(**options)
    with pytest.raises(DivergenceError) as expected:
        plain.fit(standard_jets)
    assert str(error.value) == str(expected.value)
    assert torch.equal(weights_of(model), weights_of(plain))


def test_what_an_optimizer_keeps_that_cannot_be_saved_is_named(standard_jets, tmp_path, always):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["tag"] = {1, 2}
            return super().step(closure)

    model = small(optimizer=Odd, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"tag is a set.*Use checkpoint=None"):
        model.fit(standard_jets)


# -- killed ------------------------------------------------------------------------------------

KILLED = """
    import hashlib, json, os, random, shutil, signal, sys, time, traceback
    import numpy as np, torch
    torch.set_num_threads(1)
    from skae import JetAutoencoder, NoiseInjector
    from skae.training import checkpoints

    checkpoints.SECONDS_BETWEEN = 0.0
    checkpoints._SHARE_OF_TIME = float("inf")
    X = np.random.default_rng(0).normal(size=(400, 4))
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
    script = textwrap.dedent(KILLED)
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path), str(n_kills)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    whole, *rest = map(json.loads, process.stdout.splitlines())
    (steps, _), results = rest[-1], [r for r in rest[:-1] if r != whole]
    assert results == []
    assert len(rest) - 1 >= n_kills
    assert steps >= n_kills // 2, "most kills came behind the first steps"
