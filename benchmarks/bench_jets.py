"""How well jets survive three numbers: skae beside closed formulas, PCA and the published network.

On real jets: python benchmarks/bench_jets.py FILE --unit MeV. Without a file, on generated ones.
Split: train_test_split(test_size=0.2, random_state=0); medians of three seeds; the test set measures
and chooses nothing. Two errors: on (E, pT, η, φ) in GeV divided by their spread in training, and in
the published normalisation log10 E, log10 pT, η/5, φ/3.

With --w-jets: how well jets of a W are told from others by their scores, with some in the training data.
With --times: how long fits of many jets take. With --published: the network as it was published.
"""

import argparse
import statistics
import time
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import JetAutoencoder, KinematicsTransformer
from skae.datasets import load_jets, make_jets
from skae.metrics import relative_residuals, residual_moments, scaled_mean_squared_error

PHI = 3


def published(X: np.ndarray) -> np.ndarray:
    return np.column_stack([np.log10(np.maximum(X[:, :2], 1e-3)), X[:, 2] / 5, X[:, PHI] / 3])


def figures(test: np.ndarray, decoded: np.ndarray, scale: np.ndarray) -> list[float]:
    around = test + relative_residuals(test, decoded, angles=[PHI], absolute=[0, 1, 2, PHI])
    sigma = residual_moments(relative_residuals(test, decoded, angles=[PHI], absolute=[2, PHI])).std
    return [
        scaled_mean_squared_error(test, decoded, scale=scale, angles=[PHI]),
        scaled_mean_squared_error(published(test), published(around), scale=np.ones(4)),
        sigma[1],
        sigma[0],
        sigma[2],
        sigma[PHI],
    ]


def smooth_floor(train: np.ndarray, test: np.ndarray, scale: np.ndarray) -> float:
    """Estimate the least error of any smooth three-number code on (E, pT, η, φ) / scale.

    Such a code is a surface E(pT, η, φ). Boosted trees regress its best height, the mean energy given
    pT and η; what scatters about it is lost, less the share that leaning along the surface's normal
    saves: the distance to the surface is ΔE over the length of its scaled gradient.
    """

    def split(X):
        energy, pt, eta, _ = X.T
        momentum = pt * np.cosh(eta)
        normal = np.sqrt(
            scale[0] ** 2 + (np.cosh(eta) * scale[1]) ** 2 + (pt * np.sinh(eta) * scale[2]) ** 2
        )
        return (
            np.column_stack([np.log(pt), np.abs(eta)]),
            energy / momentum - 1.0,
            momentum / normal,
        )

    features, excess, lever = split(train)
    trees = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=6, random_state=0
    )
    trees.fit(features, 100.0 * excess, sample_weight=lever**2 / np.mean(lever**2))
    features, excess, lever = split(test)
    distance = (excess - trees.predict(features) / 100.0) * lever
    return float(np.mean(distance**2) / 4.0)


def momenta(metric: str, epochs: int, seed: int) -> JetAutoencoder:
    """Return the guide's estimator."""
    return JetAutoencoder(
        3,
        angles=[PHI],
        transformer=KinematicsTransformer(),
        metric=metric,
        max_epochs=epochs,
        random_state=seed,
    )


def algebra(train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Return what codes without a network give back: three numbers, or fixed point for all four."""
    kinematics = KinematicsTransformer().fit(train)
    features, known = kinematics.transform(test), kinematics.transform(train)

    def with_mass(mass):
        return kinematics.inverse_transform(np.column_stack([features[:, :3], mass]))

    pca = PCA(3).fit(known)
    cubic = np.polyfit(known[:, 0], known[:, 3], 3)
    return {
        "massless: E = pT cosh η": with_mass(np.zeros(len(test))),
        "the median of m/pT": with_mass(np.full(len(test), np.median(known[:, 3]))),
        "m/pT by a cubic in log pT": with_mass(np.polyval(cubic, features[:, 0])),
        "the same, jets moved to that surface": nearest(cubic, test, train.std(axis=0)),
        "PCA(3) of log pT, η, φ, m/pT": kinematics.inverse_transform(
            pca.inverse_transform(pca.transform(features))
        ),
        "fixed point of these, 4 × 16 = 64 bits": kinematics.inverse_transform(
            fixed_point(known, features, 16)
        ),
        "fixed point of these, 4 × 24 = 96 bits": kinematics.inverse_transform(
            fixed_point(known, features, 24)
        ),
        **{
            f"zfp of these, 4 × {bits} = {4 * bits} bits": kinematics.inverse_transform(
                zfp(features, bits)
            )
            for bits in (16, 24)
            if find_spec("zfpy")
        },
    }


def nearest(cubic: np.ndarray, test: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the point E(pT, η), φ nearest to each jet, in units of ``scale``; m/pT is a cubic in log pT.

    As good as a code that keeps pT, η and φ can be, and as a network's encoder is free to be.
    """

    def energy(pt, eta):
        mass = np.polyval(cubic, np.log(pt))
        return pt * np.sqrt(np.cosh(eta) ** 2 + mass * np.abs(mass))

    start, weight, small = test[:, 1:3], scale[1:3] ** 2, 1e-6
    point = start
    for _ in range(5):  # of Gauss and Newton
        pt, eta = point.T
        found = energy(pt, eta)
        slope = np.column_stack([
            (energy(pt * (1.0 + small), eta) - found) / (pt * small),
            (energy(pt, eta + small) - found) / small,
        ])  # fmt: skip
        left = test[:, 0] - found + ((point - start) * slope).sum(axis=1)
        lever = scale[0] ** 2 + (slope**2 * weight).sum(axis=1)
        point = start + slope * weight * (left / lever)[:, np.newaxis]
    return np.column_stack([energy(*point.T), point, test[:, PHI]])


def fixed_point(train: np.ndarray, features: np.ndarray, bits: int) -> np.ndarray:
    """Round features to so many bits over the range in training, and a tenth more on either side."""
    low, high = train.min(axis=0), train.max(axis=0)
    low, step = low - 0.1 * (high - low), 1.2 * (high - low) / (2**bits - 1)
    return low + step * np.clip(np.rint((features - low) / step), 0, 2**bits - 1)


def zfp(features: np.ndarray, bits: int) -> np.ndarray:
    """Return columns in so many bits a value, by zfp (Lindstrom, 2014, doi:10.1109/TVCG.2014.2346458)."""
    import zfpy

    columns = [zfpy.compress_numpy(np.ascontiguousarray(x), rate=bits) for x in features.T]
    return np.column_stack([zfpy.decompress_numpy(column) for column in columns])


def trained(epochs: int) -> dict:
    """What is trained, as a function of the seed."""
    return {
        f"AE_3D_200 (tanh), {epochs} epochs": lambda seed: make_pipeline(
            StandardScaler(),
            JetAutoencoder(activation="tanh", max_epochs=epochs, random_state=seed),
        ),
        f"JetAutoencoder(), {epochs} epochs": lambda seed: make_pipeline(
            StandardScaler(), JetAutoencoder(max_epochs=epochs, random_state=seed)
        ),
        f"Pipeline: kinematics, linear_path, {epochs} epochs": lambda seed: make_pipeline(
            KinematicsTransformer(),
            JetAutoencoder(angles=[2], linear_path=True, max_epochs=epochs, random_state=seed),
        ),
        **{
            f"transformer=kinematics, {metric}, {epochs} epochs": partial(momenta, metric, epochs)
            for metric in ("standardised", "relative")
        },
        "wound: kinematics, winding=32, 100 epochs": lambda seed: make_pipeline(
            KinematicsTransformer(),
            JetAutoencoder(
                angles=[2], linear_path=True, winding=32, max_epochs=100, random_state=seed
            ),
        ),
    }


def bench(X: np.ndarray, epochs: int, seeds: int) -> None:
    train, test = train_test_split(X, test_size=0.2, random_state=0)
    scale = train.std(axis=0)
    print(f"{len(train)} jets to train on, {len(test)} to test with, 3 numbers a jet")
    print(f"{'':48s} {'MSE':>8s} {'MSE publ.':>9s} {'σ(pT)/pT':>9s} {'σ(E)/E':>9s}", end="")
    print(f" {'σ(Δη)':>9s} {'σ(Δφ)':>9s} {'fit':>7s}")

    def row(name, values, seconds=None):
        fit = "" if seconds is None else f" {seconds:5.0f} s"
        print(
            f"{name:48s} {values[0]:8.1e} " + " ".join(f"{v:9.1e}" for v in values[1:]) + fit,
            flush=True,
        )

    for name, decoded in algebra(train, test).items():
        row(name, figures(test, decoded, scale))
    print(f"{'floor of a smooth code (estimate)':48s} {smooth_floor(train, test, scale):8.1e}")
    pca = make_pipeline(StandardScaler(), PCA(3)).fit(train)
    row("PCA(3) of E, pT, η, φ", figures(test, pca.inverse_transform(pca.transform(test)), scale))
    mantissa, exponent = np.frexp(test)
    cut = np.ldexp(np.round(mantissa * 2**16) / 2**16, exponent)
    row("four floats of 24 bits (as large as three of 32)", figures(test, cut, scale))
    for name, build in trained(epochs).items():
        results, seconds = [], []
        for seed in range(seeds):
            start = time.perf_counter()
            model = build(seed).fit(train)
            seconds.append(time.perf_counter() - start)
            results.append(figures(test, model.inverse_transform(model.transform(test)), scale))
        spread = ", ".join(f"{values[0]:.1e}" for values in results)
        row(
            name,
            [statistics.median(v) for v in zip(*results, strict=True)],
            statistics.median(seconds),
        )
        print(f"{'':48s} seeds: {spread}")


def w_jets(n: int, seed: int) -> np.ndarray:
    """Generate jets of W bosons: masses of 80.4 ± 8 GeV, pT of 100 to 200 GeV and |η| < 2, evenly.

    Their m/pT is 0.4 to 0.8; that of the others is 0.13 on average and below 0.45.
    """
    rng = np.random.default_rng(seed)
    pt, eta = rng.uniform(100.0, 200.0, n), rng.uniform(-2.0, 2.0, n)
    energy = np.hypot(pt * np.cosh(eta), rng.normal(80.4, 8.0, n))
    return np.column_stack([energy, pt, eta, rng.uniform(-np.pi, np.pi, n)])


def bench_w_jets(seeds: int, n: int = 20_000) -> None:
    """Print AUC with and without W jets among the jets that are trained on."""
    print(
        f"{n} jets to train on, and W jets as many per cent of these; 5,000 and 2,000 to test with"
    )
    print(
        f"{'':44s} {'AUC, 0 %':>9s} {'AUC, 1 %':>9s} {'AUC, 5 %':>9s} {'MSE, 0 %':>9s}  AUC of seeds, 5 %"
    )
    is_jet = np.arange(7_000) < 5_000
    for name, build in screens().items():
        found, errors = [], []
        for seed in range(seeds):
            jets = make_jets(n, random_state=100 + seed)
            test = np.vstack([make_jets(5_000, random_state=200 + seed), w_jets(2_000, 300 + seed)])
            row = []
            for share in (0.0, 0.01, 0.05):
                X = np.vstack([jets, w_jets(int(share * n), 400 + seed)])
                model = build(seed).fit(X)
                features = model[:-1].transform(test)
                if hasattr(model[-1], "inverse_transform"):
                    back = model[-1].inverse_transform(model[-1].transform(features))
                    score = -np.square(features - back).mean(axis=1)
                else:
                    score = model[-1].score_samples(features)
                row.append(roc_auc_score(is_jet, score))
                if share == 0.0:
                    errors.append(-score[:5_000].mean())
            found.append(row)
        cells = " ".join(f"{value:9.3f}" for value in np.median(found, axis=0))
        of_seeds = ", ".join(f"{row[-1]:.3f}" for row in found)
        print(f"{name:44s} {cells} {statistics.median(errors):9.1e}  {of_seeds}", flush=True)


def bench_times() -> None:
    """Print how long the guide's estimator takes, by the number of jets."""
    print(
        f"{'jets':>9s} {'s an epoch':>11s} {'100 epochs':>11s} {'µs a jet, encoded':>18s} {'decoded':>8s}"
    )
    momenta("standardised", 1, 0).fit(make_jets(1_000, random_state=0))  # the first takes longer
    for n in (2_000, 20_000, 200_000, 1_000_000):
        X, epochs = make_jets(n, random_state=0), min(100, max(3, 400_000 // n))
        start = time.perf_counter()
        model = momenta("standardised", epochs, 0).fit(X)
        epoch = (time.perf_counter() - start) / epochs
        start = time.perf_counter()
        latent = model.transform(X)
        encoded = time.perf_counter()
        model.inverse_transform(latent)
        rates = [1e6 * t / n for t in (encoded - start, time.perf_counter() - encoded)]
        print(
            f"{n:9d} {epoch:11.3f} {100 * epoch:9.0f} s {rates[0]:18.2f} {rates[1]:8.2f}",
            flush=True,
        )


def bench_published(X: np.ndarray, seeds: int) -> None:
    """Print the error of AE_3D_200, trained in the published normalisation for as long."""
    train, test = (published(part) for part in train_test_split(X, test_size=0.2, random_state=0))
    found = []
    for seed in range(seeds):
        model = JetAutoencoder(
            activation="tanh", max_epochs=1000, batch_size=256, random_state=seed
        ).fit(train)
        found.append(-model.score(test))
    print(
        f"AE_3D_200, log10 E, log10 pT, η/5, φ/3, 1000 epochs: {statistics.median(found):.1e}, of",
        end=" ",
    )
    print(", ".join(f"{value:.1e}" for value in found))


class TrimmedPCA(PCA):
    """Principal components of the rows that they rebuild best."""

    def fit(self, X, y=None):
        """Learn from rows."""
        rows = X
        for _ in range(10):
            super().fit(rows)
            error = np.square(X - self.inverse_transform(self.transform(X))).sum(axis=1)
            rows = X[error <= np.quantile(error, 0.9)]
        return self


def screens() -> dict:
    """What tells W jets from others, as a function of the seed."""

    def network(seed, **options):
        return make_pipeline(
            KinematicsTransformer(scale=True),
            JetAutoencoder(3, angles=[2], max_epochs=30, random_state=seed, **options),
        )

    return {
        "PCA(3)": lambda seed: make_pipeline(KinematicsTransformer(scale=True), PCA(3)),
        "PCA(3) of the 90 % it rebuilds best": lambda seed: make_pipeline(
            KinematicsTransformer(scale=True), TrimmedPCA(3)
        ),
        "EllipticEnvelope (MCD)": lambda seed: make_pipeline(
            KinematicsTransformer(scale=True), EllipticEnvelope(random_state=seed)
        ),
        "IsolationForest": lambda seed: make_pipeline(
            KinematicsTransformer(scale=True), IsolationForest(random_state=seed)
        ),
        "GaussianMixture(10)": lambda seed: make_pipeline(
            KinematicsTransformer(scale=True), GaussianMixture(10, random_state=seed)
        ),
        "JetAutoencoder(3)": network,
        "JetAutoencoder(3, linear_path=True)": partial(network, linear_path=True),
        "JetAutoencoder(3, loss='huber')": partial(network, loss="huber"),
        "JetAutoencoder(3, loss='trimmed')": partial(network, loss="trimmed"),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--unit", default="GeV", choices=["MeV", "GeV", "TeV"])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--w-jets", action="store_true", help="tell jets of a W from others")
    parser.add_argument("--times", action="store_true", help="how long fits take")
    parser.add_argument("--published", action="store_true", help="AE_3D_200 as it was published")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if options.w_jets:
        bench_w_jets(options.seeds)
        raise SystemExit
    if options.times:
        bench_times()
        raise SystemExit
    if options.file:
        jets = load_jets(options.file, unit=options.unit)
    else:
        jets = make_jets(22_661, random_state=0)
    if options.published:
        bench_published(jets, options.seeds)
    else:
        bench(jets, options.epochs, options.seeds)
