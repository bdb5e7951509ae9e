"""Likelihoods, priors, factors and draws, each against SciPy or a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skae.modules.sequences.networks import MultiResolutionDecoder
from skae.modules.spectra.coordinates import PrincipalFactors
from skae.modules.spectra.likelihoods import (
    LIKELIHOODS,
    GaussianLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
)
from skae.modules.spectra.lstm import LSTMDecoder, grid_features
from skae.modules.spectra.principal import principal_factors, standardised_columns
from skae.modules.spectra.priors import MixturePrior, NormalPrior
from skae.modules.spectra.vae import fixed_draws, matched_draws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- likelihoods -------------------------------------------------------------------------------


def test_the_gaussian_likelihood_is_that_of_scipy():
    x, mean = torch.randn(2, 7, 5, generator=generator())
    noise = torch.rand(5, generator=generator()) + 0.1
    expected = stats.norm.logpdf(x.numpy(), mean.numpy(), noise.numpy()).sum(axis=1)
    torch.testing.assert_close(
        GaussianLikelihood().log_prob(x, mean, noise), torch.tensor(expected).float()
    )


def test_the_laplace_likelihood_is_that_of_scipy():
    x, mean = torch.randn(2, 7, 5, generator=generator())
    noise = torch.rand(5, generator=generator()) + 0.1
    scale = noise.numpy() / np.sqrt(2.0)
    expected = stats.laplace.logpdf(x.numpy(), mean.numpy(), scale).sum(axis=1)
    torch.testing.assert_close(
        LaplaceLikelihood().log_prob(x, mean, noise), torch.tensor(expected).float()
    )


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


# -- priors ------------------------------------------------------------------------------------


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


# -- coordinates -------------------------------------------------------------------------------


def linear_rows(n=400, d=30, seed=0):
    """Rows of two factors and unit noise."""
    rng = np.random.default_rng(seed)
    loadings = np.array([[9.0], [4.0]]) * np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    X = 3.0 + rng.normal(size=(n, 2)) @ loadings + rng.normal(size=(n, d))
    return torch.tensor(X, dtype=torch.float32)


def test_as_many_factors_are_kept_as_stand_above_the_noise():
    x = linear_rows()
    for noise in (lambda mean: torch.ones_like(mean), lambda mean: None):
        factors = principal_factors(x, None, noise_around=noise, n_components=1, has_gaps=False)
        assert factors.n_outputs == 2
    factors = principal_factors(
        x, None, noise_around=lambda mean: torch.ones_like(mean), n_components=5, has_gaps=False
    )
    assert factors.n_outputs == 5


def test_factors_are_posterior_means_and_bring_rows_back():
    x = linear_rows()
    factors = principal_factors(
        x, None, noise_around=lambda mean: torch.ones_like(mean), n_components=2, has_gaps=False
    )
    read = factors.read(x)
    loadings = factors.loadings
    precision = torch.eye(2) + loadings @ loadings.T
    expected = torch.linalg.solve(precision, loadings @ (x - factors.centre).T).T
    torch.testing.assert_close(read, expected, rtol=1e-3, atol=1e-4)
    rms = (factors.expect(x) - x).square().mean().sqrt()
    assert rms == pytest.approx(math.sqrt(28 / 30), abs=0.02)


def test_gaps_that_are_filled_give_the_factors_of_whole_rows():
    x = linear_rows(n=2000)
    whole = principal_factors(
        x, None, noise_around=lambda mean: torch.ones_like(mean), n_components=2, has_gaps=False
    )
    holed = x.clone()
    holed[torch.rand(x.shape, generator=generator()) < 0.3] = torch.nan
    factors = principal_factors(
        holed, None, noise_around=lambda mean: torch.ones_like(mean), n_components=2, has_gaps=True
    )
    assert factors.n_outputs == 2
    ours, theirs = (f.loadings.T @ f.loadings for f in (factors, whole))
    assert (ours - theirs).abs().max() < 0.1 * theirs.abs().max()
    read = factors.read(holed)
    assert read.shape == (2000, 4)
    # without a gap the widths are those of whole rows
    torch.testing.assert_close(
        factors.read(x)[:, 2:], factors.log_std.expand(2000, 2), rtol=0, atol=1e-4
    )


def test_standardised_columns_read_gaps_as_means_and_mark_them():
    x = linear_rows(n=50)
    x[3, 4] = torch.nan
    columns = standardised_columns(x, None, has_gaps=True)
    read = columns.read(x)
    assert read.shape == (50, 60)
    assert read[3, 4] == 0.0
    assert read[:, 30:].sum() == read[3, 34] == 1.0
    np.testing.assert_allclose(columns.centre, np.nanmean(x.numpy(), axis=0), rtol=1e-5)


def test_factors_do_not_depend_on_the_unit():
    x = linear_rows()
    one, other = (
        principal_factors(
            scale * x,
            None,
            noise_around=lambda mean, scale=scale: torch.full_like(mean, scale),
            n_components=2,
            has_gaps=False,
        ).read(scale * x)
        for scale in (1.0, 1e4)
    )
    torch.testing.assert_close(one.abs(), other.abs(), rtol=1e-3, atol=1e-4)


# -- draws and decoders ------------------------------------------------------------------------


def test_draws_are_the_same_ones_nested_and_antithetic():
    many, few = fixed_draws(64, 3), fixed_draws(10, 3)
    torch.testing.assert_close(many[:10], few)
    torch.testing.assert_close(many[::2], -many[1::2])
    matched = matched_draws(64, 3)
    torch.testing.assert_close(matched.T @ matched / 64, torch.eye(3), rtol=0, atol=1e-6)
    assert matched_draws(1, 3).shape == (1, 3)


@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_the_latent_sets_one_state_of_the_lstm(latent_state):
    torch.manual_seed(0)
    decoder = LSTMDecoder(torch.arange(20.0), 2, 4, latent_state)
    z = torch.randn(3, 2, generator=generator())
    states = []
    decoder.lstm.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    assert decoder(z).shape == (3, 20)
    hidden, cell = states[0]
    zero, used = (cell, hidden) if latent_state == "hidden" else (hidden, cell)
    assert (zero == 0).all()
    assert used.abs().max() > 0


@pytest.mark.parametrize("latent_state", ["hidden", "cell"])
def test_the_latent_sets_one_state_of_the_coarsest_level(latent_state):
    torch.manual_seed(0)
    decoder = MultiResolutionDecoder(torch.arange(50.0), 2, 4, latent_state, [4, 4])
    z = torch.randn(3, 2, generator=generator())
    states = []
    coarsest = decoder.descent.networks[-1].rnn
    coarsest.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    assert decoder(z).shape == (3, 50)
    hidden, cell = states[0]
    zero, used = (cell, hidden) if latent_state == "hidden" else (hidden, cell)
    assert (zero == 0).all()
    assert used.abs().max() > 0


def test_grid_features_tell_places_apart_and_ignore_the_unit():
    grid = torch.linspace(400.0, 900.0, 200, dtype=torch.float64)
    features = grid_features(grid)
    distances = torch.cdist(features[:, 2:], features[:, 2:]) + 10 * torch.eye(200)
    assert distances.min() > 0.05
    torch.testing.assert_close(grid_features(1e3 * grid), features)


def test_a_writer_brings_factors_back_and_is_trained_in_steps_of_the_noise():
    factors = PrincipalFactors(
        torch.zeros(3), torch.full((3,), 0.5), torch.tensor([[1.0, 2.0, 0.0]])
    )
    writer = factors.writer(torch.ones(3), torch.tensor([1.0, 2.0, 1.0]))
    torch.testing.assert_close(writer(torch.ones(1, 1)), torch.tensor([[2.0, 5.0, 1.0]]))
    with torch.no_grad():
        writer.offset += 1.0
    torch.testing.assert_close(writer(torch.zeros(1, 1)), torch.tensor([[1.5, 2.0, 1.5]]))
