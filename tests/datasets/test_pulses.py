"""make_pulses: the published generator, and what it leaves out."""

import hashlib
import statistics
import time

import numpy as np
import pytest

from skae.datasets import make_pulses


def published(N, seed):
    """The recipe, event by event, written out."""
    rng = np.random.RandomState(seed)
    grid = np.linspace(0.0, 1.0, 100)
    wavelength = 2 * 1.0 * rng.lognormal(mean=0.0, sigma=0.2, size=(3, N, 3, 1))
    phase = rng.uniform(size=wavelength.shape)
    X = np.cos(2 * np.pi * (grid + phase * wavelength) / wavelength).sum(axis=0)
    sigma = 0.02 * 1.0
    signal = 1.0 * rng.uniform(0.05, 0.95, size=N)
    y = np.empty(N, dtype=int)
    counts = rng.poisson(lam=1.0, size=(N, 3))
    for i in range(N):
        pulse = 5.0 * np.exp(-0.5 * (grid - signal[i]) ** 2 / sigma**2)
        y[i] = np.argmax(pulse)
        X[i] += pulse
        for j in range(3):
            if counts[i, j] > 0:
                times = 1.0 * rng.uniform(size=(counts[i, j], 1))
                X[i, j] += (5.0 * np.exp(-0.5 * (grid - times) ** 2 / sigma**2)).sum(axis=0)
    return X.astype(np.float32), y


def checksum(X, y):
    return hashlib.sha256(X.tobytes() + y.astype(np.int64).tobytes()).hexdigest()


def test_events_are_bit_for_bit_those_of_the_published_recipe():
    X, y = make_pulses(random_state=123)
    assert (X.shape, X.dtype, y.dtype.kind) == ((10000, 3, 100), np.float32, "i")
    assert checksum(X, y) == checksum(*published(10000, 123))


@pytest.mark.parametrize("n", [1, 2, 255, 257, 1000])
def test_any_number_of_events_is_that_of_the_recipe(n):
    for seed in range(5):
        assert checksum(*make_pulses(n, random_state=seed)) == checksum(*published(n, seed))


@pytest.mark.slow
def test_it_is_five_times_as_fast_as_the_recipe():
    ratios = []
    for _ in range(9):
        start = time.perf_counter()
        published(10000, 123)
        middle = time.perf_counter()
        make_pulses(random_state=123)
        ratios.append((middle - start) / (time.perf_counter() - middle))
    ratio = statistics.median(ratios)
    print(f"recipe / make_pulses: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    assert ratio >= 5.0


def test_sub_bin_truth_is_the_pulses_time_and_its_rounding_the_bin():
    X, y = make_pulses(500, random_state=0)
    X_fine, y_fine = make_pulses(500, sub_bin=True, random_state=0)
    assert np.array_equal(X, X_fine)
    assert np.array_equal(np.rint(y_fine), y)
    assert not np.array_equal(y_fine, y)
    assert (y_fine >= 0.05 * 99).all()
    assert (y_fine <= 0.95 * 99).all()


def test_a_lone_pulse_is_the_formula():
    X, y = make_pulses(
        20, baseline=False, background_rate=0.0, amplitude=2.0, sub_bin=True, random_state=0
    )
    z = (np.arange(100) - y[:, np.newaxis]) / (0.02 * 99)
    expected = np.broadcast_to(2.0 * np.exp(-0.5 * z**2)[:, np.newaxis], X.shape)
    np.testing.assert_allclose(X, expected, rtol=1e-5, atol=1e-30)


def test_noise_is_added_behind_all_other_draws():
    clean, y = make_pulses(2000, random_state=0)
    noisy, y_noisy = make_pulses(2000, noise_sigma=0.5, random_state=0)
    noise = noisy - clean
    assert np.array_equal(y, y_noisy)
    assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(noise.size)
    neighbours = np.mean(noise[..., 1:] * noise[..., :-1]) / 0.25
    assert abs(neighbours) < 5 / np.sqrt(noise.size)


def test_the_background_has_its_rate():
    X, _ = make_pulses(
        4000, n_traces=2, n_times=50, baseline=False, background_rate=2.5, random_state=0
    )
    assert X.shape == (4000, 2, 50)
    # an isolated pulse has the area A σ √(2π); one at a uniform time loses on average σ √(2/π) / T of it
    area = 5.0 * 0.02 * 49 * np.sqrt(2 * np.pi)
    inside = 1.0 - 0.02 * np.sqrt(2.0 / np.pi)
    pulses = X.sum(axis=2) / area
    expected = 1.0 + 2.5 * inside
    assert abs(pulses.mean() - expected) < 5 * np.sqrt(2.5 / pulses.size) + 0.02


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_times": 1}, "n_times"),
        ({"background_rate": -1.0}, "background_rate"),
        ({"noise_sigma": -0.1}, "noise_sigma"),
        ({"sub_bin": "yes"}, "sub_bin"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_pulses(**parameters)
