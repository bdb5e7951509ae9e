"""PhotonCorrelationFit at its limits: bins, kinds, places, few counts, and fits that are poor."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from skae import PhotonCorrelationFit
from skae.datasets import make_photon_correlations
from skae.exceptions import (
    AmbiguousDelayWarning,
    IgnoredParameterWarning,
    PoorFitWarning,
    UndeterminedWarning,
    UnitsWarning,
)
from skae.physics.correlations import Bins
from skae.transformers.correlations.bounds import model_of
from skae.transformers.correlations.misfit import _of_poisson

TAU = (np.arange(391) - 195) * 0.256
LIGHT = {
    "pulsed": {"period": 12.49, "background": 0.08, "lifetimes": (1.0,)},
    "continuous": {"signal": 1.0, "lifetimes": (1.0,)},
}


def expected(kind, coincidences=1e6, **options):
    """What is expected of so many coincidences in a histogram, and the parameters."""
    light = {"g2_zero": 0.3, "gaussian_fraction": 0.0, "tau": TAU} | LIGHT[kind] | options
    g2 = make_photon_correlations(1, kind=kind, random_state=0, **light)
    return g2.clean[0] * coincidences / g2.clean.sum(), g2.params.iloc[0]


def counted(kind, coincidences, n, seed=0, **options):
    """Counts of so many coincidences."""
    mean = expected(kind, coincidences, **options)[0]
    return np.random.default_rng(seed).poisson(mean, (n, len(mean))).astype(float)


def parameters(fit, X):
    return pd.DataFrame(fit.fit_transform(X), columns=fit.get_feature_names_out())


# -- what is found without noise ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
@pytest.mark.parametrize("g2_zero", [0.0, 0.3, 2.0])
def test_a_lifetime_as_short_as_a_bin_does_not_bias_g2(kind, g2_zero):
    mean, truth = expected(kind, g2_zero=g2_zero, lifetimes=(0.3,), zero_delay=0.1)
    fit = PhotonCorrelationFit(kind=kind, period=12.49 if kind == "pulsed" else None, times=TAU)
    found = parameters(fit, mean.round()[None]).iloc[0]
    assert found["g2_zero"] == pytest.approx(g2_zero, abs=0.01)
    assert found["lifetime_1"] == pytest.approx(truth["lifetime_1"], rel=0.02)
    assert found["zero_delay"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
def test_delays_that_are_cut_out_and_bins_that_are_left_out_change_nothing(kind):
    mean, truth = expected(kind, zero_delay=-4.0)
    X, keep = mean.round()[None], (TAU < 10.0) | (TAU > 25.0)
    cut = PhotonCorrelationFit(kind=kind, times=TAU[keep])
    masked = PhotonCorrelationFit(kind=kind, times=TAU, missing="mask")
    given = PhotonCorrelationFit(kind=kind, times=TAU[keep], bin_width=0.256)
    rows = [
        parameters(cut, X[:, keep]),
        parameters(masked, np.where(keep, X, np.nan)),
        parameters(given, X[:, keep]),
    ]
    for row in rows:
        for name in ("g2_zero", "zero_delay", "lifetime_1"):
            assert row[name][0] == pytest.approx(truth[name], rel=0.01)
        np.testing.assert_allclose(row, rows[0], rtol=1e-4, atol=1e-6)
    residuals = masked.goodness_of_fit(np.where(keep, X, np.nan)).residuals
    assert (residuals[0, ~keep] == 0.0).all()
    with pytest.raises(ValueError, match="NaN"):
        PhotonCorrelationFit(times=TAU).fit(np.where(keep, X, np.nan))


def test_parameters_that_have_run_far_away_have_slopes():
    fit = PhotonCorrelationFit(kind="continuous", lifetimes=(None, None), signal=0.9, times=TAU)
    model = model_of(fit, Bins.around(TAU, None), "continuous")
    values = np.ones((1, len(model.names)))
    values[:, model.lifetimes] = 1.0, 8.0
    for far in (1.0, 1e14):  # where a step of a millionth is lost in rounding
        values[0, model.index["bunching"]] = far
        free = np.array([name == "bunching" for name in model.names])
        curves, slopes = model.with_slopes(values, free)
        assert np.isfinite(slopes).all()
        moved = values.copy()
        moved[0, model.index["bunching"]] += far
        expected = (model.with_slopes(moved, free)[0] - curves) / far  # it is linear
        np.testing.assert_allclose(slopes[:, 0], expected, rtol=1e-4, atol=1e-8)


def test_three_levels_and_thermal_light():
    mean, truth = expected("continuous", 1e8, lifetimes=(1.0, 8.0), bunching=0.6, signal=0.9)
    fit = PhotonCorrelationFit(
        kind="continuous", lifetimes=(None, None), signal=0.9, zero_delay=0.0, times=TAU
    )
    found = parameters(fit, mean.round()[None]).iloc[0]
    for name in ("g2_zero", "bunching", "lifetime_1", "lifetime_2"):
        assert found[name] == pytest.approx(truth[name], rel=0.02)
    thermal = expected("continuous", g2_zero=2.0)[0].round()[None]
    assert parameters(PhotonCorrelationFit(times=TAU), thermal)["g2_zero"][0] == pytest.approx(
        2.0, abs=0.01
    )


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
def test_crosstalk_is_modelled_where_it_is_named(kind):
    humps = {"crosstalk": (9.0,), "crosstalk_height": 0.4, "crosstalk_width": 2.0}
    mean, truth = expected(kind, **humps)
    X = mean.round()[None]
    fit = PhotonCorrelationFit(kind=kind, crosstalk=((6.0, 12.0),), zero_delay=0.0, times=TAU)
    found = parameters(fit, X).iloc[0]
    names = ("g2_zero", "crosstalk_1", "crosstalk_height_1", "crosstalk_width_1")
    for name in names:
        assert found[name] == pytest.approx(truth[name], rel=0.02)
    with pytest.warns(PoorFitWarning, match=r"more than fitted.*crosstalk= describes humps"):
        PhotonCorrelationFit(kind=kind, zero_delay=0.0, times=TAU).fit_transform(X)


def test_the_kind_is_settled_once_in_fit():
    pulsed, continuous = (counted(kind, 1e4, 2) for kind in ("pulsed", "continuous"))
    assert PhotonCorrelationFit(times=TAU).fit(pulsed).kind_ == "pulsed"
    assert PhotonCorrelationFit(times=TAU).fit(continuous).kind_ == "continuous"
    fit = PhotonCorrelationFit(times=TAU, period=12.5).fit(continuous)  # told by the period
    assert fit.kind_ == "pulsed"
    flat = np.random.default_rng(0).poisson(10.0, (2, 391))
    assert PhotonCorrelationFit(times=TAU).fit(flat).kind_ == "continuous"
    with pytest.warns(IgnoredParameterWarning, match="period is not used with kind='continuous'"):
        PhotonCorrelationFit(kind="continuous", period=12.5).fit(pulsed)


# -- intervals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
@pytest.mark.parametrize("zero_delay", [0.0, None])
def test_intervals_cover_a_small_case_of_each(kind, zero_delay):
    n = 40
    X = counted(kind, 1e4, n)
    fit = PhotonCorrelationFit(kind=kind, zero_delay=zero_delay, times=TAU)
    fit.set_params(period=(12.0, 13.0) if kind == "pulsed" else None).fit(X)
    for confidence in (0.68, 0.95):
        low, high = fit.interval(X, confidence).T
        share = ((low <= 0.3) & (high >= 0.3)).mean()
        error = np.sqrt(confidence * (1.0 - confidence) / n)
        assert confidence - 4.0 * error <= share <= confidence + 4.0 * error
        assert np.median(high - low) < 0.5


def test_at_both_ends_the_deviance_has_risen_by_its_quantile():
    X = counted("continuous", 1e4, 20, g2_zero=2.0, lifetimes=(0.3,))
    options = {"kind": "continuous", "zero_delay": 0.0, "times": TAU}
    fit = PhotonCorrelationFit(**options).fit(X)
    best = fit.score_samples(X)
    for ends in fit.interval(X, 0.95).T:
        for row, end in enumerate(ends):
            there = PhotonCorrelationFit(g2_zero=end, **options).fit(X)
            rise = 2.0 * (best[row] - there.score_samples(X[[row]])[0])
            # a little more than 3.84 where the lifetime had to be found
            assert 3.8 < rise < 4.35


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
def test_where_no_place_stands_out_the_interval_holds_one_and_a_warning_says_so(kind):
    X = counted(kind, 1e4, 20, g2_zero=1.0)
    fit = PhotonCorrelationFit(kind=kind, times=TAU).fit(X)
    with pytest.warns(AmbiguousDelayWarning, match="Give zero_delay="):
        low, high = fit.interval(X, 0.95).T
    assert ((low <= 1.0) & (high >= 1.0)).mean() >= 0.9
    # the lifetime is all there is to find where zero delay is known, and it is known, too
    known = PhotonCorrelationFit(kind=kind, zero_delay=0.0, lifetimes=(1.0,), times=TAU).fit(X)
    sharp = known.interval(X, 0.95)
    bound = known.errors(X)[:, 0]
    assert np.median(np.ptp(sharp, axis=1) / (3.92 * bound)) == pytest.approx(1.0, abs=0.1)


def test_few_counts_are_undetermined():
    X = counted("pulsed", 30, 3)
    fit = PhotonCorrelationFit(period=12.49, zero_delay=0.0, times=TAU).fit(X)
    with pytest.warns(UndeterminedWarning, match="counts are expected in a side peak"):
        np.testing.assert_array_equal(fit.interval(X), [[0.0, np.inf]] * 3)
    # all that tells of g²(0) is left out
    light = counted("continuous", 1e5, 1)
    light[:, np.abs(TAU) < 12.0] = np.nan
    fit = PhotonCorrelationFit(
        kind="continuous", zero_delay=0.0, lifetimes=(1.0,), missing="mask", times=TAU
    ).fit(light)
    with pytest.warns(UndeterminedWarning, match="or leave out fewer bins"):
        np.testing.assert_array_equal(fit.interval(light), [[0.0, np.inf]])
    fixed = PhotonCorrelationFit(period=12.49, zero_delay=0.0, g2_zero=0.5, times=TAU).fit(X)
    np.testing.assert_array_equal(fixed.interval(X), [[0.5, 0.5]] * 3)


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
def test_what_is_fixed_stays_as_it_is_given(kind):
    X = counted(kind, 1e5, 2)
    fixed = {"g2_zero": 0.5, "zero_delay": 0.1, "lifetimes": (1.3,), "jitter": 0.2}
    own = {"period": 12.4, "background": 0.2} if kind == "pulsed" else {"signal": 0.8}
    found = parameters(PhotonCorrelationFit(kind=kind, times=TAU, **fixed, **own), X)
    for name, value in {**fixed, **own, "lifetime_1": 1.3}.items():
        if name != "lifetimes":
            assert (found[name] == value).all()
    assert (found["amplitude"] > 0.0).all()


def test_what_is_counted_includes_the_background():
    X = counted("pulsed", 1e5, 2)
    fit = PhotonCorrelationFit(period=12.49, zero_delay=0.0, times=TAU)
    q = parameters(fit, X)
    zero, raw = fit.interval(X), fit.interval(X, quantity="g2_counted")
    area, floor = 2.0 * q["lifetime_1"], q["background"] * 12.49
    for side in (0, 1):
        np.testing.assert_allclose(
            raw[:, side], (zero[:, side] * area + floor) / (area + floor), rtol=1e-6
        )
    number = np.rint(TAU / 12.49)
    counts = [X[:, number == k].sum(axis=1) for k in range(-3, 4)]
    ratio = counts[3] / np.mean(counts[:3] + counts[4:], axis=0)
    assert ((raw[:, 0] - 0.03 < ratio) & (ratio < raw[:, 1] + 0.03)).all()
    light = counted("continuous", 1e5, 2, signal=0.8)
    fit = PhotonCorrelationFit(kind="continuous", signal=0.8, zero_delay=0.0, times=TAU).fit(light)
    np.testing.assert_allclose(
        fit.interval(light, quantity="g2_counted"), 1.0 + 0.64 * (fit.interval(light) - 1.0)
    )
    with pytest.raises(ValueError, match="quantity='g2'"):
        fit.interval(light, quantity="g2")


# -- goodness of fit ---------------------------------------------------------------------------


def test_expected_deviances_are_sums_over_all_counts():
    means = np.array([0.05, 0.1, 1.0, 30.0, 5e3])
    expected_deviance, variance = _of_poisson(means)
    np.testing.assert_allclose(expected_deviance[:3], [0.30, 0.47, 1.15], atol=0.006)
    counts = np.random.default_rng(0).poisson(means, (200_000, 5))
    logs = counts * np.log(np.where(counts > 0, counts, 1.0) / means)
    deviance = 2.0 * (means - counts + logs)
    np.testing.assert_allclose(expected_deviance, deviance.mean(axis=0), rtol=0.015)
    np.testing.assert_allclose(variance, deviance.var(axis=0), rtol=0.05)


@pytest.mark.parametrize("kind", ["pulsed", "continuous"])
@pytest.mark.parametrize("coincidences", [1e3, 1e4])
def test_a_good_fit_is_as_good_as_expected(kind, coincidences):
    X = counted(kind, coincidences, 60)
    fit = PhotonCorrelationFit(kind=kind, times=TAU).fit(X)
    goodness = fit.goodness_of_fit(X)
    pulls = (goodness.deviance - goodness.expected) / goodness.spread
    assert abs(pulls.mean()) < 0.6
    assert pulls.std() == pytest.approx(1.0, abs=0.35)
    assert (goodness.chance < 0.02).mean() <= 0.05
    assert np.square(goodness.residuals).mean() == pytest.approx(goodness.deviance.mean())
    quiet = X[(goodness.chance > 0.02) & (pulls < 3.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndeterminedWarning)
        warnings.simplefilter("ignore", AmbiguousDelayWarning)
        warnings.simplefilter("error", PoorFitWarning)
        fit.transform(quiet)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pulsed", {"kind": "pulsed", "period": 12.49 * 1.02}),
        ("pulsed", {"kind": "continuous"}),
        ("continuous", {"kind": "pulsed"}),
        ("continuous", {"kind": "pulsed", "period": 12.49}),
    ],
)
def test_what_the_formula_does_not_describe_is_warned_of(kind, options):
    for x in counted(kind, 1e4, 2):
        fit = PhotonCorrelationFit(times=TAU, **options).fit(x[None])
        for method in (fit.transform, fit.interval):
            with pytest.warns(PoorFitWarning, match="Poor fit"):
                method(x[None])


def test_scores_are_log_likelihoods():
    X = counted("pulsed", 1e4, 3)
    fit = PhotonCorrelationFit(period=12.49, times=TAU)
    means = fit.inverse_transform(fit.fit_transform(X))
    logs = poisson.logpmf(X, means).sum(axis=1)
    np.testing.assert_allclose(fit.score_samples(X), logs, rtol=1e-9)
    assert fit.score(X) == pytest.approx(logs.mean())


# -- what may be given -------------------------------------------------------------------------


def test_one_histogram_and_a_normalised_one_are_told_what_to_do():
    X = counted("pulsed", 1e4, 2)
    with pytest.raises(ValueError, match=r"X\[np.newaxis\]"):
        PhotonCorrelationFit().fit(X[0])
    with pytest.warns(UnitsWarning, match="Multiply a normalised g² by the counts"):
        PhotonCorrelationFit(times=TAU, period=12.49).fit(X / X.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnitsWarning)
        PhotonCorrelationFit(times=TAU, period=12.49).fit(X.astype(np.float32))


def test_rows_in_several_processes_are_the_same(monkeypatch):
    monkeypatch.setattr("skae.transformers.photon_correlation_fit._NUMBERS_AT_ONCE", 2 * len(TAU))
    X = counted("pulsed", 1e4, 5)
    alone = PhotonCorrelationFit(period=12.49, times=TAU).fit(X)
    shared = PhotonCorrelationFit(period=12.49, times=TAU, n_jobs=2).fit(X)
    np.testing.assert_array_equal(alone.transform(X), shared.transform(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bin_width": 2.0}, "bins overlap"),
        ({"bin_width": (1.0, 2.0)}, "10 of them"),
        ({"signal": (0.5, 1.5), "kind": "continuous"}, "at most 1"),
        ({"crosstalk": (None,)}, "each entry must be a delay"),
        ({"jitter": 2.0, "period": 4.0}, "a quarter of the period"),
        ({"kind": "cw"}, "kind"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PhotonCorrelationFit(**options).fit(np.ones((3, 10)))


@pytest.mark.parametrize("at", [slice(0, 0), slice(300, 301), slice(250, 290)])
def test_chance_has_an_equal_share_of_each_width_of_windows(at):
    X = counted("continuous", 10_000, 1)
    X[0, at] += 4.0 * np.sqrt(25.6 / max(1, at.stop - at.start))
    X = X.round()
    fit = PhotonCorrelationFit(kind="continuous", zero_delay=0.0, times=TAU).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)
        mean = fit.inverse_transform(fit.transform(X))[0]
    likely = [1.0]
    widths = (1, 2, 4, 8, 16, 32, 64)  # to a quarter of 391 bins
    for width in widths:
        begins = range(0, 391 - width + 1, max(1, width // 2))
        for begin in begins:
            seen, told = (x[begin : begin + width].sum() for x in (X[0], mean))
            tail = min(poisson.cdf(seen, told), poisson.sf(seen - 1.0, told))
            likely.append(2.0 * len(widths) * len(begins) * tail)
    assert fit.goodness_of_fit(X).chance[0] == pytest.approx(min(likely), rel=1e-6)
