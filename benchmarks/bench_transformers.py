"""What the transformers cost beside what a user would otherwise pick.

BoxCoxTransformer beside scikit-learn's PowerTransformer, 100,000 rows of 200 columns in float64, and how
far their powers and their results differ. Run: python benchmarks/bench_transformers.py
"""

import argparse
import platform
from functools import partial

import joblib
import numpy as np
from _timing import interleave, print_ratios
from sklearn.preprocessing import PowerTransformer

from skae import BoxCoxTransformer


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="interleaved turns (default 9)")
    turns = parser.parse_args().turns
    print(f"numpy {np.__version__}, {platform.processor() or platform.machine()}")
    bench_box_cox(turns)
