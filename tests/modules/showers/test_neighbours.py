"""Random numbers that neighbours share: their covariances, and how they are found from showers."""

import pytest
import torch

from skae.modules.showers.deviations import Seen, class_of, deviations_of, response_of
from skae.modules.showers.neighbours import BlockField, NeighbourField, mixed

SHAPE = (6, 8, 2)


def correlations(field, logit, n=4000):
    """Return correlations of neighbours in angle, in depth, and of radii, in what is drawn."""
    drawn, _ = field.draw(logit.expand(n, -1), torch.Generator().manual_seed(0))
    drawn = drawn.unflatten(1, SHAPE)
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.02)
    assert drawn.var().item() == pytest.approx(1.0, abs=0.02)
    return [
        (drawn * drawn.roll(-1, 2)).mean(dim=(0, 1, 2)),
        (drawn[:, 1:] * drawn[:, :-1]).mean(dim=(0, 1, 2)),
        (drawn[..., 0] * drawn[..., 1]).mean(),
    ]


def known_field(strength, of_energies=1.0):
    """Return a field whose covariances fall off in depth, angle and radius."""
    block = BlockField(SHAPE)
    block.begin([torch.zeros(3, 96)])
    steps = torch.minimum(torch.arange(8.0), 8.0 - torch.arange(8.0))
    depth, radius = 0.5 ** torch.arange(float(block.n_lags)), torch.tensor([[1.0, 0.3], [0.3, 1.0]])
    block.covariance.copy_(depth[:, None, None, None] * (0.6**steps)[:, None, None] * radius)
    block._take_root()
    block.strength[0].fill_(strength)
    block.strength[1].fill_(of_energies)
    return block


def showers_of(field, logit, generator):
    """Draw hits and what they hold; return deviations, and the log-odds."""
    numbers, strength = field.draw(logit, generator)
    p = torch.sigmoid(logit)
    hit = torch.special.ndtr(-numbers) < p
    chance = 1.0 - torch.special.ndtr(-numbers[hit]) / p[hit]
    own = torch.empty_like(chance).normal_(generator=generator)
    chance = torch.special.ndtr(mixed(torch.special.ndtri(chance), own, strength[hit]))
    return deviations_of(logit, hit, chance, 1.0 - chance), logit


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
    half = torch.full((1500,), 0.5)
    part = deviations_of(torch.zeros(3, 500), torch.ones(3, 500) > 0.0, half, half)
    wide.learn([(part, torch.zeros(3, 500))], lambda: [(part, torch.zeros(3, 500))])
    assert not wide.is_learnt


@pytest.mark.parametrize("level", [0.0, -2.5, 7.0])
def test_showers_drawn_by_what_was_learnt_are_correlated_like_real_ones(level):
    generator = torch.Generator().manual_seed(1)
    source, n = known_field(0.8, 0.7), 1500
    logit = torch.full((n, 96), level)
    real = showers_of(source, logit, generator)
    field = NeighbourField([SHAPE])
    assert not field.is_learnt
    field.learn([real], lambda: [showers_of(field, logit, generator)])
    assert field.is_learnt
    seen, block = [], field.blocks[0]
    for deviations, _ in (real, showers_of(field, logit, generator)):
        seen.append(Seen(SHAPE, block.n_lags, block.period))
        seen[-1].add(deviations, block.kind_of(logit), class_of(logit))
    wanted, found = (each.correlations() for each in seen)
    assert wanted[0, 1].diagonal().min() > 0.1
    assert (wanted - found).abs().max() < 0.04
    (wanted, weight), (found, _) = (each.of_classes() for each in seen)
    place = class_of(logit)[0, 0]
    counted = weight[:, :, place] > 3000.0
    hits, energies = (wanted - found)[:, :, place].abs() * counted
    assert counted[1].any()
    assert energies.max() < 0.03
    if level < 5.0:  # where nearly all are hit, hits tell nothing
        assert counted[0].any()
        assert hits.max() < 0.03


def test_energies_may_share_less_than_hits():
    generator = torch.Generator().manual_seed(3)
    logit = torch.zeros(3000, 96)
    ratios = []
    for of_energies in (1.0, 0.5):
        deviations, _ = showers_of(known_field(0.9, of_energies), logit, generator)
        _, hits, energies = (part.unflatten(1, SHAPE) for part in deviations)
        lit = (energies != 0.0) & (energies.roll(-1, 2) != 0.0)
        common = (energies * energies.roll(-1, 2))[lit].mean()
        ratios.append((common / (hits * hits.roll(-1, 2)).mean()).item())
    assert ratios[1] == pytest.approx(0.25 * ratios[0], rel=0.1)


def test_deviations_have_mean_zero_and_a_spread_of_one():
    """By what is drawn: E[g | what is seen] has no mean, and not more variance than g."""
    generator = torch.Generator().manual_seed(4)
    logit = torch.tensor([-6.0, -2.0, 0.0, 3.0, 9.0]).repeat(400_000, 1)
    field = BlockField((1, 1, 5))
    both, hits, energies = showers_of(field, logit, generator)[0]
    assert both.mean(dim=0).abs().max() < 0.01
    assert hits.mean(dim=0).abs().max() < 0.01
    # what is rare counts less
    torch.testing.assert_close(both.std(dim=0)[1:], torch.ones(4), atol=0.03, rtol=0)
    assert 0.6 < both.std(dim=0)[0] < 1.0
    lit = energies[:, 4] != 0.0
    assert lit.float().mean() == pytest.approx(1.0, abs=0.001)
    assert energies[lit, 4].std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("level", [-5.0, -1.0, 3.0])
def test_products_of_deviations_follow_those_of_normal_numbers(level):
    """Where two voxels share 0.2 of their variance, deviations share as much less as is said."""
    generator, shared = torch.Generator().manual_seed(0), 0.2
    logit = torch.full((200_000, 2), level)
    common, own = (torch.randn(len(logit), k, generator=generator) for k in (1, 2))
    numbers = mixed(common, own, torch.full_like(own, shared**0.5))
    p = torch.sigmoid(logit)
    hit = torch.special.ndtr(-numbers) < p
    chance = 1.0 - torch.special.ndtr(-numbers[hit]) / p[hit]
    deviation = deviations_of(logit, hit, chance, 1.0 - chance).both
    product, square = (float(each[0]) for each in response_of(logit[0]))
    assert float(deviation.square().mean()) == pytest.approx(square, rel=0.05)
    products = deviation.prod(dim=1)
    error = float(products.std()) / len(logit) ** 0.5
    expected = pytest.approx(shared * product, rel=0.1, abs=3.0 * error)
    assert float(products.mean()) == expected


def test_single_rings_and_layers_have_fields_too():
    """Of one layer without angles only radii can have anything in common."""
    generator = torch.Generator().manual_seed(2)
    common = torch.randn(3000, 1, generator=generator)
    real = common + torch.randn(3000, 5, generator=generator) > 0.0
    logit, even = torch.zeros(3000, 5), torch.Generator().manual_seed(3)

    def seen(hit):
        chance = torch.rand(int(hit.sum()), generator=even)
        return [(deviations_of(logit, hit, chance, 1.0 - chance), logit)]

    def hits():
        return field.draw(logit, generator)[0] > 0.0

    field = NeighbourField([(1, 1, 5)])
    field.learn(seen(real), lambda: seen(hits()))
    drawn = hits()
    wanted, found = torch.corrcoef(real.float().T), torch.corrcoef(drawn.float().T)
    assert wanted[0, 1].item() == pytest.approx(1 / 3, abs=0.06)  # 2/π arcsin ½
    assert (wanted - found).abs().max() < 0.1
