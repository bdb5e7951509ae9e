"""The order in which an array's axes lie in memory: sums over another order differ in the last bit."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

Array = np.ndarray | Tensor


def axes_in_memory(array: Array) -> list[int]:
    """Return the axes of an array or tensor, the one with the longest stride first.

    With its axes in this order it is contiguous, unless it has gaps or repeats itself.
    """
    if isinstance(array, Tensor):
        strides, is_contiguous = array.stride(), array.is_contiguous()
    else:
        strides, is_contiguous = array.strides, array.flags.c_contiguous
    axes = list(range(array.ndim))
    return axes if is_contiguous else sorted(axes, key=lambda axis: (-strides[axis], axis))


def reordered(array: Array, axes: Sequence[int]) -> Array:
    """Return a view with the axes in this order."""
    if isinstance(array, Tensor):
        return array.permute(tuple(axes))
    return array.transpose(axes)


def restored(stored: Array, axes: Sequence[int]) -> Array:
    """Undo :func:`reordered`.

    Raises
    ------
    ValueError
        If that is no order of its axes.
    """
    if sorted(axes) != list(range(stored.ndim)):
        raise ValueError(f"{axes} is no order of {stored.ndim} axes")
    return reordered(stored, sorted(range(len(axes)), key=axes.__getitem__))
