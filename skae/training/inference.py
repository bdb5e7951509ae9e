"""Apply a module to any number of rows, in bounded memory, one row's result independent of the rest."""

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skae.training.batches import PLAIN, Units, to_float32
from skae.training.hardware import for_each_piece

# Matrix products choose their algorithm by the number of rows; from 64 rows on, what a row gives no
# longer depends on how many stand beside it. Layers of at most eight units are the exception: there a
# row's place decides how its last digit is rounded.
_FEWEST_ROWS = 64

# Rows in a chunk. Their activations stay in cache: faster than all rows at once, and bounded. Wide rows
# come in smaller chunks, of this many numbers: convolutions make many of each.
_CHUNK_ROWS = 4096
_CHUNK_NUMBERS = 2**20


def bounded_rows(most: int, shape: tuple[int, ...]) -> int:
    """Return how many rows of this shape go through a network at once, ``most`` or fewer."""
    return min(most, max(_FEWEST_ROWS, _CHUNK_NUMBERS // max(1, math.prod(shape))))


def apply_to_rows(
    function: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    X: np.ndarray,
    device: torch.device,
    *,
    takes: Units = PLAIN,
    gives: Units | tuple[Units, ...] = PLAIN,
    chunk_rows: int = _CHUNK_ROWS,
    fewest_rows: int = _FEWEST_ROWS,
    side_by_side: bool = False,
) -> Any:
    """Return ``function`` of the rows of ``X``, computed in float32, in the dtype of ``X``.

    Of integers and half-precision numbers the result is float64, as scikit-learn has it.

    Parameters
    ----------
    function : callable
        Maps a float32 tensor ``(m, ...)`` on ``device`` to one with m rows, or to a tuple of such.
    X : ndarray of shape (n, ...)
        Rows of any numeric dtype; may be read-only or memory-mapped.
    device : torch.device
        Where ``function`` computes.
    takes, gives : Units or tuple of Units
        Units of the tensors that ``function`` takes and returns; of several, those of each.
    chunk_rows : int
        Rows handed over at once.
    fewest_rows : int
        Rows that fewer ones are padded to.
    side_by_side : bool
        Put chunks through in threads of their own, as many as torch has here. Of small products that is
        faster than to share each one out. Only on a CPU.

    Returns
    -------
    result : ndarray or tuple of ndarray
        As many as the function returns.
    """
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    chunk_rows = bounded_rows(chunk_rows, X.shape[1:])
    results: list[np.ndarray] = []
    is_tuple, lock = False, threading.Lock()

    def put_through(start: int) -> None:
        nonlocal is_tuple
        chunk = X[start : start + chunk_rows]
        n = len(chunk)
        rows = torch.zeros(max(n, fewest_rows), *chunk.shape[1:], dtype=torch.float32)
        rows.numpy()[:n] = to_float32(chunk, "X", takes)
        with torch.inference_mode():
            output = function(rows.to(device))
        is_tuple = isinstance(output, tuple)
        outputs = output if is_tuple else (output,)
        with lock:
            if not results:
                results.extend(np.empty((len(X), *part.shape[1:]), dtype=dtype) for part in outputs)
        back = gives if isinstance(gives, tuple) else (gives,) * len(outputs)
        for result, part, units in zip(results, outputs, back, strict=True):
            numbers = part[:n].cpu().numpy()
            result[start : start + n] = numbers if units is PLAIN else units.undo(numbers)

    starts = range(0, len(X), chunk_rows)
    for_each_piece(put_through, starts, side_by_side=side_by_side)
    return tuple(results) if is_tuple else results[0]
