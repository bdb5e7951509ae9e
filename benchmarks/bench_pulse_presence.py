"""Is there a pulse: PulseLocator(absent="learn") beside matched filters and the exact likelihood ratio.

12,000 events to train on, half of them empty, three traces of 100 samples, no baseline; medians of three
seeds, each with training and test events of its own. With background pulses the threshold is that which
one empty event in a thousand passes, of 40,000; without, the exact likelihood ratio is known, with levels
of traces that are known to be zero, and for networks that remove them with levels that may be any.

python benchmarks/bench_pulse_presence.py [background] [1] [1.5] [2] [times] [--seeds 3]
"""

import argparse
import statistics
from functools import partial

import numpy as np
import torch
from _pulses import PULSE_WIDTH, calibration_error, gaussian, half_width
from scipy.ndimage import correlate1d
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from skae import PulseLocator
from skae.datasets import make_pulses

N_TRAIN = 12_000


def events(n, seed, **options):
    return make_pulses(n, random_state=seed, **{"baseline": False, **options})


def responses(X):
    """Return the matched filters' responses, each of unit variance in white noise of unit variance."""
    kernel = gaussian(np.arange(-10, 11))[0]
    return correlate1d(X.astype(float), kernel / np.linalg.norm(kernel), axis=2, mode="constant")


def likelihood_ratio(X, snr, levels_known=True):
    """Return its logarithm: one pulse of known shape in white noise, anywhere it may be."""
    positions = np.linspace(0.05 * 99, 0.95 * 99, 1000)
    shapes, X = snr * gaussian(np.arange(100) - positions[:, None])[0], X / (5.0 / snr)
    if not levels_known:  # what is left of both where each trace may have any level
        shapes = shapes - shapes.mean(axis=1, keepdims=True)
        X = X - X.mean(axis=2, keepdims=True)
    exponents = X.sum(axis=1) @ shapes.T - 1.5 * (shapes**2).sum(axis=1)
    return logsumexp(exponents, axis=1) - np.log(len(positions))


def presence_error(p, is_there):
    """Expected calibration error of the probability of a pulse, in 15 equal bins."""
    return calibration_error(p, is_there)


def fit(X, y, seed, **options):
    return PulseLocator(absent="learn", random_state=seed, **options).fit(X, y)


def median(rows):
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def bench_background(seeds):
    rows = []
    for seed in range(seeds):
        options = {"noise_sigma": 1.0}
        X, y = events(N_TRAIN, 10 + seed, empty_fraction=0.5, **options)
        test, truth = events(20_000, 20 + seed, empty_fraction=0.5, **options)
        more, labels = events(41_000, 30 + seed, empty_fraction=0.98, **options)
        empty, full = more[np.isnan(labels)], test[~np.isnan(truth)]
        locator = fit(X, y, seed)
        scores = {
            "least matched filter": lambda X: responses(X).min(axis=1).max(axis=1),
            "sum of matched filters": lambda X: responses(X).sum(axis=1).max(axis=1),
            "PulseLocator": locator.predict_presence,
        }
        row = []
        for score in scores.values():
            threshold = np.quantile(score(empty), 0.999)
            row.append(np.mean(score(full) > threshold))
        p, is_there = locator.predict_presence(test), ~np.isnan(truth)
        alone = PulseLocator(random_state=seed).fit(X[~np.isnan(y)], y[~np.isnan(y)])
        for model in (locator, alone):
            d = model.predict_distribution(full)
            row.append(calibration_error(d.max(axis=1), d.argmax(axis=1) == truth[is_there]))
        rows.append([*row, presence_error(p, is_there)])
    m = median(rows)
    print("\nBackground pulses, one a trace, SNR 5: efficiency at 1e-3 false events")
    for place, name in enumerate(scores):
        print(f"  {name:28s} {m[place]:8.4f}   seeds: {', '.join(f'{r[place]:.4f}' for r in rows)}")
    print(f"  calibration error of presence {m[5]:.4f}; of the bin, given a pulse: {m[3]:.4f}, and")
    print(f"  {m[4]:.4f} of a network that learnt from events with pulses alone", flush=True)


def bench_white(seeds, snr):
    rows = {"levels removed (default)": [], "remove_baseline=False": []}
    for seed in range(seeds):
        options = {"background_rate": 0.0, "noise_sigma": 5.0 / snr}
        X, y = events(N_TRAIN, 40 + seed, empty_fraction=0.5, **options)
        test, truth = events(20_000, 50 + seed, empty_fraction=0.5, **options)
        rare, rare_truth = events(40_000, 60 + seed, empty_fraction=0.95, **options)
        is_there, is_rare = ~np.isnan(truth), ~np.isnan(rare_truth)
        for name, removed in zip(rows, (True, False), strict=True):
            locator = fit(X, y, seed, remove_baseline=removed)
            p = locator.predict_presence(test)
            rows[name].append([
                roc_auc_score(is_there, likelihood_ratio(test, snr, levels_known=not removed)),
                roc_auc_score(is_there, p), presence_error(p, is_there),
                presence_error(locator.predict_presence(rare, empty_fraction=0.95), is_rare),
                presence_error(locator.predict_presence(rare), is_rare),
            ])  # fmt: skip
    print(
        f"\nWhite noise, SNR {snr}: area under the curve, and calibration error of presence, of half"
    )
    print("empty events, and of 95 % empty ones, told and not told that they are")
    print(f"  {'':26s} {'ratio':>7s} {'network':>8s} {'half':>7s} {'told':>7s} {'not':>7s}")
    for name, found in rows.items():
        m = median(found)
        print(f"  {name:26s} {m[0]:7.4f} {m[1]:8.4f} {m[2]:7.4f} {m[3]:7.4f} {m[4]:7.4f}")
        print(
            f"  {'':26s} seeds: {', '.join(f'{r[0]:.4f} : {r[1]:.4f}' for r in found)}", flush=True
        )


def bench_times(seeds):
    rows = []
    for seed in range(seeds):
        options = {"background_rate": 0.0, "noise_sigma": 2.0, "sub_bin": True}
        X, y = events(N_TRAIN, 70 + seed, empty_fraction=0.5, **options)
        test, truth = events(10_000, 80 + seed, **options)
        full = ~np.isnan(y)
        learnt = fit(X, y, seed, estimate="mean")
        alone = PulseLocator(estimate="mean", random_state=seed).fit(X[full], y[full])
        row = []
        for model in (learnt, alone):
            position, std = model.predict(test, return_std=True)
            row += [half_width(position - truth), half_width((position - truth) / std)]
        rows.append(row)
    m = median(rows)
    print("\nWhite noise, SNR 2.5, fractional truth: half the 16–84 % width of errors and of pulls")
    print(
        f"  with empty events {m[0]:.4f} {m[1]:.3f}; from events with pulses alone {m[2]:.4f} {m[3]:.3f}"
    )


PARTS = {
    "background": bench_background,
    **{str(snr): partial(bench_white, snr=snr) for snr in (1, 1.5, 2)},
    "times": bench_times,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all without")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; σ = {PULSE_WIDTH:.2f} samples"
    )
    for part in options.parts or PARTS:
        PARTS[part](options.seeds)
