"""What is not installed is said, with the extra that installs it."""

import sys

import numpy as np
import pytest

import skae
from skae import CaloShowerVAE, JetAutoencoder
from skae.compression.streams import zstd
from skae.estimators._samplers import Problems
from skae.export import to_onnx
from skae.modules.showers.boltzmann import BoltzmannMachine
from skae.plotting import LearningCurveDisplay

ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def plot():
    LearningCurveDisplay.from_estimator(JetAutoencoder(max_epochs=1).fit(np.eye(9)))


def export():
    to_onnx(JetAutoencoder())


def graphs():
    options = {"prior": "rbm", "rbm_topology": "zephyr", "max_epochs": 2, "hidden_size": 4}
    CaloShowerVAE(n_components=3, **options).fit(np.full((9, 5), 1.0))


def sampler():
    Problems(None, BoltzmannMachine([1, 1]), [0, 1], 0, {})


def bytes_of_a_table():
    zstd.cache_clear()
    skae.compress(None, np.eye(2), absolute=0.1)


@pytest.mark.parametrize(
    ("use", "module", "message"),
    [
        (plot, "matplotlib.pyplot", r"LearningCurveDisplay needs matplotlib.*skae\[plot\]"),
        (export, "onnx", r"to_onnx needs onnx: pip install skae\[export\]"),
        (graphs, "dwave.graphs", r"rbm_topology='zephyr' needs dwave.graphs.*skae\[calo\]"),
        (bytes_of_a_table, ZSTD, r"skae.compress needs .*zstd: pip install skae\[compress\]"),
        (sampler, "dimod", r"sampler needs dimod: pip install skae\[calo\]"),
    ],
)
def test_a_missing_library_is_answered_with_an_extra(use, module, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        use()
