"""Autoencoders by themselves: statistics, the winding bottleneck and the linear path."""

import math

import pytest
import torch
from torch import nn

from skae.modules.autoencoder import Autoencoder, LinearPath
from skae.modules.losses import wrap_angle


def test_statistics_leave_a_constant_column_its_units():
    x = torch.tensor([[1e6, 0.0, 1.0], [1e6, 0.0, 3.0]])
    module = Autoencoder(nn.Identity(), nn.Identity(), 3)
    module.fit_statistics(x)
    torch.testing.assert_close(module.scale, torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(module.centre, torch.tensor([1e6, 0.0, 2.0]))


@pytest.fixture
def wound():
    """Three columns, the last an angle, in two numbers; networks that are identities."""
    encoder = nn.Linear(3, 2, bias=False)
    encoder.weight.data = torch.eye(2, 3)
    decoder = nn.Linear(2, 2, bias=False)
    decoder.weight.data = torch.eye(2)
    return Autoencoder(encoder, decoder, 3, angles=[2], winding=60.0)


def test_winding_keeps_the_angle_and_steps_in_the_shared_coordinate(wound):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 3, generator=generator)
    x[:, 2] = (torch.rand(1000, generator=generator) - 0.5) * 2 * math.pi
    decoded = wound(x)
    assert wound.encode(x).shape == (1000, 2)
    torch.testing.assert_close(decoded[:, 0], x[:, 0])
    turned = wrap_angle(decoded[:, 2] - x[:, 2])  # 30 turns in float32 are rounded to 1.5e-5
    torch.testing.assert_close(turned, torch.zeros(1000), atol=5e-5, rtol=0)
    step = 6.0 / 60.0  # ±3σ in 60 turns
    error = decoded[:, 1] - x[:, 1]
    assert error.abs().max() <= step / 2 + 1e-5
    # the error of rounding to steps is uniform
    assert error.square().mean().item() == pytest.approx(step**2 / 12, rel=0.1)


def test_gradients_pass_straight_through_the_steps(wound):
    x = torch.tensor([[0.3, 0.7, 1.0]], requires_grad=True)
    wound(x)[0, 1].backward()
    torch.testing.assert_close(x.grad[0, 1], torch.tensor(1.0))


def test_the_linear_path_adds_to_its_network():
    path = LinearPath(nn.Sequential(nn.Linear(3, 2)), 3, 2)
    path.start_from(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    x = torch.eye(3)
    torch.testing.assert_close(
        path(x) - path.network(x), torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    )
