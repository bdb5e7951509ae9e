"""What the training engine costs beside a hand-written torch loop, and beside skorch's defaults.

One epoch of the AE_3D_200 network (4-200-100-50-3 and back, tanh) on 50,000 rows, encode and decode
of 27,945 jets beside the bare module, and peak memory. Run: python benchmarks/bench_training.py
"""

import argparse
import multiprocessing
import platform
from itertools import pairwise

import numpy as np
import torch
from _memory import is_measurable, peak_memory
from _timing import interleave, print_ratios
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


def hand_written_epochs(X: np.ndarray, batch_size: int, epochs: int = 1) -> nn.Module:
    """The loop an expert would write: permute once, slice, fused optimiser, schedule by the step."""
    torch.manual_seed(0)
    module = nn.Sequential(*bare_network())
    x = torch.from_numpy(X.copy())
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=1e-6, fused=True)
    steps = epochs * -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
    for _ in range(epochs):
        shuffled = x[torch.randperm(len(x))]
        for start in range(0, len(x), batch_size):
            batch = shuffled[start : start + batch_size]
            optimizer.zero_grad()
            nn.functional.mse_loss(module(batch), batch).backward()
            optimizer.step()
            schedule.step()
    return module


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


def skae_epochs(X: np.ndarray, batch_size: int, epochs: int = 1) -> JetAutoencoder:
    return JetAutoencoder(
        activation="tanh", max_epochs=epochs, batch_size=batch_size, device="cpu", random_state=0
    ).fit(X)


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
    bench_inference(4 * turns)
    bench_memory()
