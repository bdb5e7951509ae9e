"""CorrelationDisplay draws what was counted, what was fitted, and g²(0)."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest

from skae import PhotonCorrelationFit
from skae.datasets import make_photon_correlations
from skae.plotting import CorrelationDisplay


@pytest.fixture(scope="module")
def fitted():
    tau = (np.arange(391) - 195) * 0.256
    g2 = make_photon_correlations(
        2, kind="continuous", tau=tau, g2_zero=0.3, lifetimes=(2.0,), signal=1.0, counts=100.0,
        gaussian_fraction=0.0, random_state=0,
    )  # fmt: skip
    X = (100.0 * g2.noisy).round()
    X[:, 300:310] = np.nan
    fit = PhotonCorrelationFit(kind="continuous", zero_delay=0.0, missing="mask", times=tau)
    return fit.fit(X), X


def test_counts_curve_and_residuals_are_those_of_the_fit(fitted):
    fit, X = fitted
    display = CorrelationDisplay.from_estimator(fit, X, row=1, xlabel="delay (ns)")
    counted, curve = display.ax_.get_lines()[:2]
    np.testing.assert_array_equal(counted.get_ydata(), X[1])
    np.testing.assert_allclose(
        curve.get_ydata(), fit.inverse_transform(fit.transform(X))[1], rtol=1e-6
    )
    np.testing.assert_array_equal(curve.get_xdata(), fit.times_)
    residuals = display.residual_ax_.get_lines()[0].get_ydata()
    assert len(residuals) == 381
    assert np.std(residuals) == pytest.approx(1.0, abs=0.15)
    assert display.residual_ax_.get_xlabel() == "delay (ns)"


def test_the_title_says_g2_and_its_interval(fitted):
    fit, X = fitted
    value, (low, high) = fit.transform(X)[0, 0], fit.interval(X, 0.95)[0]
    title = CorrelationDisplay.from_estimator(fit, X, confidence=0.95).ax_.get_title()
    assert f"= {value:.3g}, between {low:.3g} and {high:.3g}" in title
    assert "deviance per bin" in title
    counted = CorrelationDisplay.from_estimator(fit, X, quantity="g2_counted").ax_.get_title()
    assert "=" not in counted.partition("\n")[0]


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="same length"):
        CorrelationDisplay.from_predictions(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="times has shape"):
        CorrelationDisplay.from_predictions(np.ones(3), np.ones(3), times=np.ones(4))
    assert CorrelationDisplay.from_predictions(np.ones(3), np.ones(3)).residual_ax_ is None
