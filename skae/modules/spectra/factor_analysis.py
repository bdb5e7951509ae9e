"""Linear Gaussian models of rows whose errors differ from pixel to pixel, fitted by EM to their optimum.

The model is probabilistic PCA with the errors of each row (Tipping & Bishop, 1999; Bailey, 2012,
doi:10.1086/668105, leaves out the prior of the factors): row i, pixel j,

    x_ij = mu_j + sum_k z_ik L_kj + e_ij,   z ~ N(0, 1),   e_ij ~ N(0, error_ij² + s²).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skae.modules.spectra.smooth import (
    prior_precision,
    rare_links,
    smooth_solution,
    stiffness_of,
)

# Least variance beyond the errors, of that of the rows: a share of nothing stays nothing.
_LEAST_SCATTER = 1e-16


@dataclass
class FactorModel:
    """Mean row, loadings and scatter of a linear Gaussian model.

    Parameters
    ----------
    centre : Tensor of shape (d,)
        Mean row.
    loadings : Tensor of shape (k, d)
        What each factor adds.
    scatter : Tensor of shape (1,) or (d,)
        Variance beyond the errors.
    uncertainty : Tensor of shape (d, (k + 1) (k + 2) / 2) or None
        Posterior covariance of each pixel's loadings and mean, at :func:`pairs_of`; None leaves it out.
    misfit : Tensor of shape (d,) or None
        Variance of rows around what factors can follow, beyond errors. It is no part of the likelihood,
        in which rows with small errors would no longer tell what their errors say.
    """

    centre: Tensor
    loadings: Tensor
    scatter: Tensor
    uncertainty: Tensor | None = None
    misfit: Tensor | None = None

    def variances(self, known: Posterior) -> Tensor:
        """Return the variance of the mean of each pixel, ``(n, d)``, of rows with these posteriors."""
        k = len(self.loadings)
        rows, columns = pairs_of(k)
        twice = torch.where(rows == columns, 1.0, 2.0).to(self.loadings)
        covariance = twice * known.covariance[:, rows, columns]
        variance = covariance @ (self.loadings[rows] * self.loadings[columns])
        if self.uncertainty is None:
            return variance
        rows, columns = pairs_of(k + 1)
        twice = torch.where(rows == columns, 1.0, 2.0).to(self.loadings)
        return variance + (twice * moments_of(known)) @ self.uncertainty.T

    def widened(self, known: Posterior, variance: Tensor) -> Posterior:
        """Return posteriors that allow for the misfit, of rows whose errors squared are ``(n, d)``.

        Their covariance is that of factors found as if there were none: a sandwich (P. J. Huber, 1967).
        """
        if self.misfit is None:
            return known
        weight = 1.0 / (variance + self.scatter)
        rows, columns = pairs_of(len(self.loadings))
        products = (self.loadings[rows] * self.loadings[columns]).T
        between = symmetric((weight.square() * self.misfit) @ products, len(self.loadings))
        covariance = known.covariance
        return replace(known, covariance=covariance + covariance @ between @ covariance)


def resized(model: FactorModel, start: FactorModel, *, learns_scatter: bool) -> FactorModel:
    """Return a model with as many factors as ``start``: the first ones, or what start has besides.

    Where scatter is learnt, it takes what is left out; else it is that of ``start``.
    """
    k, n = len(start.loadings), len(model.loadings)
    scatter = model.scatter if learns_scatter else start.scatter
    if k <= n:
        if learns_scatter:
            scatter = scatter + model.loadings[k:].square().sum(dim=0).mean()
        return FactorModel(model.centre, model.loadings[:k], scatter)
    axes = torch.linalg.qr(model.loadings.T).Q
    rest = start.loadings - (start.loadings @ axes) @ axes.T
    _, sizes, others = torch.linalg.svd(rest, full_matrices=False)
    more = (sizes[:, None] * others)[: k - n]
    return FactorModel(model.centre, torch.cat([model.loadings, more]), scatter)


@dataclass
class Posterior:
    """Posterior of the factors of rows, and what rows are worth."""

    mean: Tensor  # (n, k)
    covariance: Tensor  # (n, k, k)
    log_likelihood: Tensor  # (n,)


def moments_of(known: Posterior) -> Tensor:
    """Return expected products of factors, and of a constant 1 behind them, at :func:`pairs_of`."""
    k = known.mean.shape[1]
    rows, columns = pairs_of(k + 1)
    with_one = torch.cat([known.mean, torch.ones_like(known.mean[:, :1])], dim=1)
    moments = with_one[:, rows] * with_one[:, columns]
    among = columns < k  # the last one is the constant
    moments[:, among] += known.covariance[:, rows[among], columns[among]]
    return moments


def pairs_of(k: int) -> tuple[Tensor, Tensor]:
    """Return the places of a symmetric matrix that tell all of it."""
    rows, columns = torch.triu_indices(k, k)
    return rows, columns


def symmetric(values: Tensor, k: int) -> Tensor:
    """Return matrices ``(..., k, k)`` from the values at :func:`pairs_of`, ``(..., k (k + 1) / 2)``."""
    rows, columns = pairs_of(k)
    whole = values.new_empty(*values.shape[:-1], k, k)
    whole[..., rows, columns] = values
    whole[..., columns, rows] = values
    return whole


def posterior_of(model: FactorModel, x: Tensor, variance: Tensor) -> Posterior:
    """Return the posterior of factors for rows ``(n, d)``, errors squared, infinite where not seen."""
    weight = 1.0 / (variance + model.scatter)
    seen = weight > 0.0
    residual = torch.where(seen, x - model.centre, 0.0)
    loadings, k = model.loadings, len(model.loadings)
    rows, columns = pairs_of(k)
    products = (loadings[rows] * loadings[columns]).T
    weighted = weight * residual
    known = weighted @ loadings.T
    if model.uncertainty is not None:
        with_centre = symmetric(model.uncertainty, k + 1)
        products = products + with_centre[:, rows, columns]
        known = known - weight @ with_centre[:, :k, k]
    precision = symmetric(weight @ products, k)
    precision.diagonal(dim1=1, dim2=2).add_(1.0)
    root = torch.linalg.cholesky(precision)
    mean = torch.cholesky_solve(known[..., None], root)[..., 0]
    covariance = torch.cholesky_inverse(root)
    log_det = 2.0 * root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    log_weight = torch.where(seen, weight, 1.0).log().sum(dim=1)
    misfit = (weighted * residual).sum(dim=1) - (known * mean).sum(dim=1)
    n_seen = seen.sum(dim=1).to(x)
    log_likelihood = 0.5 * (log_weight - n_seen * math.log(2.0 * math.pi) - log_det - misfit)
    return Posterior(mean, covariance, log_likelihood)


class ExpectedSums:
    """What the next model follows from, summed over rows.

    Parameters
    ----------
    model : FactorModel
        The present one, in float64.
    learns_scatter : bool
        Whether variance beyond the errors is learnt.
    """

    def __init__(self, model: FactorModel, learns_scatter: bool):
        self.model, self.learns_scatter = model, learns_scatter
        k, d = model.loadings.shape
        self.k, self.among = k, pairs_of(k + 1)[1] < k
        zeros = model.loadings.new_zeros
        self.squares, self.products = zeros(d, (k + 1) * (k + 2) // 2), zeros(d, k + 1)
        self.first, self.second = zeros(k), zeros(k * (k + 1) // 2)
        self.excess, self.weights = torch.zeros_like(model.scatter), torch.zeros_like(model.scatter)
        self.misfit, self.misfit_weights = zeros(d), zeros(d)
        self.log_likelihood, self.total = 0.0, 0.0

    def add(self, x: Tensor, variance: Tensor, share: Tensor) -> Tensor:
        """Add rows ``(n, d)``, errors squared, each counted ``share`` times; return log-likelihoods."""
        model, k = self.model, self.k
        posterior = posterior_of(model, x, variance)
        weight = 1.0 / (variance + model.scatter)
        residual = torch.where(weight > 0.0, x - model.centre, 0.0)
        counted = weight * share[:, None]
        mean, moments = posterior.mean, moments_of(posterior)
        self.squares += counted.T @ moments
        self.products[:, :k] += (counted * residual).T @ mean
        self.products[:, k] += (counted * residual).sum(dim=0)
        self.first += share @ mean
        self.second += share @ moments[:, self.among]
        if self.learns_scatter or model.misfit is not None:
            squares = (residual - mean @ model.loadings).square() + model.variances(posterior)
        if self.learns_scatter:
            for total, part in (
                (self.excess, counted * weight * squares),
                (self.weights, counted),
            ):
                total += part.sum(dim=0) if len(total) > 1 else part.sum()
        if model.misfit is not None:
            known = variance if self.learns_scatter else variance + model.scatter
            weight = share[:, None] / (known + model.misfit).square()
            self.misfit += torch.where(weight > 0.0, weight * (squares - known), 0.0).sum(dim=0)
            self.misfit_weights += weight.sum(dim=0)
        self.log_likelihood += float(share @ posterior.log_likelihood)
        self.total += float(share.sum())
        return posterior.log_likelihood

    def _squares(self) -> Tensor:
        squares = symmetric(self.squares, self.k + 1)
        # where nothing was seen nothing is said
        largest = squares.diagonal(dim1=1, dim2=2).amax(dim=1)
        ridge = torch.where(largest > 0.0, 1e-12 * largest, 1.0)
        squares.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
        return squares

    def better(
        self,
        *,
        smooth_around: Tensor | None = None,
        with_uncertainty: bool = False,
    ) -> FactorModel:
        """Return the model that maximises the expected log-likelihood, its factors standard again.

        With ``smooth_around``, what was taken off the pixels ``(d,)``, loadings and means of those that
        few rows tell of follow their neighbours. Its uncertainty is what rows, and neighbours, leave to
        loadings and means. The misfit makes a step of Fisher's scoring.
        """
        model, k, squares = self.model, self.k, self._squares()
        solved = torch.linalg.solve(squares, self.products).T
        solved[k] += model.centre
        if smooth_around is not None:
            solved[k] += smooth_around
            links = rare_links(self.squares[:, -1])
            stiffness = stiffness_of(solved, squares.diagonal(dim1=1, dim2=2).T, links)
            # of means themselves, not of what they change by
            centre = model.centre + smooth_around
            products = self.products + squares[:, :, k] * centre[:, None]
            solved = smooth_solution(squares, products, stiffness, links)
            solved[k] -= smooth_around
            squares = squares + torch.diag_embed(prior_precision(stiffness, links))
        # factors are moved and stretched so that they are standard normal on average, which loadings
        # and the centre undo: EM with expanded parameters (Liu et al., 1998, doi:10.1093/biomet/85.4.755)
        mean = self.first / self.total
        covariance = symmetric(self.second / self.total, k) - mean[:, None] * mean
        undone = torch.eye(k + 1).to(solved)
        undone[k, :k] = mean
        undone[:k, :k] = torch.linalg.cholesky(covariance).T
        # weighed by pixels
        axes = principal_axes(undone[:k, :k] @ solved[:k], self.squares[:, -1])
        undone[:k, :k] = axes @ undone[:k, :k]
        *loadings, centre = undone @ solved
        scatter, uncertainty = model.scatter, None
        if self.learns_scatter:
            change = torch.where(self.weights > 0.0, self.excess / self.weights, 1.0)
            least = _LEAST_SCATTER * (solved[:k].square().sum(dim=0).mean() + scatter.mean())
            scatter = torch.maximum(scatter * change, least)
        if with_uncertainty:
            rows, columns = pairs_of(k + 1)
            uncertainty = (undone @ torch.linalg.inv(squares) @ undone.T)[:, rows, columns]
        misfit = None
        if model.misfit is not None:
            misfit = (self.misfit / self.misfit_weights.clamp_min(1e-300)).clamp_min(0.0)
        return FactorModel(centre, torch.stack(loadings), scatter, uncertainty, misfit)


def principal_axes(loadings: Tensor, weight: Tensor) -> Tensor:
    """Return the turn by which factors tell apart, and the first tell most; by pixels' weights.

    The sum of each one's loadings is positive, so that a model has one way to be written.
    """
    axes = torch.linalg.eigh((loadings * weight) @ loadings.T)[1].flip(1).T
    return axes * torch.where((axes @ loadings).sum(dim=1) < 0.0, -1.0, 1.0)[:, None]
