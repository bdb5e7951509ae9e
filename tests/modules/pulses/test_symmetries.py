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


def test_windows_lie_anywhere_around_the_pulse():
    x = torch.zeros(3000, 2, 20)
    target = torch.randint(0, 20, (3000,)).float()
    x[torch.arange(3000), :, target.long()] = 1.0
    generator = torch.Generator().manual_seed(0)
    cut = RandomSymmetries(permute=False, reverse=False, window=8)
    part, positions = cut(x, target, generator)
    assert part.shape == (3000, 2, 8)
    assert (part[torch.arange(3000), :, positions.long()] == 1.0).all()
    # a pulse in the middle of the trace may come to stand anywhere in the window
    inner = positions[(target >= 7) & (target <= 12)]
    share = torch.bincount(inner.long(), minlength=8) / len(inner)
    torch.testing.assert_close(share, torch.full((8,), 1 / 8), atol=0.04, rtol=0)
    fine = target.clamp(0.25, 18.75) + 0.25
    moved = cut(x, fine, generator)[1]
    assert moved.min() >= 0.0
    assert moved.max() <= 7.0
    assert cut(x[..., :8], target, generator)[0].shape == (3000, 2, 8)
