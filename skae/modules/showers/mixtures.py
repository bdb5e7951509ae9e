"""Mixtures, one for each layer of a shower: of normal distributions, and of discrete logistic ones.

A network writes what is added to the parameters that a mixture starts with, at the quantiles of the
training data: rare values are as frequent as they should be before anything is learnt.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skae.modules.showers.scales import LEAST_CHANCE

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)

# The standard deviation of the logistic distribution is π/√3.
_STEEPNESS = math.pi / math.sqrt(3.0)

# Components, and the logarithms that their widths are kept within.
_N_COMPONENTS = 8
_LOG_STD_RANGE = (-5.0, 2.0)

# Fewest values of a layer of which quantiles are taken; layers with less share those of all.
_FEWEST = 20

# Probabilities of counts are no smaller, lest rounding make them 0.
_LEAST_PROBABILITY = 1e-12


class Random(NamedTuple):
    """Random numbers behind draws: of components ``(..., n_components)``, and around these ``(...)``."""

    chances: Tensor
    noise: Tensor

    def at(self, i: int) -> "Random":
        """Return those of one column, the first axis."""
        return Random(self.chances[i], self.noise[i])


class _Mixture(nn.Module):
    """Weights, places and widths of components, of values with mean 0 and spread 1."""

    def __init__(self, n_mixtures: int, n_components: int = _N_COMPONENTS):
        super().__init__()
        self.n_components = n_components
        self.start = nn.Parameter(torch.zeros(n_mixtures, 3 * n_components))
        self.mean = nn.Buffer(torch.zeros(n_mixtures))
        self.std = nn.Buffer(torch.ones(n_mixtures))

    @property
    def n_parameters(self) -> int:
        """Numbers that a network writes for a mixture."""
        return 3 * self.n_components

    @torch.no_grad()
    def start_at(self, values: Tensor, there: Tensor | None = None) -> None:
        """Take means, spreads and quantiles from values ``(n, n_mixtures)``, where there are any."""
        if there is None:
            there = torch.ones_like(values, dtype=torch.bool)
        together = values[there]
        for i, column in enumerate(there.T):
            own = values[column, i]
            own = own if len(own) >= _FEWEST else together
            if len(own) < 2:
                continue
            spread = self._least_spread(own.std(correction=0))
            self.mean[i], self.std[i] = own.mean(), spread
            self.start[i] = self._at_quantiles((own - own.mean()) / spread)

    def _least_spread(self, spread: Tensor) -> Tensor:
        return spread.clamp_min(1e-3)

    def _at_quantiles(self, values: Tensor) -> Tensor:
        k = self.n_components
        chances = (torch.arange(k, dtype=values.dtype) + 0.5) / k
        places = torch.quantile(values[: 2**20], chances)
        gaps = torch.gradient(places)[0] if k > 1 else torch.ones(1)
        widths = torch.log((0.8 * gaps).clamp_min(0.1))
        return torch.cat([torch.zeros(k), places, widths])

    def _parts(self, written: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, place, width = (written + start).float().chunk(3, dim=-1)
        return torch.log_softmax(weight, dim=-1), place, width.clamp(*_LOG_STD_RANGE)

    def random(self, size: Sequence[int], generator: torch.Generator | None) -> Random:
        """Return random numbers for draws of each column, of this size."""
        like = self.start
        noise = torch.empty(size, dtype=torch.float32, device=like.device)
        chances = like.new_empty(*size, self.n_components)
        # the largest of weights and these is that of a draw (Gumbel, 1954)
        chances = chances.exponential_(generator=generator).log_().neg_()
        return Random(chances, self._noise(noise, generator))

    def _noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        return like.normal_(generator=generator)

    def _component(self, written: Tensor, random: Random, i: int) -> tuple[Tensor, Tensor]:
        """Draw a component of mixture i for each row: its place and its width, ``(n,)``."""
        parts = (written + self.start[i]).unflatten(1, (3, self.n_components))
        chosen = (parts[:, 0] + random.chances).argmax(dim=1)
        place, width = parts[:, 1:].gather(2, chosen[:, None, None].expand(-1, 2, 1)).unbind(1)
        return place[:, 0], width[:, 0].clamp(*_LOG_STD_RANGE).exp()


class NormalMixture(_Mixture):
    """Mixtures of normal distributions.

    Parameters
    ----------
    n_mixtures : int
        One for each column of values.
    n_components : int
        Components of each.
    """

    def log_prob(self, written: Tensor, values: Tensor) -> Tensor:
        """Return log densities of values ``(n, m)``, ``written`` being ``(n, m, n_parameters)``."""
        weight, place, width = self._parts(written, self.start)
        scaled = ((values - self.mean) / self.std)[..., None]
        squares = ((scaled - place) * torch.exp(-width)).square()
        each = weight - 0.5 * squares - width - _HALF_LOG_2PI
        return torch.logsumexp(each, dim=-1) - torch.log(self.std)

    @torch.no_grad()
    def draw(self, written: Tensor, random: Random, i: int) -> Tensor:
        """Draw values of column i, ``(n,)``, ``written`` being ``(n, n_parameters)``."""
        place, width = self._component(written, random, i)
        return torch.addcmul(place, width, random.noise) * self.std[i] + self.mean[i]


class CountMixture(_Mixture):
    """Mixtures of logistic distributions of the root of a count, from 1 to the number of voxels.

    Parameters
    ----------
    most : sequence of int
        Largest count of each column.
    """

    def __init__(self, most: Sequence[int]):
        super().__init__(len(most))
        self.most = nn.Buffer(torch.tensor(most, dtype=torch.float32))

    @torch.no_grad()
    def start_at(self, values: Tensor, there: Tensor | None = None) -> None:
        """As of all mixtures, from counts ``(n, n_mixtures)``."""
        super().start_at(torch.sqrt(values), there)

    def _least_spread(self, spread: Tensor) -> Tensor:
        return spread.clamp_min(0.1)

    def log_prob(self, written: Tensor, values: Tensor) -> Tensor:
        """Return log probabilities of counts ``(n, m)``, ``written`` being ``(n, m, n_parameters)``."""
        weight, place, width = self._parts(written, self.start)
        above = self._below(values + 0.5, place, width)
        below = self._below(values - 0.5, place, width)
        above = torch.where((values >= self.most)[..., None], 1.0, above)
        below = torch.where((values <= 1.0)[..., None], 0.0, below)
        chance = (above - below).clamp_min(_LEAST_PROBABILITY)
        return torch.logsumexp(weight + torch.log(chance), dim=-1)

    def _below(self, edge: Tensor, place: Tensor, width: Tensor) -> Tensor:
        scaled = (torch.sqrt(edge) - self.mean) / self.std
        # a logistic distribution of spread 1 is steeper than the sigmoid
        return torch.sigmoid((scaled[..., None] - place) * torch.exp(-width) * _STEEPNESS)

    def _noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        chance = like.uniform_(LEAST_CHANCE, 1.0 - LEAST_CHANCE, generator=generator)
        return torch.logit(chance) / _STEEPNESS

    @torch.no_grad()
    def draw(self, written: Tensor, random: Random, i: int) -> Tensor:
        """Draw counts of column i, ``(n,)``, ``written`` being ``(n, n_parameters)``."""
        place, width = self._component(written, random, i)
        root = torch.addcmul(place, width, random.noise) * self.std[i] + self.mean[i]
        counts = torch.round(root.clamp_min(0.0).square()).clamp_min(1.0)
        return torch.minimum(counts, self.most[i])
