"""
Jets of many columns
====================

Four columns of a jet are nearly three, and a formula compresses them. Reconstructed jets have some 25:
mass, angularities, N-subjettiness, counts, fractions. Many of these tell of the same, but not linearly.
How few numbers do?

Without a file this runs on generated jets. On those that ``examples/jets_from_pythia.py`` simulates::

    python examples/plot_jet_columns.py background.npy
"""

# %%
# Jets
# ----
# φ is left out: it is uniform and no other column tells of it, so that any code gives it a number of its
# own. Box–Cox takes the tails off skewed columns, and gives each a variance of 1. 20 % of the jets are
# for testing.

import argparse
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skae import BoxCoxTransformer, JetAutoencoder
from skae.datasets import make_jets

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", help="jets, .npy with named columns")
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--out", default="demo", type=Path, help="folder for the pictures")
is_script = Path(sys.argv[0]).name == "plot_jet_columns.py"  # not so inside the gallery
options = parser.parse_args(None if is_script else [])

if options.file:
    X = pd.DataFrame(np.load(options.file)).drop(columns="event", errors="ignore")
else:
    X = make_jets(20_000, n_features=25, random_state=0, as_frame=True)
X = X.drop(columns="phi").astype(float)
train, test = train_test_split(X, test_size=0.2, random_state=0)
box_cox = BoxCoxTransformer().set_output(transform="pandas").fit(train)
train, test = box_cox.transform(train), box_cox.transform(test)
print(f"{len(train)} jets to train on, {len(test)} to test with, {X.shape[1]} columns")

# %%
# The compression curve
# ---------------------
# PCA is the best *linear* code, and polynomials of second degree decode it better. The autoencoder starts
# at the principal components (``linear_path=True``) and learns what they miss.

NUMBERS = [2, 4, 6, 8, 10, 14]
errors, seconds = {}, {}


def r_squared(decoded):
    """Return the share of each column's variance that comes back."""
    return 1.0 - np.square(np.asarray(decoded) - test).mean() / train.var()


def record(name, start, decoded):
    errors.setdefault(name, []).append(r_squared(decoded))
    seconds.setdefault(name, []).append(time.perf_counter() - start)


for n_components in NUMBERS:
    start = time.perf_counter()
    pca = PCA(n_components).fit(train)
    code = pca.transform(test)
    record("PCA", start, pca.inverse_transform(code))

    decoder = make_pipeline(PolynomialFeatures(2), Ridge()).fit(pca.transform(train), train)
    record("PCA, quadratic decoder", start, decoder.predict(code))

    start = time.perf_counter()
    network = JetAutoencoder(
        n_components, linear_path=True, max_epochs=options.epochs, random_state=0
    ).fit(train)
    record("JetAutoencoder", start, network.inverse_transform(network.transform(test)))

print(f"{'':24s}" + "".join(f"{n:8d}" for n in NUMBERS) + " numbers")
for name, found in errors.items():
    cells = "".join(f"{1.0 - columns.mean():8.4f}" for columns in found)
    print(f"{name:24s}{cells}   {np.mean(seconds[name]):.1f} s a fit")

# %%
# The share of variance that is lost, on average over columns: at eight numbers the network loses less
# than half of what any linear code has to.

curve, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for (name, found), marker in zip(errors.items(), "so^", strict=True):
    ax.semilogy(NUMBERS, [1.0 - columns.mean() for columns in found], marker=marker, label=name)
ax.set(xlabel="numbers a jet", ylabel="variance that is lost", xticks=NUMBERS)
ax.legend(frameon=False)

# %%
# Which columns
# -------------
# Charge, and the momentum share of muons, have to do with no other column: each takes a number of its
# own, or is lost. The network has such numbers left where PCA has none, as the other columns need fewer:
# what follows from the momentum, the mass and the hard splitting follows by curves.

EIGHT = NUMBERS.index(8)
order = errors["JetAutoencoder"][EIGHT].sort_values().index
by_column, ax = plt.subplots(figsize=(6.4, 6.0), layout="constrained")
for (name, found), marker in zip(errors.items(), "so^", strict=True):
    ax.plot(found[EIGHT][order], range(len(order)), marker, label=name)
ax.set(xlabel="R² from eight numbers a jet", xlim=(None, 1.02), yticks=range(len(order)))
ax.set_yticklabels(order)
ax.grid(axis="y", alpha=0.3)
ax.legend(frameon=False)

if is_script:
    options.out.mkdir(exist_ok=True)
    for name, figure in {"compression_curve": curve, "columns": by_column}.items():
        figure.savefig(options.out / f"{name}.png", dpi=110)
        print(f"wrote {options.out / name}.png")
else:
    plt.show()
