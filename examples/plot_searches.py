"""
Searches that give up early on what does not work
=================================================

A grid search trains every candidate to the end, the hopeless ones too. Here are two searches that
do not, over the widths, latent coordinates and learning rates of an autoencoder for jets:
scikit-learn's successive halving, with epochs as the resource, and Optuna's, which prunes trials
epoch by epoch.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from optuna_integration import SkorchPruningCallback
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.datasets import make_jets

X = make_jets(4000, random_state=0)


def model(**parameters):
    """Return a Pipeline for jets."""
    return make_pipeline(
        skae.KinematicsTransformer(),
        StandardScaler(),
        skae.JetAutoencoder(batch_size=128, device="cpu", random_state=0, **parameters),
    )


# %%
# Successive halving
# ------------------
# All candidates are trained for three epochs, the better third of them anew for nine, and so on. That
# three epochs make poor fits is known.

warnings.simplefilter("ignore", skae.exceptions.PoorFitWarning)
grid = {
    "jetautoencoder__n_components": [2, 3],
    "jetautoencoder__hidden_layer_sizes": [(16,), (64, 32)],
    "jetautoencoder__lr": [1e-4, 1e-3, 1e-2],
}
begin = time.perf_counter()
halving = HalvingGridSearchCV(
    model(), grid, resource="jetautoencoder__max_epochs", min_resources=3, max_resources=27, cv=2
).fit(X)
seconds = time.perf_counter() - begin
results = halving.cv_results_
trained = 2 * int(np.sum(results["n_resources"]))
print(f"{trained} epochs in {seconds:.0f} s instead of {2 * 27 * 12}")
print({name.split("__")[1]: value for name, value in halving.best_params_.items()})

# %%
# Optuna, epoch by epoch
# ----------------------
# Optuna chooses each candidate by those before it. Its callback for skorch goes into skae's
# estimators as it is: it reports the loss of held-out rows after each epoch, and ends a fit that
# is worse than the median of those before.

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial):
    """Return the loss of rows that were held out."""
    sizes = {"narrow": (16,), "wide": (64, 32)}
    fit = model(
        n_components=trial.suggest_int("n_components", 2, 3),
        hidden_layer_sizes=sizes[trial.suggest_categorical("width", list(sizes))],
        lr=trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        max_epochs=20,
        early_stopping=True,
        n_iter_no_change=20,
        callbacks=[SkorchPruningCallback(trial, "valid_loss")],
    ).fit(X)
    return min(fit[-1].history_[:, "valid_loss"])


study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
)
study.optimize(objective, n_trials=12)
states = [trial.state.name for trial in study.trials]
print(f"{states.count('PRUNED')} of {len(states)} trials pruned; best: {study.best_params}")

# %%
# Where the epochs went
# ---------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
table = pd.DataFrame(results)
for _, rungs in table.groupby([f"param_{name}" for name in grid]):
    color = "C0" if len(rungs) == halving.n_iterations_ else "0.7"
    left.plot(rungs["n_resources"], -rungs["mean_test_score"], "o-", color=color)
left.set(
    xscale="log",
    yscale="log",
    xlabel="epochs",
    ylabel="mean squared error",
    title="successive halving",
)
left.set_xticks(halving.n_resources_, halving.n_resources_)
left.set_xticks([], minor=True)
for trial in study.trials:
    pruned = trial.state.name == "PRUNED"
    epochs, losses = zip(*trial.intermediate_values.items(), strict=True)
    right.plot(
        np.add(epochs, 1), losses, color="0.7" if pruned else "C0", zorder=1 if pruned else 2
    )
right.plot([], [], color="C0", label="to the end")
right.plot([], [], color="0.7", label="pruned")
right.set(yscale="log", xlabel="epochs", ylabel="loss of held-out rows", title="Optuna")
right.set_xticks(range(0, 21, 5))
right.legend()
plt.show()
