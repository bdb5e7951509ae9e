"""Separation power of histograms, and classifiers that tell samples apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skae.metrics import classifier_two_sample_test, separation, separation_power
from skae.metrics.separation import _network, _weighted_auc


def test_separation_power_by_hand():
    assert separation_power([0.1, 0.6], [0.2, 0.7], bins=2, range=(0, 1)) == 0.0
    assert separation_power([0.1], [0.9], bins=2, range=(0, 1)) == 1.0
    # shares (¾, ¼) and (¼, ¾): ½ (¼ + ¼)
    real, generated = [0.1, 0.2, 0.3, 0.9], [0.1, 0.6, 0.7, 0.8]
    assert separation_power(real, generated, bins=2, range=(0, 1)) == pytest.approx(0.25)
    assert separation_power(real, generated, bins=[0.0, 0.5, 1.0]) == pytest.approx(0.25)
    weights = ([1, 1, 1, 9], None)  # (¼, ¾) now
    power = separation_power(real, generated, bins=2, range=(0, 1), sample_weight=weights)
    assert power == pytest.approx(0.0)


def test_a_value_of_weight_0_is_as_none():
    real, generated = [0.1, 0.2, 0.3, 0.9], [0.1, 0.6, 0.7, 0.8]
    weight = ([1.0, 1.0, 1.0, 1.0, 0.0], None)
    expected = separation_power(real, generated, bins=5)
    assert separation_power([*real, 1e3], generated, bins=5, sample_weight=weight) == expected


def test_values_outside_count_for_the_bins_at_the_edge():
    assert separation_power([-5.0, 0.1], [0.2, 7.0], bins=2, range=(0, 1)) == pytest.approx(1 / 3)
    expected = 0.5 * (0.25 / 1.5 + 0.25 / 0.5)
    assert separation_power([0.5, 0.5], [0.5, 9.0]) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(
    first=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    second=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    bins=st.integers(1, 20),
)
def test_separation_power_is_symmetric_and_between_0_and_1(first, second, bins):
    power = separation_power(first, second, bins=bins, range=(-5, 5))
    assert 0.0 <= power <= 1.0
    assert power == pytest.approx(separation_power(second, first, bins=bins, range=(-5, 5)))
    assert separation_power(first, first, bins=bins) == 0.0


def test_separation_power_of_one_distribution_is_as_stated(rng):
    n, bins = 2000, 100
    powers = [
        separation_power(rng.uniform(size=n), rng.uniform(size=n), bins=bins, range=(0, 1))
        for _ in range(50)
    ]
    assert np.mean(powers) == pytest.approx((bins - 1) / (2 * n), rel=0.05)


@pytest.mark.parametrize(
    "arguments", [{"bins": [0.0]}, {"bins": [0.0, 0.0]}, {"range": (1, 0)}, {"bins": [[0.0, 1.0]]}]
)
def test_bins_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="edges that increase"):
        separation_power([0.1, 0.2], [0.1], **arguments)


def test_auc_of_shifted_gaussians(rng):
    """Φ(δ/√2) for means that are δ apart along one axis; the default finds it as the linear one."""
    real, generated = rng.normal(size=(1500, 3)), rng.normal(size=(1500, 3))
    generated[:, 1] += 1.0
    for classifier in (None, LogisticRegression(), LinearSVC(), HistGradientBoostingClassifier()):
        options = {"classifier": classifier, "random_state": 0}
        auc, error = classifier_two_sample_test(real, generated, **options)
        assert 0.01 < error < 0.03
        assert auc == pytest.approx(ndtr(1 / np.sqrt(2)), abs=4 * error)


def test_one_distribution_cannot_be_told_apart_and_a_mixture_hides_from_a_line():
    rng = np.random.default_rng(1)
    real, same = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    auc, error = classifier_two_sample_test(real, same, random_state=0)
    assert auc == pytest.approx(0.5, abs=4 * error)
    narrow = 0.4 * same
    linear, error = classifier_two_sample_test(
        real, narrow, classifier=LogisticRegression(), random_state=0
    )
    assert linear == pytest.approx(0.5, abs=5 * error)
    assert classifier_two_sample_test(real, narrow, random_state=0).auc > 0.8


def test_weighted_auc_is_scikit_learns_and_its_error_is_that_of_repeats():
    rng = np.random.default_rng(2)
    y, score = rng.integers(2, size=500), rng.integers(20, size=500) / 20.0  # with ties
    weight = rng.uniform(0.1, 2.0, size=500)
    found = _weighted_auc(y, score + 0.3 * y, weight)
    expected = roc_auc_score(y, score + 0.3 * y, sample_weight=weight)
    assert found.auc == pytest.approx(expected, rel=1e-12)
    repeats = []
    for _ in range(400):
        y, noise = np.repeat([0, 1], 200), rng.normal(size=400)
        repeats.append(_weighted_auc(y, noise + 0.8 * y, rng.exponential(size=400)))
    aucs, errors = np.transpose(repeats)
    assert errors.mean() == pytest.approx(aucs.std(), rel=0.15)


@pytest.mark.parametrize(
    "classifier",
    [None, LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())],
)
def test_weights_reach_the_classifier_and_its_score(classifier):
    rng = np.random.default_rng(3)
    real, generated = rng.normal(0.7, 1.0, size=(400, 1)), rng.normal(size=(400, 1))
    weight = np.exp(0.7 * generated[:, 0] - 0.245)  # N(0.7, 1) / N(0, 1)
    options = {"classifier": classifier, "random_state": 0}
    plain = classifier_two_sample_test(real, generated, **options)
    weighted = classifier_two_sample_test(real, generated, sample_weight=(None, weight), **options)
    assert plain.auc == pytest.approx(ndtr(0.7 / np.sqrt(2)), abs=4 * plain.error)
    assert weighted.auc == pytest.approx(0.5, abs=4 * weighted.error)


def test_the_challenges_classifier_is_as_its_code_has_it():
    """An input layer and --cls_n_layer=2 more of --cls_n_hidden=2048, and its defaults of the rest."""
    network = _network("calochallenge", np.random.RandomState(0), n_samples=160_000)
    assert isinstance(network, MLPClassifier)  # alone: columns are not standardised there
    expected = {
        "hidden_layer_sizes": (2048, 2048, 2048),
        "activation": "relu",
        "solver": "adam",
        "alpha": 0.0,
        "batch_size": 1000,
        "learning_rate_init": 2e-4,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "shuffle": True,
        "max_iter": 50,
        "early_stopping": True,  # keeps the epoch of the best accuracy
        "n_iter_no_change": 50,  # and runs all of them
    }
    params = network.get_params()
    assert {name: params[name] for name in expected} == expected
    validation = params["validation_fraction"] * 0.8  # of what test_size=0.2 leaves
    assert validation == pytest.approx(0.2)


def test_a_classifier_by_name_is_trained_and_repeats(monkeypatch):
    small = {**separation._CALOCHALLENGE, "hidden_layer_sizes": (32, 32, 32)}
    monkeypatch.setattr(separation, "_CALOCHALLENGE", small)
    monkeypatch.setitem(separation._TRAINING, "learning_rate_init", 1e-2)
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(500, 2)), rng.normal([1.0, 0.0], size=(500, 2))
    options = {"classifier": "calochallenge", "random_state": 0}
    auc, error = classifier_two_sample_test(real, generated, **options)
    assert auc == pytest.approx(ndtr(1 / np.sqrt(2)), abs=4 * error)
    assert classifier_two_sample_test(real, generated, **options).auc == auc


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"'classifier' parameter .* \{'calochallenge'\}"):
        classifier_two_sample_test(np.eye(12), np.eye(12), classifier="CaloChallenge")
    with pytest.raises(ValueError, match="real has 3 features and generated 2"):
        classifier_two_sample_test(np.eye(3), np.ones((3, 2)))
    with pytest.raises(ValueError, match="test_size"):
        classifier_two_sample_test(np.eye(3), np.eye(3), test_size=1.0)
    with pytest.raises(ValueError, match="real has 3 rows and generated 12"):
        classifier_two_sample_test(np.eye(3), np.ones((12, 3)))
    with pytest.raises(TypeError, match="neither predict_proba nor decision_function"):
        classifier_two_sample_test(np.ones((12, 3)), np.ones((12, 3)), classifier=Ridge())
