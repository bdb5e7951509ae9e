"""Keep a fit that runs beside others from taking every core."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from joblib.parallel import get_active_backend

_LOCK = threading.Lock()
_limited: int = 0
_found: int = 1


@contextmanager
def fair_share_of_threads() -> Iterator[None]:
    """Run on one torch thread inside a worker thread of joblib; elsewhere change nothing.

    joblib's process backends limit the threads of their workers themselves. Its threading backend
    does not, and n workers of n threads each would take n² cores' worth of switching. The setting
    is the calling thread's own (OpenMP keeps it by thread), but new threads copy the last one
    made, so the last fit to leave puts the first one's finding back.
    """
    global _limited, _found
    backend, _ = get_active_backend()
    nested = getattr(backend, "nesting_level", 0) or 0
    if nested == 0 or threading.current_thread() is threading.main_thread():
        yield
        return
    with _LOCK:
        before = torch.get_num_threads()
        if _limited == 0:
            _found = before
        _limited += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            _limited -= 1
            torch.set_num_threads(_found if _limited == 0 else before)
