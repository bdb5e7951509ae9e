"""Random numbers of voxels that neighbours have in common: a Gaussian field over a calorimeter.

Particles cross several voxels, so neighbours are hit together. Hits are drawn where a field exceeds what
each voxel's chance asks of it; the field's covariances are found by comparing drawn showers with the
training ones.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from skae.modules.showers.blocks import Shape
from skae.modules.showers.deviations import (
    N_CLASSES,
    N_KINDS,
    Deviations,
    Seen,
    class_of,
    response_of,
)

# Layers over which voxels are compared, and rings beyond which a layer has no field. Over fewer layers,
# cutting the covariances off would let layers far apart share too much.
_DEPTH, _MOST_RADII = 11, 64

# Rounds of comparing, how many of them leave the strengths alone, and rounds that refine a field.
_ROUNDS, _FIRST, _REFINING = 18, 3, 3

# Steps of covariances in the first rounds and in those behind, and of strengths, which end at a part of
# that: larger ones let a voxel that rounding decides over change the whole field. The first strengths,
# and the least ones, of hits and of energies.
_FIRST_STEP, _STEP, _STRENGTH_STEP, _LAST_PART = 1.0, 0.7, 0.5, 0.3
_STRENGTHS, _LEAST_STRENGTHS = (0.6, 0.9), (0.05, 0.05)

# Class of log-odds from which on nearly all voxels are hit: energies alone tell what they share.
_ALL_HIT = 11

# Least part of a covariance that deviations of two voxels are taken to have in common: rare hits tell
# little, and as much noise.
_LEAST_RESPONSE = 0.3

# Sum of squares at which a ring's own deviations count as much as those of its class.
_SHRINKING = 3000.0


class NeighbourField(nn.Module):
    """Standard normal numbers for all voxels, correlated as those of training showers are.

    Each block of layers that are divided alike has a field of its own, stationary in depth and angle:
    its covariances are a matrix of radius by radius for each step in depth and angle. In a voxel it is
    mixed with noise of the voxel's own, by a strength that depends on the log-odds of a hit, on the
    radius, and on how many hits are expected in the shower: a field of one strength would correlate rare
    hits too little. A voxel is hit where the mixture is large enough; what it holds follows from how
    large, mixed with further noise by a second strength, as energies are less alike than hits are.

    Parameters
    ----------
    shapes : sequence of (int, int, int)
        Layers, angles and radii of each block.
    """

    def __init__(self, shapes: Sequence[Shape]):
        super().__init__()
        self.fields = nn.ModuleList(BlockField(shape) for shape in shapes)
        self.sizes = [math.prod(shape) for shape in shapes]

    @property
    def blocks(self) -> list["BlockField"]:
        """Fields of the blocks."""
        return [field for field in self.fields if isinstance(field, BlockField)]

    @property
    def is_learnt(self) -> bool:
        """Whether neighbours have anything in common yet."""
        return any(bool(block.strength.any()) for block in self.blocks)

    def draw(self, logit: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw for voxels with these log-odds of a hit; return the strengths of energies as well.

        Both are ``(n, n_voxels)``, as the log-odds are.
        """
        parts = zip(self.blocks, logit.split(self.sizes, dim=1), strict=True)
        drawn = zip(*(block.draw(part, generator) for block, part in parts), strict=True)
        numbers, of_energies = (torch.cat(part, dim=1) for part in drawn)
        return numbers, of_energies

    @torch.no_grad()
    def learn(
        self,
        real: Iterable[tuple[Deviations, Tensor]],
        redraw: Callable[[], Iterable[tuple[Deviations, Tensor]]],
        *,
        afresh: bool = True,
    ) -> None:
        """Find the covariances and strengths with which drawn showers are like real ones.

        Parameters
        ----------
        real : iterable of (Deviations, Tensor of shape (n, n_voxels))
            Deviations in real showers, part by part, and the log-odds of their hits.
        redraw : callable
            Returns those of showers that are drawn anew, by the field as it is.
        afresh : bool
            Whether to begin without correlations, or with those that are there.
        """
        if afresh:
            logits = zip(*(logit.split(self.sizes, dim=1) for _, logit in redraw()), strict=True)
            for block, of_block in zip(self.blocks, logits, strict=True):
                block.begin(of_block)
        wanted = self._seen(real)
        for turn in range(_ROUNDS) if afresh else range(_ROUNDS - _REFINING, _ROUNDS):
            found = self._seen(redraw())
            progress = (turn - _FIRST) / (_ROUNDS - 1 - _FIRST)  # negative in the first ones
            for block, of_real, of_drawn in zip(self.blocks, wanted, found, strict=True):
                block.adapt(of_real, of_drawn, progress)

    def _seen(self, showers: Iterable[tuple[Deviations, Tensor]]) -> list[Seen]:
        seen = [Seen(block.shape, block.n_lags, block.period) for block in self.blocks]
        for deviations, logit in showers:
            parts = deviations.split(self.sizes), logit.split(self.sizes, 1)
            for each, block, part, of_logits in zip(seen, self.blocks, *parts, strict=True):
                if block.is_there:
                    each.add(part, block.kind_of(of_logits), class_of(of_logits))
        return seen


class BlockField(nn.Module):
    """Field of layers that are divided alike.

    Parameters
    ----------
    shape : (int, int, int)
        Layers, angles and radii.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        n_layers, n_angles, n_radii = shape
        self.n_lags = min(_DEPTH, n_layers - 1) + 1
        # so long that what is compared does not go around, and quick to transform
        self.period = 1 if n_layers == 1 else 8 * -(-(n_layers + self.n_lags - 1) // 8)
        self.is_there = n_radii <= _MOST_RADII and math.prod(shape) > 1
        size = (n_radii, n_radii) if self.is_there else (0, 0)
        self.covariance = nn.Buffer(torch.zeros(self.n_lags, n_angles, *size))
        n_waves = self.period // 2 + 1
        self.root = nn.Buffer(torch.zeros(2, n_waves, n_angles, *size))  # real and imaginary
        # of hits, and of what they hold
        self.strength = nn.Buffer(torch.zeros(2, N_KINDS, N_CLASSES, n_radii))
        self.brightness = nn.Buffer(torch.zeros(N_KINDS - 1))
        self.near = nn.Buffer(torch.zeros(n_radii))
        self.response = nn.Buffer(torch.ones(n_radii))

    def begin(self, logits: Sequence[Tensor]) -> None:
        """Begin without correlations, and tell kinds of showers by their expected hits."""
        if not self.is_there:
            return
        hits = torch.cat([torch.sigmoid(logit).sum(dim=1) for logit in logits])
        ends = torch.arange(1.0, N_KINDS, dtype=hits.dtype, device=hits.device) / N_KINDS
        self.brightness.copy_(torch.quantile(hits, ends))
        parts = [torch.stack(response_of(logit)).sum(dim=1) for logit in logits]
        products, squares = torch.stack(parts).sum(0).unflatten(1, self.shape).sum(dim=(1, 2))
        self.response.copy_((products / squares.clamp_min(1e-9)).clamp(_LEAST_RESPONSE, 1.0))
        self.covariance.zero_()
        self.covariance[0, 0] = torch.eye(self.shape[2])
        # where nothing but radii lies beside one another the field has no strength to be compared by
        strengths = _STRENGTHS if max(self.shape[:2]) > 1 else (1.0, 1.0)
        for of_either, strength in zip(self.strength, strengths, strict=True):
            of_either.fill_(strength)
        self._take_root()

    # -- draws ---------------------------------------------------------------------------------

    def draw(self, logit: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw for voxels with these log-odds of a hit; return the strengths of energies as well."""
        own = torch.empty_like(logit).normal_(generator=generator)
        if not bool(self.strength.any()):
            return own, torch.ones_like(own)
        radius = torch.arange(logit.shape[1], device=logit.device) % self.shape[2]
        place = self.kind_of(logit)[:, None] * N_CLASSES + class_of(logit)
        place = place * self.shape[2] + radius
        of_hits, of_energies = (torch.take(strength, place) for strength in self.strength)
        return mixed(self._common(len(logit), generator), own, of_hits), of_energies

    def _common(self, n: int, generator: torch.Generator | None) -> Tensor:
        n_layers, n_angles, n_radii = self.shape
        size = (self.root.shape[1], n_angles, n, n_radii, 2)
        noise = torch.empty(size, dtype=torch.float32, device=self.root.device)
        noise = torch.view_as_complex(noise.normal_(generator=generator))
        # for each wave a matrix, for all showers at once
        waves = (noise @ torch.complex(*self.root).mH).permute(2, 0, 1, 3)
        field = torch.fft.irfft2(waves, s=(n_angles, self.period), dim=(2, 1))
        return field[:, :n_layers].flatten(1)

    def kind_of(self, logit: Tensor) -> Tensor:
        """Return the kind of showers with these log-odds of hits, ``(n,)``."""
        return torch.bucketize(torch.sigmoid(logit).sum(dim=1), self.brightness)

    # -- what is learnt ------------------------------------------------------------------------

    def adapt(self, real: Seen, drawn: Seen, progress: float) -> None:
        """Move covariances, and strengths behind the first rounds, by what drawn showers lack."""
        if not self.is_there:
            return
        is_first, part = progress < 0.0, 1.0 - (1.0 - _LAST_PART) * progress
        step = _FIRST_STEP if is_first else part * _STEP
        lack = real.correlations() - drawn.correlations()
        lack /= (self.response[:, None] * self.response).sqrt()
        self.covariance.add_(torch.nan_to_num(lack), alpha=step).clamp_(-1.0, 1.0)
        self._take_root()
        if is_first or not real.has_neighbours:
            return
        (wanted, weight), (found, _) = real.of_classes(), drawn.of_classes()
        for i, least in enumerate(_LEAST_STRENGTHS):
            change = self._change((wanted - found)[i], weight[i], part)
            self.strength[i].add_(change).clamp_(least, 1.0)
        self.strength[0, :, _ALL_HIT:] = 1.0

    def _change(self, lack: Tensor, weight: Tensor, part: float) -> Tensor:
        """Return by how much strengths are moved, ``(n_kinds, n_classes, n_radii)``."""
        for across in (2, 0):  # where little was seen, as at other radii, or in other showers
            total = weight.sum(across, keepdim=True).clamp_min(1e-9)
            together = (lack * weight).sum(across, keepdim=True) / total
            trust = weight / (weight + _SHRINKING)
            lack = trust * lack + (1.0 - trust) * together
        radius = weight.sum(dim=(0, 1))
        near = float((self.near * radius).sum() / radius.sum().clamp_min(1e-9))
        change = (part * _STRENGTH_STEP / (abs(near) + 0.05)) * lack
        return change.clamp(-0.15, 0.15)

    def _take_root(self) -> None:
        """Make of the covariances what noise is multiplied by, wave by wave."""
        n_lags, n_angles, n_radii = self.covariance.shape[:3]
        covariance = self.covariance
        # nothing tells one direction of the angle from the other, nor one of two voxels of a layer
        covariance.copy_(0.5 * (covariance + covariance.flip(1).roll(1, 1)))
        covariance[0] = 0.5 * (covariance[0] + covariance[0].mT)
        covariance[0, 0].fill_diagonal_(1.0)
        whole = covariance.new_zeros(self.period, n_angles, n_radii, n_radii)
        whole[:n_lags] += covariance
        for lag in range(1, n_lags):
            whole[self.period - lag] += covariance[lag].mT
        spectrum = torch.fft.fft(torch.fft.rfft(whole, dim=0), dim=1)
        values, axes = torch.linalg.eigh(0.5 * (spectrum + spectrum.mH))
        values = values.clamp_min(0.0)
        spectrum = (axes * values[..., None, :]) @ axes.mH
        true = torch.fft.irfft(torch.fft.ifft(spectrum, dim=1), n=self.period, dim=0)
        scale = true[0, 0].diagonal().clamp_min(1e-6).rsqrt()
        # the root that is Hermitian itself: conjugate for opposite waves, as real numbers must have it
        root = (axes * values.sqrt()[..., None, :]) @ axes.mH * scale[:, None]
        # to noise whose real and imaginary parts have variance 1; of waves that are their own opposite in
        # depth the real part alone is used
        root = root * math.sqrt(0.5 * self.period * n_angles)
        root[:: max(1, self.period // 2)] *= math.sqrt(2.0)
        self.root.copy_(torch.stack([root.real, root.imag]))
        beside = [true[0, 1]] if n_angles > 1 else []
        beside += [true[1, 0]] if n_lags > 1 else []
        if beside:
            self.near.copy_(torch.stack(beside).mean(0).diagonal() * scale.square())


def mixed(common: Tensor, own: Tensor, strength: Tensor) -> Tensor:
    """Mix normal numbers so that they stay normal."""
    rest = (1.0 - strength.square()).clamp_min_(0.0).sqrt_()
    return rest.mul_(own).addcmul_(strength, common)
