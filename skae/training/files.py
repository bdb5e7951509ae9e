"""Files that are whole or absent."""

import contextlib
import os
import secrets
from pathlib import Path

#: end of the names of files that are not whole yet
UNFINISHED = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it, and rename it; what was there before is kept until then.

    Raises
    ------
    OSError
        If that fails; nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the rename itself; Windows has no such thing
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some network mounts cannot
                os.fsync(folder)
        finally:
            os.close(folder)
