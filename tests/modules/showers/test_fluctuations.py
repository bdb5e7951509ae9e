"""Spreads of hits behind the scaling of their layers, by drawing."""

import pytest
import torch

from skae.modules.showers.fluctuations import widening


def together(part):
    return part.sum().expand_as(part)


@pytest.mark.parametrize(
    ("held", "spread"),
    [
        ([1.0, 1.0], [0.1, 0.1]),
        ([1.0, 9.0], [0.18, 0.02]),  # what one gains the other loses
        ([1.0] * 10, [0.05] * 10),
        ([6.0, 2.0, 1.0, 1.0], [0.04, 0.08, 0.1, 0.1]),
    ],
)
def test_spreads_are_right_behind_the_scaling(held, spread):
    held, spread = torch.tensor(held), torch.tensor(spread)
    wider = widening(spread, held, together)
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(20_000, len(held), generator=generator)
    drawn = held * (1.0 + wider * spread * normal)
    scaled = drawn * (held.sum() / drawn.sum(dim=1, keepdim=True))
    torch.testing.assert_close(scaled.std(dim=0) / held, spread, rtol=0.05, atol=0.0)


def test_hits_that_nothing_can_be_done_for_stay_as_they_are():
    alone = widening(torch.tensor([0.3]), torch.tensor([5.0]), together)
    still = widening(torch.zeros(3), torch.ones(3), together)
    assert 1.0 <= float(alone) <= 2.0
    torch.testing.assert_close(still, torch.ones(3))
