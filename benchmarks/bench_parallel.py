"""What a search gains from two workers, and whether more threads than cores ever run.

GridSearchCV over 8 candidates × 3 folds of a small JetAutoencoder on 6,000 generated jets: one worker
with one and with two torch threads, two workers in two of joblib's backends, one and two processes of a
Dask cluster that has started.
Run: python benchmarks/bench_parallel.py
"""

import argparse
import contextlib
import os
import platform
import statistics
import threading
from functools import partial
from pathlib import Path

import joblib
import torch
from _timing import interleave, print_ratios
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV

from skae import JetAutoencoder
from skae.datasets import make_jets

GRID = {"n_components": [1, 2, 3, 4], "lr": [1e-3, 3e-3]}


def small_jets():
    X = make_jets(6_000, random_state=0)
    return (X - X.mean(axis=0)) / X.std(axis=0)


def search(X, n_jobs: int, threads: int, backend: str = "loky", **options) -> None:
    torch.set_num_threads(threads)
    model = JetAutoencoder(
        hidden_layer_sizes=(64, 32), max_epochs=30, batch_size=128, device="cpu", random_state=0
    )
    with joblib.parallel_config(backend=backend, **options):
        GridSearchCV(model, GRID, cv=3, n_jobs=n_jobs, refit=False, error_score="raise").fit(X)


class RunningThreads:
    """Samples how many threads of this process and its children run or are ready to run.

    The threads of joblib that hand out work wake up for moments; they are counted apart.
    """

    def __init__(self, seconds: float = 0.01):
        self.seconds = seconds
        self.counts: list[int] = []
        self.counts_with_helpers: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "RunningThreads":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        own = threading.get_native_id()
        while not self._ended.wait(self.seconds):
            running = {
                int(task.name)
                for process in _family(os.getpid())
                for task in Path(f"/proc/{process}/task").glob("*")
                if _is_running(task)
            } - {own}
            # a worker's name says so; the main thread and joblib's managers are Python's too
            helpers = {t.native_id for t in threading.enumerate() if "worker" not in t.name}
            self.counts_with_helpers.append(len(running))
            self.counts.append(len(running - helpers))


def _family(process: int) -> list[int]:
    """A process and all its descendants."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def _is_running(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "R"
    except OSError:  # it has ended
        return False


def main(turns: int) -> None:
    X = small_jets()
    names = {
        "n_jobs=1, 1 thread": partial(search, X, 1, 1),
        "n_jobs=1, 2 threads": partial(search, X, 1, 2),
        "n_jobs=2, loky": partial(search, X, 2, 2),
        "n_jobs=2, threading": partial(search, X, 2, 2, "threading"),
    }
    with contextlib.ExitStack() as clusters:
        on_dask = {}
        for n in (1, 2):
            cluster = LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
            client = clusters.enter_context(Client(clusters.enter_context(cluster)))
            on_dask[f"dask, {n} worker{'s' * (n > 1)}"] = partial(
                search, X, -1, 1, "dask", client=client
            )
        seconds = interleave(names | on_dask, turns)
    print_ratios(
        f"GridSearchCV, 8 candidates × 3 folds, {len(X)} rows, {os.cpu_count()} cores",
        seconds,
        ["n_jobs=2, loky"],
    )
    faster = [min(pair) for pair in zip(*(seconds[n] for n in list(names)[:2]), strict=True)]
    gains = [one / two for one, two in zip(faster, seconds["n_jobs=2, loky"], strict=True)]
    print(
        "  the faster of one and two threads over n_jobs=2, loky: "
        f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"
    )
    if Path("/proc/self/task").exists():
        for name in list(names)[2:]:
            with RunningThreads() as running:
                names[name]()
            cores, looks = os.cpu_count(), len(running.counts)
            more = [
                sum(count > cores for count in counts)
                for counts in (running.counts, running.counts_with_helpers)
            ]
            print(
                f"  {name}: {statistics.mean(running.counts):.2f} threads at work on average, more than "
                f"{cores} in {more[0]} of {looks} looks (in {more[1]} with joblib's own)"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="interleaved turns (default 5)")
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}")
    main(parser.parse_args().turns)
