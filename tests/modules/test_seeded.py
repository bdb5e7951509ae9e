"""Dropout of a generator of its own."""

import math

import pytest
import torch

from skae.modules.seeded import SeededDropout
from skae.training.seeding import attach_generator


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
