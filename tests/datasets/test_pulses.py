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


ALONE = {"baseline": False, "background_rate": 0.0}


@pytest.mark.parametrize(
    "shape", ["gaussian", "exponential", "crrc", lambda u: 3.0 * np.exp(-(np.abs(u - 4.0) ** 1.5))]
)
@pytest.mark.parametrize("width", [1.5, 12.0])
def test_the_truth_is_the_time_of_the_maximum_and_the_height_the_amplitude(shape, width):
    # sampled finely, the maximum is within half a step of the truth, of a lopsided one nearly
    X, y = make_pulses(
        50, n_times=4000, shape=shape, width=40 * width, sub_bin=True, random_state=0, **ALONE
    )
    assert np.abs(X[:, 0].argmax(axis=1) - y).max() < 0.55
    np.testing.assert_allclose(X.max(axis=2), 5.0, rtol=1e-3)
    coarse, rounded = make_pulses(50, shape=shape, width=width, random_state=0, **ALONE)
    assert np.array_equal(coarse[:, 0].argmax(axis=1), rounded)


def test_the_width_is_in_samples_and_the_published_one_is_two_hundredths_of_the_trace():
    plain, _ = make_pulses(100, n_times=200, random_state=0)
    told, _ = make_pulses(100, n_times=200, width=0.02 * 199, random_state=0)
    np.testing.assert_allclose(told, plain, atol=1e-5)
    for shape, decay in (
        ("exponential", lambda u: np.exp(-u)),
        ("crrc", lambda u: (1 + u) * np.exp(-u)),
    ):
        X, y = make_pulses(20, shape=shape, width=5.0, sub_bin=True, random_state=0, **ALONE)
        tail = np.arange(100) - y[:, np.newaxis]
        late = (tail > 0) & (tail < 40) if shape == "crrc" else (tail > 15) & (tail < 40)
        ratio = X[:, 0] / decay(tail / 5.0)
        for row, samples in zip(ratio, late, strict=True):
            if samples.sum() > 5:
                assert row[samples].std() < 0.01 * row[samples].mean()


def test_pink_noise_has_a_power_of_one_over_the_frequency_and_unit_variance():
    X, _ = make_pulses(
        1500, n_traces=1, n_times=256, amplitude=1e-9, noise_sigma=2.0, noise="pink", random_state=0,
        **ALONE,
    )  # fmt: skip
    noise = X[:, 0] / 2.0
    # drifts are shared by a trace, so that few numbers are independent
    assert abs(noise.var() - 1.0) < 0.05
    f = np.arange(1, 513)
    power = 1.0 / f
    weight = np.where(f == 512, 1.0, 2.0)
    lags = np.arange(1, 30)
    expected = np.array([(weight * power * np.cos(2 * np.pi * f * k / 1024)).sum() for k in lags])
    expected /= (weight * power).sum()
    found = np.array([(noise[:, k:] * noise[:, :-k]).mean() for k in lags])
    np.testing.assert_allclose(found, expected, atol=0.05)
    differences = np.diff(noise, axis=1).var() / 2.0
    assert abs(differences - (1.0 - expected[0])) < 0.02 * differences


def test_noise_of_ones_own_is_scaled_and_its_shape_checked():
    X, _ = make_pulses(
        10, amplitude=1e-9, noise_sigma=3.0, noise=lambda rng, shape: np.ones(shape), **ALONE
    )
    np.testing.assert_allclose(X, 3.0, rtol=1e-6)
    with pytest.raises(ValueError, match=r"noise=.*returned \(2,\)"):
        make_pulses(10, noise_sigma=3.0, noise=lambda rng, shape: np.ones(2))
    with pytest.raises(ValueError, match="noise='pink' has no effect with noise_sigma=0"):
        make_pulses(10, noise="pink")


def test_heights_are_log_uniform_between_two_bounds():
    X, _ = make_pulses(
        3000, n_traces=2, amplitude=(2.0, 32.0), sub_bin=True, random_state=0, **ALONE
    )
    np.testing.assert_array_equal(X[:, 0], X[:, 1])
    level = np.log2(X[:, 0].max(axis=1))
    assert level.min() > 0.95
    assert level.max() <= 5.0
    assert abs(level.mean() - 3.0) < 0.1


def test_empty_events_have_no_shared_pulse_and_nan_for_its_position():
    X, y = make_pulses(2000, empty_fraction=0.3, random_state=0, **ALONE)
    empty = np.isnan(y)
    assert abs(empty.mean() - 0.3) < 5 * np.sqrt(0.21 / 2000)
    assert not X[empty].any()
    assert np.array_equal(X[~empty, 0].argmax(axis=1), y[~empty])
    # the others are what they were without empty ones
    full, _ = make_pulses(2000, random_state=0, **ALONE)
    assert np.array_equal(X[~empty], full[~empty])


def test_the_share_that_piles_up_has_a_second_lower_pulse():
    X, y = make_pulses(2000, pile_up=0.25, width=1.0, sub_bin=True, random_state=0, **ALONE)
    alone, _ = make_pulses(2000, width=1.0, sub_bin=True, random_state=0, **ALONE)
    second = (X - alone)[:, 0]
    # one outside of the trace is seen in no sample
    assert abs((second.max(axis=1) > 0.01).mean() - 0.25) < 0.05
    inside = second.max(axis=1) > 0.5
    distance = np.abs(second[inside].argmax(axis=1) - y[inside])
    assert distance.min() > 1.0
    assert distance.max() < 7.0
    assert second.max() < 0.8 * 5.0 + 1e-6


def test_pedestals_saturation_and_digitising_are_those_of_a_detector():
    options = {"amplitude": 900.0, "noise_sigma": 30.0, "random_state": 0, **ALONE}
    plain, y = make_pulses(500, **options)
    level, _ = make_pulses(500, pedestal=300.0, **options)
    np.testing.assert_allclose(level, plain + 300.0, rtol=1e-5)
    X, digital_y = make_pulses(500, pedestal=300.0, saturation=1000.0, digitised=True, **options)
    assert X.dtype == np.uint16
    assert np.array_equal(digital_y, y)
    # rounded before they became float32
    assert np.abs(X - np.clip(level, 0, 1000)).max() < 0.501
    few_bits, _ = make_pulses(500, pedestal=300.0, digitised=8, **options)
    assert np.abs(few_bits - np.clip(level, 0, 255)).max() < 0.501
    wander, _ = make_pulses(500, pedestal=(300.0, 50.0), **options)
    levels = np.median(wander, axis=2)
    assert abs(levels.std() - 50.0) < 5.0
    assert abs(levels.mean() - 300.0) < 10.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_times": 1}, "n_times"),
        ({"background_rate": -1.0}, "background_rate"),
        ({"noise_sigma": -0.1}, "noise_sigma"),
        ({"sub_bin": "yes"}, "sub_bin"),
        ({"shape": "square"}, "shape"),
        ({"shape": lambda u: u}, "no maximum"),
        ({"shape": lambda u: u[:3]}, "finite number for each time"),
        ({"width": 0.0}, "width"),
        ({"pile_up": 1.5}, "pile_up"),
        ({"pedestal": (1.0, -2.0)}, "pedestal"),
        ({"pedestal": (1.0, 2.0, 3.0)}, "pedestal"),
        ({"saturation": "high"}, "saturation"),
        ({"empty_fraction": 1.0}, "empty_fraction"),
        ({"digitised": 17}, "digitised"),
        ({"amplitude": (5.0, 2.0)}, "amplitude"),
        ({"amplitude": 0.0}, "amplitude"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_pulses(**parameters)
