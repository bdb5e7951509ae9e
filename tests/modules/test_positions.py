"""Laws of positions against closed forms, and the networks that give their parameters."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skae.modules.pulses.locators import ReferenceLocator, ResidualLocator
from skae.modules.pulses.positions import BinDistribution, MixtureDistribution
from skae.modules.pulses.symmetries import RandomSymmetries

LAWS = [BinDistribution(), MixtureDistribution()]


def outputs(law, n=6, n_times=12, opinions=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(n, opinions * law.n_outputs, n_times, generator=generator)


def locator(law, **options):
    torch.manual_seed(0)
    options = {
        "trace_channels": 3, "n_channels": 4, "kernel_size": 3, "dilations": ((1, 2), (1, 2)),
        "pooled": True, "reversible": True, "odd_outputs": law.odd_outputs, **options,
    }  # fmt: skip
    return ResidualLocator(3, law.n_outputs, **options)


@pytest.mark.parametrize("opinions", [1, 2])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_masses_sum_to_one_and_are_differences_of_the_cdf(law, opinions):
    output = outputs(law, opinions=opinions).double()
    masses = law.masses(output)
    np.testing.assert_allclose(masses.sum(dim=1), 1.0, atol=1e-6)
    edges = torch.arange(13).double() - 0.5
    cdf = torch.stack([law.cdf(output, edge.repeat(6)) for edge in edges], dim=1)
    differences = cdf[:, 1:] - cdf[:, :-1]
    # what lies outside of the samples counts for the first and the last
    differences[:, 0] += cdf[:, 0]
    differences[:, -1] += 1.0 - cdf[:, -1]
    np.testing.assert_allclose(masses, differences, atol=2e-6)


@pytest.mark.parametrize("opinions", [1, 2])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_half_of_the_probability_lies_before_the_median(law, opinions):
    output = outputs(law, opinions=opinions)
    np.testing.assert_allclose(law.cdf(output, law.median(output)), 0.5, atol=1e-4)


def test_the_likelihood_of_the_mixture_is_a_density():
    law = MixtureDistribution()
    output = outputs(law, n=1, opinions=2)

    def density(t):
        return math.exp(-law(output, torch.tensor([t])).item())

    grid = np.linspace(-10.0, 22.0, 20001)
    total = integrate.simpson([density(t) for t in grid], x=grid)
    assert total == pytest.approx(1.0, abs=1e-3)


def test_one_component_has_the_moments_of_its_gaussian():
    output = torch.zeros(1, 3, 20)
    output[0, 0, 7] = 40.0
    output[0, 1, 7] = 0.2
    law = MixtureDistribution()
    centre = 7 + 1.5 * math.tanh(0.2)
    sigma = math.exp(math.log(1e-3) * (1.0 - 1.0 / (1.0 + math.exp(-1.0))))
    mean, std = law.mean_and_std(output)
    assert mean.item() == pytest.approx(centre, rel=1e-5)
    assert std.item() == pytest.approx(sigma, rel=1e-3)
    assert law.median(output).item() == pytest.approx(centre, abs=1e-4)
    assert law.mode(output).item() == round(centre)
    expected = -stats.norm.logpdf(7.1, centre, sigma)
    assert law(output, torch.tensor([7.1])).item() == pytest.approx(expected, rel=1e-4)


def test_what_is_negligible_leaves_the_moments_alone():
    output = torch.full((1, 3, 100), 0.0)
    output[0, 0, 10] = 20.0  # 99 others of e⁻²⁰ each would make a standard deviation of 0.02
    _, std = MixtureDistribution().mean_and_std(output)
    output[0, 0, 90] = 20.0 + math.log(0.01)  # one that is not negligible counts
    mean, wide = MixtureDistribution().mean_and_std(output)
    assert std.item() < 0.2
    assert mean.item() == pytest.approx(10 + 80 * 0.01 / 1.01, rel=1e-3)
    assert wide.item() == pytest.approx(80 * math.sqrt(0.01) / 1.01, rel=1e-2)


def test_whole_labels_give_the_cross_entropy_and_fractional_ones_share_it():
    law = BinDistribution()
    output = outputs(law)
    whole = torch.tensor([0, 3, 11, 5, 5, 1])
    plain = torch.nn.functional.cross_entropy(output[:, 0], whole, reduction="none")
    torch.testing.assert_close(law(output, whole.float()), plain)
    between = law(output, torch.full((6,), 4.25))
    left, right = (law(output, torch.full((6,), position)) for position in (4.0, 5.0))
    torch.testing.assert_close(between, 0.75 * left + 0.25 * right)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_mirrored_event_is_found_at_the_mirrored_place(law):
    module = locator(law).eval()
    x = torch.randn(5, 3, 30)
    with torch.no_grad():
        here, there = module(x), module(x.flip(2))
    torch.testing.assert_close(law.masses(there), law.masses(here).flip(1), atol=1e-5, rtol=1e-4)
    mean, std = law.mean_and_std(here)
    mirrored_mean, mirrored_std = law.mean_and_std(there)
    torch.testing.assert_close(mirrored_mean, 29.0 - mean, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(mirrored_std, std, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("pooled", [True, False])
def test_units_do_not_matter(pooled):
    x = torch.randn(200, 3, 30) * torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1)
    plain, scaled = (locator(BinDistribution(), pooled=pooled).eval() for _ in range(2))
    plain.fit_statistics(x)
    scaled.fit_statistics(1e3 * x - 5e3)
    torch.testing.assert_close(scaled(1e3 * x - 5e3), plain(x), atol=1e-3, rtol=1e-3)
    standard = (x - plain.centre) / plain.scale
    assert standard.mean().abs() < 1e-5
    if not pooled:
        torch.testing.assert_close(standard.std(dim=(0, 2)), torch.ones(3), atol=1e-3, rtol=0)


def test_small_pulses_on_a_pedestal_are_standardised():
    x = 1.0 + 5e-4 * torch.randn(200, 3, 30)
    module = locator(BinDistribution())
    module.fit_statistics(x)
    np.testing.assert_allclose(module.scale, 5e-4, rtol=0.05)


def test_constant_traces_keep_their_units():
    module = locator(BinDistribution(), pooled=False)
    module.fit_statistics(torch.full((10, 3, 5), 7.0))
    assert module.scale.flatten().tolist() == [1.0, 1.0, 1.0]


def test_the_reference_network_is_the_published_one():
    module = ReferenceLocator(3)
    assert sum(p.numel() for p in module.parameters()) == 2 * 3 + 2 + 2 * 3 * 7 + 1
    x = torch.randn(4, 3, 100)
    output = module(x)
    assert output.shape == (4, 1, 100)
    # inside, where no padding is seen, it is the two valid convolutions with tanh in between
    first = torch.tanh(torch.nn.functional.conv2d(x[:, None], *module.filters.parameters()))
    inner = torch.nn.functional.conv2d(first, *module.combination.parameters())
    torch.testing.assert_close(output[:, :, 4:-4], inner.squeeze(2))
    # and the three bins at each end, which have no output there, are as good as impossible
    assert BinDistribution().masses(output)[:, [0, 1, 2, -3, -2, -1]].max() < 1e-5


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
