"""Coordinates of rows that have errors of their own: what an encoder needs to weigh each number."""

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double
from skae.modules.moments import Rows, chunks_of, usable_moments
from skae.modules.spectra.coordinates import ColumnWriter, Coordinates, Writer
from skae.modules.spectra.factor_analysis import FactorModel, posterior_of
from skae.modules.spectra.likelihoods import NoiseLikelihood
from skae.modules.spectra.linear import FactorAnalysis, RowSums, SeenRows, first_factors

# Steps of expectation-maximisation by which factors are found that are only a beginning.
_N_STEPS = 30

# Logarithms of errors, in spreads of the columns, are kept within these.
_LOG_ERROR_RANGE = (-8.0, 8.0)

# Smallest noise beyond the errors that is looked for, in spreads of the columns.
_LEAST_NOISE = 1e-4


class ColumnsWithErrors(Coordinates):
    """Standardised columns, minus the logarithms of their errors, and a 1 for each that was observed.

    What was not observed is read as the mean, with an error of 1, and a 0.

    Parameters
    ----------
    centre, scale : Tensor of shape (d,)
        Mean and standard deviation of each column.
    likelihood : NoiseLikelihood
        Knows which numbers are errors, and what is to be added to them.
    n_outputs : int
        Numbers in what a decoder writes.
    """

    def __init__(
        self,
        centre: Tensor,
        scale: Tensor,
        likelihood: NoiseLikelihood,
        n_outputs: int | None = None,
    ):
        spread = float(scale.square().mean().sqrt())
        super().__init__(
            centre, n_outputs or len(centre), noise_floor=_LEAST_NOISE * spread, has_gaps=True
        )
        self.n_inputs = 3 * len(centre)
        self.scale = nn.Buffer(scale.float())
        self.likelihood = likelihood

    @property
    def noise(self) -> Tensor:
        """A first guess of the noise, ``(1,)``: what the columns spread by."""
        return self.scale.square().mean().sqrt()[None]

    def writer(self, centre: Tensor, slope: Tensor) -> Writer | ColumnWriter:
        """Return the way back."""
        return ColumnWriter(centre, self.scale * slope)

    def read(self, x: Tensor) -> Tensor:
        """Map rows ``(n, 2 d)`` to ``(n, 3 d)``."""
        values = self.likelihood.values(x)
        seen = ~torch.isnan(values)
        errors = self.likelihood.noise_of(x).detach() / self.scale
        # where errors are larger than the spread nothing is told, however large the number
        weight = 1.0 / (1.0 + errors.square())
        standard = torch.where(seen, (values - self.centre) / self.scale, 0.0)
        precision = torch.where(seen, -errors.log().clamp(*_LOG_ERROR_RANGE), 0.0)
        return torch.cat([standard * weight, precision, seen.to(standard.dtype)], dim=1)


class FactorsWithErrors(ColumnsWithErrors):
    """Posteriors of the factors of a linear model, means and log σ, and behind them the columns.

    Parameters
    ----------
    model : FactorModel
        The linear model.
    scale, likelihood
        As of :class:`ColumnsWithErrors`.
    unit : Tensor of shape (d,)
        Typical noise of each column.
    """

    def __init__(
        self, model: FactorModel, scale: Tensor, unit: Tensor, likelihood: NoiseLikelihood
    ):
        super().__init__(model.centre, scale, likelihood, len(model.loadings))
        self.n_inputs += 2 * len(model.loadings)
        self.loadings = nn.Buffer(model.loadings.float())
        self.scatter = nn.Buffer(model.scatter.float())
        self.unit = nn.Buffer(unit.float())

    @property
    def noise(self) -> Tensor:
        """A first guess of the noise beyond the errors, ``(1,)``."""
        return self.scatter.mean().sqrt()[None]

    def writer(self, centre: Tensor, slope: Tensor) -> Writer:
        """Return the way back."""
        return Writer(centre, self.loadings * slope, self.unit * slope)

    def read(self, x: Tensor) -> Tensor:
        """Map rows ``(n, 2 d)`` to ``(n, 2 k + 3 d)``."""
        parts = self.centre, self.loadings, self.scatter
        model = FactorModel(*(in_double(part) for part in parts))
        known = posterior_of(model, *self.likelihood.values_and_variances(in_double(x)))
        log_std = 0.5 * known.covariance.diagonal(dim1=1, dim2=2).log()
        return torch.cat([known.mean.float(), log_std.float(), super().read(x)], dim=1)


def columns_with_errors(
    rows: Rows, weight: Rows | None, likelihood: NoiseLikelihood
) -> ColumnsWithErrors:
    """Take means and spreads from rows that have errors."""
    mean, variance, _ = usable_moments(SeenRows(rows, likelihood), weight, gaps=True)
    return ColumnsWithErrors(mean, _spread_of(variance), likelihood)


def factors_with_errors(
    rows: Rows,
    weight: Rows | None,
    likelihood: NoiseLikelihood,
    n_factors: int,
    *,
    learns_scatter: bool,
    smooth_around: Tensor | None,
) -> FactorsWithErrors:
    """Fit a linear model to rows that have errors, by some steps of expectation-maximisation."""
    start = first_factors(rows, weight, likelihood, n_factors, at_random=False)
    likelihood.learn_noise(start.scatter.sqrt(), 0.0)
    module = FactorAnalysis(
        start,
        likelihood,
        learns_scatter=learns_scatter,
        doubts_loadings=False,
        learns_misfit=False,
        smooth_around=smooth_around,
    )
    for _ in range(_N_STEPS):
        sums = RowSums(module)
        for x, share in chunks_of(rows, weight):
            sums.add(x, share)
        module.maximise(sums)
    model, of_each = module.plain_model, sums.expected
    unit = (of_each.total / of_each.squares[:, -1].clamp_min(1e-30)).sqrt()
    _, variance, _ = usable_moments(SeenRows(rows, likelihood), weight, gaps=True)
    return FactorsWithErrors(model, _spread_of(variance), unit, likelihood)


def _spread_of(variance: Tensor) -> Tensor:
    """Return spreads of columns, that of all where one is constant."""
    spread = variance.clamp_min(0.0).sqrt()
    typical = spread.square().mean().sqrt().clamp_min(1e-12)
    return torch.where(spread > 1e-6 * typical, spread, typical)
