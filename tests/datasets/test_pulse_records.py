"""make_pulse_records and cut_pulse_windows: long records, their truth, and windows to train on."""

import numpy as np
import pytest

from skae.datasets import cut_pulse_windows, make_pulse_records


def test_records_are_the_sum_of_their_pulses():
    records = make_pulse_records(
        4, n_traces=2, n_times=3000, rate=0.01, amplitude=(2.0, 8.0), width=3.0, noise_sigma=0.0,
        random_state=0,
    )  # fmt: skip
    t = np.arange(3000)
    expected = np.zeros((4, 3000))
    for event, position, height in zip(
        records.event, records.position, records.height, strict=True
    ):
        expected[event] += height * np.exp(-0.5 * ((t - position) / 3.0) ** 2)
    np.testing.assert_allclose(records.X[:, 0], expected, rtol=1e-5, atol=1e-9)
    assert np.array_equal(records.X[:, 0], records.X[:, 1])
    assert (np.diff(records.event) >= 0).all()
    assert (np.diff(records.position)[np.diff(records.event) == 0] >= 0).all()


def test_the_rate_is_that_of_pulses_in_a_sample():
    records = make_pulse_records(50, n_times=2000, rate=0.02, random_state=0)
    expected = 0.02 * 1999 * 50
    assert abs(len(records.event) - expected) < 5 * np.sqrt(expected)
    silent = make_pulse_records(3, n_times=500, rate=0.0, random_state=0)
    assert len(silent.event) == 0
    assert abs(silent.X.std() - 1.0) < 0.1


def test_records_are_digitised_as_events_are():
    records = make_pulse_records(
        3, n_times=500, amplitude=500.0, noise_sigma=20.0, pedestal=(200.0, 10.0), saturation=600.0,
        digitised=12, random_state=0,
    )  # fmt: skip
    assert records.X.dtype == np.uint16
    assert records.X.max() == 600
    assert abs(np.median(records.X) - 200.0) < 40.0


@pytest.fixture(scope="module")
def records():
    return make_pulse_records(
        40, n_traces=2, n_times=2000, rate=0.003, noise_sigma=0.0, random_state=1
    )


def test_windows_are_labelled_with_all_of_their_pulses(records):
    X, y = cut_pulse_windows(records.X, records.event, records.position, n_times=64, random_state=0)
    assert X.shape[1:] == (2, 64)
    assert len(X) == len(y) == 3 * 40 * (2000 // 64)
    n_pulses = (~np.isnan(y)).sum(axis=1)
    assert n_pulses.max() == y.shape[1]
    assert abs(n_pulses.mean() - 0.003 * 63) < 0.05
    assert np.nanmin(y) >= 0.0
    assert np.nanmax(y) <= 63.0
    # the sum of the pulses that are labelled, but for tails of those outside
    t = np.arange(64)
    heights = np.exp(-0.5 * ((t - y[:, :, np.newaxis]) / 2.0) ** 2)
    expected = 5.0 * np.nansum(heights, axis=1)
    np.testing.assert_allclose(X[:, 0, 13:-13], expected[:, 13:-13], atol=1e-5)
    for row in y:
        there = row[~np.isnan(row)]
        assert np.isnan(row[len(there) :]).all()
        assert (np.diff(there) >= 0).all()


def test_the_share_of_empty_windows_can_be_told(records):
    truth = records.event, records.position
    _, y = cut_pulse_windows(
        records.X, *truth, n_times=64, n_windows=500, empty_fraction=0.4, random_state=0
    )
    empty = np.isnan(y).all(axis=1)
    assert empty.mean() == 0.4
    assert 100 < empty[:250].sum() * 2 < 300  # in no order


def test_windows_come_from_single_traces_and_memory_maps_in_their_dtype(records, tmp_path):
    counts = np.rint(records.X[:, 0] * 100).astype(np.int16)
    path = tmp_path / "records.npy"
    np.save(path, counts)
    truth = records.event, records.position
    X, y = cut_pulse_windows(np.load(path, mmap_mode="r"), *truth, n_times=50, random_state=3)
    again, y_again = cut_pulse_windows(counts, *truth, n_times=50, random_state=3)
    assert (X.dtype, X.shape[1:]) == (np.int16, (50,))
    assert np.array_equal(X, again)
    assert np.array_equal(y, y_again, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": [99]}, "numbers of the records"),
        ({"event": [0.5]}, "numbers of the records"),
        ({"position": [2000.0]}, "from 0 to 1999"),
        ({"position": [1.0, 2.0]}, "inconsistent"),
        ({"n_times": 3000}, "more than the 2000 samples"),
        ({"X": np.zeros(5)}, "shape"),
        ({"empty_fraction": 1.0}, "empty_fraction"),
        ({"event": [], "position": [], "empty_fraction": 0.5}, "74400 have no pulse"),
    ],
)
def test_wrong_truth_is_named(records, change, message):
    arguments = {"X": records.X, "event": [0], "position": [5.0], "n_times": 64, **change}
    with pytest.raises(ValueError, match=message):
        cut_pulse_windows(**arguments)


def test_records_full_of_pulses_have_no_empty_windows():
    records = make_pulse_records(2, n_times=500, rate=0.2, random_state=0)
    with pytest.raises(ValueError, match="shorter windows"):
        cut_pulse_windows(
            records.X, records.event, records.position, n_times=100, n_windows=9, empty_fraction=0.5
        )
