"""MultiResRNNRegressor: resolutions without bias, no seams, and long sequences learnt."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from fits import weights_of
from sklearn.base import clone

from skae import MultiResRNNRegressor, NoiseInjector
from skae.datasets import make_photon_correlations
from skae.modules.sequences.units import ResolutionLoss

small = partial(
    MultiResRNNRegressor, downsampling=(4, 4), hidden_size=8, max_epochs=2, random_state=0
)


def walks(n=24, n_times=50, n_channels=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, n_times) if n_channels is None else (n, n_channels, n_times)
    X = rng.normal(size=shape).cumsum(axis=-1)
    return X, X if n_channels is None else X.mean(axis=1)


@pytest.fixture(name="X")
def rows():
    return walks()[0]


@pytest.fixture(scope="module")
def correlations():
    """A fit on simulated correlations, and others with noise."""
    train = make_photon_correlations(300, n_times=512, random_state=0)
    test = make_photon_correlations(100, n_times=512, random_state=1)
    noise = NoiseInjector({"poisson": 0.95, "gaussian": 0.05}, counts=(1, 1000))
    model = MultiResRNNRegressor(noise=noise, max_epochs=12, hidden_size=16, random_state=0)
    return model.fit(train.clean, train.clean), test


# -- what it learns --------------------------------------------------------------------------------


def test_it_cleans_correlations_better_than_smoothing_could(correlations):
    from scipy.signal import savgol_filter

    model, test = correlations
    error = np.square(model.predict(test.noisy) - test.clean).mean()
    smoothed = [savgol_filter(test.noisy, w, 2, axis=1) for w in (5, 7, 9, 11, 15, 21)]
    assert error < 0.5 * min(np.square(s - test.clean).mean() for s in smoothed)
    assert 1.0 - error / test.clean.var() > 0.9


def test_all_resolutions_are_averages_of_the_truth(correlations):
    model, test = correlations
    levels = model.predict_resolutions(test.noisy)
    assert [level.shape for level in levels] == [(100, 8), (100, 64), (100, 512)]
    assert model.n_levels_ == 3  # a coarsest level of one step would leave nothing to run over
    np.testing.assert_array_equal(levels[-1], model.predict(test.noisy))
    for level in levels[:-1]:
        truth = test.clean.reshape(100, level.shape[1], -1).mean(axis=2)
        assert 1.0 - np.square(level - truth).mean() / truth.var() > 0.85


def test_no_seams_between_windows(correlations):
    """Steps of the error across seams are no larger than a few tenths more than those elsewhere."""
    model, test = correlations
    place = np.arange(511)
    cusps = np.abs(test.tau[:, None] - np.array([-1.0, 0.0, 1.0])).min(axis=1)[1:] < 0.05
    steps = np.square(np.diff(model.predict(test.noisy) - test.clean, axis=1))
    across = steps[:, ~cusps & (place % 8 == 7)].mean()
    within = steps[:, ~cusps & (place % 8 != 7)].mean()
    assert across < 2.0 * within


def test_a_vector_is_read_from_sequences():
    rng = np.random.default_rng(0)
    y = rng.uniform(size=(400, 2))
    t = np.linspace(0.0, 1.0, 100)
    X = y[:, :1] * np.sin(2.0 * np.pi * 3.0 * t) + y[:, 1:] * t
    X += 0.05 * rng.standard_normal(X.shape)
    model = MultiResRNNRegressor(hidden_size=16, max_epochs=30, random_state=0).fit(
        X[:300], y[:300]
    )
    assert model.output_ == "vector"
    assert model.score(X[300:], y[300:]) > 0.98
    with pytest.raises(ValueError, match="Only sequences have resolutions"):
        model.predict_resolutions(X)
    one = clone(model).set_params(max_epochs=1).fit(X, y[:, 0])
    assert one.predict(X).shape == (400,)


def test_counts_are_predicted_from_counts():
    """Trained on noisy targets alone, a Poisson loss finds the rates."""
    rng = np.random.default_rng(0)
    rate = 5.0 + 4.0 * np.sin(2 * np.pi * (np.arange(128) / 32.0 + rng.uniform(size=(300, 1))))
    X, y = (rng.poisson(rate).astype(float) for _ in range(2))
    options = {"hidden_size": 16, "max_epochs": 15, "random_state": 0}
    model = MultiResRNNRegressor(loss="poisson", **options).fit(X, y)
    rates = model.predict(X)
    assert (rates > 0.0).all()
    assert np.square(rates - rate).mean() < 0.15 * np.square(X - rate).mean()


def test_positive_outputs(X):
    y = np.abs(X) * (np.abs(X) > 2.0)
    plain = small().fit(X, y).predict(X)
    positive = small(positive=True).fit(X, y).predict(X)
    assert plain.min() < 0.0 < positive.min()


# -- resolutions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_times", [1, 2, 3, 7, 8, 9, 31, 32, 33, 50, 63])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_any_length(n_times, cell):
    X, y = walks(n_times=n_times)
    model = small(cell=cell).fit(X, y)
    assert model.predict(X).shape == X.shape
    sizes = [len(times) for times in model.level_times_]
    assert len(sizes) == model.n_levels_ == len(model.predict_resolutions(X))
    assert sizes[-1] == n_times
    assert all(coarse == -(-fine // 4) for coarse, fine in pairwise(sizes))
    assert sizes[0] >= 2 or n_times == 1


def test_levels_that_do_not_fit_are_left_out(X):
    for downsampling, n_levels in [((8, 8, 8), 2), ((4, 4), 3), ((100,), 1), ((), 1), ((2, 25), 2)]:
        assert small(downsampling=downsampling).fit(X, X).n_levels_ == n_levels


def test_a_last_window_that_is_not_full_has_no_bias(X):
    model = small().fit(X, X)
    resolutions = model.module_.resolutions
    levels = resolutions.all_of(torch.from_numpy(X[:, :, None]).float())
    np.testing.assert_allclose(levels[1][:, -1, 0], X[:, 48:].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(levels[2][:, -1, 0], X[:, 48:].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(levels[2][:, 0, 0], X[:, :16].mean(axis=1), rtol=1e-5)
    flat = resolutions.all_of(torch.ones(1, 50, 1))
    assert all(torch.allclose(level, torch.ones(())) for level in flat)


def test_averages_are_weighted_by_the_widths_of_bins(X):
    times = np.geomspace(1.0, 1e6, 50)
    model = small(times=times).fit(X, X)
    widths = np.gradient(times)
    levels = model.module_.resolutions.all_of(torch.from_numpy(X[:, :, None]).float())
    expected = (X * widths)[:, :16].sum(axis=1) / widths[:16].sum()
    np.testing.assert_allclose(levels[2][:, 0, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(model.level_times_[-1], times)
    np.testing.assert_allclose(
        model.level_times_[0][0], (times * widths)[:16].sum() / widths[:16].sum()
    )
    other = small().fit(X, X)
    assert not np.allclose(model.predict(X), other.predict(X))


def test_interpolation_between_levels_is_exact_for_straight_lines():
    model = small().fit(*walks(n_times=48))
    resolutions = model.module_.resolutions
    for level, factor in enumerate(resolutions.factors):
        size = resolutions.sizes[level + 1]
        middles = (torch.arange(size) + 0.5) * factor
        fine = resolutions.refine(middles[None, :, None], level).flatten()
        places = torch.arange(size * factor) + 0.5
        inner = slice(factor // 2, -(factor // 2))
        torch.testing.assert_close(fine[inner], places[inner])


def test_level_weights_choose_what_is_learnt(X):
    coarse = small(max_epochs=5, level_weights=(1.0, 0.0, 1e-9)).fit(X, X)
    fine = small(max_epochs=5, level_weights=0.0).fit(X, X)

    def error(model, level):
        truth = coarse.module_.resolutions.all_of(torch.from_numpy(X[:, :, None]).float())
        truth = truth[::-1][level][..., 0].numpy()
        return np.square(model.predict_resolutions(X)[level] - truth).mean()

    assert error(coarse, 0) < error(fine, 0)
    assert error(fine, 2) < error(coarse, 2)


def test_the_loss_is_one_for_the_mean_row():
    X, _ = walks(200)
    model = small(level_weights=0.0).fit(X, X)
    criterion = model.net_.criterion_
    target = torch.from_numpy((X - model.target_center_) / model.target_scale_).float()
    mean = target.mean(dim=0).expand_as(target)
    levels = criterion.resolutions.all_of(mean[:, :, None])
    loss = criterion([level[..., 0] for level in levels], target).mean()
    assert loss.item() == pytest.approx(1.0, abs=1e-4)


def test_the_loss_of_counts_is_about_one_for_the_mean_row():
    rng = np.random.default_rng(0)
    X = rng.poisson(100.0 * rng.uniform(0.9, 1.1, size=(500, 1)) * np.ones(50)).astype(float)
    model = small(loss="poisson", level_weights=0.0).fit(X, X)
    criterion = model.net_.criterion_
    target = torch.from_numpy(X).float()
    levels = criterion.resolutions.all_of(target.mean(dim=0).expand_as(target)[:, :, None])
    loss = criterion([level[..., 0] for level in levels], target)
    assert loss.mean().item() == pytest.approx(1.0, abs=0.05)


def test_positive_predictions_have_a_logarithm(X):
    model = small(max_epochs=20, lr=0.05, loss="poisson").fit(X, 1000.0 * (X > 0))
    assert model.predict(100.0 * X).min() > 0.0


def test_times_of_levels_are_exact_for_large_times(X):
    rng = np.random.default_rng(0)
    times = 1.7e9 + rng.uniform(0.5, 1.5, size=50).cumsum()
    model = small(times=times).fit(X, X)
    widths = np.gradient(times)
    for i, edges in enumerate(model.level_edges_):
        factor = 4 ** (2 - i)
        assert (np.diff(edges) > 0).all()
        starts = range(0, 50, factor)
        mean = [
            np.average(times[s : s + factor] - times[0], weights=widths[s : s + factor])
            for s in starts
        ]
        np.testing.assert_allclose(model.level_times_[i] - times[0], mean, atol=1e-5)
        assert (model.level_times_[i] > edges[:-1]).all()
        assert (model.level_times_[i] < edges[1:]).all()


def test_sizes_of_levels(X):
    doubled = small().fit(X, X).module_.descent.widths
    assert doubled == [8, 16, 32]
    given = small(hidden_size=(12, 6, 4)).fit(X, X)
    assert given.module_.descent.widths == [4, 6, 12]


# -- the same claims as of tables, for channels ----------------------------------------------------


@pytest.mark.slow
def test_channels_are_used():
    X, _ = walks(200, 40, 3)
    y = X[:, 1] - X[:, 2]
    model = small(max_epochs=40).fit(X, y)
    assert model.row_shape_ == (3, 40)
    assert model.n_features_in_ == 40
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("n_channels", [None, 2])
def test_weights_of_zero_leave_rows_out(n_channels):
    X, y = walks(32, 40, n_channels)
    weight = np.repeat([1.0, 0.0], 16)
    spoilt = np.where(weight.reshape(-1, *[1] * (y.ndim - 1)) > 0, y, 1e3)
    model = small(batch_size=32, max_epochs=8).fit(X, spoilt, sample_weight=weight)
    assert np.abs(model.predict(X)).max() < 100.0


def test_a_warm_start_keeps_the_shape_of_targets(X):
    warm = small(warm_start=True).fit(X, X)
    with pytest.raises(ValueError, match="y has targets of shape"):
        warm.fit(X, X[:, 0])


def test_a_fit_that_is_refused_and_new_parameters_leave_the_fitted_one_alone(X):
    model = small().fit(X, X)
    expected = model.predict_resolutions(X)
    model.set_params(downsampling=(5,), times=np.arange(50.0) ** 2)
    with pytest.raises(ValueError, match="times has shape"):
        model.fit(X[:, :40], X[:, 0])
    levels = model.predict_resolutions(X)
    for level, times, before in zip(levels, model.level_times_, expected, strict=True):
        np.testing.assert_array_equal(level, before)
        assert times.shape == level.shape[1:]


def test_noise_corrupts_inputs_and_not_targets(X, monkeypatch):
    options = {"batch_size": len(X), "max_epochs": 1}
    quiet = small(**options).fit(X, X)
    targets, criterion = [], ResolutionLoss.forward

    def watched(self, output, target):
        targets.append(target)
        return criterion(self, output, target)

    monkeypatch.setattr(ResolutionLoss, "forward", watched)
    noisy = small(**options, noise=lambda batch, generator: batch + 1e3).fit(X, X)
    assert len(targets) == 1
    back = targets[0].numpy() * noisy.target_scale_ + noisy.target_center_
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(X, axis=0), atol=1e-4)
    assert not torch.equal(weights_of(quiet), weights_of(noisy))


def test_rows_go_through_in_pieces_to_the_same_loss(X, monkeypatch):
    from skae.modules.sequences import networks as multires

    whole = small().fit(X, X)
    monkeypatch.setattr(multires, "_NUMBERS_AT_ONCE", 50 * 8 * 3)
    pieces = small().fit(X, X)
    np.testing.assert_allclose(pieces.predict(X), whole.predict(X), atol=1e-4)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": np.arange(50.0)[::-1]}, "times must increase"),
        ({"times": np.r_[0.0, 0.0, np.arange(48.0)]}, "times must rise or fall throughout"),
        ({"times": np.arange(49.0)}, "times has shape"),
        ({"downsampling": (4, 1)}, "integers of 2 or more"),
        ({"downsampling": (4, 2.5)}, "integers of 2 or more"),
        ({"hidden_size": 7}, "must be even"),
        ({"hidden_size": (8, 8)}, "have 3 of them"),
        ({"level_weights": (1.0, 1.0)}, "one for each of 3 levels"),
        ({"level_weights": (1.0, -1.0, 1.0)}, "none may be negative"),
        ({"level_weights": (1.0, 1.0, 0.0)}, "last one must be positive"),
        ({"level_weights": (np.nan, 1.0, 1.0)}, "none may be negative"),
        ({"output": "sequence", "loss": "poisson"}, "loss='poisson' needs y of 0 or more"),
    ],
)
def test_bad_parameters_are_named_before_training(options, message, X):
    with pytest.raises(ValueError, match=message):
        small(**options).fit(X, X)


def test_targets_of_the_wrong_length(X):
    model = small(output="sequence")
    with pytest.raises(ValueError, match="needs a number for each of the 50 times"):
        model.fit(X, X[:, :40])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, X[:10])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="y has shape"):
        model.fit(X, X[:, None])


def test_swapped_axes_are_named_where_targets_tell():
    X, y = walks(24, 40, 2)
    swapped = X.transpose(0, 2, 1)
    with pytest.raises(ValueError, match=r"each of 40 channels .*pass X.transpose\(0, 2, 1\)"):
        small().fit(swapped, y)
    with pytest.raises(ValueError, match=r"shape \(24, 2\).*pass X.transpose\(0, 2, 1\)"):
        small(output="sequence").fit(swapped, y)
    model = small(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"n_times=2\).*pass X.transpose\(0, 2, 1\)"):
        model.predict(swapped)


def test_the_channels_of_one_row_are_no_rows():
    X, y = walks(24, 40, 2)
    with pytest.raises(ValueError, match=r"y is for one row, but X has 2\. .*X\[np.newaxis\]"):
        small().fit(X[0], y[:1])
    model = small(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"a single row, pass X\[np.newaxis\]"):
        model.predict(X[0])


def test_rows_of_another_shape_are_refused():
    X, y = walks(24, 40, 2)
    model = small().fit(X, y)
    with pytest.raises(ValueError, match=r"n_channels=2, n_times=40"):
        model.predict(X[:, :1])
    X[3, 1, 7] = np.nan
    with pytest.raises(ValueError, match="row 3, channel 1, time 7"):
        model.predict(X)
