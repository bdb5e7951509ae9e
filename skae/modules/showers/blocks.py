"""Blocks of layers: neighbouring ones that are divided into the same angles and radii."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Harmonics of the angle, cosine and sine of each, that tell in which direction a layer is displaced.
_MOST_HARMONICS = 3

#: layers, angles and radii of neighbouring layers that are divided alike
Shape = tuple[int, int, int]


class LayerBlock(nn.Module):
    """Neighbouring layers that are divided alike, and harmonics of their angle.

    Parameters
    ----------
    shape : (int, int, int)
        Layers, angles, radii; the radius is fastest.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        n_angles = shape[1]
        n_harmonics = min(_MOST_HARMONICS, (n_angles - 1) // 2)
        angle = (torch.arange(n_angles, dtype=torch.float32) + 0.5) * (2.0 * math.pi / n_angles)
        waves = [torch.ones(n_angles)]
        for k in range(1, n_harmonics + 1):
            waves += [torch.cos(k * angle), torch.sin(k * angle)]
        self.waves = nn.Buffer(torch.stack(waves))  # (n_waves, n_angles)

    @property
    def n_waves(self) -> int:
        """Number of harmonics, with cosine and sine, and the constant."""
        return len(self.waves)


def sums_over_layers(x: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """Sum voxels ``(n, n_voxels)`` over each layer, ``(n, n_layers)``."""
    parts = x.split([math.prod(shape) for shape in shapes], dim=1)
    pairs = zip(parts, shapes, strict=True)
    return torch.cat([part.unflatten(1, (shape[0], -1)).sum(dim=2) for part, shape in pairs], dim=1)


def over_voxels(x: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """Say of each voxel what is said of its layer: ``(n, c, n_layers)`` to ``(n, c, n_voxels)``."""
    parts = x.split([shape[0] for shape in shapes], dim=2)
    pairs = zip(parts, shapes, strict=True)
    return torch.cat([
        part[..., None].expand(-1, -1, -1, shape[1] * shape[2]).flatten(2) for part, shape in pairs
    ], dim=2)  # fmt: skip
