"""The variational autoencoder: posterior, mean and the bound on the likelihood that they give."""

import math

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double
from skae.modules.seeded import SeededModule
from skae.modules.spectra.coordinates import ColumnWriter, Coordinates, Writer
from skae.modules.spectra.likelihoods import Likelihood
from skae.modules.spectra.priors import Prior, normal_log_prob

# Fixed draws are made in blocks of so many pairs.
_DRAWN_AT_ONCE = 32

# Logarithms of posterior standard deviations are kept within these.
_LOG_STD_RANGE = (-15.0, 5.0)


class VariationalAutoencoder(SeededModule):
    r"""Kingma & Welling, 2014, arXiv:1312.6114; Rezende et al., 2014, arXiv:1401.4082.

    Trained on the evidence lower bound (ELBO) of each row,

    .. math:: E_{q(z|x)} \ln p(x|z) - \beta\,\mathrm{KL}(q(z|x) \,\|\, p(z)) \le \ln p(x),

    with independent Gaussians q. The expectation is taken with one draw a row, or exactly where it is
    known: with Gaussian noise around a linear decoder.

    Parameters
    ----------
    encoder : nn.Module
        Maps what ``reading`` reads, ``(n, n_inputs)``, to the means and the log standard deviations
        of the posterior, ``(n, 2 n_components)``.
    decoder : nn.Module
        Maps latent coordinates ``(n, n_components)`` to what ``writing`` writes, ``(n, n_outputs)``.
    reading : Coordinates
        From rows to what the encoder reads.
    writing : nn.Module
        From what the decoder writes to rows.
    likelihood : Likelihood
        Distribution of a row around its mean, and the criterion of a fit.
    prior : Prior
        Distribution of the latent coordinates.
    beta : float
        Weight of the divergence while training.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        reading: Coordinates,
        writing: Writer | ColumnWriter,
        likelihood: Likelihood,
        prior: Prior,
        *,
        beta: float = 1.0,
    ):
        super().__init__()
        # a stack of one layer is that layer: whether a decoder is linear is seen by its type
        if isinstance(decoder, nn.Sequential) and len(decoder) == 1:
            decoder = decoder[0]
        self.encoder, self.decoder = encoder, decoder
        self.reading, self.writing = reading, writing
        self.likelihood, self.prior = likelihood, prior
        self.full_beta = beta
        self.beta = nn.Buffer(torch.tensor(float(beta), dtype=torch.float32))

    @property
    def is_closed(self) -> bool:
        """Whether the bound of a row is known without draws."""
        is_linear = isinstance(self.decoder, nn.Linear | nn.Identity)
        return is_linear and self.likelihood.is_quadratic and self.prior.is_closed

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log standard deviations of the posterior, each ``(n, n_components)``."""
        mean, log_std = self.encoder(self.reading(x)).chunk(2, dim=1)
        return mean, log_std.clamp(*_LOG_STD_RANGE)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows ``(n, d)`` to the means of their posteriors."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Map latent coordinates to the mean rows ``(n, d)``."""
        return self.likelihood.link(self.writing(self.decoder(z)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean row, noise, and what the bound is lowered by: the criterion's three inputs."""
        mean, log_std = self.posterior(x)
        noise = self.likelihood.noise_of(x)
        z = mean if self.is_closed else mean + torch.exp(log_std) * self._draw(mean)
        penalty = self._weight() * self.prior.divergence(mean, log_std, z)
        if self.is_closed:
            penalty = penalty + self._spread_of_linear(x, log_std, noise)
        return self.decode(z), noise, penalty

    def _weight(self) -> Tensor | float:
        # rows held out are judged by the bound that is trained for in the end
        return self.beta if self.training else self.full_beta

    def _draw(self, mean: Tensor) -> Tensor:
        if self.training:
            return self.drawn_for(mean, lambda empty: empty.normal_(generator=self.generator))
        draws = fixed_draws(64, mean.shape[1]).to(mean)
        return draws[self.places(mean) % len(draws)]

    def _spread_of_linear(self, x: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
        """Return what the posterior's width adds to the squared deviations of a linear decoder."""
        if isinstance(self.writing, Writer) and isinstance(self.decoder, nn.Identity):
            loadings = self.writing.loadings  # (n_components, d)
        else:
            axes = self.decoder.get_parameter("weight").T
            loadings = self.writing(axes) - self.writing.centre
        variance = torch.exp(2.0 * log_std)
        if not self.likelihood.has_gaps:
            return variance @ (0.5 * (loadings / noise).square()).sum(dim=1)
        seen = ~torch.isnan(self.likelihood.values(x))
        counted = torch.where(seen, (0.5**0.5) / noise, 0.0).square()
        return (variance * (counted @ loadings.square().T)).sum(dim=1)

    def bound(self, x: Tensor, n_importance: int, n_draws: int) -> Tensor:
        """Return the bound of each row on its log-likelihood, ``(n,)``, by draws that all rows share.

        With ``n_importance`` > 1 it is the importance-weighted one (Burda et al., 2016,
        arXiv:1509.00519), averaged over the groups that ``n_draws`` draws make.
        """
        # what does not depend on the latents is added once: it may be far larger than differences of rows
        noise, values = self.likelihood.noise_of(x), self.likelihood.values(x)
        peak = self.likelihood.log_peak(in_double(values), in_double(noise))
        mean, log_std = self.posterior(x)
        if self.is_closed and n_importance == 1:
            misfit = self.likelihood.misfit(values, self.decode(mean), noise)
            spread = self._spread_of_linear(x, log_std, noise)
            return peak - misfit - spread - self.prior.divergence(mean, log_std, mean)
        if n_importance == 1:
            draws = matched_draws(n_draws, mean.shape[1]).to(mean)
        else:
            whole_groups = n_importance * max(1, n_draws // n_importance)
            draws = fixed_draws(whole_groups, mean.shape[1]).to(mean)
        total = torch.zeros_like(mean[:, 0])
        group: list[Tensor] = []
        for draw in draws:
            z = mean + torch.exp(log_std) * draw
            log_prob = -self.likelihood.misfit(values, self.decode(z), noise)
            if n_importance == 1:
                total += log_prob - self.prior.divergence(mean, log_std, z)
                continue
            group.append(log_prob + self.prior.log_prob(z) - normal_log_prob(z, mean, log_std))
            if len(group) == n_importance:
                total += torch.logsumexp(torch.stack(group), dim=0) - math.log(n_importance)
                group = []
        return peak + total * (n_importance / len(draws))

    def mean_and_std(self, x: Tensor, n_draws: int) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the decoded posterior, each ``(n, d)``."""
        mean, log_std = self.posterior(x)
        centre = self.decode(mean)
        first, second = torch.zeros_like(centre), torch.zeros_like(centre)
        draws = matched_draws(n_draws, mean.shape[1]).to(mean)
        for draw in draws:
            deviation = self.decode(mean + torch.exp(log_std) * draw) - centre
            first += deviation / len(draws)
            second += deviation.square() / len(draws)
        variance = (second - first.square()).clamp_min(0.0)
        return centre + first, variance.sqrt()


def fixed_draws(n: int, n_columns: int) -> Tensor:
    """Return n draws of a standard normal distribution for each column, in pairs of opposite sign.

    They are always the same, and the first ones of many are those of few.
    """
    generator = torch.Generator().manual_seed(0)
    # in blocks of one size: torch draws other numbers where it is asked for another number of them
    blocks = [
        torch.randn(_DRAWN_AT_ONCE, n_columns, generator=generator, dtype=torch.float32)
        for _ in range(0, n, 2 * _DRAWN_AT_ONCE)
    ]
    half = torch.cat(blocks)
    return torch.stack([half, -half], dim=1).flatten(0, 1)[:n]


def matched_draws(n: int, n_columns: int) -> Tensor:
    """Return such draws with exactly mean 0 and covariance 1: averages of squares are exact."""
    draws = fixed_draws(n, n_columns).double()
    if n % 2 or n <= 2 * n_columns:  # too few to have a covariance of full rank
        return draws.float()
    root = torch.linalg.cholesky(draws.T @ draws / n)
    return torch.linalg.solve_triangular(root, draws.T, upper=False).T.float()
