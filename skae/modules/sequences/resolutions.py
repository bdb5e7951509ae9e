"""A sequence at several resolutions: averages over windows, and the way back between them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Octaves of the waves by which a place is described: the finest has 2⁵ half-waves on the sequence.
_OCTAVES = 6


def bin_widths(times: Tensor) -> Tensor:
    """Return the widths of bins around increasing times ``(n_times,)``, with edges halfway between."""
    if len(times) == 1:
        return torch.ones_like(times)
    steps = torch.diff(times)
    return (torch.cat([steps[:1], steps]) + torch.cat([steps, steps[-1:]])) / 2.0


def waves(position: Tensor) -> list[Tensor]:
    """Return sines and cosines, of each octave, of positions from 0 to 1."""
    phases = [math.pi * 2.0**octave * position for octave in range(_OCTAVES)]
    return [wave(phase) for phase in phases for wave in (torch.sin, torch.cos)]


def place_features(times: Tensor) -> Tensor:
    """Describe each of ``(n_times,)`` times: its position, its step, and waves of its number.

    Waves run with the number and not with time, so that steps that grow by orders of magnitude are
    told apart as well as equal ones.
    """
    n = len(times)
    position = (times - times[0]) / (times[-1] - times[0]).clamp_min(1e-30)
    widths = bin_widths(times)
    order = torch.arange(n, dtype=times.dtype) / max(1, n - 1)
    step = (widths / widths.mean()).log() / max(1.0, math.log(float(widths.max() / widths.min())))
    return torch.stack([2.0 * position - 1.0, step, *waves(order)], dim=1)


def place_layers(widths: Sequence[int]) -> nn.ModuleList:
    """Make layers from what describes places to what is added to states of these widths there."""
    return nn.ModuleList(nn.Linear(2 + 2 * _OCTAVES, width, bias=False) for width in widths)


class Resolutions(nn.Module):
    """Averages of a sequence over windows, over windows of these, and so on.

    Averages are weighted by the widths of the bins. A last window that is not full averages over what
    there is of it.

    Parameters
    ----------
    times : Tensor of shape (n_times,)
        Increasing times.
    factors : sequence of int
        Steps in a window of each level, the finest first.

    Attributes
    ----------
    factors : list of int
        Those, from the first on, that leave two steps or more.
    sizes : list of int
        Steps at each level, the finest first: one more than there are factors.
    """

    def __init__(self, times: Tensor, factors: Sequence[int]):
        super().__init__()
        self.factors: list[int] = []
        self.sizes = [len(times)]
        times = times.double() - times.double()[0]
        widths, places = bin_widths(times), place_features(times)
        self.register_buffer("places_0", places.float())
        for level, factor in enumerate(factors):
            if self.sizes[-1] < 2 * factor:
                break
            size = -(-self.sizes[-1] // factor)
            shares = _padded(widths[:, None], size * factor).reshape(size, factor)
            widths = shares.sum(dim=1)
            shares = shares / widths[:, None]
            self.register_buffer(f"shares_{level}", shares[:, :, None].float())
            windows = _padded(places, size * factor).reshape(size, factor, -1)
            places = (windows * shares[..., None]).sum(1)
            self.register_buffer(f"places_{level + 1}", places.float())
            self.factors.append(factor)
            self.sizes.append(size)

    def places(self, level: int) -> Tensor:
        """Return what describes the steps of a level, ``(sizes[level], n_features)``."""
        return getattr(self, f"places_{level}")

    def coarsen(self, x: Tensor, level: int) -> Tensor:
        """Average the steps of a level, ``(n, sizes[level], k)``, to those of the next coarser one."""
        shares = getattr(self, f"shares_{level}")  # (size, factor, 1)
        windows = _padded(x, shares.shape[0] * shares.shape[1]).unflatten(1, shares.shape[:2])
        return (windows * shares).sum(dim=2)

    def all_of(self, x: Tensor) -> list[Tensor]:
        """Return a sequence ``(n, n_times, k)`` at all levels, the finest first."""
        levels = [x]
        for level in range(len(self.factors)):
            levels.append(self.coarsen(levels[-1], level))
        return levels

    def refine(self, x: Tensor, level: int) -> Tensor:
        """Interpolate steps of the next coarser level to windows of a level, ``(n, size, factor, k)``.

        Straight lines between the middles of windows: a step would show at each seam.
        """
        factor, half = self.factors[level], self.factors[level] // 2
        before = torch.cat([x[:, :1], x[:, :-1]], dim=1)
        behind = torch.cat([x[:, 1:], x[:, -1:]], dim=1)
        steps = torch.arange(factor, dtype=x.dtype, device=x.device)
        way = (steps + 0.5) / factor - 0.5
        if factor == 2 * half:  # both halves of a window at once
            sides = torch.stack([before, behind], dim=2)[:, :, :, None]
            ways = torch.stack([-way[:half], way[half:]])[:, :, None]
            return torch.lerp(x[:, :, None, None], sides, ways).flatten(2, 3)
        here, way = x[:, :, None], way[:, None]
        first = torch.lerp(here, before[:, :, None], -way[:half])
        return torch.cat([first, torch.lerp(here, behind[:, :, None], way[half:])], dim=2)

    def windows(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Cut a level ``(n, sizes[level], k)`` into windows twice as wide as they are apart.

        They are centred on those that :meth:`coarsen` averages over, and have zeros beyond the ends.
        Returned are the two halves of each, ``(n, sizes[level + 1], factor · k)``.
        """
        factor, size = self.factors[level], self.sizes[level + 1]
        before = factor // 2
        padded = nn.functional.pad(x, (0, 0, before, (size + 1) * factor - x.shape[1] - before))
        blocks = padded.unflatten(1, (size + 1, factor)).flatten(2)
        return blocks[:, :-1], blocks[:, 1:]


def _padded(x: Tensor, size: int) -> Tensor:
    """Append zeros to the last axis but one."""
    return nn.functional.pad(x, (0, 0, 0, size - x.shape[-2]))
