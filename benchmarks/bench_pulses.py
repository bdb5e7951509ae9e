"""Where the coincidence is: PulseLocator beside the published network, filters and exact limits.

Split as published: 10,000 events, train_test_split(test_size=0.4, random_state=123), three seeds of the
generator, medians of three seeds of the fit (of nine for the published network, whose accuracy hangs on
them); the test half measures and chooses nothing. Then noise: one
pulse in white noise, with the Cramér-Rao bound, and the default events with noise. Then speed.

python benchmarks/bench_pulses.py [published] [noise] [speed] [--seeds 3]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from _timing import interleave, print_ratios
from scipy.signal import find_peaks
from scipy.stats import kstest
from sklearn.model_selection import train_test_split

from skae import MatchedFilterLocator, PulseLocator
from skae.datasets import make_pulses
from skae.metrics import position_accuracy, position_rmse

SNRS = (5, 10, 20)
PULSE_WIDTH = 0.02 * 99  # samples

#: as published: Adam, 0.01, 500 steps of 500 (504 here, a whole number of epochs)
REFERENCE = {
    "architecture": "reference",
    "optimizer": "adam",
    "lr": 0.01,
    "lr_schedule": "constant",
    "weight_decay": 0.0,
    "batch_size": 500,
    "max_epochs": 42,
    "permute_traces": False,
    "reverse_time": False,
}


class PeakCoincidence:
    """Peaks of every trace with scipy.signal.find_peaks; the triplet that lies closest together."""

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def predict(self, X):
        """Return the sample of each event."""
        return np.array([self._coincidence(event) for event in X])

    def _coincidence(self, event):
        peaks = [find_peaks(trace, prominence=1.0)[0] for trace in event]
        candidates = np.unique(np.concatenate(peaks))
        if len(candidates) == 0:
            return event.shape[1] // 2
        spread = sum(
            np.abs(candidates[:, None] - p).min(axis=1) if len(p) else np.full(len(candidates), 99)
            for p in peaks
        )
        best = candidates[spread == spread.min()]
        height = event[:, best].sum(axis=0)
        return best[height.argmax()]


class MaximumLikelihood:
    """The position that fits best, where that is defined: one pulse of known shape in white noise."""

    def fit(self, X, y=None):
        """Lay out the positions to try."""
        self.grid_ = np.arange(0, X.shape[2] - 1 + 1e-9, 0.01)
        t = np.arange(X.shape[2])
        self.shapes_ = np.exp(-0.5 * ((t - self.grid_[:, None]) / PULSE_WIDTH) ** 2)
        self.energy_ = (self.shapes_**2).sum(axis=1)
        return self

    def predict(self, X):
        """Return the position of each event."""
        K = X.shape[1]
        return np.concatenate([
            self.grid_[
                (5.0 * part.sum(axis=1) @ self.shapes_.T - 12.5 * K * self.energy_).argmax(axis=1)
            ]
            for part in np.array_split(X, max(1, len(X) // 500))
        ])  # fmt: skip


def calibration_error(probability, correct, bins=15):
    """Expected calibration error (Naeini et al., 2015): |confidence − accuracy|, averaged over bins."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for k in np.unique(index):
        inside = index == k
        error += inside.mean() * abs(probability[inside].mean() - correct[inside].mean())
    return error


def _count_seeds(name, seeds):
    return {"reference network": 3 * seeds, "PulseLocator()": seeds}.get(name, 1)


def bench_published(seeds):
    contenders = {
        "matched filter, width 0.5": lambda seed: MatchedFilterLocator(width=0.5),
        "matched filter, width 1.98": lambda seed: MatchedFilterLocator(width=PULSE_WIDTH),
        "find_peaks coincidence": lambda seed: PeakCoincidence(),
        "reference network": lambda seed: PulseLocator(**REFERENCE, random_state=seed),
        "PulseLocator()": lambda seed: PulseLocator(random_state=seed),
    }
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
            m = [statistics.median(column) for column in zip(*rows, strict=True)]
            more = f" {m[4]:9.3f} {m[5]:7.4f} {m[6]:5.0f} s" if is_trained else ""
            print(f"  {name:28s} {m[0]:8.4f} {m[1]:9.1e} {m[2]:9.3f} {m[3]:6.3f}{more}", flush=True)
            if is_trained:
                print(f"  {'':28s} seeds: {', '.join(f'{r[0]:.4f}' for r in rows)}")


def cramer_rao(snr, n_traces=3, n_times=100):
    """Bound on the standard deviation of a pulse's position, averaged over where it may be."""
    t = np.arange(n_times)
    positions = np.linspace(0.05, 0.95, 901) * (n_times - 1)
    z = (t - positions[:, None]) / PULSE_WIDTH
    slope = np.exp(-0.5 * z**2) * z / PULSE_WIDTH
    return np.sqrt(np.mean(1.0 / (n_traces * snr**2 * (slope**2).sum(axis=1))))


def bench_noise(seeds, n_train, epochs):
    for title, options in (
        ("One pulse in white noise", {"baseline": False, "background_rate": 0.0}),
        ("Default events with white noise", {}),
    ):
        is_single = bool(options)
        print(f"\n{title}, fractional truth")
        print(f"{n_train} events, {epochs} epochs, 10000 events to test, medians of {seeds} seeds")
        print(
            f"  {'':28s} {'σ(Δ)':>8s} {'× bound':>8s} {'68 % / 2':>8s} {'P(|Δ|>2)':>9s} "
            f"{'pull σ':>7s} {'pull 68 %':>9s} {'PIT KS':>7s}"
        )
        for snr in SNRS:
            options = {**options, "noise_sigma": 5.0 / snr, "sub_bin": True}
            bound = cramer_rao(snr)
            X, y = make_pulses(n_train, random_state=10, **options)
            test, truth = make_pulses(10000, random_state=11, **options)
            if is_single:
                print(f"  {f'SNR {snr}: Cramér-Rao bound':28s} {bound:8.4f} {1.0:8.3f}")
            else:
                print(f"  SNR {snr}")

            def row(name, columns, bound=bound):
                m = [statistics.median(column) for column in zip(*columns, strict=True)]
                line = f"  {name:28s} {m[0]:8.4f} {m[0] / bound:8.3f} {m[1]:8.4f} {m[2]:9.1e}"
                print(
                    line + "".join(f" {v:{w}.3f}" for v, w in zip(m[3:], (7, 9, 7), strict=False))
                )

            def errors(p, truth=truth):
                e = p - truth
                far = 1.0 - position_accuracy(truth, p, tolerance=2)
                return [e.std(), half_width(e), far]

            filters = {"matched filter": MatchedFilterLocator(
                width=PULSE_WIDTH, sub_bin=True, remove_baseline=not is_single
            )}  # fmt: skip
            if is_single:
                filters["maximum likelihood"] = MaximumLikelihood()
            for name, model in filters.items():
                row(name, [errors(model.fit(X).predict(test))])
            rows = []
            for seed in range(seeds):
                model = PulseLocator(estimate="mean", max_epochs=epochs, random_state=seed).fit(
                    X, y
                )
                p, std = model.predict(test, return_std=True)
                pull = (p - truth) / std
                ks = kstest(model.predict_cdf(test, truth), "uniform").statistic
                rows.append([*errors(p), pull.std(), half_width(pull), ks])
            row('PulseLocator, "mean"', rows)


def half_width(values):
    """Half of the interval that holds the central 68.3 %."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return 0.5 * (high - low)


def bench_speed():
    X, y = make_pulses(4000, random_state=0)
    models = {
        "matched filter": MatchedFilterLocator(width=0.5),
        "reference network": PulseLocator(**{**REFERENCE, "max_epochs": 1}),
        "PulseLocator()": PulseLocator(max_epochs=1),
        "PulseLocator, no reversal": PulseLocator(max_epochs=1, reverse_time=False),
    }
    for model in models.values():
        model.fit(X[:500], y[:500])
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for rows, repeats in ((4000, 1), (1, 100)):

            def predict(model, rows=rows, repeats=repeats):
                start = time.perf_counter()
                for _ in range(repeats):
                    model.predict(X[:rows])
                return (time.perf_counter() - start) / repeats

            calls = {name: lambda model=model: predict(model) for name, model in models.items()}
            seconds = interleave(calls, 7, self_timed=True)
            title = f"{rows} event(s) in a call, {threads} torch thread(s)"
            print_ratios(title, seconds, ["reference network", "matched filter"])
            if rows > 1:
                for name, times in seconds.items():
                    print(f"    {name:26s} {rows / statistics.median(times):10.0f} events/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="published, noise, speed; all without")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=12000, help="events with noise to train on")
    parser.add_argument("--epochs", type=int, default=20, help="epochs on events with noise")
    options = parser.parse_args()
    parts = options.parts or ["published", "noise", "speed"]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "published" in parts:
        bench_published(options.seeds)
    if "noise" in parts:
        bench_noise(options.seeds, options.train, options.epochs)
    if "speed" in parts:
        bench_speed()
