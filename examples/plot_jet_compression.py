"""
Jets in three numbers
=====================

A jet is four numbers: energy, transverse momentum, and two angles. How few will do? An autoencoder
whose networks see what a :class:`~skae.KinematicsTransformer` makes of them, its width found by a grid
search, answers in the units a physicist asks in.

Without a file this runs on generated jets. On your own (CSV, NPY, HDF5 or ROOT)::

    python examples/plot_jet_compression.py jets.root --unit MeV
"""

# %%
# Jets
# ----
# 20 % of them are never seen in training; they measure everything below.

import argparse
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ProgressBar
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import JetAutoencoder, KinematicsTransformer
from skae.datasets import load_jets, make_jets
from skae.metrics import relative_residuals, residual_moments, scaled_mean_squared_error
from skae.plotting import LearningCurveDisplay, ReconstructionDisplay, ResidualDisplay

NAMES = ["E", "pT", "η", "φ"]
PHI = 3

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", help="jets: columns E, pt, eta, phi")
parser.add_argument("--unit", default="GeV", choices=["MeV", "GeV", "TeV"], help="unit in the file")
parser.add_argument("--out", default="demo", type=Path, help="folder for the pictures")
is_script = Path(sys.argv[0]).name == "plot_jet_compression.py"  # not so inside the gallery
options = parser.parse_args(None if is_script else [])

X = (
    load_jets(options.file, unit=options.unit)
    if options.file
    else make_jets(20_000, random_state=0)
)
train, test = train_test_split(X, test_size=0.2, random_state=0)
print(f"{len(train)} jets to train on, {len(test)} to test with; E and pT in GeV")

# %%
# A search
# --------
# The azimuth is an angle: named in ``angles``, a jet at φ = π − 0.0001 that comes back at
# −π + 0.0001 is off by 0.0002 and not by 2π. A tenth of the jets of each fit is held out, for a
# validation loss to look at below. The progress bar counts epochs inside fits inside the search.

scale = train.std(axis=0)


def score(model, rows, y=None):
    """Return minus the mean squared error of (E, pT, η, φ), each divided by its spread in training."""
    back = model.inverse_transform(model.transform(rows))
    return -scaled_mean_squared_error(rows, back, scale=scale, angles=[PHI])


search = GridSearchCV(
    JetAutoencoder(
        angles=[PHI],
        transformer=KinematicsTransformer(),
        metric="standardised",
        max_epochs=50,
        early_stopping=True,
        n_iter_no_change=np.inf,  # none is stopped: the best epoch is kept
        random_state=0,
    ),
    {"n_components": [1, 2, 3]},
    scoring=score,
    cv=2,
)
search.set_callbacks(ProgressBar(max_propagation_depth=None))
search.fit(train)

print("\nWhat the search found (mean squared error of E, pT, η, φ over their spreads):")
results = search.cv_results_
for parameters, found in zip(results["params"], results["mean_test_score"], strict=True):
    n = parameters["n_components"]
    print(f"  {n} number{'s' if n > 1 else ''} a jet: {-found:.1e}")

# %%
# Three numbers, and what algebra does with them
# ----------------------------------------------
# The search's best is a *smooth* code: its three numbers leave out the jet's mass, or rather what
# pT and η do not tell of it, and lean a little on each of E, pT and η, by what that costs. A formula for
# the mass, with pT, η and φ kept, is the rival: none, the median of m/pT, a cubic in log pT. Where each
# jet moves to the nearest point of its surface, the cubic does as well (``benchmarks/bench_jets.py``):
# the network is for columns whose formula is not known.
#
# With ``winding`` the third number of a *wound* code holds φ plus whole turns, and the number of turns
# holds the mass in steps. That compresses, but two neighbouring jets may be turns apart: use it to store
# jets, not to look for unusual ones.
#
# Where bits count and not numbers, take fixed point: four features rounded to 16 bits over their range
# take up less than three floats of 32, and lose far less. An autoencoder is for fewer *numbers*:
# for denoising, anomalies and further networks.

wound = make_pipeline(
    KinematicsTransformer(),
    JetAutoencoder(
        angles=[2], linear_path=True, winding=32, max_epochs=60, verbose=1, random_state=0
    ),
)
kinematics = KinematicsTransformer().fit(train)
SMOOTH = "smooth code: the search's best"
models = {
    SMOOTH: search.best_estimator_,
    "wound code: JetAutoencoder(winding=32)": wound.fit(train),
    "PCA(3) of log pT, η, φ, m/pT": make_pipeline(KinematicsTransformer(), PCA(3)).fit(train),
    "PCA(3) of E, pT, η, φ": make_pipeline(StandardScaler(), PCA(3)).fit(train),
}
decoded, seconds = {}, {}
for name, model in models.items():
    start = time.perf_counter()
    latent = model.transform(test)
    seconds[name] = time.perf_counter() - start
    decoded[name] = model.inverse_transform(latent)

known, features = kinematics.transform(train), kinematics.transform(test)
cubic = np.polyfit(known[:, 0], known[:, 3], 3)
for name, mass in {
    "massless: E = pT cosh η": 0.0,
    "the median of m/pT": np.median(known[:, 3]),
    "m/pT by a cubic in log pT": np.polyval(cubic, features[:, 0]),
}.items():
    rows = features.copy()
    rows[:, 3] = mass
    decoded[name] = kinematics.inverse_transform(rows)
low, high = known.min(axis=0), known.max(axis=0)
low, high = 1.1 * low - 0.1 * high, 1.1 * high - 0.1 * low  # with room for jets beyond
for bits in (16, 24):
    step = (high - low) / (2**bits - 1)
    rows = low + step * np.rint((features.clip(low, high) - low) / step)
    decoded[f"four features in fixed point, {4 * bits} bits"] = kinematics.inverse_transform(rows)

# %%
# The MSE is on (E, pT, η, φ), each divided by its spread in training; σ are standard deviations of
# residuals on test jets.

header = "".join(f"{title:>11s}" for title in ["σ(pT)/pT", "σ(E)/E", "σ(Δη)", "σ(Δφ)", "µs/jet"])
print(f"\n{'96 bits a jet, or as said:':42s} {'MSE':>8s}{header}")
for name, rows in decoded.items():
    mse = scaled_mean_squared_error(test, rows, scale=scale, angles=[PHI])
    residuals = relative_residuals(test, rows, angles=[PHI], absolute=[2, PHI])
    sigma = residual_moments(residuals).std
    speed = f"{1e6 * seconds[name] / len(test):11.2f}" if name in seconds else ""
    print(
        f"{name:42s} {mse:8.1e}"
        + "".join(f"{value:11.1e}" for value in sigma[[1, 0, 2, PHI]])
        + speed
    )

# %%
# Pictures
# --------
# Residuals of the smooth code: the diagonal shows each variable, below it each pair. A jet comes back
# from the nearest point of the surface that the code is. Too high an energy goes with too low a pT, hence
# the tilted bands. In central jets η says nothing of the energy and is left alone, in forward ones
# it is moved most: hence the crosses with Δη.

smooth = decoded[SMOOTH]
residual = ResidualDisplay.from_predictions(
    test, smooth, names=NAMES, angles=[PHI], absolute=[2, PHI]
)
residual.figure_.suptitle("Jets in three numbers: residuals of the smooth code")

# %%
# Raw against decoded distributions: lines that leave the filled area are what the code distorts.

reconstruction = ReconstructionDisplay.from_predictions(
    test, smooth, names=["E (GeV)", "pT (GeV)", "η", "φ"], log_columns=[0, 1]
)

# %%
# The loss: has it been long enough? The last third is flat, and jets that were held out lose no more
# than those in training: more epochs, or more jets, would not help.

learning = LearningCurveDisplay.from_estimator(search)

if is_script:
    options.out.mkdir(exist_ok=True)
    for name, display in {
        "residuals": residual, "distributions": reconstruction, "learning_curve": learning
    }.items():  # fmt: skip
        display.figure_.savefig(options.out / f"{name}.png", dpi=110)
        print(f"wrote {options.out / name}.png")
else:
    plt.show()
