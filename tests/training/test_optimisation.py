"""Schedules against their formulas and torch's, and optimisers by name."""

import numpy as np
import pytest
import torch

from skae.training.optimisation import (
    OPTIMIZERS,
    SCHEDULES,
    Restart,
    resolve_optimizer,
    start_schedule,
)


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_are_fused_where_torch_can(name):
    cls, arguments = resolve_optimizer(name, 0.0, torch.device("cpu"))
    parameter = torch.nn.Parameter(torch.ones(3))
    own = {name.removeprefix("optimizer__"): value for name, value in arguments.items()}
    optimizer = cls([parameter], lr=0.1, **own)
    parameter.sum().backward()
    optimizer.step()
    assert (parameter < 1).all()
    assert arguments.get("optimizer__fused", False) == (name in {"adamw", "adam", "adagrad", "sgd"})
