"""Scales of showers, taken from the training rows: energies, lit voxels, and the noise around these."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.blocks import inverse_softplus
from skae.modules.moments import Rows, chunks_of

# A sigmoid reaches its end nowhere: it ends a little above the largest value.
_ROOM = 1.05

# Logarithms of the spread of a lit voxel, in units of the spread of all of them, are kept within these.
_LOG_STD_RANGE = (-6.0, 2.0)


# Single precision ends at exp(88).
_MOST_LOG = 85.0

#: R of the logit. With odds w and a share ε: w = c ε / (1 − b ε), the logit being log(1 + w).
LEAST_SHARE = 1e-7
_OF_ODDS = (1.0 - 2.0 * LEAST_SHARE) / (1.0 - LEAST_SHARE)
_PER_SHARE = _OF_ODDS / LEAST_SHARE

#: uniform random numbers are kept away from 0 and 1
LEAST_CHANCE = 1e-6


class EnergyScale(nn.Module):
    """Incident energies as logarithms with mean 0 and standard deviation 1; zero is no exception.

    Parameters
    ----------
    energy : Tensor of shape (n,)
        Energies of the training rows.
    weight : Tensor of shape (n,) or None
        Their weights, none negative.
    """

    def __init__(self, energy: Tensor, weight: Tensor | None = None):
        super().__init__()
        energy = energy.double()
        positive = energy[energy > 0.0]
        offset = positive.min() if len(positive) else torch.tensor(1.0, dtype=torch.float64)
        logs = torch.log(energy + offset)
        share = torch.ones_like(logs) if weight is None else weight.double()
        share = share / share.sum()
        mean = share @ logs
        spread = (share @ (logs - mean).square()).sqrt()
        self.offset = nn.Buffer(offset.float())
        self.mean = nn.Buffer(mean.float())
        self.std = nn.Buffer(spread.clamp_min(1e-3).float())

    def forward(self, energy: Tensor) -> Tensor:
        """Map ``(n,)`` to ``(n, 1)``."""
        return ((torch.log(energy + self.offset) - self.mean) / self.std)[:, None]


class LitMoments(NamedTuple):
    """Range and spread of all lit voxels, and each voxel's own, ``(n_voxels,)``."""

    least: float
    most: float
    std: float
    rate: Tensor
    mean: Tensor
    own_std: Tensor


class VoxelScale(nn.Module):
    """Range of lit voxels, and their spread: the unit in which the network sees and predicts them.

    Parameters
    ----------
    lit : LitMoments
        Moments of lit voxels in the training rows.
    bounded : bool
        Whether no voxel may exceed the largest value.
    """

    def __init__(self, lit: LitMoments, bounded: bool):
        super().__init__()
        self.bounded = bounded
        self.least, self.most, self.std = (
            nn.Buffer(torch.tensor(value, dtype=torch.float32)) for value in lit[:3]
        )

    def activation(self, u: Tensor) -> Tensor:
        """Return values for what the network writes."""
        if self.bounded:
            return _ROOM * self.most * torch.sigmoid(u)
        return self.std * functional.softplus(u)

    def outputs(self, lit: LitMoments) -> Tensor:
        """Return what a decoder writes that says this of every shower, ``(3, n_voxels)``."""
        log_std = torch.log(lit.own_std / lit.std)
        return torch.stack([torch.logit(lit.rate), self.written(lit.mean), log_std])

    def written(self, value: Tensor) -> Tensor:
        """Return what the network writes for values: the way back."""
        if self.bounded:
            return torch.logit((value / (_ROOM * self.most)).clamp(1e-3, 1.0 - 1e-3))
        return inverse_softplus((value / self.std).clamp_min(1e-3))

    def within(self, value: Tensor) -> Tensor:
        """Return what lit voxels may hold: no less than any, and no more than all in training."""
        # thrown back, where clamped ones would pile up
        value = self.least + (value - self.least).abs()
        return value.clamp(max=self.most) if self.bounded else value

    def relative_spread(self, activation: Tensor, log_std: Tensor) -> Tensor:
        """Return spreads over how far means are above the smallest lit voxel."""
        return torch.exp(log_std) / (activation - self.least).clamp_min(1e-3 * self.std)

    def log_std(self, u: Tensor) -> Tensor:
        """Return logarithms of spreads for what the network writes."""
        return u.clamp(*_LOG_STD_RANGE) + torch.log(self.std)


def lit_moments(x: Rows, weight: Tensor | None = None) -> LitMoments:
    """Return moments of the lit voxels of showers ``(n, 1 + n_voxels)``, wherever these are read from.

    Weights ``(n,)`` are not negative; showers whose weight is 0 are left out.
    """
    n_voxels = x.shape[1] - 1
    sums, n = torch.zeros(3, n_voxels, dtype=torch.float64), 0.0
    least, most = math.inf, 0.0
    for rows, share in chunks_of(x, weight):
        part, share = rows[share > 0.0, 1:], share[share > 0.0]
        lit = part > 0.0
        n += float(share.sum())
        sums += torch.stack([share @ lit.double(), share @ part, share @ part.square()])
        if lit.any():
            least, most = min(least, float(part[lit].min())), max(most, float(part.max()))
    count, total, squares = sums
    if not count.any():  # dark, all of them
        ones = torch.ones(n_voxels)
        return LitMoments(1.0, 1.0, 1.0, 0.5 / (n + 1.0) * ones, ones, ones)
    centre = total.sum() / count.sum()
    spread = squares.sum() / count.sum() - centre.square()
    std = float(spread.clamp_min(1e-6 * centre.square()).sqrt())
    # as if each voxel had been seen once more, like all of them on average
    rate = (count + count.sum() / (n * n_voxels)) / (n + 1.0)
    mean = (total + centre) / (count + 1.0)
    variance = (squares + std**2 + centre.square()) / (count + 1.0) - mean.square()
    rate = rate.clamp(1e-6, 1.0 - 0.5 / (n + 1.0))
    own_std = variance.clamp_min(1e-4 * std**2).sqrt()
    return LitMoments(least, most, std, rate.float(), mean.float(), own_std.float())


class VoxelEnergy(nn.Module):
    r"""What the numbers that stand for voxels are as energies, and back.

    Parameters
    ----------
    kind : {"log1p", "logit", "energy"}
        Numbers x are log(1 + E), or the logit of what E has of the incident energy as
        LogRatioTransformer defines it, or energies.
    unit : float
        What x is in units of.
    """

    def __init__(self, kind: str, unit: float):
        super().__init__()
        self.kind, self.unit = kind, unit

    def of(self, x: Tensor, incident: Tensor) -> Tensor:
        """Return energies of voxels ``(n, n_voxels)``, given incident energies ``(n,)``."""
        x = x * self.unit
        if self.kind == "energy":
            return x
        odds = torch.expm1(x.clamp_max(_MOST_LOG))
        if self.kind == "log1p":
            return odds
        return incident[:, None] * odds / (_PER_SHARE + _OF_ODDS * odds)

    def back(self, energy: Tensor, incident: Tensor) -> Tensor:
        """Return the numbers that stand for energies ``(n, ...)``, of which the logit may be infinite."""
        if self.kind == "energy":
            return energy / self.unit
        if self.kind == "logit":
            incident = incident.view(-1, *[1] * (energy.ndim - 1))
            share = energy / incident.clamp_min(torch.finfo(incident.dtype).tiny)
            share = share.clamp_max(1.0)
            energy = _PER_SHARE * share / (1.0 - _OF_ODDS * share)
        return torch.log1p(energy) / self.unit


# Points of the quantile function of the noise, closer together towards the ends; classes of the spread of
# voxels, and of the mean in each of these.
_N_QUANTILES, _N_SPREADS, _N_MEANS = 129, 8, 6
_N_CLASSES = _N_SPREADS * _N_MEANS
_FARTHEST = 1e-4

# Even chances by which the mean and the spread of what is drawn are found.
_N_CHANCES = 2**14


class NoiseShape(nn.Module):
    """Distribution of deviations of lit voxels from their mean, in units of their spread.

    They are standard normal as long as nothing is known. :meth:`learn` takes the quantiles of what was
    seen, for classes of the spread relative to how far the mean is above the smallest lit voxel, and of
    the mean: where few particles make a voxel's energy deviations are skewed and end there, and sums over
    many voxels depend on that. What is drawn has the mean and the standard deviation of what was seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Buffer(torch.linspace(-1.0, 1.0, _N_SPREADS - 1))
        self.mean_edges = nn.Buffer(torch.linspace(-1.0, 1.0, _N_MEANS - 1).repeat(_N_SPREADS, 1))
        normal = torch.special.ndtri(self.probabilities().double()).float()
        self.quantiles = nn.Buffer(_moved(normal, 0.0, 1.0).repeat(_N_CLASSES, 1))

    @staticmethod
    def probabilities() -> Tensor:
        """Return the probabilities of the quantiles."""
        angles = torch.linspace(0.0, math.pi, _N_QUANTILES, dtype=torch.float32)
        return (0.5 - 0.5 * torch.cos(angles)).clamp(_FARTHEST, 1.0 - _FARTHEST)

    @torch.no_grad()
    def learn(self, relative: Tensor, mean: Tensor, deviation: Tensor) -> None:
        """Take the quantiles of deviations ``(m,)`` of voxels with these relative spreads and means."""
        if len(deviation) < _N_CLASSES * _N_QUANTILES:
            return
        order = torch.argsort(relative, stable=True)
        self.edges.copy_(_ends(relative[order], _N_SPREADS))
        for i, spread in enumerate(order.tensor_split(_N_SPREADS)):
            within = spread[torch.argsort(mean[spread], stable=True)]
            self.mean_edges[i] = _ends(mean[within], _N_MEANS)
            for j, each in enumerate(within.tensor_split(_N_MEANS)):
                part = torch.sort(deviation[each]).values
                place = self.probabilities().to(part) * (len(part) - 1)
                low = place.long().clamp_max(len(part) - 2)
                quantiles = torch.lerp(part[low], part[low + 1], place - low)
                self.quantiles[i * _N_MEANS + j] = _moved(quantiles, part.mean(), part.std())

    def draw(self, relative: Tensor, mean: Tensor, chance: Tensor) -> Tensor:
        """Return deviations of voxels ``(m,)`` with these relative spreads and means.

        One for each uniform number.
        """
        first = self._class_of(relative, mean) * _N_QUANTILES
        return _at(self.quantiles.flatten(), first, chance)

    def chances(self, relative: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the uniform numbers for which :meth:`draw` returns these deviations ``(m,)``.

        And what they leave of 1, so that neither loses digits.
        """
        classes, place = self._class_of(relative, mean), torch.empty_like(deviation)
        for i, quantiles in enumerate(self.quantiles):
            of_class = classes == i
            part = deviation[of_class]
            low = torch.searchsorted(quantiles, part).clamp(1, _N_QUANTILES - 1) - 1
            step = (quantiles[low + 1] - quantiles[low]).clamp_min(1e-12)
            place[of_class] = low + ((part - quantiles[low]) / step).clamp(0.0, 1.0)
        angle = place * (0.5 * math.pi / (_N_QUANTILES - 1))
        return torch.sin(angle).square(), torch.cos(angle).square()

    def _class_of(self, relative: Tensor, mean: Tensor) -> Tensor:
        spread = torch.bucketize(relative, self.edges)
        return spread * _N_MEANS + (mean[:, None] > self.mean_edges[spread]).sum(dim=1)


def _ends(ordered: Tensor, n_parts: int) -> Tensor:
    """Return where all parts of ordered numbers but the last one end."""
    return torch.stack([part[-1] for part in ordered.tensor_split(n_parts)[:-1]])


def _at(quantiles: Tensor, first: Tensor | int, chance: Tensor) -> Tensor:
    """Return the values of chances, by the quantiles that begin at ``first``."""
    place = torch.acos(1.0 - 2.0 * chance) * ((_N_QUANTILES - 1) / math.pi)
    low = place.long().clamp_max(_N_QUANTILES - 2)
    return torch.lerp(quantiles[first + low], quantiles[first + low + 1], place - low)


def _moved(quantiles: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
    """Move and stretch quantiles so that what is drawn by them has this mean and spread."""
    places = torch.arange(_N_CHANCES, dtype=quantiles.dtype, device=quantiles.device)
    chance = (places + 0.5) / _N_CHANCES
    drawn = _at(quantiles, 0, chance)
    return mean + (quantiles - drawn.mean()) * (std / drawn.std().clamp_min(1e-6))
