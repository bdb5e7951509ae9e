"""What a decoder says of voxels, its likelihood, and the loss that weighs deviations."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.showers.blocks import Shape, over_voxels
from skae.modules.showers.layers import Layers, layers_of

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


def freedom(layers: Layers, shapes: Sequence[Shape]) -> Tensor:
    """Return what each hit adds to what is known, ``(n, n_voxels)``.

    Given the energy of a layer, what its last hit holds is known: n hits have n − 1 numbers to tell.
    """
    share = (layers.hits - 1.0).clamp_min(0.0) / layers.hits.clamp_min(1.0)
    return over_voxels(share[:, None], shapes)[:, 0]


def misfit(voxels: Voxels, x: Tensor, log_unit: float = 0.0, free: Tensor | float = 1.0) -> Tensor:
    """Return the negative log-likelihood of voxels ``(n, n_voxels)``, ``(n,)``.

    ``log_unit`` is the logarithm of the unit in which all these are, ``free`` what energies of hits are
    multiplied by.
    """
    hit = (x > 0.0).to(x.dtype)
    deviation = (x - voxels.activation) * torch.exp(-voxels.log_std)
    lit = hit * (0.5 * deviation.square() + voxels.log_std + (log_unit + _HALF_LOG_2PI))
    return (functional.softplus(voxels.logit) - hit * voxels.logit + free * lit).sum(dim=1)


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
    module : nn.Module or None
        The ShowerAutoencoder whose layers are learnt with the rest, from showers that are not corrupted.
        None leaves layers out.
    """

    def __init__(
        self,
        a: float = 0.0,
        b: float = 0.0,
        energy_weight: bool = False,
        module: Any = None,
    ):
        super().__init__()
        unit = 1.0
        self.layers: Any = None
        self.voxel_energy: Any = None
        self.shapes: list[Shape] = []
        if module is not None:
            unit, self.shapes = module.voxel_energy.unit, module.shapes
            self.layers, self.voxel_energy = module.layers, module.voxel_energy
        # a and b are for the numbers of X themselves
        self.a, self.b, self.energy_weight = a * unit, b * unit, energy_weight
        self.log_unit = math.log(unit)

    def forward(self, output: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``."""
        *voxels, penalty = output
        energy, x = target[:, 0], target[:, 1:]
        free: Tensor | float = 1.0
        if self.layers is not None:
            with torch.autocast(x.device.type, enabled=False):
                of_layers = layers_of(target, self.voxel_energy, self.shapes)
                penalty = penalty - self.layers.log_prob(of_layers, energy)
            free = freedom(of_layers, self.shapes)
        loss = misfit(Voxels(*voxels), x, self.log_unit, free) + penalty
        if not (self.a or self.b or self.energy_weight):
            return loss
        _, activation, log_std = voxels
        lit = (x > 0.0).to(x.dtype)
        squares = free * lit * ((x - activation) * torch.exp(-log_std.detach())).square()
        return loss + (0.5 * (self._weight(energy, x, lit) - 1.0) * squares).sum(dim=1)

    def _weight(self, energy: Tensor, x: Tensor, lit: Tensor) -> Tensor:
        above = x - (x * lit).sum() / lit.sum().clamp_min(1.0)
        weight = 0.5 * (torch.exp(self.a * above) + torch.exp(-self.b * above))
        if self.energy_weight:
            of_energy = torch.log(energy.clamp_min(LEAST_WEIGHED_ENERGY) / LEAST_WEIGHED_ENERGY)
            weight = weight * (of_energy / of_energy.mean().clamp_min(1e-6))[:, None]
        return weight.clamp_max(_MOST_WEIGHT)
