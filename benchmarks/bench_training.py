"""What the training engine costs beside a hand-written torch loop, and beside skorch's defaults.

The AE_3D_200 network (4-200-100-50-3 and back, tanh) on 50,000 rows: one epoch, for each batch size, as
written and compiled; the time scikit-learn's MLPRegressor takes to the same loss; encode and decode of
27,945 jets beside the bare module; and peak memory. Run: python benchmarks/bench_training.py
"""

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from _memory import is_measurable, peak_memory
from _timing import interleave, print_ratios
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNetRegressor
from torch import nn

from skae import JetAutoencoder
from skae.datasets import make_jets

N_ROWS = 50_000
N_JETS = 27_945


def standardised_jets(n: int) -> np.ndarray:
    X = make_jets(n, random_state=0)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)


def bare_network() -> tuple[nn.Sequential, nn.Sequential]:
    def stack(*sizes):
        layers = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    return stack(4, 200, 100, 50, 3), stack(3, 50, 100, 200, 4)


def hand_written_epochs(
    X: np.ndarray, batch_size: int, epochs: int = 1, *, compiled: bool = False
) -> list[float]:
    """The loop an expert would write: permute once, slice, fused optimiser, schedule by the step.

    Returns the seconds of each epoch. Compiling the optimiser's step as well makes it slower here.
    """
    torch.manual_seed(0)
    module = nn.Sequential(*bare_network())
    x = torch.from_numpy(X.copy())
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=1e-6, fused=True)
    steps = epochs * -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)

    def loss_of(batch):
        return nn.functional.mse_loss(module(batch), batch)

    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        shuffled = x[torch.randperm(len(x))]
        for first in range(0, len(x), batch_size):
            batch = shuffled[first : first + batch_size]
            optimizer.zero_grad()
            loss_of(batch).backward()
            optimizer.step()
            schedule.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def skorch_default_epochs(X: np.ndarray, batch_size: int, epochs: int = 1) -> NeuralNetRegressor:
    net = NeuralNetRegressor(
        nn.Sequential(*bare_network()),
        optimizer=torch.optim.AdamW,
        lr=3e-3,
        max_epochs=epochs,
        batch_size=batch_size,
        train_split=None,
        verbose=0,
    )
    return net.fit(X, X)


def skae_epochs(X: np.ndarray, batch_size: int, epochs: int = 1, **options) -> JetAutoencoder:
    parameters = {"activation": "tanh", "device": "cpu", "random_state": 0, **options}
    return JetAutoencoder(max_epochs=epochs, batch_size=batch_size, **parameters).fit(X)


def skae_epochs_with_checkpoint(X: np.ndarray, batch_size: int, epochs: int = 1) -> JetAutoencoder:
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # another each time: nothing is there to go on from
        return skae_epochs(X, batch_size, epochs, checkpoint=folder)


def later_epochs(train, *args, **options) -> float:
    """Return the mean seconds of an epoch of which the first, in which code is compiled, is left out."""
    run = train(*args, **options)
    seconds = run if isinstance(run, list) else run.history_[:, "dur"]
    return statistics.mean(seconds[1:])


TRAINERS = {
    "hand-written loop": hand_written_epochs,
    "skae": skae_epochs,
    "skorch defaults": skorch_default_epochs,
}


def bench_epoch(turns: int) -> None:
    X = standardised_jets(N_ROWS)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for batch_size in (256, 1024):
            contenders = {
                name: (lambda train=train, size=batch_size: train(X, size))
                for name, train in TRAINERS.items()
            }
            print_ratios(
                f"One epoch, {N_ROWS} rows, batch {batch_size}, {threads} torch thread(s)",
                interleave(contenders, turns),
                ["hand-written loop", "skorch defaults"],
            )


def bench_compiled(turns: int) -> None:
    X = standardised_jets(N_ROWS // 256 * 256)  # full batches: the rivals compile for one size too
    for threads, batch_size in ((1, 256), (2, 256), (2, 1024)):
        torch.set_num_threads(threads)
        rows = X[: len(X) // batch_size * batch_size]
        runs = {
            "hand-written, compiled": (hand_written_epochs, {"compiled": True}),
            "skae, compile": (skae_epochs, {"compile": True}),
            "skae": (skae_epochs, {}),
            "skae, checkpoint": (skae_epochs_with_checkpoint, {}),
            "skae, bf16": (skae_epochs, {"precision": "bf16-mixed"}),
            "skae, bf16, compile": (
                skae_epochs,
                {"precision": "bf16-mixed", "compile": True},
            ),
        }
        contenders = {
            name: partial(later_epochs, train, rows, batch_size, 4, **options)
            for name, (train, options) in runs.items()
        }
        print_ratios(
            f"An epoch behind the first, {len(rows)} rows, batch {batch_size}, {threads} torch "
            "thread(s)",
            interleave(contenders, turns, self_timed=True),
            ["hand-written, compiled", "skae"],
        )


def bench_batch_sizes(turns: int, threads: int = 2) -> None:
    X = standardised_jets(N_ROWS)
    torch.set_num_threads(threads)
    print(
        f"\nOne epoch, {N_ROWS} rows, {threads} torch threads: milliseconds (× hand-written loop)"
    )
    print(f"  {'batch':>8s}" + "".join(f"{name:>24s}" for name in TRAINERS))
    for batch_size in (64, 128, 256, 512, 1024, 2048, 4096, 8192):
        seconds = interleave(
            {name: partial(train, X, batch_size) for name, train in TRAINERS.items()}, turns
        )
        cells = []
        for times in seconds.values():
            ratios = [t / bare for t, bare in zip(times, seconds["hand-written loop"], strict=True)]
            cells.append(f"{1e3 * statistics.median(times):.0f} ({statistics.median(ratios):.2f})")
        print(f"  {batch_size:8d}" + "".join(f"{cell:>24s}" for cell in cells))


def bench_equal_loss(epochs: int = 20, threads: int = 2) -> None:
    """How long scikit-learn's MLPRegressor takes to a loss, and how long skae takes to the same."""
    X = standardised_jets(N_ROWS)
    torch.set_num_threads(threads)
    print(f"\nTime to equal loss, {N_ROWS} rows, batch 256, {threads} torch threads, three seeds")
    print(f"  {'':6s}{'MLPRegressor':>34s}{'skae':>34s}{'ratio':>8s}")
    ratios = []
    for seed in range(3):
        rival = MLPRegressor(
            hidden_layer_sizes=(200, 100, 50, 3, 50, 100, 200),
            activation="tanh",
            batch_size=256,
            max_iter=epochs,
            n_iter_no_change=epochs,
            random_state=seed,
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            rival.fit(X, X)
        rival_seconds = time.perf_counter() - start
        goal = np.mean((rival.predict(X) - X) ** 2)
        for tried in (1, 2, 3, 4, 6, 8, 12, 16, 24):
            start = time.perf_counter()
            model = skae_epochs(X, 256, tried, random_state=seed)
            own_seconds = time.perf_counter() - start
            loss = -model.score(X)
            if loss <= goal:
                break
        ratios.append(own_seconds / rival_seconds)
        reached = "" if loss <= goal else " (not reached)"
        print(
            f"  seed {seed}{f'{goal:.1e} in {epochs} epochs, {rival_seconds:5.1f} s':>34s}"
            f"{f'{loss:.1e} in {tried} epochs, {own_seconds:5.1f} s':>34s}{ratios[-1]:8.3f}{reached}"
        )
    print(f"  median ratio {statistics.median(ratios):.3f}")


def bench_inference(turns: int) -> None:
    X = standardised_jets(N_JETS)
    model = skae_epochs(X, 1024)
    Z = model.transform(X)
    encoder, decoder = bare_network()

    def bare(module, array):
        with torch.inference_mode():
            return module(torch.from_numpy(array)).numpy()

    for threads in (1, 2):
        torch.set_num_threads(threads)
        for title, contenders in {
            "Encode": {
                "bare module": lambda: bare(encoder, X),
                "skae transform": lambda: model.transform(X),
            },
            "Decode": {
                "bare module": lambda: bare(decoder, Z),
                "skae inverse_transform": lambda: model.inverse_transform(Z),
            },
        }.items():
            print_ratios(
                f"{title} {N_JETS} jets, {threads} torch thread(s)",
                interleave(contenders, turns),
                ["bare module"],
            )


def _peak_memory(name: str, n: int, connection) -> None:
    X = np.random.default_rng(0).standard_normal((n, 4), dtype=np.float32)
    TRAINERS[name](X[:20_000], 1024)  # whatever is allocated once, is
    connection.send(peak_memory(lambda: TRAINERS[name](X, 1024)))


def bench_memory(n: int = 5_000_000) -> None:
    if not is_measurable():
        print("\nPeak memory: measured on Linux only")
        return
    data = n * 4 * 4 / 2**20
    print(f"\nPeak memory of one epoch above input and imports, {n} rows ({data:.0f} MiB of data)")
    context = multiprocessing.get_context("spawn")
    bare = None
    for name in ("hand-written loop", "skae"):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_peak_memory, args=(name, n, sender))
        process.start()
        peak = receiver.recv()
        process.join()
        bare = peak if bare is None else bare
        print(f"  {name:44s} {peak:7d} MiB   above the loop: {(peak - bare) / data:5.2f} × data")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="interleaved turns (default 9)")
    turns = parser.parse_args().turns
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}")
    bench_epoch(turns)
    bench_batch_sizes(max(3, turns // 2))
    bench_compiled(turns)
    bench_equal_loss()
    bench_inference(4 * turns)
    bench_memory()
