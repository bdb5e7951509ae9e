"""Mixtures: densities that add up to 1, draws that follow them, starts at the data's quantiles."""

import numpy as np
import pytest
import torch

from skae.modules.showers.mixtures import CountMixture, NormalMixture


@pytest.fixture
def written():
    return torch.randn(1, 24, generator=torch.Generator().manual_seed(0))


def draws(mixture, written, seed, i, n=40_000):
    random = mixture.random((n,), torch.Generator().manual_seed(seed))
    return mixture.draw(written.expand(n, -1), random, i)


def test_densities_add_up_to_one_and_draws_follow_them(written):
    mixture = NormalMixture(1)
    mixture.start_at(5.0 + 3.0 * torch.randn(500, 1, generator=torch.Generator().manual_seed(1)))
    x = torch.linspace(-150.0, 150.0, 60_001)
    density = mixture.log_prob(written.expand(len(x), 1, -1), x[:, None]).exp().detach()[:, 0]
    assert torch.trapezoid(density, x).item() == pytest.approx(1.0, abs=1e-3)
    mean = torch.trapezoid(density * x, x)
    std = torch.trapezoid(density * (x - mean).square(), x).sqrt()
    drawn = draws(mixture, written, 2, 0)
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=5 * std.item() / 200)
    assert drawn.std().item() == pytest.approx(std.item(), rel=0.05)


def test_chances_of_counts_add_up_to_one_and_draws_follow_them(written):
    mixture = CountMixture([30, 12])
    values = torch.randint(1, 31, (400, 2), generator=torch.Generator().manual_seed(3)).float()
    mixture.start_at(values.clamp_max(mixture.most))
    for i, most in enumerate((30, 12)):
        counts = torch.arange(1.0, most + 1.0)[:, None].expand(-1, 2)
        chances = (
            mixture.log_prob(written.expand(most, 2, -1), counts)[:, i].exp().detach().double()
        )
        assert chances.sum().item() == pytest.approx(1.0, abs=1e-5)
        drawn = draws(mixture, written, 4, i)
        found = np.bincount(drawn.numpy().astype(int), minlength=most + 1)[1:] / 40_000
        error = np.sqrt(chances.numpy() / 40_000) + 1e-4
        assert (np.abs(found - chances.numpy()) < 5 * error).all()


def test_mixtures_start_at_the_data():
    generator = torch.Generator().manual_seed(5)
    skewed = torch.empty(4000, 2).exponential_(generator=generator)
    there = torch.ones_like(skewed, dtype=torch.bool)
    there[5:, 1] = False  # too few of their own
    mixture = NormalMixture(2)
    mixture.start_at(skewed, there)
    for i in range(2):
        drawn = draws(mixture, torch.zeros(1, 24), 6, i)
        expected = torch.quantile(skewed[there], torch.tensor([0.1, 0.5, 0.9]))
        found = torch.quantile(drawn, torch.tensor([0.1, 0.5, 0.9]))
        torch.testing.assert_close(found, expected, atol=0.15, rtol=0.1)
