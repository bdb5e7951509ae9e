"""Curves that lie at a shift of their own in each row: dense Gaussians, quadrature, least squares."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from skae.modules.spectra.alignment import continuum, first_model
from skae.modules.spectra.factor_analysis import Posterior
from skae.modules.spectra.rest_frame import RestFrame, spline
from skae.modules.spectra.shifted import (
    Nodes,
    Seen,
    ShiftedModel,
    ShiftedSums,
    at_shift,
    bound_of,
    joint_posterior,
    log_likelihood,
    posterior_of,
    shift_of,
)

N_PIXELS, REACH = 40, 0.08
LOG_WAVELENGTHS = np.log(np.linspace(4000.0, 6000.0, N_PIXELS))


def frame_of(log_wavelengths=LOG_WAVELENGTHS):
    return RestFrame(torch.from_numpy(np.ascontiguousarray(log_wavelengths)), REACH)


def lines(places):
    """Return a curve of two lines and two slopes, at logarithms of rest wavelengths."""
    narrow = [np.exp(-0.5 * ((places - c) / 0.012) ** 2) for c in (8.42, 8.56)]
    return np.stack([narrow[0], narrow[1] - 0.3 * np.cos(9.0 * places), 1.0 + narrow[0]], axis=-1)


def survey(rng, n=30, noise=0.1, gaps=0.2):
    """Return rows, their variances, shifts and factors."""
    shift, z = rng.uniform(0.0, REACH, n), rng.normal(size=(n, 2))
    curves = lines(LOG_WAVELENGTHS - shift[:, None])
    x = (curves @ np.c_[z, np.ones(n)][:, :, None])[:, :, 0]
    variance = np.where(rng.uniform(size=x.shape) < gaps, np.inf, noise**2)
    x = np.where(np.isinf(variance), np.nan, x + noise * rng.normal(size=x.shape))
    return (*(torch.from_numpy(each) for each in (x, variance, shift, z)),)


def model_of(frame, misfit=None):
    curves = torch.from_numpy(lines(frame.knots.numpy()))
    return ShiftedModel(frame, curves, torch.zeros(1).double(), misfit)


def dense(model, x, variance, t):
    """Return the log-density of one row, and of t but for a constant."""
    seen = np.isfinite(variance.numpy())
    shift, _ = shift_of(torch.tensor([t]).double(), REACH)
    curves = model.frame.curves_of_rows(model.curves, shift)[0].numpy()[seen]
    covariance = curves[:, :2] @ curves[:, :2].T + np.diag(variance.numpy()[seen])
    density = multivariate_normal(curves[:, 2], covariance)
    return density.logpdf(x.numpy()[seen]) - 0.5 * t * t


@pytest.mark.parametrize("falling", [False, True])
def test_curves_are_splines_seen_at_shifts(falling):
    frame = frame_of(LOG_WAVELENGTHS[::-1] if falling else LOG_WAVELENGTHS)
    shift = torch.tensor([0.0, 0.0123, REACH]).double()
    # a straight line is its own spline
    straight = frame.knots[:, None]
    expected = frame.log_wavelengths - shift[:, None]
    torch.testing.assert_close(frame.curves_of_rows(straight, shift)[..., 0], expected)
    rest = torch.from_numpy(lines(frame.knots.numpy())).T[1].expand(3, -1)
    seen = frame.observed(rest, shift)
    torch.testing.assert_close(frame.curves_of_rows(rest[:1].T.contiguous(), shift)[..., 0], seen)
    step = 1e-6
    slope = (frame.observed(rest, shift + step) - frame.observed(rest, shift - step)) / (2 * step)
    torch.testing.assert_close(frame.slopes(rest, shift), slope, rtol=1e-6, atol=1e-6)


def test_at_a_shift_rows_are_dense_gaussians(rng):
    x, variance, *_ = survey(rng, n=6)
    model = model_of(frame_of())
    t = torch.from_numpy(rng.normal(size=6))
    rows = Seen.of(x, variance, model.scatter)
    found = at_shift(model, rows, t)
    expected = [dense(model, *each) for each in zip(x, variance, t.tolist(), strict=True)]
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-6)
    # the gradient leaves out how the width of the factors' posterior moves, which is little
    step, heights = 1e-5, []
    for sign in (1.0, -1.0):
        there = at_shift(model, rows, t + sign * step)
        heights.append(there.log_prob - 0.5 * torch.logdet(there.covariance))
    torch.testing.assert_close(
        found.gradient, (heights[0] - heights[1]) / (2 * step), rtol=1e-5, atol=1e-4
    )


def test_the_likeliest_node_is_that_of_dense_gaussians(rng):
    x, variance, *_ = survey(rng, n=8, noise=0.3)
    model = model_of(frame_of())
    nodes = Nodes(model)
    found = nodes.likeliest(Seen.of(x, variance, model.scatter))
    for i in range(len(x)):
        each = [dense(model, x[i], variance[i], t) for t in nodes.t.tolist()]
        assert float(found[i]) == float(nodes.t[int(np.argmax(each))])


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3])
def test_likelihoods_bounds_and_posteriors_are_close_to_quadrature(noise, rng):
    x, variance, *_ = survey(rng, n=10, noise=noise)
    model = model_of(frame_of())
    rows = Seen.of(x, variance, model.scatter)
    known = posterior_of(model, rows, Nodes(model))
    mean, covariance, _ = joint_posterior(model, rows, known)
    width = covariance[:, 0, 0].sqrt()
    exact, average, spread = [], [], []
    for i in range(len(x)):
        # fine where the posterior was found, and coarser wherever there may be more of it
        grid = float(known.t[i]) + float(width[i]) * np.linspace(-8.0, 8.0, 100)
        grid = np.union1d(grid, np.linspace(-5.0, 5.0, 300))
        log_prob = np.array([dense(model, x[i], variance[i], t) for t in grid])
        density = np.exp(log_prob - log_prob.max()) / math.sqrt(2.0 * math.pi)
        whole = np.trapezoid(density, grid)
        exact.append(math.log(whole) + log_prob.max())
        average.append(np.trapezoid(grid * density, grid) / whole)
        spread.append((np.trapezoid((grid - average[-1]) ** 2 * density, grid) / whole) ** 0.5)
    # posteriors are taken for Gaussian in t, which they are the less the more noise there is: in much of
    # it few lines may be seen at two places
    draws = torch.from_numpy(rng.normal(size=(1, 500)))
    plain, weighted = (bound_of(model, rows, known, each).numpy() for each in (None, draws))
    assert (plain < np.array(exact) + 1e-6).all()
    most = {0.03: 0.05, 0.1: 0.1, 0.3: 0.5}[noise]
    for found in (plain, weighted, log_likelihood(known).numpy()):
        assert np.median(np.abs(found - exact)) < most
        assert np.max(np.abs(found - exact)) < 1.5
    assert np.median(np.abs(mean[:, 0].numpy() - average) / spread) < 0.2 if noise < 0.3 else 0.5
    assert np.median(width.numpy() / spread) == pytest.approx(1.0, abs=0.1 if noise < 0.3 else 0.3)
    print(
        noise,
        np.mean(np.abs(plain - exact)),
        np.mean(np.abs(weighted - exact)),
        np.mean(np.abs(log_likelihood(known).numpy() - exact)),
        np.median(np.abs(mean[:, 0].numpy() - average) / spread),
        np.median(width.numpy() / spread),
    )


def test_what_was_not_seen_leaves_the_prior():
    model = model_of(frame_of())
    nothing = torch.full((2, N_PIXELS), math.nan), torch.full((2, N_PIXELS), math.inf)
    rows = Seen.of(*(each.double() for each in nothing), model.scatter)
    known = posterior_of(model, rows, Nodes(model))
    mean, covariance, _ = joint_posterior(model, rows, known)
    torch.testing.assert_close(mean, torch.zeros(2, 3).double(), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(covariance, torch.eye(3).double().expand(2, 3, 3))
    torch.testing.assert_close(log_likelihood(known), torch.zeros(2).double(), atol=1e-9, rtol=0.0)


def test_the_best_curves_are_those_of_least_squares(rng):
    x, variance, shift, z = survey(rng, n=200, gaps=0.1)
    frame = frame_of()
    rows = Seen.of(x, variance, torch.zeros(1).double())
    z = (z - z.mean(dim=0)) / z.std(dim=0, correction=0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / len(z))).T  # nothing to stretch
    sums = ShiftedSums(frame, 2, rows.x)
    known = Posterior(z, z.new_zeros(len(z), 2, 2), z.new_zeros(len(z)))
    for part in (slice(0, 77), slice(77, None)):
        each = Posterior(known.mean[part], known.covariance[part], known.log_likelihood[part])
        sums.add(rows.only(part), shift[part], each, torch.ones_like(shift[part]))
    steps = torch.full((3,), 1e-3).double()
    found, _ = sums.better(steps)
    # the same as one dense problem: what each pixel says, and steps that are small
    first, fraction = frame.places(shift)
    weight = torch.zeros(len(x), N_PIXELS, frame.n_knots).double()
    weight.scatter_(2, first[..., None] + torch.arange(4), spline(fraction))
    with_one = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
    design = torch.einsum("ijm,ik->ijmk", weight, with_one).flatten(2).flatten(0, 1)
    root = rows.weight.flatten().sqrt()
    links = torch.zeros(frame.n_knots - 1, frame.n_knots).double()
    links[range(len(links)), range(len(links))] = -1.0
    links[range(len(links)), range(1, len(links) + 1)] = 1.0
    prior = torch.kron(links, torch.eye(3).double()) * (0.05 / steps[0]).sqrt()
    matrix = torch.cat([root[:, None] * design, prior])
    right = torch.cat([root * rows.x.flatten(), prior.new_zeros(len(prior))])
    expected = torch.linalg.lstsq(matrix, right[:, None]).solution.view(-1, 3)
    # factors may be turned, which means are not
    torch.testing.assert_close(found[:, 2], expected[:, 2], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(
        found[:, :2] @ found[:, :2].T, expected[:, :2] @ expected[:, :2].T, rtol=1e-6, atol=1e-8
    )


def test_rows_are_aligned_from_any_start(rng):
    torch.manual_seed(0)
    x, variance, shift, _ = survey(rng, n=200, noise=0.03)
    frame, scatter = frame_of(), torch.zeros(1).double()
    rows = Seen.of(x, variance, scatter)
    model = first_model(frame, rows, scatter, 2)
    known = posterior_of(model, rows, Nodes(model))
    off = shift_of(known.t, REACH)[0] - shift
    assert float((off - off.median()).abs().quantile(0.9)) < 0.2 * frame.step


def test_a_continuum_is_a_polynomial(rng):
    places = np.linspace(-1.0, 1.0, 200)
    smooth = np.polynomial.chebyshev.chebval(places, rng.normal(size=(15, 4)))
    variance = torch.from_numpy(np.where(rng.uniform(size=smooth.shape) < 0.1, np.inf, 1.0))
    rows = Seen.of(torch.from_numpy(smooth), variance, torch.zeros(1).double())
    np.testing.assert_allclose(continuum(rows), smooth, atol=1e-4)


def test_a_shift_is_the_probability_of_t():
    t = torch.linspace(-3.0, 3.0, 7).double()
    shift, speed = shift_of(t, REACH)
    np.testing.assert_allclose(shift, REACH * norm.cdf(t), rtol=1e-12)
    np.testing.assert_allclose(speed, REACH * norm.pdf(t), rtol=1e-12)
