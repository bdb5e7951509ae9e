"""Interleaved timing: machines drift, so rivals take turns and ratios are formed turn by turn."""

import statistics
import time
from collections.abc import Callable


def interleave(
    contenders: dict[str, Callable[[], object]], turns: int, *, self_timed: bool = False
) -> dict[str, list[float]]:
    """Time each contender once a turn, in rotating order, after one turn that is not counted.

    With ``self_timed`` a contender returns the seconds that count.

    Returns
    -------
    seconds : dict
        For each contender, its time in each turn.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            result = contenders[name]()
            if turn:
                seconds[name].append(result if self_timed else time.perf_counter() - start)
    return seconds


def print_ratios(title: str, seconds: dict[str, list[float]], references: list[str]) -> None:
    """Print medians, and the medians over turns of each contender's ratios to the references."""
    print(f"\n{title}")
    heads = "".join(f"{'× ' + reference:>26s}" for reference in references)
    print(f"  {'':28s} {'median':>10s}{heads}")
    for name, times in seconds.items():
        ratios = [
            statistics.median(t / r for t, r in zip(times, seconds[reference], strict=True))
            for reference in references
        ]
        print(
            f"  {name:28s} {1e3 * statistics.median(times):7.1f} ms"
            + "".join(f"{ratio:26.2f}" for ratio in ratios)
        )
