"""PulseLocator(absent="learn"): events without a pulse, and how probable it is that there is one."""

from functools import partial

import numpy as np
import pytest
import torch
from fits import weights_of
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV

import skae
from skae import PulseLocator
from skae.datasets import make_pulses
from skae.exceptions import IgnoredParameterWarning
from skae.metrics import position_accuracy, position_rmse
from skae.modules.pulses.positions import BinDistribution, MixtureDistribution

WEAK = {"n_times": 40, "width": 2.0, "baseline": False, "background_rate": 0.0, "noise_sigma": 2.5}
small = partial(
    PulseLocator, trace_channels=6, n_channels=8, absent="learn", max_epochs=10, random_state=0
)
X, y = make_pulses(1500, empty_fraction=0.4, random_state=0, **WEAK)
NEW, TRUTH = make_pulses(4000, empty_fraction=0.4, random_state=1, **WEAK)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, y)


def likelihood_ratio(X):
    """Return the exact logarithm: one pulse of known shape in white noise, anywhere it may be."""
    t, positions = np.arange(40), np.linspace(0.05 * 39, 0.95 * 39, 400)
    shapes = 5.0 * np.exp(-0.5 * ((t - positions[:, np.newaxis]) / 2.0) ** 2)
    exponents = X.sum(axis=1) @ shapes.T - 1.5 * (shapes**2).sum(axis=1)
    return np.log(np.exp(exponents / 2.5**2).mean(axis=1))


# -- presence ------------------------------------------------------------------------------------


def test_presence_orders_events_nearly_as_the_exact_likelihood_ratio(fitted):
    is_there = ~np.isnan(TRUTH)
    found = roc_auc_score(is_there, fitted.predict_presence(NEW))
    best = roc_auc_score(is_there, likelihood_ratio(NEW))
    assert best - 0.03 < found < best + 0.01


def test_presence_is_as_probable_as_it_is_often_there(fitted):
    p = fitted.predict_presence(NEW)
    assert p.shape == (4000,)
    assert abs(p.mean() - np.mean(~np.isnan(TRUTH))) < 0.03
    assert calibration_error(p, ~np.isnan(TRUTH)) < 0.05


def calibration_error(p, is_there, bins=10):
    index = np.minimum((p * bins).astype(int), bins - 1)
    return sum(
        abs(p[index == k].mean() - is_there[index == k].mean()) * np.mean(index == k)
        for k in np.unique(index)
    )


def test_another_share_of_empty_events_changes_the_odds_alone(fitted):
    before = fitted.empty_fraction_
    assert before == np.isnan(y).mean()
    p, rare = fitted.predict_presence(NEW), fitted.predict_presence(NEW, empty_fraction=0.9)
    ratio = rare / (1.0 - rare) / (p / (1.0 - p))
    expected = 0.1 / 0.9 * before / (1.0 - before)
    unsure = (p > 1e-3) & (p < 0.999)  # elsewhere one minus it has few digits
    assert unsure.sum() > 1000
    np.testing.assert_allclose(ratio[unsure], expected, rtol=1e-3)
    same = fitted.predict_presence(NEW, empty_fraction=before)
    np.testing.assert_allclose(same, p, rtol=1e-6)
    few, truth = make_pulses(4000, empty_fraction=0.9, random_state=2, **WEAK)
    told = fitted.predict_presence(few, empty_fraction=0.9)
    assert abs(told.mean() - np.mean(~np.isnan(truth))) < 0.03
    for wrong in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="empty_fraction"):
            fitted.predict_presence(NEW, empty_fraction=wrong)


@pytest.mark.parametrize("law", [BinDistribution, MixtureDistribution])
def test_the_loss_is_that_of_presence_and_of_the_position_given_it(law):
    torch.manual_seed(0)
    output = torch.randn(6, law.n_outputs, 30)
    target = torch.tensor([3.0, 7.5, float("nan"), 29.0, float("nan"), 0.0])
    there = ~target.isnan()
    learnt, told = law(absent=True), law()
    p = torch.sigmoid(learnt.log_odds(output))
    expected = torch.where(there, -p.log(), -(1.0 - p).log())
    expected[there] += told(output[there], target[there])
    torch.testing.assert_close(learnt(output, target), expected)
    # the mean of what the first outputs are exponents of
    torch.testing.assert_close(p / (1 - p), output[:, 0].exp().mean(dim=1))


def test_gradients_of_empty_events_are_finite():
    output = torch.randn(4, 3, 30, requires_grad=True)
    target = torch.tensor([float("nan"), 1.0, 2.5, float("nan")])
    MixtureDistribution(absent=True)(output, target).sum().backward()
    assert torch.isfinite(output.grad).all()
    assert (output.grad[0, 1:] == 0.0).all()


# -- positions, given that there is a pulse ---------------------------------------------------------


def test_scores_leave_empty_events_out(fitted):
    is_there = ~np.isnan(TRUTH)
    position = fitted.predict(NEW)
    assert np.isfinite(position).all()
    weight = np.random.default_rng(0).uniform(size=4000)
    assert fitted.score(NEW, TRUTH) == r2_score(TRUTH[is_there], position[is_there])
    assert fitted.score(NEW, TRUTH, weight) == pytest.approx(
        r2_score(TRUTH[is_there], position[is_there], sample_weight=weight[is_there])
    )
    for metric in (position_accuracy, position_rmse):
        assert metric(TRUTH, position) == metric(TRUTH[is_there], position[is_there])
        found = metric(TRUTH, position, sample_weight=weight)
        expected = metric(TRUTH[is_there], position[is_there], sample_weight=weight[is_there])
        assert found == pytest.approx(expected)
        with pytest.raises(ValueError, match="NaN in all events"):
            metric(np.full(4000, np.nan), position)
    before = fitted.predict_cdf(NEW, TRUTH)
    assert np.array_equal(np.isnan(before), ~is_there)
    np.testing.assert_allclose(fitted.predict_distribution(NEW).sum(axis=1), 1.0, atol=1e-5)


def test_searches_and_early_stopping_take_empty_events():
    search = GridSearchCV(small(max_epochs=2), {"lr": [1e-3, 1e-2]}, cv=2).fit(X[:400], y[:400])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    stopped = small(max_epochs=2, early_stopping=True).fit(X, y)
    assert np.isfinite(stopped.history_[:, "valid_loss"]).all()


def test_fractional_labels_are_times_whether_or_not_there_are_empty_events():
    fine, t = make_pulses(300, empty_fraction=0.3, sub_bin=True, random_state=0, **WEAK)
    assert small(max_epochs=1).fit(fine, t).sub_bin_
    assert not small(max_epochs=1).fit(X, y).sub_bin_


def test_the_share_of_empty_events_is_weighed_and_adds_up_over_chunks():
    weight = np.where(np.isnan(y), 3.0, 1.0)
    empty = np.isnan(y).sum()
    model = small(max_epochs=1).fit(X, y, weight)
    assert model.empty_fraction_ == pytest.approx(3 * empty / (3 * empty + 1500 - empty))
    model.fit(X, y)
    assert model.empty_fraction_ == empty / 1500
    chunks = small().partial_fit(X[:500], y[:500]).partial_fit(X[500:], y[500:])
    assert chunks.empty_fraction_ == empty / 1500


def test_presence_is_exported_saved_and_loaded(fitted, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    expected = fitted.predict_presence(NEW[:50])
    graph = skae.export.to_onnx(fitted, method="predict_presence")
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    np.testing.assert_allclose(session.run(None, {"X": NEW[:50]})[0], expected, atol=1e-5)
    skae.save(fitted, tmp_path / "presence.skae")
    again = skae.load(tmp_path / "presence.skae")
    np.testing.assert_array_equal(again.predict_presence(NEW[:50]), expected)
    np.testing.assert_array_equal(
        again.predict_presence(NEW[:50], 0.9), fitted.predict_presence(NEW[:50], 0.9)
    )


# -- what is wrong -------------------------------------------------------------------------------


def test_nan_is_an_error_where_it_was_not_asked_for():
    with pytest.raises(ValueError, match=r"y contains NaN.*absent='learn'"):
        small(absent="raise").fit(X, y)
    told = small(absent="raise", max_epochs=1).fit(X[~np.isnan(y)], y[~np.isnan(y)])
    with pytest.raises(ValueError, match="fitted with absent='raise'"):
        told.predict_presence(X)
    assert not hasattr(told, "empty_fraction_")


def test_what_a_network_knows_is_what_it_was_fitted_to():
    full = ~np.isnan(y)
    told = small(absent="raise", max_epochs=1).fit(X[full], y[full])
    told.set_params(absent="learn", missing="mask")
    for ask in (told.predict_presence, told.predict_pulses):
        with pytest.raises(ValueError, match="fitted with absent='raise'"):
            ask(X)
    gaps = X.copy()
    gaps[:, :, 30:] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        told.predict(gaps)


def test_events_of_one_kind_alone_are_refused_or_warned_of():
    with pytest.raises(ValueError, match="NaN in all 1500 events"):
        small().fit(X, np.full(1500, np.nan))
    full = ~np.isnan(y)
    with pytest.warns(IgnoredParameterWarning, match="no y is NaN"):
        model = small(max_epochs=1).fit(X[full], y[full])
    with pytest.raises(ValueError, match="there were none"):
        model.predict_presence(X, empty_fraction=0.5)


def test_a_fit_without_empty_events_is_unchanged_by_their_being_allowed(fitted):
    full = ~np.isnan(y)
    plain = small(absent="raise", max_epochs=1).fit(X[full], y[full])
    again = small(absent="raise", max_epochs=1).fit(X[full], y[full])
    assert torch.equal(weights_of(plain), weights_of(again))
    with pytest.raises(ValueError, match="absent='learn', but the network"):
        plain.set_params(absent="learn", warm_start=True).fit(X, y)


@pytest.mark.filterwarnings("error")
def test_pulses_that_are_not_told_from_noise_are_warned_of():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(600, 3, 40))
    labels = np.where(rng.uniform(size=600) < 0.5, np.nan, rng.integers(0, 40, size=600))
    with pytest.raises(skae.exceptions.PoorFitWarning, match="hardly told apart"):
        small(max_epochs=1, lr=1e-6).fit(noise, labels)
