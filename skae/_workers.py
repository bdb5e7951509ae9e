"""Threads: how many a piece of work may take where others run beside it, and work shared among them."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

S = TypeVar("S")
T = TypeVar("T")
L = TypeVar("L")


def threads_per_task(available: int) -> int:
    """Return how many of the ``available`` threads are this thread's share.

    The process backends of joblib, and dask where it starts processes, limit the threads of their workers
    themselves. Worker threads of one process are limited by nobody: n of them with n threads each would
    take n² cores' worth of switching. Anywhere else all of the threads may be used.

    Parameters
    ----------
    available : int
        Threads that would be used if nothing else ran.
    """
    if threading.current_thread() is threading.main_thread():
        return available
    backend, _ = get_active_backend()
    if getattr(backend, "nesting_level", 0):  # a worker thread of joblib
        return 1
    return max(1, available // max(1, _n_dask_threads()))


def _n_dask_threads() -> int:
    """Count the threads that all dask workers of this process run tasks in; 1 outside of them."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return 1
    try:
        distributed.get_worker()
    except ValueError:  # this thread is none of a worker's
        return 1
    return sum(
        worker.state.nthreads
        for worker in list(distributed.Worker._instances)
        if worker.status in (distributed.Status.running, distributed.Status.paused)
    )


def map_in_threads(function: Callable[[S], T], pieces: Sequence[S]) -> list[T]:
    """Apply a function to each piece, on all cores this process may use; results keep the order.

    NumPy lets go of the interpreter inside its loops, so plain threads are enough. Neighbouring
    pieces go to the same thread in runs, which costs one task a run instead of one a piece.
    """
    n_threads = min(usable_threads(), len(pieces))

    def run(part: Sequence[S]) -> list[T]:
        with np.errstate(all="ignore"):  # the setting is a thread's own
            return [function(piece) for piece in part]

    if n_threads < 2:
        return run(pieces)
    step = -(-len(pieces) // (4 * n_threads))
    parts = [pieces[start : start + step] for start in range(0, len(pieces), step)]
    with ThreadPoolExecutor(n_threads) as pool:
        return [result for results in pool.map(run, parts) for result in results]


def free_in_children(lock: L) -> L:
    """Return a lock that is free in a forked child, where the thread that held it does not run."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=lock._at_fork_reinit)
    return lock


_LOCK = free_in_children(threading.Lock())
_n_single = 0
_single: threadpool_limits | None = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep linear algebra to one thread, for pieces that share the cores better than products do.

    The limit is the process's: the first one in sets it, the last one out takes it back.
    """
    global _n_single, _single
    with _LOCK:
        if _n_single == 0:
            _single = threadpool_limits(1, user_api="blas")
        _n_single += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_single -= 1
            if _n_single == 0:
                _single.restore_original_limits()
                _single = None


def usable_threads() -> int:
    """Return the cores that joblib leaves to a worker of its own, or else all of this process."""
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limit = int(setting) if setting.isdigit() and int(setting) > 0 else joblib.cpu_count()
    return threads_per_task(limit)
