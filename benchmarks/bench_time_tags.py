"""What correlating time tags costs beside what one writes down with NumPy, or compiles with numba.

Independent tags at 1 MHz in each of two channels, in ticks of 1 ns: 10⁷ of each in 1000 bins of ±500 ns,
then 10⁶ of each in wider ones, and in bins that are even in the logarithm, from 1 ns to 1 s. All
contenders run on one core and give the same counts. numba is left out where it is not installed. Run:
python benchmarks/bench_time_tags.py
"""

import argparse
import os
import platform
from functools import partial
from importlib import metadata, util

import numpy as np
from _memory import is_measurable, peak_memory
from _timing import interleave, print_ratios

from skae.datasets import correlate_tags

RATE = 1e-3  # tags in a tick of 1 ns


def row(n: int, seed: int) -> np.ndarray:
    """Tags of a Poisson process."""
    return np.sort(np.random.default_rng(seed).integers(int(n / RATE), size=n))


def with_skae(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return correlate_tags(first, second, edges).counts


def differences(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """All differences within the edges, at once."""
    begin = np.searchsorted(second, first + edges[0])
    n = np.searchsorted(second, first + edges[-1]) - begin
    partners = np.arange(n.sum()) + np.repeat(begin - np.cumsum(n) + n, n)
    return second[partners] - np.repeat(first, n)


def with_histogram(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Fill the bins with the differences; np.histogram counts the last edge, too."""
    return np.histogram(differences(first, second, edges), edges)[0]


def with_searchsorted(first: np.ndarray, second: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count the pairs below each edge."""
    return np.diff([np.searchsorted(second, first + edge).sum() for edge in edges])


def with_numba():
    """Compile a double loop."""
    import numba

    @numba.njit
    def count(first, second, edges):
        counts = np.zeros(len(edges) - 1, dtype=np.int64)
        low, high, width = edges[0], edges[-1], edges[1] - edges[0]
        start = 0
        for i in range(len(first)):
            while start < len(second) and second[start] - first[i] < low:
                start += 1
            j = start
            while j < len(second) and second[j] - first[i] < high:
                counts[(second[j] - first[i] - low) // width] += 1
                j += 1
        return counts

    return count


def compare(title: str, contenders: dict, n: int, edges: np.ndarray, turns: int) -> None:
    """Time the contenders, and print what they need beside the tags."""
    first, second = row(n, 0), row(n, 1)
    expected = with_skae(first, second, edges)
    for count in contenders.values():
        np.testing.assert_array_equal(count(first, second, edges), expected)
    calls = {name: partial(count, first, second, edges) for name, count in contenders.items()}
    heading = f"{title}, {expected.sum():.3g} pairs, medians of {turns}"
    print_ratios(heading, interleave(calls, turns), ["correlate_tags"])
    if is_measurable():
        for name, call in calls.items():
            print(f"  peak memory above the tags, {name:24s} {peak_memory(call):6d} MiB")


def main(turns: int) -> None:
    contenders = {"correlate_tags": with_skae, "np.histogram of all pairs": with_histogram}
    if util.find_spec("numba"):
        contenders["numba"] = with_numba()
    else:
        print("numba is not installed: left out")
    edges = np.arange(-500, 501)
    compare("10^7 tags in each channel, 1000 bins of 1 ns", contenders, 10**7, edges, turns)
    contenders = {"correlate_tags": with_skae, "searchsorted of each edge": with_searchsorted}
    few = np.arange(-500, 501, 10)
    compare("10^6 tags in each channel, 100 bins of 10 ns", contenders, 10**6, few, turns)
    edges = np.unique(np.geomspace(1, 10**9, 201).astype(np.int64))
    title = f"10^6 tags in each channel, {len(edges) - 1} bins from 1 ns to 1 s"
    compare(title, contenders, 10**6, edges, turns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="interleaved turns (default 3)")
    turns = parser.parse_args().turns
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch"))
    print(
        f"{versions} (not used), {os.cpu_count()} cores of {platform.machine()}, one of them used"
    )
    main(turns)
