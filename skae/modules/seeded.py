"""Layers that draw from a generator of their own, so that a fit never touches torch's global one."""

import torch
from torch import Tensor, nn


class SeededModule(nn.Module):
    """A module that draws random numbers while training.

    Attributes
    ----------
    generator : torch.Generator or None
        Where they are drawn from; :func:`attach_generator` sets it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator: torch.Generator | None = None


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
        keep = torch.empty_like(x).bernoulli_(1.0 - self.p, generator=self.generator)
        return x * keep / (1.0 - self.p)

    def extra_repr(self) -> str:
        """Show the probability in the module's repr."""
        return f"p={self.p}"


def attach_generator(module: nn.Module, generator: torch.Generator | None) -> None:
    """Hand one generator to every :class:`SeededModule` inside ``module`` (None takes it away)."""
    for layer in module.modules():
        if isinstance(layer, SeededModule):
            layer.generator = generator
