"""Checkpoints on disk: whole or absent, one folder a fit, with no pickle inside."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from skae._warn import warn
from skae.exceptions import CheckpointError, CheckpointWarning
from skae.training.packing import UNFINISHED, from_bytes, to_bytes, write_atomically

#: a fit writes at most this often, and never spends more than this share of its time on it
SECONDS_BETWEEN = 30.0
_SHARE_OF_TIME = 0.05

_SUFFIX = ".safetensors"
_KEPT = 2  # the newest, and the one before it in case the disk damages the newest


class Checkpoint:
    """The checkpoint of one fit: a folder with the newest state of the fit and the one before.

    A file appears under its name only when all of it is on the disk, so a killed process leaves the
    state before. While the folder is open no other fit can open it.

    Parameters
    ----------
    folder : path-like
        Where it lives; made if it is missing.
    identity : dict
        What the fit is: a state saved under another identity is refused.
    """

    def __init__(self, folder: str | os.PathLike, identity: dict[str, Any]):
        self.folder = Path(folder)
        self.identity = identity
        self._due = 0.0
        self._count = 0

    @contextlib.contextmanager
    def open(self) -> Iterator["Checkpoint"]:
        """Make the folder and keep other fits out of it.

        Raises
        ------
        CheckpointError
            If nothing can be written there.
        """
        lock = filelock.FileLock(self.folder / "lock")
        with self._explained("opened"):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                warn(
                    f"Another fit has the checkpoint {self.folder} open; waiting for it to end. "
                    f"(If there is none, delete {lock.lock_file}.)",
                    CheckpointWarning,
                )
                lock.acquire()
            except NotImplementedError:
                warn(
                    f"The file system of {self.folder} has no locks; make sure that no other process "
                    "makes the same fit.",
                    CheckpointWarning,
                )
        try:
            with self._explained("tidied"):
                for left_over in self.folder.glob(f"*{UNFINISHED}"):  # of a process that was killed
                    left_over.unlink()
            yield self
        finally:
            lock.release()

    def read(self) -> dict[str, Any] | None:
        """Return the newest state, or None where there is none.

        Raises
        ------
        CheckpointError
            If the newest file is damaged, of another format, or belongs to another fit.
        """
        files = self._files()
        if not files:
            return None
        self._count = int(files[-1].stem)
        with self._explained("read"):
            content = files[-1].read_bytes()
        try:
            saved = from_bytes(content)
        except ValueError as error:
            fallback = f" from {files[-2].name}, the one before" if len(files) > 1 else " afresh"
            raise CheckpointError(
                f"The checkpoint {files[-1]} cannot be read: {error}. Delete that file, and the same fit "
                f"starts{fallback}."
            ) from error
        if not isinstance(saved, dict) or "identity" not in saved:
            differences = ["it is no checkpoint of a fit"]
        else:
            differences = _differences(saved["identity"], self.identity)
        if differences:
            raise CheckpointError(
                f"The checkpoint {files[-1]} belongs to another fit: {'; '.join(differences)}. Use "
                "another folder, or delete this one."
            )
        return saved["state"]

    def write(self, state: dict[str, Any]) -> None:
        """Put a state on the disk: written, flushed, then renamed to its place.

        Raises
        ------
        CheckpointError
            If that fails; what was there before is still there.
        """
        start = time.monotonic()
        try:
            content = to_bytes({"identity": self.identity, "state": state})
        except TypeError as error:
            raise CheckpointError(
                f"This fit cannot be saved: {error}. Use checkpoint=None, or an optimizer and "
                "callbacks that keep plain numbers."
            ) from error
        self._count += 1
        path = self.folder / f"{self._count:08d}{_SUFFIX}"
        with self._explained("written"):
            write_atomically(path, content)
            for old in self._files()[:-_KEPT]:
                old.unlink()
        end = time.monotonic()
        self._due = end + max(SECONDS_BETWEEN, (end - start) / _SHARE_OF_TIME)

    def is_due(self) -> bool:
        """Tell whether the last state was written long enough ago."""
        return time.monotonic() >= self._due

    def _files(self) -> list[Path]:
        return sorted(f for f in self.folder.glob(f"*{_SUFFIX}") if f.stem.isdigit())

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Turn an error of the file system into one that says what to do."""
        try:
            yield
        except OSError as error:
            remedy = {
                errno.ENOSPC: "Free some space",
                errno.EDQUOT: "Free some space",
                errno.EROFS: "Choose a folder that is not mounted read-only",
                errno.EACCES: "Choose a folder that you may write to",
                errno.EPERM: "Choose a folder that you may write to",
                errno.ENOTDIR: "Choose a folder, not a file",
                errno.EEXIST: "Choose a folder, not a file",
            }.get(error.errno, "Choose another folder")
            raise CheckpointError(
                f"The checkpoint {self.folder} cannot be {done}: {error.strerror or error}. {remedy} and "
                "fit again: training goes on from the last state that was saved, if there is one."
            ) from error


def _differences(saved: Any, own: Any, name: str = "") -> list[str]:
    """Say in what two identities differ, entry by entry."""
    if isinstance(saved, dict) and isinstance(own, dict):
        return [
            difference
            for key in sorted({*saved, *own})
            for difference in _differences(
                saved.get(key), own.get(key), f"{name}.{key}" if name else key
            )
        ]
    if json.dumps(saved, sort_keys=True) == json.dumps(own, sort_keys=True):  # NaN equals NaN there
        return []
    return [f"{name} is {saved!r} there and {own!r} here"]
