"""The draws of every fit."""

import torch

from skae.modules.spectra.vae import fixed_draws, matched_draws


def test_draws_are_the_same_ones_nested_and_antithetic():
    many, few = fixed_draws(64, 3), fixed_draws(10, 3)
    torch.testing.assert_close(many[:10], few)
    torch.testing.assert_close(many[::2], -many[1::2])
    matched = matched_draws(64, 3)
    torch.testing.assert_close(matched.T @ matched / 64, torch.eye(3), rtol=0, atol=1e-6)
    assert matched_draws(1, 3).shape == (1, 3)
