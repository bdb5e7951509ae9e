"""Energies and hits of a shower's layers: read off showers, and drawn before any voxel is.

Layers come one after the other in depth, each given those in front of it. What is drawn first is the
total, of which later layers see how much is left, but no finer than what two layers hold on average.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.showers.blocks import Shape, sums_over_layers
from skae.modules.showers.mixtures import CountMixture, NormalMixture
from skae.modules.showers.scales import LEAST_CHANCE, EnergyScale, VoxelEnergy

#: numbers that are said of each layer
N_OF_LAYER = 6

# Numbers that a layer is told of the one in front, and of the shower as a whole.
_N_BEFORE, _N_WHOLE = 4, 3

_N_HIDDEN, _N_PLACE = 64, 16

# Share of the total below which energies are as good as none.
_FINE = 1e-4

# Of what is left of the total, what so many layers hold on average is as good as nothing. A finer account
# would force the last layers to spend what the others, drawn less finely, have left them.
_LAYERS_LEFT = 2.0

# Factors by which layers may be stretched to make up the total.
_LEAST_STRETCH, _MOST_STRETCH = 0.5, 2.0

# What a recurrent layer consists of.
_OF_MEMORY = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

# Share of a mean voxel's energy that stands in for none.
_NOTHING = 1e-3


class Layers(NamedTuple):
    """Energy and number of hits of each layer, ``(n, n_layers)``."""

    energy: Tensor
    hits: Tensor


def layers_of(x: Tensor, voxel_energy: VoxelEnergy, shapes: Sequence[Shape]) -> Layers:
    """Return energies and hits of the layers of showers ``(n, 1 + n_voxels)``."""
    energy = voxel_energy.of(x[:, 1:], x[:, 0])
    return Layers(
        sums_over_layers(energy, shapes), sums_over_layers((x[:, 1:] > 0.0).to(x.dtype), shapes)
    )


class LayerModel(nn.Module):
    r"""Density of the energies and hits of a shower's layers, given its incident energy.

    .. math::
        p(T | E) \prod_l p(\text{lit}_l | \cdot)\, p(\ln e_l | \cdot)\, p(n_l | e_l, \cdot)

    with T the logarithm of the total over the incident energy, and a recurrent network that has seen T
    and the layers in front. Energies are mixtures of normal distributions, hits of discrete logistic ones
    (Salimans et al., 2017, arXiv:1701.05517) that start at the training showers' quantiles.

    Parameters
    ----------
    energies : EnergyScale
        Scale of the incident energies.
    layers : Layers
        Of training showers, from which scales are taken.
    incident : Tensor of shape (n,)
        Their incident energies.
    volumes : sequence of int
        Voxels of each layer.
    least : float
        Smallest energy of a hit.
    """

    def __init__(
        self,
        energies: EnergyScale,
        layers: Layers,
        incident: Tensor,
        volumes: Sequence[int],
        least: float,
    ):
        super().__init__()
        self.energies = energies
        energy, hits = layers
        lit = hits > 0.0
        n_layers = len(volumes)
        typical = energy.double().sum() / hits.double().sum().clamp_min(1.0)
        self.typical = nn.Buffer(typical.clamp_min(least).float())
        self.least = nn.Buffer(torch.tensor(least, dtype=torch.float32))
        self.volumes = nn.Buffer(torch.tensor(volumes, dtype=torch.float32))
        self.total = NormalMixture(1, 1)
        self.total_body = nn.Sequential(
            nn.Linear(1, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64)
        )
        self.total_head = nn.Linear(64, self.total.n_parameters)
        total = self._total(energy.sum(dim=1), incident)
        self.total.start_at(total[:, None])
        self.total_range = nn.Buffer(torch.stack([total.min(), total.max()]))
        self.memory = nn.GRU(_N_BEFORE, _N_HIDDEN, batch_first=True)
        self.place = nn.Parameter(0.1 * torch.randn(n_layers, _N_PLACE))
        n_known = _N_HIDDEN + _N_PLACE + _N_WHOLE + _N_BEFORE
        self.body = nn.Sequential(
            nn.Linear(n_known, _N_HIDDEN), nn.GELU(), nn.Linear(_N_HIDDEN, _N_HIDDEN), nn.GELU()
        )
        self.lit_head = nn.Linear(_N_HIDDEN, 1)
        rate = (lit.double().sum(dim=0) + 0.5) / (len(lit) + 1.0)
        self.lit_odds = nn.Parameter(torch.logit(rate).float())
        self.energy = NormalMixture(n_layers)
        self.energy_head = nn.Linear(_N_HIDDEN, self.energy.n_parameters)
        self.energy.start_at(self._log(energy), lit)
        self.with_energy = nn.Linear(_N_HIDDEN + 3, _N_HIDDEN)
        self.hits = CountMixture(volumes)
        self.hits_head = nn.Linear(_N_HIDDEN, self.hits.n_parameters)
        self.hits.start_at(hits, lit)
        for head in (self.total_head, self.lit_head, self.energy_head, self.hits_head):
            nn.init.normal_(head.weight, std=0.1 / math.sqrt(head.in_features))
            nn.init.zeros_(head.bias)

    # -- what layers are described by ----------------------------------------------------------

    def describe(self, layers: Layers, incident: Tensor) -> Tensor:
        """Return what is said of each layer, ``(n, n_layers, N_OF_LAYER)``."""
        energy, hits = layers
        each = energy / hits.clamp_min(1.0)
        return torch.stack([
            torch.log1p(hits) / torch.log1p(self.volumes) * 2.0 - 1.0,
            hits / self.volumes * 4.0 - 1.0,
            self._share(energy, incident[:, None]),
            torch.log1p(each / self.typical) - 0.5,
            (hits > 0.0).to(energy.dtype),
            1.0 / (hits + 1.0),
        ], dim=-1)  # fmt: skip

    def _log(self, energy: Tensor) -> Tensor:
        return torch.log(energy.clamp_min(0.01 * self.least) / self.typical)

    def _total(self, total: Tensor, incident: Tensor) -> Tensor:
        """Return the logarithm of the total over the incident energy, neither of which may be 0."""
        nothing = _NOTHING * self.typical
        return torch.log((total + nothing) / (incident + nothing))

    def _share(self, energy: Tensor, whole: Tensor) -> Tensor:
        return 0.5 * torch.log(energy / (whole + _NOTHING * self.typical) + _FINE) + 2.0

    def _whole(self, incident: Tensor, total: Tensor) -> Tensor:
        """Return what is said of a shower as a whole, ``(n, 2)``."""
        scaled = (self._total(total, incident)[:, None] - self.total.mean) / self.total.std
        return torch.cat([self.energies(incident), scaled], dim=1)

    def _left(self, left: Tensor, total: Tensor) -> Tensor:
        share = (left / (total + _NOTHING * self.typical)).clamp_min(0.0)
        return 0.5 * torch.log(share + _LAYERS_LEFT / len(self.volumes))

    def _before(self, layers: Layers, total: Tensor, volumes: Tensor) -> Tensor:
        """Return what layers ``(n, m)`` tell those behind, ``(n, m, 4)``."""
        energy, hits = layers
        lit = (hits > 0.0).to(energy.dtype)
        return torch.stack([
            2.0 * torch.sqrt(hits / volumes),
            self._share(energy, total[:, None]),
            0.5 * torch.log1p(energy / self.typical),
            lit,
        ], dim=-1)  # fmt: skip

    def _of_energy(self, known: Tensor, energy: Tensor, incident: Tensor) -> Tensor:
        level = torch.log1p(energy / self.typical)
        told = torch.stack(
            [0.5 * level, 0.1 * level.square(), self._share(energy, incident)], dim=-1
        )
        return functional.gelu(self.with_energy(torch.cat([known, told], dim=-1)))

    def _total_parameters(self, incident: Tensor) -> Tensor:
        return self.total_head(functional.gelu(self.total_body(self.energies(incident))))

    # -- density -------------------------------------------------------------------------------

    def log_prob(self, layers: Layers, incident: Tensor) -> Tensor:
        """Return the logarithm of the density of ``ln e`` and hits of layers, ``(n,)``."""
        energy, hits = layers
        total = energy.sum(dim=1)
        spent = functional.pad(energy.cumsum(dim=1)[:, :-1], (1, 0))
        before = self._before(layers, total, self.volumes)
        before = functional.pad(before[:, :-1], (0, 0, 1, 0))
        memory, _ = self.memory(before)
        left = self._left(total[:, None] - spent, total[:, None])
        whole = self._whole(incident, total)[:, None].expand(-1, len(self.volumes), -1)
        place = self.place.expand(len(energy), -1, -1)
        known = self.body(torch.cat([memory, before, left[..., None], place, whole], dim=2))
        lit = hits > 0.0
        odds = self.lit_head(known)[..., 0] + self.lit_odds
        chance = -functional.softplus(torch.where(lit, -odds, odds))
        of_energy = self.energy.log_prob(self.energy_head(known), self._log(energy))
        seen = self._of_energy(known, energy, incident[:, None])
        of_hits = self.hits.log_prob(self.hits_head(seen), hits.clamp_min(1.0))
        of_total = self.total.log_prob(
            self._total_parameters(incident)[:, None], self._total(total, incident)[:, None]
        )
        of_layers = chance + torch.where(lit, of_energy + of_hits, 0.0)
        return of_total[:, 0] + of_layers.sum(dim=1)

    # -- draws ---------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, incident: Tensor, generator: torch.Generator | None, energy: Tensor | None = None
    ) -> Layers:
        """Draw layers of showers with these incident energies ``(n,)``.

        With energies of layers ``(n, n_layers)`` only hits are drawn.
        """
        n, n_layers = len(incident), len(self.volumes)
        total = self._draw_total(incident, generator) if energy is None else energy.sum(dim=1)
        of_energy = self.energy.random((n_layers, n), generator)
        of_hits = self.hits.random((n_layers, n), generator)
        lit = torch.empty_like(of_hits.noise).uniform_(generator=generator)
        lit = torch.logit(lit.clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE))
        weights = [getattr(self.memory, f"{name}_l0") for name in _OF_MEMORY]
        whole = self._whole(incident, total)
        left, state = total, incident.new_zeros(n, _N_HIDDEN)
        before = incident.new_zeros(n, _N_BEFORE)
        drawn: list[Layers] = []
        for i in range(n_layers):
            state = torch.gru_cell(before, state, *weights)
            place, of_left = self.place[i].expand(n, -1), self._left(left, total)[:, None]
            known = self.body(torch.cat([state, before, of_left, place, whole], dim=1))
            if energy is None:
                odds = self.lit_head(known)[:, 0] + self.lit_odds[i]
                log = self.energy.draw(self.energy_head(known), of_energy.at(i), i)
                # thrown back, where clamped ones would pile up
                each = self.least + (torch.exp(log) * self.typical - self.least).abs()
                each = torch.where(lit[i] < odds, each, 0.0)
            else:
                each = energy[:, i]
            seen = self._of_energy(known, each, incident)
            hits = self.hits.draw(self.hits_head(seen), of_hits.at(i), i)
            # no more hits than the energy allows
            hits = torch.minimum(hits, (each / self.least).floor()).clamp_min(1.0)
            layer = Layers(each, torch.where(each > 0.0, hits, 0.0))
            drawn.append(layer)
            known_layer = Layers(each[:, None], layer.hits[:, None])
            before = self._before(known_layer, total, self.volumes[i])[:, 0]
            left = left - each
        layers = Layers(*(torch.stack(part, dim=1) for part in zip(*drawn, strict=True)))
        return layers if energy is not None else self._stretched(layers, total)

    def _draw_total(self, incident: Tensor, generator: torch.Generator | None) -> Tensor:
        random = self.total.random((len(incident),), generator)
        level = torch.exp(self.total.draw(self._total_parameters(incident), random, 0))
        nothing = _NOTHING * self.typical
        return (level * (incident + nothing) - nothing).clamp_min(0.0)

    def _stretched(self, layers: Layers, total: Tensor) -> Layers:
        """Make up the total by what layers have above the least that their hits need."""
        energy, hits = layers
        floor = hits * self.least
        above = (energy - floor).clamp_min(0.0)
        wanted = (total - floor.sum(dim=1)) / above.sum(dim=1).clamp_min(0.01 * self.least)
        stretch = wanted.clamp(_LEAST_STRETCH, _MOST_STRETCH)[:, None]
        return Layers(floor + above * stretch, hits)
