"""g²(0) by a network that has seen blinking, cross-talk and afterpulses, with intervals, beside the fit.

A network learns from simulated histograms of pulsed emitters on the grid of the measured ones, zero delay
known to 3 ns. Split-conformal intervals (MAPIE), whose width follows the number of coincidences, are
calibrated on other simulations, and tried on yet others and on measured histograms. Run:
python benchmarks/bench_g2_network.py [--data FOLDER] [--budget 90]
"""

import argparse

import numpy as np
import torch
from _correlations import fit_within
from _quantum_dots import pulsed_files
from bench_correlations import CONFIDENCES, first_and_rest, quietly
from mapie.conformity_scores import ResidualNormalisedScore
from mapie.regression import SplitConformalRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import MultiResRNNRegressor, PhotonCorrelationFit
from skae.datasets import make_photon_correlations

TAU = np.arange(1954) * 0.256  # ns

#: what is known of a measurement beforehand: a laser of about 80 MHz, an emitter, detectors, cables
SIMULATION = {
    "g2_zero": (0.0, 1.0),
    "period": (12.0, 13.0),
    "zero_delay": (58.0, 64.0),
    "lifetimes": ((0.3, 4.0),),
    "jitter": (0.1, 0.8),
    "background": (0.0, 0.3),
    "bunching": (0.0, 0.5),
    "bunching_time": (50.0, 1000.0),
    "crosstalk": ((45.0, 75.0),),
    "crosstalk_height": (0.0, 0.3),
    "crosstalk_width": (1.0, 5.0),
    "n_echoes": 1,
    "echo_delay": (80.0, 100.0),
    "echo_height": (0.0, 0.5),
    "afterpulse_fraction": (0.0, 0.05),
    "afterpulse_time": (10.0, 100.0),
    "counts": (2.0, 200.0),
    "gaussian_fraction": 0.0,
}
FIT = {"period": (12.0, 13.0), "zero_delay": (58.0, 64.0), "jitter": None, "times": TAU}

#: rows that are fitted, too, which takes a second for each
N_FITTED = 100


def simulated(n, seed):
    """Return counts, and g²(0) after background."""
    g2 = make_photon_correlations(n, tau=TAU, random_state=seed, **SIMULATION)
    return g2.counts, g2.params["g2_zero"].to_numpy()


def per_mean(X):
    """Return histograms divided by their means."""
    return X / np.maximum(X.mean(axis=1, keepdims=True), 1e-12)


def log_total(X):
    """Return the logarithm of how many coincidences there are."""
    return np.log(np.maximum(X.sum(axis=1, keepdims=True), 1.0))


def trained(seed, budget):
    """Return a network, and its intervals, calibrated."""
    X, y = simulated(6000, seed)
    network = MultiResRNNRegressor(output="vector", random_state=seed)
    network, _ = fit_within(network, per_mean(X), y, budget)
    model = make_pipeline(FunctionTransformer(per_mean), FrozenEstimator(network)).fit(X, y)
    width = make_pipeline(FunctionTransformer(log_total), LinearRegression())
    score = ResidualNormalisedScore(residual_estimator=width, split_size=0.5, random_state=seed)
    return SplitConformalRegressor(
        model, confidence_level=list(CONFIDENCES), conformity_score=score, prefit=True
    ).conformalize(*simulated(2000, 100 + seed))


def print_simulations(models):
    """Print what intervals cover of new simulations: of all, and of those with few and many counts."""
    print(f"{'new simulations':28s}{'rms':>7s}{'68 %':>8s}{'few':>8s}{'many':>8s}{'95 %':>8s}"
          f"{'median width of 68 %':>23s}")  # fmt: skip
    for seed, model in enumerate(models):
        X, y = simulated(2000, 200 + seed)
        found, ends = model.predict_interval(X)
        print_row(f"network, seed {seed}", X, y, found, [ends[:, :, i] for i in (0, 1)])
    X, y = X[:N_FITTED], y[:N_FITTED]
    known = [ends[:N_FITTED, :, i] for i in (0, 1)]
    print_row(f"that network, {N_FITTED} of these", X, y, found[:N_FITTED], known)
    for name, options in {
        "fit with a hump, the same": {"crosstalk": ((45.0, 75.0),)},
        "fit without": {},
    }.items():
        fit = PhotonCorrelationFit(**FIT, **options).fit(X)
        ends = [quietly(fit.interval, X, confidence) for confidence in CONFIDENCES]
        print_row(name, X, y, quietly(fit.transform, X)[:, 0], ends)


def print_row(name, X, y, found, intervals):
    """Print one."""
    held = [(ends[:, 0] <= y) & (y <= ends[:, 1]) for ends in intervals]
    few, many = np.quantile(X.sum(axis=1), [1 / 3, 2 / 3])
    parts = [held[0], held[0][X.sum(axis=1) <= few], held[0][X.sum(axis=1) > many], held[1]]
    width = np.median(intervals[0][:, 1] - intervals[0][:, 0])
    rms = np.sqrt(np.square(found - y).mean())
    shares = "".join(f"{part.mean():8.3f}" for part in parts)
    print(f"  {name:26s}{rms:7.3f}{shares}{width:23.3f}", flush=True)


def print_files(folder, models):
    """Print intervals of the first tenth of real snapshots, and of the rest."""
    for file in pulsed_files(folder):
        _, first, rest, _ = first_and_rest(file)
        fit = PhotonCorrelationFit(**FIT).fit(rest[None])
        print(f"{file.name}, 95 %")
        for name, x in (("the fit to the rest", rest), ("the fit to the first tenth", first)):
            low, high = quietly(fit.interval, x[None], 0.95)[0]
            print(f"  {name:30s}{low:7.3f} to {high:.3f}")
        for seed, model in enumerate(models):
            _, ends = model.predict_interval(first[None])
            print(f"  {f'network, seed {seed}':30s}{ends[0, 0, 1]:7.3f} to {ends[0, 1, 1]:.3f}")


def main():
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder with hbt_*.txt.gz")
    parser.add_argument("--budget", type=float, default=90, help="seconds of training")
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {options.budget:g} s of training"
    )
    models = [trained(seed, options.budget) for seed in range(3)]
    print_simulations(models)
    if options.data:
        print_files(options.data, models)


if __name__ == "__main__":
    main()
