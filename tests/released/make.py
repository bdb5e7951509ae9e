"""Keep fitted models of this version, for later ones to load: run once a release, from 0.1.0 on.

python tests/released/make.py
"""

import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import skae

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from fitted import FITTED, answers  # noqa: E402

KEPT = ("every-transformer", "jets", "photons", "pulses-time", "sequences-vector", "showers",
        "spectra-poisson")  # fmt: skip


def keep(folder):
    """Fit, save in both ways, and write down what the models say."""
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in KEPT:
            model, X = FITTED[name]()
            skae.save(model, folder / f"{name}.skops", optimizer_state=True)
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
            np.savez_compressed(folder / f"{name}.npz", X=X, **answers(model, X))


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep(HERE / skae.__version__)
