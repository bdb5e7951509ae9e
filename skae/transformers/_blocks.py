"""Work on large arrays piece by piece: each piece stays in the cache, and the cores share them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import numpy as np

from skae._workers import threads_per_task

T = TypeVar("T")

#: numbers in a block: small enough for the cache, large enough that threads seldom meet at Python's
#: lock (at 2**14 two threads are slower than one)
BLOCK_SIZE = 2**18


def row_blocks(n_rows: int, row_size: int, block_size: int = BLOCK_SIZE) -> list[slice]:
    """Cut rows of ``row_size`` numbers into blocks of about ``block_size`` numbers."""
    step = max(1, block_size // max(1, row_size))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def map_in_threads(function: Callable[[slice], T], blocks: Sequence[slice]) -> list[T]:
    """Apply a function to each block, on all cores this process may use; results keep the order.

    NumPy lets go of the interpreter inside its loops, so plain threads are enough. Neighbouring
    blocks go to the same thread in runs, which costs one task a run instead of one a block.
    """
    n_threads = min(_usable_threads(), len(blocks))

    def run(part: Sequence[slice]) -> list[T]:
        with np.errstate(all="ignore"):  # the setting is a thread's own
            return [function(block) for block in part]

    if n_threads < 2:
        return run(blocks)
    step = -(-len(blocks) // (4 * n_threads))
    parts = [blocks[start : start + step] for start in range(0, len(blocks), step)]
    with ThreadPoolExecutor(n_threads) as pool:
        return [result for results in pool.map(run, parts) for result in results]


def _usable_threads() -> int:
    """What joblib leaves to a worker of its own, or else all cores of this process."""
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limit = int(setting) if setting.isdigit() and int(setting) > 0 else joblib.cpu_count()
    return threads_per_task(limit)
