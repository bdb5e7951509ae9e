"""ResolutionDisplay: what it draws, by artists and data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import MultiResRNNRegressor
from skae.datasets import make_photon_correlations
from skae.plotting import ResolutionDisplay

pytestmark = pytest.mark.usefixtures("close_figures")

SMALL = {"downsampling": (4, 4), "hidden_size": 8, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def g2():
    return make_photon_correlations(20, n_times=50, random_state=0)


@pytest.fixture(scope="module")
def model(g2):
    return MultiResRNNRegressor(**SMALL, times=g2.tau).fit(g2.noisy, g2.clean)


def test_each_level_has_a_panel_the_finest_with_input_and_truth(model, g2):
    display = ResolutionDisplay.from_estimator(
        model, g2.noisy[:1], g2.clean[:1], xlabel="delay (μs)", ylabel="g²"
    )
    levels = model.predict_resolutions(g2.noisy[:1])
    assert len(display.ax_) == 3
    for ax, level in zip(display.ax_[:-1], levels, strict=False):
        truth, steps = ax.patches
        n, step = level.shape[1], g2.tau[1] - g2.tau[0]
        np.testing.assert_allclose(steps.get_data().values, level[0])
        factor = 4 if n == 13 else 16
        edges = g2.tau[0] - step / 2 + step * np.minimum(factor * np.arange(n + 1), 50)
        np.testing.assert_allclose(steps.get_data().edges, edges)
        averages = [g2.clean[0, s : s + factor].mean() for s in range(0, 50, factor)]
        np.testing.assert_allclose(truth.get_data().values, averages)
    observed, truth, predicted = display.ax_[-1].lines
    np.testing.assert_allclose(observed.get_ydata(), g2.noisy[0])
    np.testing.assert_allclose(truth.get_ydata(), g2.clean[0])
    np.testing.assert_allclose(predicted.get_ydata(), model.predict(g2.noisy[:1])[0])
    np.testing.assert_allclose(predicted.get_xdata(), g2.tau)
    assert display.ax_[-1].get_xlabel() == "delay (μs)"
    assert display.ax_[-1].get_xscale() == "linear"


def test_a_row_alone_and_a_pipeline(model, g2):
    alone = ResolutionDisplay.from_estimator(model, g2.noisy[0])
    assert len(alone.ax_[0].patches) == 1  # no truth
    pipeline = make_pipeline(FunctionTransformer(lambda X: 2.0 * X), model)
    display = ResolutionDisplay.from_estimator(pipeline, g2.noisy[:1])
    np.testing.assert_allclose(display.observed, 2.0 * g2.noisy[0])
    np.testing.assert_allclose(display.levels[-1], model.predict(2.0 * g2.noisy[:1])[0])


def test_times_of_unequal_steps_are_shown_on_a_logarithmic_axis():
    times = np.geomspace(1.0, 1e4, 30)
    X = np.random.default_rng(0).normal(size=(10, 2, 30))
    model = MultiResRNNRegressor(**SMALL, times=times).fit(X, X[:, 0])
    display = ResolutionDisplay.from_estimator(model, X[:1])
    assert display.ax_[-1].get_xscale() == "log"
    np.testing.assert_allclose(display.observed, X[0, 0])


def test_bad_input(model, g2):
    with pytest.raises(ValueError, match="X has 2 rows"):
        ResolutionDisplay.from_estimator(model, g2.noisy[:2])
    with pytest.raises(ValueError, match="truth has 49 times"):
        ResolutionDisplay.from_estimator(model, g2.noisy[:1], g2.clean[0, :49])
    with pytest.raises(ValueError, match="a window for each step"):
        ResolutionDisplay.from_predictions([[1.0, 2.0]], [[0.0, 1.0]], [0.5])


def test_names_of_a_frame_reach_the_estimator(g2):
    frame = pd.DataFrame(g2.noisy, columns=[f"t{i}" for i in range(50)])
    named = MultiResRNNRegressor(**SMALL).fit(frame, g2.clean)
    display = ResolutionDisplay.from_estimator(named, frame.iloc[:1])  # a warning would be an error
    np.testing.assert_allclose(display.observed, g2.noisy[0])
