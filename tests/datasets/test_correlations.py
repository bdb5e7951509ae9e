"""make_photon_correlations follows its formulas."""

from functools import partial

import numpy as np
import pytest

from skae.datasets import make_photon_correlations
from skae.datasets.correlations import correlations_of
from skae.physics.correlations import Bins, decay_integral


def over_bins(function, tau):
    """Averages of a function over the bins around delays, by many points in each."""
    widths = Bins.around(tau).widths
    parts = (np.arange(200) + 0.5) / 200.0 - 0.5
    return np.mean([function(tau + part * widths) for part in parts], axis=0)


def published_formula(tau, q):
    """The pulsed correlation as published: seven peaks, written out."""
    total = q["background"] * np.ones(len(tau))
    weights = q["weight_1"], 1.0 - q["weight_1"]
    for weight, lifetime in zip(weights, (q["lifetime_1"], q["lifetime_2"]), strict=True):
        for k in range(-3, 4):
            height = weight * (q["g2_zero"] if k == 0 else 1.0)
            total += height * np.exp(-np.abs(tau + k * q["period"]) / lifetime)
    return total


def hump(q, number, tau):
    """A hump of crosstalk."""
    delay, height, width = (q[f"crosstalk{part}_{number}"] for part in ("", "_height", "_width"))
    return height * np.exp(-0.5 * ((tau - delay) / width) ** 2)


def columns_of(g2):
    """The parameters of the curves, each as a column."""
    return {name: g2.params[name].to_numpy()[:, None] for name in g2.params}


def test_pulsed_curves_are_the_published_formula_over_its_largest_value():
    g2 = make_photon_correlations(25, random_state=0)
    formula = over_bins(lambda tau: published_formula(tau, columns_of(g2)), g2.tau)
    np.testing.assert_allclose(g2.params["scale"], formula.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(g2.clean, formula / formula.max(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(g2.tau, np.linspace(-1.5, 1.5, 1501))


def test_parameters_fill_the_published_ranges():
    q = make_photon_correlations(4000, n_times=2, random_state=0).params
    ranges = {
        "g2_zero": (0.0, 1.0),
        "period": (0.99, 1.01),
        "background": (0.0, 0.075),
        "lifetime_1": (0.02, 0.1),
        "lifetime_2": (0.01, 0.05),
        "weight_1": (0.0, 1.0),
    }
    for name, (low, high) in ranges.items():
        unit = (q[name] - low) / (high - low)
        assert 0.0 <= unit.min() < 0.01
        assert 0.99 < unit.max() <= 1.0
        assert unit.mean() == pytest.approx(0.5, abs=0.02)
    assert q["counts"].isna().mean() == pytest.approx(0.05, abs=0.012)
    assert np.log10(q["counts"]).mean() == pytest.approx(1.5, abs=0.05)


def test_counts_are_poisson_in_proportion_to_the_width_of_bins():
    g2 = make_photon_correlations(
        400, n_times=200, tau_range=(0.001, 1.5), spacing="log", gaussian_fraction=0, random_state=0
    )
    widths = Bins.around(g2.tau).widths
    exposure = columns_of(g2)["counts"] * widths / widths.mean()
    counts, expected = g2.noisy * exposure, g2.clean * exposure
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    many = expected > 20.0
    pulls = (counts - expected)[many] / np.sqrt(expected[many])
    assert pulls.mean() == pytest.approx(0.0, abs=4.0 / np.sqrt(pulls.size))
    assert pulls.var() == pytest.approx(1.0, abs=0.03)
    assert np.ptp(np.diff(np.log(g2.tau))) < 1e-9
    given = make_photon_correlations(400, tau=g2.tau, gaussian_fraction=0, random_state=0)
    np.testing.assert_array_equal(given.noisy, g2.noisy)


def test_gaussian_noise_has_its_width():
    g2 = make_photon_correlations(100, gaussian_fraction=1.0, sigma=0.05, random_state=0)
    assert (g2.noisy - g2.clean).std() == pytest.approx(0.05, rel=0.01)
    assert g2.params["counts"].isna().all()


def test_blurred_trains_are_sums_of_blurred_peaks_at_any_zero_delay():
    g2 = make_photon_correlations(
        20, n_times=500, tau_range=(0.0, 128.0), period=(12.0, 13.0), lifetimes=((0.3, 4.0),),
        jitter=(0.1, 0.8), zero_delay=(20.0, 100.0), random_state=0,
    )  # fmt: skip
    q = columns_of(g2)
    total = q["background"] * np.ones(500)
    for k in range(-30, 31):
        height = np.where(k == 0, q["g2_zero"], 1.0)
        bins = Bins.around(g2.tau)
        t = bins.edges - q["zero_delay"] + k * q["period"]
        peak = bins.averages(decay_integral(t, q["lifetime_1"], q["jitter"]))
        total = total + height * peak
    np.testing.assert_allclose(g2.clean * q["scale"], total, atol=1e-9)


def test_continuous_excitation_of_two_and_three_levels():
    two = make_photon_correlations(
        50, kind="continuous", lifetimes=((0.02, 0.1),), zero_delay=0.1, g2_zero=(0.0, 2.0),
        random_state=0,
    )  # fmt: skip
    q = columns_of(two)
    dip = over_bins(lambda tau: np.exp(-np.abs(tau - 0.1) / q["lifetime_1"]), two.tau)
    expected = 1.0 - (1.0 - q["g2_zero"]) * q["signal"] ** 2 * dip
    np.testing.assert_allclose(two.clean * q["scale"], expected, atol=1e-5)
    assert (q["g2_zero"] > 1.5).any()  # thermal light among them
    three = make_photon_correlations(50, kind="continuous", bunching=(0.2, 1.0), random_state=0)
    q = columns_of(three)
    first, second = (
        over_bins(lambda tau, t=q[f"lifetime_{i}"]: np.exp(-np.abs(tau) / t), three.tau)
        for i in (1, 2)
    )
    g = 1.0 - (1.0 + q["bunching"]) * first + q["bunching"] * second
    expected = 1.0 + q["signal"] ** 2 * (g - 1.0)
    np.testing.assert_allclose(three.clean * q["scale"], expected, atol=1e-5)
    assert (three.params["scale"] > 1.0).all()  # bunched


def test_a_signal_without_background_is_least_at_zero_delay():
    options = {"kind": "continuous", "n_times": 301, "signal": 1.0, "bunching": (0.1, 2.0)}
    g2 = make_photon_correlations(200, random_state=0, **options)
    assert (g2.clean.argmin(axis=1) == 150).all()
    # a dip as narrow as a bin does not reach zero
    narrow = make_photon_correlations(200, bin_width=1e-9, random_state=0, **options)
    assert (g2.clean.min(axis=1) > narrow.clean.min(axis=1)).all()
    assert narrow.clean.min() == pytest.approx(0.0, abs=1e-6)


def test_crosstalk_adds_humps_in_units_of_a_side_peak_and_of_flat_light():
    for kind in ("pulsed", "continuous"):
        options = {"kind": kind, "zero_delay": 0.0, "random_state": 0}
        humps = {"crosstalk": (0.01, (0.1, 0.12)), "crosstalk_height": (0.2, 0.4)}
        without = make_photon_correlations(5, **options)
        g2 = make_photon_correlations(5, crosstalk_width=0.003, **humps, **options)
        q = columns_of(g2)
        added = g2.clean * q["scale"] - without.clean * without.params[["scale"]].to_numpy()
        expected = sum(over_bins(partial(hump, q, i), g2.tau) for i in (1, 2))
        np.testing.assert_allclose(added, expected, atol=1e-5)
        assert q["crosstalk_2"].min() >= 0.1


def test_an_echo_is_a_lower_hump_later_and_many_make_a_comb():
    humps = {"crosstalk": (0.3, (0.1, 0.12)), "n_echoes": 3, "random_state": 0}
    q = make_photon_correlations(5, echo_delay=(0.08, 0.1), echo_height=0.5, **humps).params
    for first, echoes in ((1, (3, 4, 5)), (2, (6, 7, 8))):
        steps = np.diff([q[f"crosstalk_{number}"] for number in (first, *echoes)], axis=0)
        assert ((steps >= 0.08) & (steps <= 0.1)).all()
        assert np.ptp(steps, axis=0) == pytest.approx(0.0, abs=1e-12)  # equally far apart
        heights = np.stack([q[f"crosstalk_height_{number}"] for number in (first, *echoes)])
        np.testing.assert_allclose(heights, heights[0] * 0.5 ** np.arange(4)[:, None])
        for number in echoes:
            assert (q[f"crosstalk_width_{number}"] == q[f"crosstalk_width_{first}"]).all()
    assert "crosstalk_9" not in q
    back = make_photon_correlations(5, echo_delay=-0.1, **humps).params
    np.testing.assert_allclose(back["crosstalk_3"], back["crosstalk_1"] - 0.1)


@pytest.mark.parametrize("jitter", [0.0, (0.1, 0.8)])
def test_peaks_of_a_blinking_emitter_are_lower_the_further_they_are_from_zero_delay(jitter):
    g2 = make_photon_correlations(
        20, n_times=500, tau_range=(0.0, 128.0), period=(12.0, 13.0), lifetimes=((0.3, 4.0),),
        jitter=jitter, zero_delay=(20.0, 100.0), bunching=(0.1, 3.0), bunching_time=(5.0, 200.0),
        random_state=0,
    )  # fmt: skip
    q = columns_of(g2)
    bins = Bins.around(g2.tau)
    total = q["background"] * np.ones(500)
    for k in range(-60, 61):
        height = np.where(k == 0, q["g2_zero"], 1.0)
        height = height * (1.0 + q["bunching"] * np.exp(-abs(k) * q["period"] / q["bunching_time"]))
        t = bins.edges - q["zero_delay"] + k * q["period"]
        total = total + height * bins.averages(decay_integral(t, q["lifetime_1"], q["jitter"]))
    np.testing.assert_allclose(g2.clean * q["scale"], total, atol=1e-9)


@pytest.mark.parametrize(
    "light",
    [
        {"period": 12.5, "bunching": 0.5, "bunching_time": 30.0, "jitter": 0.3},
        {"period": 12.5, "lifetimes": (1.0, 3.0)},
        {"kind": "continuous", "lifetimes": (1.0, 20.0), "bunching": 0.7},
    ],
    ids=["blinking", "two lifetimes", "three levels"],
)
@pytest.mark.parametrize("after", [0.5, 3.0, 8.0])  # 3: that of the emitter itself
def test_afterpulses_spread_a_share_of_the_coincidences(light, after):
    step = 0.05
    options = {"n_times": 8001, "tau_range": (-200.0, 200.0), "random_state": 0, "g2_zero": 0.2}
    options |= {"lifetimes": (3.0,)} | light
    without = correlations_of(
        *(make_photon_correlations(1, **options)[k] for k in ("tau", "params"))
    )
    g2 = make_photon_correlations(1, afterpulse_fraction=0.3, afterpulse_time=after, **options)
    found = correlations_of(g2.tau, g2.params)[0]
    delays = np.arange(-4000, 4001) * step
    kernel = np.exp(-np.abs(delays) / after)
    spread = np.convolve(without[0], kernel / kernel.sum(), mode="same")
    inner = np.abs(g2.tau) < 60.0
    np.testing.assert_allclose(found[inner], (0.7 * without[0] + 0.3 * spread)[inner], atol=3e-4)


def test_blinking_and_afterpulses_are_drawn_from_their_ranges_and_lives_may_be_short():
    g2 = make_photon_correlations(
        300, n_times=64, bunching=(0.0, 2.0), bunching_time=(1.0, 3.0), lifetimes=(1e-4,),
        jitter=0.01, afterpulse_fraction=(0.1, 0.4), afterpulse_time=(1e-5, 0.2), random_state=0,
    )  # fmt: skip
    ranges = {"bunching": (0, 2), "bunching_time": (1, 3), "afterpulse_fraction": (0.1, 0.4)}
    for name, (low, high) in ranges.items():
        unit = (g2.params[name] - low) / (high - low)
        assert 0.0 <= unit.min() < 0.02
        assert 0.98 < unit.max() <= 1.0
    assert np.isfinite(g2.clean).all()


def test_counts_are_what_is_noisy_before_it_is_divided_by_widths():
    g2 = make_photon_correlations(
        20, n_times=99, tau_range=(0.01, 10.0), spacing="log", gaussian_fraction=0.5, random_state=0
    )
    widths, gaussian = Bins.around(g2.tau).widths, g2.params["counts"].isna()
    assert 0 < gaussian.sum() < 20
    assert np.isnan(g2.counts[gaussian]).all()
    exposure = g2.params[["counts"]].to_numpy() * widths / widths.mean()
    np.testing.assert_array_equal(g2.counts[~gaussian], np.rint((g2.noisy * exposure)[~gaussian]))


def test_bins_that_overlap_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        make_photon_correlations(2, bin_width=0.01)
    with pytest.raises(ValueError, match="bin_width must be a number above 0, or 1501"):
        make_photon_correlations(2, bin_width=(0.001, 0.002))


def test_the_same_seed_gives_the_same_curves_and_parameters_give_them_back():
    first, second = (make_photon_correlations(300, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.noisy, second.noisy)
    again = correlations_of(first.tau, first.params)
    np.testing.assert_allclose(again, first.clean * first.params[["scale"]].to_numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": (0.0, 1.0)}, "period=.* above 0"),
        ({"period": (2.0, 1.0)}, "period="),
        ({"g2_zero": -0.1}, "g2_zero=-0.1 .* of 0 or more"),
        ({"kind": "continuous", "signal": (0.5, 1.5)}, "signal=.* of 1 or less"),
        ({"lifetimes": ()}, "one or two"),
        ({"lifetimes": (1.0, 2.0, 3.0)}, "one or two"),
        ({"counts": 0.0}, "counts="),
        ({"counts": ()}, "counts=.* must be a number or a range"),
        ({"bunching": (0, 0, 0)}, "bunching=.* must be a number or a range"),
        ({"bunching_time": 0.0}, "bunching_time=0.0 .* above 0"),  # whether it is used or not
        ({"afterpulse_fraction": (0.0, 1.1)}, "afterpulse_fraction=.* of 1 or less"),
        ({"afterpulse_fraction": -0.1}, "afterpulse_fraction=-0.1 .* of 0 or more"),
        ({"afterpulse_time": 0.0}, "afterpulse_time=0.0 .* above 0"),
        (
            {"crosstalk": (0.1,), "n_echoes": 1, "echo_height": 1.1},
            "echo_height=1.1 .* of 1 or less",
        ),
        ({"echo_height": -0.1}, "echo_height=-0.1 .* of 0 or more"),
        ({"echo_delay": (0.1, np.nan)}, "echo_delay=.* must be a number"),
        ({"n_echoes": 1}, "n_echoes=1 needs crosstalk="),
        ({"spacing": "log"}, "must lie above 0"),
        ({"tau_range": (1.0, -1.0)}, "tau_range="),
        ({"kind": "continuous", "bunching": 0.5, "lifetimes": (0.1,)}, "needs two lifetimes"),
        ({"tau": [0.0, 1.0, 1.0]}, "that increase"),
        ({"tau": [0.3, 0.4], "lifetimes": (1e-4,), "background": 0.0}, "0 at all of the delays"),
        ({"kind": "continuous", "bunching": 1.0, "lifetimes": (1.0, 0.1)}, "must not last longer"),
    ],
)
def test_bad_ranges_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_photon_correlations(3, **options)
