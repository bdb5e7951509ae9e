"""Coordinates in which networks find data easy: factors of probabilistic PCA, or standardised columns.

Where signals stand far above the noise, as in spectra, gradient descent from standardised columns needs
tens of thousands of steps. In the factors it starts at what is known in closed form.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skae.modules.moments import Rows, column_covariance, leading_axes, scale_of, usable_moments

# Beyond this many columns the covariance is not formed: its leading axes are sought by iteration.
_MOST_COLUMNS = 2048

# No more factors than this are kept, however many stand above the noise.
_MOST_FACTORS = 256

# Times that gaps are filled: what is missing there shrinks by the share of the gaps each time.
_FILLINGS = 12

# Rows whose gaps are counted at once.
_COUNTED_ROWS = 4096

# Rows with gaps for which the equations of all factors are solved at once.
_ROWS_AT_ONCE = 256


class Coordinates(nn.Module):
    """Maps rows ``(n, d)`` to what an encoder reads, and what a decoder writes to rows."""

    #: numbers in what an encoder reads, and in what a decoder writes
    n_inputs: int
    n_outputs: int

    #: smallest noise that is told from rounding, in the units of the rows
    noise_floor: float

    centre: Tensor

    def moved(self, centre: Tensor, slope: Tensor) -> "Coordinates":
        """Return coordinates of a function of the rows, with its value and slope at the centre."""
        raise NotImplementedError

    def read(self, x: Tensor) -> Tensor:
        """Map rows ``(n, d)``, NaN where nothing was observed, to ``(n, n_inputs)``."""
        raise NotImplementedError

    def write(self, output: Tensor) -> Tensor:
        """Map ``(n, n_outputs)`` to rows ``(n, d)``."""
        raise NotImplementedError


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

    def moved(self, centre: Tensor, slope: Tensor) -> "StandardisedColumns":
        """Move the mean, and stretch the spreads."""
        return StandardisedColumns(centre, self.scale * slope, noise_floor=self.noise_floor)

    def read(self, x: Tensor) -> Tensor:
        """Standardise rows."""
        standard = (x - self.centre) / self.scale
        if not self.has_gaps:
            return standard
        gaps = torch.isnan(x)
        return torch.cat([torch.where(gaps, 0.0, standard), gaps.to(standard.dtype)], dim=1)

    def write(self, output: Tensor) -> Tensor:
        """Bring standardised rows back."""
        return torch.addcmul(self.centre, output, self.scale)


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

    def moved(self, centre: Tensor, slope: Tensor) -> "PrincipalFactors":
        """Move the mean row, and stretch the columns."""
        return PrincipalFactors(
            centre, self.noise * slope, self.loadings * slope, noise_floor=self.noise_floor
        )

    def read(self, x: Tensor) -> Tensor:
        """Return the posterior means of the factors, and where there may be gaps their log σ."""
        centred = x - self.centre
        if not self.has_gaps:
            return centred @ self.reading
        seen = ~torch.isnan(centred)
        white = torch.where(seen, centred, 0.0) / self.noise  # (n, d)
        parts = [
            self._solve(white[start : start + _ROWS_AT_ONCE], seen[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(x), _ROWS_AT_ONCE)
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
        return self.write(self.read(x)[:, : self.n_outputs])

    def write(self, output: Tensor) -> Tensor:
        """Bring factors back to rows."""
        return torch.addmm(self.centre, output, self.loadings)


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
) -> PrincipalFactors:
    """Fit probabilistic PCA of known noise to training rows, in closed form.

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
        all columns, the most likely one for ``n_components`` factors.
    n_components : int
        Latent coordinates of the model that is to start from the factors.
    has_gaps : bool
        Rows may have NaN.
    """
    if not has_gaps:
        moments = usable_moments(x, weight)
        return _fit_factors(x, weight, moments, noise, n_components)
    mean, variance, absolute = usable_moments(x, weight, gaps=True)
    share = _missing_share(x)
    filled = FilledRows(x, lambda rows: mean.float().expand_as(rows))
    factors = _fit_factors(
        filled, weight, (mean, variance, absolute), noise, n_components, at_most=n_components
    )
    for at_most in (n_components, None):
        for _ in range(_FILLINGS):
            filled = FilledRows(x, factors.expect)
            mean, variance, absolute = usable_moments(filled, weight)
            unseen = share * factors.noise.double().square()
            factors = _fit_factors(
                filled,
                weight,
                (mean, variance + unseen, absolute),
                noise,
                n_components,
                at_most,
                unseen,
            )
    return factors


class FilledRows:
    """Rows whose gaps are filled as they are read.

    Parameters
    ----------
    rows : rows of shape (n, d)
        With NaN where nothing was observed.
    expect : callable
        Maps rows to what is expected in their place.
    """

    def __init__(self, rows: Rows, expect: Callable[[Tensor], Tensor]):
        self.rows = rows
        self.expect = expect
        self.shape, self.dtype = rows.shape, rows.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Tensor:
        rows = self.rows[part]
        return torch.where(torch.isnan(rows), self.expect(rows), rows)


def _missing_share(x: Rows) -> Tensor:
    """Share of the rows in which each column was not observed."""
    missing = torch.zeros(x.shape[1], dtype=torch.float64)
    for start in range(0, len(x), _COUNTED_ROWS):
        missing += torch.isnan(x[start : start + _COUNTED_ROWS]).sum(dim=0)
    return missing / len(x)


def _fit_factors(
    x: Rows,
    weight: Rows | None,
    moments: tuple[Tensor, Tensor, bool],
    noise: Callable[[Tensor], Tensor] | None,
    n_components: int,
    at_most: int | None = None,
    unseen: Tensor | None = None,
) -> PrincipalFactors:
    """Fit factors to rows without gaps; ``unseen`` is the variance of what filling left out."""
    mean, variance, absolute = moments
    floor = _noise_floor(mean, variance, x.dtype)
    n, d = len(x), len(mean)
    known = None if noise is None else noise(mean)
    scale = torch.ones_like(mean) if known is None else known
    total = float((variance / scale.square()).sum())
    if d <= _MOST_COLUMNS:
        covariance = column_covariance(x, mean, weight, absolute)
        if unseen is not None:
            covariance.diagonal().add_(unseen)
        values, axes = torch.linalg.eigh(covariance / scale / scale[:, None])
        values, axes = values.flip(0).clamp_min(0.0), axes.flip(1)
    else:
        n_axes = min(n, d, _MOST_FACTORS + 16)
        values, axes = leading_axes(x, mean, scale, weight, absolute, n_axes)
    if known is None:
        rest = max(total - float(values[:n_components].sum()), 0.0) / max(d - n_components, 1)
        scale = torch.full_like(mean, max(math.sqrt(rest), floor))
        values = values / scale[0] ** 2
        edge = _unknown_noise_edge(values, n, d)
    else:
        edge = (1.0 + math.sqrt(d / n)) ** 2
    above = int((values > max(edge, 1.0)).sum())
    wanted = max(above, n_components) if at_most is None else at_most
    n_factors = min(wanted, d, len(values), _MOST_FACTORS + n_components)
    strength = (values[:n_factors] - 1.0).clamp_min(0.0).sqrt()
    loadings = (axes[:, :n_factors] * strength).T * scale
    return PrincipalFactors(
        mean, scale, loadings, noise_floor=floor, has_gaps=isinstance(x, FilledRows)
    )


def _noise_floor(mean: Tensor, variance: Tensor, dtype: torch.dtype) -> float:
    """Return the smallest noise told from rounding: below it a likelihood would grow forever."""
    spread = scale_of(mean, variance, dtype).square().mean().sqrt()
    return max(1e-4 * float(spread), 10.0 * torch.finfo(dtype).eps * float(mean.abs().max()))


def _unknown_noise_edge(values: Tensor, n: int, d: int) -> float:
    """The square of Gavish and Donoho's threshold, in units of the eigenvalues."""
    ratio = min(n, d) / max(n, d)
    omega = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    median = float(values[: min(n - 1, d)].median()) if n > 1 else 0.0
    return omega**2 * median
