"""Intervals of a network's numbers by split-conformal prediction, as the guide shows."""

import numpy as np
from mapie.conformity_scores import ResidualNormalisedScore
from mapie.regression import SplitConformalRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import MultiResRNNRegressor
from skae.datasets import make_photon_correlations


def simulated(n, seed):
    """Histograms of a blinking emitter between two detectors that see each other, and g²(0)."""
    g2 = make_photon_correlations(
        n, n_times=128, tau_range=(-40.0, 40.0), period=12.5, lifetimes=((1.0, 3.0),),
        bunching=(0.0, 0.5), bunching_time=100.0, crosstalk=((-8.0, 8.0),),
        crosstalk_height=(0.0, 0.3), crosstalk_width=2.0, afterpulse_fraction=0.03, afterpulse_time=20.0,
        counts=(5.0, 500.0), gaussian_fraction=0.0, random_state=seed,
    )  # fmt: skip
    return g2.counts, g2.params["g2_zero"].to_numpy()


def per_mean(X):
    """Histograms divided by their means."""
    return X / np.maximum(X.mean(axis=1, keepdims=True), 1e-12)


def log_total(X):
    """How many coincidences there are."""
    return np.log(np.maximum(X.sum(axis=1, keepdims=True), 1.0))


def test_conformal_intervals_of_a_network_cover_and_follow_the_counts():
    counts, g2_zero = simulated(800, 0)
    network = MultiResRNNRegressor(
        output="vector", hidden_size=16, downsampling=(4, 8), max_epochs=12, random_state=0
    )
    model = make_pipeline(FunctionTransformer(per_mean), network).fit(counts, g2_zero)
    width = make_pipeline(FunctionTransformer(log_total), LinearRegression())
    conformal = SplitConformalRegressor(
        model,
        confidence_level=[0.68, 0.95],
        conformity_score=ResidualNormalisedScore(
            residual_estimator=width, split_size=0.5, random_state=0
        ),
        prefit=True,
    ).conformalize(*simulated(800, 1))
    counts, g2_zero = simulated(1500, 2)
    predicted, ends = conformal.predict_interval(counts)  # (n, 2, n_levels)
    np.testing.assert_array_equal(predicted, model.predict(counts))
    held = ((ends[:, 0] <= g2_zero[:, None]) & (g2_zero[:, None] <= ends[:, 1])).mean(axis=0)
    # three standard deviations: of 1500 rows, and of 800 that calibrate, of which half tell how wide
    # intervals are
    assert abs(held[0] - 0.68) < 3.0 * np.sqrt(0.68 * 0.32 * (1 / 1500 + 1 / 400))
    assert abs(held[1] - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 * (1 / 1500 + 1 / 400))
    widths, order = ends[:, 1, 0] - ends[:, 0, 0], np.argsort(counts.sum(axis=1))
    assert widths[order[-500:]].mean() < 0.8 * widths[order[:500]].mean()
    assert np.median(widths) < 0.5 * 0.68  # of no data
