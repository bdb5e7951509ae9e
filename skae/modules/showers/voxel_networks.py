"""Encoders and decoders of a calorimeter's voxels, layer by layer, in harmonics of the angle."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.showers.blocks import LayerBlock, Shape

#: what a decoder says of each voxel: log-odds of a hit, its activation, logarithm of the spread
N_OUTPUTS = 3

# Numbers that are known of each layer; answers that there are of what the incident energy means.
_N_CHANNELS, _N_TOKENS = 64, 8

# Numbers in which all layers are told to each of them.
_N_SUMMARY = 8

# Layers that a layer's own energy and hits are looked at with.
_NEIGHBOURHOOD = 5

# What is written for a ring with as many hits in training is multiplied by the root of a half. Adam's
# steps are as large for rings that are rarely hit, which would be overfitted.
_HITS_TO_LEARN = 300_000

# What is to be learnt begins near 0, and training at the same shower for all.
_SMALL = 0.05


class VoxelEncoder(nn.Module):
    """Harmonics of each layer's rings, convolved along the depth, then dense layers.

    Parameters
    ----------
    shapes : sequence of (int, int, int)
        Blocks of layers, in the order of the voxels.
    n_of_layer, n_energy : int
        Numbers that are said of each layer, and size of the embedded energy.
    n_hidden : int
        Size of the summary, and width of the dense layers.
    """

    def __init__(self, shapes: Sequence[Shape], n_of_layer: int, n_energy: int, n_hidden: int):
        super().__init__()
        self.blocks = nn.ModuleList(_BlockEncoder(shape) for shape in shapes)
        self.sizes = [math.prod(shape) for shape in shapes]
        n_layers = sum(shape[0] for shape in shapes)
        self.along = nn.Conv1d(_N_CHANNELS + n_of_layer, _N_CHANNELS, 3, padding=1)
        self.body = _two_layers(n_layers * _N_CHANNELS + n_energy, n_hidden)

    def forward(self, voxels: Tensor, of_layers: Tensor, energy: Tensor) -> Tensor:
        """Map values and hits ``(n, 2, n_voxels)``, what is said of layers ``(n, n_layers, c)``, and the
        energy ``(n, n_energy)`` to ``(n, n_hidden)``.
        """
        parts = voxels.split(self.sizes, dim=2)
        hidden = torch.cat([block(part) for block, part in zip(self.blocks, parts, strict=True)], 1)
        beside = torch.cat([hidden, of_layers], dim=2).transpose(1, 2)
        hidden = hidden + functional.gelu(self.along(beside)).transpose(1, 2)
        return self.body(torch.cat([hidden.flatten(1), energy], dim=1))


class _BlockEncoder(nn.Module):
    """Harmonics of the rings of a block's layers, and for each layer a dense layer of its own."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.block = LayerBlock(shape)
        n_layers, _, n_radii = shape
        n_in = 2 * n_radii * self.block.n_waves
        self.weight = nn.Parameter(torch.randn(n_layers, n_in, _N_CHANNELS) / math.sqrt(n_in))
        self.bias = nn.Parameter(torch.zeros(n_layers, 1, _N_CHANNELS))

    def forward(self, voxels: Tensor) -> Tensor:
        """Map ``(n, 2, n_voxels)`` to ``(n, n_layers, c)``."""
        _, n_angles, _ = self.block.shape
        rings = voxels.unflatten(2, self.block.shape).transpose(1, 2)  # layers first
        waves = self.block.waves.to(voxels.dtype) * (n_angles**-0.5)
        rings = (waves @ rings).transpose(0, 1).flatten(2)  # (n_layers, n, c)
        return functional.gelu(torch.baddbmm(self.bias, rings, self.weight)).transpose(0, 1)


class VoxelDecoder(nn.Module):
    """Profiles of each layer's rings, and harmonics that displace and stretch them.

    What is known of the whole shower is spread over its layers, which look at their own energy and hits
    and at their neighbours', may attend to the incident energy, and write their rings.

    Parameters
    ----------
    n_latent : int
        Latent coordinates.
    shapes, n_of_layer, n_energy, n_hidden
        As of :class:`VoxelEncoder`.
    attention : bool
        Whether layers attend to the energy.
    """

    def __init__(
        self,
        n_latent: int,
        shapes: Sequence[Shape],
        n_of_layer: int,
        n_energy: int,
        n_hidden: int,
        attention: bool,
    ):
        super().__init__()
        self.n_layers = n_layers = sum(shape[0] for shape in shapes)
        # all that layers say would tell each training shower from the others: it would be learnt by heart
        self.summary = nn.Linear(n_layers * n_of_layer, _N_SUMMARY)
        self.body = _two_layers(n_latent + n_energy + _N_SUMMARY, n_hidden)
        self.spread = nn.Linear(n_hidden, n_layers * _N_CHANNELS)
        half = _NEIGHBOURHOOD // 2
        self.own = nn.Conv1d(n_of_layer, _N_CHANNELS, _NEIGHBOURHOOD, padding=half)
        self.attention = EnergyAttention(n_energy, _N_CHANNELS) if attention else None
        self.place = nn.Parameter(2.0 * _SMALL * torch.randn(n_layers, _N_CHANNELS))
        self.along = nn.Conv1d(_N_CHANNELS, _N_CHANNELS, 3, padding=1)
        self.mix = nn.Linear(_N_CHANNELS, _N_CHANNELS)
        self.blocks = nn.ModuleList(_BlockDecoder(shape) for shape in shapes)
        self.depths = [shape[0] for shape in shapes]
        self.sizes = [math.prod(shape) for shape in shapes]

    def forward(self, latent: Tensor, of_layers: Tensor, energy: Tensor) -> Tensor:
        """Map ``(n, k)``, ``(n, n_layers, c)`` and ``(n, n_energy)`` to ``(n, 3, n_voxels)``."""
        summary = self.summary(of_layers.flatten(1))
        hidden = self.body(torch.cat([latent, energy, summary], dim=1))
        spread = self.spread(hidden).unflatten(1, (self.n_layers, _N_CHANNELS))
        own = self.own(of_layers.transpose(1, 2)).transpose(1, 2)
        layers = functional.gelu(spread + own + self.place)
        if self.attention is not None:
            layers = layers + self.attention(layers, energy)
        layers = layers + functional.gelu(self.along(layers.transpose(1, 2))).transpose(1, 2)
        layers = layers + functional.gelu(self.mix(layers))
        parts = layers.split(self.depths, dim=1)
        return torch.cat([block(part) for block, part in zip(self.blocks, parts, strict=True)], 2)

    @torch.no_grad()
    def start_at(self, outputs: Tensor, hits: Tensor) -> None:
        """Let training start where all showers are the same: ``(3, n_voxels)``.

        Rings that are seldom hit, by the number of hits in training ``(n_voxels,)``, stay nearer to it.
        """
        parts = outputs.split(self.sizes, dim=1), hits.split(self.sizes)
        for block, of_block, of_hits in zip(self.blocks, *parts, strict=True):
            if isinstance(block, _BlockDecoder):
                block.start_at(of_block, of_hits)


class _BlockDecoder(nn.Module):
    """For each layer of a block a dense layer of its own, which writes harmonics of its rings."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.block = LayerBlock(shape)
        n_layers, _, n_radii = shape
        n_out = N_OUTPUTS * n_radii * self.block.n_waves
        scale = _SMALL / math.sqrt(_N_CHANNELS)
        self.weight = nn.Parameter(scale * torch.randn(n_layers, _N_CHANNELS, n_out))
        self.bias = nn.Parameter(torch.zeros(n_layers, 1, n_out))
        self.part = nn.Buffer(torch.ones(n_layers, 1, n_out))

    def forward(self, layers: Tensor) -> Tensor:
        """Map ``(n, n_layers, c)`` to ``(n, 3, n_voxels)``."""
        _, _, n_radii = self.block.shape
        written = torch.baddbmm(self.bias, layers.transpose(0, 1), self.weight * self.part)
        written = written.transpose(0, 1).unflatten(2, (N_OUTPUTS, self.block.n_waves, n_radii))
        rings = (
            self.block.waves.to(written.dtype).T @ written
        )  # (n, n_layers, 3, n_angles, n_radii)
        return rings.transpose(1, 2).flatten(2)

    @torch.no_grad()
    def start_at(self, outputs: Tensor, hits: Tensor) -> None:
        """Write the mean of ``(3, n_voxels)`` around each ring, and the more the more it was hit."""
        n_layers, _, n_radii = self.block.shape
        around = outputs.unflatten(1, self.block.shape).mean(dim=2).transpose(0, 1)
        bias = self.bias.view(n_layers, N_OUTPUTS, self.block.n_waves, n_radii)
        bias[:, :, 0] = around
        hits = hits.unflatten(0, self.block.shape).sum(dim=1)[:, None, None]
        part = self.part.view(n_layers, N_OUTPUTS, self.block.n_waves, n_radii)
        part[:] = (hits / (hits + _HITS_TO_LEARN)).sqrt()


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
