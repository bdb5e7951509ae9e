"""A variational autoencoder for showers: layers first, then voxels, hit or not, and their energies."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double
from skae.modules.seeded import SeededModule
from skae.modules.showers.blocks import Shape, over_voxels, sums_over_layers
from skae.modules.showers.deviations import Deviations, deviations_of, normal_of
from skae.modules.showers.fluctuations import widening
from skae.modules.showers.latents import Latents
from skae.modules.showers.layers import LayerModel, Layers, layers_of
from skae.modules.showers.likelihood import Voxels, freedom, misfit
from skae.modules.showers.neighbours import NeighbourField, mixed
from skae.modules.showers.scales import (
    LEAST_CHANCE,
    EnergyScale,
    NoiseShape,
    VoxelEnergy,
    VoxelScale,
)

# Share of the least energy that every hit has above it.
_LITTLE = 1e-3

# Log-odds are shifted by so much where all voxels are hit.
_BEYOND_ALL = 50.0


class ShowerAutoencoder(SeededModule):
    r"""Layers given the incident energy, then voxels given layers and a hierarchy of latents.

    .. math::
        p(x | E) = p(l | E) \int \prod_v (1 - h_v)^{[x_v = 0]}
        \left(h_v\, N(x_v | m_v, s_v)^{f_v}\right)^{[x_v > 0]} p(z)\, dz

    with l the energies and hits of layers, on which :math:`h_v, m_v, s_v` depend beside z and E, and
    :math:`f_v = (n - 1) / n` in a layer with n hits, whose energies have one number less to tell. What is
    drawn has these energies and hits exactly, and voxels by random numbers that neighbours share. The
    posterior of a group of latents sees the shower, the energy, and the groups before.

    Parameters
    ----------
    encoder : VoxelEncoder
        Maps values and hits of voxels, layers and the embedded energy to a summary ``(n, n_hidden)``.
    decoder : VoxelDecoder
        Maps latents, layers and the embedded energy to what is said of voxels, ``(n, 3, n_voxels)``.
    latents : Latents
        Their posterior and prior.
    layers : LayerModel
        Density of the layers.
    shapes : sequence of (int, int, int)
        Layers, angles and radii of neighbouring layers that are divided alike.
    group_sizes : sequence of int
        Coordinates in each group.
    energies : EnergyScale
        Scale of the incident energies.
    voxels : VoxelScale
        Scale of lit voxels.
    voxel_energy : VoxelEnergy
        What voxels are as energies.
    n_hidden, n_energy : int
        Sizes of the summary and of the embedded energy.
    beta : float
        Weight of the divergence while training.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latents: Latents,
        layers: LayerModel,
        *,
        shapes: list[Shape],
        group_sizes: list[int],
        energies: EnergyScale,
        voxels: VoxelScale,
        voxel_energy: VoxelEnergy,
        n_hidden: int,
        n_energy: int,
        beta: float,
    ):
        super().__init__()
        self.encoder, self.decoder, self.latents, self.layers = encoder, decoder, latents, layers
        self.voxels, self.voxel_energy = voxels, voxel_energy
        self.log_unit = math.log(voxel_energy.unit)
        self.group_sizes = group_sizes
        self.shapes = list(shapes)
        numbers = torch.arange(self.n_layers, dtype=torch.float32)
        self.layer_of_voxel = nn.Buffer(over_voxels(numbers[None, None], shapes)[0, 0].long())
        energy_layers = nn.Linear(1, n_energy), nn.GELU(), nn.Linear(n_energy, n_energy)
        self.embedding = nn.Sequential(energies, *energy_layers)
        before = [sum(group_sizes[:i]) for i in range(len(group_sizes))]
        self.posteriors = nn.ModuleList(
            nn.Linear(n_hidden + known, latents.n_parameters * size)
            for known, size in zip(before, group_sizes, strict=True)
        )
        self.noise_shape = NoiseShape()
        self.field = NeighbourField(shapes)
        self.full_beta = beta
        self.beta = nn.Buffer(torch.tensor(float(beta), dtype=torch.float32))

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return sum(shape[0] for shape in self.shapes)

    # -- from showers to layers and latents ----------------------------------------------------

    def layers_of(self, x: Tensor) -> Layers:
        """Return energies and hits of the layers of showers ``(n, 1 + n_voxels)``."""
        return layers_of(x, self.voxel_energy, self.shapes)

    def posterior(self, x: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the posterior's parameters ``(n, k, n_parameters)`` and a draw ``(n, k)``.

        Without draws the groups' centres stand for draws.
        """
        energy, voxels = x[:, 0], x[:, 1:]
        seen = torch.stack([voxels / self.voxels.std, (voxels > 0.0).to(x.dtype)], dim=1)
        of_layers = self.layers.describe(self.layers_of(x), energy)
        summary = self.encoder(seen, of_layers, self.embedding(energy))
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
        """Map showers ``(n, 1 + n_voxels)`` to layers and centres of posteriors."""
        return torch.cat([*self.layers_of(x), self.posterior(x, None)[1]], dim=1)

    # -- from latents to showers ---------------------------------------------------------------

    def decode_voxels(self, z: Tensor, energy: Tensor, layers: Layers) -> Voxels:
        """Say of each voxel what latents ``(n, k)``, incident energies ``(n,)`` and layers make of it."""
        of_layers = self.layers.describe(layers, energy)
        outputs = self.decoder(z, of_layers, self.embedding(energy)).float()
        logit, activation, log_std = (outputs + self.expected(layers, energy)).unbind(1)
        return Voxels(logit, self.voxels.activation(activation), self.voxels.log_std(log_std))

    def expected(self, layers: Layers, energy: Tensor) -> Tensor:
        """Return what a decoder would write if a layer's voxels were alike, ``(n, 3, n_voxels)``."""
        volumes = self.layers.volumes
        odds = torch.logit((layers.hits + 0.5) / (volumes + 1.0))
        each = self.voxel_energy.back(layers.energy / layers.hits.clamp_min(1.0), energy)
        written = self.voxels.written(torch.where(layers.hits > 0.0, each, self.voxels.least))
        said = torch.stack([odds, written, torch.zeros_like(odds)], dim=1)
        return over_voxels(said, self.shapes)

    def decode(self, latent: Tensor) -> Tensor:
        """Map energies, layers and latents to the mean of each voxel ``(n, n_voxels)``."""
        energy, layers, z = self.split(latent)
        return self.decode_voxels(z, energy, layers).mean()

    def split(self, latent: Tensor) -> tuple[Tensor, Layers, Tensor]:
        """Return incident energies, layers and latents, ``(n, 1 + 2 n_layers + k)`` together."""
        m = self.n_layers
        energy, of_layers, hits, z = latent.split([1, m, m, latent.shape[1] - 2 * m - 1], dim=1)
        # no more than a layer has room for, and some where there is energy
        hits = torch.minimum(hits.round().clamp_min(0.0), self.layers.volumes)
        lit = of_layers > 0.0
        hits = torch.where(lit, hits.clamp_min(1.0), 0.0)
        return energy[:, 0], Layers(of_layers.clamp_min(0.0), hits), z

    def observe(
        self, voxels: Voxels, energy: Tensor, layers: Layers, generator: torch.Generator
    ) -> Tensor:
        """Draw showers with these energies and hits of layers, ``(n, n_voxels)``."""
        hit, uniform, strength, beyond = self._hits(voxels.logit, layers.hits, generator)
        # from here on hits alone, one voxel in ten or fewer
        where = hit.flatten().nonzero()[:, 0]
        row, voxel = where // hit.shape[1], where % hit.shape[1]
        layer = row * self.n_layers + self.layer_of_voxel[voxel]
        logit, mean, log_std, uniform, strength = (
            part.flatten()[where] for part in (*voxels, uniform, strength)
        )
        # given the first number that makes no hit, those that do lie anywhere below; what one leaves of
        # that room is the number of the energy, but for noise of its own
        rest = 1.0 - uniform / torch.sigmoid(logit + beyond.flatten()[layer])
        own = torch.empty_like(rest).normal_(generator=generator)
        rest = torch.special.ndtr(mixed(normal_of(rest), own, strength))
        rest = rest.clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE)
        relative = self.voxels.relative_spread(mean, log_std)
        noise = self.noise_shape.draw(relative, mean, rest)
        x = torch.zeros_like(voxels.activation)

        def sums(part: Tensor) -> Tensor:
            whole = torch.zeros_like(x)
            whole.view(-1)[where] = part
            return sums_over_layers(whole, self.shapes).flatten()[layer]

        noise = noise * self._widening(mean, log_std, energy[row], sums)
        value = mean + torch.exp(log_std) * noise
        x.view(-1)[where] = self.voxels.within(value)
        return self._scaled(x, where, energy[row], layers, layer)

    def _widening(
        self, mean: Tensor, log_std: Tensor, incident: Tensor, sums: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return what spreads of hits ``(m,)`` are multiplied by, for their layers are scaled."""
        least, step = self.layers.least, 0.1 * torch.exp(log_std)
        low, middle, high = (
            self.voxel_energy.of(value[:, None], incident)[:, 0]
            for value in (mean - step, mean, mean + step)
        )
        held = (middle - least).clamp_min(_LITTLE * least)
        return widening((high - low) / (0.2 * held), held, sums)

    def _scaled(
        self, x: Tensor, where: Tensor, incident: Tensor, layers: Layers, layer: Tensor
    ) -> Tensor:
        """Scale what hits hold above the least to the energies of the layers that they lie in."""
        least, flat = self.layers.least, x.view(-1)
        energy = self.voxel_energy.of(flat[where, None], incident)[:, 0]
        # a little above the least, so that there is something to scale
        flat[where] = (energy - least).clamp_min(0.0) + _LITTLE * least
        total = sums_over_layers(x, self.shapes)
        factor = (layers.energy - layers.hits * least).clamp_min(0.0) / total
        # hits of less than the least, where somebody asks for less
        lowest = torch.minimum(layers.energy / layers.hits.clamp_min(1.0), least)
        energy = lowest.flatten()[layer] + flat[where] * factor.flatten()[layer]
        value = self.voxel_energy.back(energy, incident)
        flat[where] = value.clamp_max(self.voxels.most) if self.voxels.bounded else value
        return x

    def _hits(
        self, logit: Tensor, n_hits: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw as many hits as layers have; return these, uniform numbers, strengths, and shifts.

        Hits are where uniform numbers are below chances whose log-odds are shifted, layer by layer, until
        that many voxels are hit. Returned are shifts that would hit one more.
        """
        normal, strength = self.field.draw(logit, generator)
        uniform = torch.special.ndtr(-normal).clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE)
        needed = torch.logit(uniform) - logit
        hits, shifts, start, layer = [], [], 0, 0
        for n_layers, n_angles, n_radii in self.shapes:
            stop = start + n_layers * n_angles * n_radii
            part = needed[:, start:stop].unflatten(1, (n_layers, -1))
            of_block, beyond = _smallest(part, n_hits[:, layer : layer + n_layers])
            hits.append(of_block.flatten(1))
            shifts.append(beyond)
            start, layer = stop, layer + n_layers
        return torch.cat(hits, dim=1), uniform, strength, torch.cat(shifts, dim=1)

    def sample(self, energy: Tensor, generator: torch.Generator) -> Tensor:
        """Draw showers of incident energies ``(n,)``, ``(n, n_voxels)``."""
        layers = self.layers.sample(energy, generator)
        z = self.latents.sample(energy, sum(self.group_sizes), generator)
        return self.observe(self.decode_voxels(z, energy, layers), energy, layers, generator)

    def reconstruct(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw showers with layers of showers, and latents of their posteriors, ``(n, n_voxels)``."""
        voxels, layers = self._decode_drawn(x, generator)
        return self.observe(voxels, x[:, 0], layers, generator)

    def _decode_drawn(self, x: Tensor, generator: torch.Generator) -> tuple[Voxels, Layers]:
        _, z = self.posterior(x, self.latents.draws(self._like_latents(x), generator))
        layers = self.layers_of(x)
        return self.decode_voxels(z, x[:, 0], layers), layers

    def _like_latents(self, x: Tensor) -> Tensor:
        return x[:, :1].expand(-1, sum(self.group_sizes))

    # -- what is found at the end of training --------------------------------------------------

    @torch.no_grad()
    def learn_noise(self, parts: list[Tensor], generator: torch.Generator) -> None:
        """Take the shape of the noise around lit voxels from showers, part by part."""
        seen = []
        for x in parts:
            voxels, _ = self._decode_drawn(x, generator)
            lit = x[:, 1:] > 0.0
            mean, log_std = voxels.activation[lit], voxels.log_std[lit]
            relative = self.voxels.relative_spread(mean, log_std)
            seen.append((relative, mean, (x[:, 1:][lit] - mean) * torch.exp(-log_std)))
        self.noise_shape.learn(*(torch.cat(each) for each in zip(*seen, strict=True)))

    @torch.no_grad()
    def learn_field(
        self, parts: list[Tensor], some: list[Tensor], generator: torch.Generator, *, afresh: bool
    ) -> None:
        """Find what neighbouring voxels have in common, from showers, part by part.

        Those of ``some`` are drawn anew, again and again, to compare.
        """
        decoded = [(x[:, 0], *self._decode_drawn(x, generator)) for x in some]

        def real() -> Iterator[tuple[Deviations, Tensor]]:
            for x in parts:
                voxels, _ = self._decode_drawn(x, generator)
                yield self._deviations(x[:, 1:], voxels), voxels.logit

        def redraw() -> Iterator[tuple[Deviations, Tensor]]:
            for energy, voxels, layers in decoded:
                drawn = self.observe(voxels, energy, layers, generator)
                yield self._deviations(drawn, voxels), voxels.logit

        self.field.learn(real(), redraw, afresh=afresh)

    def _deviations(self, x: Tensor, voxels: Voxels) -> Deviations:
        """Return what voxels ``(n, n_voxels)`` tell of the random numbers by which they were drawn."""
        hit = x > 0.0
        mean, log_std = voxels.activation[hit], voxels.log_std[hit]
        relative = self.voxels.relative_spread(mean, log_std)
        chances = self.noise_shape.chances(relative, mean, (x[hit] - mean) * torch.exp(-log_std))
        return deviations_of(voxels.logit, hit, *chances)

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
        voxels = self.decode_voxels(z, x[:, 0], self.layers_of(x))
        beta = self.beta if self.training else self.full_beta
        with torch.autocast(x.device.type, enabled=False):  # chances need more than three digits
            divergence = self.latents.divergence(parameters.float(), z.float(), x[:, 0])
        return (*voxels, beta * divergence)

    def bound(self, x: Tensor, n_draws: int) -> Tensor:
        """Return log p of layers and the ELBO of voxels given them, ``(n,)``; all rows share draws."""
        k = sum(self.group_sizes)
        layers = self.layers_of(x)
        free = freedom(layers, self.shapes)
        total = torch.zeros_like(in_double(x[:, 0]))
        for draws in self.latents.fixed_draws(n_draws, k).to(x):
            parameters, z = self.posterior(x, draws.expand(len(x), k))
            voxels = self.decode_voxels(z, x[:, 0], layers)
            total -= misfit(voxels, x[:, 1:], self.log_unit, free)
            total -= self.latents.cost(parameters, in_double(z), x[:, 0])
        of_layers = self.layers.log_prob(layers, x[:, 0])
        return total / n_draws + of_layers - self.latents.log_normaliser(x[:, 0]).value


def _smallest(numbers: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Return which numbers ``(m, n_layers, d)`` are the n smallest of a layer, and the next one of each.

    By rank: equal numbers must not let one pass too many, which would put all that is drawn behind out of
    step.
    """
    ordered, places = torch.sort(numbers, dim=2, stable=True)
    count, n = numbers.shape[2], n.long()[..., None]
    among = torch.arange(count, device=n.device) < n
    smallest = torch.zeros_like(among).scatter_(2, places, among)
    following = ordered.gather(2, n.clamp_max(count - 1))
    return smallest, torch.where(n < count, following, _BEYOND_ALL)[..., 0]
