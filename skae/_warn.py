"""Warnings that point at the user's line."""

import sys
import threading
import warnings
from types import FrameType

# Libraries whose lines the user has not written, but called.
_LIBRARIES = (
    "skae",
    "sklearn",
    "skops",
    "skorch",
    "torch",
    "joblib",
    "numpy",
    "pandas",
    "polars",
    "scipy",
)
_OF_PYTHON = ("concurrent", "contextlib", "functools", "multiprocessing", "threading")
_INSIDE = {*_LIBRARIES, *_OF_PYTHON}


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and point at the first line outside of skae, and of what it is called through.

    In a thread of a library's, joblib's say, there is none: then at the line where the main thread waits.
    """
    here = sys._getframe(1)
    main = sys._current_frames().get(threading.main_thread().ident or 0)
    frame = _outside(here) or _outside(main) or here
    names = frame.f_globals
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=names.get("__name__"),
        registry=names.setdefault("__warningregistry__", {}),
    )


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the first frame that no library has written."""
    while frame is not None and _library_of(frame.f_globals) in _INSIDE:
        frame = frame.f_back
    return frame


def _library_of(names: dict) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
