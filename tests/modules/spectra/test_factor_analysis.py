"""Linear Gaussian models by EM: dense Gaussians, closed forms, and steps that only rise."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skae.modules.spectra.factor_analysis import ExpectedSums, FactorModel, posterior_of


def survey(rng, n=300, d=20, k=2, scatter=0.0):
    """Return rows, their errors squared, infinite in gaps, and ones."""
    rows = 5.0 + rng.normal(size=(n, k)) @ rng.normal(size=(k, d))
    errors = np.exp(0.5 * rng.normal(size=(n, d)))
    rows += np.hypot(errors, scatter) * rng.normal(size=(n, d))
    variance = np.where(rng.uniform(size=(n, d)) < 0.2, np.inf, errors**2)
    rows[np.isinf(variance)] = np.nan
    return torch.from_numpy(rows), torch.from_numpy(variance), torch.ones(n, dtype=torch.float64)


def first_guess(rng, d=20, k=2, scatter=0.0):
    loadings = torch.from_numpy(rng.normal(size=(k, d)))
    centre = torch.full((d,), 4.0, dtype=torch.float64)
    return FactorModel(centre, loadings, torch.tensor([scatter], dtype=torch.float64))


def em_step(model, chunks, *, learns_scatter):
    """Return a model under which rows are likelier, and the mean log-likelihood under the given one."""
    sums = ExpectedSums(model, learns_scatter)
    for chunk in chunks:
        sums.add(*chunk)
    return sums.better(), sums.log_likelihood / sums.total


@pytest.mark.parametrize("scatter", [0.0, 0.3])
def test_posteriors_and_likelihoods_are_those_of_dense_gaussians(scatter, rng):
    x, variance, _ = survey(rng, n=12)
    model = first_guess(rng, scatter=scatter)
    found = posterior_of(model, x, variance)
    L, centre = model.loadings.numpy(), model.centre.numpy()
    for i in range(len(x)):
        seen = ~np.isnan(x[i].numpy())
        noise = variance[i].numpy()[seen] + scatter
        residual = x[i].numpy()[seen] - centre[seen]
        covariance = L[:, seen].T @ L[:, seen] + np.diag(noise)
        gain = L[:, seen] @ np.linalg.inv(covariance)
        np.testing.assert_allclose(found.mean[i], gain @ residual, rtol=1e-9)
        np.testing.assert_allclose(
            found.covariance[i], np.eye(2) - gain @ L[:, seen].T, rtol=1e-7, atol=1e-12
        )
        log_det = np.linalg.slogdet(covariance)[1] + seen.sum() * math.log(2.0 * math.pi)
        expected = -0.5 * (residual @ np.linalg.solve(covariance, residual) + log_det)
        assert float(found.log_likelihood[i]) == pytest.approx(expected, rel=1e-12)


def test_a_row_of_which_nothing_was_seen_has_the_prior(rng):
    model = first_guess(rng)
    nothing = torch.full((1, 20), math.nan), torch.full((1, 20), math.inf)
    found = posterior_of(model, *(each.double() for each in nothing))
    assert not found.mean.any()
    torch.testing.assert_close(found.covariance[0], torch.eye(2).double())
    assert float(found.log_likelihood[0]) == 0.0


@pytest.mark.parametrize("learns_scatter", [False, True])
def test_each_step_makes_rows_likelier(learns_scatter, rng):
    chunk = survey(rng, scatter=0.5)
    model, curve = first_guess(rng, scatter=1.0 if learns_scatter else 0.25), []
    for _ in range(60):
        model, value = em_step(model, [chunk], learns_scatter=learns_scatter)
        curve.append(value)
    assert curve[-1] > curve[0] + 1.0
    assert np.diff(curve).min() > -1e-9
    if learns_scatter:
        assert float(model.scatter) == pytest.approx(0.25, rel=0.2)


def test_parts_and_shares_are_as_rows_that_are_repeated(rng):
    x, variance, ones = survey(rng)
    model = first_guess(rng)
    share = ones.clone()
    share[:50] = 2.0
    parts = list(zip(x.split(77), variance.split(77), share.split(77), strict=True))
    better, value = em_step(model, parts, learns_scatter=True)
    twice = [torch.cat([each, each[:50]]) for each in (x, variance, ones)]
    expected, other = em_step(model, [twice], learns_scatter=True)
    assert value == pytest.approx(other, rel=1e-12)
    for name in ("centre", "loadings", "scatter"):
        ours, theirs = getattr(better, name), getattr(expected, name)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_with_learnt_noise_alone_it_is_probabilistic_pca(rng):
    """Of full rows without errors, the likelihood is known in closed form: that of PCA."""
    rows = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 12)) + 0.4 * rng.normal(size=(500, 12))
    x = torch.from_numpy(rows)
    chunk = x, torch.zeros_like(x), torch.ones(500, dtype=torch.float64)
    model, value = first_guess(rng, 12, 3, scatter=1.0), 0.0
    for _ in range(500):
        model, value = em_step(model, [chunk], learns_scatter=True)
    pca = PCA(3).fit(rows)
    assert value == pytest.approx(pca.score(rows), abs=1e-4)
    # scikit-learn divides by n - 1
    assert float(model.scatter) == pytest.approx(pca.noise_variance_ * 499 / 500, rel=1e-3)


def test_a_pixel_that_was_never_seen_changes_nothing(rng):
    x, variance, ones = survey(rng)
    x[:, 3], variance[:, 3] = math.nan, math.inf
    model = first_guess(rng)
    for _ in range(20):
        model, value = em_step(model, [(x, variance, ones)], learns_scatter=False)
    assert math.isfinite(value)
    assert all(
        bool(torch.isfinite(part).all()) for part in (model.centre, model.loadings, model.scatter)
    )
