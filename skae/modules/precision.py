"""Sums in double precision, where terms cancel."""

from torch import Tensor


def in_double(x: Tensor) -> Tensor:
    """Return a tensor in double precision, on Apple's GPUs, which have none, as it is."""
    return x if x.device.type == "mps" else x.double()
