"""MultiResRNNRegressor on photon correlations, beside what laboratories use and a flat network.

Every trained network gets the same wall-clock time; it is spent on epochs of the same simulated curves
with noise drawn afresh. Before it starts, the flat network's learning rate is chosen among three on
training curves; ours is the default. Medians of three seeds, each with data of its own.

clean     1501 delays, published noise: mean squared error, all and by decade of counts
long      the same on 8192 delays
speed     a training step at 4096 delays and batch 16, and how it grows to 32,768
real      measured histograms: trained on simulation, from a tenth of the snapshots predict the rest
vector    g2(0) and lifetimes from 10⁴ coincidences, beside the Cramér–Rao bound and maximum likelihood

Run: python benchmarks/bench_multires.py [clean long speed real vector] [--budget 120] [--data FOLDER]
"""

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from _correlations import (
    count_parameters,
    fit_within,
    flat_with_as_many,
    posterior_mean,
    train_flat_well,
)
from _memory import is_measurable, peak_memory
from _quantum_dots import bench_real
from _timing import interleave, print_ratios
from joblib import Parallel, delayed
from scipy.ndimage import gaussian_filter1d
from scipy.signal import savgol_filter
from sklearn.linear_model import Ridge

from skae import MultiResRNNRegressor, NoiseInjector, PhotonCorrelationFit
from skae.datasets import make_photon_correlations
from skae.datasets.correlations import correlations_of
from skae.modules.noise import RowNoise

SEEDS = range(3)
N_TRAIN = 1500
PUBLISHED = {"kind": {"poisson": 0.95, "gaussian": 0.05}, "counts": (1, 1000), "sigma": 0.1}
BOUNDS = {
    "g2_zero": (0.0, 1.0),
    "period": (0.99, 1.01),
    "background": (0.0, 0.075),
    "lifetime_1": (0.02, 0.1),
    "lifetime_2": (0.01, 0.05),
    "weight_1": (0.0, 1.0),
}


def simulated(seed, n_times, n_test=500):
    """Curves to train on, and others with noise to test on."""
    train = make_photon_correlations(N_TRAIN, n_times=n_times, random_state=seed)
    test = make_photon_correlations(n_test, n_times=n_times, random_state=1000 + seed)
    return train, test


def published_noise():
    return RowNoise(
        p_gaussian=0.05, counts=(1.0, 1000.0), sigma=0.1, relative_to="clean_max", bin_widths=None
    )


def ours(seed, **parameters):
    return MultiResRNNRegressor(noise=NoiseInjector(**PUBLISHED), random_state=seed, **parameters)


def best_filter(noisy, clean, filters):
    """Return the one that is best on training data."""
    return min(filters, key=lambda f: np.square(f(noisy[:300]) - clean[:300]).mean())


def ridge(noisy, clean):
    """Fit Ridge with the penalty that is best on a fifth of the training data."""
    part = len(noisy) // 5
    errors = {
        alpha: np.square(
            Ridge(alpha=alpha).fit(noisy[part:], clean[part:]).predict(noisy[:part]) - clean[:part]
        ).mean()
        for alpha in (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    }
    return Ridge(alpha=min(errors, key=errors.get)).fit(noisy, clean)


def oracle(test):
    """Fit the true formula within the true bounds by maximum likelihood."""
    curves = np.empty_like(test.noisy)
    shape = {name: BOUNDS[name] for name in ("g2_zero", "period", "background")}
    shape["lifetimes"] = BOUNDS["lifetime_1"], BOUNDS["lifetime_2"]
    counts = test.params["counts"].to_numpy()
    is_gaussian = np.isnan(counts)
    for rows, likelihood in ((~is_gaussian, "poisson"), (is_gaussian, "gaussian")):
        fit = PhotonCorrelationFit(
            **shape, zero_delay=0.0, times=test.tau, likelihood=likelihood, n_jobs=-1
        )
        exposure = counts[rows, None] if likelihood == "poisson" else 1.0
        X = test.noisy[rows] * exposure
        curves[rows] = fit.fit(X).inverse_transform(fit.transform(X)) / exposure
    return curves


def flat_in_the_same_time(model, train, seconds, seed):
    """Train a flat LSTM with as many parameters, for as long as ours took."""
    n_parameters = count_parameters(model.module_)
    noise = published_noise()
    return train_flat_well(n_parameters, train.clean, noise, budget=seconds, seed=seed)


def judge(predicted, test):
    """Return the mean squared errors: all, and by decade of counts."""
    error = np.square(predicted - test.clean).mean(axis=1)
    decade = np.log10(test.params["counts"].to_numpy())
    parts = [(low <= decade) & (decade < low + 1) for low in range(3)]
    return [error.mean(), *(error[part].mean() for part in parts), error[np.isnan(decade)].mean()]


def seam(predicted, test, factor=8):
    """Return the mean squared step of the error across seams of windows, over that elsewhere."""
    steps = np.square(np.diff(predicted - test.clean, axis=1))
    place = np.arange(steps.shape[1])
    near = np.abs(test.tau[:, None] - np.array([-1.0, 0.0, 1.0])).min(axis=1) < 0.03  # cusps
    use = ~near[1:]
    across = place % factor == factor - 1
    return steps[:, use & across].mean() / steps[:, use & ~across].mean()


def bench_clean(options):
    print(f"\n1501 delays, {N_TRAIN} training curves, {options.budget} s for each network: "
          "mean squared error × 10⁴, medians of three seeds")  # fmt: skip
    table: dict[str, list] = {}
    seconds: dict[str, list] = {}
    seams = []

    def note(name, predicted, test, took):
        errors = judge(predicted, test)
        table.setdefault(name, []).append([*(1e4 * e for e in errors), 1.0 - errors[0] / variance])
        seconds.setdefault(name, []).append(took)

    for seed in SEEDS:
        train, test = simulated(seed, 1501)
        variance = np.square(test.clean - train.clean.mean(axis=0)).mean()
        note("mean of the training curves", np.tile(train.clean.mean(axis=0), (500, 1)), test, 0.0)
        smooth = best_filter(train.noisy, train.clean, [
            lambda X, s=s: gaussian_filter1d(X, s, axis=1) for s in (1, 2, 3, 4, 6, 8, 12)
        ])  # fmt: skip
        note("Gaussian smoothing", smooth(test.noisy), test, 0.0)
        savgol = best_filter(train.noisy, train.clean, [
            lambda X, w=w, p=p: savgol_filter(X, w, p, axis=1)
            for w in (11, 21, 31, 51, 71, 101) for p in (1, 2, 3)
        ])  # fmt: skip
        note("Savitzky–Golay", savgol(test.noisy), test, 0.0)
        start = time.perf_counter()
        flat_ridge = ridge(train.noisy, train.clean)
        note("Ridge", flat_ridge.predict(test.noisy), test, time.perf_counter() - start)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        repeated = np.tile(train.clean.astype(np.float32), (10, 1))
        corrupted = published_noise()(torch.from_numpy(repeated), generator).numpy()
        more = ridge(corrupted, repeated)
        note(
            "Ridge, noise drawn 10 times",
            more.predict(test.noisy),
            test,
            time.perf_counter() - start,
        )
        model, took = fit_within(ours(seed), train.clean, train.clean, options.budget)
        note("MultiResRNNRegressor", model.predict(test.noisy), test, took)
        seams.append(seam(model.predict(test.noisy), test))
        flat = flat_in_the_same_time(model, train, took, seed)
        note("flat bidirectional LSTM", flat.predict(test.noisy), test, took)
        start = time.perf_counter()
        note("maximum likelihood, true formula", oracle(test), test, time.perf_counter() - start)
    print(f"  {'':34s} {'all':>7s} {'1–10':>8s} {'10–100':>8s} {'–1000':>8s} {'Gauss':>8s} "
          f"{'R²':>6s} {'all of each seed':>22s} {'fit':>6s}")  # fmt: skip
    for name, rows in table.items():
        middle = np.median(rows, axis=0)
        each = ", ".join(f"{row[0]:.3f}" for row in rows)
        print(f"  {name:34s} {middle[0]:7.3f} {middle[1]:8.3f} {middle[2]:8.3f} {middle[3]:8.4f} "
              f"{middle[4]:8.3f} {middle[5]:6.3f} {each:>22s} "
              f"{statistics.median(seconds[name]):5.0f} s")  # fmt: skip
    mine = np.array([row[0] for row in table["MultiResRNNRegressor"]])
    for name in list(table):
        if name != "MultiResRNNRegressor":
            ratio = mine / np.array([row[0] for row in table[name]])
            print(f"  MultiResRNNRegressor / {name}: {np.median(ratio):.2f}")
    print(f"  squared steps of the error across seams / elsewhere: {statistics.median(seams):.2f}")


def bench_long(options):
    print(f"\n8192 delays, {options.budget} s for each network: R² of three seeds")
    rows: dict[str, list] = {"MultiResRNNRegressor": [], "flat bidirectional LSTM": [], "Ridge": []}
    for seed in SEEDS:
        train, test = simulated(seed, 8192, 200)
        variance = np.square(test.clean - test.clean.mean(axis=0)).mean()
        model, took = fit_within(ours(seed), train.clean, train.clean, options.budget)
        flat = flat_in_the_same_time(model, train, took, seed)
        predictions = (
            model.predict(test.noisy),
            flat.predict(test.noisy),
            ridge(train.noisy, train.clean).predict(test.noisy),
        )
        for name, predicted in zip(rows, predictions, strict=True):
            rows[name].append(1.0 - np.square(predicted - test.clean).mean() / variance)
    for name, values in rows.items():
        print(f"  {name:30s} {', '.join(f'{value:.3f}' for value in values)}")


def one_step(module, criterion, x):
    """Return a function that takes one step of training, the optimiser's included."""
    optimizer = torch.optim.Adam(module.parameters(), fused=True)

    def step():
        optimizer.zero_grad()
        criterion(module(x), x).mean().backward()
        optimizer.step()

    return step


def step_of_ours(n_times):
    """Return a step of training at batch 16, and what it has been built from."""
    X = np.random.default_rng(0).normal(size=(16, n_times)).astype(np.float32)
    model = MultiResRNNRegressor(max_epochs=1, random_state=0).fit(X, X)
    return one_step(model.module_, model.net_.criterion_, torch.from_numpy(X))


def memory_of_a_fit(n_times):
    """Return by how many MiB the memory of a process of its own rises in a fit of one step."""
    if not is_measurable():
        return float("nan")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_memory_of_a_fit, n_times).result()


def _memory_of_a_fit(n_times):
    X = np.random.default_rng(0).normal(size=(16, n_times)).astype(np.float32)
    MultiResRNNRegressor(max_epochs=1).fit(X[:, :512], X[:, :512])  # what is imported meanwhile
    return peak_memory(lambda: MultiResRNNRegressor(max_epochs=1, random_state=0).fit(X, X))


def bench_speed(options):
    rng = np.random.default_rng(0)
    for cell in ("gru", "lstm"):
        X = rng.normal(size=(16, 4096)).astype(np.float32)
        model = MultiResRNNRegressor(cell=cell, max_epochs=1, random_state=0).fit(X, X)
        flat = flat_with_as_many(count_parameters(model.module_))
        x = torch.from_numpy(X)
        flat.standardise(x)
        print(f"\n{count_parameters(model.module_)} and {count_parameters(flat)} parameters")
        contenders = {
            f"MultiResRNNRegressor, {cell}": one_step(model.module_, model.net_.criterion_, x),
            "flat bidirectional LSTM": one_step(flat, torch.nn.MSELoss(), x),
        }
        times = interleave(contenders, options.turns)
        print_ratios("a step at 4096 delays, batch 16", times, ["flat bidirectional LSTM"])
    print("\na step at batch 16, and the memory that it takes")
    sizes = (4096, 8192, 16384, 32768)
    steps = {n_times: step_of_ours(n_times) for n_times in sizes}
    memory = {n_times: memory_of_a_fit(n_times) for n_times in sizes}
    times = interleave(steps, options.turns)
    for n_times, seconds in times.items():
        before = times.get(n_times // 2)
        growth = ""
        if before:
            ratio = statistics.median(t / b for t, b in zip(seconds, before, strict=True))
            more = memory[n_times] / memory[n_times // 2]
            growth = f", × {ratio:.2f} in time and {more:.2f} in memory"
        print(
            f"  {n_times:6d} {statistics.median(seconds):7.3f} s {memory[n_times]:7.0f} MiB{growth}"
        )


def cramer_rao(tau, params, names, n_counts, fixed=()):
    """Return the root mean square of the Cramér–Rao errors, the total known."""
    free = [name for name in BOUNDS if name in params and name not in fixed]
    variances = []
    for _, row in params.iterrows():

        def curve(name=None, step=0.0, row=row):
            q = row.copy()
            if name is not None:
                q[name] += step
            shape = correlations_of(tau, q.to_frame().T)[0]
            return shape / shape.sum() * n_counts

        mean = curve()
        slopes = [(curve(name, 1e-6) - curve(name, -1e-6)) / 2e-6 for name in free]
        information = np.array([[(a * b / mean).sum() for b in slopes] for a in slopes])
        inverse = np.linalg.pinv(information, rcond=1e-14)
        variances.append([inverse[free.index(name), free.index(name)] for name in names])
    return np.sqrt(np.mean(variances, axis=0))


def bench_vector(options):
    n_counts, n_train, n_test = 1e4, 20000, 300
    for lifetimes, names in (
        ((BOUNDS["lifetime_1"],), ["g2_zero", "lifetime_1"]),
        ((BOUNDS["lifetime_1"], BOUNDS["lifetime_2"]), ["g2_zero", "lifetime_1", "lifetime_2"]),
    ):
        print(f"\n{len(lifetimes)} lifetime(s), {n_counts:.0f} coincidences: root mean square errors, "
              f"medians of three seeds; {options.budget} s for the network")  # fmt: skip
        rows: dict[str, list] = {}
        seconds: dict[str, list] = {}
        for seed in SEEDS:
            make = {"lifetimes": lifetimes, "gaussian_fraction": 0.0}
            train = make_photon_correlations(n_train, random_state=seed, **make)
            test = make_photon_correlations(n_test, random_state=1000 + seed, **make)
            truth = test.params[names].to_numpy()
            expected = n_counts * test.clean / test.clean.sum(axis=1, keepdims=True)
            counts = np.random.default_rng(seed).poisson(expected).astype(float)

            def note(name, found, took=None, truth=truth, rows=rows, seconds=seconds):
                error = np.sqrt(np.square(found - truth[: len(found)]).mean(axis=0))
                rows.setdefault(name, []).append(error)
                if took is not None:
                    seconds.setdefault(name, []).append(took / len(found) * 1e3)

            clean = n_counts * train.clean / train.clean.sum(axis=1, keepdims=True)
            noise = NoiseInjector(counts=1.0, relative_to=None)
            model = MultiResRNNRegressor(noise=noise, batch_size=32, random_state=seed)
            y = train.params[names].to_numpy()
            # times differ from g2(0) by two orders of magnitude; inside, targets are standardised
            model, _ = fit_within(model, clean, y, options.budget)
            start = time.perf_counter()
            found = model.predict(counts)
            note("MultiResRNNRegressor", found, time.perf_counter() - start)
            fit = PhotonCorrelationFit(
                period=BOUNDS["period"], zero_delay=0.0, g2_zero=(0.0, 1.0),
                background=BOUNDS["background"], lifetimes=lifetimes, times=test.tau,
            ).fit(counts)  # fmt: skip
            start = time.perf_counter()
            values = fit.transform(counts)
            columns = [fit.param_names_.index(name) for name in names]
            note("maximum likelihood", values[:, columns], time.perf_counter() - start)
            if len(lifetimes) == 1:
                bound = cramer_rao(test.tau, test.params, names, n_counts, fixed=("weight_1",))
                rows.setdefault("Cramér–Rao bound", []).append(bound)
            if seed == 0 and len(lifetimes) == 2:
                start = time.perf_counter()
                posterior = Parallel(n_jobs=-1)(
                    delayed(posterior_mean)(x, test.tau, BOUNDS, names, i)
                    for i, x in enumerate(counts[: options.posteriors])
                )
                note("Bayesian posterior mean", np.array(posterior), time.perf_counter() - start)
                few = slice(0, options.posteriors)
                note("MultiResRNNRegressor, same rows", found[few])
                note("maximum likelihood, same rows", values[few][:, columns])
        prior = [
            (BOUNDS[name][1] - BOUNDS[name][0]) / np.sqrt(12.0) for name in names
        ]  # of the mean of the prior
        rows["mean of the prior"] = [np.array(prior)]
        for name, values in rows.items():
            middle = np.median(values, axis=0)
            took = f"{statistics.median(seconds[name]):8.2f} ms a row" if name in seconds else ""
            print(f"  {name:34s} " + " ".join(
                f"{label} {value:.5f}" for label, value in zip(names, middle, strict=True)
            ) + f" {took}")  # fmt: skip
        if len(lifetimes) == 1:
            ratios = np.array(rows["MultiResRNNRegressor"]) / np.array(rows["Cramér–Rao bound"])
            print(
                f"  MultiResRNNRegressor / Cramér–Rao bound: {np.median(ratios, axis=0).round(2)}"
            )


BENCHES = {
    "clean": bench_clean,
    "long": bench_long,
    "speed": bench_speed,
    "real": lambda options: bench_real(options, SEEDS),
    "vector": bench_vector,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*BENCHES, []], default=list(BENCHES))
    parser.add_argument("--budget", type=int, default=120, help="seconds for each network")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--posteriors", type=int, default=60)
    parser.add_argument("--data", help="folder with measured histograms")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in options.parts or list(BENCHES):
        BENCHES[part](options)
