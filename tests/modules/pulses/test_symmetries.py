"""Symmetries move events and their positions together."""

import torch

from skae.modules.pulses.symmetries import RandomSymmetries


def test_symmetries_move_traces_and_positions_together():
    x = torch.zeros(400, 3, 10)
    target = torch.randint(0, 10, (400,)).float()
    x[torch.arange(400), :, target.long()] = torch.tensor([1.0, 2.0, 3.0])
    generator = torch.Generator().manual_seed(0)
    moved, positions = RandomSymmetries(permute=True, reverse=True)(x, target, generator)
    at_position = moved[torch.arange(400), :, positions.long()]
    torch.testing.assert_close(
        at_position.sort(dim=1)[0], torch.tensor([[1.0, 2.0, 3.0]]).repeat(400, 1)
    )
    orders = {tuple(row) for row in at_position.tolist()}
    assert len(orders) == 6
    mirrored = (positions != target).float().mean()
    assert 0.4 < mirrored < 0.6
    torch.testing.assert_close(positions[positions != target], 9 - target[positions != target])


def test_symmetries_that_are_off_change_nothing():
    x, target = torch.randn(5, 3, 10), torch.arange(5.0)
    generator = torch.Generator().manual_seed(0)
    same, positions = RandomSymmetries(permute=False, reverse=False)(x, target, generator)
    assert same is x
    assert positions is target
