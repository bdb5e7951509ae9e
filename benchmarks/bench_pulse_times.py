"""How well a pulse is timed: PulseLocator beside filters, fits and the bound of Cramér and Rao.

One Gaussian pulse (σ = 1.98 samples in 100, or wide ones) in three traces, no baseline, fractional truth;
6,000 events to train on, 10,000 others to test, each seed with events of its own. Given are medians over
seeds of half the 16–84 % width of the errors, its ratio to that of the bound, the share farther off than
two samples, and half the 16–84 % width of the pulls.

python benchmarks/bench_pulse_times.py [white] [pink] [wide] [detector] [pile-up] [pulls] [--seeds 3]
"""

import argparse
import statistics
from functools import partial

import numpy as np
import torch
from _pulses import (
    PULSE_WIDTH,
    LeadingEdge,
    MaximumLikelihood,
    TwoTemplates,
    cramer_rao,
    gaussian,
    half_width,
    pink_covariance,
    width_of,
)

from skae import MatchedFilterLocator, PulseLocator
from skae.datasets import make_pulses

SINGLE = {"baseline": False, "background_rate": 0.0, "sub_bin": True}
N_TRAIN, N_TEST = 6000, 10_000
BANDS = ((5, 8), (8, 12), (12, 20))


def events(n, seed, **options):
    return make_pulses(n, random_state=seed, **{**SINGLE, **options})


def judge(position, truth, sigmas, std=None):
    """Width of the errors, its ratio to the bound's, share of gross errors, and width of the pulls."""
    error = position - truth
    row = [half_width(error), np.nan, np.mean(np.abs(error) > 2.0)]
    if sigmas is not None:
        row[1] = row[0] / width_of(sigmas)
    return [*row, np.nan if std is None else half_width(error / std)]


def show(name, rows):
    m = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratio = f"{m[1]:8.3f}" if np.isfinite(m[1]) else 8 * " "
    pull = f"{m[3]:8.3f}" if np.isfinite(m[3]) else ""
    print(f"  {name:28s} {m[0]:8.4f} {ratio} {m[2]:9.1e}{pull}", flush=True)
    if len(rows) > 1:
        print(f"  {'':28s} seeds: {', '.join(f'{row[0]:.4f}' for row in rows)}")


def head(title):
    print(f"\n{title}")
    print(f"  {'':28s} {'width/2':>8s} {'× bound':>8s} {'P(|Δ|>2)':>9s} {'pulls':>7s}")


def network(seed, **options):
    return PulseLocator(estimate="mean", random_state=seed, **options)


def compare(title, options, bound, rivals, seeds):
    """Print rivals and networks of several seeds; ``bound`` maps positions to bounds, or is None."""
    head(title)
    rows = {name: [] for name in rivals} | {"PulseLocator": []}
    for seed in range(seeds):
        X, y = events(N_TRAIN, 1000 + seed, **options)
        test, truth = events(N_TEST, 2000 + seed, **options)
        sigmas = None if bound is None else bound(truth)
        for name, rival in rivals.items():
            rows[name].append(judge(rival.fit(X, y).predict(test), truth, sigmas))
        position, std = network(seed).fit(X, y).predict(test, return_std=True)
        rows["PulseLocator"].append(judge(position, truth, sigmas, std))
    for name, found in rows.items():
        show(name, found)


def matched(width=PULSE_WIDTH):
    return MatchedFilterLocator(width=width, sub_bin=True, remove_baseline=False)


def bench_white(seeds):
    for snr in (5, 10, 20):
        compare(
            f"White noise, SNR {snr}", {"noise_sigma": 5.0 / snr},
            lambda truth, snr=snr: cramer_rao(snr, truth),
            {"matched filter": matched(), "maximum likelihood": MaximumLikelihood()}, seeds,
        )  # fmt: skip
    options = {"amplitude": (5.0, 20.0), "noise_sigma": 1.0}
    rows = {(name, band): [] for band in BANDS for name in ("matched filter", "PulseLocator")}
    for seed in range(seeds):
        X, y = events(N_TRAIN, 1000 + seed, **options)
        test, truth = events(N_TEST, 2000 + seed, **options)
        clean, _ = events(N_TEST, 2000 + seed, amplitude=(5.0, 20.0))
        snr = clean[:, 0].max(axis=1) / gaussian_at_best(truth)
        position, std = network(seed).fit(X, y).predict(test, return_std=True)
        filtered = matched().fit(X).predict(test)
        for low, high in BANDS:
            k = (low <= snr) & (snr < high)
            sigmas = cramer_rao(snr[k], truth[k], free=("height",))
            found = judge(position[k], truth[k], sigmas, std[k])
            rows["PulseLocator", (low, high)].append(found)
            rows["matched filter", (low, high)].append(judge(filtered[k], truth[k], sigmas))
    for low, high in BANDS:
        head(f"White noise, trained on SNR 5 to 20, log-uniform; events of SNR {low} to {high}")
        for name in ("matched filter", "PulseLocator"):
            show(name, rows[name, (low, high)])


def gaussian_at_best(truth):
    """Return the height of a pulse of unit height where it is sampled next to its maximum."""
    return np.exp(-0.5 * ((truth - np.rint(truth)) / PULSE_WIDTH) ** 2)


def bench_pink(seeds):
    covariance = pink_covariance()
    compare(
        "Pink noise, spectrum 1/f, SNR 10", {"noise_sigma": 0.5, "noise": "pink"},
        lambda truth: cramer_rao(10, truth, covariance=covariance),
        {"white matched filter": matched(), "whitened filter": MaximumLikelihood(covariance)}, seeds,
    )  # fmt: skip


def bench_wide(seeds):
    for width in (8, 20, 50):
        pulse = partial(gaussian, width=width)
        compare(
            f"White noise, SNR 10, pulses of σ = {width} samples in 400",
            {"noise_sigma": 0.5, "width": width, "n_times": 400},
            lambda truth, pulse=pulse: cramer_rao(10, truth, n_times=400, pulse=pulse),
            {
                "matched filter": matched(width),
                "maximum likelihood": MaximumLikelihood(width=width),
            }, seeds,
        )  # fmt: skip


def bench_detector(seeds):
    adc = {"amplitude": 500.0, "noise_sigma": 50.0, "digitised": True}
    quantised = np.hypot(50.0, np.sqrt(1.0 / 12.0))
    white = partial(cramer_rao, 500.0 / quantised)
    plain = MatchedFilterLocator(width=PULSE_WIDTH, sub_bin=True, remove_baseline=False)
    levelled = MatchedFilterLocator(width=PULSE_WIDTH, sub_bin=True)
    for title, options, bound in (
        ("uint16 counts, pedestal 300, SNR 10", {"pedestal": 300.0}, white),
        (
            "uint16 counts, a pedestal of 3000 that wanders by 500, SNR 10",
            {"pedestal": (3000.0, 500.0)},
            lambda truth: cramer_rao(500.0 / quantised, truth, free=("level",)),
        ),
        ("uint16 counts, cut off at 70 % of the pulse, SNR 10", {"saturation": 650.0}, None),
    ):
        options = {"pedestal": 300.0, **adc, **options}
        rivals = {"matched filter": plain, "matched filter, baseline": levelled}
        compare(title, options, bound, rivals, seeds)


def bench_pile_up(seeds):
    for snr in (10, 20):
        compare(
            f"A second pulse, 0.2 to 0.8 times as high, in half of the events, white noise, SNR {snr}",
            {"noise_sigma": 5.0 / snr, "pile_up": 0.5}, lambda truth, snr=snr: cramer_rao(snr, truth),
            {
                "matched filter": matched(),
                "find_peaks, half height": LeadingEdge(),
                "two templates, joint fit": TwoTemplates(),
            }, seeds,
        )  # fmt: skip


def bench_pulls(seeds):
    print("\nHalf the 16–84 % width of the pulls, white noise, SNR 10, ten seeds")
    for n in (300, 1000, 5000):
        widths = []
        for seed in range(10):
            X, y = events(n, 3000 + seed, noise_sigma=0.5)
            test, truth = events(N_TEST, 4000 + seed, noise_sigma=0.5)
            position, std = network(seed).fit(X, y).predict(test, return_std=True)
            widths.append(half_width((position - truth) / std))
        print(
            f"  {n:5d} events: {min(widths):.3f} to {max(widths):.3f}, median "
            f"{statistics.median(widths):.3f}",
            flush=True,
        )


PARTS = {
    "white": bench_white,
    "pink": bench_pink,
    "wide": bench_wide,
    "detector": bench_detector,
    "pile-up": bench_pile_up,
    "pulls": bench_pulls,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all without")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in options.parts or PARTS:
        PARTS[part](options.seeds)
