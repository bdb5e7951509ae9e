"""Several pulses a record, and long records: PulseLocator beside matched filters and template fits.

finder: one trace, pulses of σ = 2 samples and SNR 5, three in 1,000 samples; trained on windows of 60
records of 10,000 samples, tested on 100 others. A pulse is found if one lies within 2 samples of it, and
what lies near no pulse is false. The rivals know the pulse; their thresholds allow 5e-4 false pulses in
100 samples of the training records. Then pairs of pulses 6 samples apart, both to be found within 2
samples, and the largest change of positions when a record begins 1 to 99 samples later.

rates: time of predict for a sample of 1,000, 10,000 and 100,000.

long: three traces, σ = 2, SNR 10, 1,000 events of one pulse each, of 1,000, 10,000 and 100,000 samples:
time and memory of fit and predict; at 10,000 samples the error, beside that of a network on 100 samples
around the truth.

python benchmarks/bench_pulse_records.py [finder] [long] [rates] [--seeds 3]
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch
from _memory import is_measurable, peak_memory
from _pulses import half_width
from scipy.ndimage import correlate1d
from scipy.signal import find_peaks

from skae import PulseLocator
from skae.datasets import cut_pulse_windows, make_pulse_records, make_pulses

WIDTH, SNR, WITHIN, FALSE = 2.0, 5.0, 2.0, 5e-4
SHAPE = np.exp(-0.5 * (np.arange(-12, 13) / WIDTH) ** 2)


class MatchedPeaks:
    """Maxima of the matched filter's response above a threshold, interpolated by a parabola."""

    def fit(self, X, event, position):
        """Settle the threshold."""
        heights = np.linspace(2.0, 8.0, 61)
        truth = SimpleNamespace(event=event, position=position)
        for self.threshold_ in heights:
            _, n_false, _ = judge(self.predict_pulses(X), truth)
            if n_false <= FALSE * X.size / 100:
                return self
        return self

    def predict_pulses(self, X):
        """Return events and positions."""
        response = correlate1d(
            X[:, 0].astype(float), SHAPE / np.linalg.norm(SHAPE), mode="constant"
        )
        events, positions = [], []
        for event, row in enumerate(response):
            peaks = find_peaks(row, height=self.threshold_)[0]
            left, middle, right = row[peaks - 1], row[peaks], row[peaks + 1]
            positions.append(peaks + 0.5 * (left - right) / (left - 2 * middle + right))
            events.append(np.full(len(peaks), event))
        return SimpleNamespace(event=np.concatenate(events), position=np.concatenate(positions))


class Pursuit(MatchedPeaks):
    """Matching pursuit: the largest response is subtracted, those near it are fitted anew, and so on."""

    def predict_pulses(self, X):
        """Return events and positions."""
        events, positions = [], []
        for event, trace in enumerate(X[:, 0].astype(float)):
            found = self._pursue(trace)
            positions.append(found)
            events.append(np.full(len(found), event))
        return SimpleNamespace(event=np.concatenate(events), position=np.concatenate(positions))

    def _pursue(self, trace):
        kernel, t = SHAPE / np.linalg.norm(SHAPE), np.arange(len(trace))
        response = correlate1d(trace, kernel, mode="constant")
        places, heights, left = np.empty(0), np.empty(0), trace.copy()
        while True:
            best = int(response.argmax())
            if response[best] < self.threshold_:
                return np.sort(places)
            places = np.append(places, float(best))
            heights = np.append(heights, response[best] / np.linalg.norm(SHAPE))
            near = np.flatnonzero(np.abs(places - best) < 12)
            span = slice(max(0, best - 40), best + 41)
            u = (t[span] - places[near, None]) / WIDTH
            left[span] += np.append(heights[:-1], 0.0)[near] @ np.exp(-0.5 * u**2)
            for _ in range(5):  # Gauss–Newton
                u = (t[span] - places[near, None]) / WIDTH
                shape = np.exp(-0.5 * u**2)
                slope = heights[near, None] * shape * u / WIDTH
                jacobian = np.concatenate([shape, slope])
                residual = left[span] - heights[near] @ shape
                normal = jacobian @ jacobian.T + 1e-3 * np.eye(len(jacobian))
                move = np.linalg.solve(normal, jacobian @ residual)
                heights[near] += move[: len(near)]
                places[near] += np.clip(move[len(near) :], -0.5, 0.5)
            u = (t[span] - places[near, None]) / WIDTH
            left[span] -= heights[near] @ np.exp(-0.5 * u**2)
            part = slice(max(0, best - 60), best + 61)
            response[part] = correlate1d(left[part], kernel, mode="constant")
            response[max(0, best - 1) : best + 2] = -np.inf  # no second one in the same place


def judge(found, truth):
    """Return the share found, the number of false ones, and the errors of those found."""
    hits, errors = 0, []
    for event in np.unique(truth.event):
        f, t = found.position[found.event == event], truth.position[truth.event == event]
        distance = np.abs(t[:, None] - f)
        while distance.size and distance.min() <= WITHIN:
            i, j = np.unravel_index(distance.argmin(), distance.shape)
            errors.append(f[j] - t[i])
            hits += 1
            distance[i], distance[:, j] = np.inf, np.inf
    return hits / len(truth.event), len(found.event) - hits, np.array(errors)


def pairs(n, apart, seed):
    """Return records with two pulses each, and the positions."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(80, 110, size=n)[:, None] + np.array([0.0, apart])
    u = (np.arange(200) - positions[:, :, None]) / WIDTH
    X = SNR * np.exp(-0.5 * u**2).sum(axis=1) + rng.normal(size=(n, 200))
    return X[:, None].astype(np.float32), positions


def resolved(model, X, positions):
    found = model.predict_pulses(X)
    good = 0
    for event, truth in enumerate(positions):
        places = np.sort(found.position[found.event == event])
        good += len(places) == 2 and np.abs(places - truth).max() < WITHIN
    return good / len(X)


def moved(model, X):
    """Return by how much positions change, at most, when records begin later; inf if any is lost."""
    whole, worst = model.predict_pulses(X), 0.0
    for offset in (1, 2, 3, 7, 50, 99):
        cut = model.predict_pulses(X[..., offset:])
        here, there = whole.position > offset + 100, cut.position > 100
        if not np.array_equal(whole.event[here], cut.event[there]):
            return np.inf
        change = np.abs(cut.position[there] + offset - whole.position[here])
        worst = max(worst, change.max(initial=0.0))
    return worst


def bench_finder(seeds):
    rows = {"matched filter, find_peaks": [], "matching pursuit": [], "PulseLocator": []}
    for seed in range(seeds):
        train = make_pulse_records(60, width=WIDTH, amplitude=SNR, random_state=10 + seed)
        test = make_pulse_records(100, width=WIDTH, amplitude=SNR, random_state=20 + seed)
        truth = train.X, train.event, train.position
        X, y = cut_pulse_windows(*truth, random_state=seed)
        models = {
            "matched filter, find_peaks": MatchedPeaks().fit(*truth),
            "matching pursuit": Pursuit().fit(*truth),
            "PulseLocator": PulseLocator(absent="learn", random_state=seed).fit(X, y),
        }
        two, positions = pairs(1000, 3 * WIDTH, seed)
        for name, model in models.items():
            start = time.perf_counter()
            found = model.predict_pulses(test.X)
            seconds = time.perf_counter() - start
            share, n_false, errors = judge(found, test)
            rows[name].append([
                share, n_false / (test.X.size / 100), half_width(errors), resolved(model, two, positions),
                moved(model, test.X[:20]), test.X.size / seconds / 1e6,
            ])  # fmt: skip
    print("\nThree pulses in 1,000 samples, SNR 5; medians over seeds")
    heads = (
        f"{'found':>7s} {'false/100':>9s} {'width/2':>8s} {'pairs':>6s} {'moved':>8s} {'M/s':>6s}"
    )
    print(f"  {'':28s} {heads}")
    for name, found in rows.items():
        m = [statistics.median(column) for column in zip(*found, strict=True)]
        print(
            f"  {name:28s} {m[0]:7.4f} {m[1]:9.1e} {m[2]:8.3f} {m[3]:6.3f} {m[4]:8.1e} {m[5]:6.2f}",
            flush=True,
        )
        print(f"  {'':28s} seeds: {', '.join(f'{r[0]:.4f} ({r[1]:.0e})' for r in found)}")


def long_events(n, n_times, seed):
    return make_pulses(
        n, n_times=n_times, width=WIDTH, noise_sigma=0.5, baseline=False, background_rate=0.0,
        sub_bin=True, random_state=seed,
    )  # fmt: skip


def around(X, y, seed, n_times=100):
    """Return windows that hold the pulse, at a random place."""
    rng = np.random.default_rng(seed)
    first = np.clip(np.floor(y - rng.uniform(5, 95, size=len(y))), 0, X.shape[2] - n_times)
    first = first.astype(int)
    return np.stack([x[:, i : i + n_times] for x, i in zip(X, first, strict=True)]), y - first


def peak(call):
    """Return the memory that a call takes, in MiB, NaN where that is not known; and make the call."""
    if is_measurable():
        return peak_memory(call)
    call()
    return np.nan


def bench_long(seeds):
    rows = []
    for seed in range(seeds):
        row = []
        for n_times in (1000, 10_000, 100_000):
            X, y = long_events(1000, n_times, 40 + seed)
            locator = PulseLocator(estimate="mean", random_state=seed)
            start = time.perf_counter()
            above = peak(lambda m=locator, X=X, y=y: m.fit(X, y))
            fit = time.perf_counter() - start
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                locator.predict(X)
                seconds.append(time.perf_counter() - start)
            memory = peak(lambda m=locator, X=X: m.predict(X))
            row += [fit, above, 1e9 * min(seconds) / (1000 * n_times), memory]
            if n_times == 10_000:
                test, truth = long_events(1000, n_times, 50 + seed)
                alone = PulseLocator(estimate="mean", random_state=seed).fit(*around(X, y, seed))
                windows, inside = around(test, truth, seed)
                errors = locator.predict(test) - truth
                ratio = half_width(errors) / half_width(alone.predict(windows) - inside)
                far = np.mean(np.abs(errors) > 2)
            del X
        rows.append([*row, ratio, far])
    m = [statistics.median(column) for column in zip(*rows, strict=True)]
    print("\n1,000 events of three traces, SNR 10")
    print(
        f"  {'samples':>8s} {'fit':>8s} {'above X':>9s} {'predict a sample':>17s} {'ratio':>6s} "
        f"{'above X':>9s}"
    )
    for place, n_times in enumerate((1000, 10_000, 100_000)):
        fit, above, ns, memory = m[4 * place : 4 * place + 4]
        ratio = statistics.median(r[4 * place + 2] / r[2] for r in rows)
        print(
            f"  {n_times:8d} {fit:6.0f} s {above:5.0f} MiB {ns:14.1f} ns {ratio:6.2f} {memory:5.0f} MiB"
        )
    print(
        "  at 10,000 samples: width of errors / that of a network on 100 samples around the truth"
    )
    print(f"  {m[-2]:.3f} (seeds: {', '.join(f'{r[-2]:.3f}' for r in rows)}); P(|Δ|>2) {m[-1]:.1e}")


def bench_rates():
    """Time predict of events of all lengths in turn, networks of one epoch."""
    pairs = []
    for n, n_times in ((1000, 1000), (1000, 10_000), (300, 100_000)):
        X, y = long_events(n, n_times, 40)
        locator = PulseLocator(max_epochs=1, random_state=0)
        pairs.append((locator.fit(X[:300], y[:300]), X))
    rounds = []
    for _ in range(5):
        row = []
        for locator, X in pairs:
            start = time.perf_counter()
            locator.predict(X)
            row.append(1e9 * (time.perf_counter() - start) / X[:, 0].size)
        rounds.append(row)
    print("\nTime of predict for a sample of three traces, one length after the other, five times")
    for i, (_, X) in enumerate(pairs):
        ns = statistics.median(row[i] for row in rounds)
        ratio = statistics.median(row[i] / row[0] for row in rounds)
        print(f"  {X.shape[2]:8d} {ns:8.1f} ns {ratio:6.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="finder, long, rates; all without")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "finder" in (options.parts or ["finder"]):
        bench_finder(options.seeds)
    if "long" in (options.parts or ["long"]):
        bench_long(options.seeds)
    if "rates" in (options.parts or ["rates"]):
        bench_rates()
