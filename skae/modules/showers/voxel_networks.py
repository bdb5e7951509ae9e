"""Encoders and decoders of a calorimeter's voxels: on their grid, circular in the angle, or dense."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

#: what a decoder says of each voxel: log-odds of a hit, its activation, logarithm of the spread
N_OUTPUTS = 3

# Patches that a grid is divided into at most, in depth, angle and radius.
_MOST_PATCHES = (9, 4, 3)

# Voxels by which a patch overlaps its neighbours on each side, where it has more than one.
_OVERLAP = 1

# Numbers that are known of each patch, and of each voxel before those of a ring are told what to make
# of them; answers that there are of what the incident energy means.
_N_CHANNELS, _N_MAPS, _N_TOKENS = 32, 4, 8

# What is to be learnt begins near 0, and training at the same shower for all.
_SMALL = 0.05


class VoxelGrid(nn.Module):
    """A grid of layers, angles and radii, and the patches that it is divided into.

    Parameters
    ----------
    shape : tuple of int
        Layers, angles, radii; the radius is fastest.
    """

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        self.shape = shape
        layers, angles, radii = (
            -(-n // most) for n, most in zip(shape, _MOST_PATCHES, strict=True)
        )
        self.patch = layers, angles, radii
        self.patches = tuple(-(-n // p) for n, p in zip(shape, self.patch, strict=True))
        # voxels that the last patches have too many
        self.excess = tuple(
            p * k - n for n, p, k in zip(shape, self.patch, self.patches, strict=True)
        )
        self.n_patches = math.prod(self.patches)
        self.overlap = tuple(_OVERLAP if p > 1 else 0 for p in self.patch)

    def padded(self, x: Tensor) -> Tensor:
        """Add what overlapping patches read beyond the ends, ``(n, c, layers, angles, radii)``.

        Around the circle that are the voxels on the other side, elsewhere zeros.
        """
        layers, angles, radii = (
            (overlap, overlap + excess)
            for overlap, excess in zip(self.overlap, self.excess, strict=True)
        )
        x = functional.pad(x, (*radii, 0, 0, *layers))
        return circular(x, *angles)

    def unpatched(self, x: Tensor) -> Tensor:
        """Put ``(n, patches, c, voxels of a patch)`` together, to ``(n, c, layers, angles, radii)``."""
        n, _, c, _ = x.shape
        x = x.reshape(n, *self.patches, c, *self.patch)
        # each axis: patch, then the voxel in it
        x = x.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6).flatten(4, 5).flatten(2, 3)
        layers, angles, radii = self.shape
        return x[:, :, :layers, :angles, :radii]


def circular(x: Tensor, before: int, behind: int) -> Tensor:
    """Continue the angles, the axis before the last, around the circle."""
    if not before and not behind:
        return x
    n_angles = x.shape[-2]
    order = torch.arange(-before, n_angles + behind, device=x.device) % n_angles
    return x.index_select(-2, order)


class DenseVoxelEncoder(nn.Module):
    """Two dense layers over all voxels."""

    def __init__(self, n_voxels: int, n_energy: int, n_hidden: int):
        super().__init__()
        self.body = _two_layers(2 * n_voxels + n_energy, n_hidden)

    def forward(self, voxels: Tensor, energy: Tensor) -> Tensor:
        """Map values and hits ``(n, 2, n_voxels)`` and ``(n, n_energy)`` to ``(n, n_hidden)``."""
        return self.body(torch.cat([voxels.flatten(1), energy], dim=1))


class ConvVoxelEncoder(nn.Module):
    """A convolution over overlapping patches beside the means around the circle, then dense layers.

    Parameters
    ----------
    grid : VoxelGrid
        Where the voxels are.
    n_energy : int
        Size of the embedded energy.
    n_hidden : int
        Size of the summary, and width of the dense layers.
    """

    def __init__(self, grid: VoxelGrid, n_energy: int, n_hidden: int):
        super().__init__()
        self.grid = grid
        layers, angles, radii = (p + 2 * o for p, o in zip(grid.patch, grid.overlap, strict=True))
        self.patches = nn.Conv3d(2, _N_CHANNELS, (layers, angles, radii), stride=grid.patch)
        layers, _, radii = grid.shape
        n_in = _N_CHANNELS * grid.n_patches + 2 * layers * radii + n_energy
        self.body = _two_layers(n_in, n_hidden)

    def forward(self, voxels: Tensor, energy: Tensor) -> Tensor:
        """Map values and hits ``(n, 2, n_voxels)`` and ``(n, n_energy)`` to ``(n, n_hidden)``."""
        voxels = voxels.unflatten(2, self.grid.shape)
        patches = functional.gelu(self.patches(self.grid.padded(voxels)))
        around = voxels.mean(dim=3)
        return self.body(torch.cat([patches.flatten(1), around.flatten(1), energy], dim=1))


class DenseVoxelDecoder(nn.Module):
    """Two dense layers, and one for all voxels; attention weighs its inputs by the energy."""

    def __init__(self, n_latent: int, n_voxels: int, n_energy: int, n_hidden: int, attention: bool):
        super().__init__()
        self.body = _two_layers(n_latent + n_energy, n_hidden)
        self.attention = EnergyAttention(n_energy, n_hidden) if attention else None
        self.head = nn.Linear(n_hidden, N_OUTPUTS * n_voxels)

    def forward(self, latent: Tensor, energy: Tensor) -> Tensor:
        """Map ``(n, k)`` and ``(n, n_energy)`` to ``(n, 3, n_voxels)``."""
        hidden = self.body(torch.cat([latent, energy], dim=1))
        if self.attention is not None:
            hidden = hidden + self.attention(hidden[:, None], energy)[:, 0]
        return self.head(hidden).unflatten(1, (N_OUTPUTS, -1))

    @torch.no_grad()
    def start_at(self, outputs: Tensor) -> None:
        """Let training start where all showers are the same: ``(3, n_voxels)``."""
        self.head.weight.mul_(_SMALL)
        self.head.bias.copy_(outputs.flatten())


class ConvVoxelDecoder(nn.Module):
    """Profiles in depth and radius, the same all around, and on them what patches add.

    Showers are alike around their axis but for what a patch's latents say, so the profiles learn from
    all angles at once. Patches attend to the energy, are convolved with their neighbours, around the
    circle as well, and unfold into voxels.

    Parameters
    ----------
    n_latent : int
        Latent coordinates.
    grid, n_energy, n_hidden
        As of :class:`ConvVoxelEncoder`.
    attention : bool
        Whether patches attend to the energy.
    """

    def __init__(
        self, n_latent: int, grid: VoxelGrid, n_energy: int, n_hidden: int, attention: bool
    ):
        super().__init__()
        self.grid = grid
        layers, _, radii = grid.shape
        self.body = _two_layers(n_latent + n_energy, n_hidden)
        self.profiles = nn.Linear(n_hidden, N_OUTPUTS * layers * radii)
        self.coarse = nn.Linear(n_hidden, grid.n_patches * _N_CHANNELS)
        self.attention = EnergyAttention(n_energy, _N_CHANNELS) if attention else None
        self.neighbours = nn.Conv3d(_N_CHANNELS, _N_CHANNELS, 3)
        self.unfold = nn.Linear(_N_CHANNELS, _N_MAPS * math.prod(grid.patch))
        self.mix = nn.Parameter(_SMALL * torch.randn(N_OUTPUTS, _N_MAPS, layers, radii))

    def forward(self, latent: Tensor, energy: Tensor) -> Tensor:
        """Map ``(n, k)`` and ``(n, n_energy)`` to ``(n, 3, n_voxels)``."""
        grid = self.grid
        layers, _, radii = grid.shape
        hidden = self.body(torch.cat([latent, energy], dim=1))
        outputs = self.profiles(hidden).view(-1, N_OUTPUTS, layers, 1, radii)
        patches = functional.gelu(self.coarse(hidden)).unflatten(1, (grid.n_patches, -1))
        if self.attention is not None:
            patches = patches + self.attention(patches, energy)
        beside = patches.transpose(1, 2).unflatten(2, grid.patches)
        beside = self.neighbours(circular(functional.pad(beside, (1, 1, 0, 0, 1, 1)), 1, 1))
        patches = functional.gelu(patches + beside.flatten(2).transpose(1, 2))
        maps = self.unfold(patches).unflatten(2, (-1, math.prod(grid.patch)))
        maps = functional.gelu(grid.unpatched(maps))
        for each, mix in zip(maps.unbind(1), self.mix.unbind(1), strict=True):
            # three times as fast as an einsum, which sees many tiny matrix products
            outputs = torch.addcmul(outputs, each[:, None], mix[:, :, None])
        return outputs.flatten(2)

    @torch.no_grad()
    def start_at(self, outputs: Tensor) -> None:
        """Let training start where all showers are the same: ``(3, n_voxels)``."""
        self.profiles.weight.mul_(_SMALL)
        around = outputs.unflatten(1, self.grid.shape).mean(dim=2)
        self.profiles.bias.copy_(around.flatten())


class EnergyAttention(nn.Module):
    """Parts of a shower ask what the incident energy means for them (Vaswani et al., arXiv:1706.03762).

    Parameters
    ----------
    n_energy : int
        Size of the embedded energy.
    n_channels : int
        Size of what is known of each part.
    """

    def __init__(self, n_energy: int, n_channels: int):
        super().__init__()
        self.query = nn.Linear(n_channels, n_channels)
        self.key = nn.Linear(n_energy, _N_TOKENS * n_channels)
        self.value = nn.Linear(n_energy, _N_TOKENS * n_channels)

    def forward(self, parts: Tensor, energy: Tensor) -> Tensor:
        """Map ``(n, parts, c)`` and ``(n, n_energy)`` to ``(n, parts, c)``."""
        key = self.key(energy).unflatten(1, (_N_TOKENS, -1))
        value = self.value(energy).unflatten(1, (_N_TOKENS, -1))
        weights = torch.softmax(
            self.query(parts) @ key.transpose(1, 2) / math.sqrt(parts.shape[2]), dim=2
        )
        return weights @ value


def _two_layers(n_in: int, n_hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, n_hidden), nn.GELU(), nn.Linear(n_hidden, n_hidden), nn.GELU()
    )
