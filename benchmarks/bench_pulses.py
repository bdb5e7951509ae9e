"""Where the coincidence is: PulseLocator beside the published network and filters, and how fast.

Split as published: 10,000 events, train_test_split(test_size=0.4, random_state=123), three seeds of the
generator, medians of three seeds of the fit (of nine for the published network, whose accuracy hangs on
them); the test half measures and chooses nothing. Then speed, beside the bare module and ONNX Runtime.

python benchmarks/bench_pulses.py [published] [speed] [--seeds 3]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from _pulses import PULSE_WIDTH, REFERENCE, PeakCoincidence, calibration_error
from _timing import interleave, print_ratios
from sklearn.model_selection import train_test_split

from skae import MatchedFilterLocator, PulseLocator
from skae.datasets import make_pulses
from skae.export import OnnxPredictor
from skae.metrics import position_accuracy, position_rmse


def _count_seeds(name, seeds):
    trained = {"reference network": 3 * seeds, "PulseLocator()": seeds, "residual": seeds}
    return trained.get(name, 1)


def bench_published(seeds):
    contenders = {
        "matched filter, width 0.5": lambda seed: MatchedFilterLocator(width=0.5),
        "matched filter, width 1.98": lambda seed: MatchedFilterLocator(width=PULSE_WIDTH),
        "find_peaks coincidence": lambda seed: PeakCoincidence(),
        "reference network": lambda seed: PulseLocator(**REFERENCE, random_state=seed),
        "PulseLocator()": lambda seed: PulseLocator(random_state=seed),
        "residual": lambda seed: PulseLocator(architecture="residual", random_state=seed),
    }
    accuracies = {name: [] for name in contenders}
    for generator in (123, 1, 2):
        X, y = make_pulses(random_state=generator)
        X, test, y, truth = train_test_split(X, y, test_size=0.4, random_state=123)
        print(
            f"\nPublished split, generator's seed {generator}: {len(X)} events, {len(test)} to test"
        )
        print(
            f"  {'':28s} {'accuracy':>8s} {'P(|Δ|>2)':>9s} {'core RMSE':>9s} {'RMSE':>6s} "
            f"{'mean RMSE':>9s} {'ECE':>7s} {'fit':>7s}"
        )
        for name, build in contenders.items():
            is_trained = isinstance(build(0), PulseLocator)
            rows = []
            for seed in range(_count_seeds(name, seeds)):
                start = time.perf_counter()
                model = build(seed).fit(X, y)
                seconds = time.perf_counter() - start
                p = model.predict(test)
                row = [
                    position_accuracy(truth, p),
                    1.0 - position_accuracy(truth, p, tolerance=2),
                    position_rmse(truth, p, within=2),
                    position_rmse(truth, p),
                ]
                if is_trained:
                    mean = model.set_params(estimate="mean").predict(test)
                    mode = model.predict_distribution(test).max(axis=1)
                    row += [position_rmse(truth, mean), calibration_error(mode, p == truth)]
                rows.append([*row, *([seconds] if is_trained else [])])
            accuracies[name] += [row[0] for row in rows]
            m = [statistics.median(column) for column in zip(*rows, strict=True)]
            more = f" {m[4]:9.3f} {m[5]:7.4f} {m[6]:5.0f} s" if is_trained else ""
            print(f"  {name:28s} {m[0]:8.4f} {m[1]:9.1e} {m[2]:9.3f} {m[3]:6.3f}{more}", flush=True)
            if is_trained:
                print(f"  {'':28s} seeds: {', '.join(f'{r[0]:.4f}' for r in rows)}")
    print(f"\nMean accuracy over the {3} seeds of the generator and all fits")
    for name, values in accuracies.items():
        print(f"  {name:28s} {np.mean(values):8.4f}   of {len(values)}: {min(values):.4f} and more")


class BareModule:
    """The torch module of a locator, handed all events at once, in its own units; and argmax."""

    def __init__(self, locator):
        self.locator = locator

    @torch.inference_mode()
    def predict(self, X):
        """Return the sample of each event."""
        x = torch.from_numpy((X - self.locator.center_.astype(np.float32)) / self.locator.scale_)
        return self.locator.module_(x.float()).argmax(dim=2)[:, 0].numpy()


def bench_speed():
    X, y = make_pulses(4000, random_state=0)
    models = {
        "matched filter": MatchedFilterLocator(width=0.5),
        "reference network": PulseLocator(**{**REFERENCE, "max_epochs": 1}),
        "PulseLocator()": PulseLocator(max_epochs=1),
        "residual": PulseLocator(architecture="residual", max_epochs=1),
    }
    for model in models.values():
        model.fit(X[:500], y[:500])
    for threads in (1, 2):
        torch.set_num_threads(threads)
        models["bare module"] = BareModule(models["PulseLocator()"])
        models["OnnxPredictor"] = OnnxPredictor(models["PulseLocator()"], n_threads=threads)
        for rows, repeats in ((4000, 1), (1, 100)):

            def predict(model, rows=rows, repeats=repeats):
                start = time.perf_counter()
                for _ in range(repeats):
                    model.predict(X[:rows])
                return (time.perf_counter() - start) / repeats

            calls = {name: lambda model=model: predict(model) for name, model in models.items()}
            seconds = interleave(calls, 7, self_timed=True)
            title = f"{rows} event(s) in a call, {threads} torch thread(s)"
            print_ratios(title, seconds, ["PulseLocator()", "reference network", "matched filter"])
            if rows > 1:
                for name, times in seconds.items():
                    print(f"    {name:26s} {rows / statistics.median(times):10.0f} events/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="published, speed; both without")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    parts = options.parts or ["published", "speed"]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "published" in parts:
        bench_published(options.seeds)
    if "speed" in parts:
        bench_speed()
