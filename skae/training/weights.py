"""A second copy of a module's weights, to go back to."""

import math

import torch
from torch import Tensor, nn


class Weights:
    """A copy of a module's parameters and buffers, refreshed in place."""

    def __init__(self, module: nn.Module):
        self._tensors = list(module.state_dict(keep_vars=True).values())
        self._copies = [t.detach().clone() for t in self._tensors]

    def are_finite(self) -> bool:
        """Tell whether the module's weights, not their copies, are all finite."""
        with torch.no_grad():
            return math.isfinite(sum(t.sum() for t in self._tensors if t.is_floating_point()))

    def remember(self, tensors: list[Tensor] | None = None) -> None:
        """Copy the weights as they are, or what :meth:`copies` of another one returned."""
        with torch.no_grad():
            for copy, tensor in zip(self._copies, tensors or self._tensors, strict=True):
                copy.copy_(tensor)

    def copies(self) -> list[Tensor]:
        """Return the copied weights."""
        return list(self._copies)

    def restore(self) -> None:
        """Put the copied weights back into the module."""
        with torch.no_grad():
            for copy, tensor in zip(self._copies, self._tensors, strict=True):
                tensor.copy_(copy)
