"""Keep a fit that runs beside others from taking every core."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from skae._workers import threads_per_task

_LOCK = threading.Lock()
_limited: int = 0
_found: int = 1


@contextmanager
def fair_share_of_threads() -> Iterator[None]:
    """Run on this thread's share of torch's threads: all of them but in worker threads of a pool.

    The setting is the calling thread's own (OpenMP keeps it by thread), but new threads copy the last
    one made, so the last fit to leave puts the first one's finding back.
    """
    global _limited, _found
    before = torch.get_num_threads()
    if before == 1 or threads_per_task(before) == before:
        yield
        return
    with _LOCK:
        if _limited == 0:
            _found = before
        _limited += 1
        torch.set_num_threads(threads_per_task(before))
    try:
        yield
    finally:
        with _LOCK:
            _limited -= 1
            torch.set_num_threads(_found if _limited == 0 else before)
