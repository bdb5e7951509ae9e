"""NeighbourCorrelationDisplay: what it draws, by artists and data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import CaloGeometry, make_showers
from skae.metrics import neighbour_correlation_names, neighbour_correlations
from skae.plotting import NeighbourCorrelationDisplay

pytestmark = pytest.mark.usefixtures("close_figures")

GEOMETRY = CaloGeometry([(0, 5, 20)] * 3, [4] * 3, 0.1, (0, 30, 70, 120))


@pytest.fixture(scope="module")
def pair():
    return [
        make_showers(n, geometry=GEOMETRY, random_state=seed) for seed, n in ((0, 300), (1, 200))
    ]


def lines(ax):
    """Heights of the dashed lines."""
    return [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]


def test_points_are_means_with_standard_errors(pair):
    display = NeighbourCorrelationDisplay.from_predictions(*pair, geometry=GEOMETRY)
    names = neighbour_correlation_names(GEOMETRY)
    assert list(display.ax_) == [
        f"{quantity}_{lag}"
        for quantity in ("log_energy", "hits")
        for lag in ("angle_1", "depth_1", "depth_2")
    ]
    for which, X in enumerate(pair):
        found = neighbour_correlations(X, geometry=GEOMETRY)
        for panel, ax in display.ax_.items():
            columns = found[:, [name.startswith(f"{panel}_radius") for name in names]]
            points, _, (bars,) = ax.containers[which].lines
            np.testing.assert_allclose(points.get_ydata(), columns.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(points.get_xdata(), [0, 1], atol=0.2)
            lengths = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
            error = columns.std(axis=0) / np.sqrt(len(X))
            np.testing.assert_allclose(lengths, 2 * error, rtol=1e-6, atol=1e-12)


def test_lines_are_where_independent_voxels_are(pair):
    display = NeighbourCorrelationDisplay.from_predictions(*pair, geometry=GEOMETRY)
    for panel, ax in display.ax_.items():
        assert lines(ax) == pytest.approx([-1 / 3 if "angle" in panel else 0.0])


def test_irregular_calorimeters_have_the_lags_that_there_are(rng):
    geometry = CaloGeometry([(0, 5, 20), (0, 5), (0, 3, 6, 9)], [4, 1, 6], 0.1)
    X = rng.exponential(size=(50, 1 + geometry.n_voxels))
    display = NeighbourCorrelationDisplay.from_predictions(X, X[:20], geometry=geometry)
    assert list(display.ax_) == ["log_energy_angle_1", "hits_angle_1"]
    for ax in display.ax_.values():
        assert len(ax.containers[0].lines[0].get_xdata()) == 3
        assert lines(ax) == []  # -1/3 in one layer, and -1/5 in another
    undivided = CaloGeometry([(0, 5)] * 2, [1] * 2, 0.1)
    with pytest.raises(ValueError, match="No layer of the geometry is divided in angle"):
        NeighbourCorrelationDisplay.from_predictions(X[:, :3], X[:, :3], geometry=undivided)


def test_labels_titles_and_a_given_figure(pair):
    figure = plt.figure()
    display = NeighbourCorrelationDisplay.from_predictions(
        *pair, geometry=GEOMETRY, labels=("a", "b"), figure=figure
    )
    assert display.figure_ is figure
    legend = display.ax_["log_energy_depth_2"].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "independent"]
    assert display.ax_["log_energy_angle_1"].get_ylabel() == "correlation of log energy"
    assert display.ax_["hits_angle_1"].get_ylabel() == "correlation of hits"
    for lag, title in (
        ("angle_1", "next in angle"),
        ("depth_1", "one layer deeper"),
        ("depth_2", "two layers deeper"),
    ):
        assert display.ax_[f"log_energy_{lag}"].get_title() == title
        assert display.ax_[f"hits_{lag}"].get_xlabel() == "ring from the axis"


def test_thresholds_come_first(pair):
    display = NeighbourCorrelationDisplay.from_predictions(*pair, geometry=GEOMETRY, threshold=50.0)
    expected = neighbour_correlations(pair[1], geometry=GEOMETRY, threshold=50.0)
    np.testing.assert_array_equal(display.generated, expected)
    assert not np.allclose(expected, neighbour_correlations(pair[1], geometry=GEOMETRY))
    with pytest.raises(ValueError, match="must be above 0"):
        NeighbourCorrelationDisplay.from_predictions(*pair, geometry=GEOMETRY, threshold=0.0)


def test_estimators_draw_at_the_energies_of_real_showers(pair):
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0),
        skae.CaloShowerVAE(n_components=2, hidden_size=8, max_epochs=1, random_state=0),
    ).fit(pair[0])
    display = NeighbourCorrelationDisplay.from_estimator(
        model, pair[1], geometry=GEOMETRY, random_state=0
    )
    drawn = skae.sample(model, pair[1][:, 0], random_state=0)
    for shown, X in ((display.real, pair[1]), (display.generated, drawn)):
        np.testing.assert_array_equal(shown, neighbour_correlations(X, geometry=GEOMETRY))
