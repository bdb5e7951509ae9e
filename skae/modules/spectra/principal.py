"""Fits of coordinates to training rows: means and spreads, or probabilistic PCA in closed form."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from skae.modules.moments import (
    Rows,
    chunks_of,
    column_covariance,
    leading_axes,
    rows_at_once,
    scale_of,
    usable_moments,
)
from skae.modules.spectra.coordinates import PrincipalFactors, StandardisedColumns

# Beyond this many columns the covariance is not formed: its leading axes are sought by iteration.
_MOST_COLUMNS = 2048

# No more factors than this are kept, however many stand above the noise.
_MOST_FACTORS = 256

# Times that gaps are filled, at most. What is amiss shrinks by the share of the gaps each time: so does
# what one time changes, and with little observed a small change says less.
_FILLINGS = 100
_NEAR = 1e-3


def standardised_columns(x: Rows, weight: Rows | None, *, has_gaps: bool) -> StandardisedColumns:
    """Take means and standard deviations from training rows and their weights."""
    mean, variance, _ = usable_moments(x, weight, has_gaps)
    return StandardisedColumns(
        mean,
        scale_of(mean, variance, x.dtype),
        noise_floor=_noise_floor(mean, variance, x.dtype),
        has_gaps=has_gaps,
    )


def principal_factors(
    x: Rows,
    weight: Rows | None,
    *,
    noise_around: Callable[[Tensor], Tensor | None],
    n_components: int,
    has_gaps: bool,
    beta: float = 1.0,
    at_most: int | None = None,
) -> PrincipalFactors:
    """Fit probabilistic PCA to training rows, in closed form.

    As many factors are kept as stand above the noise, ``n_components`` or more: those with an eigenvalue
    beyond the edge of what noise alone gives (Marchenko & Pastur, 1967,
    doi:10.1070/SM1967v001n04ABEH001994), or where the noise is not known, beyond the threshold for that
    (Gavish & Donoho, 2014, arXiv:1305.5870).

    Gaps are filled with what the factors expect there, which changes the factors, and so on
    (expectation-maximisation; Dempster et al., 1977): at first with ``n_components`` of them.

    Parameters
    ----------
    x : rows of shape (n, d)
        Training rows: slices are asked of them, no more.
    weight : weights of shape (n,), or None
        Their weights.
    noise_around : callable
        Maps the mean row to the standard deviation of the noise in each column, or to None: then one
        number is taken for all columns, the best one for ``n_components`` factors.
    n_components : int
        Latent coordinates of the model that is to start from the factors.
    has_gaps : bool
        Rows may have NaN.
    beta : float
        Weight of the divergence in the bound: factors are those of a noise √β times as large.
    at_most : int or None
        Most factors to keep.
    """
    fit = partial(
        _fit_factors,
        weight=weight,
        noise_around=noise_around,
        n_components=n_components,
        beta=beta,
        n_rows=len(x),
    )
    if not has_gaps:
        return fit(x, moments=usable_moments(x, weight), at_most=at_most)
    mean, variance, absolute = usable_moments(x, weight, gaps=True)
    share = _missing_share(x)
    filled = FilledRows(x, lambda rows: mean.float().expand_as(rows))
    factors = fit(filled, moments=(mean, variance, absolute), at_most=n_components)
    for most in (n_components, at_most):
        for _ in range(_FILLINGS):
            before, filled = factors, FilledRows(x, factors.expect)
            mean, variance, absolute = usable_moments(filled, weight)
            unseen = share * (factors.noise.double() ** 2) / beta
            moments = mean, variance + unseen, absolute
            factors = fit(filled, moments=moments, at_most=most, unseen=unseen)
            if factors.are_near(before, _NEAR * (1.0 - float(share.mean()))):
                break
    return factors


class FilledRows:
    """Rows whose gaps are filled: at once where they are at hand, else each time that they are read.

    Parameters
    ----------
    rows : rows of shape (n, d)
        With NaN where nothing was observed.
    expect : callable
        Maps rows to what is expected in their place.
    """

    def __init__(self, rows: Rows, expect: Callable[[Tensor], Tensor]):
        self.shape, self.dtype = rows.shape, rows.dtype
        self.rows, self.expect = rows, expect
        if isinstance(rows, Tensor):
            self.rows = rows.clone()
            # as they are read, so that sums are the same to the bit
            for part in self.rows.split(rows_at_once(rows)):
                part.copy_(self._fill(part))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Tensor:
        rows = self.rows[part]
        return rows if isinstance(self.rows, Tensor) else self._fill(rows)

    def _fill(self, rows: Tensor) -> Tensor:
        return torch.where(torch.isnan(rows), self.expect(rows), rows)


def _missing_share(x: Rows) -> Tensor:
    """Share of the rows in which each column was not observed."""
    missing = torch.zeros(x.shape[1], dtype=torch.float64)
    for rows, _ in chunks_of(x, None):
        missing += torch.isnan(rows).sum(dim=0)
    return missing / len(x)


def _fit_factors(
    x: Rows,
    *,
    weight: Rows | None,
    moments: tuple[Tensor, Tensor, bool],
    noise_around: Callable[[Tensor], Tensor | None],
    n_components: int,
    beta: float,
    n_rows: int,
    at_most: int | None,
    unseen: Tensor | None = None,
) -> PrincipalFactors:
    """Fit factors to rows without gaps; ``unseen`` is the variance of what filling left out."""
    mean, variance, absolute = moments
    floor = _noise_floor(mean, variance, x.dtype)
    n, d = _effective_number(weight, n_rows), len(mean)
    noise = noise_around(mean)
    known = noise is not None
    scale = torch.ones_like(mean) if noise is None else math.sqrt(beta) * noise
    total = float((variance / scale.square()).sum())
    if d <= _MOST_COLUMNS:
        covariance = column_covariance(x, mean, weight, absolute)
        if unseen is not None:
            covariance.diagonal().add_(unseen)
        values, axes = torch.linalg.eigh(covariance / scale / scale[:, None])
        values, axes = values.flip(0).clamp_min(0.0), axes.flip(1)
    else:
        n_axes = min(n_rows, d, _MOST_FACTORS + 16)
        values, axes = leading_axes(x, mean, scale, weight, absolute, n_axes)
    if not known:
        level = max(_noise_variance(values, total, d, n_components, n_rows, beta), floor**2)
        scale = torch.full_like(mean, math.sqrt(beta * level))
        values = values / (beta * level)
        edge = _unknown_noise_edge(values, n, d)
    else:
        edge = (1.0 + math.sqrt(d / n)) ** 2
    above = max(int((values > max(edge, 1.0)).sum()), n_components)
    wanted = above if at_most is None else min(above, at_most)
    n_factors = min(wanted, d, len(values), _MOST_FACTORS + n_components)
    strength = (values[:n_factors] - 1.0).clamp_min(0.0).sqrt()
    loadings = (axes[:, :n_factors] * strength).T * scale
    return PrincipalFactors(
        mean, scale, loadings, noise_floor=floor, has_gaps=isinstance(x, FilledRows)
    )


def _noise_variance(
    values: Tensor, total: float, d: int, n_components: int, n_rows: int, beta: float
) -> float:
    """Return the variance of the noise that is best beside ``n_components`` factors.

    A factor in use leaves β σ² of its eigenvalue to the residuals, so that the best σ² is what the
    other eigenvalues leave to each of the d − β k columns; for β = 1 it is their mean.
    """
    if n_rows <= n_components + 1:
        return total / d  # so many factors fit any rows exactly, and say nothing of the noise
    for used in range(min(n_components, len(values)), 0, -1):
        rest = max(total - float(values[:used].sum()), 0.0)
        free = d - beta * used
        if free > 0.0 and beta * rest / free <= float(values[used - 1]):
            return rest / free
    return total / d


def _effective_number(weight: Rows | None, n: int) -> float:
    """Return how many rows of equal weight would tell as much."""
    if weight is None:
        return float(n)
    whole = weight[0:n].double()
    return max(1.0, float(whole.sum() ** 2 / whole.square().sum()))


def _noise_floor(mean: Tensor, variance: Tensor, dtype: torch.dtype) -> float:
    """Return the smallest noise told from rounding: below it a likelihood would grow forever."""
    spread = scale_of(mean, variance, dtype).square().mean().sqrt()
    rounding = torch.finfo(dtype).eps * mean.square().mean().sqrt()
    return max(1e-4 * float(spread), float(rounding))


def _unknown_noise_edge(values: Tensor, n: float, d: int) -> float:
    """The square of Gavish and Donoho's threshold, in units of the eigenvalues."""
    ratio = min(n, d) / max(n, d)
    omega = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    n_values = min(int(n) - 1, d, len(values))
    return omega**2 * float(values[:n_values].median()) if n_values > 0 else 0.0
