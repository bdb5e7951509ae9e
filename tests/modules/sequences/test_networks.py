"""Decoders of one and of several resolutions."""

import pytest
import torch
from fits import generator

from skae.modules.sequences.descent import SequenceOutput
from skae.modules.sequences.networks import MultiResolutionDecoder
from skae.modules.spectra.lstm import LSTMDecoder


def one_resolution(times, latent_state):
    decoder = LSTMDecoder(times, 2, 4, latent_state)
    return decoder, decoder.lstm


def several_resolutions(times, latent_state):
    decoder = MultiResolutionDecoder(times, 2, 4, latent_state, [4, 4])
    return decoder, decoder.descent.networks[-1].rnn


@pytest.mark.parametrize("make", [one_resolution, several_resolutions])
@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_the_latent_sets_one_state_of_the_coarsest_level(make, latent_state):
    torch.manual_seed(0)
    decoder, coarsest = make(torch.arange(50.0), latent_state)
    states = []
    coarsest.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    assert decoder(torch.randn(3, 2, generator=generator())).shape == (3, 50)
    hidden, cell = states[0]
    zero, used = (cell, hidden) if latent_state == "hidden" else (hidden, cell)
    assert (zero == 0).all()
    assert used.abs().max() > 0


def test_outputs_are_read_from_states_around_each_step():
    torch.manual_seed(0)
    output = SequenceOutput(6)
    states = torch.randn(3, 20, 6, generator=generator())
    parts = output.spread(states)
    expected = torch.zeros(3, 20)
    for step in range(20):
        for place in range(9):
            expected[:, step] += parts[:, min(max(step + place - 4, 0), 19), place]
    torch.testing.assert_close(output(states), expected)
