"""PulseLocator.predict_pulses: several pulses in records of any length."""

from functools import partial

import numpy as np
import pytest
import torch
from fits import mapped

from skae import PulseLocator
from skae.datasets import cut_pulse_windows, make_pulse_records, make_pulses
from skae.modules.pulses.positions import BinDistribution, MixtureDistribution
from skae.modules.pulses.symmetries import RandomSymmetries

ONE = {"amplitude": 8.0, "width": 2.0}
small = partial(
    PulseLocator, trace_channels=8, n_channels=10, absent="learn", max_epochs=12, random_state=0
)


def windows_of(records, **options):
    return cut_pulse_windows(
        records.X, records.event, records.position, n_times=64, random_state=0, **options
    )


@pytest.fixture(scope="module")
def fitted():
    # more pulses than later, so that some are neighbours
    records = make_pulse_records(30, n_times=2000, rate=0.01, random_state=0, **ONE)
    return small().fit(*windows_of(records))


NEW = make_pulse_records(20, n_times=2000, random_state=1, **ONE)


def matched(found, truth, within=2.0):
    """Return the share of true pulses that are found, and the number of false ones."""
    hits = 0
    for event, position in zip(truth.event, truth.position, strict=True):
        hits += np.abs(found.position[found.event == event] - position).min(initial=np.inf) < within
    return hits / len(truth.event), len(found.event) - hits


# -- what is found -------------------------------------------------------------------------------


def test_pulses_are_found_and_hardly_any_others(fitted):
    assert fitted.several_pulses_
    found = fitted.predict_pulses(NEW.X)
    efficiency, n_false = matched(found, NEW)
    assert efficiency > 0.93
    assert n_false <= 4
    order = np.lexsort([found.position, found.event])
    assert np.array_equal(order, np.arange(len(order)))
    assert found.event.dtype.kind == "i"
    assert found.presence.min() >= 0.5
    assert found.presence.max() <= 1.0
    # pulls of pulses that stand alone
    distance = np.abs(found.position[:, np.newaxis] - NEW.position)
    distance[found.event[:, np.newaxis] != NEW.event] = np.inf
    alone = (distance < 30).sum(axis=1) == 1
    pull = (found.position - NEW.position[distance.argmin(axis=1)])[alone] / found.std[alone]
    assert 0.7 < np.quantile(np.abs(pull), 0.683) < 1.4


def test_a_lower_threshold_finds_no_fewer(fitted):
    many, some, few = (fitted.predict_pulses(NEW.X, threshold=t) for t in (0.05, 0.5, 0.95))
    assert len(many.event) >= len(some.event) >= len(few.event) > 0
    assert few.presence.min() >= 0.95


def test_neighbours_are_told_apart_after_training_on_all_labels(fitted):
    rng = np.random.default_rng(0)
    positions = rng.uniform(40.0, 60.0, size=200)[:, np.newaxis] + np.array([0.0, 8.0])
    shapes = np.exp(-0.5 * ((np.arange(120) - positions[:, :, np.newaxis]) / 2.0) ** 2)
    X = 8.0 * shapes.sum(axis=1) + rng.normal(size=(200, 120))
    found = fitted.predict_pulses(X[:, np.newaxis])
    both = [
        np.count_nonzero(found.event == event) == 2
        and np.abs(np.sort(found.position[found.event == event]) - positions[event]).max() < 2.0
        for event in range(200)
    ]
    assert np.mean(both) > 0.8


def test_events_of_one_pulse_teach_to_find_those_that_stand_apart():
    X, y = make_pulses(
        2500, n_traces=1, n_times=64, amplitude=8.0, width=2.0, noise_sigma=1.0, baseline=False,
        background_rate=0.0, empty_fraction=0.6, sub_bin=True, random_state=0,
    )  # fmt: skip
    locator = small().fit(X, y)
    assert not locator.several_pulses_
    assert 5 <= locator.footprint_ <= 9
    efficiency, n_false = matched(locator.predict_pulses(NEW.X), NEW)
    assert efficiency > 0.9
    assert n_false <= 6


def test_whole_labels_give_pulses_too():
    X, y = windows_of(make_pulse_records(20, n_times=2000, random_state=0, **ONE))
    locator = small(sub_bin=False).fit(X, y)
    efficiency, n_false = matched(locator.predict_pulses(NEW.X), NEW)
    assert efficiency > 0.9
    assert n_false <= 6


# -- where records and parts begin ---------------------------------------------------------------


@pytest.mark.parametrize("offset", [1, 2, 7, 100])
def test_records_that_begin_elsewhere_have_the_same_pulses(fitted, offset):
    whole, cut = fitted.predict_pulses(NEW.X), fitted.predict_pulses(NEW.X[..., offset:])
    beside = offset + 100  # what ends of the record are seen in
    inner, same = whole.position > beside, cut.position + offset > beside
    assert np.array_equal(whole.event[inner], cut.event[same])
    np.testing.assert_allclose(cut.position[same] + offset, whole.position[inner], atol=0.01)
    np.testing.assert_allclose(cut.presence[same], whole.presence[inner], atol=0.01)


@pytest.mark.parametrize("size", [64, 333, 1000])
def test_parts_of_any_size_give_the_same_pulses(fitted, size, monkeypatch):
    whole = fitted.predict_pulses(NEW.X)
    monkeypatch.setattr("skae.estimators._locator_pulses._PART", size)
    in_parts = fitted.predict_pulses(NEW.X)
    assert np.array_equal(in_parts.event, whole.event)
    np.testing.assert_allclose(in_parts.position, whole.position, atol=0.01)
    np.testing.assert_allclose(in_parts.presence, whole.presence, atol=0.01)


def test_files_and_single_records_give_the_same_pulses(fitted, tmp_path):
    whole = fitted.predict_pulses(NEW.X)
    file = fitted.predict_pulses(mapped(NEW.X, tmp_path))
    np.testing.assert_allclose(file.position, whole.position)
    one = fitted.predict_pulses(NEW.X[3:4])
    np.testing.assert_allclose(one.position, whole.position[whole.event == 3], atol=1e-3)
    empty = fitted.predict_pulses(np.zeros((2, 1, 300)))
    assert [len(column) for column in empty.values()] == [0, 0, 0, 0]
    assert len(fitted.predict_pulses(NEW.X[:2, :, 500:510]).event) <= 2  # shorter than a window


def test_gaps_have_no_pulses_even_if_parts_lie_in_them(monkeypatch):
    X, y = windows_of(make_pulse_records(10, n_times=1000, random_state=0, **ONE))
    X[::3, :, 50:] = np.nan
    y = np.sort(np.where((np.arange(len(y)) % 3 == 0)[:, np.newaxis] & (y >= 50), np.nan, y))
    locator = small(missing="mask", max_epochs=4).fit(X, y)
    gaps = NEW.X.copy()
    gaps[:, :, 900:] = np.nan
    monkeypatch.setattr("skae.estimators._locator_pulses._PART", 256)
    found = locator.predict_pulses(gaps)
    assert 0 < found.position.max() < 901
    gaps[2, 0, 1700] = np.inf
    with pytest.raises(ValueError, match=r"infinity: .* record 2, sample 1700"):
        locator.predict_pulses(gaps)


# -- labels of several pulses --------------------------------------------------------------------


@pytest.mark.parametrize("law", [BinDistribution, MixtureDistribution])
def test_the_loss_of_several_pulses_is_that_of_a_poisson_process(law):
    torch.manual_seed(0)
    output = torch.randn(3, law.n_outputs, 30)
    nan = float("nan")
    target = torch.tensor([[3.0, 7.0, nan], [nan, nan, nan], [29.0, nan, nan]])
    process, single = law(absent=True, several=20), law()
    expected_number = output[:, 0].exp().sum(dim=1) / 20
    expected = expected_number.clone()
    for row, column in ((0, 0), (0, 1), (2, 0)):
        density = -single(output[row : row + 1], target[row : row + 1, column])
        expected[row] -= expected_number[row].log() + density[0]
    torch.testing.assert_close(process(output, target), expected)


def test_windows_keep_the_positions_inside_of_them():
    x = torch.zeros(500, 1, 20)
    target = torch.stack([torch.full((500,), 4.0), torch.full((500,), 15.0)], dim=1)
    x[:, 0, 4], x[:, 0, 15] = 1.0, 2.0
    generator = torch.Generator().manual_seed(0)
    moved, positions = RandomSymmetries(permute=False, reverse=True, window=9)(x, target, generator)
    there = ~positions.isnan()
    assert torch.equal((moved > 0).sum(dim=(1, 2)), there.sum(dim=1))
    for column, height in ((0, 1.0), (1, 2.0)):
        rows = there[:, column].nonzero().flatten()
        assert len(rows) > 50
        assert (moved[rows, 0, positions[rows, column].long()] == height).all()


def test_presence_and_scores_are_those_of_events_with_one_pulse(fitted):
    X, y = windows_of(NEW)
    n_pulses = (~np.isnan(y)).sum(axis=1)
    assert fitted.empty_fraction_ == pytest.approx(np.exp(-0.01 * 63), abs=0.05)
    p = fitted.predict_presence(X)
    assert p[n_pulses > 0].mean() > 0.8
    assert p[n_pulses == 0].mean() < 0.1
    one = n_pulses == 1
    position = np.nansum(y[one], axis=1)
    assert fitted.score(X, y) == pytest.approx(fitted.score(X[one], position))
    assert fitted.score(X, y) > 0.8


# -- what is wrong -------------------------------------------------------------------------------


def test_what_is_wrong_with_records_is_said(fitted):
    with pytest.raises(ValueError, match=r"must be \(n_records, n_traces=1, n_times\), of any"):
        fitted.predict_pulses(NEW.X.repeat(2, axis=1))
    with pytest.raises(ValueError, match=r"single record, pass X\[np.newaxis\]"):
        fitted.predict_pulses(NEW.X[0])
    gaps = NEW.X.copy()
    gaps[4, 0, 1234] = np.nan
    with pytest.raises(ValueError, match=r"NaN: .* record 4, sample 1234"):
        fitted.predict_pulses(gaps)
    for wrong in (1.0, -0.5, "high"):
        with pytest.raises(ValueError, match="threshold"):
            fitted.predict_pulses(NEW.X, threshold=wrong)
    with pytest.raises(ValueError, match="different lengths"):
        fitted.predict_pulses([np.zeros((1, 30)), np.zeros((1, 40))])
    X, y = make_pulses(100, n_traces=1, n_times=40, random_state=0)
    with pytest.raises(ValueError, match="fitted with absent='raise'"):
        small(absent="raise", max_epochs=1).fit(X, y).predict_pulses(NEW.X)


def test_labels_that_change_their_form_are_refused():
    X, y = windows_of(make_pulse_records(3, n_times=1000, random_state=0, **ONE))
    locator = small().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"several, .n_samples, n_pulses. with NaN"):
        locator.partial_fit(X, np.fmin.reduce(y, axis=1))
    with pytest.raises(ValueError, match=r"y\[2, 1\] = 99\.0"):
        small().fit(X, np.where(np.arange(len(y))[:, None] == 2, [[3.0, 99.0]], y[:, :2]))
    with pytest.raises(ValueError, match="y should be a 1d array"):
        small(absent="raise").fit(X, np.nan_to_num(y))
