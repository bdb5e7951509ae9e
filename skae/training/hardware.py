"""Surroundings of a fit: its device, memory and share of the cores, and settings of torch and NumPy."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from skae._workers import free_in_children, threads_per_task

S = TypeVar("S")

#: shares of the main memory, and of a GPU's, up to which the rows of a fit are copied there
SHARE_OF_MEMORY = 0.1
SHARE_OF_DEVICE = 0.25

#: bytes up to which they are copied where the CPU computes: more are there already
MOST_ON_CPU = 2**29

_UNKNOWN = 8 * 2**30

_LOCK = free_in_children(threading.Lock())
_limited: int = 0
_found: int = 1


def _keep_to_one_thread() -> None:
    """Leave one thread to a forked child: it would wait for ever for others, which the parent has."""
    global _limited, _found
    _limited, _found = 0, 1
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_to_one_thread)


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into cuda, mps or cpu, whichever is there first, and check any other name.

    Raises
    ------
    ValueError
        If the device is unknown or not there.
    """
    if device == "auto":
        if torch.cuda.is_available():  # pragma: other device
            return torch.device("cuda")
        if torch.backends.mps.is_available():  # pragma: other device
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here; use device='auto' for the best one there is, "
            f"or 'cpu'. (torch says: {str(error).splitlines()[0]})"
        ) from error
    return resolved


def fits_in_memory(n_numbers: int, device: torch.device) -> bool:
    """Tell whether as many numbers in float32 should be copied whole: they are read faster then."""
    n_bytes = 4 * n_numbers
    if n_bytes > SHARE_OF_MEMORY * main_memory():
        return False
    if device.type == "cpu":
        return n_bytes <= MOST_ON_CPU
    if device.type != "cuda":
        return True
    _, total = torch.cuda.mem_get_info(device)  # what is free may be another amount the next time
    return n_bytes <= SHARE_OF_DEVICE * total


def main_memory() -> int:
    """Return the bytes of main memory this process may use: of the machine, or of its container."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _limit_files():
        try:
            sizes.append(int(limit.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(sizes, default=_UNKNOWN)


def _limit_files(own: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> list[Path]:
    """Return where Linux may keep memory limits: of this process's control group and those around it."""
    files = []
    try:
        lines = Path(own).read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "1:memory:/", *lines]:  # versions 2 and 1
        _, controllers, path = line.split(":", 2)
        base, name = {
            "": (Path(root), "memory.max"),
            "memory": (Path(root) / "memory", "memory.limit_in_bytes"),
        }.get(controllers, (None, ""))
        if base is not None:
            group = base / path.strip("/")
            files += [g / name for g in (group, *group.parents) if g.is_relative_to(base)]
    return files


# Devices for which autocast may be on, and what NumPy does by default about numbers that go wrong.
_AUTOCAST = ("cpu", "cuda", "mps")
_ERRORS: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def own_settings() -> Iterator[None]:
    """Run as in a program that has set nothing, on this thread's share of torch's threads.

    A default device, inference mode, gradients that are off, autocast and NumPy's ``errstate`` are the
    calling thread's own, and are put aside inside. The default dtype is not: other threads may need it,
    so that what makes a tensor names its dtype, and layers are made inside of
    :func:`skae.training.seeding.seeded_initialisation`.
    """
    made = torch.empty(0)  # tells where and how tensors are made, faster than torch does
    is_plain = made.is_cpu and torch.is_grad_enabled() and not made.is_inference()
    is_plain &= threading.current_thread() is threading.main_thread()
    autocast = [*filter(torch.is_autocast_enabled, _AUTOCAST)]
    with np.errstate(**_ERRORS):
        if is_plain and not autocast:
            yield
            return
        with ExitStack() as stack:
            if not made.is_cpu:
                stack.enter_context(torch.device("cpu"))
            if made.is_inference():
                stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for kind in autocast:
                stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(_fair_share_of_threads())
            yield


@contextmanager
def _fair_share_of_threads() -> Iterator[None]:
    """Run on this thread's share of torch's threads: all of them but in worker threads of a pool.

    The setting is the calling thread's own (OpenMP keeps it by thread), but new threads copy the last
    one made, so the last fit to leave puts the first one's finding back.
    """
    global _limited, _found
    before = torch.get_num_threads()
    is_main = threading.current_thread() is threading.main_thread()
    if is_main or before == 1 or threads_per_task(before) == before:
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
            torch.set_num_threads(_found if _limited <= 0 else before)


def for_each_piece(
    function: Callable[[S], object], pieces: Sequence[S], *, side_by_side: bool
) -> None:
    """Call a function with each piece, one after the other or side by side.

    Parameters
    ----------
    function : callable
        Called with one piece; what it returns is thrown away.
    pieces : sequence
        All pieces.
    side_by_side : bool
        Share them among as many threads as torch has here, each with one for its products.
    """
    before = torch.get_num_threads() if side_by_side else 1
    if before == 1:
        for piece in pieces:
            function(piece)
        return
    errors, left, lock, is_over = np.geterr(), iter(pieces), threading.Lock(), False

    def work() -> None:
        torch.set_num_threads(1)  # OpenMP's are a thread's own, others the process's
        with np.errstate(**errors):  # a thread's own, too
            while not is_over:
                with lock:
                    piece = next(left, None)
                if piece is None:
                    return
                function(piece)

    try:
        if len(pieces) == 1:
            work()
            return
        n_threads = min(before, len(pieces))
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                for done in [pool.submit(work) for _ in range(n_threads)]:
                    done.result()
            finally:
                is_over = True  # the others stop at their next piece
    finally:
        # threads that met torch meanwhile copied the setting, and stay with one
        torch.set_num_threads(before)
