"""Priors are densities, and their divergences exact."""

import math

import numpy as np
import pytest
import torch
from fits import generator
from scipy import integrate, stats

from skae.modules.spectra.priors import MixturePrior, NormalPrior


def test_the_normal_priors_divergence_is_exact():
    mean, log_std = torch.tensor([[0.3, -1.2]]), torch.tensor([[-0.5, 0.2]])
    closed = NormalPrior(1).divergence(mean, log_std, mean)
    q = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(closed, expected)


def test_a_mixture_is_a_density_and_draws_follow_it():
    torch.manual_seed(0)
    prior = MixturePrior(1, 3)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        prior.means.copy_(torch.tensor([[-2.0], [0.5], [3.0]]))

        def density(z):
            return float(prior.log_prob(torch.tensor([[z]])).exp())

        assert integrate.quad(density, -12, 12, limit=200)[0] == pytest.approx(1.0, abs=1e-5)
        n = 20000
        draws = prior.transform(
            torch.randn(n, 1, generator=generator()), torch.rand(n, generator=generator(1))
        )
    weights = torch.softmax(prior.logits, 0).detach().numpy()
    stds = prior.log_stds.exp().detach().numpy()[:, 0]
    means = prior.means.detach().numpy()[:, 0]

    def distribution(z):
        return (weights * stats.norm.cdf((np.asarray(z)[:, None] - means) / stds)).sum(axis=1)

    assert stats.kstest(draws.numpy()[:, 0], distribution).statistic < 1.63 / math.sqrt(n)


def test_one_standard_component_is_the_normal_prior():
    prior = MixturePrior(2, 1)
    with torch.no_grad():
        prior.means.zero_()
        prior.log_stds.zero_()
    z = torch.randn(5, 2, generator=generator())
    torch.testing.assert_close(prior.log_prob(z), NormalPrior(1).log_prob(z))
