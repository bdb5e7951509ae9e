"""The decoder of one LSTM."""

import pytest
import torch
from fits import generator

from skae.modules.spectra.lstm import LSTMDecoder, grid_features


@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_the_latent_sets_one_state_of_the_lstm(latent_state):
    torch.manual_seed(0)
    decoder = LSTMDecoder(torch.arange(20.0), 2, 4, latent_state)
    z = torch.randn(3, 2, generator=generator())
    states = []
    decoder.lstm.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    assert decoder(z).shape == (3, 20)
    hidden, cell = states[0]
    zero, used = (cell, hidden) if latent_state == "hidden" else (hidden, cell)
    assert (zero == 0).all()
    assert used.abs().max() > 0


def test_grid_features_tell_places_apart_and_ignore_the_unit():
    grid = torch.linspace(400.0, 900.0, 200, dtype=torch.float64)
    features = grid_features(grid)
    distances = torch.cdist(features[:, 2:], features[:, 2:]) + 10 * torch.eye(200)
    assert distances.min() > 0.05
    torch.testing.assert_close(grid_features(1e3 * grid), features)
