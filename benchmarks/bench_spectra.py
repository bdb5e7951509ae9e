"""SpectraVAE beside closed forms, PCA and the rest of scikit-learn, and a hand-written torch loop.

closed       ELBO and posterior widths against the exact likelihood of probabilistic PCA
fluxes       latents of real spectra against their known fluxes, and held-out reconstruction
calibration  coverage of the 68 % intervals that posteriors give to the fluxes
samples      how well gradient boosting tells drawn spectra from real ones
anomalies    spikes and shifted lines among 1 % of the spectra
speed        a training epoch against a hand-written loop

Medians of three seeds; what is tested was not trained on, but for "closed", where the closed form is the
training data's. Run: python benchmarks/bench_spectra.py [closed] [fluxes] … [--real FOLDER]
"""

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _loops import train_by_hand
from _timing import interleave, print_ratios
from scipy.stats import poisson
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from torch import nn

from skae import SpectraVAE
from skae.datasets import load_spectra, make_spectra
from skae.metrics import latent_divergence

SEEDS = (0, 1, 2)
DEEP = {"likelihood": "poisson", "hidden_layer_sizes": (64, 64)}


def exact_ppca(X, sigma, n_components=2):
    """Mean log-likelihood and posterior widths of the best linear Gaussian model of this noise."""
    d = X.shape[1]
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True) / sigma**2)[::-1]
    strength = np.maximum(values[:n_components] - 1.0, 0.0)
    explained = (values[:n_components] * strength / (1.0 + strength)).sum()
    constant = d * np.log(2.0 * np.pi * sigma**2) + np.log(1.0 + strength).sum()
    return -0.5 * (constant + values.sum() - explained), 1.0 / np.sqrt(1.0 + strength)


def normalised(X):
    """As published: (X − mean) / max|X − mean|, in which the noise is about 0.017."""
    centred = X - X.mean(axis=0)
    return centred / np.abs(centred).max()


class HandWritten(nn.Module):
    """The linear VAE of the notebooks: standard initialisation, one draw a row."""

    def __init__(self, d, n_components, sigma, hidden=()):
        super().__init__()
        sizes = [d, *hidden]
        layers = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.encoder = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * n_components))
        sizes = [n_components, *hidden[::-1]]
        layers = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.decoder = nn.Sequential(*layers, nn.Linear(sizes[-1], d))
        self.sigma = sigma

    def loss(self, x):
        """Return minus the ELBO of a minibatch, by one draw a row."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        residual = (x - self.decoder(z)) / self.sigma
        constant = x.shape[1] * np.log(self.sigma * np.sqrt(2.0 * np.pi))
        divergence = 0.5 * (mean**2 + log_var.exp() - log_var - 1.0).sum(dim=1)
        return (0.5 * residual.square().sum(dim=1) + constant + divergence).mean()

    def fit(self, x, batch_size, epochs, lr):
        """Train as an expert would."""
        return train_by_hand(self, self.loss, x, batch_size=batch_size, epochs=epochs, lr=lr)


def bench_closed(real):
    sets = {f"make_spectra, seed {s}": normalised(make_spectra(random_state=s)[0]) for s in SEEDS}
    if real is not None:
        sets["real spectra"] = normalised(real[0])
    sigma = 0.017
    print(
        f"\nNats short of the exact likelihood, 200 spectra, σ = {sigma} (medians of three seeds)"
    )
    print(f"  {'':22s} {'exact':>9s} {'SpectraVAE':>11s} {'init=random':>12s} {'by hand':>9s}"
          f" {'largest error of posterior σ':>30s}")  # fmt: skip
    smallest = np.inf
    for name, X in sets.items():
        exact, std = exact_ppca(X, sigma)
        gaps, random, errors, hand = [], [], [], []
        x = torch.tensor(X, dtype=torch.float32)
        for seed in SEEDS:
            vae = SpectraVAE(noise_sigma=sigma, random_state=seed).fit(X)
            gaps.append(exact - vae.score(X))
            errors.append(np.abs(vae.posterior(X)[1] / std - 1.0).max())
            plain = SpectraVAE(
                noise_sigma=sigma, init="random", max_epochs=5000, batch_size=200, lr=1e-2
            ).set_params(random_state=seed)
            random.append(exact - plain.fit(X).score(X))
            torch.manual_seed(seed)
            model = HandWritten(X.shape[1], 2, sigma).fit(x, 200, 5000, 1e-2)
            with torch.no_grad():
                losses = [model.loss(x).item() for _ in range(200)]
            hand.append(exact + statistics.mean(losses))
        print(f"  {name:22s} {exact:9.1f} {statistics.median(gaps):11.4f}"
              f" {statistics.median(random):12.1f} {statistics.median(hand):9.1f}"
              f" {100 * statistics.median(errors):28.3f} %")  # fmt: skip
        smallest = min(smallest, *gaps)
    print(f"  smallest gap of all fits: {smallest:.1e} nats")
    X = sets["make_spectra, seed 0"]
    vae = SpectraVAE(noise_sigma=sigma, random_state=0).fit(X)
    with torch.no_grad():
        vae.module_.encoder.weight.mul_(0.0)
        vae.module_.encoder.bias.mul_(0.0)
    print("  nats short with an encoder that knows nothing, by n_importance:")
    for k in (1, 4, 16, 64, 256, 1024, 4096):
        scores = vae.score_samples(X, n_importance=k, n_draws=4096)
        print(f"    {k:5d} {exact_ppca(X, sigma)[0] - scores.mean():12.1f}")


def cramer_rao(X, fluxes):
    """Smallest errors of unbiased flux estimates from Poisson counts, rms over the spectra."""
    design = np.c_[np.ones(len(X)), fluxes]
    expected, *_ = np.linalg.lstsq(design, X, rcond=None)
    lines, rates = expected[1:], design @ expected
    information = np.einsum("id,jd,nd->nij", lines, lines, 1.0 / rates)
    return np.sqrt(np.linalg.inv(information).diagonal(axis1=1, axis2=2).mean(axis=0))


def bench_fluxes(real):
    if real is None:
        print("\nReal spectra: not here (--real)")
        return
    X, fluxes = real
    limit = cramer_rao(X, fluxes)
    print(f"\nReal spectra: flux errors by linear least squares, 10 folds; limit {limit.round(3)}")
    print(f"  {'':34s} {'flux 1':>8s} {'flux 2':>8s} {'× limit':>14s} {'χ²/dof held out':>17s}"
          f" {'KL of each latent':>19s}")  # fmt: skip
    models = {
        "PCA(2)": lambda seed: PCA(2),
        "FactorAnalysis(2)": lambda seed: FactorAnalysis(2, random_state=seed),
        "SpectraVAE, Poisson": lambda seed: SpectraVAE(likelihood="poisson", random_state=seed),
        "SpectraVAE, Poisson, (64, 64)": lambda seed: SpectraVAE(**DEEP, random_state=seed),
        "SpectraVAE, σ learnt": lambda seed: SpectraVAE(random_state=seed),
    }
    for name, make in models.items():
        errors, chi2, divergence = [], [], []
        for seed in SEEDS:
            model = make(seed).fit(X)
            predicted = cross_val_predict(
                LinearRegression(),
                model.transform(X),
                fluxes,
                cv=KFold(10, shuffle=True, random_state=0),
            )
            errors.append((fluxes - predicted).std(axis=0))
            if isinstance(model, SpectraVAE):
                divergence.append(latent_divergence(*model.posterior(X)).mean(axis=0))
            total, count = 0.0, 0
            for train, test in KFold(5, shuffle=True, random_state=0).split(X):
                model = make(seed).fit(X[train])
                latent = model.transform(X[test])
                if hasattr(model, "inverse_transform"):
                    mean = model.inverse_transform(latent)
                else:
                    mean = latent @ model.components_ + model.mean_
                total += ((X[test] - mean) ** 2 / mean).sum()
                count += len(test) * (X.shape[1] - 2)
            chi2.append(total / count)
        error = np.median(errors, axis=0)
        kl = np.median(divergence, axis=0).round(2) if divergence else ""
        print(f"  {name:34s} {error[0]:8.3f} {error[1]:8.3f} {error[0] / limit[0]:7.3f}"
              f"{error[1] / limit[1]:7.3f} {statistics.median(chi2):17.4f} {kl!s:>19s}")  # fmt: skip


def bench_calibration():
    print("\nCoverage of 68.3 % intervals of the fluxes: 5000 spectra to train, 5000 to test")
    print(f"  {'':34s} {'flux 1':>8s} {'flux 2':>8s} {'σ of pulls':>14s} {'error':>14s}")
    rows = {
        "Poisson": lambda X: {"likelihood": "poisson"},
        "Poisson, (64, 64)": lambda X: DEEP,
        "Poisson, (64, 64), mixture prior": lambda X: {**DEEP, "prior": "mixture"},
        "σ of each bin": lambda X: {"noise_sigma": np.sqrt(X.mean(axis=0))},
        "one σ, learnt": lambda X: {},
    }
    for name, parameters in rows.items():
        covered, pulls, errors = [], [], []
        for seed in SEEDS:
            X, fluxes = make_spectra(10000, random_state=seed)
            vae = SpectraVAE(**parameters(X[:5000]), random_state=seed).fit(X[:5000])
            mean, std = vae.posterior(X)
            line = LinearRegression().fit(mean[:5000], fluxes[:5000])
            error = fluxes[5000:] - line.predict(mean[5000:])
            pull = error / np.sqrt(std[5000:] ** 2 @ line.coef_.T**2)
            covered.append((np.abs(pull) < 1.0).mean(axis=0))
            pulls.append(pull.std(axis=0))
            errors.append(error.std(axis=0))
        parts = [np.median(part, axis=0) for part in (covered, pulls, errors)]
        print(f"  {name:34s} {100 * parts[0][0]:6.1f} % {100 * parts[0][1]:6.1f} %"
              f" {parts[1][0]:7.3f}{parts[1][1]:7.3f} {parts[2][0]:7.3f}{parts[2][1]:7.3f}")  # fmt: skip


def told_apart(real, drawn):
    X, y = np.r_[real, drawn], np.r_[np.zeros(len(real)), np.ones(len(drawn))]
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    boosting = HistGradientBoostingClassifier(random_state=0)
    return cross_val_score(boosting, X, y, cv=folds, scoring="roc_auc").mean()


def bench_samples():
    print(
        "\nROC AUC of gradient boosting, real against drawn: 5000 to train, 5000 each to tell apart"
    )
    contenders = {
        "real": None,
        "PCA(2) + 1 Gaussian": 1,
        "PCA(2) + 12 Gaussians": 12,
        "SpectraVAE, Poisson": {"likelihood": "poisson"},
        "SpectraVAE, (64, 64)": DEEP,
        "SpectraVAE, (64, 64), mixture": {**DEEP, "prior": "mixture"},
    }
    print(f"  {'':34s} {'AUC':>7s} {'of each seed':>24s} {'ELBO of test':>13s}")
    for name, contender in contenders.items():
        aucs, scores = [], []
        for seed in SEEDS:
            X, _ = make_spectra(15000, random_state=seed)
            train, test = X[:5000], X[5000:10000]
            rng = np.random.RandomState(seed)
            if contender is None:
                drawn = X[10000:]
            elif isinstance(contender, int):
                pca = PCA(2).fit(train)
                mixture = GaussianMixture(contender, random_state=seed).fit(pca.transform(train))
                rates = pca.inverse_transform(mixture.sample(5000)[0])
                drawn = rng.poisson(np.maximum(rates, 0.0))
            else:
                vae = SpectraVAE(**contender, random_state=seed).fit(train)
                drawn = vae.sample(5000, random_state=seed)
                scores.append(vae.score(test))
            aucs.append(told_apart(test, drawn))
        print(f"  {name:34s} {statistics.median(aucs):7.3f}"
              f" {', '.join(f'{auc:.3f}' for auc in aucs):>24s}"
              + (f" {statistics.median(scores):13.2f}" if scores else ""))  # fmt: skip


def spike(X, rates, rng, size):
    """Add a spike of so many standard deviations to one bin."""
    X = X.copy()
    where = rng.randint(X.shape[1], size=len(X))
    rows = np.arange(len(X))
    X[rows, where] += np.rint(size * np.sqrt(rates[rows, where]))
    return X


def shifted_lines(n, rng, n_bins=500):
    """Spectra of which one line, of flux 50 or more, stands 20 to 60 bins from its place."""
    _, fluxes = make_spectra(4 * n, random_state=rng)
    fluxes = fluxes[(fluxes > 50.0).any(axis=1)][:n]
    x = (np.arange(n_bins) + 0.5) / n_bins
    baseline = np.polynomial.polynomial.polyval(x, (500.0, -500.0, 200.0))
    rates = np.tile(baseline, (n, 1))
    for i, flux in enumerate(fluxes):
        moved = rng.choice(np.flatnonzero(flux > 50.0))
        for j, (centre, width) in enumerate(((0.30, 0.05), (0.55, 0.12))):
            shift = rng.choice([-1, 1]) * rng.uniform(20, 60) / n_bins if j == moved else 0.0
            shape = np.exp(-0.5 * ((x - centre - shift) / width) ** 2)
            rates[i] += flux[j] * shape / (np.sqrt(2 * np.pi) * width)
    return rng.poisson(rates).astype(float)


def bench_anomalies():
    print("\nAnomalies, 1 % of 5000 spectra to train and of 10000 to test: ROC AUC")
    rows = ("score_samples", "largest pull", "true likelihood", "PCA(2), MSE", "PCA(2), χ²",
            "IsolationForest")  # fmt: skip
    print(f"  {'':30s}" + "".join(f"{row:>16s}" for row in rows))
    kinds = ("spike of 8 σ", "spike of 8 to 16 σ", "line shifted by 20 to 60 bins")
    for kind in kinds:
        aucs = {row: [] for row in rows}
        for seed in SEEDS:
            sets = []
            for n in (5000, 10000):
                rng = np.random.RandomState(1000 * seed + n)
                state = rng.randint(2**31)
                X, _ = make_spectra(n, random_state=state)
                rates, _ = make_spectra(n, noise=False, random_state=state)
                bad = n // 100
                if "line" in kind:
                    X[:bad] = shifted_lines(bad, rng)
                    rates[:bad] = np.nan  # none of the model's
                else:
                    top = 8.0 if kind.endswith("of 8 σ") else 16.0
                    X[:bad] = spike(X[:bad], rates, rng, rng.uniform(8.0, top, bad))
                sets.append((X, rates, np.arange(n) < bad))
            (train, _, _), (test, rates, is_bad) = sets
            vae = SpectraVAE(likelihood="poisson", random_state=seed).fit(train)
            pca = PCA(2).fit(train)
            rebuilt = pca.inverse_transform(pca.transform(test))
            forest = IsolationForest(random_state=seed).fit(train)
            scores = (
                -vae.score_samples(test),
                np.abs(vae.pulls(test)).max(axis=1),
                -poisson.logpmf(test, rates).sum(axis=1),
                ((test - rebuilt) ** 2).sum(axis=1),
                ((test - rebuilt) ** 2 / rebuilt).sum(axis=1),
                -forest.score_samples(test),
            )
            for row, score in zip(rows, scores, strict=True):
                known = np.isfinite(score).all()
                aucs[row].append(roc_auc_score(is_bad, score) if known else np.nan)
        print(f"  {kind:30s}" + "".join(f"{statistics.median(aucs[row]):16.3f}" for row in rows))


def bench_speed():
    X, _ = make_spectra(10000, random_state=0)
    X = normalised(X)
    x = torch.tensor(X, dtype=torch.float32)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for hidden in ((), (64, 64), (256, 128)):

            def by_hand(hidden=hidden):
                torch.manual_seed(0)
                model = HandWritten(500, 2, 0.017, hidden)
                start = time.perf_counter()
                model.fit(x, 128, 2, 1e-3)
                return time.perf_counter() - start

            def skae(hidden=hidden, **options):
                vae = SpectraVAE(
                    noise_sigma=0.017,
                    hidden_layer_sizes=hidden,
                    max_epochs=2,
                    random_state=0,
                    **options,
                ).fit(X)
                return sum(vae.history_[:, "dur"])

            contenders = {
                "hand-written loop": by_hand,
                "SpectraVAE": skae,
                "SpectraVAE, init='random'": lambda skae=skae: skae(init="random"),
            }
            title = f"Two epochs of 10,000 × 500, hidden {hidden}, {threads} torch thread(s)"
            print_ratios(title, interleave(contenders, 7, self_timed=True), ["hand-written loop"])


PARTS = {
    "closed": bench_closed,
    "fluxes": bench_fluxes,
    "calibration": bench_calibration,
    "samples": bench_samples,
    "anomalies": bench_anomalies,
    "speed": bench_speed,
}


def read_real(folder):
    """The published spectra and their fluxes, None where they are not."""
    if folder is None:
        return None
    folder = Path(folder)
    fluxes = np.loadtxt(folder / "fluxes.csv", delimiter=",", skiprows=1)
    return load_spectra(folder / "spectra.npy").data, fluxes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all without")
    parser.add_argument("--real", help="folder with spectra.npy and fluxes.csv")
    options = parser.parse_args()
    real = read_real(options.real)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for part in options.parts or PARTS:
        if part in ("closed", "fluxes"):
            PARTS[part](real)
        else:
            PARTS[part]()
