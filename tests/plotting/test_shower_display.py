"""ShowerDisplay: what it draws, by artists and data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import CaloGeometry, make_showers
from skae.metrics import separation_power
from skae.plotting import ShowerDisplay

pytestmark = pytest.mark.usefixtures("close_figures")

GEOMETRY = CaloGeometry(
    [(0, 5, 20), (0, 5, 20), (0, 10, 30)], [4, 1, 2], 0.1, (0, 30, 70, 120), ("a", "b", "c")
)


@pytest.fixture(scope="module")
def pair():
    return [make_showers(300, geometry=GEOMETRY, random_state=seed) for seed in (0, 1)]


def stairs(ax):
    return [patch.get_data() for patch in ax.patches]


def test_profiles_are_means_and_ratios(pair):
    display = ShowerDisplay.from_predictions(*pair, geometry=GEOMETRY)
    layers = [
        np.stack([part[:, 1:9].sum(1), part[:, 9:11].sum(1), part[:, 11:].sum(1)], axis=1)
        for part in pair
    ]
    for drawn, energies in zip(stairs(display.ax_["longitudinal"]), layers, strict=True):
        np.testing.assert_allclose(drawn.values, energies.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(drawn.edges, [-0.5, 0.5, 1.5, 2.5])
    ratio = stairs(display.ax_["longitudinal_ratio"])[0].values
    expected = layers[1].mean(axis=0) / layers[0].mean(axis=0)
    np.testing.assert_allclose(ratio, expected, rtol=1e-5)
    (points,) = display.ax_["longitudinal_ratio"].containers
    segments = points.lines[2][0].get_segments()
    relative = np.hypot(*(e.std(0) / np.sqrt(300) / e.mean(0) for e in layers))
    for segment, r, error in zip(segments, expected, relative, strict=True):
        assert np.ptp(segment[:, 1]) == pytest.approx(2 * r * error, rel=1e-4)


def test_radial_energy_adds_up(pair):
    display = ShowerDisplay.from_predictions(*pair, geometry=GEOMETRY)
    for drawn, part in zip(stairs(display.ax_["radial"]), pair, strict=True):
        np.testing.assert_allclose(drawn.edges, [0, 5, 10, 20, 30])
        total = (drawn.values * np.diff(drawn.edges)).sum()
        assert total == pytest.approx(part[:, 1:].sum(axis=1).mean(), rel=1e-5)
    # from 20 mm on there is the last layer's outer ring alone, spread over its 20 mm
    outer = pair[0][:, [12, 14]].sum(axis=1).mean() / 20.0
    assert stairs(display.ax_["radial"])[0].values[-1] == pytest.approx(outer, rel=1e-5)


def test_histograms_are_shares_of_showers(pair):
    display = ShowerDisplay.from_predictions(*pair, geometry=GEOMETRY, labels=("a", "b"))
    response = [part[:, 1:].sum(axis=1) / part[:, 0] for part in pair]
    for drawn, values in zip(stairs(display.ax_["response"]), response, strict=True):
        counts, _ = np.histogram(values, np.linspace(0.5, 1.5, 101))
        np.testing.assert_allclose(drawn.values * 300, counts, atol=1e-6)
    power = separation_power(*response, bins=np.linspace(0.5, 1.5, 101))
    assert display.ax_["response"].get_title() == f"separation power {power:.2g}"
    for drawn, part in zip(stairs(display.ax_["spectrum"]), pair, strict=True):
        assert drawn.values.sum() == pytest.approx((part[:, 1:] > 0.0).sum() / 300)
    legend = display.ax_["longitudinal"].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_layers_are_mean_voxels_on_one_scale(pair):
    display = ShowerDisplay.from_predictions(*pair, geometry=GEOMETRY, layers=[0, 2])
    assert display.polar_ax_.shape == (2, 2)
    limits = set()
    for row, part in zip(display.polar_ax_, pair, strict=True):
        for ax, where, parts in zip(row, (slice(1, 9), slice(11, 15)), (4, 2), strict=True):
            (mesh,) = ax.collections
            expected = part[:, where].mean(axis=0).reshape(parts, 2).T
            np.testing.assert_allclose(mesh.get_array().reshape(2, -1), expected, rtol=1e-5)
            limits.add((mesh.norm.vmin, mesh.norm.vmax))
    assert len(limits) == 1
    assert display.polar_ax_[0, 1].get_title() == "real, layer c"


def test_thresholds_come_first(pair):
    low = pair[0].copy()
    low[:, 1:] += 0.05
    display = ShowerDisplay.from_predictions(pair[0], low, geometry=GEOMETRY)
    lit = [(part[:, 1:] >= 0.1).sum() / 300 for part in (pair[0], low)]
    for drawn, n in zip(stairs(display.ax_["spectrum"]), lit, strict=True):
        assert drawn.values.sum() == pytest.approx(n)
    plain = ShowerDisplay.from_predictions(pair[0], low, geometry=GEOMETRY, threshold=0.0)
    assert stairs(plain.ax_["spectrum"])[1].values.sum() == pytest.approx(14.0)


def test_estimators_draw_at_the_energies_of_real_showers(pair):
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0),
        skae.CaloShowerVAE(n_components=2, hidden_size=8, max_epochs=1, random_state=0),
    ).fit(pair[0])
    display = ShowerDisplay.from_estimator(model, pair[1], geometry=GEOMETRY, random_state=0)
    np.testing.assert_allclose(display.generated[:, 0], pair[1][:, 0], rtol=1e-6)
    np.testing.assert_array_equal(display.real, pair[1])
    again = ShowerDisplay.from_estimator(model, pair[1], geometry=GEOMETRY, random_state=0)
    np.testing.assert_array_equal(display.generated, again.generated)


def test_dark_showers_and_a_given_figure(pair):
    figure = plt.figure()
    dark = pair[0].copy()
    dark[:, 1:] = 0.0
    display = ShowerDisplay.from_predictions(dark, dark, geometry=GEOMETRY, figure=figure)
    assert display.figure_ is figure
    figure.canvas.draw()
    with pytest.raises(ValueError, match=r"layers=\[3\] must be among 0 to 2"):
        ShowerDisplay.from_predictions(*pair, geometry=GEOMETRY, layers=[3])
    with pytest.raises(ValueError, match="X has 15 columns; the geometry has 6480"):
        ShowerDisplay.from_predictions(*pair)
