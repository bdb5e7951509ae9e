"""Times as whole ticks: what may be given for them, exactly, and the dead time of a detector."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from skae._numbers import refuse_dates

# Tags that are looked at together, so that a mapped file is never in memory as a whole.
_TAGS_AT_ONCE = 2**18

# Above this float64 has lost whole numbers.
_EXACT = 2**53


def as_ticks(values: Any, name: str) -> np.ndarray:
    """Return an array of one dimension as int64, mapped where it was mapped.

    Raises
    ------
    ValueError
        If it has other dimensions, fractions, or numbers beyond 2⁶³.
    """
    ticks = np.asarray(values)
    if ticks.ndim != 1:
        raise ValueError(f"{name} has shape {ticks.shape}; give one row of ticks")
    if ticks.size == 0:
        return np.empty(0, dtype=np.int64)
    refuse_dates(ticks)
    if ticks.dtype.kind == "f":
        _check_whole(ticks, name)
    elif ticks.dtype.kind not in "iu":
        raise ValueError(f"{name} has values of type {ticks.dtype}; give whole ticks, as int64")
    if ticks.dtype.kind == "u" and ticks.dtype.itemsize == 8:
        _check_signed(ticks, name)
        if ticks.dtype.isnative:
            return ticks.view(np.int64)
    return ticks.astype(np.int64, copy=False)


def _parts(ticks: np.ndarray, overlap: int = 0) -> Iterator[np.ndarray]:
    for start in range(0, len(ticks), _TAGS_AT_ONCE):
        yield ticks[start : start + _TAGS_AT_ONCE + overlap]


def _check_whole(ticks: np.ndarray, name: str) -> None:
    for part in _parts(ticks):
        wrong = ~(np.abs(part) <= _EXACT) | (part != np.rint(part))
        if wrong.any():
            raise ValueError(
                f"{name} has {part[wrong][0]!s}, which is no whole number of ticks that float64 holds; "
                f"divide seconds by the resolution: numpy.rint({name} / resolution).astype(numpy.int64)"
            )


def _check_signed(ticks: np.ndarray, name: str) -> None:
    for part in _parts(ticks):
        if part.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} reaches {part.max()}, beyond 2^63; subtract the first tag")


def check_sorted(ticks: np.ndarray, name: str) -> None:
    """Refuse tags that are not in order.

    Raises
    ------
    ValueError
        If one comes before the tag in front of it.
    """
    start = 0
    for part in _parts(ticks, overlap=1):
        falls = part[1:] < part[:-1]
        if falls.any():
            first = int(falls.argmax())
            raise ValueError(
                f"{name} is not in order: tag {start + first + 1} is {part[first + 1]}, the one before "
                f"{part[first]}; sort it, numpy.sort({name}), if these are the tags of one detector"
            )
        start += _TAGS_AT_ONCE


def alive(ticks: np.ndarray, dead_time: int) -> np.ndarray:
    """Return the tags that come ``dead_time`` ticks or more after the last one that is kept.

    Tags that are left out do not prolong it.
    """
    if dead_time == 0 or len(ticks) == 0:
        return ticks
    last = np.iinfo(np.int64).max
    dead_time = min(dead_time, last)
    kept, free = [], int(ticks[0])
    for part in _parts(ticks):
        place = np.searchsorted(part, free) if free <= part[-1] else len(part)
        # of each tag the first one that is late enough, and so kept if it is kept
        near = part[: np.searchsorted(part, last - dead_time, side="right")]
        following = np.searchsorted(part, near + dead_time).tolist()
        following += [len(part)] * (len(part) - len(near))
        places = []
        while place < len(part):
            places.append(place)
            place = following[place]
        if places:
            kept.append(part[places])
            free = int(kept[-1][-1]) + dead_time
    return np.concatenate(kept)
