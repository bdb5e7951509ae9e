"""Which of scikit-learn's checks the estimators of several packages pass.

    python benchmarks/bench_packages.py [PACKAGE ...]

Packages that are not installed are left out; they do not all fit into one environment, so install one
beside skae and name it. Each estimator has a small network and a few epochs. A check that scikit-learn
skips (for want of a package, say) counts as not run.
"""

import argparse
import importlib.metadata
import io
import os
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout

os.environ.setdefault("SCIPY_ARRAY_API", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")

import torch
from sklearn.utils.estimator_checks import check_estimator

NO_ESTIMATOR = "no class with fit(X) and get_params()"


def of_skae():
    import skae

    return [
        skae.JetAutoencoder(max_epochs=5),
        skae.SpectraVAE(max_epochs=5),
        skae.CaloShowerVAE(3, max_epochs=2, hidden_size=16),
        skae.PulseLocator(
            max_epochs=3, n_channels=6, trace_channels=4, out_of_range="clip"
        ),
        skae.MultiResRNNRegressor(hidden_size=16, max_epochs=12),
    ]  # fmt: skip


class Perceptron(torch.nn.Module):
    """A network in double precision, as scikit-learn's tables are: skorch leaves their dtype alone."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.LazyLinear(16), torch.nn.ReLU(), torch.nn.LazyLinear(1)
        ).double()

    def forward(self, X):
        """Map rows to one number each."""
        return self.layers(X.double()).squeeze(-1)


def of_skorch():
    from skorch import NeuralNetRegressor

    return [NeuralNetRegressor(Perceptron, max_epochs=5, verbose=0)]


def of_scikeras():
    import keras
    from scikeras.wrappers import KerasRegressor

    def build(meta):
        return keras.Sequential([
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(meta["n_outputs_"]),
        ])  # fmt: skip

    return [KerasRegressor(build, epochs=5, loss="mse", verbose=0)]


def of_pyod():
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.vae import VAE

    # tables with fewer rows than a batch are not trained on at all
    options = {"epoch_num": 2, "batch_size": 4, "verbose": 0}
    return [
        AutoEncoder(hidden_neuron_list=[8, 4], **options),
        VAE(encoder_neuron_list=[8, 4], decoder_neuron_list=[4, 8], **options),
    ]


PACKAGES = {
    "skae": ("skae", of_skae),
    "skorch": ("skorch", of_skorch),
    "scikeras": ("scikeras", of_scikeras),
    "pyod": ("pyod", of_pyod),
    "pythae": ("pythae", None),
    "scvi-tools": ("scvi-tools", None),
    "spender": ("spender", None),
    "baler": ("baler-compressor", None),
}


def print_checks(package: str, estimator: object) -> None:
    """Run all checks; print how many pass, and the names of those that do not."""
    name = type(estimator).__name__
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            results = check_estimator(estimator, on_skip=None, on_fail=None)
    except Exception as error:
        print(f"{package:20}{name:24}  cannot be run: {type(error).__name__}: {error}")
        return
    counts = Counter(result["status"] for result in results)
    run = len(results) - counts["skipped"]
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    print(f"{package:20}{name:24}{counts['passed']:>8} of {run:<6}{counts['skipped']:>8}")
    for check in failed:
        print(f"{'':46}{check}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), metavar="PACKAGE")
    torch.set_num_threads(1)
    print(f"{'':20}{'':24}{'passed of run':>17}{'skipped':>8}  failed")
    for package in parser.parse_args().packages:
        distribution, make = PACKAGES[package]
        try:
            label = f"{package} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            print(f"{package:20}not installed")
            continue
        if make is None:
            print(f"{label:20}{NO_ESTIMATOR}")
            continue
        for estimator in make():
            print_checks(label, estimator)


if __name__ == "__main__":
    main()
