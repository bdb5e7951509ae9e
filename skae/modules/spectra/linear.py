"""The linear Gaussian model with errors of each row: posteriors and likelihoods known, fitted by EM."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double
from skae.modules.moments import Rows, leading_axes, usable_moments
from skae.modules.seeded import SeededModule
from skae.modules.spectra.factor_analysis import (
    ExpectedSums,
    FactorModel,
    Posterior,
    posterior_of,
)
from skae.modules.spectra.likelihoods import NoiseLikelihood
from skae.modules.spectra.principal import FilledRows
from skae.modules.spectra.priors import NormalPrior

# Least variance beyond the errors whose logarithm is kept, in units of the rows.
_LEAST_SCATTER = 1e-30


class FactorAnalysis(SeededModule):
    """Rows as sums of a few loadings, whose factors' posterior is known for each row's own errors.

    It stands where :class:`~skae.modules.spectra.vae.VariationalAutoencoder` does, whose bound it
    replaces by the likelihood itself.

    Parameters
    ----------
    start : FactorModel
        What it begins with.
    likelihood : NoiseLikelihood
        Gaussian, with errors of rows; its noise is the scatter beyond them.
    learns_scatter : bool
        Whether that is learnt.
    doubts_loadings : bool
        Whether posteriors know that loadings and the mean row are not known exactly.
    learns_misfit : bool
        Whether they allow for what the factors do not follow.
    smooth_around : Tensor of shape (d,) or None
        What was taken off the pixels, if loadings and means of those that few rows tell of follow their
        neighbours.
    """

    #: nothing is approximated
    is_closed = True

    def __init__(
        self,
        start: FactorModel,
        likelihood: NoiseLikelihood,
        *,
        learns_scatter: bool,
        doubts_loadings: bool,
        learns_misfit: bool,
        smooth_around: Tensor | None,
    ):
        super().__init__()
        self.likelihood, self.learns_scatter = likelihood, learns_scatter
        self.doubts_loadings, self.is_smooth = doubts_loadings, smooth_around is not None
        # steps matter, no more: what all pixels share would cost digits
        taken_off = (
            torch.zeros(0) if smooth_around is None else smooth_around - smooth_around.mean()
        )
        self.taken_off = nn.Buffer(taken_off.double())
        self.centre = nn.Parameter(start.centre.float())
        self.loadings = nn.Parameter(start.loadings.float())
        self.scatter = nn.Buffer(start.scatter.float())
        k, d = start.loadings.shape
        n_pairs = (k + 1) * (k + 2) // 2 if doubts_loadings else 0
        self.uncertainty = nn.Buffer(torch.zeros(d, n_pairs, dtype=torch.float32))
        self.learns_misfit = learns_misfit
        self.misfit = nn.Buffer(torch.zeros(d if learns_misfit else 0, dtype=torch.float32))
        self.prior = NormalPrior(k)
        self.full_beta = 1.0
        self.beta = nn.Buffer(torch.ones((), dtype=torch.float32))

    @property
    def model(self) -> FactorModel:
        """The model, in double precision."""
        uncertainty = in_double(self.uncertainty) if self.doubts_loadings else None
        misfit = in_double(self.misfit) if self.learns_misfit else None
        return replace(self.plain_model, uncertainty=uncertainty, misfit=misfit)

    @property
    def plain_model(self) -> FactorModel:
        """The same without doubt or misfit: the Gaussian that rows are scored by."""
        parts = self.centre, self.loadings, self.scatter
        return FactorModel(*(in_double(part.detach()) for part in parts))

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers and squared errors of rows, infinite where nothing was observed."""
        return self.likelihood.values_and_variances(in_double(x))

    def known(self, x: Tensor) -> Posterior:
        """Return the posterior of rows ``(n, 2 d)``."""
        return posterior_of(self.model, *self.seen(x))

    def widened(self, x: Tensor) -> Posterior:
        """Return the same as wide as the misfit makes it."""
        model = self.model
        numbers, variance = self.seen(x)
        return model.widened(posterior_of(model, numbers, variance), variance)

    def forward(self, x: Tensor) -> Tensor:
        """Return minus the log-likelihood of each row, ``(n,)``."""
        return -self.bound(x, 1, 1)

    # -- what an estimator asks for ------------------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log standard deviations of the posterior, each ``(n, k)``."""
        known = self.widened(x)
        variances = known.covariance.diagonal(dim1=1, dim2=2)
        return known.mean.float(), 0.5 * variances.log().float()

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to the means of their posteriors."""
        return self.known(x).mean.float()

    def decode(self, z: Tensor) -> Tensor:
        """Map factors to the mean rows ``(n, d)``."""
        return torch.addmm(self.centre, z, self.loadings)

    def bound(self, x: Tensor, n_importance: int, n_draws: int) -> Tensor:
        """Return the log-likelihood of each row, ``(n,)``: no draws are needed."""
        numbers, variance = self.seen(x)
        n_seen = torch.isfinite(variance).sum(dim=1)
        each = posterior_of(self.plain_model, numbers, variance).log_likelihood
        return each - n_seen * math.log(self.likelihood.unit)

    def mean_and_std(self, x: Tensor, n_draws: int) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the decoded posterior, each ``(n, d)``."""
        known, model = self.widened(x), self.model
        variance = model.variances(known)
        if model.misfit is not None:
            variance = variance + model.misfit  # what factors do not follow belongs to the row
        return model.centre + known.mean @ model.loadings, variance.clamp_min(0.0).sqrt()

    # -- expectation-maximisation --------------------------------------------------------------

    def begin_sums(self) -> "RowSums":
        """Return what rows are to be added to."""
        return RowSums(self)

    @torch.no_grad()
    def maximise(self, sums: "RowSums") -> None:
        """Take the model under which the rows that were added are likelier."""
        better = sums.expected.better(
            smooth_around=self.taken_off if self.is_smooth else None,
            with_uncertainty=self.doubts_loadings,
        )
        self.centre.copy_(better.centre)
        self.loadings.copy_(better.loadings)
        self.scatter.copy_(better.scatter)
        if better.uncertainty is not None:
            self.uncertainty.copy_(better.uncertainty)
        if better.misfit is not None:
            self.misfit.copy_(better.misfit)
        if self.learns_scatter and self.likelihood.noise_floor == 0.0:
            self.likelihood.log_noise.copy_(0.5 * better.scatter.clamp_min(_LEAST_SCATTER).log())


class RowSums:
    """Sums over rows as a network sees them.

    Parameters
    ----------
    module : FactorAnalysis
        Whose model is to be replaced.
    """

    def __init__(self, module: FactorAnalysis):
        self.module = module
        self.expected = ExpectedSums(module.model, module.learns_scatter)

    @torch.no_grad()
    def add(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Add rows; return minus their mean log-likelihood."""
        numbers, variance = self.module.seen(x)
        share = torch.ones_like(numbers[:, 0]) if weight is None else weight.to(numbers)
        each = self.expected.add(numbers, variance, share)
        n_seen = torch.isfinite(variance).sum(dim=1)
        each = each - n_seen * math.log(self.module.likelihood.unit)
        return -(share @ each) / len(x)


class SeenRows:
    """Numbers of rows that have errors behind them, NaN where nothing was observed.

    Parameters
    ----------
    rows : rows of shape (n, n_parts d)
        Slices are asked of them, no more.
    likelihood : NoiseLikelihood
        Knows which are which.
    """

    def __init__(self, rows: Rows, likelihood: NoiseLikelihood):
        self.rows, self.likelihood = rows, likelihood
        self.shape, self.dtype = (
            torch.Size((len(rows), rows.shape[1] // likelihood.n_parts)),
            rows.dtype,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Tensor:
        return self.likelihood.values(self.rows[part])


def first_factors(
    rows: Rows,
    weight: Rows | None,
    likelihood: NoiseLikelihood,
    n_components: int,
    *,
    at_random: bool,
) -> FactorModel:
    """Return a model to begin with: principal components of rows whose gaps hold the mean.

    Its scatter is what these leave. Draws from torch's global random state.
    """
    seen = SeenRows(rows, likelihood)
    mean, variance, absolute = usable_moments(seen, weight, gaps=True)
    whole = float(variance.mean())
    if at_random:
        axes = torch.linalg.qr(torch.randn(len(mean), n_components, dtype=torch.float64)).Q
        values = torch.full((n_components,), whole, dtype=torch.float64)
    else:
        filled = FilledRows(seen, lambda part: mean.float().expand_as(part))
        ones = torch.ones_like(mean)
        values, axes = leading_axes(filled, mean, ones, weight, absolute, n_components)
    rest = max(whole - float(values.sum()) / len(mean), 1e-4 * whole)
    loadings = (axes * values.clamp_min(1e-4 * whole).sqrt()).T
    known = likelihood.is_known
    scatter = (
        likelihood.noise.detach().double().square() if known else torch.tensor([rest]).double()
    )
    return FactorModel(mean, loadings, scatter)


class Mean(nn.Module):
    """The criterion of a module that returns the loss of each row itself."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the output."""
        return output
