"""Symmetries of events as augmentation: what may be exchanged or mirrored, drawn for each row."""

import torch
from torch import Tensor


class RandomSymmetries:
    """Exchange traces and reverse the time of each event at random; positions follow.

    Parameters
    ----------
    permute : bool
        Put the traces of each event in random order.
    reverse : bool
        Mirror half of the events in time.
    """

    def __init__(self, *, permute: bool, reverse: bool):
        self.permute = permute
        self.reverse = reverse

    def __call__(
        self, x: Tensor, target: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return new events ``(n, …, n_times)`` and their positions ``(n,)``."""
        if self.permute and x.ndim == 3:
            keys = x.new_empty(x.shape[:2]).uniform_(generator=generator)
            x = x.gather(1, keys.argsort(dim=1).unsqueeze(2).expand_as(x))
        if self.reverse:
            coin = x.new_empty(len(x)).uniform_(generator=generator) < 0.5
            x = torch.where(coin.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
            target = torch.where(coin, x.shape[-1] - 1 - target, target)
        return x, target
