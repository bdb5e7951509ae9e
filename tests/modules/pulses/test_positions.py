"""Distributions of positions against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skae.modules.pulses.positions import BinDistribution, MixtureDistribution

each_law = pytest.mark.parametrize(
    "law", [BinDistribution(), MixtureDistribution()], ids=lambda law: type(law).__name__
)


def outputs(law, n=6, n_times=12, opinions=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(n, opinions * law.n_outputs, n_times, generator=generator)


@pytest.mark.parametrize("opinions", [1, 2])
@each_law
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
@each_law
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
    centre = 7.2
    sigma = 1e-3 + math.log(2.0)
    mean, std = law.mean_and_std(output)
    assert mean.item() == pytest.approx(centre, rel=1e-5)
    assert std.item() == pytest.approx(sigma, rel=1e-3)
    assert law.median(output).item() == pytest.approx(centre, abs=1e-4)
    assert law.mode(output).item() == round(centre)
    expected = -stats.norm.logpdf(7.1, centre, sigma)
    assert law(output, torch.tensor([7.1])).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sigma", [2e-3, 0.1, 30.0])
def test_a_component_finds_back_from_wherever_it_is(sigma):
    """Far up a tanh or a sigmoid there is no gradient: neither shift nor width may end there."""
    law = MixtureDistribution()
    width = math.log(math.expm1(sigma - 1e-3))
    for shift in (-10.0, 10.0):
        output = torch.zeros(1, 3, 20)
        output[0, 0, 7], output[0, 1, 7], output[0, 2] = 1e9, shift, width
        output.requires_grad_(True)
        law(output, torch.tensor([7.0])).sum().backward()
        assert output.grad[0, 1, 7].item() == pytest.approx(shift / sigma**2, rel=1e-3)
        z = shift / sigma
        slope = (1.0 - z**2) / sigma * -math.expm1(-(sigma - 1e-3))  # of σ in the output
        assert output.grad[0, 2, 7].item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("sigma", [2e-3, 0.3, 30.0])
def test_masses_are_right_for_sharp_and_for_wide_components(sigma):
    output = torch.zeros(1, 3, 20)
    output[0, 0, 7], output[0, 1, 7] = 40.0, 4.1
    output[0, 2] = math.log(math.expm1(sigma - 1e-3))
    edges = np.r_[-np.inf, np.arange(19) + 0.5, np.inf]
    expected = np.diff(stats.norm.cdf(edges, 11.1, sigma))
    masses = MixtureDistribution().masses(output)
    np.testing.assert_allclose(masses[0], expected, atol=2e-6)
    assert (masses >= 0.0).all()


def test_what_is_negligible_leaves_the_moments_alone():
    output = torch.full((1, 3, 100), 0.0)
    output[0, 2] = -2.0
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


@pytest.mark.parametrize("spread", [0.5, 30.0])
def test_masses_of_long_records_are_those_of_all_components(spread, monkeypatch):
    torch.manual_seed(0)
    law = MixtureDistribution()
    output = torch.randn(3, 6, 500)
    output[:, ::3] *= 4.0
    output[:, 1::3] *= spread
    near = law.masses(output)
    monkeypatch.setattr("skae.modules.pulses.positions._BINS_AT_ONCE", 500)
    torch.testing.assert_close(near, law.masses(output), atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(near.sum(dim=1), torch.ones(3))
