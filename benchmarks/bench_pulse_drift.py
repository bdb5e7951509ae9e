"""Events unlike the training: how often PulseLocator warns of a batch, and how well it tells single ones.

Three traces of 100 samples: the published events, and single pulses in white noise, SNR 5, with whole and
with fractional truth. Networks are trained on 300, 1,000 and 6,000 events, three seeds each, with events
of their own. Given are shares of batches with a DriftWarning, over all seeds: ordinary ones, of events
whose noise is 1.3 times as strong, whose traces are 3 times as high, or upside down, or from different
events, so that pulses do not coincide, and of noise of the same mean and spread without a pulse. Then the
area under the curve of score_samples, ordinary and such events one by one, median of the seeds.

The rival has no network: mean, spread, largest number, and spread of the differences between neighbours,
of all traces of an event; their means of a batch beside those of training events, and their Mahalanobis
distance for single ones.

python benchmarks/bench_pulse_drift.py [--seeds 3]
"""

import argparse
import statistics
import warnings
from functools import partial

import numpy as np
import torch
from scipy import stats
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


class Summaries:
    """A few numbers of an event's traces, and what they are like in training."""

    def fit(self, X):
        """Take mean and covariance from training events."""
        numbers = self.transform(X)
        self.mean, covariance = numbers.mean(axis=0), np.cov(numbers.T)
        self.inverse, self.n = np.linalg.inv(covariance), len(X)
        return self

    @staticmethod
    def transform(X):
        """Return the numbers of each event."""
        flat = X.reshape(len(X), -1)
        steps = np.diff(X, axis=2).std(axis=(1, 2))
        return np.column_stack([flat.mean(axis=1), flat.std(axis=1), flat.max(axis=1), steps])

    def square(self, numbers):
        """Return the squared Mahalanobis distance."""
        return np.einsum("ni,ij,nj->n", numbers - self.mean, self.inverse, numbers - self.mean)

    def score_samples(self, X):
        """Return minus half of it, of each event."""
        return -0.5 * self.square(self.transform(X))

    def share_of_warnings(self, X, size):
        """Return the share of batches as far away as one in 3,000 is by chance (Hotelling, 1931)."""
        numbers = self.transform(X)
        means = np.stack([each.mean(axis=0) for each in np.split(numbers, len(X) // size)])
        return np.mean(self.square(means) / (1.0 / size + 1.0 / self.n) > stats.chi2.isf(3e-4, 4))


def others(options, seed):
    """Return events of each kind that the network has not seen."""
    X, _ = make_pulses(4000, random_state=seed, **options)
    noise = np.random.default_rng(seed).normal(X.mean(), X.std(), size=X.shape)
    apart = np.stack([np.roll(X[:, trace], trace, axis=0) for trace in range(3)], axis=1)
    kinds = {"3 × gain": 3.0 * X, "inverted": -X, "not coincident": apart, "noise": noise}
    if options["noise_sigma"]:
        louder = {**options, "noise_sigma": 1.3 * options["noise_sigma"]}
        kinds = {"1.3 × noise": make_pulses(4000, random_state=seed, **louder)[0], **kinds}
    return kinds


def bench(title, options, n, seeds):
    shares, areas = {}, {}
    for seed in range(seeds):
        X, y = make_pulses(n, random_state=10 + seed, **options)
        locator, rival = PulseLocator(random_state=seed).fit(X, y), Summaries().fit(X)
        ordinary, _ = make_pulses(20_000, random_state=20 + seed, **options)
        kinds = {"ordinary": ordinary, **others(options, 30 + seed)}
        for judge, found in (
            (locator, partial(share_of_warnings, locator)), (rival, rival.share_of_warnings)
        ):  # fmt: skip
            name = type(judge).__name__
            scores = judge.score_samples(ordinary[:4000])
            for kind, events in kinds.items():
                for size in SIZES:
                    shares.setdefault((kind, name, size), []).append(found(events, size))
                both = [*scores, *judge.score_samples(events)]
                area = roc_auc_score(np.repeat([1, 0], [4000, len(events)]), both)
                areas.setdefault((kind, name), []).append(area)
    print(f"\n{title}, {n} events to train on")
    head = "".join(f"{size:7d}" for size in SIZES) + "   area"
    print(f"  {'batches of':14s}{head}   of traces{head}")
    for kind in kinds:
        print(f"  {kind:14s}", end="")
        for name, end in (("PulseLocator", 12 * " "), ("Summaries", "\n")):
            found = "".join(f"{np.mean(shares[kind, name, size]):7.3f}" for size in SIZES)
            area = "" if kind == "ordinary" else f"{statistics.median(areas[kind, name]):.3f}"
            print(f"{found}{area:>7s}", end=end, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for title, what in SETS.items():
        for n in (300, 1000, 6000):
            bench(title, what, n, options.seeds)
