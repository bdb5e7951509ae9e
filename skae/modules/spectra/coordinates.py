"""Coordinates in which networks find data easy: factors of probabilistic PCA, or standardised columns.

Where signals stand far above the noise, as in spectra, gradient descent from standardised columns needs
tens of thousands of steps. In the factors it starts at what is known in closed form.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

# What a link maps from moves no faster than this with the mean, where it is taken for linear.
_LARGEST_SLOPE = 10.0

# Numbers in the masked loadings of the rows with gaps whose equations are solved at once.
_SOLVED_NUMBERS = 2**22


def full_precision(x: Tensor) -> AbstractContextManager:
    """Leave mixed precision: rows that differ little must not be rounded to three digits."""
    kind = x.device.type
    is_mixed = torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_mixed else nullcontext()


class Coordinates(nn.Module, ABC):
    """Maps rows ``(n, d)`` to what an encoder reads.

    Parameters
    ----------
    centre : Tensor of shape (d,)
        Mean row.
    n_outputs : int
        Numbers in what a decoder writes back.
    noise_floor : float
        Smallest noise that is told from rounding, in the units of the rows.
    has_gaps : bool
        Rows may have NaN: an encoder reads twice as many numbers, ``n_inputs``, as a decoder writes.
    """

    def __init__(
        self, centre: Tensor, n_outputs: int, *, noise_floor: float = 0.0, has_gaps: bool = False
    ):
        super().__init__()
        self.centre = nn.Buffer(centre.float())
        self.n_outputs = n_outputs
        self.n_inputs = n_outputs * (2 if has_gaps else 1)
        self.noise_floor, self.has_gaps = noise_floor, has_gaps

    @abstractmethod
    def writer(self, centre: Tensor, slope: Tensor) -> "Writer | ColumnWriter":
        """Return the way back, to a function of the rows with its value and slope at the centre."""

    def forward(self, x: Tensor) -> Tensor:
        """Map rows ``(n, d)``, NaN where nothing was observed, to ``(n, n_inputs)``."""
        with full_precision(x):
            return self.read(x.float())

    @abstractmethod
    def read(self, x: Tensor) -> Tensor:
        """Map rows in full precision."""


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

    def __init__(self, centre: Tensor, loadings: Tensor, unit: Tensor):
        super().__init__()
        self.base = nn.Buffer(centre.float())
        self.unit = nn.Buffer(unit.float())
        self.offset = nn.Parameter(torch.zeros(len(centre)))
        self.steps = nn.Parameter((loadings / unit).float())
        self.n_outputs = len(loadings)

    def widened(self, n_outputs: int) -> "Writer":
        """Return one for as many outputs, of which more than before add nothing yet."""
        more = self.unit.new_zeros(max(0, n_outputs - self.n_outputs), len(self.unit))
        return Writer(self.base, torch.cat([self.loadings.detach(), more]), self.unit)

    @property
    def loadings(self) -> Tensor:
        """Rows that the outputs add, ``(n_outputs, d)``."""
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

    def __init__(self, centre: Tensor, scale: Tensor):
        super().__init__()
        self.centre = nn.Buffer(centre.float())
        self.scale = nn.Buffer(scale.float())
        self.n_outputs = len(centre)

    def forward(self, output: Tensor) -> Tensor:
        """Write rows."""
        return torch.addcmul(self.centre, output.float(), self.scale)


class StandardisedColumns(Coordinates):
    """Columns with zero mean and unit variance; gaps are read as the mean, followed by a 1 for each.

    Parameters
    ----------
    centre, scale : Tensor of shape (d,)
        Mean and standard deviation of each column.
    **options
        As of :class:`Coordinates`.
    """

    def __init__(self, centre: Tensor, scale: Tensor, **options: Any):
        super().__init__(centre, len(centre), **options)
        self.scale = nn.Buffer(scale.float())

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
    posterior, so a factor that noise hides is near zero. Those of rows with gaps follow from what was
    observed, and the logarithms of the factors' posterior standard deviations are read behind them.

    Parameters
    ----------
    centre : Tensor of shape (d,)
        Mean row, c.
    noise : Tensor of shape (d,)
        Standard deviation of the noise, σ.
    loadings : Tensor of shape (n_factors, d)
        L; rows of L/σ must be orthogonal.
    **options
        As of :class:`Coordinates`.
    """

    def __init__(self, centre: Tensor, noise: Tensor, loadings: Tensor, **options: Any):
        super().__init__(centre, len(loadings), **options)
        white = loadings / noise
        precision = 1.0 + white.square().sum(dim=1)  # of the posterior of each factor
        self.noise = nn.Buffer(noise.float())
        self.loadings = nn.Buffer(loadings.float())
        # (d, n_factors)
        self.reading = nn.Buffer((white / noise / precision[:, None]).T.float())
        self.log_std = nn.Buffer(-0.5 * precision.log().float())

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
        parts = zip(white.split(step), seen.split(step), strict=True)
        return torch.cat([self._solve(*part) for part in parts])

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
