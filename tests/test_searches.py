"""Searches of scikit-learn's and of Optuna's over skae's estimators."""

import numpy as np
import optuna
import pytest
from fits import each
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.datasets import make_jets


@pytest.fixture(scope="module", name="X")
def jets():
    return make_jets(300, random_state=0)


def model(**options):
    shape = {"hidden_layer_sizes": (8,), "max_epochs": 3, "device": "cpu", "random_state": 0}
    return make_pipeline(StandardScaler(), skae.JetAutoencoder(**{**shape, **options}))


def of_scale(X):
    """Rows on one scale: OptunaSearchCV prunes estimators, not Pipelines."""
    return (X - X.mean(axis=0)) / X.std(axis=0)


def test_a_random_search(X):
    laws = {"jetautoencoder__lr": loguniform(1e-4, 1e-2), "jetautoencoder__n_components": [1, 3]}
    search = RandomizedSearchCV(model(), laws, n_iter=4, cv=2, random_state=0, error_score="raise")
    search.fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 4
    again = model().set_params(**search.best_params_).fit(X)
    np.testing.assert_array_equal(search.best_estimator_.transform(X), again.transform(X))


@pytest.mark.parametrize("kind", [HalvingGridSearchCV, HalvingRandomSearchCV])
def test_epochs_are_a_resource_for_halving(X, kind):
    """Candidates that do well for a few epochs get more of them."""
    grid = {"jetautoencoder__n_components": [1, 2, 3], "jetautoencoder__lr": [1e-3, 1e-2]}
    options = {
        "resource": "jetautoencoder__max_epochs", "min_resources": 4, "max_resources": 16, "factor": 2,
        "cv": 2, "random_state": 0, "error_score": "raise",
    }  # fmt: skip
    if kind is HalvingRandomSearchCV:
        options["n_candidates"] = 4
    search = kind(model(batch_size=16), grid, **options).fit(X)
    assert search.n_resources_ == [4, 8, 16][: search.n_iterations_]
    assert search.n_iterations_ >= 2
    assert search.n_candidates_[-1] < search.n_candidates_[0]
    assert len(search.best_estimator_[-1].history_) == search.n_resources_[-1]
    assert search.best_params_["jetautoencoder__n_components"] == 3


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module has been deprecated")
def test_optunas_search_prunes_by_epoch(X):
    """An epoch is a call of partial_fit; trials that fall behind end early."""
    from optuna.distributions import CategoricalDistribution
    from optuna_integration import OptunaSearchCV

    epochs = []
    count = each("on_epoch_end", lambda net: epochs.append(len(net.history)))
    estimator = model(callbacks=[count])[-1]
    grid = {"n_components": [3, 1], "lr": [1e-2, 1e-5]}
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler(grid, seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1),
    )
    laws = {name: CategoricalDistribution(values) for name, values in grid.items()}
    search = OptunaSearchCV(
        estimator, laws, study=study, cv=2, n_trials=4, max_iter=6, enable_pruning=True,
        error_score="raise", verbose=0,
    )  # fmt: skip
    search.fit(of_scale(X))
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") + states.count("PRUNED") == 4
    assert "PRUNED" in states
    assert len(epochs) < 4 * 2 * 6 + 3, "pruned trials trained to the end"
    assert search.best_params_ == {"n_components": 3, "lr": 1e-2}


def test_a_pruned_trial_ends_the_fit_at_an_epoch(X):
    """Optuna's callback for skorch raises in the middle of a fit; the schedule is the whole fit's."""
    from optuna_integration import SkorchPruningCallback

    fits = []

    def objective(trial):
        callback = SkorchPruningCallback(trial, "valid_loss")
        lr = trial.suggest_categorical("lr", [1e-2, 1e-6])
        fit = model(lr=lr, max_epochs=8, early_stopping=True, callbacks=[callback])
        fits.append(fit)
        return fit.fit(X)[-1].history_[-1, "valid_loss"]

    study = optuna.create_study(
        sampler=optuna.samplers.GridSampler({"lr": [1e-2, 1e-6]}, seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2),
    )
    study.enqueue_trial({"lr": 1e-2})
    study.optimize(objective, n_trials=3)
    assert study.trials[0].state.name == "COMPLETE"
    pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    assert pruned
    for trial in pruned:
        assert max(trial.intermediate_values) < 7
        left = fits[trial.number]
        assert np.isfinite(left.transform(X)).all()  # of use as it is
    assert study.best_params == {"lr": 1e-2}
