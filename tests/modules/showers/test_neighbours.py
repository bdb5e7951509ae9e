"""Random numbers that neighbours share: their covariances, and how they are found from hits."""

import pytest
import torch

from skae.modules.showers.neighbours import BlockField, NeighbourField, Seen

SHAPE = (6, 8, 2)


def correlations(field, logit, n=4000):
    """Return correlations of neighbours in angle, in depth, and of radii, in what is drawn."""
    drawn = field.draw(logit.expand(n, -1), torch.Generator().manual_seed(0))
    drawn = drawn.unflatten(1, SHAPE)
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.02)
    assert drawn.var().item() == pytest.approx(1.0, abs=0.02)
    return [
        (drawn * drawn.roll(-1, 2)).mean(dim=(0, 1, 2)),
        (drawn[:, 1:] * drawn[:, :-1]).mean(dim=(0, 1, 2)),
        (drawn[..., 0] * drawn[..., 1]).mean(),
    ]


def known_field(strength):
    """Return a field whose covariances fall off in depth, angle and radius."""
    block = BlockField(SHAPE)
    block.begin([torch.zeros(3, 96)])
    steps = torch.minimum(torch.arange(8.0), 8.0 - torch.arange(8.0))
    depth, radius = 0.5 ** torch.arange(float(block.n_lags)), torch.tensor([[1.0, 0.3], [0.3, 1.0]])
    block.covariance.copy_(depth[:, None, None, None] * (0.6**steps)[:, None, None] * radius)
    block._take_root()
    block.strength.fill_(strength)
    return block


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_draws_have_the_covariances_of_the_field(strength):
    field, logit = known_field(strength), torch.zeros(1, 96)
    around, deeper, radii = correlations(field, logit)
    share = strength**2
    torch.testing.assert_close(around, torch.full((2,), 0.6 * share), atol=0.02, rtol=0)
    torch.testing.assert_close(deeper, torch.full((2,), 0.5 * share), atol=0.02, rtol=0)
    assert radii.item() == pytest.approx(0.3 * share, abs=0.02)


def test_nothing_is_shared_before_anything_is_learnt():
    for block in (BlockField(SHAPE), NeighbourField([SHAPE])):
        around, deeper, radii = correlations(block, torch.zeros(1, 96))
        assert max(around.abs().max(), deeper.abs().max(), radii.abs()) < 0.02
    wide = NeighbourField([(1, 1, 500)])  # too many radii for a matrix
    wide.learn([torch.ones(3, 500)], [torch.zeros(3, 500)], lambda i: torch.zeros(3, 500))
    assert not wide.is_learnt


@pytest.mark.parametrize("level", [0.0, -2.5])
def test_hits_drawn_by_what_was_learnt_are_correlated_like_real_ones(level):
    generator = torch.Generator().manual_seed(1)
    source, n = known_field(0.8), 1500
    logit = torch.full((n, 96), level)

    def hits(field):
        below = torch.special.ndtri(torch.sigmoid(logit))
        return -field.draw(logit, generator) < below

    real = hits(source)
    field = NeighbourField([SHAPE])
    assert not field.is_learnt
    field.learn([real], [logit], lambda i: hits(field))
    assert field.is_learnt
    wanted, found = (Seen(field.blocks[0]) for _ in range(2))
    wanted.add(real, logit)
    found.add(hits(field), logit)
    apart = (wanted.correlations() - found.correlations()).abs()
    assert wanted.correlations()[0, 1].diagonal().min() > 0.1
    assert apart.max() < 0.04


def test_single_rings_and_layers_have_fields_too():
    """Of one layer without angles only radii can have anything in common."""
    generator = torch.Generator().manual_seed(2)
    common = torch.randn(3000, 1, generator=generator)
    real = common + torch.randn(3000, 5, generator=generator) > 0.0
    logit = torch.zeros(3000, 5)
    field = NeighbourField([(1, 1, 5)])
    field.learn([real], [logit], lambda i: field.draw(logit, generator) > 0.0)
    drawn = field.draw(logit, generator) > 0.0
    wanted, found = torch.corrcoef(real.float().T), torch.corrcoef(drawn.float().T)
    assert wanted[0, 1].item() == pytest.approx(1 / 3, abs=0.06)  # 2/π arcsin ½
    assert (wanted - found).abs().max() < 0.1
