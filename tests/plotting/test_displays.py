"""Displays: what they draw, by artists and data rather than by pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fits import small
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import JetAutoencoder, KinematicsTransformer, MatchedFilterLocator, PulseLocator
from skae.datasets import make_pulses
from skae.metrics import relative_residuals, residual_moments
from skae.plotting import (
    LearningCurveDisplay,
    PulseDisplay,
    PulseKernelDisplay,
    ReconstructionDisplay,
    ResidualDisplay,
)

pytestmark = pytest.mark.usefixtures("close_figures")

NAMES = ["E", "pt", "eta", "phi"]


@pytest.fixture(scope="module")
def model(jets):
    autoencoder = JetAutoencoder(
        hidden_layer_sizes=(16,), angles=[2], max_epochs=5, early_stopping=True, random_state=0
    )
    return make_pipeline(KinematicsTransformer(), autoencoder).fit(jets)


@pytest.fixture
def decoded(jets, rng):
    return jets * rng.normal(1.0, 0.01, jets.shape)


def test_the_corner_plot_shows_residuals_moments_and_correlations(jets, decoded):
    names, kinds = ["E", "pT", "η", "φ"], {"angles": [3], "absolute": [2, 3]}
    display = ResidualDisplay.from_predictions(jets, decoded, names=names, **kinds)
    moments = residual_moments(relative_residuals(jets, decoded, **kinds))
    assert display.ax_.shape == (4, 4)
    assert [ax.get_xlabel() for ax in display.ax_[3]] == ["Δ E / E", "Δ pT / pT", "Δ η", "Δ φ"]
    for j in range(4):
        assert f"σ {moments.std[j]:.1e}" in display.ax_[j, j].get_title()
        for k in range(4):
            assert display.ax_[j, k].axison == (k <= j)
            if k < j:
                note = display.ax_[j, k].texts[0].get_text()
                assert note == f"ρ = {moments.correlation[j, k]:.2f}"


def test_correlation_colours_the_background(rng):
    X = rng.uniform(1, 2, size=(500, 3))
    shared = rng.normal(0, 0.01, size=500)
    factors = 1 + np.column_stack([shared, shared, -shared])
    display = ResidualDisplay.from_predictions(X, X * factors)
    red, blue = display.ax_[1, 0].get_facecolor(), display.ax_[2, 0].get_facecolor()
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_points_outside_one_sigma_and_only_those_are_drawn(rng):
    X = np.ones((800, 2))
    residuals = rng.normal(0, 0.01, size=(800, 2))
    display = ResidualDisplay.from_predictions(X, X + residuals)
    x, _ = display.ax_[1, 0].lines[0].get_data()
    z = (residuals - residuals.mean(axis=0)) / residuals.std(axis=0)
    assert len(x) == ((z**2).sum(axis=1) > 1).sum()


def test_weights_enter_histograms_and_moments(jets, decoded, rng):
    weight = rng.integers(0, 3, size=len(jets))
    weighted = ResidualDisplay.from_predictions(jets, decoded, sample_weight=weight)
    repeated = np.repeat(np.arange(len(jets)), weight)
    plain = ResidualDisplay.from_predictions(jets[repeated], decoded[repeated])
    np.testing.assert_allclose(weighted.moments_.std, plain.moments_.std)
    histogram = ReconstructionDisplay.from_predictions(jets, decoded, sample_weight=weight, bins=10)
    height = sum(p.get_height() for p in histogram.ax_[0].patches[:10])
    assert height == pytest.approx(weight.sum())


def test_rows_that_cannot_be_divided_are_announced(jets, decoded):
    X = jets.copy()
    X[:3, 3] = 0.0
    with pytest.warns(UserWarning, match="3 of 400 rows have a true value of zero"):
        ResidualDisplay.from_predictions(X, decoded)


def test_decoded_values_outside_are_counted(jets):
    decoded = jets.copy()
    decoded[:5, 1] = 1e6
    decoded[5:7, 1] = np.nan
    display = ReconstructionDisplay.from_predictions(jets, decoded)
    assert [ax.get_title() for ax in display.ax_] == ["", "7 decoded outside", "", ""]


def test_one_column_and_perfect_reconstructions_can_be_drawn(jets):
    display = ResidualDisplay.from_predictions(jets[:, :1], jets[:, :1])
    assert display.ax_.shape == (1, 1)
    assert display.moments_.std[0] == 0.0
    ResidualDisplay.from_predictions(jets, jets).figure_.canvas.draw()


def test_names_come_from_a_frame(jets, decoded):
    frame = pd.DataFrame(jets, columns=NAMES)
    display = ReconstructionDisplay.from_predictions(frame, decoded, log_columns=[0, 1])
    assert [ax.get_xlabel() for ax in display.ax_] == NAMES
    assert [ax.get_xscale() for ax in display.ax_] == ["log", "log", "linear", "linear"]


def test_raw_and_decoded_are_histograms_of_the_data(jets, decoded):
    display = ReconstructionDisplay.from_predictions(jets, decoded, bins=20)
    raw = [patch.get_height() for patch in display.ax_[1].patches[:20]]
    expected, _ = np.histogram(jets[:, 1], bins=20)
    np.testing.assert_array_equal(raw, expected)
    assert [t.get_text() for t in display.ax_[0].get_legend().get_texts()] == ["raw", "decoded"]


@pytest.mark.parametrize("display", [ResidualDisplay, ReconstructionDisplay])
def test_from_estimator_is_from_predictions_of_the_round_trip(display, model, jets):
    drawn = display.from_estimator(model, jets, names=NAMES)
    decoded = model.inverse_transform(model.transform(jets))
    same = display.from_predictions(jets, decoded, names=NAMES)
    for ours, theirs in zip(drawn.figure_.axes, same.figure_.axes, strict=True):
        assert ours.get_title() == theirs.get_title()
        assert len(ours.patches) == len(theirs.patches)
        for one, other in zip(ours.patches, theirs.patches, strict=True):
            np.testing.assert_array_equal(one.get_path().vertices, other.get_path().vertices)
        is_empty = not ours.axison or ours.get_label() == "<colorbar>"
        assert is_empty or ours.patches or ours.texts


def test_figures_can_be_given(jets, decoded):
    figure = plt.figure()
    assert ResidualDisplay.from_predictions(jets, decoded, figure=figure).figure_ is figure
    _, ax = plt.subplots()
    assert LearningCurveDisplay([1.0, 0.5]).plot(ax=ax).ax_ is ax


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: m[-1]])
def test_the_learning_curve_shows_training_and_validation(wrap, model):
    display = LearningCurveDisplay.from_estimator(wrap(model))
    training, validation = display.ax_.lines
    np.testing.assert_array_equal(training.get_ydata(), model[-1].loss_curve_)
    np.testing.assert_array_equal(validation.get_ydata(), model[-1].history_[:, "valid_loss"])
    assert display.ax_.get_yscale() == "log"


def test_a_curve_that_hardly_falls_has_labels_that_are_its_values():
    display = LearningCurveDisplay([1.2776e-3, 1.2601e-3, 1.2579e-3]).plot()
    display.figure_.canvas.draw()
    labels = display.ax_.get_yticklabels(minor=True)
    assert any(label.get_text() for label in labels)
    for label, place in zip(labels, display.ax_.get_yticks(minor=True), strict=True):
        assert float(label.get_text()) == pytest.approx(place, rel=1e-6)


def test_a_loss_that_is_negative_has_a_linear_axis():
    assert LearningCurveDisplay([1.0, -2.0]).plot().ax_.get_yscale() == "linear"


def test_the_learning_curve_has_gaps_where_nothing_was_held_out(standard_jets):
    model = small(max_epochs=2, warm_start=True).fit(standard_jets)
    model.set_params(early_stopping=True).fit(standard_jets)
    display = LearningCurveDisplay.from_estimator(model)
    assert len(display.train_loss) == 4
    assert np.isnan(display.valid_loss).tolist() == [True, True, False, False]


def test_the_learning_curve_of_a_search_is_that_of_its_best(standard_jets):
    search = GridSearchCV(small(), {"n_components": [1, 2]}, cv=2).fit(standard_jets)
    display = LearningCurveDisplay.from_estimator(search)
    assert display.train_loss == search.best_estimator_.loss_curve_


@pytest.mark.parametrize(
    ("display", "options", "message"),
    [
        (ResidualDisplay, {"names": ["E"]}, "has 1 entries, but X has 4"),
        (ReconstructionDisplay, {"X_pred": np.ones((3, 4))}, r"X_pred \(3, 4\)"),
        (ReconstructionDisplay, {"log_columns": [2]}, "log_columns has column 2"),
        (ResidualDisplay, {"sample_weight": [1.0]}, "sample_weight.shape"),
        (ReconstructionDisplay, {"sample_weight": [1.0]}, "sample_weight.shape"),
    ],
)
def test_bad_input_is_an_error(display, options, message, jets):
    with pytest.raises(ValueError, match=message):
        display.from_predictions(jets, **{"X_pred": jets, **options})


def test_a_learning_curve_needs_a_history():
    with pytest.raises(ValueError, match="has no history_"):
        LearningCurveDisplay.from_estimator(KinematicsTransformer())


def test_pulses_are_drawn_with_truth_and_distribution():
    X, y = make_pulses(3, random_state=0)
    distribution = np.zeros((3, 100))
    distribution[np.arange(3), y] = 0.75
    display = PulseDisplay.from_predictions(X, distribution, y)
    assert len(display.ax_) == len(display.probability_ax_) == 3
    for i, probability_ax in enumerate(display.probability_ax_):
        *traces, truth = display.ax_[i].lines
        assert np.array_equal([line.get_ydata() for line in traces], X[i])
        assert list(truth.get_xdata()) == [y[i], y[i]]
        (stairs,) = probability_ax.patches
        values, edges, _ = stairs.get_data()
        assert np.array_equal(values, distribution[i])
        assert np.array_equal(edges, np.arange(101) - 0.5)


def test_pulses_of_one_trace_and_without_truth_are_drawn():
    X, _ = make_pulses(2, n_traces=1, random_state=0)
    display = PulseDisplay.from_predictions(X[:, 0], np.full((2, 100), 0.01))
    assert len(display.ax_[0].lines) == 1


def test_pulses_are_drawn_from_estimators_and_pipelines():
    X, y = make_pulses(4, random_state=0)
    locator = MatchedFilterLocator().fit(X)
    model = make_pipeline(FunctionTransformer(lambda X: 2.0 * X), MatchedFilterLocator()).fit(X)
    alone = make_pipeline(MatchedFilterLocator()).fit(X)
    for estimator in (locator, model, alone):
        display = PulseDisplay.from_estimator(estimator, X, y)
        expected = locator.predict_distribution(X)
        np.testing.assert_allclose(display.distribution, expected, atol=1e-12)


def test_presence_is_drawn_and_events_without_a_pulse_are_said():
    X, y = make_pulses(6, empty_fraction=0.5, random_state=0)
    distribution, presence = np.full((6, 100), 0.01), np.linspace(0.0, 1.0, 6)
    display = PulseDisplay.from_predictions(X, distribution, y, presence=presence)
    assert np.isnan(y).any()
    for i, (ax, probability_ax) in enumerate(
        zip(display.ax_, display.probability_ax_, strict=True)
    ):
        (stairs,) = probability_ax.patches
        assert stairs.get_data()[0].sum() == pytest.approx(presence[i])
        said = f"presence {presence[i]:.3g}" + (", in truth no pulse" if np.isnan(y[i]) else "")
        assert ax.get_title(loc="left") == said
        assert len(ax.lines) == (3 if np.isnan(y[i]) else 4)
    several = np.array([[3.0, 40.0, np.nan], *[[np.nan] * 3] * 5])
    display = PulseDisplay.from_predictions(X, distribution, several)
    assert [line.get_xdata()[0] for line in display.ax_[0].lines[3:]] == [3.0, 40.0]
    with pytest.raises(ValueError, match="one probability for each of 6"):
        PulseDisplay.from_predictions(X, distribution, presence=presence[:3])


def test_a_locator_that_knows_empty_events_is_drawn_with_their_presence():
    X, y = make_pulses(60, empty_fraction=0.5, random_state=0)
    locator = PulseLocator(absent="learn", trace_channels=4, n_channels=4, max_epochs=1).fit(X, y)
    display = PulseDisplay.from_estimator(locator, X[:3], y[:3])
    np.testing.assert_array_equal(display.presence, locator.predict_presence(X[:3]))


def test_pulses_that_do_not_fit_together_are_refused():
    X, y = make_pulses(4, random_state=0)
    with pytest.raises(ValueError, match="distribution"):
        PulseDisplay.from_predictions(X, np.zeros((4, 99)))
    with pytest.raises(ValueError, match="one position for each"):
        PulseDisplay.from_predictions(X, np.zeros((4, 100)), y[:3])


def test_kernels_are_told_by_their_share_of_derivatives():
    first = np.array([[-2.0, 0.1, 2.0], [-1.0, 2.0, -1.0], [1.0, 0.0, -1.0], [0.5, -1.0, 0.5]])
    second = np.arange(4 * 2 * 7, dtype=float).reshape(4, 2, 7)
    display = PulseKernelDisplay(first, second).plot()
    expected = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    np.testing.assert_allclose(display.derivatives_, expected, atol=0.05)
    assert display.ax_[0].get_legend_handles_labels()[1][2] == "filter 2: −1.00 f′, +0.00 (−f″)"
    image = display.ax_[1].images[0].get_array()
    assert np.array_equal(image, second.transpose(1, 0, 2).reshape(8, 7))
    labels = [label.get_text() for label in display.ax_[1].get_yticklabels()]
    assert labels[1] == "trace 0, filter 1"


def test_the_kernels_of_a_fitted_network_are_drawn():
    X, y = make_pulses(100, random_state=0)
    locator = PulseLocator(architecture="reference", max_epochs=1, random_state=0).fit(X, y)
    display = PulseKernelDisplay.from_estimator(locator)
    assert np.array_equal(display.ax_[0].lines[0].get_ydata(), locator.kernels_[0][0])
