"""Warnings that point at the user's line."""

import sys
import warnings

# Libraries whose lines the user has not written, but called.
_INSIDE = ("skae", "sklearn", "skops", "skorch", "torch", "numpy", "contextlib")


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and point at the first line outside of skae, and of what it is called through."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _library_of(frame.f_globals) in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _library_of(names: dict) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
