"""Symmetries of events as augmentation: what may be exchanged, mirrored or moved, drawn for each row."""

import torch
from torch import Tensor


class RandomSymmetries:
    """Exchange traces, reverse the time of each event, and cut a window; positions follow.

    Parameters
    ----------
    permute : bool
        Put the traces of each event in random order.
    reverse : bool
        Mirror half of the events in time.
    window : int or None
        Keep as many samples of each event, at a random place that the pulse is inside of. None keeps all.

    A position of NaN is that of no pulse, and stays it. Of several positions those outside of the window
    become NaN, which may lie anywhere.
    """

    def __init__(self, *, permute: bool, reverse: bool, window: int | None = None):
        self.permute = permute
        self.reverse = reverse
        self.window = window

    def __call__(
        self, x: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return new events ``(n, …, n_times)`` and their positions, ``(n,)`` or several, ``(n, k)``."""
        if self.permute and x.ndim == 3:
            keys = x.new_empty(x.shape[:2]).uniform_(generator=generator)
            x = x.gather(1, keys.argsort(dim=1).unsqueeze(2).expand_as(x))
        if self.window is not None and self.window < x.shape[-1]:
            x, target = _cut(x, target, self.window, generator)
        if self.reverse:
            coin = x.new_empty(len(x)).uniform_(generator=generator) < 0.5
            x = torch.where(coin.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
            coin = coin.reshape(-1, *[1] * (target.ndim - 1))
            target = torch.where(coin, x.shape[-1] - 1 - target, target)
        return x, target


def _cut(
    x: Tensor, target: Tensor, window: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    last = x.shape[-1] - window
    one = target if target.ndim == 1 else torch.full_like(target[:, 0], float("nan"))
    earliest = (one - (window - 1)).ceil().nan_to_num(nan=0.0).clamp(0, last)
    latest = one.floor().nan_to_num(nan=float(last)).clamp(0, last)
    share = x.new_empty(len(x)).uniform_(generator=generator)
    first = (earliest + (share * (latest - earliest + 1)).floor()).minimum(latest)
    samples = first.long()[:, None] + torch.arange(window, device=x.device)
    samples = samples.reshape(len(x), *[1] * (x.ndim - 2), -1).expand(*x.shape[:-1], -1)
    if target.ndim == 1:
        return x.gather(-1, samples), target - first
    target = target - first[:, None]
    inside = (target >= 0) & (target <= window - 1)
    return x.gather(-1, samples), target.masked_fill(~inside, float("nan"))
