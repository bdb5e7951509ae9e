"""Layers that draw from a generator of their own, so that a fit never touches torch's global one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Share:
    """Rows of a minibatch that a process computes, where several share it.

    What is random is drawn for all rows in every process, so that each row gets the same numbers as if
    one process had computed all of them, and generators stay equal.

    Attributes
    ----------
    start, stop : int
        The rows.
    total : int
        Rows of the minibatch.
    """

    start: int = 0
    stop: int = 1
    total: int = 1

    def whole(self, like: Tensor) -> Tensor:
        """Return an empty tensor for what ``like``, ``(n, ...)`` or ``(n · k, ...)``, is a share of."""
        return like.new_empty(len(like) * self.total // (self.stop - self.start), *like.shape[1:])

    def of(self, whole: Tensor) -> Tensor:
        """Return the share of what :meth:`whole` returned."""
        k = len(whole) // self.total
        return whole[self.start * k : self.stop * k]


class SeededModule(nn.Module):
    """A module that draws random numbers while training.

    Attributes
    ----------
    generator : torch.Generator or None
        Where they are drawn from; a fit sets it.
    share : Share or None
        Which rows of a minibatch are seen here; None for all.
    """

    share: Share | None = None

    def __init__(self) -> None:
        super().__init__()
        self.generator: torch.Generator | None = None

    def places(self, like: Tensor) -> Tensor:
        """Return the places in the minibatch of the rows of ``like``, ``(n,)``."""
        first = 0 if self.share is None else self.share.start
        return torch.arange(first, first + len(like), device=like.device)

    def drawn_for(self, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what ``draw`` makes of an empty tensor, for the rows of ``like``."""
        if self.share is None:
            return draw(like.new_empty(like.shape))
        return self.share.of(draw(self.share.whole(like)))


class SeededDropout(SeededModule):
    """Dropout (Srivastava et al., 2014, JMLR 15) with its own random stream.

    ``torch.nn.Dropout`` takes no generator: it draws from, and so changes, the global state.

    Parameters
    ----------
    p : float
        Probability that an element is set to zero while training; the others are scaled by
        ``1 / (1 - p)``.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at random in training mode; the identity in evaluation mode."""
        if not self.training or self.p == 0.0:
            return x
        keep = self.drawn_for(x, lambda e: e.bernoulli_(1.0 - self.p, generator=self.generator))
        return x * keep / (1.0 - self.p)

    def extra_repr(self) -> str:
        """Show the probability in the module's repr."""
        return f"p={self.p}"
