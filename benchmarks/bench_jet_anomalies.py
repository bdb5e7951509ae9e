"""Unusual jets among many, with some of them in the training data: the question of the LHC Olympics.

    python benchmarks/bench_jet_anomalies.py QCD.npy RESONANCE.npy

Files are those of examples/jets_from_pythia.py. Every method sees the same inputs, the columns but φ
made Gaussian by BoxCoxTransformer, of 100,000 background jets with a share of signal jets added, and is
judged on other jets of both. SIC is the significance improvement, signal efficiency over the root of the
background's, where 1 in 100 and 1 in 1000 background jets pass. "flat" is after decorrelation from the
mass: a score less the median of training jets of like mass, over the distance to their 90 % quantile.
Medians of five seeds; ± is the bootstrap's error over test jets, of the first. Nothing is tuned on them.
"""

import argparse
import statistics
import time
import warnings
from functools import partial

import numpy as np
import torch
from _jets import jets_in
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.metrics import roc_curve
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import BoxCoxTransformer, JetAutoencoder
from skae.exceptions import ClippingWarning

SHARES = (0.0, 0.001, 0.01, 0.05)
BACKGROUND = 100_000
COMPONENTS = 6
RATES = np.array([1e-2, 1e-3])


def shuffled(file: str) -> tuple[np.ndarray, list[str]]:
    X, names = jets_in(file)
    return X[np.random.default_rng(0).permutation(len(X))], names


def pca(Z, seed):
    model = PCA(COMPONENTS).fit(Z)
    return lambda rows: ((rows - model.inverse_transform(model.transform(rows))) ** 2).sum(axis=1)


def forest(Z, seed):
    model = IsolationForest(random_state=seed).fit(Z)
    return lambda rows: -model.score_samples(rows)


def mixture(Z, seed):
    model = GaussianMixture(10, reg_covar=1e-3, max_iter=50, tol=1e-2, random_state=seed).fit(Z)
    return lambda rows: -model.score_samples(rows)


def network(Z, seed, loss="squared_error"):
    model = JetAutoencoder(COMPONENTS, loss=loss, max_epochs=20, batch_size=512, random_state=seed)
    model.fit(Z)
    return lambda rows: -model.score_samples(rows)


METHODS = {
    f"PCA({COMPONENTS})": (pca, 1),
    "IsolationForest": (forest, 5),
    "GaussianMixture(10)": (mixture, 5),
    f"JetAutoencoder({COMPONENTS})": (network, 5),
    "the same, loss='huber'": (partial(network, loss="huber"), 5),
    "the same, loss='trimmed'": (partial(network, loss="trimmed"), 5),
}


def figures(score: np.ndarray, is_signal: np.ndarray) -> np.ndarray:
    """Return AUC, and the significance improvement where 1 in 100 and 1 in 1000 background jets pass."""
    passing, found, _ = roc_curve(is_signal, score)
    at = np.searchsorted(passing, RATES, side="right") - 1
    return np.array([np.trapezoid(found, passing), *(found[at] / np.sqrt(RATES))])


def errors(score: np.ndarray, is_signal: np.ndarray, times: int = 100) -> np.ndarray:
    """Return the bootstrap's standard errors of :func:`figures`."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(score), size=(times, len(score)))
    return np.std([figures(score[rows], is_signal[rows]) for rows in draws], axis=0)


def flat_in_mass(score, mass, of_training, mass_of_training, bins: int = 50) -> np.ndarray:
    """Return scores in units of those of training jets of like mass."""
    edges = np.quantile(mass_of_training, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    places, known = np.searchsorted(edges, mass), np.searchsorted(edges, mass_of_training)
    middle, high = np.transpose(
        [np.quantile(of_training[known == k], [0.5, 0.9]) for k in range(bins)]
    )
    return (score - middle[places]) / (high - middle)[places]


def show(name: str, found: list[np.ndarray], error: np.ndarray, seconds: float | None) -> None:
    middle = [statistics.median(values) for values in zip(*found, strict=True)]
    cells = [f"{value:6.3f} ± {e:.3f}" for value, e in zip(middle, error, strict=True)]
    print(
        f"  {name:26s} {'   '.join(cells)}" + ("" if seconds is None else f" {seconds:6.0f} s"),
        flush=True,
    )


def main(background: np.ndarray, signal: np.ndarray, mass: int) -> None:
    n_most = int(BACKGROUND * max(SHARES) / (1.0 - max(SHARES)))
    test = np.vstack([background[BACKGROUND:], signal[n_most:]])
    is_signal = np.arange(len(test)) >= len(background) - BACKGROUND
    print(f"{BACKGROUND} background jets to train on, {test.shape[1]} columns")
    print(f"{(~is_signal).sum()} background and {is_signal.sum()} signal jets to test with")
    heads = ["AUC", "SIC at 1e-2", "SIC at 1e-3"]
    heads += [f"{head}, flat" for head in heads]
    print(f"  {'':26s} {'   '.join(f'{head:>14s}' for head in heads)}     fit")
    both = np.vstack([background[:BACKGROUND], signal[:n_most]])
    known = np.arange(len(both)) >= BACKGROUND
    ceiling = HistGradientBoostingClassifier(random_state=0).fit(both, known)
    print("knowing what is what:")
    of_training, of_test = (ceiling.predict_proba(rows)[:, 1] for rows in (both, test))
    masses = both[:BACKGROUND, mass], test[:, mass]
    judge("boosted trees", [(of_training[:BACKGROUND], of_test)], masses, is_signal)
    judge("the mass alone", [masses], masses, is_signal)
    for share in SHARES:
        print(f"{share:.1%} of the training jets are signal:")
        train = np.vstack(
            [background[:BACKGROUND], signal[: int(BACKGROUND * share / (1.0 - share))]]
        )
        gaussian = make_pipeline(BoxCoxTransformer(), StandardScaler()).fit(train)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ClippingWarning
            )  # of a few jets beyond the training data
            Z, T = gaussian.transform(train), gaussian.transform(test)
            for name, (method, n_seeds) in METHODS.items():
                scores, seconds = [], []
                for seed in range(n_seeds):
                    start = time.perf_counter()
                    score = method(Z, seed)
                    seconds.append(time.perf_counter() - start)
                    scores.append((score(Z), score(T)))
                masses = train[:, mass], test[:, mass]
                judge(name, scores, masses, is_signal, statistics.median(seconds))


def judge(name, scores, masses, is_signal, seconds=None) -> None:
    """Print medians of the scores of several seeds, with the errors of the first."""
    both = [
        (of_test, flat_in_mass(of_test, masses[1], of_training, masses[0]))
        for of_training, of_test in scores
    ]
    found = [np.concatenate([figures(s, is_signal) for s in pair]) for pair in both]
    show(name, found, np.concatenate([errors(s, is_signal) for s in both[0]]), seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("background")
    parser.add_argument("signal")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    (background, names), (signal, _) = shuffled(options.background), shuffled(options.signal)
    main(background, signal, names.index("mass"))
