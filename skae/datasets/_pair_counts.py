"""Pairs of tags, counted by their differences: exactly, in little memory, at any rate."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

# Listing a pair costs about as much as finding where an edge falls among the tags of the other detector:
# bins that hold more pairs than this for each tag are counted by their edges.
_PAIRS_OF_AN_EDGE = 1.0

# Ticks for which a table tells the bin.
_TABLE = 2**18


def count_pairs(
    first: np.ndarray,
    second: np.ndarray,
    edges: np.ndarray,
    *,
    tags_at_once: int,
    pairs_at_once: int,
) -> np.ndarray:
    r"""Return how many pairs (i, j) have :math:`e_k \le t_j - t_i < e_{k+1}`, for each k.

    Bins with few pairs are filled with differences, one by one. Of bins with many, the pairs below each
    edge are counted without being listed: for each tag, those before the place that the edge has in the
    other row.

    Parameters
    ----------
    first, second : ndarray of shape (n_first,), (n_second,)
        Times :math:`t_i` and :math:`t_j`, int64, in order; they may be mapped.
    edges : ndarray of shape (n_bins + 1,)
        Edges, int64, increasing.
    tags_at_once, pairs_at_once : int
        How many of each are in memory.

    Raises
    ------
    ValueError
        If times and edges together do not fit into int64.
    """
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    if not (len(first) and len(second)):
        return counts
    edges = _within_reach(first, second, edges)
    widths = np.diff(edges.astype(np.float64))
    everywhere = len(second) / (int(second[-1]) - int(second[0]) + 1)
    for start in range(0, len(first), tags_at_once):
        tags = first[start : start + tags_at_once]
        rate = max(everywhere, _rate_beside(tags, second))
        for low, high, is_wide in _runs(widths * rate > _PAIRS_OF_AN_EDGE):
            part = edges[low : high + 1]
            if is_wide:
                counts[low:high] += np.diff([_pairs_below(tags, second, int(e)) for e in part])
            else:
                _fill(counts[low:high], tags, second, part, pairs_at_once)
    return counts


def _within_reach(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return edges that can be added to tags: those beyond all differences are drawn nearer."""
    limits = np.iinfo(np.int64)
    start, end = int(first[0]), int(first[-1])
    if start + int(edges[0]) < limits.min or end + int(edges[-1]) > limits.max:
        shortest, longest = int(second[0]) - end, int(second[-1]) - start
        if start + shortest < limits.min or end + longest + 1 > limits.max:
            raise ValueError(
                f"tags from {min(start, int(second[0]))} to {max(end, int(second[-1]))} lie too far "
                "apart, or too near to 2^63; subtract the first one from all, or use longer ticks"
            )
        edges = np.clip(edges, max(shortest, limits.min), min(longest + 1, limits.max))
    return edges


def _rate_beside(tags: np.ndarray, other: np.ndarray) -> float:
    """Return how many tags of the other row come in a tick, while these came."""
    low, high = int(tags[0]), int(tags[-1])
    n = bisect_left(other, high + 1) - bisect_left(other, low)
    return n / (high - low + 1)


def _runs(is_wide: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yield where neighbouring bins of one kind begin and end."""
    borders = np.flatnonzero(np.diff(is_wide)) + 1
    for low, high in pairwise([0, *borders.tolist(), len(is_wide)]):
        yield low, high, bool(is_wide[low])


def _pairs_below(tags: np.ndarray, other: np.ndarray, edge: int) -> int:
    """Return how many pairs have a difference below an edge."""
    low = bisect_left(other, int(tags[0]) + edge)
    high = bisect_left(other, int(tags[-1]) + edge, lo=low)
    n = low * len(tags)
    return n + int(np.searchsorted(other[low:high], tags + edge).sum()) if high > low else n


def _fill(
    counts: np.ndarray, tags: np.ndarray, other: np.ndarray, edges: np.ndarray, pairs_at_once: int
) -> None:
    """Add the differences between two edges to the bins."""
    low, high = int(edges[0]), int(edges[-1])
    other = other[bisect_left(other, int(tags[0]) + low) : bisect_left(other, int(tags[-1]) + high)]
    begin = np.searchsorted(other, tags + low)
    n_pairs = np.searchsorted(other, tags + high) - begin
    bin_of = _bins(edges)
    ends = np.cumsum(n_pairs)
    for done in range(0, int(ends[-1]), pairs_at_once):
        until = min(done + pairs_at_once, int(ends[-1]))
        # the tags that have these pairs; of the outer two perhaps not all
        i, j = np.searchsorted(ends, [done, until - 1], side="right")
        n = n_pairs[i : j + 1].copy()
        n[-1] -= ends[j] - until
        n[0] -= done - (ends[i] - n_pairs[i])
        shift = begin[i : j + 1] - (ends[i : j + 1] - n_pairs[i : j + 1])
        partners = np.arange(done, until) + np.repeat(shift, n)
        differences = other[partners] - np.repeat(tags[i : j + 1], n)
        counts += np.bincount(bin_of(differences), minlength=len(counts))


def _bins(edges: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what finds the bin of differences that lie between the outer edges."""
    low, width, extent = edges[0], edges[1] - edges[0], int(edges[-1]) - int(edges[0])
    if extent <= np.iinfo(np.int64).max and (np.diff(edges) == width).all():
        return lambda d: (d - low) // width
    if extent <= _TABLE:
        table = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        return lambda d: table[d - low]
    return lambda d: np.searchsorted(edges, d, side="right") - 1
