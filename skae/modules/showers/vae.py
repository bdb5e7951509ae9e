"""A variational autoencoder for showers: each voxel is hit or not, and if it is, holds some energy."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.losses import in_double
from skae.modules.seeded import SeededModule
from skae.modules.showers.latents import Latents
from skae.modules.showers.scales import EnergyScale, NoiseShape, VoxelScale

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

#: energies up to this, in MeV, have no weight in the published loss
LEAST_WEIGHED_ENERGY = math.exp(6.0)

# Weights of large deviations are cut off here: exp(a (x - x̄)) has no other end.
_MOST_WEIGHT = 1e4


class Voxels(NamedTuple):
    """Output of a decoder for each voxel, ``(n, n_voxels)``."""

    logit: Tensor  # log-odds of a hit
    activation: Tensor  # value of a lit voxel, on average
    log_std: Tensor  # logarithm of its standard deviation

    def mean(self) -> Tensor:
        """Return what voxels hold on average, dark ones nothing."""
        return torch.sigmoid(self.logit) * self.activation


class ShowerAutoencoder(SeededModule):
    r"""Conditional on the incident energy, with a hierarchy of groups of latent coordinates.

    .. math::
        p(x | z, E) = \prod_v (1 - h_v)^{[x_v = 0]} \left(h_v\, N(x_v | m_v, s_v)\right)^{[x_v > 0]}

    The posterior of a group of latents sees the shower, the energy, and the groups before.

    Parameters
    ----------
    encoder : nn.Module
        Maps values and hits ``(n, 2, n_voxels)`` and the embedded energy ``(n, n_energy)`` to a summary
        ``(n, n_hidden)``.
    decoder : nn.Module
        Maps latents ``(n, k)`` and the embedded energy to what is said of voxels, ``(n, 3, n_voxels)``.
    latents : Latents
        Their posterior and prior.
    group_sizes : sequence of int
        Coordinates in each group.
    energies : EnergyScale
        Scale of the incident energies.
    voxels : VoxelScale
        Scale of lit voxels.
    n_hidden, n_energy : int
        Sizes of the summary and of the embedded energy.
    beta : float
        Weight of the divergence while training.
    unit : float
        What voxels are in units of: densities are those of the numbers themselves.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latents: Latents,
        *,
        group_sizes: list[int],
        energies: EnergyScale,
        voxels: VoxelScale,
        n_hidden: int,
        n_energy: int,
        beta: float,
        unit: float = 1.0,
    ):
        super().__init__()
        self.log_unit = math.log(unit)
        self.encoder, self.decoder, self.latents = encoder, decoder, latents
        self.voxels = voxels
        self.group_sizes = group_sizes
        layers = nn.Linear(1, n_energy), nn.GELU(), nn.Linear(n_energy, n_energy)
        self.embedding = nn.Sequential(energies, *layers)
        before = [sum(group_sizes[:i]) for i in range(len(group_sizes))]
        self.posteriors = nn.ModuleList(
            nn.Linear(n_hidden + known, latents.n_parameters * size)
            for known, size in zip(before, group_sizes, strict=True)
        )
        self.noise_shape = NoiseShape()
        self.full_beta = beta
        self.beta = nn.Buffer(torch.tensor(float(beta), dtype=torch.float32))

    # -- from showers to latents ---------------------------------------------------------------

    def posterior(self, x: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the posterior's parameters ``(n, k, n_parameters)`` and a draw ``(n, k)``.

        Without draws the groups' centres stand for draws.
        """
        energy, x = x[:, 0], x[:, 1:]
        seen = torch.stack([x / self.voxels.std, (x > 0.0).to(x.dtype)], dim=1)
        summary = self.encoder(seen, self.embedding(energy))
        known, parameters, start = [summary], [], 0
        for head, size in zip(self.posteriors, self.group_sizes, strict=True):
            part = head(torch.cat(known, dim=1)).unflatten(1, (size, -1))
            if draws is None:
                known.append(self.latents.centre(part))
            else:
                known.append(self.latents.draw(part, draws[:, start : start + size]))
            parameters.append(part)
            start += size
        return torch.cat(parameters, dim=1), torch.cat(known[1:], dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """Map showers ``(n, 1 + n_voxels)`` to the centres of their posteriors ``(n, k)``."""
        return self.posterior(x, None)[1]

    # -- from latents to showers ---------------------------------------------------------------

    def decode_voxels(self, z: Tensor, energy: Tensor) -> Voxels:
        """Say of each voxel what latents ``(n, k)`` and incident energies ``(n,)`` make of it."""
        outputs = self.decoder(z, self.embedding(energy)).float()
        logit, activation, log_std = outputs.unbind(1)
        return Voxels(logit, self.voxels.activation(activation), self.voxels.log_std(log_std))

    def decode(self, latent: Tensor) -> Tensor:
        """Map energies and latents ``(n, 1 + k)`` to the mean of each voxel ``(n, n_voxels)``."""
        return self.decode_voxels(latent[:, 1:], latent[:, 0]).mean()

    def observe(self, voxels: Voxels, generator: torch.Generator) -> Tensor:
        """Draw showers: hits, and the energies of those that are hit, ``(n, n_voxels)``."""
        logit, activation, log_std = voxels
        chance = torch.empty_like(logit).uniform_(generator=generator)
        hit = chance < torch.sigmoid(logit)
        mean, log_std = activation[hit], log_std[hit]
        relative = self.voxels.relative_spread(mean, log_std)
        value = mean + torch.exp(log_std) * self.noise_shape.draw(relative, generator)
        x = torch.zeros_like(activation)
        x[hit] = self.voxels.within(value)
        return x

    def sample(self, energy: Tensor, generator: torch.Generator) -> Tensor:
        """Draw showers of incident energies ``(n,)``, ``(n, n_voxels)``."""
        z = self.latents.sample(energy, sum(self.group_sizes), generator)
        return self.observe(self.decode_voxels(z, energy), generator)

    def reconstruct(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw showers with latents of the posteriors of showers, ``(n, n_voxels)``."""
        return self.observe(self._decode_drawn(x, generator), generator)

    def deviations(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return relative spreads of all lit voxels of showers, and deviations in units of spreads."""
        _, activation, log_std = self._decode_drawn(x, generator)
        x = x[:, 1:]
        lit = x > 0.0
        mean, log_std = activation[lit], log_std[lit]
        deviation = (x[lit] - mean) * torch.exp(-log_std)
        return self.voxels.relative_spread(mean, log_std), deviation

    def _decode_drawn(self, x: Tensor, generator: torch.Generator) -> Voxels:
        _, z = self.posterior(x, self.latents.draws(self._like_latents(x), generator))
        return self.decode_voxels(z, x[:, 0])

    def _like_latents(self, x: Tensor) -> Tensor:
        return x[:, :1].expand(-1, sum(self.group_sizes))

    # -- what is trained, and what is scored ---------------------------------------------------

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the three parts of :class:`Voxels` and the weighted divergence ``(n,)``."""
        like = self._like_latents(x)
        if self.training:
            with torch.autocast(x.device.type, enabled=False):
                self.latents.prepare()
            draws = self.drawn_for(like, lambda e: self.latents.draws(e, self.generator))
        else:
            fixed = self.latents.fixed_draws(64, like.shape[1]).to(x)
            draws = fixed[self.places(x) % len(fixed)]
        parameters, z = self.posterior(x, draws)
        voxels = self.decode_voxels(z, x[:, 0])
        beta = self.beta if self.training else self.full_beta
        with torch.autocast(x.device.type, enabled=False):  # chances need more than three digits
            divergence = self.latents.divergence(parameters.float(), z.float(), x[:, 0])
        return (*voxels, beta * divergence)

    def bound(self, x: Tensor, n_draws: int) -> Tensor:
        """Return the ELBO of each row, ``(n,)``, by draws that all rows share."""
        k = sum(self.group_sizes)
        total = torch.zeros_like(in_double(x[:, 0]))
        for draws in self.latents.fixed_draws(n_draws, k).to(x):
            parameters, z = self.posterior(x, draws.expand(len(x), k))
            total -= misfit(self.decode_voxels(z, x[:, 0]), x[:, 1:], self.log_unit)
            total -= self.latents.cost(parameters, in_double(z), x[:, 0])
        return total / n_draws - self.latents.log_normaliser(x[:, 0]).value


def misfit(voxels: Voxels, x: Tensor, log_unit: float = 0.0) -> Tensor:
    """Return the negative log-likelihood of voxels ``(n, n_voxels)``, ``(n,)``.

    ``log_unit`` is the logarithm of the unit in which all these are.
    """
    hit = (x > 0.0).to(x.dtype)
    deviation = (x - voxels.activation) * torch.exp(-voxels.log_std)
    lit = hit * (0.5 * deviation.square() + voxels.log_std + (log_unit + _HALF_LOG_2PI))
    return (functional.softplus(voxels.logit) - hit * voxels.logit + lit).sum(dim=1)


class ShowerLoss(nn.Module):
    r"""Negative ELBO, in which deviations of lit voxels may weigh more or less.

    The square of each is multiplied by

    .. math:: \tfrac{1}{2} \left(e^{a (x - \bar x)} + e^{-b (x - \bar x)}\right) w(E)

    with x̄ the mean of the lit voxels of the minibatch. The spread is learnt without weights.

    Parameters
    ----------
    a, b : float
        0 and 0 for the likelihood.
    energy_weight : bool
        Whether w is (ln E − 6) / 8, not below 0 and divided by its mean over the minibatch, or 1.
    unit : float
        What voxels are in units of; a and b are for the numbers themselves.
    """

    def __init__(
        self, a: float = 0.0, b: float = 0.0, energy_weight: bool = False, unit: float = 1.0
    ):
        super().__init__()
        self.a, self.b, self.energy_weight = a * unit, b * unit, energy_weight
        self.log_unit = math.log(unit)

    def forward(self, output: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``."""
        *voxels, penalty = output
        energy, x = target[:, 0], target[:, 1:]
        loss = misfit(Voxels(*voxels), x, self.log_unit) + penalty
        if not (self.a or self.b or self.energy_weight):
            return loss
        _, activation, log_std = voxels
        lit = (x > 0.0).to(x.dtype)
        squares = lit * ((x - activation) * torch.exp(-log_std.detach())).square()
        return loss + (0.5 * (self._weight(energy, x, lit) - 1.0) * squares).sum(dim=1)

    def _weight(self, energy: Tensor, x: Tensor, lit: Tensor) -> Tensor:
        above = x - (x * lit).sum() / lit.sum().clamp_min(1.0)
        weight = 0.5 * (torch.exp(self.a * above) + torch.exp(-self.b * above))
        if self.energy_weight:
            of_energy = torch.log(energy.clamp_min(LEAST_WEIGHED_ENERGY) / LEAST_WEIGHED_ENERGY)
            weight = weight * (of_energy / of_energy.mean().clamp_min(1e-6))[:, None]
        return weight.clamp_max(_MOST_WEIGHT)
