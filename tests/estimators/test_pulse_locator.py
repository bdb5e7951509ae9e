"""PulseLocator and MatchedFilterLocator: on three axes what scikit-learn's checks ask on two."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from fits import mapped, weights_of
from mapie.regression import SplitConformalRegressor
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import MatchedFilterLocator, NoiseInjector, PulseLocator
from skae.datasets import make_pulses
from skae.estimators import _locator_callbacks
from skae.estimators._locator_callbacks import CalibrateMixture
from skae.estimators._pulse_evidence import settle
from skae.exceptions import DriftWarning
from skae.metrics import position_accuracy, position_rmse

SMALL = {"trace_channels": 4, "n_channels": 6, "kernel_size": 3}
CLEAN = {"baseline": False, "background_rate": 0.0, "n_times": 40, "sub_bin": True}


small = partial(PulseLocator, **SMALL, max_epochs=2, random_state=0)
X, y = make_pulses(300, n_times=40, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, y)


# -- what it learns ------------------------------------------------------------------------------


def test_it_finds_what_the_matched_filter_does_not():
    X, y = make_pulses(3000, n_times=50, background_rate=2.0, random_state=0)
    train, test = slice(0, 2000), slice(2000, None)
    locator = PulseLocator(max_epochs=12, random_state=0)
    locator.fit(X[train], y[train])
    assert locator.permute_traces_
    assert locator.reverse_time_
    assert not locator.sub_bin_
    learnt = position_accuracy(y[test], locator.predict(X[test]))
    matched = position_accuracy(y[test], MatchedFilterLocator(width=0.5).fit(X).predict(X[test]))
    assert learnt > 0.97
    assert learnt > matched


def test_noisy_fractional_positions_come_with_their_standard_deviation():
    X, y = make_pulses(4500, noise_sigma=0.5, random_state=0, **CLEAN)
    train, test = slice(0, 3000), slice(3000, None)
    locator = PulseLocator(
        trace_channels=6, n_channels=12, max_epochs=12, estimate="mean", random_state=0
    ).fit(X[train], y[train])
    assert locator.sub_bin_
    position, std = locator.predict(X[test], return_std=True)
    pull = (position - y[test]) / std
    assert 0.85 < pull.std() < 1.15
    # the Cramér–Rao bound: σ_n / √(K Σ s′²), with Σ s′² = A² √π / (2 σ)
    sigma = 0.02 * 39
    bound = 0.5 / np.sqrt(3 * 25.0 * np.sqrt(np.pi) / (2.0 * sigma))
    error = np.std(position - y[test])
    assert 0.9 * bound < error < 1.3 * bound
    transform = locator.predict_cdf(X[test], y[test])
    assert stats.kstest(transform, "uniform").statistic < 0.05
    below, above = (locator.predict_cdf(X[test], y[test] + step) for step in (-1.0, 1.0))
    assert (below <= transform).all()
    assert (transform <= above).all()


ONE_PULSE = {"n_traces": 1, "background_rate": 0.0, "baseline": False, "noise_sigma": 0.5}

#: (events, epochs): negative log-likelihood and median |error|, medians of ten seeds. A component of
#: σ = 1 has 0.97 nats, a grid of whole samples an error of 0.25; the Cramér–Rao bound is −0.49 nats
#: and 0.10.
FEW_STEPS = {
    (300, 12): (-0.311, 0.118), (500, 12): (-0.347, 0.112), (700, 12): (-0.396, 0.109),
    (300, 40): (-0.401, 0.1065), (500, 40): (-0.419, 0.1045), (700, 40): (-0.421, 0.104),
}  # fmt: skip


def judged(n, epochs, seed):
    """Fit n events; return width of the pulls, negative log-likelihood and median |error| of others."""
    X, y = make_pulses(n, sub_bin=True, random_state=seed, **ONE_PULSE)
    new, truth = make_pulses(1600, sub_bin=True, random_state=5000 + seed, **ONE_PULSE)
    locator = PulseLocator(max_epochs=epochs, estimate="mean", random_state=seed).fit(X, y)
    position, std = locator.predict(new, return_std=True)
    error = position - truth
    low, high = np.quantile(error / std, [0.16, 0.84])
    return (high - low) / 2.0, loss_of(locator, new, truth), np.median(np.abs(error))


def loss_of(locator, X, y):
    """Return the negative log-likelihood."""
    below, above = (locator.predict_cdf(X, y + step) for step in (-0.005, 0.005))
    return -np.log(np.maximum(above - below, 1e-9) / 0.01).mean()


@pytest.mark.parametrize(
    ("n", "epochs"), [(300, 12), pytest.param(700, 12, marks=pytest.mark.slow)]
)
def test_after_few_steps_errors_are_as_large_as_their_standard_deviations(n, epochs):
    pull, loss, error = judged(n, epochs, seed=0)
    assert 0.9 < pull < 1.1
    assert loss < -0.3
    assert error < 0.13


@pytest.mark.slow
@pytest.mark.parametrize(("n", "epochs"), FEW_STEPS)
def test_no_seed_sticks(n, epochs):
    results = [judged(n, epochs, seed) for seed in range(10)]
    pulls, losses, errors = (np.array(column) for column in zip(*results, strict=True))
    # 1,600 pulls say their width to 0.02 or 0.03; after 60 to 130 steps it is rather too careful
    assert ((pulls > 0.9) & (pulls < 1.1)).sum() >= (9 if epochs == 40 else 7)
    assert (0.88 if epochs == 40 else 0.79) < pulls.min() < pulls.max() < 1.13
    loss, error = FEW_STEPS[n, epochs]
    assert np.median(losses) < loss + 0.02
    assert np.median(errors) < 1.03 * error


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 2000])
def test_bins_are_as_probable_as_they_are_often_right(n):
    found = []
    for seed in range(5):
        X, y = make_pulses(n, random_state=seed, **ONE_PULSE)
        new, truth = make_pulses(1600, random_state=5000 + seed, **ONE_PULSE)
        probability = PulseLocator(random_state=seed).fit(X, y).predict_distribution(new)
        right = probability.argmax(axis=1) == truth
        found.append((probability.max(axis=1).mean() - right.mean(), right.mean()))
    off, accuracy = np.median(found, axis=0)
    assert abs(off) < 0.02
    assert accuracy > 0.86  # 0.85 with little weight decay, and 0.06 too sure of it


def test_few_events_shrink_weights_more():
    def decay_of(n, **options):
        locator = small(max_epochs=1, **options).fit(X[:n], y[:n])
        return locator, locator.net_.optimizer_.param_groups[0]["weight_decay"]

    X, y = make_pulses(2000, n_times=20, random_state=0)
    assert decay_of(300)[1] == 1.5
    locator, decay = decay_of(2000)
    assert decay == pytest.approx(0.18)
    locator.partial_fit(X[:300], y[:300])
    assert locator.net_.optimizer_.param_groups[0]["weight_decay"] == 0.01
    # rows that weigh nothing are not there
    weighed = small(max_epochs=1).fit(X, y, sample_weight=np.r_[np.ones(1000), np.zeros(1000)])
    assert weighed.net_.optimizer_.param_groups[0]["weight_decay"] == pytest.approx(0.72)
    assert decay_of(300, weight_decay=0.3)[1] == 0.3
    published = PulseLocator(architecture="reference", max_epochs=1).fit(X[:300], y[:300])
    assert published.net_.optimizer_.param_groups[0]["weight_decay"] == 0.01
    assert decay_of(300, optimizer="adam")[1] == 0.0  # torch's


def test_calibration_makes_training_events_likelier(monkeypatch):
    X, y = make_pulses(300, random_state=0, noise_sigma=0.5, **CLEAN)
    calibrated = loss_of(small().fit(X, y), X, y)
    monkeypatch.setattr(CalibrateMixture, "on_train_end", lambda *_, **__: None)
    assert calibrated < loss_of(small().fit(X, y), X, y) - 0.01


def test_long_events_are_calibrated_piece_by_piece(monkeypatch):
    X, y = make_pulses(300, random_state=0, noise_sigma=0.5, **CLEAN)
    whole = small(max_epochs=3).fit(X, y)
    monkeypatch.setattr(_locator_callbacks, "_MOST_NUMBERS", 1)
    piece_by_piece = small(max_epochs=3).fit(X, y)
    # other windows of the same events
    assert loss_of(piece_by_piece, X, y) == pytest.approx(loss_of(whole, X, y), abs=0.05)
    position, std = whole.predict(X, return_std=True)
    position_again, std_again = piece_by_piece.predict(X, return_std=True)
    assert np.median(np.abs(position - position_again)) < 0.05
    assert np.median(std_again / std) == pytest.approx(1.0, abs=0.05)


def test_chunks_of_partial_fit_are_not_calibrated(monkeypatch):
    X, y = make_pulses(300, random_state=0, noise_sigma=0.5, **CLEAN)
    weights = small().partial_fit(X, y).module_.output.weight
    monkeypatch.setattr(CalibrateMixture, "on_train_end", lambda *_, **__: None)
    assert torch.equal(small().partial_fit(X, y).module_.output.weight, weights)


def test_the_median_and_the_mean_of_sharp_events_agree():
    X, y = make_pulses(1500, random_state=0, **CLEAN)
    locator = small(max_epochs=10).fit(X, y)
    mean, median, mode = (
        locator.set_params(estimate=estimate).predict(X) for estimate in ("mean", "median", "mode")
    )
    assert np.median(np.abs(mean - median)) < 0.05
    assert np.median(np.abs(mode - median)) < 0.6
    assert np.array_equal(mode, np.rint(mode))
    assert position_rmse(y, median, within=2) < 0.5


@pytest.mark.parametrize("options", [{"sub_bin": False}, {"architecture": "reference"}], ids=str)
def test_fractional_labels_are_shared_by_bins_where_it_is_asked_for(options):
    X, y = make_pulses(600, n_times=40, sub_bin=True, random_state=0)
    locator = PulseLocator(**options, max_epochs=4, random_state=0).fit(X, y)
    assert not locator.sub_bin_
    assert locator.loss_curve_[-1] < locator.loss_curve_[0]


@pytest.mark.slow
def test_the_published_network_learns_in_its_own_units():
    X, y = make_pulses(3000, random_state=123)
    locator = PulseLocator(
        architecture="reference", optimizer="adam", lr=0.01, lr_schedule="constant", weight_decay=0.0,
        batch_size=500, max_epochs=100, permute_traces=False, reverse_time=False, random_state=0,
    ).fit(X[:2000], y[:2000])  # fmt: skip
    assert position_accuracy(y[2000:], locator.predict(X[2000:])) > 0.85
    first, second = locator.kernels_
    assert first.shape == (2, 3)
    assert second.shape == (2, 3, 7)
    with pytest.raises(AttributeError, match="architecture='reference'"):
        _ = small().fit(X, y).kernels_


# -- what the data allow -------------------------------------------------------------------------


def test_symmetries_are_found_in_the_data():
    X, y = make_pulses(2000, random_state=0)
    assert symmetries(X, y) == (True, True)
    louder = X * np.array([1.0, 1.0, 1.3])[:, np.newaxis]
    assert symmetries(louder, y) == (False, True)
    noisier = X.copy()
    noisier[:, 0] += np.random.default_rng(0).normal(scale=1.5, size=(2000, 100))
    assert symmetries(noisier, y) == (False, True)
    decay = np.exp(-np.arange(10) / 4.0)
    lopsided = np.apply_along_axis(lambda t: np.convolve(t, decay)[:100], 2, X)
    assert symmetries(lopsided, y) == (True, False)
    assert symmetries(X, np.maximum(y - 3, 0)) == (True, False)  # labels at the rising edge
    assert symmetries(X + np.linspace(0.0, 2.0, 100), y) == (True, False)
    assert symmetries(X[:, 0], y) == (False, True)
    pedestals = np.random.default_rng(0).normal(scale=400.0, size=(2000, 1, 1))
    assert symmetries(lopsided + pedestals, y) == (True, False)
    assert symmetries(lopsided + np.array([[0.0], [500.0], [1000.0]]), y) == (False, False)


def test_symmetries_are_not_denied_for_want_of_events():
    for n in (1, 2, 3, 5, 8, 30):
        for seed in range(20):
            assert symmetries(*make_pulses(n, n_times=15, random_state=seed)) == (True, True)


def symmetries(X, y):
    locator = PulseLocator()
    locator.trace_shape_ = X.shape[1:]
    settle(locator, X, y)
    return locator.permute_traces_, locator.reverse_time_


@pytest.mark.parametrize("asked", [True, False])
def test_symmetries_can_be_asked_for(asked):
    locator = small(permute_traces=asked, reverse_time=asked, max_epochs=1).fit(X, y)
    assert locator.permute_traces_ is asked
    assert locator.reverse_time_ is asked


@pytest.mark.parametrize(
    ("shape", "width", "step"),
    [
        ("gaussian", 1.5, 2), ("gaussian", 2.0, 2), ("gaussian", 8.0, 4), ("gaussian", 20.0, 8),
        ("gaussian", 45.0, 16), ("crrc", 3.0, 2), ("exponential", 20.0, 2),
    ],
)  # fmt: skip
def test_steps_are_as_long_as_smooth_pulses_allow(shape, width, step):
    X, y = make_pulses(
        300, n_times=int(60 + 15 * width), width=width, shape=shape, baseline=False,
        background_rate=0.0, noise_sigma=0.5, sub_bin=True, random_state=0,
    )  # fmt: skip
    locator = PulseLocator(trace_channels=2, n_channels=2, max_epochs=1).fit(X, y)
    assert locator.step_ == locator.module_.step == step
    if shape == "gaussian":
        expected = 2.0 * np.sqrt(np.log(20.0)) * width
        assert locator.footprint_ == pytest.approx(expected, rel=0.1, abs=1)
        assert locator.module_.reach >= locator.footprint_
    assert locator.predict_distribution(X[:3]).shape == (3, X.shape[2])


@pytest.mark.parametrize("tail", [50.0, 200.0, np.inf])
def test_a_sharp_edge_before_a_long_tail_is_looked_at_in_short_steps(tail):
    rng, t = np.random.default_rng(0), np.arange(600)
    y = rng.uniform(60.0, 300.0, size=400)
    later = t - y[:, np.newaxis]
    X = np.where(later > 0.0, np.exp(-np.maximum(later, 0.0) / tail), 0.0)
    X = (X + rng.normal(scale=0.05, size=X.shape)).astype(np.float32)
    locator = PulseLocator(trace_channels=2, n_channels=2, max_epochs=1).fit(X, y)
    assert locator.step_ == 2


def test_wide_pulses_are_timed_nearly_as_well_as_can_be():
    options = {
        "n_times": 300, "n_traces": 1, "width": 16.0, "baseline": False, "background_rate": 0.0,
        "noise_sigma": 0.5, "sub_bin": True,
    }  # fmt: skip
    X, y = make_pulses(1000, random_state=0, **options)
    new, truth = make_pulses(1000, random_state=1, **options)
    locator = PulseLocator(
        trace_channels=8, n_channels=8, estimate="mean", max_epochs=15, random_state=0
    )
    position, std = locator.fit(X, y).predict(new, return_std=True)
    assert locator.step_ == 8
    slope = 5.0 * np.sqrt(np.sqrt(np.pi) / (2.0 * 16.0))  # root of the sum of its squares
    low, high = np.quantile(position - truth, [0.159, 0.841])
    assert (high - low) / 2.0 < 1.5 * 0.5 / slope
    low, high = np.quantile((position - truth) / std, [0.159, 0.841])
    assert 0.8 < (high - low) / 2.0 < 1.25


def test_the_residual_locator_of_reversible_events_mirrors_its_predictions():
    fitted = small(architecture="residual").fit(X, y)
    here, there = (fitted.predict_distribution(x) for x in (X, X[:, :, ::-1]))
    np.testing.assert_allclose(there, here[:, ::-1], atol=1e-5)


# -- as detectors give them ----------------------------------------------------------------------


def test_levels_of_traces_change_nothing(fitted):
    spread = X.std()
    levels = 50.0 * spread * np.random.default_rng(0).normal(size=(300, 3, 1))
    expected = fitted.predict_distribution(X)
    np.testing.assert_allclose(fitted.predict_distribution(X + levels), expected, atol=1e-4)
    on_pedestal = (X + 50.0 * spread).astype(np.float64)
    np.testing.assert_allclose(fitted.predict_distribution(on_pedestal), expected, atol=1e-4)
    learnt = small().fit(X + levels, y)
    # the same but for rounding
    np.testing.assert_allclose(learnt.predict_distribution(X), expected, atol=0.01)
    seen = small(remove_baseline=False).fit(X, y)
    with pytest.warns(DriftWarning):
        elsewhere = seen.predict_distribution(X + levels)
    assert np.abs(elsewhere - seen.predict_distribution(X)).max() > 0.1


def test_pulses_that_go_down_are_found_as_those_that_go_up(fitted):
    assert fitted.polarity_ == "positive"
    down = small().fit(-X, y)
    assert down.polarity_ == "negative"
    np.testing.assert_allclose(
        down.predict_distribution(-X), fitted.predict_distribution(X), atol=1e-6
    )
    assert small(polarity="negative").fit(X, y).polarity_ == "negative"


def test_counts_of_a_digitiser_are_events_and_what_it_cuts_off_is_found():
    options = {
        "amplitude": 500.0, "noise_sigma": 20.0, "pedestal": (300.0, 10.0), "n_times": 40,
        "baseline": False, "background_rate": 0.0, "digitised": 12, "random_state": 0,
    }  # fmt: skip
    counts, y = make_pulses(600, **options)
    assert small().fit(counts, y).saturation_ is None
    cut, y = make_pulses(600, saturation=700.0, **options)
    locator = small(max_epochs=6).fit(cut, y)
    assert cut.dtype == np.uint16
    assert locator.saturation_ == 700.0
    assert locator.module_.inputs(torch.zeros(1, 3, 40)).shape == (1, 3, 2, 40)
    assert position_accuracy(y, locator.predict(cut), tolerance=1) > 0.9
    upside_down = 4095 - cut.astype(np.int32)
    assert small().fit(upside_down, y).saturation_ == 4095 - 700
    assert small(saturation=None).fit(cut, y).saturation_ is None
    assert small(noise=lambda x, generator: x + 0.0).fit(cut, y).saturation_ is None
    assert small(saturation=650).fit(cut, y).saturation_ == 650
    assert small().fit(np.full((10, 3, 20), 4.0), np.full(10, 7)).saturation_ is None


def padded(lengths, fill=np.nan):
    """Return events of different lengths, and positions inside of them."""
    X, y = make_pulses(len(lengths), n_times=40, random_state=1)
    X, y = X.astype(np.float64), np.minimum(y, np.asarray(lengths) - 1)
    for event, length in zip(X, lengths, strict=True):
        event[:, length:] = fill
    return X, y


def test_padded_records_have_no_pulse_in_their_tails():
    lengths = np.random.default_rng(0).integers(25, 41, size=400)
    X, y = padded(lengths)
    locator = small(missing="mask", max_epochs=4).fit(X, y)
    p = locator.predict_distribution(X)
    tail = np.arange(40) >= lengths[:, np.newaxis]
    assert (p[tail] == 0.0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-5)
    for estimate in ("mode", "mean", "median"):
        assert (locator.set_params(estimate=estimate).predict(X) < lengths).all()
    assert np.isfinite(locator.predict_cdf(X, y)).all()
    # traces as a table, with names
    frame = pd.DataFrame(X[:, 0], columns=[f"t{j}" for j in range(40)])
    assert small(missing="mask").fit(frame, y).predict(frame).shape == (400,)


def test_records_without_gaps_may_come_where_gaps_are_allowed():
    masked = small(missing="mask").fit(X, y)
    assert np.isfinite(masked.predict(X)).all()
    single = X.astype(np.float64)
    single[:, 0] = np.nan  # a dead trace
    assert np.isfinite(masked.fit(single, y).predict_distribution(single)).all()


def test_what_is_wrong_with_gaps_is_said():
    gaps, inside = padded([30] * 50)
    with pytest.raises(ValueError, match="Where they were not recorded, set missing='mask'"):
        small().fit(gaps, inside)
    with pytest.raises(ValueError, match=r"fill the gaps\.$"):  # it has no such parameter
        MatchedFilterLocator().fit(gaps)
    with pytest.raises(ValueError, match=r"y\[3\] = 35\.0 is a place where event 3 has no samples"):
        small(missing="mask").fit(gaps, np.where(np.arange(50) == 3, 35, inside))
    gaps[7] = np.nan
    with pytest.raises(ValueError, match=r"1 of 50 rows .* event 7, trace 0, sample 0"):
        small(missing="mask").fit(gaps, inside)
    gaps[7] = np.inf
    with pytest.raises(ValueError, match="infinity: 1 of 50 rows"):
        small(missing="mask").fit(gaps, inside)
    with pytest.raises(ValueError, match="1 of 50 rows"):
        small(missing="mask").fit(padded([30] * 50)[0][:, 0] + np.r_[[np.nan], np.zeros(49)][:, None],
                                  inside)  # fmt: skip


def test_lists_of_records_of_different_lengths_are_refused_with_what_to_do():
    ragged = [np.zeros(30), np.zeros(25), np.zeros(40)]
    for records in (
        ragged,
        [list(record) for record in ragged],
        [np.stack([r, r]) for r in ragged],
    ):
        with pytest.raises(ValueError, match=r"different lengths \(.*NaN.*missing='mask'.*np\.pad"):
            small().fit(records, [1, 2, 3])
    longest = 40
    X = np.stack([np.pad(x, (0, longest - len(x)), constant_values=np.nan) for x in ragged])
    assert small(missing="mask").fit(X, [1, 2, 3]).predict(X).shape == (3,)


# -- as scikit-learn's own -----------------------------------------------------------------------


@pytest.mark.parametrize("sub_bin", [False, True])
def test_distributions_are_distributions(sub_bin):
    locator = small(sub_bin=sub_bin).fit(X, y)
    distribution = locator.predict_distribution(X)
    assert distribution.shape == (300, 40)
    assert (distribution >= 0.0).all()
    np.testing.assert_allclose(distribution.sum(axis=1), 1.0, atol=1e-5)
    assert np.array_equal(distribution.argmax(axis=1), locator.predict(X))
    position, std = locator.predict(X, return_std=True)
    assert position.shape == std.shape == (300,)
    assert (std > 0.0).all()
    for dtype in (np.float32, np.float64):
        assert locator.predict_cdf(X.astype(dtype), y).dtype == dtype


@pytest.mark.parametrize(
    "options",
    [{}, {"sub_bin": True, "estimate": "mean"}, {"architecture": "reference", "estimate": "mean"}],
    ids=["bins", "sub-bin", "reference"],
)
def test_an_events_result_does_not_depend_on_those_beside_it(options):
    locator = PulseLocator(max_epochs=1, random_state=0, **options).fit(X, y)
    for method in (locator.predict, locator.predict_distribution):
        whole = method(X)
        for size in (1, 2, 5, 9):
            parts = [method(X[start : start + size]) for start in range(0, 45, size)]
            np.testing.assert_allclose(np.concatenate(parts)[:45], whole[:45], rtol=0, atol=1e-7)


def test_files_of_integers_are_events_too(tmp_path):
    file = mapped((100 * X).astype(np.int16), tmp_path)
    from_file, in_memory = (small().fit(Z, y) for Z in (file, np.array(file, dtype=np.float64)))
    assert torch.equal(weights_of(from_file), weights_of(in_memory))
    assert np.array_equal(from_file.predict(file), in_memory.predict(file))
    before = from_file.predict_cdf(file, y)
    assert before.dtype == np.float64
    assert ((before > 0.0) & (before < 1.0)).any()


def test_a_single_trace_may_come_as_a_table_with_names():
    frame = pd.DataFrame(X[:, 0], columns=[f"t{j}" for j in range(40)])
    locator = small().fit(frame, y)
    assert list(locator.feature_names_in_) == list(frame.columns)
    assert locator.trace_shape_ == (40,)
    as_events = small().fit(X[:, :1], y)
    assert as_events.n_features_in_ == 40
    assert np.array_equal(as_events.predict(X[:, :1]), locator.predict(frame))
    locator.fit(X, y)  # forgets the names
    assert not hasattr(locator, "feature_names_in_")
    assert locator.trace_shape_ == (3, 40)


def test_flat_rows_are_events_of_so_many_traces(fitted):
    flat = X.reshape(300, -1)
    locator = small(n_traces=3).fit(flat, y)
    assert locator.trace_shape_ == (3, 40)
    assert locator.n_features_in_ == 120
    assert torch.equal(weights_of(locator), weights_of(fitted))
    assert np.array_equal(locator.predict(flat), fitted.predict(X))
    assert np.array_equal(locator.predict_distribution(X), fitted.predict_distribution(X))
    frame = pd.DataFrame(flat, columns=[f"t{j}" for j in range(120)])
    assert list(small(n_traces=3).fit(frame, y).feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="120 samples, which are not 7 traces"):
        small(n_traces=7).fit(flat, y)
    with pytest.raises(ValueError, match="expecting 120 features"):
        locator.predict(flat[:, :117])


def test_tools_that_look_at_tables_take_flat_rows():
    flat = X.reshape(300, -1)
    forest = BaggingRegressor(small(n_traces=3), n_estimators=2, random_state=0).fit(flat, y)
    assert forest.predict(flat).shape == (300,)
    searched = GridSearchCV(small(n_traces=3, max_epochs=1), {"lr": [1e-3]}, cv=2).fit(flat, y)
    assert np.isfinite(searched.best_score_)
    pipeline = make_pipeline(StandardScaler(), small(n_traces=3)).fit(flat, y)
    assert pipeline.predict(flat).shape == (300,)


def test_intervals_of_mapie_cover_events_as_flat_rows():
    noisy, t = make_pulses(1500, noise_sigma=0.5, random_state=0, **CLEAN)
    flat = noisy.reshape(1500, -1)
    model = small(n_traces=3, max_epochs=6, estimate="mean").fit(flat[:700], t[:700])
    intervals = SplitConformalRegressor(model, confidence_level=0.8, prefit=True)
    intervals.conformalize(flat[700:1100], t[700:1100])
    _, bounds = intervals.predict_interval(flat[1100:])
    low, high = bounds[:, 0, 0], bounds[:, 1, 0]
    assert 0.7 < np.mean((low <= t[1100:]) & (t[1100:] <= high)) < 0.9


def test_events_are_weighted_and_held_out():
    weight = np.random.default_rng(0).uniform(size=300)
    locator = small(early_stopping=True).fit(X, y, weight)
    assert "valid_loss" in locator.history_[-1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (5, 1, 2), (1, 4, 30), (3, 2)])
def test_small_events_work(shape):
    X = np.random.default_rng(0).normal(size=shape)
    y = np.zeros(len(X))
    for architecture in ("fast", "residual", "reference"):
        locator = PulseLocator(architecture=architecture, max_epochs=1).fit(X, y)
        assert locator.predict_distribution(X).shape == (shape[0], shape[-1])


def test_constant_events_work():
    locator = small().fit(np.full((10, 3, 20), 4.0), np.full(10, 7))
    assert np.isfinite(locator.predict_distribution(np.full((1, 3, 20), 4.0))).all()


# -- bad input -----------------------------------------------------------------------------------


def test_positions_outside_are_counted_and_named():
    wrong = y.astype(float)
    wrong[[3, 7]] = [-1.0, 40.0]
    message = r"2 of 300 positions .* 0 to 39 .*y\[3\] = -1\.0, y\[7\] = 40\.0"
    with pytest.raises(ValueError, match=message):
        small().fit(X, wrong)
    clipped = small(out_of_range="clip").fit(X, wrong)
    by_hand = small().fit(X, np.clip(wrong, 0, 39))
    assert torch.equal(weights_of(clipped), weights_of(by_hand))


@pytest.mark.parametrize("out_of_range", ["raise", "clip"])
def test_labels_that_rounding_has_moved_are_whole_and_inside(out_of_range):
    computed = y + 1e-12
    computed[:2] = 39 + 1e-12, -1e-12
    single = (computed.astype(np.float32) + np.float32(4e-6)).astype(np.float32)
    for labels in computed, single:
        assert not small(max_epochs=1, out_of_range=out_of_range).fit(X, labels).sub_bin_
    exact = small(max_epochs=1).fit(X, np.rint(computed))
    same = small(max_epochs=1).fit(X, computed)
    np.testing.assert_array_equal(exact.predict_distribution(X), same.predict_distribution(X))


def test_fractions_of_single_precision_are_kept_in_long_traces(rng):
    labels = np.arange(8, dtype=np.float32) + np.float32(5e-4)
    locator = small(max_epochs=1).fit(rng.normal(size=(8, 1, 4096)), labels)
    assert locator.sub_bin_


def test_a_label_outside_is_shown_in_all_of_its_digits():
    wrong = y.astype(float)
    wrong[3] = 39.000002
    with pytest.raises(ValueError, match=r"outside of the samples 0 to 39 .*y\[3\] = 39\.000002\."):
        small().fit(X, wrong)


@pytest.mark.parametrize("out_of_range", ["raise", "clip"])
def test_swapped_axes_are_named_where_labels_tell(out_of_range):
    with pytest.raises(ValueError, match=r"axes of X are swapped, pass X.transpose\(0, 2, 1\)"):
        small(out_of_range=out_of_range).fit(X.transpose(0, 2, 1), y)


@pytest.mark.parametrize("label", [7, [7]])
def test_the_traces_of_one_event_are_no_events(label):
    with pytest.raises(ValueError, match=r"y is for one row, but X has 3\. .*pass X\[np.newaxis\]"):
        small().fit(X[0], label)


@pytest.mark.parametrize("model", [PulseLocator(**SMALL, max_epochs=1), MatchedFilterLocator()])
def test_what_is_wrong_with_the_axes_is_said_when_predicting(model):
    model = clone(model).fit(X, y)
    with pytest.raises(ValueError, match=r"n_times=3\).*swapped, pass X.transpose\(0, 2, 1\)"):
        model.predict(X.transpose(0, 2, 1))
    with pytest.raises(ValueError, match=r"\(n_times=40\).*a single event, pass X\[np.newaxis\]"):
        model.predict(X[0])
    with pytest.raises(ValueError, match=r"events of shape \(n_times=3\), but"):
        model.predict(X[0].T)


def test_gaps_in_traces_are_counted_and_named(fitted):
    gaps = X.copy()
    gaps[[5, 9], 2, 11] = np.nan
    message = "2 of 300 rows .* the first is event 5, trace 2, sample 11"
    with pytest.raises(ValueError, match=f"contains NaN: {message}"):
        small().fit(gaps, y)
    gaps[gaps != gaps] = np.inf
    with pytest.raises(ValueError, match=f"contains infinity: {message}"):
        fitted.predict(gaps)


@pytest.mark.parametrize("model", [PulseLocator(**SMALL, max_epochs=1), MatchedFilterLocator()])
def test_both_axes_are_checked_when_predicting(model):
    model = clone(model).fit(X, y)
    expected = r"fitted on events of shape \(n_traces=3, n_times=40\)"
    for wrong in (X[:, :2], X[:, :, :39], np.concatenate([X, X], axis=1), X[:, 0], X[:, 0, :39]):
        for method in (model.predict, model.predict_distribution):
            with pytest.raises(ValueError, match=expected):
                method(wrong)
    flat = clone(model).fit(X[:, 0], y)
    with pytest.raises(ValueError, match="expecting 40 features"):
        flat.predict(X[:, 0, :39])
    with pytest.raises(ValueError, match=r"fitted on events of shape \(n_times=40,?\)"):
        flat.predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel_size": 4}, "kernel_size=4 must be odd"),
        ({"architecture": "reference", "sub_bin": True}, "predicts whole bins"),
        ({"architecture": "reference"}, "no trace_channels"),
        ({"architecture": "reference", "missing": "mask"}, "no missing samples"),
        ({"estimate": "best"}, "estimate"),
        ({"permute_traces": "sometimes"}, "permute_traces"),
        ({"out_of_range": "ignore"}, "out_of_range"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    locator = small(**parameters)
    with pytest.raises(ValueError, match=message):
        locator.fit(X, y)
    assert not [name for name in vars(locator) if name.endswith("_")]


@pytest.mark.parametrize("shape", [(0, 3, 10), (4, 0, 10), (4, 3, 0), (4, 3, 10, 2)])
def test_events_without_samples_are_refused(shape):
    with pytest.raises(ValueError, match="Found array with"):
        small().fit(np.zeros(shape), np.zeros(shape[0]))


def test_a_position_for_each_event_is_needed(fitted):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small().fit(X, y[:-1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        small().fit(X, None)
    with pytest.raises(ValueError, match="y contains NaN"):
        small().fit(X, np.full(300, np.nan))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.predict_cdf(X, y[:-1])


def test_before_and_behind_all_samples_the_cdf_is_zero_and_one(fitted):
    for locator in (fitted, small(sub_bin=True).fit(X, y)):
        assert np.allclose(locator.predict_cdf(X, np.full(300, -50.0)), 0.0, atol=1e-6)
        assert np.allclose(locator.predict_cdf(X, np.full(300, 90.0)), 1.0, atol=1e-5)
        for estimate in ("mode", "mean", "median"):
            position = locator.set_params(estimate=estimate).predict(X)
            assert ((position >= 0.0) & (position <= 39.0)).all()
        locator.set_params(estimate="mode")


def test_noise_is_for_training_only():
    noisy = small(noise=NoiseInjector("gaussian", sigma=0.5, relative_to=None)).fit(X, y)
    assert not torch.equal(weights_of(noisy), weights_of(small().fit(X, y)))
    assert np.array_equal(noisy.predict(X), noisy.predict(X))


# -- without training ----------------------------------------------------------------------------


def test_the_matched_filter_is_the_maximum_likelihood_of_one_pulse_in_white_noise():
    X, y = make_pulses(400, noise_sigma=0.5, n_traces=1, random_state=0, **CLEAN)
    sigma = 0.02 * 39
    locator = MatchedFilterLocator(width=sigma, remove_baseline=False).fit(X)
    t = np.arange(40)
    shapes = np.exp(-0.5 * ((t - t[:, np.newaxis]) / sigma) ** 2)
    likeliest = (X[:, 0] @ shapes.T).argmax(axis=1)
    assert np.array_equal(locator.predict(X), likeliest)
    fine = MatchedFilterLocator(width=sigma, remove_baseline=False, sub_bin=True).fit(X).predict(X)
    bound = 0.5 / np.sqrt(25.0 * np.sqrt(np.pi) / (2.0 * sigma))
    assert np.std(fine - y) < 1.2 * bound


def test_the_matched_filter_does_not_see_constants_and_slopes():
    locator = MatchedFilterLocator().fit(X)
    tilted = X.astype(np.float64) + 7.0 + 0.5 * np.arange(40)
    inner = slice(10, -10)  # at the ends a slope stops
    plain, same = (locator._log_product(x)[:, inner] for x in (X.astype(np.float64), tilted))
    np.testing.assert_allclose(same, plain, atol=1e-6)


@pytest.mark.parametrize("size", [7, 8])
def test_a_template_is_found_at_its_middle(size):
    shape = np.exp(-np.arange(size) / 2.0)
    X = np.zeros((30, 2, 60))
    y = np.arange(10, 40)
    for event, position in zip(X, y, strict=True):
        event[:, position - size // 2 : position - size // 2 + size] = shape
    locator = MatchedFilterLocator(template=shape, remove_baseline=False).fit(X)
    assert np.array_equal(locator.predict(X), y)


def test_a_template_without_shape_is_refused_and_the_fit_before_kept():
    locator = MatchedFilterLocator().fit(X)
    expected = locator.predict(X)
    for template, message in (
        (np.zeros(5), "template has no shape"),
        (np.ones((3, 5)), "1d array"),
    ):
        with pytest.raises(ValueError, match=message):
            locator.set_params(template=template).fit(X[:, :, :30])
        assert np.array_equal(locator.predict(X), expected)


def test_the_product_of_responses_orders_positions():
    locator = MatchedFilterLocator(width=0.5).fit(X, y)
    distribution = locator.predict_distribution(X)
    np.testing.assert_allclose(distribution.sum(axis=1), 1.0)
    position, std = locator.predict(X, return_std=True)
    assert np.array_equal(distribution.argmax(axis=1), position)
    assert (std >= 0.0).all()
    assert locator.score(X, y) > 0.8
