"""Seeds of networks and fits, beside the global random states."""

import numpy as np
import pytest
import torch

from skae.training.seeding import draw_seed, seeded_initialisation


def test_initialisation_follows_its_seed_and_restores_the_global_state():
    before = torch.get_rng_state()
    with seeded_initialisation(3):
        first = torch.nn.Linear(4, 4).weight
    with seeded_initialisation(3):
        assert torch.equal(torch.nn.Linear(4, 4).weight, first)
    with pytest.raises(TypeError), seeded_initialisation(3):
        torch.nn.Linear("a", "b")
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_random_states():
    assert draw_seed(7) == 7
    state = np.random.RandomState(0)
    assert draw_seed(state) != draw_seed(state)
    before = np.random.get_state()
    try:
        np.random.seed(3)
        first, second = draw_seed(None), draw_seed(None)
        np.random.seed(3)
        assert [draw_seed(None), draw_seed(None)] == [first, second]
    finally:
        np.random.set_state(before)
    assert first != second
