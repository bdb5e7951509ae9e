"""The decoder of several resolutions."""

import pytest
import torch
from fits import generator

from skae.modules.sequences.networks import MultiResolutionDecoder


@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_the_latent_sets_one_state_of_the_coarsest_level(latent_state):
    torch.manual_seed(0)
    decoder = MultiResolutionDecoder(torch.arange(50.0), 2, 4, latent_state, [4, 4])
    z = torch.randn(3, 2, generator=generator())
    states = []
    coarsest = decoder.descent.networks[-1].rnn
    coarsest.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    assert decoder(z).shape == (3, 50)
    hidden, cell = states[0]
    zero, used = (cell, hidden) if latent_state == "hidden" else (hidden, cell)
    assert (zero == 0).all()
    assert used.abs().max() > 0
