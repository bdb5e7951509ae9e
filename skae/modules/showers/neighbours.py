"""Random numbers of voxels that neighbours have in common: a Gaussian field over a calorimeter.

Particles cross several voxels, so neighbours are hit together. Hits are drawn where a field exceeds what
each voxel's chance asks of it; the field's covariances are found by comparing drawn showers with the
training ones.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from skae.modules.showers.blocks import Shape

# Layers over which voxels are compared, and rings beyond which a layer has no field.
_DEPTH, _MOST_RADII = 6, 64

# Classes of the log-odds of a hit, a step of 1 apart, and of showers by the number of their hits.
_LEAST_ODDS, _N_CLASSES, _N_KINDS = -6.5, 10, 3

# A deviation from the chance p of a hit is divided by the root of p(1 − p) and this: what hardly ever
# happens would outweigh all else.
_RARE = 0.001

# Rounds of comparing, how many of them leave the strengths alone, and rounds that refine a field.
_ROUNDS, _FIRST, _REFINING = 18, 3, 3

# Steps of covariances in the first rounds and in those behind, and of strengths, which end at a part of
# that, so that nothing swings; the first strength.
_FIRST_STEP, _STEP, _STRENGTH_STEP, _LAST_PART = 1.4, 2.0, 1.0, 0.3
_STRENGTH = 0.6

# Sum of squares at which a ring's own deviations count as much as those of its class.
_SHRINKING = 3000.0


class NeighbourField(nn.Module):
    """Standard normal numbers for all voxels, correlated as those of training showers are.

    Each block of layers that are divided alike has a field of its own, stationary in depth and angle:
    its covariances are a matrix of radius by radius for each step in depth and angle. In a voxel it is
    mixed with noise of the voxel's own, by a strength that depends on the log-odds of a hit, on the
    radius, and on how many hits are expected in the shower: a field of one strength would correlate rare
    hits too little.

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

    def draw(self, logit: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw for voxels with these log-odds of a hit ``(n, n_voxels)``."""
        parts = logit.split(self.sizes, dim=1)
        drawn = [
            block.draw(part, generator) for block, part in zip(self.blocks, parts, strict=True)
        ]
        return torch.cat(drawn, dim=1)

    @torch.no_grad()
    def learn(
        self,
        hits: Sequence[Tensor],
        logits: Sequence[Tensor],
        redraw: Callable[[int], Tensor],
        *,
        afresh: bool = True,
    ) -> None:
        """Find the covariances with which drawn showers are like real ones.

        Parameters
        ----------
        hits, logits : sequence of Tensor of shape (n, n_voxels)
            Hits of real showers, part by part, and what the decoder says of these.
        redraw : callable
            Draws hits of a part anew, by the field as it is.
        afresh : bool
            Whether to begin without correlations, or with those that are there.
        """
        if afresh:
            parts = zip(*(logit.split(self.sizes, dim=1) for logit in logits), strict=True)
            for block, of_block in zip(self.blocks, parts, strict=True):
                block.begin(of_block)
        wanted = self._seen(hits, logits)
        rounds = range(_ROUNDS) if afresh else range(_ROUNDS - _REFINING, _ROUNDS)
        for turn in rounds:
            found = self._seen([redraw(i) for i in range(len(logits))], logits)
            progress = (turn - _FIRST) / (_ROUNDS - 1 - _FIRST)  # negative in the first ones
            for block, real, drawn in zip(self.blocks, wanted, found, strict=True):
                block.adapt(real, drawn, progress)

    def _seen(self, hits: Sequence[Tensor], logits: Sequence[Tensor]) -> list["Seen"]:
        seen = [Seen(block) for block in self.blocks]
        for hit, logit in zip(hits, logits, strict=True):
            parts = zip(seen, hit.split(self.sizes, 1), logit.split(self.sizes, 1), strict=True)
            for each, of_hits, of_logits in parts:
                each.add(of_hits, of_logits)
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
        self.strength = nn.Buffer(torch.zeros(_N_KINDS, _N_CLASSES, n_radii))
        self.brightness = nn.Buffer(torch.zeros(_N_KINDS - 1))
        self.near = nn.Buffer(torch.zeros(n_radii))

    def begin(self, logits: Sequence[Tensor]) -> None:
        """Begin without correlations, and tell kinds of showers by their expected hits."""
        if not self.is_there:
            return
        hits = torch.cat([torch.sigmoid(logit).sum(dim=1) for logit in logits])
        ends = torch.arange(1.0, _N_KINDS, dtype=hits.dtype, device=hits.device) / _N_KINDS
        self.brightness.copy_(torch.quantile(hits, ends))
        self.covariance.zero_()
        self.covariance[0, 0] = torch.eye(self.shape[2])
        # where nothing but radii lies beside one another the field has no strength to be compared by
        self.strength.fill_(_STRENGTH if max(self.shape[:2]) > 1 else 1.0)
        self._take_root()

    # -- draws ---------------------------------------------------------------------------------

    def draw(self, logit: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw for voxels with these log-odds of a hit ``(n, n_voxels)``."""
        own = torch.empty_like(logit).normal_(generator=generator)
        if not bool(self.strength.any()):
            return own
        share = self._strengths(logit)
        common = self._common(len(logit), generator)
        return share * common + (1.0 - share.square()).clamp_min(0.0).sqrt() * own

    def _common(self, n: int, generator: torch.Generator | None) -> Tensor:
        n_layers, n_angles, n_radii = self.shape
        size = (self.root.shape[1], n_angles, n, n_radii, 2)
        noise = torch.empty(size, dtype=torch.float32, device=self.root.device)
        noise = torch.view_as_complex(noise.normal_(generator=generator))
        # for each wave a matrix, for all showers at once
        waves = (noise @ torch.complex(*self.root).mH).permute(2, 0, 1, 3)
        field = torch.fft.irfft2(waves, s=(n_angles, self.period), dim=(2, 1))
        return field[:, :n_layers].flatten(1)

    def _strengths(self, logit: Tensor) -> Tensor:
        radius = torch.arange(logit.shape[1], device=logit.device) % self.shape[2]
        place = self.kind_of(logit)[:, None] * _N_CLASSES + self.class_of(logit)
        return self.strength.flatten()[place * self.shape[2] + radius]

    def kind_of(self, logit: Tensor) -> Tensor:
        """Return the kind of showers with these log-odds of hits, ``(n,)``."""
        return torch.bucketize(torch.sigmoid(logit).sum(dim=1), self.brightness)

    def class_of(self, logit: Tensor) -> Tensor:
        """Return the class of voxels with these log-odds of a hit."""
        return (logit - _LEAST_ODDS).round().clamp(0.0, _N_CLASSES - 1.0).long()

    # -- what is learnt ------------------------------------------------------------------------

    def adapt(self, real: "Seen", drawn: "Seen", progress: float) -> None:
        """Move covariances, and strengths behind the first rounds, by what drawn showers lack."""
        if not self.is_there:
            return
        is_first, part = progress < 0.0, 1.0 - (1.0 - _LAST_PART) * progress
        step = _FIRST_STEP if is_first else part * _STEP
        lack = real.correlations() - drawn.correlations()
        self.covariance.add_(torch.nan_to_num(lack), alpha=step).clamp_(-1.0, 1.0)
        self._take_root()
        if is_first or not real.has_neighbours:
            return
        (wanted, weight), (found, _) = real.of_classes(), drawn.of_classes()
        lack = wanted - found
        for across in (2, 0):  # where little was seen, as at other radii, or in other showers
            total = weight.sum(across, keepdim=True).clamp_min(1e-9)
            together = (lack * weight).sum(across, keepdim=True) / total
            trust = weight / (weight + _SHRINKING)
            lack = trust * lack + (1.0 - trust) * together
        radius = weight.sum(dim=(0, 1))
        near = float((self.near * radius).sum() / radius.sum().clamp_min(1e-9))
        change = (part * _STRENGTH_STEP / (abs(near) + 0.05)) * lack
        self.strength.add_(change.clamp(-0.15, 0.15)).clamp_(0.05, 0.999)

    def _take_root(self) -> None:
        """Make of the covariances what noise is multiplied by, wave by wave."""
        n_lags, n_angles, n_radii = self.covariance.shape[:3]
        covariance = self.covariance
        # nothing tells one direction of a step within a layer from the other
        covariance[0] = 0.5 * (covariance[0] + _turned_back(covariance[0]).mT)
        covariance[0, 0].fill_diagonal_(1.0)
        whole = covariance.new_zeros(self.period, n_angles, n_radii, n_radii)
        whole[:n_lags] += covariance
        for lag in range(1, n_lags):
            whole[self.period - lag] += _turned_back(covariance[lag]).mT
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


def _turned_back(covariance: Tensor) -> Tensor:
    """Return covariances ``(n_angles, …)`` for steps of the angle in the other direction."""
    return covariance.flip(0).roll(1, 0)


class Seen:
    """Sums over showers of what neighbouring deviations from the chance of a hit have in common.

    Parameters
    ----------
    block : BlockField
        Whose voxels they are.
    """

    def __init__(self, block: BlockField):
        self.block = block
        n_layers, n_angles, _ = block.shape
        self.has_neighbours = n_angles > 1 or n_layers > 1
        like = block.strength
        self._products = like.new_zeros(block.covariance.shape, dtype=torch.float64)
        self._classes = like.new_zeros(2, *like.shape, dtype=torch.float64)

    def add(self, hit: Tensor, logit: Tensor) -> None:
        """Add showers ``(n, n_voxels)``."""
        if not self.block.is_there:
            return
        chance = torch.sigmoid(logit)
        deviation = (hit.to(chance.dtype) - chance) / (chance * (1.0 - chance) + _RARE).sqrt()
        deviation = deviation.unflatten(1, self.block.shape)
        self._products = self._products + self._sums(deviation)
        if self.has_neighbours:
            self._classes = self._classes + self._sums_of_classes(deviation, logit)

    def _sums(self, deviation: Tensor) -> Tensor:
        """Return sums of products for each step, radius by radius."""
        block = self.block
        waves = torch.fft.rfft(deviation, n=block.period, dim=1)
        waves = torch.fft.fft(waves, dim=2).permute(1, 2, 3, 0)
        products = torch.fft.ifft(waves.conj() @ waves.mT, dim=1)
        return torch.fft.irfft(products, n=block.period, dim=0)[: block.n_lags].double()

    def _sums_of_classes(self, deviation: Tensor, logit: Tensor) -> Tensor:
        """Return sums of products with the next in angle and in depth, and of squares."""
        kinds = self.block.kind_of(logit)
        classes = self.block.class_of(logit).view_as(deviation)
        parts = [self._of_kind(deviation[kinds == k], classes[kinds == k]) for k in range(_N_KINDS)]
        return torch.stack(parts, dim=1)

    def _of_kind(self, deviation: Tensor, classes: Tensor) -> Tensor:
        n_layers, n_angles, n_radii = self.block.shape

        def sums(values: Tensor) -> Tensor:
            own = classes[:, : values.shape[1]]
            parts = [torch.where(own == c, values, 0.0).sum((0, 1, 2)) for c in range(_N_CLASSES)]
            return torch.stack(parts).double()

        products = deviation.new_zeros(_N_CLASSES, n_radii, dtype=torch.float64)
        if n_angles > 1:
            products += sums(deviation * deviation.roll(-1, 2)) / (1 + (n_layers > 1))
        if n_layers > 1:
            products += sums(deviation[:, :-1] * deviation[:, 1:]) / (1 + (n_angles > 1))
        return torch.stack([products, sums(deviation.square())])

    def correlations(self) -> Tensor:
        """Return correlations for steps in depth and angle, ``(n_lags, n_angles, n_radii, n_radii)``."""
        n_layers = self.block.shape[0]
        lags = torch.arange(self.block.n_lags).to(self._products)
        products = self._products * (n_layers / (n_layers - lags))[:, None, None, None]
        variance = products[0, 0].diagonal().clamp_min(1e-9)
        return (products / (variance[:, None] * variance).sqrt()).float()

    def of_classes(self) -> tuple[Tensor, Tensor]:
        """Return correlations of neighbours by kind, class and radius, and their weight."""
        products, squares = self._classes.float()
        return products / squares.clamp_min(1e-9), squares
