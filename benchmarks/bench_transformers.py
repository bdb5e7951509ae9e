"""What the transformers cost beside what a user would otherwise pick.

BoxCoxTransformer beside scikit-learn's PowerTransformer, 100,000 rows of 200 columns in float64, and how
far their powers and their results differ; LogRatioTransformer beside the bare NumPy expression, on 20,000
showers of 6480 voxels in float32, and its peak memory. Run: python benchmarks/bench_transformers.py
"""

import argparse
import platform
from functools import partial

import joblib
import numpy as np
from _memory import is_measurable, peak_memory
from _timing import interleave, print_ratios
from sklearn.preprocessing import PowerTransformer

from skae import BoxCoxTransformer, LogRatioTransformer


def skewed_columns(n: int, d: int) -> np.ndarray:
    """Log-normal columns, some nearly symmetric and some with long tails, on a pedestal."""
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(n, d)) * rng.uniform(0.2, 1.5, size=d))
    return X + rng.uniform(0.0, 2.0, size=d)


def bench_box_cox(turns: int, n: int = 100_000, d: int = 200) -> None:
    X = skewed_columns(n, d)
    power, box_cox = PowerTransformer("box-cox"), BoxCoxTransformer()
    rivals = {"PowerTransformer": power, "BoxCoxTransformer": box_cox}
    for method, used in {"fit": X, "transform": X, "inverse_transform": None}.items():
        used = power.transform(X) if used is None else used
        print_ratios(
            f"Box-Cox {method}, {n} × {d} float64, {joblib.cpu_count()} cores",
            interleave(
                {name: partial(getattr(model, method), used) for name, model in rivals.items()},
                max(3, turns // 3) if method == "fit" else turns,
            ),
            ["PowerTransformer", "BoxCoxTransformer"],
        )
    Z = box_cox.transform(X)
    back = box_cox.inverse_transform(Z)
    print(
        f"\n  largest difference of the powers {np.abs(box_cox.lambdas_ - power.lambdas_).max():.1e}, "
        f"of the results {np.abs(Z - power.transform(X)).max():.1e}\n"
        f"  largest relative error of the round trip: BoxCoxTransformer "
        f"{np.abs(back / X - 1).max():.1e}, PowerTransformer "
        f"{np.abs(power.inverse_transform(Z) / X - 1).max():.1e}"
    )


def showers(n: int, n_voxels: int) -> np.ndarray:
    """Incident energy, and voxels that share it unevenly, two thirds of them empty."""
    rng = np.random.default_rng(0)
    X = rng.standard_exponential(size=(n, 1 + n_voxels), dtype=np.float32)
    X[rng.random(size=X.shape, dtype=np.float32) < 2 / 3] = 0.0
    X[:, 0] = 1.0 + 10 * n_voxels
    return X


def bare_logit(X: np.ndarray) -> np.ndarray:
    """The logit as one writes it down, one number at a time for all."""
    R = np.float32(1e-7)
    u = R + (1 - 2 * R) * (X[:, 1:] / X[:, :1])
    Z = X.copy()
    Z[:, 1:] = np.log(u / (1 - u)) - np.log(R / (1 - R))
    return Z


def bare_log1p(X: np.ndarray) -> np.ndarray:
    """The logarithm, likewise."""
    Z = np.log1p(X)
    Z[:, 0] = X[:, 0]
    return Z


def bench_log_ratio(turns: int, n: int = 20_000, n_voxels: int = 6480) -> None:
    X = showers(n, n_voxels)
    for kind, bare in {"logit": bare_logit, "log1p": bare_log1p}.items():
        log_ratio = LogRatioTransformer(kind, reference=0).fit(X)
        print_ratios(
            f"LogRatio {kind} transform, {n} × {1 + n_voxels} float32, {joblib.cpu_count()} cores",
            interleave(
                {
                    "bare NumPy": partial(bare, X),
                    "LogRatioTransformer": partial(log_ratio.transform, X),
                },
                turns,
            ),
            ["bare NumPy"],
        )
        if is_measurable():
            size = X.nbytes / 2**20
            for name, function in {"bare NumPy": bare, "skae": log_ratio.transform}.items():
                peak = peak_memory(partial(function, X))
                print(f"  peak memory above the input, {name:12s} {peak / size:5.2f} × input")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="interleaved turns (default 9)")
    turns = parser.parse_args().turns
    print(f"numpy {np.__version__}, {platform.processor() or platform.machine()}")
    bench_box_cox(turns)
    bench_log_ratio(turns)
