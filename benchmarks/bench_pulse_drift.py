"""Events unlike the training: how often PulseLocator warns of a batch, and how well it tells single ones.

Three traces of 100 samples: the published events, and single pulses in white noise, SNR 5, with whole and
with fractional truth. Networks are trained on 300, 1,000 and 6,000 events, three seeds each, with events
of their own. Given are shares of batches with a DriftWarning, over all seeds: ordinary ones, of events
whose noise is 1.3 times as strong, whose traces are 3 times as high, or upside down, and of noise of the
same mean and spread without a pulse. Then the area under the curve of score_samples, ordinary and such
events one by one, median of the seeds.

python benchmarks/bench_pulse_drift.py [--seeds 3]
"""

import argparse
import statistics
import warnings

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from skae import PulseLocator
from skae.datasets import make_pulses
from skae.exceptions import DriftWarning

SINGLE = {"baseline": False, "background_rate": 0.0}
SETS = {
    "published": {"noise_sigma": 0.0},
    "white noise": {**SINGLE, "noise_sigma": 1.0},
    "white noise, fractional": {**SINGLE, "noise_sigma": 1.0, "sub_bin": True},
}
SIZES = (50, 200, 2000)


def share_of_warnings(locator, X, size):
    """Return the share of batches of so many events that give a warning."""
    warned = []
    for start in range(0, len(X), size):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            locator.predict(X[start : start + size])
        warned.append(any(each.category is DriftWarning for each in caught))
    return np.mean(warned)


def others(options, seed):
    """Return events of each kind that the network has not seen."""
    X, _ = make_pulses(4000, random_state=seed, **options)
    noise = np.random.default_rng(seed).normal(X.mean(), X.std(), size=X.shape)
    kinds = {"3 × gain": 3.0 * X, "inverted": -X, "noise": noise}
    if options["noise_sigma"]:
        louder = {**options, "noise_sigma": 1.3 * options["noise_sigma"]}
        kinds = {"1.3 × noise": make_pulses(4000, random_state=seed, **louder)[0], **kinds}
    return kinds


def bench(title, options, n, seeds):
    shares, areas = {}, {}
    for seed in range(seeds):
        X, y = make_pulses(n, random_state=10 + seed, **options)
        locator = PulseLocator(random_state=seed).fit(X, y)
        ordinary, _ = make_pulses(20_000, random_state=20 + seed, **options)
        scores = locator.score_samples(ordinary[:4000])
        for kind, events in {"ordinary": ordinary, **others(options, 30 + seed)}.items():
            for size in SIZES:
                shares.setdefault((kind, size), []).append(share_of_warnings(locator, events, size))
            area = roc_auc_score(
                np.repeat([1, 0], [4000, len(events)]), [*scores, *locator.score_samples(events)]
            )
            areas.setdefault(kind, []).append(area)
    print(f"\n{title}, {n} events to train on")
    print(f"  {'':14s} batches of" + "".join(f"{size:7d}" for size in SIZES) + "    area")
    for kind, values in areas.items():
        found = "".join(f"{np.mean(shares[kind, size]):7.3f}" for size in SIZES)
        area = "" if kind == "ordinary" else f"{statistics.median(values):8.3f}"
        print(f"  {kind:14s} {'':10s}{found}{area}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for title, what in SETS.items():
        for n in (300, 1000, 6000):
            bench(title, what, n, options.seeds)
