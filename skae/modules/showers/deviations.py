"""What voxels tell of the random numbers by which they were drawn, and what neighbours have in common."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skae.modules.showers.blocks import Shape
from skae.modules.showers.scales import LEAST_CHANCE

# Classes of the log-odds of a hit, a step of 1 apart, and of showers by the number of their hits.
_LEAST_ODDS, N_CLASSES, N_KINDS = -6.5, 15, 3

# A deviation is divided by the root of its variance and this: what hardly ever happens would outweigh
# all else. Of hits alone, and of hits and what they hold.
_RARE_HITS, _RARE = 0.001, 0.01


class Deviations(NamedTuple):
    """Deviations of voxels from what is expected of them, three times ``(n, n_voxels)``.

    Parameters
    ----------
    both : Tensor
        What is known of the normal numbers that decide over hits and energies.
    hits : Tensor
        Hits less their chance.
    energies : Tensor
        Normal numbers by which the energies of hits were drawn, and 0 elsewhere.
    """

    both: Tensor
    hits: Tensor
    energies: Tensor

    def split(self, sizes: list[int]) -> list["Deviations"]:
        """Split after so many voxels each."""
        return [
            Deviations(*parts) for parts in zip(*(p.split(sizes, 1) for p in self), strict=True)
        ]


def deviations_of(logit: Tensor, hit: Tensor, chance: Tensor, rest: Tensor) -> Deviations:
    r"""Return what voxels tell of the numbers by which they were drawn.

    A voxel is hit where its number g exceeds t, and what it holds tells g. Of the others it is known
    that they do not: :math:`E[g | g < t] = -\varphi(t) / \Phi(t)`. Each is divided by its spread.

    Parameters
    ----------
    logit : Tensor of shape (n, n_voxels)
        Log-odds of a hit.
    hit : Tensor of shape (n, n_voxels)
        Which voxels are hit.
    chance, rest : Tensor of shape (n_hit,)
        Uniform numbers by which the energies of those were drawn, and what they leave of 1.
    """
    p = torch.sigmoid(logit)
    dark, variance = _known_of(p)
    # a normal number is large where the uniform one that is left above it is small
    known = dark.masked_scatter(hit, -normal_of(p[hit] * rest))
    of_energies = torch.where(chance < rest, normal_of(chance), -normal_of(rest))
    return Deviations(
        known / (variance + _RARE).sqrt(),
        (hit.to(p.dtype) - p) / (p * (1.0 - p) + _RARE_HITS).sqrt(),
        torch.zeros_like(p).masked_scatter(hit, of_energies),
    )


def _known_of(p: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a dark voxel tells of its normal number, and the variance of what is known of it."""
    t = -normal_of(p)
    density = torch.exp(-0.5 * t.square()) / math.sqrt(2.0 * math.pi)
    dark = -density / (1.0 - p).clamp_min(LEAST_CHANCE)
    return dark, p + t * density - dark * density


def response_of(logit: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much products of deviations follow products of normal numbers, and their squares.

    Of voxels with these log-odds of a hit, with others of the same.
    """
    _, variance = _known_of(torch.sigmoid(logit))
    squares = variance / (variance + _RARE)
    return variance * squares, squares


def normal_of(uniform: Tensor) -> Tensor:
    """Return normal numbers below which lie these shares of all."""
    return torch.special.ndtri(uniform.clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE))


def class_of(logit: Tensor) -> Tensor:
    """Return the class of voxels with these log-odds of a hit."""
    return (logit - _LEAST_ODDS).round().clamp(0.0, N_CLASSES - 1.0).long()


class Seen:
    """Sums over showers of what deviations of neighbouring voxels have in common.

    Parameters
    ----------
    shape : (int, int, int)
        Layers, angles and radii.
    n_lags : int
        Steps in depth that are compared, that of none among them.
    period : int
        Layers after which a step comes back to where it began.
    """

    def __init__(self, shape: Shape, n_lags: int, period: int):
        self.shape, self.n_lags, self.period = shape, n_lags, period
        n_layers, n_angles, _ = shape
        self.has_neighbours = n_angles > 1 or n_layers > 1
        self._products: Tensor | float = 0.0
        self._classes: Tensor | float = 0.0

    def add(self, deviations: Deviations, kinds: Tensor, classes: Tensor) -> None:
        """Add deviations of showers of these kinds ``(n,)``, in voxels of these classes."""
        both, hits, energies = (part.unflatten(1, self.shape) for part in deviations)
        self._products = self._products + self._sums(both)
        if self.has_neighbours:
            classes = classes.view_as(both)
            parts = [self._sums_of_classes(part, kinds, classes) for part in (hits, energies)]
            self._classes = self._classes + torch.stack(parts, dim=1)

    def _sums(self, deviation: Tensor) -> Tensor:
        """Return sums of products for each step, radius by radius."""
        waves = torch.fft.rfft(deviation, n=self.period, dim=1)
        waves = torch.fft.fft(waves, dim=2).permute(1, 2, 3, 0)
        products = torch.fft.ifft(waves.conj() @ waves.mT, dim=1)
        return torch.fft.irfft(products, n=self.period, dim=0)[: self.n_lags].double()

    def _sums_of_classes(self, deviation: Tensor, kinds: Tensor, classes: Tensor) -> Tensor:
        """Return sums of products with the next in angle and in depth, and of squares."""
        parts = [self._of_kind(deviation[kinds == k], classes[kinds == k]) for k in range(N_KINDS)]
        return torch.stack(parts, dim=1)

    def _of_kind(self, deviation: Tensor, classes: Tensor) -> Tensor:
        n_layers, n_angles, n_radii = self.shape

        def sums(values: Tensor) -> Tensor:
            own = classes[:, : values.shape[1]]
            parts = [torch.where(own == c, values, 0.0).sum((0, 1, 2)) for c in range(N_CLASSES)]
            return torch.stack(parts).double()

        products = deviation.new_zeros(N_CLASSES, n_radii, dtype=torch.float64)
        if n_angles > 1:
            products += sums(deviation * deviation.roll(-1, 2)) / (1 + (n_layers > 1))
        if n_layers > 1:
            products += sums(deviation[:, :-1] * deviation[:, 1:]) / (1 + (n_angles > 1))
        return torch.stack([products, sums(deviation.square())])

    def correlations(self) -> Tensor:
        """Return correlations for steps in depth and angle, ``(n_lags, n_angles, n_radii, n_radii)``."""
        n_layers, sums = self.shape[0], torch.as_tensor(self._products)
        lags = torch.arange(self.n_lags).to(sums)
        products = sums * (n_layers / (n_layers - lags))[:, None, None, None]
        variance = products[0, 0].diagonal().clamp_min(1e-9)
        return (products / (variance[:, None] * variance).sqrt()).float()

    def of_classes(self) -> tuple[Tensor, Tensor]:
        """Return correlations of neighbours, and their weight: ``(2, n_kinds, n_classes, n_radii)``.

        Of hits, and of their energies.
        """
        products, squares = torch.as_tensor(self._classes).float()
        return products / squares.clamp_min(1e-9), squares
