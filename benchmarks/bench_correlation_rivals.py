"""Intervals of g²(0) beside those of least squares, and of counted peaks.

python benchmarks/bench_correlation_rivals.py [--draws 200]
"""

import argparse
import contextlib

import numpy as np
import pandas as pd
from bench_correlations import (
    COINCIDENCES,
    CONFIDENCES,
    PERIOD,
    TAU,
    area_ratio,
    estimator,
    quietly,
    simulate,
)
from scipy.optimize import curve_fit

from skae.datasets.correlations import correlations_of


def least_squares(kind, X, weights):
    """Fit the same formula by scipy's curve_fit; return g²(0), its error, and how often that failed."""
    names = ["g2_zero", "lifetime_1"] + (["background", "period"] if kind == "pulsed" else [])
    fixed = {"zero_delay": 0.0, "jitter": 0.0}
    fixed |= {"weight_1": 1.0} if kind == "pulsed" else {"bunching": 0.0, "signal": 1.0}
    low, high = np.array([(0.0, np.inf), (0.05, 10.0), (0.0, np.inf), (12.0, 13.0)][: len(names)]).T

    def curve(_, amplitude, *values):
        table = pd.DataFrame([{**fixed, **dict(zip(names, values, strict=True))}])
        return amplitude * correlations_of(TAU, table)[0]

    start = np.array([0.5, 1.0, 0.1, 12.5][: len(names)])
    found = np.full((len(X), 2), np.nan)
    for row, x in enumerate(X):
        level = x.max() if kind == "pulsed" else np.median(x) + 1.0
        sigma = np.sqrt(np.maximum(x, 1.0)) if weights else None
        with contextlib.suppress(RuntimeError):
            best, covariance = quietly(
                curve_fit, curve, TAU, x, [level, *start], sigma, weights,
                bounds=([0.0, *low], [np.inf, *high]),
            )  # fmt: skip
            found[row] = best[1], np.sqrt(covariance[1, 1])
    return found


def counted_areas(X):
    """Return the area at zero delay over that of the mean side peak, and its error."""
    return np.array([area_ratio(x, TAU, PERIOD, 0.0) for x in X])


def print_rival(name, truth, found, intervals):
    """Print one; rows that were not fitted count as not covered."""
    held = [np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) for ends in intervals]
    off, failed = found - truth, np.isnan(found).mean()
    print(f"  {name:30s}{held[0]:7.3f}{held[1]:7.3f}   bias {np.nanmean(off):+7.3f}   rms "
          f"{np.sqrt(np.nanmean(off**2)):7.3f}   failed {failed:5.3f}", flush=True)  # fmt: skip


def main():
    """Print what intervals of other methods cover, zero delay known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    n = parser.parse_args().draws
    print(f"{n} draws, T = 1 ns, zero delay known: 68 and 95 % intervals, bias and rms of g2(0); "
          "as counted: with the background, which peak areas have in them")  # fmt: skip
    for kind, g2_zero in (
        ("pulsed", 0.3),
        ("pulsed", 1.0),
        ("continuous", 0.3),
        ("continuous", 2.0),
    ):
        for coincidences in COINCIDENCES:
            X, expected = simulate(kind, g2_zero, 1.0, coincidences, n)
            print(f"{kind}, g2(0) = {g2_zero}, {coincidences} coincidences")
            fit = estimator(kind, is_known=True).fit(X)
            ends = [quietly(fit.interval, X, confidence) for confidence in CONFIDENCES]
            print_rival("fit", g2_zero, quietly(fit.transform, X)[:, 0], ends)
            rivals = {
                "least squares, 1 / counts": (least_squares(kind, X, True), g2_zero),
                "least squares, equal weights": (least_squares(kind, X, False), g2_zero),
            }
            if kind == "pulsed":
                truth = area_ratio(expected, TAU, PERIOD, 0.0)[0]
                ends = [
                    quietly(fit.interval, X, level, quantity="g2_counted") for level in CONFIDENCES
                ]
                print_rival("fit, as counted", truth, ends[0].mean(axis=1), ends)
                rivals["peak areas"] = counted_areas(X), truth
            for name, (found, truth) in rivals.items():
                value, error = found.T
                ends = [
                    np.stack([value - z * error, value + z * error], axis=1) for z in (0.9945, 1.96)
                ]
                print_rival(name, truth, value, ends)


if __name__ == "__main__":
    main()
