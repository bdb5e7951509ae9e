"""The torch side by itself: blocks, dropout, losses and the winding bottleneck."""

import math

import pytest
import torch
from torch import nn

from skae.modules.autoencoder import Autoencoder, LinearPath
from skae.modules.blocks import conv_decoder, conv_encoder, dense_stack
from skae.modules.losses import SquaredError, wrap_angle
from skae.modules.seeded import SeededDropout
from skae.training.seeding import attach_generator


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


def test_dropout_scales_draws_from_its_generator_and_rests_in_evaluation():
    layer = SeededDropout(0.25)
    x = torch.ones(20_000)
    attach_generator(layer, torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    dropped = layer(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    # 5σ of a binomial
    assert abs((dropped == 0).float().mean().item() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)
    attach_generator(layer, torch.Generator().manual_seed(1))
    assert torch.equal(layer(x), dropped)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("residual", [False, True])
def test_dense_stacks_have_the_sizes_asked_for(residual):
    stack = dense_stack([4, 7, 5, 2], "relu", residual=residual, batch_norm=True, dropout=0.1)
    assert stack(torch.zeros(6, 4)).shape == (6, 2)
    assert isinstance(stack[-1], nn.Linear), "the last layer has no activation"


def test_conv_stacks_go_there_and_back():
    encoder = conv_encoder(9, [4, 6], 3, "tanh", batch_norm=True)
    decoder = conv_decoder(9, [6, 4], 3, "tanh", batch_norm=True)
    assert decoder(encoder(torch.zeros(5, 9))).shape == (5, 9)


def test_a_residual_block_of_equal_width_passes_its_input_on():
    block = dense_stack([3, 3, 3], "identity", residual=True)[0]
    nn.init.zeros_(block.body[-1].weight)
    nn.init.zeros_(block.body[-1].bias)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


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
