"""Losses by hand and against torch."""

import math

import pytest
import torch
from torch import nn

from skae.modules.losses import SquaredError, wrap_angle


def test_wrapped_angles_lie_within_half_a_turn_and_differ_by_whole_turns():
    angles = torch.linspace(-30, 30, 1001, dtype=torch.float64)
    wrapped = wrap_angle(angles)
    assert wrapped.abs().max() <= math.pi + 1e-12
    turns = (angles - wrapped) / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round())


def test_squared_error_of_rows_is_that_of_torch():
    output, target = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    losses = SquaredError()(output, target)
    assert losses.shape == (5,)
    torch.testing.assert_close(losses.mean(), nn.functional.mse_loss(output, target))


def test_the_gradient_across_the_cut_points_the_short_way():
    output = torch.tensor([[-math.pi + 0.1]], requires_grad=True)
    SquaredError((0,))(output, torch.tensor([[math.pi - 0.1]])).sum().backward()
    assert output.grad.item() == pytest.approx(0.4, rel=1e-5)


def test_a_bent_loss_is_hubers_with_a_slope_everywhere():
    output = torch.zeros(100, 1, dtype=torch.float64, requires_grad=True)
    target = torch.arange(100, dtype=torch.float64)[:, None]
    losses = SquaredError(bend=True)(output, target)
    start = torch.quantile(target, 0.9).item()
    # linear interpolation of squares is not that of their roots
    start = math.sqrt(torch.quantile(target**2, 0.9).item())
    huber = nn.functional.huber_loss(output, target, reduction="none", delta=start)
    torch.testing.assert_close(losses, 2.0 * huber[:, 0])
    SquaredError(bend=True)(output, output.detach()).sum().backward()
    assert torch.isfinite(output.grad).all()
