"""PhotonCorrelationFit: unbiased where it should be, with errors and intervals that cover."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skae import PhotonCorrelationFit
from skae.datasets import make_photon_correlations
from skae.exceptions import UndeterminedWarning

MEASURED = {
    "n_times": 500,
    "tau_range": (0.0, 127.744),
    "period": 12.49,
    "lifetimes": (1.1,),
    "zero_delay": 61.0,
    "background": 0.08,
    "gaussian_fraction": 0.0,
}


def histograms(n, counts, **options):
    g2 = make_photon_correlations(n, counts=counts, random_state=0, **{**MEASURED, **options})
    return g2.noisy * counts, g2


def test_without_noise_the_truth_is_found_from_no_knowledge_at_all():
    X, g2 = histograms(20, 1e6, g2_zero=(0.0, 0.8), zero_delay=(30.0, 100.0), period=(9.0, 14.0))
    X = (g2.clean * 1e6).round()
    fit = PhotonCorrelationFit(times=g2.tau).set_output(transform="pandas")
    found = fit.fit_transform(X)
    for name in ("g2_zero", "period", "zero_delay", "background", "lifetime_1"):
        np.testing.assert_allclose(found[name], g2.params[name], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["amplitude"], 1e6 / g2.params["scale"], rtol=1e-4)
    np.testing.assert_allclose(fit.inverse_transform(found), X, rtol=1e-3, atol=1.0)


@pytest.mark.parametrize(
    "likelihood", ["poisson", pytest.param("gaussian", marks=pytest.mark.slow)]
)
def test_estimates_are_unbiased_and_as_wide_as_their_errors(likelihood):
    X, g2 = histograms(50, 60.0, g2_zero=0.5)
    if likelihood == "gaussian":
        rng = np.random.default_rng(1)
        X = g2.clean + 0.1 * rng.standard_normal(g2.clean.shape)
    fit = PhotonCorrelationFit(period=(12.0, 13.0), times=g2.tau, likelihood=likelihood)
    found = fit.fit_transform(X)
    errors = fit.errors(X)
    for name in ("g2_zero", "period", "zero_delay", "background", "lifetime_1"):
        column = fit.param_names_.index(name)
        pulls = (found[:, column] - g2.params[name]) / errors[:, column]
        assert abs(pulls.mean()) < 4.0 / np.sqrt(len(X)) * 1.2
        assert pulls.std() == pytest.approx(1.0, abs=0.35)
    assert (errors[:, fit.param_names_.index("jitter")] == 0.0).all()  # fixed


@pytest.mark.parametrize("n", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_intervals_cover_as_often_as_they_say(n):
    X, g2 = histograms(n, 20.0, g2_zero=0.3, n_times=250, tau_range=(30.0, 94.0))
    fit = PhotonCorrelationFit(period=12.49, zero_delay=61.0, times=g2.tau).fit(X)
    low, high = fit.interval(X).T
    covered = ((low <= 0.3) & (high >= 0.3)).mean()
    assert covered == pytest.approx(0.683, abs=4 * np.sqrt(0.683 * 0.317 / len(X)))
    wide = fit.interval(X[:5], confidence=0.9545)
    assert (wide[:, 0] <= low[:5]).all()
    assert (wide[:, 1] >= high[:5]).all()
    assert (low >= 0.0).all()


def test_bins_of_unequal_widths():
    tau = np.concatenate([np.arange(0.0, 50.0, 0.125), np.arange(50.0, 128.0, 0.5)])
    options = {**MEASURED, "g2_zero": 0.5, "counts": 1e5, "random_state": 0}
    del options["n_times"], options["tau_range"]
    g2 = make_photon_correlations(2, tau=tau, **options)
    widths = np.gradient(tau)
    X = (1e5 * g2.clean * widths / widths.mean()).round()
    fit = PhotonCorrelationFit(period=(12.0, 13.0), times=tau)
    found = pd.DataFrame(fit.fit_transform(X), columns=fit.get_feature_names_out())
    for name in ("g2_zero", "period", "zero_delay", "background", "lifetime_1"):
        np.testing.assert_allclose(found[name], g2.params[name], rtol=1e-3)
    np.testing.assert_allclose(found["amplitude"] * g2.params["scale"], 1e5, rtol=1e-3)
    np.testing.assert_allclose(fit.inverse_transform(found), X, rtol=1e-3, atol=1.0)
    plain = PhotonCorrelationFit(period=(12.0, 13.0), times=tau, likelihood="gaussian")
    found = pd.DataFrame(plain.fit_transform(g2.clean), columns=plain.get_feature_names_out())
    np.testing.assert_allclose(found["g2_zero"], 0.5, rtol=1e-3)


def test_the_period_of_a_long_histogram_is_found_without_a_range():
    g2 = make_photon_correlations(
        1, n_times=16384, tau_range=(-2000.0, 2000.0), period=12.49, zero_delay=61.0, g2_zero=0.3,
        lifetimes=(1.0,), counts=20.0, gaussian_fraction=0.0, random_state=0,
    )  # fmt: skip
    fit = PhotonCorrelationFit(times=g2.tau).set_output(transform="pandas")
    found = fit.fit_transform((20 * g2.noisy).round()).iloc[0]
    assert found["period"] == pytest.approx(12.49, abs=1e-3)
    assert found["zero_delay"] == pytest.approx(61.0, abs=0.2)
    assert found["g2_zero"] == pytest.approx(0.3, abs=0.2)


def test_a_fit_that_is_refused_leaves_the_one_before():
    X, g2 = histograms(2, 60.0, g2_zero=0.5)
    fresh = PhotonCorrelationFit(period=-1.0)
    with pytest.raises(ValueError, match="period"):
        fresh.fit(X)
    with pytest.raises(NotFittedError):
        fresh.transform(X)
    fit = PhotonCorrelationFit(period=12.49, zero_delay=61.0, times=g2.tau).fit(X)
    before = fit.transform(X)
    with pytest.raises(ValueError, match="times has shape"):
        fit.set_params(times=g2.tau[:10]).fit(X)
    np.testing.assert_array_equal(fit.transform(X), before)


def test_two_lifetimes():
    g2 = make_photon_correlations(
        4, n_times=601, lifetimes=(0.2, 0.02), counts=1e6, gaussian_fraction=0, random_state=0
    )
    fit = PhotonCorrelationFit(
        period=(0.98, 1.02), zero_delay=0.0, lifetimes=((0.1, 0.4), (0.01, 0.05)), times=g2.tau
    )
    found = pd.DataFrame(
        fit.fit_transform((1e6 * g2.clean).round()), columns=fit.get_feature_names_out()
    )
    np.testing.assert_allclose(found["lifetime_1"], 0.2, rtol=0.01)
    np.testing.assert_allclose(found["lifetime_2"], 0.02, rtol=0.05)
    np.testing.assert_allclose(found["weight_1"], g2.params["weight_1"], atol=0.01)


def test_the_most_likely_parameters_are_no_less_likely_than_the_truth():
    X, g2 = histograms(20, 10.0, g2_zero=(0.0, 1.0))
    fit = PhotonCorrelationFit(period=(12.0, 13.0), zero_delay=(50.0, 70.0), times=g2.tau).fit(X)
    truth = g2.clean * 10.0
    found = fit.inverse_transform(fit.transform(X))

    def deviance(mean):
        return 2.0 * (mean - X + X * np.log(np.where(X > 0, X, 1.0) / mean)).sum(axis=1)

    assert (deviance(found) <= deviance(truth) + 1e-6).all()


def test_an_empty_histogram_gives_nothing_and_says_that_it_knows_nothing():
    fit = PhotonCorrelationFit().fit(np.ones((2, 50)))
    empty = np.zeros((1, 50))
    with pytest.warns(UndeterminedWarning, match="0 counts are expected"):
        found = fit.transform(empty)
    assert fit.inverse_transform(found).max() == 0.0
    assert np.isinf(fit.errors(empty)[0, 0])
    with pytest.warns(UndeterminedWarning, match="0 counts are expected"):
        np.testing.assert_array_equal(fit.interval(empty), [[0.0, np.inf]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": (2.0, 1.0)}, "period="),
        ({"period": -1.0}, "period=-1.0 .* above 0"),
        ({"g2_zero": -0.5}, "g2_zero=-0.5 .* of 0 or more"),
        ({"lifetimes": ()}, "one or two"),
        ({"lifetimes": ((0.1, np.inf),)}, "finite"),
        ({"period": (2.0, np.inf)}, "finite"),
        ({"times": np.arange(9.0)}, "times has shape"),
        ({"times": np.arange(10.0)[::-1]}, "times must increase"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PhotonCorrelationFit(**options).fit(np.ones((3, 10)))


def test_negative_counts_are_named():
    X = np.ones((3, 10))
    X[1, 4] = -2.0
    with pytest.raises(ValueError, match="1 of 30, the first is -2 in row 1"):
        PhotonCorrelationFit().fit(X)
    with pytest.raises(ValueError, match="confidence"):
        PhotonCorrelationFit().fit(np.ones((3, 10))).interval(np.ones((3, 10)), confidence=1.0)
