"""How well some 25 columns of a jet survive in fewer numbers: JetAutoencoder beside what else there is.

    python benchmarks/bench_jet_columns.py [FILE] [--components 6 8 10] [--rows 40000] [--epochs 30]
    python benchmarks/bench_jet_columns.py [FILE] --settings [--components 4 6 8 10]

FILE is what examples/jets_from_pythia.py writes with --process qcd; without it, jets are generated. φ is
left out: it is uniform and no other column tells of it, so that any code gives it a number of its own.
pythae takes part where it is installed, and else a network of the same layers in skae's loop. What is
chosen, is chosen on training rows: KernelPCA's width and penalty and, by --choose, pythae's rate.
"""

import argparse
import io
import logging
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import torch
from _jets import jets_in
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, KernelPCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skae import BoxCoxTransformer, JetAutoencoder
from skae.exceptions import ClippingWarning

PUBLISHED = (200, 200, 200)  # layers for jets of 27 columns: E. Wulff, Lund University (2020)
SUBSET = 3000  # rows of KernelPCA, whose memory and time grow with their square and cube


class QuadraticPCA(TransformerMixin, BaseEstimator):
    """Principal components, decoded by polynomials of second degree."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y=None):
        """Learn from rows."""
        self.pca_ = PCA(self.n_components).fit(X)
        self.decoder_ = make_pipeline(PolynomialFeatures(2), StandardScaler(), Ridge(1.0))
        self.decoder_.fit(self.pca_.transform(X), X)
        return self

    def transform(self, X):
        """Return latent coordinates of rows."""
        return self.pca_.transform(X)

    def inverse_transform(self, X):
        """Return rows of latent coordinates."""
        return self.decoder_.predict(X)


class SmallKernelPCA(TransformerMixin, BaseEstimator):
    """KernelPCA of SUBSET rows; width and penalty are those that rebuild as many others best."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y=None):
        """Learn from rows."""
        rows = np.random.default_rng(0).permutation(len(X))
        n = min(SUBSET, len(X) // 2)
        known, others = X[rows[:n]], X[rows[n : 2 * n]]
        fitted = [
            KernelPCA(
                self.n_components,
                kernel="rbf",
                gamma=width / X.shape[1],
                alpha=penalty,
                fit_inverse_transform=True,
                eigen_solver="arpack",
                random_state=0,
            ).fit(known)
            for width in (0.03, 0.1, 0.3)
            for penalty in (1e-8, 1e-6)
        ]
        back = [model.inverse_transform(model.transform(others)) for model in fitted]
        self.best_ = fitted[np.argmin([np.square(rows - others).mean() for rows in back])]
        return self

    def transform(self, X):
        """Return latent coordinates of rows."""
        return self.best_.transform(X)

    def inverse_transform(self, X):
        """Return rows of latent coordinates."""
        return self.best_.inverse_transform(X)


class PythaeAutoencoder(TransformerMixin, BaseEstimator):
    """pythae's AE and its loop: Adam, and a cosine that ends at zero."""

    def __init__(self, n_components, epochs, seed, lr=3e-3):
        self.n_components = n_components
        self.epochs = epochs
        self.seed = seed
        self.lr = lr

    def fit(self, X, y=None):
        """Learn from rows."""
        from pythae.models import AE, AEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.pipelines import TrainingPipeline
        from pythae.trainers import BaseTrainerConfig

        class Encoder(BaseEncoder):
            def __init__(self, sizes):
                super().__init__()
                self.layers = published_layers(sizes)

            def forward(self, x):
                return ModelOutput(embedding=self.layers(x))

        class Decoder(BaseDecoder):
            def __init__(self, sizes):
                super().__init__()
                self.layers = published_layers(sizes)

            def forward(self, z):
                return ModelOutput(reconstruction=self.layers(z))

        sizes = [X.shape[1], *PUBLISHED, self.n_components]
        logging.disable(logging.INFO)
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            torch.manual_seed(self.seed)
            model = AE(
                AEConfig(input_dim=(X.shape[1],), latent_dim=self.n_components),
                Encoder(sizes),
                Decoder(sizes[::-1]),
            )
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=self.epochs,
                learning_rate=self.lr,
                per_device_train_batch_size=256,
                scheduler_cls="CosineAnnealingLR",
                scheduler_params={"T_max": self.epochs},
                keep_best_on_train=True,
                seed=self.seed,
                no_cuda=True,
            )
            with redirect_stderr(io.StringIO()):  # its progress bars
                TrainingPipeline(model, config)(np.float32(X))
            self.model_ = model.eval()
        return self

    @torch.no_grad()
    def transform(self, X):
        """Return latent coordinates of rows."""
        return self.model_.encoder(torch.tensor(X, dtype=torch.float32)).embedding.numpy()

    @torch.no_grad()
    def inverse_transform(self, X):
        """Return rows of latent coordinates."""
        return np.float64(self.model_.decoder(torch.tensor(X)).reconstruction.numpy())


def published_layers(sizes):
    layers = []
    for a, b in pairwise(sizes[:-1]):
        layers += [torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b), torch.nn.LeakyReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(*sizes[-2:]))


def scaled(build):
    return lambda k, seed: make_pipeline(StandardScaler(), build(k, seed))


def bent(build):
    return lambda k, seed: make_pipeline(BoxCoxTransformer(), build(k, seed))


def contenders(epochs):
    """Return what makes a model of a number of components and a seed, and whether the seed matters."""

    def ours(k, seed):
        return JetAutoencoder(k, linear_path=True, max_epochs=epochs, random_state=seed)

    def published(k, seed):
        if find_spec("pythae"):
            return PythaeAutoencoder(k, epochs, seed)
        options = {"hidden_layer_sizes": PUBLISHED, "batch_norm": True, "activation": "leaky_relu"}
        return JetAutoencoder(k, max_epochs=epochs, random_state=seed, **options)

    network = "pythae's AE" if find_spec("pythae") else "200-200-200, batch norm"
    return {
        "standardised: PCA": (scaled(lambda k, seed: PCA(k)), False),
        "standardised: PCA, quadratic decoder": (scaled(lambda k, seed: QuadraticPCA(k)), False),
        "standardised: JetAutoencoder": (scaled(ours), True),
        "Box–Cox: PCA": (bent(lambda k, seed: PCA(k)), False),
        "Box–Cox: PCA, quadratic decoder": (bent(lambda k, seed: QuadraticPCA(k)), False),
        f"Box–Cox: KernelPCA of {SUBSET} rows": (bent(lambda k, seed: SmallKernelPCA(k)), False),
        f"Box–Cox: {network}": (bent(published), True),
        "Box–Cox: JetAutoencoder": (bent(ours), True),
    }


def settings(epochs):
    """Return settings of JetAutoencoder, as :func:`contenders` does."""

    def with_options(**options):
        def build(k, seed):
            return JetAutoencoder(k, max_epochs=epochs, random_state=seed, **options)

        return bent(build), True

    larger = {"hidden_layer_sizes": PUBLISHED, "batch_size": 128}
    return {
        "defaults": with_options(),
        "3 × 200, batches of 128": with_options(**larger),
        "3 × 200, batches of 128, linear_path": with_options(**larger, linear_path=True),
    }


class Judge:
    """Errors on test rows over variances in training: of the columns, and of them after Box–Cox."""

    def __init__(self, train, test):
        self.test, self.scale = test, train.std(axis=0)
        self.box_cox = BoxCoxTransformer().fit(train)
        self.bent_scale = self.box_cox.transform(train).std(axis=0)

    def __call__(self, model):
        """Return the errors of each column itself, and after Box–Cox."""
        latent = model.transform(self.test)
        rows = model.inverse_transform(latent)
        raw = np.square((rows - self.test) / self.scale).mean(axis=0)
        if isinstance(model[0], BoxCoxTransformer):  # before values beyond the data are clipped
            bent = model[-1].inverse_transform(latent)
        else:
            bent = self.box_cox.transform(rows)
        bent = np.square((bent - self.box_cox.transform(self.test)) / self.bent_scale).mean(axis=0)
        return raw, bent


def measure(build, k, seeds, train, judge):
    """Return the medians over seeds of the mean errors, of the columns' errors, and of the seconds."""
    found, seconds = [], []
    for seed in range(seeds):
        start = time.perf_counter()
        model = build(k, seed).fit(train)
        seconds.append(time.perf_counter() - start)
        found.append(judge(model))
    columns = np.median(found, axis=0)  # (raw and bent, columns)
    means = np.median(np.mean(found, axis=2), axis=0)
    return *means, columns, statistics.median(seconds)


def print_curve(title, components, rows, fmt=".4f"):
    print(f"\n{title}\n{'':38s}" + "".join(f"{k:8d}" for k in components))
    for name, values in rows.items():
        cells = [f"{value:{fmt}}" if value < 10.0 or fmt != ".4f" else "> 10" for value in values]
        print(f"{name:38s}" + "".join(f"{cell:>8s}" for cell in cells))


def print_ratio(rows, space):
    """Print how many times JetAutoencoder's error the best PCA leaves, and the other network."""
    ours = np.array(rows.pop(f"{space}: JetAutoencoder"))
    algebra = [values for name, values in rows.items() if "PCA" in name]
    networks = [values for name, values in rows.items() if "PCA" not in name and space in name]
    for name, rivals in {"best PCA": algebra, "other network": networks}.items():
        if rivals:
            ratios = "".join(f"{value:8.1f}" for value in np.min(rivals, axis=0) / ours)
            print(f"{name + ' / JetAutoencoder':38s}{ratios}")


def bench(X, names, options):
    train, test = train_test_split(X, test_size=0.2, random_state=0)
    train = train[: options.rows]
    print(
        f"{len(train)} jets to train on, {len(test)} to test with, {len(names)} columns, ", end=""
    )
    print(f"{options.epochs} epochs, median of {options.seeds} seeds")
    judge, results = Judge(train, test), {}
    models = settings(options.epochs) if options.settings else contenders(options.epochs)
    for name, (build, is_random) in models.items():
        seeds = options.seeds if is_random else 1
        results[name] = [measure(build, k, seeds, train, judge) for k in options.components]
        progress = (f"{found[place]:.4f}" for found in results[name] for place in (0, 1, 3))
        print(name, *progress, file=sys.stderr)
    raw, bent_errors, seconds = (
        {name: [r[place] for r in found] for name, found in results.items()} for place in (0, 1, 3)
    )
    print_errors = partial(print_curve, components=options.components)
    title = "MSE of the columns{} over their variances, by numbers a jet"
    if options.settings:
        print_errors(title.format(" after Box–Cox"), rows=bent_errors)
    else:
        print_errors(title.format(" themselves"), rows=raw)
        print_ratio(raw, "standardised")
        bent_errors = {
            name: rows for name, rows in bent_errors.items() if name.startswith("Box–Cox")
        }
        print_errors(title.format(" after Box–Cox"), rows=bent_errors)
        print_ratio(bent_errors, "Box–Cox")
    print_errors("fit, seconds", rows=seconds, fmt=".1f")
    if not options.settings:
        print_columns(names, options, results)


def print_columns(names, options, results):
    """Print how much of each column's variance comes back from eight numbers."""
    place = options.components.index(8) if 8 in options.components else len(options.components) // 2
    shown = [name for name in results if name.startswith("Box–Cox")]
    print(f"\nR² of each column after Box–Cox, {options.components[place]} numbers a jet")
    for number, name in enumerate(shown, 1):
        print(f"  {number}: {name.partition(': ')[2]}")
    print(f"{'':20s}" + "".join(f"{number:8d}" for number in range(1, len(shown) + 1)))
    for column, name in enumerate(names):
        values = [1.0 - results[model][place][2][1][column] for model in shown]
        print(f"{name:20s}" + "".join(f"{value:8.3f}" for value in values))


def choose_rate(X, options):
    """Print pythae's error for some learning rates, on a fifth of the training rows."""
    train, _ = train_test_split(X, test_size=0.2, random_state=0)
    train, held_out = train_test_split(train, test_size=0.2, random_state=0)
    judge = Judge(train[: options.rows], held_out)
    for k in options.components:
        for lr in (3e-4, 1e-3, 3e-3, 1e-2):
            model = make_pipeline(
                BoxCoxTransformer(), PythaeAutoencoder(k, options.epochs, 0, lr=lr)
            )
            start = time.perf_counter()
            model.fit(train[: options.rows])
            error = judge(model)[1].mean()
            print(
                f"{k} numbers, lr={lr}: {error:.4f}, {time.perf_counter() - start:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    components = [2, 3, 4, 6, 8, 10, 14, 20]
    parser.add_argument("--components", type=int, nargs="+", default=components)
    parser.add_argument("--rows", type=int, default=40_000, help="to train on, at most")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--settings", action="store_true", help="of JetAutoencoder, beside one another"
    )
    parser.add_argument("--choose", action="store_true", help="pythae's learning rate")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ClippingWarning)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    X, names = jets_in(options.file)
    if options.choose:
        choose_rate(X, options)
    else:
        bench(X, names, options)
