"""Coordinates in which networks find data easy: factors of probabilistic PCA, or standardised columns.

Where signals stand far above the noise, as in spectra, gradient descent from standardised columns needs
tens of thousands of steps. In the factors it starts at what is known in closed form.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from skae.modules.moments import Rows, column_covariance, leading_axes, scale_of, usable_moments

# Beyond this many columns the covariance is not formed: its leading axes are sought by iteration.
_MOST_COLUMNS = 2048

# No more factors than this are kept, however many stand above the noise.
_MOST_FACTORS = 256

# Times that gaps are filled, at most. What is amiss shrinks by the share of the gaps each time: so does
# what one time changes, and with little observed a small change says less.
_FILLINGS = 100
_NEAR = 1e-3

# Rows whose gaps are counted at once.
_COUNTED_ROWS = 4096

# What a link maps from moves no faster than this with the mean, where it is taken for linear.
_LARGEST_SLOPE = 10.0

# Numbers in the masked loadings of the rows with gaps whose equations are solved at once.
_SOLVED_NUMBERS = 2**22


def full_precision(x: Tensor) -> AbstractContextManager:
    """Leave mixed precision: rows that differ little must not be rounded to three digits."""
    kind = x.device.type
    is_mixed = torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_mixed else nullcontext()


class Coordinates(nn.Module):
    """Maps rows ``(n, d)`` to what an encoder reads."""

    #: numbers in what an encoder reads, and in what a decoder writes back
    n_inputs: int
    n_outputs: int

    #: smallest noise that is told from rounding, in the units of the rows
    noise_floor: float

    centre: Tensor

    def writer(self, centre: Tensor, slope: Tensor) -> "Writer | ColumnWriter":
        """Return the way back, to a function of the rows with its value and slope at the centre."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map rows ``(n, d)``, NaN where nothing was observed, to ``(n, n_inputs)``."""
        with full_precision(x):
            return self.read(x.float())

    def read(self, x: Tensor) -> Tensor:
        """Map rows in full precision."""
        raise NotImplementedError


class Writer(nn.Module):
    """Maps ``(n, n_outputs)`` to rows ``(n, d)``: ``centre + output @ loadings``, both trainable.

    They are trained in steps of the noise, and so are moved only where the rows ask for it.

    Parameters
    ----------
    centre : Tensor of shape (d,)
        The row that an output of zeros is written to.
    loadings : Tensor of shape (n_outputs, d)
        What each output adds.
    unit : Tensor of shape (d,)
        What a column's steps are measured in.
    """

    base: Tensor
    unit: Tensor

    def __init__(self, centre: Tensor, loadings: Tensor, unit: Tensor):
        super().__init__()
        self.register_buffer("base", centre.float())
        self.register_buffer("unit", unit.float())
        self.offset = nn.Parameter(torch.zeros(len(centre)))
        self.steps = nn.Parameter((loadings / unit).float())
        self.n_outputs = len(loadings)

    def widened(self, n_outputs: int) -> "Writer":
        """Return one for as many outputs, of which more than before add nothing yet."""
        more = self.unit.new_zeros(max(0, n_outputs - self.n_outputs), len(self.unit))
        return Writer(self.base, torch.cat([self.loadings.detach(), more]), self.unit)

    @property
    def loadings(self) -> Tensor:
        """What each output adds, ``(n_outputs, d)``."""
        return self.steps * self.unit

    @property
    def centre(self) -> Tensor:
        """The row that an output of zeros is written to."""
        return self.base + self.unit * self.offset

    def forward(self, output: Tensor) -> Tensor:
        """Write rows."""
        with full_precision(output):
            return torch.addmm(self.centre, output.float(), self.loadings)


class ColumnWriter(nn.Module):
    """Maps standardised rows ``(n, d)`` to rows.

    Parameters
    ----------
    centre, scale : Tensor of shape (d,)
        Where a zero is written to, and a one from there.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, centre: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("centre", centre.float())
        self.register_buffer("scale", scale.float())
        self.n_outputs = len(centre)

    def forward(self, output: Tensor) -> Tensor:
        """Write rows."""
        return torch.addcmul(self.centre, output.float(), self.scale)


class StandardisedColumns(Coordinates):
    """Columns with zero mean and unit variance.

    Parameters
    ----------
    centre, scale : Tensor of shape (d,)
        Mean and standard deviation of each column.
    has_gaps : bool
        Rows may have NaN: they are read as the mean, followed by a 1 for each gap.
    """

    scale: Tensor

    def __init__(
        self, centre: Tensor, scale: Tensor, *, noise_floor: float = 0.0, has_gaps: bool = False
    ):
        super().__init__()
        self.noise_floor = noise_floor
        self.register_buffer("centre", centre.float())
        self.register_buffer("scale", scale.float())
        self.has_gaps = has_gaps
        self.n_outputs = len(centre)
        self.n_inputs = self.n_outputs * (2 if has_gaps else 1)

    @property
    def noise(self) -> Tensor:
        """A first guess of the noise, ``(1,)``: what the columns spread by."""
        return self.scale.square().mean().sqrt()[None]

    def writer(self, centre: Tensor, slope: Tensor) -> ColumnWriter:
        """Return the way back."""
        return ColumnWriter(centre, self.scale * slope)

    def read(self, x: Tensor) -> Tensor:
        """Standardise rows."""
        standard = (x - self.centre) / self.scale
        if not self.has_gaps:
            return standard
        gaps = torch.isnan(x)
        return torch.cat([torch.where(gaps, 0.0, standard), gaps.to(standard.dtype)], dim=1)


class PrincipalFactors(Coordinates):
    r"""Factors f of probabilistic PCA (Tipping & Bishop, 1999, doi:10.1111/1467-9868.00196).

    In its model :math:`x = c + f L + \varepsilon` with :math:`f \sim N(0, 1)` and noise
    :math:`\varepsilon \sim N(0, \operatorname{diag} \sigma^2)`. A row is read as the mean of its factors'
    posterior, so a factor that noise hides is near zero.

    Parameters
    ----------
    centre : Tensor of shape (d,)
        Mean row, c.
    noise : Tensor of shape (d,)
        Standard deviation of the noise, σ.
    loadings : Tensor of shape (n_factors, d)
        L; rows of L/σ must be orthogonal.
    has_gaps : bool
        Rows may have NaN. Their factors follow from what was observed, and the logarithms of the factors'
        posterior standard deviations are read behind them.
    """

    noise: Tensor
    loadings: Tensor
    reading: Tensor
    log_std: Tensor

    def __init__(
        self,
        centre: Tensor,
        noise: Tensor,
        loadings: Tensor,
        *,
        noise_floor: float = 0.0,
        has_gaps: bool = False,
    ):
        super().__init__()
        self.noise_floor = noise_floor
        white = loadings / noise
        precision = 1.0 + white.square().sum(dim=1)  # of the posterior of each factor
        self.register_buffer("centre", centre.float())
        self.register_buffer("noise", noise.float())
        self.register_buffer("loadings", loadings.float())
        self.register_buffer(
            "reading", (white / noise / precision[:, None]).T.float()
        )  # (d, n_factors)
        self.register_buffer("log_std", -0.5 * precision.log().float())
        self.has_gaps = has_gaps
        self.n_outputs = len(loadings)
        self.n_inputs = self.n_outputs * (2 if has_gaps else 1)

    def writer(self, centre: Tensor, slope: Tensor) -> Writer:
        """Return the way back; where hardly anything was counted it starts nearly silent."""
        slope = slope.clamp_max(_LARGEST_SLOPE)
        return Writer(centre, self.loadings * slope, self.noise * slope)

    def read(self, x: Tensor) -> Tensor:
        """Return the posterior means of the factors, and where there may be gaps their log σ."""
        centred = x - self.centre
        if not self.has_gaps:
            return centred @ self.reading
        seen = ~torch.isnan(centred)
        white = torch.where(seen, centred, 0.0) / self.noise  # (n, d)
        step = max(1, _SOLVED_NUMBERS // self.loadings.numel())
        parts = [
            self._solve(white[start : start + step], seen[start : start + step])
            for start in range(0, len(x), step)
        ]
        return torch.cat(parts)

    def _solve(self, white: Tensor, seen: Tensor) -> Tensor:
        """Factors of rows with gaps: the posterior of a linear model, row by row."""
        loadings = self.loadings / self.noise
        masked = loadings * seen[:, None].to(loadings.dtype)  # (n, n_factors, d)
        identity = torch.eye(len(loadings), dtype=white.dtype, device=white.device)
        precision = masked @ loadings.T + identity  # (n, n_factors, n_factors)
        root = torch.linalg.cholesky(precision)
        mean = torch.cholesky_solve((masked @ white[:, :, None]), root)[..., 0]
        inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
        return torch.cat([mean, inverse.square().sum(dim=1).log() / 2.0], dim=1)

    def expect(self, x: Tensor) -> Tensor:
        """Return the rows that the factors of ``x`` make."""
        return torch.addmm(self.centre, self.read(x)[:, : self.n_outputs], self.loadings)

    def are_near(self, other: "PrincipalFactors", tolerance: float) -> bool:
        """Tell whether the strengths of the factors are those of others, relative to themselves."""
        ours, theirs = self.log_std, other.log_std
        return ours.shape == theirs.shape and bool((ours - theirs).abs().max() < tolerance)


def standardised_columns(
    x: Tensor, weight: Tensor | None, *, has_gaps: bool
) -> StandardisedColumns:
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
    noise: Callable[[Tensor], Tensor] | None,
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
    noise : callable or None
        Maps the mean row to the standard deviation of the noise in each column; None takes one number for
        all columns, the best one for ``n_components`` factors.
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
        noise=noise,
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
            for start in range(0, len(rows), _COUNTED_ROWS):
                part = slice(start, start + _COUNTED_ROWS)
                self.rows[part] = self._fill(rows[part])

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
    for start in range(0, len(x), _COUNTED_ROWS):
        missing += torch.isnan(x[start : start + _COUNTED_ROWS]).sum(dim=0)
    return missing / len(x)


def _fit_factors(
    x: Rows,
    *,
    weight: Rows | None,
    moments: tuple[Tensor, Tensor, bool],
    noise: Callable[[Tensor], Tensor] | None,
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
    known = None if noise is None else math.sqrt(beta) * noise(mean)
    scale = torch.ones_like(mean) if known is None else known
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
    if known is None:
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
    if (
        n_rows <= n_components + 1
    ):  # these factors fit any rows exactly, and say nothing of the noise
        return total / d
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
