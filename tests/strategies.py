"""Tables that hypothesis draws: every dtype, width and magnitude that a transformer must survive."""

import numpy as np
from hypothesis import strategies as st

KINDS = ("lognormal", "uniform", "ties", "outlier", "constant")


def _column(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "lognormal":
        return rng.lognormal(sigma=rng.uniform(0.01, 3.0), size=n)
    if kind == "uniform":
        return rng.uniform(0.1, 1.0, size=n)
    if kind == "ties":
        return rng.integers(1, 4, size=n).astype(float)
    if kind == "outlier":
        column = 1.0 + 1e-3 * rng.uniform(size=n)
        column[0] = 10.0
        return column
    return np.full(n, rng.uniform(0.5, 2.0))


@st.composite
def tables(draw, kinds=KINDS, zeros=False, negative=False, dtypes=(np.float32, np.float64)):
    """A table of 2 to 40 rows and 1 to 50 columns, each column with a scale of 1e-12 to 1e12.

    ``zeros`` puts some exact zeros in, ``negative`` moves columns below zero.
    """
    n, d = draw(st.integers(2, 40)), draw(st.integers(1, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=len(kinds), unique=True))
    X = np.column_stack([_column(chosen[j % len(chosen)], n, rng) for j in range(d)])
    if negative:
        X -= X.mean(axis=0) * rng.integers(0, 2, size=d)
    X *= 10.0 ** rng.uniform(-12, 12, size=d)
    if zeros:
        X[rng.uniform(size=X.shape) < 0.2] = 0.0
    return X.astype(draw(st.sampled_from(dtypes)))
