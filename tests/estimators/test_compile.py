"""``compile=`` and ``precision=``: the same training, faster; and what happens where that cannot be."""

import contextlib
import os
import pickle
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import fits
import numpy as np
import pytest
import torch
import torch._dynamo.utils as dynamo
from fits import assert_goes_on, each, global_states, weights_of
from fitted import learner
from scripts import printed_by
from sklearn.base import clone

from skae import MultiResRNNRegressor
from skae.exceptions import CompileWarning
from skae.training import step as step_module
from skae.training.step import CompiledGradient, make_loss

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++")),
    reason="torch.compile needs a C++ compiler, and there is none",
)


small = partial(fits.small, max_epochs=4, device="cpu")


@contextlib.contextmanager
def counting_batches(monkeypatch, expected):
    """Check that code torch has compiled computed so many minibatches, and Python none of them."""
    calls = {"compiled": 0}
    compile_ = torch.compile

    def counting(function, **options):
        compiled = compile_(function, **options)

        def call(*args):
            result = compiled(*args)
            calls["compiled"] += 1
            return result

        return call

    monkeypatch.setattr(step_module.torch, "compile", counting)
    torch.compiler.reset()
    dynamo.counters.clear()
    yield
    assert calls["compiled"] == expected
    assert dynamo.counters["stats"]["unique_graphs"] >= 1
    assert dynamo.counters["frames"]["ok"] == dynamo.counters["frames"]["total"] >= 1


# -- compile -----------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_path": True, "angles": [2]},
        pytest.param({"dropout": 0.2, "batch_norm": True}, marks=pytest.mark.slow),
        pytest.param({"precision": "bf16-mixed"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_compiled_fit_is_the_same_fit(options, standard_jets, monkeypatch):
    plain = small(**options).fit(standard_jets)
    before = global_states()
    with counting_batches(monkeypatch, 4 * (400 // 64)):  # the last batch of an epoch is smaller
        compiled = small(**options, compile=True).fit(standard_jets)
    assert global_states() == before
    # dropout draws the same masks; sums are taken in another order, bf16 rounds them coarsely
    rtol = 2e-2 if "precision" in options else 1e-3
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=rtol)
    again = small(**options, compile=True).fit(standard_jets)
    assert torch.equal(weights_of(again), weights_of(compiled))
    twin = pickle.loads(pickle.dumps(compiled))
    np.testing.assert_array_equal(twin.transform(standard_jets), compiled.transform(standard_jets))


SLOW = ("sequences", "sequences-poisson", "showers-grid", "showers-graph")


@needs_compiler
@pytest.mark.parametrize(
    "name",
    ["spectra-poisson", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def test_other_networks_compile(name):
    model, X, y = learner(name)
    plain, compiled = (clone(model).set_params(compile=c).fit(X, y) for c in (False, True))
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-4)


@pytest.mark.slow
@needs_compiler
def test_recurrent_networks_compile(rng):
    X = rng.normal(size=(32, 4)).cumsum(axis=1)  # each step is compiled anew
    options = {"downsampling": (2,), "hidden_size": 4, "cell": "lstm", "max_epochs": 2}
    plain, compiled = (
        MultiResRNNRegressor(**options, compile=c, random_state=0).fit(X, X) for c in (False, True)
    )
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize(
    "n",  # one more than a batch, which is merged with it; and fewer
    [65, pytest.param(50, marks=pytest.mark.slow)],
)
def test_weights_and_a_single_batch_compile(n, standard_jets, rng, monkeypatch):
    weight = rng.uniform(size=n)
    plain = small().fit(standard_jets[:n], sample_weight=weight)
    with counting_batches(monkeypatch, 4):
        compiled = small(compile=True).fit(standard_jets[:n], sample_weight=weight)
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-3)


@needs_compiler
def test_a_compiled_fit_goes_on_after_a_crash(standard_jets, tmp_path, save_always):
    assert_goes_on(small(compile=True), tmp_path, standard_jets, 2 * 7)


WITHOUT_COMPILER = """
    import os, warnings
    import numpy as np
    from skae import JetAutoencoder
    from skae.exceptions import CompileWarning

    X = np.random.default_rng(0).normal(size=(300, 4))
    options = dict(hidden_layer_sizes=(7,), max_epochs=3, batch_size=64, device="cpu", random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = JetAutoencoder(**options, compile=True).fit(X)
    ours = [w for w in caught if issubclass(w.category, CompileWarning)]
    assert len(ours) == 1, caught
    assert "training goes on uncompiled" in str(ours[0].message), ours[0].message
    plain = JetAutoencoder(**options).fit(X)
    np.testing.assert_array_equal(model.transform(X), plain.transform(X))
    print("uncompiled")
"""


def test_without_a_compiler_a_fit_runs_uncompiled_with_one_warning(tmp_path):
    environment = {"CXX": str(tmp_path / "no-compiler"), "PATH": str(tmp_path)}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "cache")
    assert printed_by(WITHOUT_COMPILER, **environment) == "uncompiled\n"


def test_a_python_that_torch_cannot_compile_is_a_warning(standard_jets, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("torch.compile is not supported on Python 4.0")

    monkeypatch.setattr(step_module.torch, "compile", refuse)
    with pytest.warns(CompileWarning, match=r"not supported on Python 4\.0") as caught:
        model = small(compile=True).fit(standard_jets)
    assert [w.category for w in caught].count(CompileWarning) == 1
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


def test_an_error_of_the_network_is_no_error_of_the_compiler():
    """A mistake in the module must come up as itself and not as a fall-back."""

    class Broken(torch.nn.Module):
        def forward(self, x):
            raise ZeroDivisionError("mine")

    broken = Broken()
    loss = make_loss(broken, torch.nn.MSELoss(reduction="none"), torch.device("cpu"), "float32")
    gradient = CompiledGradient(loss, broken, torch.device("cpu"), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        with pytest.raises(ZeroDivisionError, match="mine"):
            gradient(torch.zeros(4, 2), torch.zeros(4, 2), None)


def test_a_compiler_that_fails_in_the_gradient_is_a_warning_too(standard_jets, monkeypatch):
    from torch._inductor.exc import InductorError

    def compile_(function, **options):
        def call(*args):
            output, loss = function(*args)
            loss.register_hook(fail)
            return output, loss

        return call

    def fail(_):
        raise InductorError("no gradient", None)

    monkeypatch.setattr(step_module.torch, "compile", compile_)
    with pytest.warns(CompileWarning, match="training goes on uncompiled: ") as caught:
        model = small(compile=True).fit(standard_jets)
    assert [w.category for w in caught].count(CompileWarning) == 1
    assert torch.equal(weights_of(model), weights_of(small().fit(standard_jets)))


@pytest.mark.slow
@needs_compiler
def test_two_threads_may_compile_at_once_and_leave_the_warning_filters_alone(standard_jets):
    torch.compiler.reset()
    before = list(warnings.filters)
    models = [small(compile=True, hidden_layer_sizes=(size,)) for size in (9, 10)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda model: model.fit(standard_jets), models))
    assert warnings.filters == before
    for model in models:
        plain = small(hidden_layer_sizes=model.hidden_layer_sizes).fit(standard_jets)
        np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-3)


# -- precision ---------------------------------------------------------------------------------


def test_mixed_precision_trains_in_bfloat16_and_answers_in_float32(standard_jets):
    seen = []

    def watch(net):
        net.module_.encoder[0].register_forward_hook(
            lambda layer, _, output: seen.append((layer.training, output.dtype))
        )

    options = {"max_epochs": 40, "lr": 0.01, "early_stopping": True}
    watched = {"precision": "bf16-mixed", "callbacks": [each("on_train_begin", watch)]}
    mixed = small(**options, **watched).fit(standard_jets)
    assert {dtype for training, dtype in seen if training} == {torch.bfloat16}
    assert {dtype for training, dtype in seen if not training} == {torch.float32}
    assert all(p.dtype == torch.float32 for p in mixed.module_.parameters())
    full = small(**options).fit(standard_jets)
    assert mixed.score(standard_jets) == pytest.approx(full.score(standard_jets), rel=0.1)
    assert not torch.equal(weights_of(mixed), weights_of(full))


def test_a_precision_that_a_device_has_not_got_is_an_error(standard_jets, monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: False)
    message = "precision='bf16-mixed' is not available on device 'cpu'"
    with pytest.raises(ValueError, match=message):
        small(precision="bf16-mixed").fit(standard_jets)
    small().fit(standard_jets)
