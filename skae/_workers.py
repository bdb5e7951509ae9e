"""How many threads a piece of work may take where others run beside it in the same process."""

import sys
import threading

from joblib.parallel import get_active_backend


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
