"""Bytes a jet when every value comes back within a bound: fixed point, zfp, polynomials, PCA, networks.

    python benchmarks/bench_compression.py FILE [--unit MeV]

FILE has E, pT, η, φ, or is an .npy of a structured array, with its columns by name; "event", which is
no column, keeps jets of one event on one side of the split. E, pT and masses are within a relative bound,
angles and all else within an absolute one, integers are exact, and every row of the table is checked for
that. Split: 20 % to test. Components and widths are chosen on training jets, by bytes. Networks: medians
of three seeds.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import JetAutoencoder, KinematicsTransformer
from skae.compression.streams import Writer, zstd
from skae.compression.writing import Writing
from skae.datasets import load_jets

RELATIVE = ("E", "pt", "mass", "soft_drop_mass")
MANY = 1_000_000  # jets that a model is also shared by
MOST_TO_CHOOSE = 20_000  # training jets that components and widths are chosen on
COMPONENTS = {4: (2, 3), 25: (2, 4, 6, 8)}
WIDTHS = ((8,), (16,), (32,), (64, 32))


def read(path: str, unit: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return columns by name, and which event each jet is of."""
    if path.endswith(".npy") and np.load(path, mmap_mode="r").dtype.names:
        frame = pd.DataFrame(np.load(path))
        events = frame.pop("event") if "event" in frame else pd.Series(np.arange(len(frame)))
        return frame, events.to_numpy()
    X = load_jets(path, unit=unit)
    return pd.DataFrame(X, columns=["E", "pt", "eta", "phi"]), np.arange(len(X))


class Bound:
    """A bound on every value of a table."""

    def __init__(self, bound: float):
        self.bound = bound

    def options(self, X: pd.DataFrame) -> dict:
        """Return it as skae.compress takes it."""
        relative = {name: self.bound for name in X if name in RELATIVE}
        return {"relative": relative, "absolute": self.bound}

    def kind(self, X: pd.DataFrame, name: str) -> str:
        """Return what the bound on a column is."""
        if X[name].dtype.kind != "f":
            return "exact"
        return "relative" if name in RELATIVE else "absolute"

    def check(self, X: pd.DataFrame, back: pd.DataFrame) -> None:
        """See that every value is within it."""
        for name in X:
            true, other = X[name].to_numpy(), back[name].to_numpy()
            allowed = {"exact": 0.0, "absolute": self.bound, "relative": self.bound * np.abs(true)}
            assert (np.abs(other - true) <= allowed[self.kind(X, name)]).all(), name

    def packed(self, X: pd.DataFrame, model=None, **options) -> int:
        """Return how many bytes skae's format takes, after a check; by a model though it does not pay."""
        data = compressed(model, X, **self.options(X), **options)
        self.check(X, skae.decompress(data, model))
        return len(data)

    def to_units(self, X: pd.DataFrame, name: str) -> tuple[np.ndarray, float]:
        """Return a column, or its logarithm, and the bound on it; zeros of a logarithm are apart."""
        values = X[name].to_numpy(dtype=np.float64)
        if self.kind(X, name) == "relative":
            return np.log(values[values > 0.0]), float(np.log1p(self.bound))
        return values, 0.5 if self.kind(X, name) == "exact" else self.bound


@np.errstate(all="ignore")
def compressed(
    model, X: pd.DataFrame, degree: int = 2, embed_model: bool = True, **bounds
) -> bytes:
    """Do what skae.compress does, which leaves a model out that does not pay."""
    writing = Writing.of(model, X, degree, **bounds)
    plan = writing.without_model() if model is None else writing.with_model(model, embed_model)
    return writing.write(plan)


def squeezed(values: np.ndarray) -> int:
    """Return the bytes of a column by zstd, first bytes of all values first."""
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1).T
    return len(zstd().compress(planes.tobytes(), 19))


def smallest(whole: np.ndarray) -> np.ndarray:
    kinds = (np.int8, np.int16, np.int32, np.int64)
    return whole.astype(next(kind for kind in kinds if np.abs(whole).max() <= np.iinfo(kind).max))


def zeros_of(bound: Bound, X: pd.DataFrame, name: str) -> int:
    """Return the bytes of what says where the zeros of a logarithm are."""
    are_zero = X[name].to_numpy() == 0.0
    is_needed = bound.kind(X, name) == "relative" and are_zero.any()
    return len(zstd().compress(np.packbits(are_zero).tobytes(), 19)) if is_needed else 0


def floats(X: pd.DataFrame) -> int:
    return sum(
        squeezed(v if (v := X[name].to_numpy()).dtype.kind != "f" else v.astype(np.float32))
        for name in X
    )


def fixed_point(bound: Bound, X: pd.DataFrame) -> int:
    total = 0
    for name in X:
        values, room = bound.to_units(X, name)
        whole = np.rint(values / (2.0 * room)).astype(np.int64)
        assert (np.abs(whole * 2.0 * room - values) <= room * (1.0 + 1e-9)).all()
        total += squeezed(smallest(whole - int(np.median(whole)))) + zeros_of(bound, X, name)
    return total


def zfp(bound: Bound, X: pd.DataFrame) -> int:
    """Return the bytes of zfp with fixed accuracy, the coarsest that keeps the bound, and zstd."""
    import zfpy

    total = 0
    for name in X:
        values, room = bound.to_units(X, name)
        for times in (16.0, 8.0, 4.0, 2.0, 1.0):  # it is more accurate than it is asked to be
            data = zfpy.compress_numpy(values, tolerance=times * room)
            if (np.abs(zfpy.decompress_numpy(data) - values) <= room * (1.0 - 1e-9)).all():
                break
        total += min(len(data), len(zstd().compress(data, 19))) + zeros_of(bound, X, name)
    return total


def algebra(bound: Bound, X: pd.DataFrame, mass: np.ndarray, rest: list[str]) -> int:
    """Return the bytes where E is the distance from that of pT, η and a mass, all as they come back."""
    options = {**bound.options(X[rest]), "degree": 0}
    data = skae.compress(None, X[rest], **options)
    back = skae.decompress(data)
    energy = np.hypot(back["pt"] * np.cosh(back["eta"]), mass if mass.ndim else mass * back["pt"])
    step = 2.0 * np.log1p(bound.bound)
    writer = Writer()
    writer.integers(
        (np.rint(np.log(X["E"]) / step) - np.rint(np.log(energy) / step)).to_numpy(np.int64)
    )
    return len(data) + len(writer.content())


# -- models ----------------------------------------------------------------------------------------


def components(k: int, seed: int):
    return make_pipeline(KinematicsTransformer(), StandardScaler(), PCA(k))


def network(widths: tuple, k: int, seed: int):
    return JetAutoencoder(
        k,
        hidden_layer_sizes=widths,
        angles=["phi"],
        transformer=KinematicsTransformer(),
        metric="standardised",
        max_epochs=60,
        random_state=seed,
    )


def sizes(bound: Bound, X: pd.DataFrame, model, degree: int) -> tuple[int, int]:
    """Return the bytes of jets, and those of the model."""
    without = bound.packed(X, model, degree=degree, embed_model=False)
    return without, bound.packed(X, model, degree=degree) - without


def choose(bound: Bound, train: pd.DataFrame, n_test: int, candidates: dict[str, Callable]):
    """Return the candidate of the fewest bytes for jets held out of training, as many as are to test."""
    part = train.iloc[:MOST_TO_CHOOSE]
    cut = int(0.8 * len(part))
    results = {}
    for name, build in candidates.items():
        model = build(seed=0).fit(part.iloc[:cut])
        jets, of_model = sizes(bound, part.iloc[cut:], model, 0)
        results[name] = jets / (len(part) - cut) + of_model / n_test
    best = min(results, key=results.get)
    return best, candidates[best]


def bench(X: pd.DataFrame, events: np.ndarray, bound: Bound, seeds: int) -> None:
    split = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(X, groups=events)
    ((train, test),) = split
    train, test = X.iloc[train].reset_index(drop=True), X.iloc[test].reset_index(drop=True)
    n, d = test.shape
    print(f"{d} columns, {len(train)} jets to train on, {n} to test with, bound {bound.bound:g}")
    print(f"{'bytes a jet':58s} {'without':>8s} {'model':>8s} {'in all,':>8s} {'in all,':>8s}")
    print(f"{'':58s} {'model':>8s} {'(bytes)':>8s} {n:>8d} {MANY:>8d}")

    def row(name: str, jets: float, of_model: float = 0) -> None:
        all_in = [jets / n, jets / n + of_model / n, jets / n + of_model / MANY]
        print(f"{name:58s} {all_in[0]:8.2f} {of_model:8.0f} {all_in[1]:8.2f} {all_in[2]:8.2f}")

    row("float32, zstd", floats(test))
    try:
        row("zfp of logarithms and values, zstd", zfp(bound, test))
    except ImportError:
        print("zfp: left out, pip install zfpy")
    row("fixed point, bytes by zstd", fixed_point(bound, test))
    row("fixed point: compress(None, X, degree=0)", bound.packed(test, degree=0))
    rest = [name for name in test if name != "E"]
    if "mass" in test:
        data = skae.compress(None, test[rest], **bound.options(test[rest]), degree=0)
        mass = skae.decompress(data)["mass"].to_numpy()
        row("algebra: E of pT, η and m", algebra(bound, test, mass, rest))
    else:
        kinematics = KinematicsTransformer().fit(train)
        ratio = np.array(np.median(kinematics.transform(train)[:, 3]))
        row("algebra: E of pT, η and the median of m/pT", algebra(bound, test, ratio, rest))
    row("linear in other columns: compress(None, X, degree=1)", bound.packed(test, degree=1))
    row("polynomials: compress(None, X)", bound.packed(test))
    choices = COMPONENTS[4 if d == 4 else 25]
    pca = {f"PCA({k})": partial(components, k) for k in choices}
    networks = {
        f"JetAutoencoder({k}, {widths})": partial(network, widths, k)
        for k in choices
        for widths in WIDTHS
    }
    for candidates, n_seeds in ((pca, 1), (networks, seeds)):
        name, build = choose(bound, train, n, candidates)
        models = [build(seed=seed).fit(train) for seed in range(n_seeds)]
        for degree, what in ((0, "distances"), (2, "polynomials")):
            pairs = [sizes(bound, test, model, degree) for model in models]
            row(f"{name} and {what}", *map(statistics.median, zip(*pairs, strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--unit", default="GeV", choices=["MeV", "GeV", "TeV"])
    parser.add_argument("--bound", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    bench(*read(options.file, options.unit), Bound(options.bound), options.seeds)
