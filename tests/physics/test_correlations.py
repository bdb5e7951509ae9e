"""Correlations in closed form, averaged over bins."""

import numpy as np
import pytest
from scipy.integrate import quad

from skae.physics.correlations import (
    Bins,
    decay_integral,
    fading_train_integral,
    hump_integral,
    train_integral,
)

PERIOD = 12.5
SHAPES = [(1.0, 0.0), (1.0, 0.5), (0.1, 1.5), (4.0, 0.3), (3.0, 2.9), (0.5, 2.0)]


def decay(t, lifetime, jitter):
    """The decay, blurred by a Gaussian: by quadrature."""
    if jitter == 0.0:
        return np.exp(-abs(t) / lifetime)

    def blurred(u):
        return np.exp(-abs(t - u) / lifetime - 0.5 * (u / jitter) ** 2)

    reach = 9.0 * jitter
    points = [t] if abs(t) < reach else None
    return quad(blurred, -reach, reach, points=points)[0] / (np.sqrt(2.0 * np.pi) * jitter)


@pytest.mark.parametrize(("lifetime", "jitter"), SHAPES)
def test_integrals_are_those_of_the_blurred_decay(lifetime, jitter):
    for low, high in ((-0.1, 0.2), (5.0, 7.0)):
        exact = quad(
            lambda t: decay(t, lifetime, jitter), low, high, points=[0.0] if low < 0 else None
        )
        ends = decay_integral(np.array([low, high]), lifetime, np.array(jitter))
        assert np.diff(ends)[0] == pytest.approx(exact[0], abs=1e-8)
    far = decay_integral(np.array([-1e6, 1e6]), lifetime, np.array(jitter))
    np.testing.assert_allclose(far, [-lifetime, lifetime])


@pytest.mark.parametrize(("lifetime", "jitter"), SHAPES)
def test_a_train_is_the_sum_of_its_peaks(lifetime, jitter):
    t, blur = np.linspace(-60.0, 150.0, 2001), np.array(jitter)
    steps = sum(np.diff(decay_integral(t - k * PERIOD, lifetime, blur)) for k in range(-40, 60))
    train = np.diff(train_integral(t, PERIOD, lifetime, blur))
    np.testing.assert_allclose(train, steps, atol=1e-9 * lifetime)


def test_a_hump_is_a_gaussian():
    ends = hump_integral(np.array([-0.5, 2.0]), np.array(0.7))
    exact = quad(lambda t: np.exp(-0.5 * (t / 0.7) ** 2), -0.5, 2.0)[0]
    assert np.diff(ends)[0] == pytest.approx(exact)


def test_bins_meet_halfway_but_for_gaps():
    even = Bins.around(np.arange(10) * 0.25)
    np.testing.assert_allclose(even.widths, 0.25)
    assert len(even.edges) == 11
    cut = Bins.around(np.concatenate([np.arange(20) * 0.25, 8.0 + np.arange(8) * 0.25]))
    np.testing.assert_allclose(cut.widths, 0.25)
    assert len(cut.edges) == 30
    delays = np.geomspace(1.0, 100.0, 30)
    np.testing.assert_allclose(Bins.around(delays).widths[1:-1], np.gradient(delays)[1:-1])
    np.testing.assert_allclose(Bins.around(np.array([1.0, 3.0])).widths, 2.0)
    given = Bins.around(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(given.edges, [-0.5, 0.5, 1.5, 4.0, 6.0])
    with pytest.raises(ValueError, match="bins overlap"):
        Bins.around(np.array([0.0, 1.0]), 1.5)


def test_averages_are_over_the_bins():
    bins = Bins.around(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(bins.averages(np.square(bins.edges)), 2.0 * bins.centres)


@pytest.mark.parametrize("fading_time", [0.7, 2.0, 30.0, 500.0])  # 2.0: the lifetime itself
@pytest.mark.parametrize(("lifetime", "jitter"), [(2.0, 0.0), (2.0, 0.4), (0.2, 0.9), (3e-3, 0.0)])
def test_a_fading_train_is_the_sum_of_its_peaks(fading_time, lifetime, jitter):
    period, lifetime, jitter = np.array(5.0), np.array(lifetime), np.array(jitter)
    delay = np.linspace(-60.0, 80.0, 701)
    found = fading_train_integral(delay, period, lifetime, jitter, np.array(fading_time))
    expected = sum(
        np.exp(-abs(k) * 5.0 / fading_time) * decay_integral(delay + k * period, lifetime, jitter)
        for k in range(-4000, 4001)
    )
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-10)


def test_a_train_that_fades_slowly_is_one_that_does_not():
    period, lifetime = np.array(5.0), np.array(0.5)
    delay, jitter = np.linspace(-400.0, 300.0, 7001), np.array(0.0)
    whole = np.diff(train_integral(delay, period, lifetime, jitter))
    for fading_time in (1e11, 1e15, 1e300):
        found = fading_train_integral(delay, period, lifetime, jitter, np.array(fading_time))
        np.testing.assert_allclose(np.diff(found), whole, atol=1e-8)
