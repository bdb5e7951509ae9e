"""How much memory there is, and whether data fit into their share of it."""

import os
from pathlib import Path

import torch

#: shares of the main memory, and of a GPU's, up to which the rows of a fit are copied there
SHARE_OF_MEMORY = 0.1
SHARE_OF_DEVICE = 0.25

_UNKNOWN = 8 * 2**30


def should_stream(n_numbers: int, device: torch.device) -> bool:
    """Tell whether as many numbers in float32 are too many to be copied whole."""
    n_bytes = 4 * n_numbers
    if n_bytes > SHARE_OF_MEMORY * main_memory():
        return True
    if device.type != "cuda":
        return False
    _, total = torch.cuda.mem_get_info(device)  # what is free may be another amount the next time
    return n_bytes > SHARE_OF_DEVICE * total


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
