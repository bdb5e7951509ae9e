"""Stacks of layers have the sizes asked for."""

import pytest
import torch
from torch import nn

from skae.modules.blocks import conv_decoder, conv_encoder, dense_stack


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
