"""Sums of a few curves that lie at a shift of their own in each row: posteriors, and EM.

Row i, pixel j, of wavelength λ_j:

    x_ij = mu(ln λ_j - s_i) + sum_k z_ik L_k(ln λ_j - s_i) + e_ij,   s = reach Φ(t),   t, z ~ N(0, 1),

with errors e_ij ~ N(0, error_ij² + scatter). Given the shift everything is linear and Gaussian, as in
:mod:`skae.modules.spectra.factor_analysis`; the shift itself is looked for among all, then refined. Such
models are called transformed component analysis (B. J. Frey & N. Jojic, IEEE Trans. PAMI 25, 1, 2003).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from skae.modules.spectra.factor_analysis import (
    Posterior,
    moments_of,
    pairs_of,
    principal_axes,
    symmetric,
)
from skae.modules.spectra.rest_frame import N_PIECES, RestFrame, spline

# Steps by which shifts are refined, and their largest, in knots.
_REFINEMENTS, _LARGEST_STEP = 3, 1.0

# How far the last nodes are from the ends, of their distance.
_END = 0.25

# Share of a row's squares that rounding may make of what is left of them.
_ROUNDING = 1e-13

# Products of curves, at pixels and nodes, that are kept at a time.
_NUMBERS_AT_ONCE = 2**22

# Nodes and weights of the average over a standard normal distribution (Gauss-Hermite).
_N_NODES = 9


@dataclass
class ShiftedModel:
    """Curves over rest wavelengths, the last of which is the mean.

    Parameters
    ----------
    frame : RestFrame
        Where the curves lie.
    curves : Tensor of shape (n_knots, k + 1)
        Values at the knots.
    scatter : Tensor of shape (1,) or (d,)
        Variance of pixels beyond the errors.
    misfit : Tensor of shape (d,) or None
        Variance of rows around what the curves can follow, no part of the likelihood.
    uncertainty : Tensor of shape (n_knots, (k + 1) (k + 2) / 2) or None
        Posterior covariance of the curves at each knot, at pairs of them; None leaves it out.
    """

    frame: RestFrame
    curves: Tensor
    scatter: Tensor
    misfit: Tensor | None = None
    uncertainty: Tensor | None = None

    @property
    def k(self) -> int:
        """Curves beside the mean."""
        return self.curves.shape[1] - 1


@dataclass
class Seen:
    """Rows, how much each of their numbers tells, and a constant of their log-likelihood."""

    x: Tensor  # (n, d), 0 where nothing was observed
    weight: Tensor  # (n, d)
    constant: Tensor  # (n,)

    @classmethod
    def of(cls, x: Tensor, variance: Tensor, scatter: Tensor) -> "Seen":
        """Take rows and their squared errors, infinite where nothing was observed."""
        weight = 1.0 / (variance + scatter)
        told = weight > 0.0
        log_weight = torch.where(told, weight, 1.0).log().sum(dim=1)
        constant = 0.5 * (log_weight - told.sum(dim=1) * math.log(2.0 * math.pi))
        return cls(torch.where(told, x, 0.0), weight, constant)

    def only(self, rows: Tensor | slice) -> "Seen":
        """Return some of the rows."""
        return Seen(self.x[rows], self.weight[rows], self.constant[rows])

    def parts(self, k: int) -> Iterator["Seen"]:
        """Go through the rows, so many at a time that curves of each fit into memory."""
        at_once = max(1, _NUMBERS_AT_ONCE // (self.x.shape[1] * (k + 1)))
        for start in range(0, len(self.x), at_once):
            yield self.only(slice(start, start + at_once))

    def left_by(self, mean: Tensor) -> Tensor:
        """Return what rows have beyond a mean, 0 where nothing was observed."""
        return torch.where(self.weight > 0.0, self.x - mean, 0.0)


@dataclass
class AtShift:
    """What is known of rows if t says their shift."""

    t: Tensor  # (n,)
    log_prob: Tensor  # (n,), of the row, and of t but for a constant
    z: Tensor  # (n, k), mean of the factors
    covariance: Tensor  # (n, k, k), of theirs
    mean: Tensor  # (n, d), expected row
    curves: Tensor  # (n, d, k + 1), as rows see them
    slope: Tensor  # (n, d), derivative of the mean by t
    gradient: Tensor  # (n,), of log_prob
    curvature: Tensor  # (n,), about minus the second derivative

    @property
    def factors(self) -> Posterior:
        """The posterior of the factors."""
        return Posterior(self.z, self.covariance, self.log_prob)

    def where(self, better: Tensor, other: "AtShift") -> "AtShift":
        """Return this, or another where that is better."""
        pairs = [(getattr(other, f.name), getattr(self, f.name)) for f in fields(self)]
        return AtShift(
            *(torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs)
        )


def shift_of(t: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Return shifts and their derivatives by t, of which the shift is the probability below."""
    density = torch.exp(-0.5 * t.square()) / math.sqrt(2.0 * math.pi)
    return reach * torch.special.ndtr(t), reach * density


def at_shift(model: ShiftedModel, rows: Seen, t: Tensor) -> AtShift:
    """Return what is known of rows at one t for each, ``(n,)``."""
    frame, k = model.frame, model.k
    shift, speed = shift_of(t, frame.reach)
    curves = frame.curves_of_rows(model.curves, shift)
    loadings, residual = curves[..., :k], rows.x - curves[..., k]
    weighted = loadings * rows.weight[..., None]
    precision = weighted.mT @ loadings
    precision.diagonal(dim1=1, dim2=2).add_(1.0)
    root = torch.linalg.cholesky(precision)
    known = (weighted * residual[..., None]).sum(dim=1)
    z = torch.cholesky_solve(known[..., None], root)[..., 0]
    log_det = 2.0 * root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    squares = (rows.weight * residual.square()).sum(dim=1) - (known * z).sum(dim=1)
    log_prob = rows.constant - 0.5 * (squares + log_det + t.square())
    with_one = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
    mean = (curves @ with_one[..., None])[..., 0]
    slope = speed[:, None] * frame.slopes(with_one @ model.curves.T, shift)
    gradient = (rows.weight * (rows.x - mean) * slope).sum(dim=1) - t
    shared = (weighted * slope[..., None]).sum(dim=1)
    apart = torch.cholesky_solve(shared[..., None], root)[..., 0]
    curvature = 1.0 + (rows.weight * slope.square()).sum(dim=1) - (shared * apart).sum(dim=1)
    covariance, curvature = torch.cholesky_inverse(root), curvature.clamp_min(1e-9)
    return AtShift(t, log_prob, z, covariance, mean, curves, slope, gradient, curvature)


class Nodes:
    """Shifts a knot apart, to find the likeliest of which for each row.

    Parameters
    ----------
    model : ShiftedModel
        The model.
    """

    def __init__(self, model: ShiftedModel):
        self.model, self.shift = model, model.frame.nodes()
        share, n = self.shift / model.frame.reach, len(self.shift)
        # those at the ends are no t, which knows no ends
        self.t = torch.special.ndtri(share.clamp(_END / n, 1.0 - _END / n))
        middle = torch.full_like(self.t[:1], 0.5 * model.frame.reach)
        self.centre = model.frame.curves_of_rows(model.curves, middle)[0, :, model.k]

    def likeliest(self, rows: Seen) -> Tensor:
        """Return the t that is likeliest for each row, ``(n,)``."""
        k, best = self.model.k, torch.zeros_like(rows.constant)
        highest = torch.full_like(best, -math.inf)
        at_once = max(1, _NUMBERS_AT_ONCE // (rows.x.shape[1] * (k + 1) * (k + 2) // 2))
        for t, shift in zip(self.t.split(at_once), self.shift.split(at_once), strict=True):
            value, place = self._log_prob(rows, t, shift).max(dim=1)
            best = torch.where(value > highest, t[place], best)
            highest = torch.maximum(value, highest)
        return best

    def _log_prob(self, rows: Seen, t: Tensor, shift: Tensor) -> Tensor:
        """Return log-densities of rows at some of the nodes, ``(n, n_nodes)``, but for a constant."""
        k, n = self.model.k, len(t)
        curves = self.model.frame.curves_of_rows(self.model.curves, shift)
        curves[..., k] -= self.centre
        curves = curves.transpose(0, 1)  # (d, n_nodes, k + 1)
        first, second = pairs_of(k + 1)
        products = (curves[..., first] * curves[..., second]).flatten(1)
        x = torch.where(rows.weight > 0.0, rows.x - self.centre, 0.0)
        squares = symmetric((rows.weight @ products).unflatten(1, (n, -1)), k + 1)
        known = ((rows.weight * x) @ curves.flatten(1)).unflatten(1, (n, -1))
        whole = (rows.weight * x.square()).sum(dim=1, keepdim=True)
        # the mean's row and column become those of the residual
        squares[..., :k, k] = known[..., :k] - squares[..., :k, k]
        squares[..., k, :k] = squares[..., :k, k]
        squares[..., k, k] += whole - 2.0 * known[..., k] + _ROUNDING * whole + 1e-12
        squares[..., :k, :k].diagonal(dim1=2, dim2=3).add_(1.0)
        root = torch.linalg.cholesky_ex(squares).L.diagonal(dim1=2, dim2=3)
        left, of_factors = root[..., k], root[..., :k]
        log_prob = -0.5 * (left.square() + t.square()) - of_factors.log().sum(dim=2)
        return log_prob.nan_to_num(nan=-math.inf)


def posterior_of(model: ShiftedModel, rows: Seen, nodes: Nodes) -> AtShift:
    """Return what is known of rows at the likeliest t."""
    reach, found = model.frame.reach, at_shift(model, rows, nodes.likeliest(rows))
    largest = _LARGEST_STEP * model.frame.step
    shrink = torch.ones_like(found.t)
    for _ in range(_REFINEMENTS):
        most = (largest / shift_of(found.t, reach)[1]).clamp_max(1.0)
        step = (found.gradient / found.curvature).clamp(-most, most)
        tried = at_shift(model, rows, found.t + shrink * step)
        better = tried.log_prob > found.log_prob
        shrink = torch.where(better, 1.0, 0.25 * shrink)
        found = found.where(better, tried)
    return found


def log_likelihood(known: AtShift) -> Tensor:
    """Return the log-likelihood of rows, ``(n,)``, by Laplace's approximation of the integral over t."""
    return known.log_prob - 0.5 * known.curvature.log()


def joint_posterior(
    model: ShiftedModel, rows: Seen, known: AtShift
) -> tuple[Tensor, Tensor, Tensor]:
    """Return means ``(n, k + 1)`` and covariances of t and the factors, and the mean row's derivatives.

    Where there is a misfit, covariances allow for it: a sandwich (P. J. Huber, 1967).
    """
    k = model.k
    jacobian = torch.cat([known.slope[..., None], known.curves[..., :k]], dim=2)
    weighted = jacobian * rows.weight[..., None]
    precision = weighted.mT @ jacobian
    precision.diagonal(dim1=1, dim2=2).add_(1.0)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    if model.misfit is not None:
        between = (weighted * model.misfit[:, None]).mT @ weighted
        covariance = covariance + covariance @ between @ covariance
    mean = torch.cat([known.t[:, None], known.z], dim=1)
    return mean, covariance, jacobian


def variance_of(model: ShiftedModel, rows: Seen, known: AtShift) -> Tensor:
    """Return the variance of the mean rows, ``(n, d)``, to first order."""
    _, covariance, jacobian = joint_posterior(model, rows, known)
    variance = ((jacobian @ covariance) * jacobian).sum(dim=2)
    if model.uncertainty is not None:
        first, second = pairs_of(model.k + 1)
        twice = torch.where(first == second, 1.0, 2.0).to(variance)
        of_knots = (twice * moments_of(known.factors)) @ model.uncertainty.T
        shift = shift_of(known.t, model.frame.reach)[0]
        variance = variance + model.frame.observed(of_knots, shift)
    if model.misfit is not None:
        variance = variance + model.misfit  # what curves do not follow belongs to the row
    return variance


def bound_of(model: ShiftedModel, rows: Seen, known: AtShift, draws: Tensor | None) -> Tensor:
    """Bound the log-likelihood of rows from below, ``(n,)``, factors being integrated in closed form.

    The shift's posterior is taken as Gaussian in t. Averages over it are Gauss's, or with draws
    ``(n_groups, n_importance)`` importance-weighted within groups.
    """
    width = known.curvature.rsqrt()

    def log_weight(draw: Tensor) -> Tensor:
        there = at_shift(model, rows, known.t + width * draw).log_prob
        return there + width.log() + 0.5 * draw.square()

    if draws is None:
        nodes, shares = _normal_nodes(known.t)
        return sum(share * log_weight(node) for node, share in zip(nodes, shares, strict=True))
    total = torch.zeros_like(known.t)
    for group in draws:
        each = torch.stack([log_weight(draw) for draw in group])
        total += torch.logsumexp(each, dim=0) - math.log(len(group))
    return total / len(draws)


def _normal_nodes(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes and weights that average polynomials over a standard normal distribution."""
    off = torch.arange(1.0, _N_NODES, dtype=torch.float64).sqrt()
    nodes, axes = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return nodes.to(like), axes[0].square().to(like)


class ShiftedSums:
    """What the next model follows from, summed over rows.

    Parameters
    ----------
    frame : RestFrame
        Where curves lie.
    k : int
        Curves beside the mean.
    like : Tensor
        Of the dtype and on the device of the sums.
    """

    def __init__(self, frame: RestFrame, k: int, like: Tensor):
        self.frame, self.k = frame, k
        n, d = frame.n_knots, len(frame)
        zeros = like.new_zeros
        self.squares = zeros(N_PIECES, n, (k + 1) * (k + 2) // 2)
        self.products = zeros(n, k + 1)
        self.moments = zeros((k + 1) * (k + 2) // 2)
        self.misfit, self.misfit_weights = zeros(d), zeros(d)
        self.excess, self.weights = zeros(d), zeros(d)
        self.total = zeros(())

    def add(self, rows: Seen, shift: Tensor, factors: Posterior, share: Tensor) -> None:
        """Add rows at these shifts, with these factors, each counted ``share`` times."""
        first, fraction = self.frame.places(shift)
        pieces = spline(fraction)
        with_one = torch.cat([factors.mean, torch.ones_like(factors.mean[:, :1])], dim=1)
        moments = moments_of(factors)
        self.moments += share @ moments
        self.total += share.sum()
        weight = rows.weight * share[:, None]

        def per_knot(values: Tensor, piece: int) -> Tensor:
            """Return sums of the pixels of each row by knots, ``(n_knots, n)``."""
            empty = values.new_zeros(len(values), self.frame.n_knots)
            return empty.scatter_add_(1, first + piece, values).T

        for one in range(N_PIECES):
            weighted = weight * pieces[..., one]
            self.products += per_knot(weighted * rows.x, one) @ with_one
            for other in range(one, N_PIECES):
                both = per_knot(weighted * pieces[..., other], one)
                self.squares[other - one].addmm_(both, moments)

    def add_misfit(self, variance: Tensor, squares: Tensor, misfit: Tensor, share: Tensor) -> None:
        """Add what squared deviations say of the misfit, beside variances ``(n, d)`` that are known."""
        weight = share[:, None] / (variance + misfit).square()
        self.misfit += torch.where(weight > 0.0, weight * (squares - variance), 0.0).sum(dim=0)
        self.misfit_weights += weight.sum(dim=0)

    def add_scatter(self, rows: Seen, squares: Tensor, share: Tensor) -> None:
        """Add what they say of the scatter."""
        counted = rows.weight * share[:, None]
        self.excess += (counted * rows.weight * squares).sum(dim=0)
        self.weights += counted.sum(dim=0)

    def better(
        self, steps: Tensor, *, with_uncertainty: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the likeliest curves ``(n_knots, k + 1)``; mean squares of their steps are a prior.

        Factors are moved, stretched and turned so that they are standard normal on average and the first
        ones tell most, which curves undo: EM with expanded parameters (Liu et al., 1998,
        doi:10.1093/biomet/85.4.755). The uncertainty is right on average: it is that of values which are
        constant for one knot each.
        """
        k = self.k
        squares = symmetric(self.squares, k + 1)
        solved = self.frame.likeliest(squares, self.products, steps)
        moments = symmetric(self.moments / self.total, k + 1)
        mean = moments[k, :k]
        undone = torch.eye(k + 1).to(solved)
        undone[:k, k] = mean
        undone[:k, :k] = torch.linalg.cholesky(moments[:k, :k] - mean[:, None] * mean)
        axes = principal_axes((solved[:, :k] @ undone[:k, :k]).T, self.squares[0, :, -1])
        undone[:k, :k] = undone[:k, :k] @ axes.T
        if not with_uncertainty:
            return solved @ undone, None
        told = self.frame.told_of_knots(squares, steps)
        first, second = pairs_of(k + 1)
        uncertainty = undone.T @ torch.linalg.inv(told) @ undone
        return solved @ undone, uncertainty[:, first, second]


def steps_of(curves: Tensor) -> Tensor:
    """Return mean squares of the steps from knot to knot, ``(m,)``."""
    return curves.diff(dim=0).square().mean(dim=0)
