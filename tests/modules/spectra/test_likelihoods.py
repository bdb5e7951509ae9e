"""Likelihoods, each against SciPy or a closed form."""

import math

import numpy as np
import pytest
import torch
from fits import generator
from scipy import stats

from skae.modules.spectra.likelihoods import (
    LIKELIHOODS,
    GaussianLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
)


@pytest.mark.parametrize(
    ("likelihood", "law", "std_of_unit_scale"),
    [(GaussianLikelihood, stats.norm, 1.0), (LaplaceLikelihood, stats.laplace, math.sqrt(2.0))],
)
def test_likelihoods_of_real_numbers_are_those_of_scipy(likelihood, law, std_of_unit_scale):
    x, mean = torch.randn(2, 7, 5, generator=generator())
    noise = torch.rand(5, generator=generator()) + 0.1
    scale = noise.numpy() / std_of_unit_scale
    expected = torch.from_numpy(law.logpdf(x.numpy(), mean.numpy(), scale).sum(axis=1)).float()
    torch.testing.assert_close(likelihood().log_prob(x, mean, noise), expected)


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_draws_have_the_standard_deviation_that_is_stated(likelihood):
    noise = None if likelihood.takes_counts else torch.tensor([3.0])
    mean = torch.full((100_000, 1), 9.0)
    law = likelihood(noise)
    drawn = law.sample(mean, generator())
    torch.testing.assert_close(law.std(mean), torch.full_like(mean, 3.0))
    assert float(drawn.std()) == pytest.approx(3.0, rel=0.02)
    assert float(drawn.mean()) == pytest.approx(9.0, abs=0.05)


@pytest.mark.parametrize("rate", [1e-3, 0.3, 5.0, 9.0, 400.0, 3e5])
def test_the_poisson_likelihood_is_that_of_scipy_to_float32(rate):
    x = torch.poisson(torch.full((200, 1), rate), generator=generator())
    mean = rate * (1.0 + 0.1 * torch.rand(200, 1, generator=generator()))
    expected = stats.poisson.logpmf(x.double().numpy(), mean.double().numpy())[:, 0]
    ours = PoissonLikelihood().log_prob(x, mean, torch.ones(1)).numpy()
    # log(λ/x) is as exact as float32 has the numbers near 1
    tolerance = 1e-5 + 3e-7 * x.numpy()[:, 0]
    assert (np.abs(ours - expected) < tolerance).all()


def test_no_counts_have_a_finite_gradient():
    mean = torch.full((1, 3), 0.5, requires_grad=True)
    PoissonLikelihood().log_prob(torch.zeros(1, 3), mean, torch.ones(1)).sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((1, 3), -1.0))


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_gaps_leave_out_their_terms_and_their_gradients(likelihood):
    x = torch.poisson(torch.full((4, 6), 5.0), generator=generator())
    mean = torch.full((4, 6), 5.5, requires_grad=True)
    noise = torch.ones(1)
    x[:, 2] = torch.nan
    whole = likelihood(has_gaps=True).log_prob(x, mean, noise)
    seen = [0, 1, 3, 4, 5]
    torch.testing.assert_close(whole, likelihood().log_prob(x[:, seen], mean[:, seen], noise))
    whole.sum().backward()
    assert torch.isfinite(mean.grad).all()
    assert (mean.grad[:, 2] == 0).all()


def test_the_poisson_link_and_its_inverse():
    likelihood = PoissonLikelihood()
    rate = torch.tensor([0.05, 1.0, 20.0, 500.0], dtype=torch.float64)
    raw, slope = likelihood.unlink(rate)
    torch.testing.assert_close(likelihood.link(raw), rate, rtol=1e-4, atol=2e-6)
    step = 1e-4
    moved = likelihood.link(raw + step * slope) - likelihood.link(raw)
    torch.testing.assert_close(moved, torch.full_like(rate, step), rtol=1e-2, atol=0.0)
