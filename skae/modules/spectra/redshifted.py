"""Spectra as sums of curves over rest wavelengths, seen at a redshift that is found for each row."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double
from skae.modules.seeded import SeededModule
from skae.modules.spectra.likelihoods import NoiseLikelihood
from skae.modules.spectra.priors import NormalPrior
from skae.modules.spectra.shifted import (
    AtShift,
    Nodes,
    Seen,
    ShiftedModel,
    ShiftedSums,
    bound_of,
    joint_posterior,
    log_likelihood,
    posterior_of,
    shift_of,
    steps_of,
    variance_of,
)
from skae.modules.spectra.vae import fixed_draws

# Least variance beyond the errors, in units of the rows.
_LEAST_SCATTER = 1e-30


class RedshiftedFactors(SeededModule):
    """Rows whose first latent coordinate is a redshift, given which they are linear in the others.

    It stands where :class:`~skae.modules.spectra.vae.VariationalAutoencoder` does. Its posterior is not
    read off a network, but looked for, row by row.

    Parameters
    ----------
    start : ShiftedModel
        What it begins with.
    likelihood : NoiseLikelihood
        Gaussian, with errors of rows; its noise is the scatter beyond them.
    learns_scatter : bool
        Whether that is learnt.
    learns_misfit : bool
        Whether posteriors and bands allow for what the curves do not follow.
    doubts_curves : bool
        Whether bands know that curves are not known exactly.
    """

    #: the integral over the redshift is not
    is_closed = False

    def __init__(
        self,
        start: ShiftedModel,
        likelihood: NoiseLikelihood,
        *,
        learns_scatter: bool,
        learns_misfit: bool,
        doubts_curves: bool,
    ):
        super().__init__()
        self.frame, self.likelihood = start.frame, likelihood
        self.learns_scatter, self.learns_misfit = learns_scatter, learns_misfit
        self.curves = nn.Parameter(start.curves.float())
        self.scatter = nn.Buffer(start.scatter.float())
        d = len(start.frame) if learns_misfit else 0
        self.misfit = nn.Buffer(torch.zeros(d, dtype=torch.float32))
        self.doubts_curves, k = doubts_curves, start.k
        n_pairs = (k + 1) * (k + 2) // 2 if doubts_curves else 0
        nothing = torch.zeros(start.frame.n_knots, n_pairs, dtype=torch.float32)
        self.uncertainty = nn.Buffer(nothing)
        self.prior = NormalPrior(k + 1)
        self.full_beta = 1.0
        self.beta = nn.Buffer(torch.ones((), dtype=torch.float32))

    @property
    def model(self) -> ShiftedModel:
        """The model, in double precision."""
        misfit = in_double(self.misfit) if self.learns_misfit else None
        uncertainty = in_double(self.uncertainty) if self.doubts_curves else None
        parts = in_double(self.curves.detach()), in_double(self.scatter)
        return ShiftedModel(self.frame, *parts, misfit, uncertainty)

    def seen(self, x: Tensor) -> Seen:
        """Return rows ``(n, 2 d)`` with what their numbers tell."""
        x, variance = self.likelihood.values_and_variances(in_double(x))
        return Seen.of(x, variance, in_double(self.scatter))

    def known(self, x: Tensor) -> tuple[ShiftedModel, Seen, AtShift]:
        """Return the model, rows ``(n, 2 d)``, and what is known of them."""
        model, rows = self.model, self.seen(x)
        return model, rows, posterior_of(model, rows, Nodes(model))

    def forward(self, x: Tensor) -> Tensor:
        """Return minus the approximate log-likelihood of each row, ``(n,)``."""
        _, rows, known = self.known(x)
        return self._units_of(rows) - log_likelihood(known)

    def _units_of(self, rows: Seen) -> Tensor:
        # densities are those of the numbers themselves
        return (rows.weight > 0.0).sum(dim=1) * math.log(self.likelihood.unit)

    # -- what an estimator asks for ------------------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log standard deviations of the posterior, each ``(n, k + 1)``."""
        mean, covariance, _ = joint_posterior(*self.known(x))
        return mean.float(), 0.5 * covariance.diagonal(dim1=1, dim2=2).log().float()

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to the centres of their posteriors."""
        known = self.known(x)[2]
        return torch.cat([known.t[:, None], known.z], dim=1).float()

    def decode(self, z: Tensor) -> Tensor:
        """Map latent coordinates to the mean rows ``(n, d)``."""
        shift, _ = shift_of(z[:, 0], self.frame.reach)  # in single precision, which graphs know
        with_one = torch.cat([z[:, 1:], torch.ones_like(z[:, :1])], dim=1)
        return self.frame.observed(with_one @ self.curves.T, in_double(shift))

    def bound(self, x: Tensor, n_importance: int, n_draws: int) -> Tensor:
        """Return the bound of each row on its log-likelihood, ``(n,)``.

        With ``n_importance`` > 1 it is the importance-weighted one.
        """
        model, rows, known = self.known(x)
        draws = None
        if n_importance > 1:
            n_groups = max(1, n_draws // n_importance)
            draws = fixed_draws(n_importance * n_groups, 1).to(rows.x).view(n_groups, n_importance)
        return bound_of(model, rows, known, draws) - self._units_of(rows)

    def mean_and_std(self, x: Tensor, n_draws: int) -> tuple[Tensor, Tensor]:
        """Return the row at the posterior's centre, and its standard deviation to first order."""
        model, rows, known = self.known(x)
        return known.mean, variance_of(model, rows, known).clamp_min(0.0).sqrt()

    # -- expectation-maximisation --------------------------------------------------------------

    def begin_sums(self) -> "RowSums":
        """Return what rows are to be added to."""
        return RowSums(self)

    @torch.no_grad()
    def maximise(self, sums: "RowSums") -> None:
        """Take the model under which the rows that were added are likelier."""
        expected, model = sums.expected, sums.model
        steps, with_doubt = steps_of(model.curves), self.doubts_curves
        curves, uncertainty = expected.better(steps, with_uncertainty=with_doubt)
        self.curves.copy_(curves)
        if uncertainty is not None:
            self.uncertainty.copy_(uncertainty)
        if self.learns_misfit:
            misfit = expected.misfit / expected.misfit_weights.clamp_min(1e-300)
            self.misfit.copy_(misfit.clamp_min(0.0))
        if self.learns_scatter:
            change = expected.excess.sum() / expected.weights.sum()
            self.scatter.copy_((model.scatter * change).clamp_min(_LEAST_SCATTER))
            self.likelihood.log_noise.copy_(0.5 * self.scatter.log())


class RowSums:
    """Sums over rows as a network sees them.

    Parameters
    ----------
    module : RedshiftedFactors
        Whose model is to be replaced.
    """

    def __init__(self, module: RedshiftedFactors):
        self.module, self.model = module, module.model
        self.nodes = Nodes(self.model)
        self.expected = ShiftedSums(self.model.frame, self.model.k, self.model.curves)

    @torch.no_grad()
    def add(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Add rows; return minus their mean log-likelihood."""
        module, model = self.module, self.model
        rows = module.seen(x)
        share = torch.ones_like(rows.constant) if weight is None else weight.to(rows.x)
        known = posterior_of(model, rows, self.nodes)
        self.expected.add(rows, shift_of(known.t, model.frame.reach)[0], known.factors, share)
        if module.learns_scatter or module.learns_misfit:
            plain = replace(model, misfit=None)
            squares = (rows.x - known.mean).square() + variance_of(plain, rows, known)
        if module.learns_scatter:
            self.expected.add_scatter(rows, squares, share)
        if model.misfit is not None:
            _, variance = module.likelihood.values_and_variances(in_double(x))
            if not module.learns_scatter:
                variance = variance + model.scatter
            self.expected.add_misfit(variance, squares, model.misfit, share)
        each = log_likelihood(known) - module._units_of(rows)
        return -(share @ each) / len(x)
