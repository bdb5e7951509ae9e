"""The places of a spectrum's bins, as the LSTM is told them."""

import torch

from skae.modules.spectra.lstm import grid_features


def test_grid_features_tell_places_apart_and_ignore_the_unit():
    grid = torch.linspace(400.0, 900.0, 200, dtype=torch.float64)
    features = grid_features(grid)
    distances = torch.cdist(features[:, 2:], features[:, 2:]) + 10 * torch.eye(200)
    assert distances.min() > 0.05
    torch.testing.assert_close(grid_features(1e3 * grid), features)
