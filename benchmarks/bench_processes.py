"""One fit in one and in two processes, through Accelerate: its time, and whether it is the same fit.

    python benchmarks/bench_processes.py

Each process has one torch thread; what is timed is ``fit``, of processes that have started. One process
with two threads, which needs no Accelerate, stands beside.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time

import torch

WAYS = {
    "1 process, 1 thread": (1, 1),
    "1 process, 2 threads": (1, 2),
    "2 processes, 1 thread each": (2, 1),
}


def make_models():
    """Return estimators and their data: a large dense network, and one that is recurrent."""
    from skae import JetAutoencoder, MultiResRNNRegressor
    from skae.datasets import make_jets, make_photon_correlations

    X = make_jets(50_000, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    dense = JetAutoencoder(
        hidden_layer_sizes=(800, 400, 200), batch_size=2048, max_epochs=3, random_state=0
    )
    traces = make_photon_correlations(512, random_state=0)
    recurrent = MultiResRNNRegressor(batch_size=128, max_epochs=2, random_state=0)
    return {
        "JetAutoencoder, 800-400-200, batch 2048": (dense, (X,)),
        "MultiResRNNRegressor, 1501 delays, batch 128": (recurrent, (traces.noisy, traces.clean)),
    }


def fit_here(threads: int) -> None:
    """Fit in this process of several, and print times and curves."""
    from accelerate import Accelerator

    import skae

    torch.set_num_threads(threads)
    accelerator = Accelerator(cpu=True)
    results = {}
    for name, (model, data) in make_models().items():
        with skae.distribute(accelerator):
            model.fit(*(part[:256] for part in data))
            accelerator.wait_for_everyone()
            start = time.perf_counter()
            model.fit(*data)
        results[name] = [time.perf_counter() - start, model.loss_curve_]
    if accelerator.is_main_process:
        print(json.dumps(results))
    accelerator.end_training()


def fit_in(n_processes: int, threads: int) -> dict:
    """Start the processes of one row; return what the first one printed."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--here", str(threads)],
            env=os.environ
            | {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(n_processes)}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
        )
        for rank in range(n_processes)
    ]
    output = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a process failed")
    return json.loads(output[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        fit_here(arguments.here)
        return
    print(f"torch {torch.__version__}, {os.cpu_count()} cores of {platform.machine()}")
    turns = [{way: fit_in(*counts) for way, counts in WAYS.items()} for _ in range(arguments.turns)]
    one = next(iter(WAYS))
    for name in turns[0][one]:
        print(f"\n{name}: medians of {arguments.turns}")
        print(f"{'':30}{'fit':>10}{'× ' + one:>24}{'largest difference of losses':>32}")
        for way in WAYS:
            seconds = statistics.median(turn[way][name][0] for turn in turns)
            ratio = statistics.median(turn[way][name][0] / turn[one][name][0] for turn in turns)
            pairs = zip(turns[0][way][name][1], turns[0][one][name][1], strict=True)
            difference = max(abs(loss / other - 1.0) for loss, other in pairs)
            print(f"{way:30}{seconds:>8.1f} s{ratio:>24.2f}{difference:>32.1e}")


if __name__ == "__main__":
    main()
