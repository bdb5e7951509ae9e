"""Likelihoods, each against SciPy or a closed form."""

import math

import numpy as np
import pytest
import torch
from fits import generator
from scipy import special, stats

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
    drawn = law.sample(mean, law.noise, generator())
    torch.testing.assert_close(law.std(mean), torch.full_like(mean, 3.0))
    assert float(drawn.std()) == pytest.approx(3.0, rel=0.02)
    assert float(drawn.mean()) == pytest.approx(9.0, abs=0.05)


def poisson_log_prob(x, rate):
    """Return the logarithm of the Poisson distribution in float64, where SciPy's loses digits as well."""
    some = np.maximum(x, 1.0)
    ratio = (rate - some) / some
    misfit = np.where(x > 0.0, some * (ratio - np.log1p(ratio)), rate)
    stirling = -0.5 * np.log(2.0 * np.pi * some) - 1.0 / (12.0 * some)
    return np.where(x > 1e4, stirling, special.xlogy(x, x) - x - special.gammaln(x + 1.0)) - misfit


@pytest.mark.parametrize("rate", [1e-3, 0.3, 5.0, 9.0, 400.0, 3e5, 1e8, 1e11, 1e14])
@pytest.mark.parametrize("pull", [0.0, 0.1, 3.0, 1e3])
def test_the_poisson_likelihood_is_exact_to_float32_for_any_count(rate, pull):
    x = torch.poisson(torch.full((200, 1), rate).double(), generator=generator()).float()
    # means that differ from x by some of its standard deviations; 1 is a factor of e
    mean = x.double().clamp_min(rate) * math.exp(min(pull / rate**0.5, 1.0))
    mean = mean.float().requires_grad_()
    x_exact, mean_exact = x.double().numpy(), mean.detach().double().numpy()
    log_prob = PoissonLikelihood().log_prob(x, mean, torch.ones(1))
    expected = poisson_log_prob(x_exact, mean_exact)[:, 0]
    np.testing.assert_allclose(log_prob.detach().numpy(), expected, rtol=3e-6, atol=1e-6)
    if rate < 1e4:
        by_scipy = stats.poisson.logpmf(x_exact, mean_exact)[:, 0]
        np.testing.assert_allclose(expected, by_scipy, rtol=1e-9, atol=1e-9)
    log_prob.sum().backward()
    slope = torch.from_numpy((x_exact - mean_exact) / mean_exact).float()
    torch.testing.assert_close(mean.grad, slope, rtol=1e-6, atol=0.0)


def test_the_poisson_deviance_has_no_step_where_its_series_ends():
    x = torch.full((2001, 1), 1e3, dtype=torch.float64)
    v = torch.linspace(0.099, 0.101, 2001, dtype=torch.float64)[:, None]
    for side in (1.0, -1.0):
        mean = x * (1.0 + side * v) / (1.0 - side * v)
        expected = mean - x - x * torch.log(mean / x)
        found = PoissonLikelihood().half_deviances(x, mean, torch.ones(1))
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=0.0)


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
