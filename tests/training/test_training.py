"""The engine by itself: batches, schedules, seeds, devices, optimisers, inference, interrupts."""

import signal
import types

import numpy as np
import pytest
import torch

from skae.training.batches import Minibatches, TensorRows
from skae.training.callbacks import is_raised_by_code
from skae.training.hardware import resolve_device
from skae.training.inference import apply_to_rows
from skae.training.optimisation import (
    OPTIMIZERS,
    SCHEDULES,
    Restart,
    resolve_optimizer,
    start_schedule,
)
from skae.training.seeding import RandomStreams, draw_seed, seeded_initialisation

CPU = torch.device("cpu")


# -- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),  # a single row is merged with the batch before
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 2]),
    ],
)
def test_batches_hold_every_row_once_and_never_end_in_a_single_row(n, batch_size, sizes):
    x = torch.arange(n).float()[:, None]
    rows = TensorRows(x, 2 * x, 3 * x[:, 0])
    batches = list(Minibatches(rows, batch_size, torch.Generator().manual_seed(0)))
    assert [len(batch[0]) for batch in batches] == sizes
    seen = torch.cat([batch[0] for batch in batches])
    assert sorted(seen[:, 0].tolist()) == list(range(n))
    for inputs, target, weight in batches:
        assert torch.equal(target, 2 * inputs)
        assert torch.equal(weight, 3 * inputs[:, 0])


def test_each_epoch_has_its_own_order_and_each_seed_its_own_epochs():
    rows = TensorRows(torch.arange(50).float()[:, None])

    def order(seed, epoch):
        streams = RandomStreams(seed, CPU)
        streams.begin_epoch(epoch)
        return torch.cat([b[0] for b in Minibatches(rows, 7, streams.shuffle)]).flatten().tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_rows_are_not_copied_where_the_order_stays():
    x = torch.randn(10, 2)
    for inputs, target, weight in Minibatches(TensorRows(x), 4):
        assert inputs.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        assert target is inputs
        assert weight is None


# -- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_peak_at_one_and_fall_from_where_they_say(name):
    shape, annealing_from = SCHEDULES[name]
    progress = np.linspace(0, 1, 1001)
    factors = np.array([shape(p) for p in progress])
    assert factors.max() == pytest.approx(1.0, abs=1e-4)
    assert (factors > 0).all()
    assert (np.diff(factors[progress >= annealing_from]) <= 0).all()
    if name != "constant":
        assert factors[-1] < 1e-5


def test_a_schedule_may_begin_again():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = start_schedule(optimizer, 0.5, "cosine", 100, restart=Restart(0.6, 3.0))
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    shape, _ = SCHEDULES["cosine"]
    np.testing.assert_allclose(rates[:60], [0.5 * shape(i / 60) for i in range(60)])
    np.testing.assert_allclose(rates[60:], [1.5 * shape(i / 40) for i in range(41)], rtol=1e-9)


def test_a_constant_rate_does_not_begin_again():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert start_schedule(optimizer, 0.5, "constant", 100, Restart(0.6, 3.0)) is None
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_one_cycle_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=1001)
    shape, _ = SCHEDULES["one_cycle"]
    for step in range(1000):
        # torch rounds its phases to whole steps
        assert shape(step / 1000) == pytest.approx(optimizer.param_groups[0]["lr"], abs=5e-3)
        optimizer.step()
        theirs.step()


# -- seeds -------------------------------------------------------------------------------------


def test_initialisation_follows_its_seed_and_restores_the_global_state():
    before = torch.get_rng_state()
    with seeded_initialisation(3):
        first = torch.nn.Linear(4, 4).weight
    with seeded_initialisation(3):
        assert torch.equal(torch.nn.Linear(4, 4).weight, first)
    with pytest.raises(TypeError), seeded_initialisation(3):
        torch.nn.Linear("a", "b")
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_random_states():
    assert draw_seed(7) == 7
    state = np.random.RandomState(0)
    assert draw_seed(state) != draw_seed(state)
    before = np.random.get_state()[1].copy()
    assert draw_seed(None) != draw_seed(None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# -- devices and optimisers --------------------------------------------------------------------


def test_auto_takes_the_best_device_there_is(monkeypatch):
    assert resolve_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="device='cuda' cannot be used here; use device='auto'"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_are_fused_where_torch_can(name):
    cls, arguments = resolve_optimizer(name, 0.0, CPU)
    parameter = torch.nn.Parameter(torch.ones(3))
    own = {name.removeprefix("optimizer__"): value for name, value in arguments.items()}
    optimizer = cls([parameter], lr=0.1, **own)
    parameter.sum().backward()
    optimizer.step()
    assert (parameter < 1).all()
    assert arguments.get("optimizer__fused", False) == (name in {"adamw", "adam", "adagrad", "sgd"})


# -- inference ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_give_what_all_rows_at_once_give(n, dtype, rng):
    X = rng.normal(size=(n, 3)).astype(dtype)
    X.flags.writeable = False
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows[:, :2]

    result = apply_to_rows(double, X, CPU, chunk_rows=256)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, 2 * X[:, :2], rtol=1e-6)
    assert 64 <= min(sizes) <= max(sizes) <= 256


# -- interrupts --------------------------------------------------------------------------------


def test_a_callback_that_stops_is_told_from_ctrl_c():
    def raises():
        raise KeyboardInterrupt

    def is_interrupted():
        signal.raise_signal(signal.SIGINT)
        return types.SimpleNamespace()

    for function, by_code in ((raises, True), (is_interrupted, False)):
        with pytest.raises(KeyboardInterrupt) as caught:
            function()
        assert is_raised_by_code(caught.value) is by_code
