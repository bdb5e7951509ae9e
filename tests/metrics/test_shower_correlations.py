"""Correlations of neighbouring voxels, against loops, closed forms and symmetries."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from skae.datasets import CaloGeometry
from skae.metrics import neighbour_correlation_names, neighbour_correlations
from skae.metrics import shower_correlations as module

EVEN = CaloGeometry(radial_edges=[(0, 5, 20, 30)] * 4, n_angles=[5] * 4, threshold=0.3)
# layers 0, 2 and 3 have one binning; 1 and 4 are as often divided, and have other radii; 5 is not divided
UNEVEN = CaloGeometry(
    radial_edges=[(0, 5, 20), (0, 3, 6, 9), (0, 5, 20), (0, 5, 20), (0, 5, 21), (0, 5, 20)],
    n_angles=[4, 4, 4, 4, 4, 1],
    threshold=0.3,
)


def showers(rng, n, geometry):
    X = rng.exponential(size=(n, 1 + geometry.n_voxels))
    X[:, 1:] *= rng.uniform(size=(n, geometry.n_voxels)) < 0.7
    return X


def by_loops(shower, geometry, threshold):
    """All correlations of one shower by name, pair after pair."""
    voxels = np.where(shower[1:] < threshold, 0.0, shower[1:])
    found = {}
    for quantity, values in (("log_energy", np.log(1 + voxels / threshold)), ("hits", voxels > 0)):
        deviation = {}
        for layer, where in enumerate(geometry.layers):
            grid = values[where].reshape(geometry.n_angles[layer], -1).astype(float)
            for radius in range(grid.shape[1]):
                for angle in range(len(grid)):
                    value = grid[angle, radius] - grid[:, radius].mean()
                    deviation[layer, angle, radius] = value
        for lag, (deeper, turn) in (
            ("angle_1", (0, 1)), ("depth_1", (1, 0)), ("depth_2", (2, 0))
        ):  # fmt: skip
            sums = {}
            for (layer, angle, radius), d in deviation.items():
                n_angles, other = geometry.n_angles[layer], layer + deeper
                if n_angles == 1 or other >= geometry.n_layers:
                    continue
                same = geometry.radial_edges[layer] == geometry.radial_edges[other]
                if not same or geometry.n_angles[other] != n_angles:
                    continue
                neighbour = deviation[other, (angle + turn) % n_angles, radius]
                sums[radius] = sums.get(radius, np.zeros(3))
                sums[radius] += d * neighbour, d**2, neighbour**2
            for radius, (both, first, second) in sums.items():
                scale = np.sqrt(first * second)
                name = f"{quantity}_{lag}_radius_{radius}"
                found[name] = both / scale if scale > 1e-12 else 0.0
    return found


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize("geometry", [EVEN, UNEVEN])
def test_correlations_are_those_of_loops(geometry, threshold, rng):
    X = showers(rng, 6, geometry)
    X[0, 1:] = 0.0  # nothing is lit
    found = neighbour_correlations(X, geometry=geometry, threshold=threshold)
    names = neighbour_correlation_names(geometry)
    for row, shower in zip(found, X, strict=True):
        expected = by_loops(shower, geometry, 0.3 if threshold is None else threshold)
        assert list(expected) == list(names)
        np.testing.assert_allclose(row, list(expected.values()), rtol=1e-9, atol=1e-12)
    assert (found[0] == 0.0).all()


def test_names_are_of_pairs_that_there_are():
    assert len(neighbour_correlation_names("dataset_2")) == 54
    assert len(neighbour_correlation_names("dataset_3")) == 108
    # the layers of data set 1 that are divided have 16 and 19 rings, or 10, 10, 15 and 16, all different
    for name, n_radii in (("dataset_1_photons", 19), ("dataset_1_pions", 16)):
        names = neighbour_correlation_names(name)
        assert len(names) == 2 * n_radii
        assert names[-1] == f"hits_angle_1_radius_{n_radii - 1}"
    undivided = CaloGeometry([(0, 5)] * 3, [1] * 3, 0.1)
    assert len(neighbour_correlation_names(undivided)) == 0
    assert neighbour_correlations(np.ones((2, 4)), geometry=undivided).shape == (2, 0)


def test_independent_voxels_are_anticorrelated_around_the_circle_only():
    """−1/(n − 1) and 0 are exact, for the mean over all ways to arrange one ring's energies."""
    rings = np.array(list(permutations([0.0, 0.4, 2.0, 9.0])))
    X = np.column_stack([np.ones(24), rings])
    found = neighbour_correlations(X, geometry=CaloGeometry([(0, 5)], [4], 0.3))
    np.testing.assert_allclose(found.mean(axis=0), [-1 / 3, -1 / 3], rtol=1e-12)
    X = np.column_stack([X, np.tile([7.0, 0.0, 0.0, 1.0], (24, 1))])  # and a layer behind
    found = neighbour_correlations(X, geometry=CaloGeometry([(0, 5)] * 2, [4] * 2, 0.3))
    assert (np.abs(found[:, [1, 3]]).max(axis=0) > 0.5).all()
    np.testing.assert_allclose(found[:, [1, 3]].mean(axis=0), 0.0, atol=1e-12)


def test_waves_around_the_circle_and_repeated_layers_have_known_correlations():
    """Of log energies a + b cos φ: cos(2π/n) with the next voxel, 1 with the layers behind."""
    n_angles = 7
    geometry = CaloGeometry([(0, 5, 9)] * 3, [n_angles] * 3, 0.3)
    wave = 2.0 + np.cos(2 * np.pi * np.arange(n_angles) / n_angles)
    opposite = 4.0 - wave
    energy = 0.3 * np.expm1(np.stack([wave, opposite], axis=1)).ravel()  # two radii
    X = np.concatenate([[1.0], *[energy] * 3])[None]
    found = neighbour_correlations(X, geometry=geometry)[0].reshape(2, 3, 2)
    np.testing.assert_allclose(found[0, 0], np.cos(2 * np.pi / n_angles), rtol=1e-12)
    np.testing.assert_allclose(found[0, 1:], 1.0, rtol=1e-12)
    assert (found[1] == 0.0).all()  # all are hit
    X[:, 1 + 2 * n_angles : 1 + 4 * n_angles] = (
        0.3 * np.expm1(np.stack([opposite, wave], axis=1)).ravel()
    )  # the middle layer is the other way round
    found = neighbour_correlations(X, geometry=geometry)[0].reshape(2, 3, 2)
    np.testing.assert_allclose(found[0, 1], -1.0, rtol=1e-12)
    np.testing.assert_allclose(found[0, 2], 1.0, rtol=1e-12)


def test_equal_voxels_have_no_correlation_that_rounding_makes():
    X = np.full((1, 1 + EVEN.n_voxels), 0.7)
    assert (neighbour_correlations(X, geometry=EVEN) == 0.0).all()


def test_correlations_do_not_depend_on_where_the_angle_begins(rng):
    X = showers(rng, 5, UNEVEN)
    turned = X.copy()
    for where, n_angles in zip(UNEVEN.layers, UNEVEN.n_angles, strict=True):
        part = X[:, 1:][:, where].reshape(5, n_angles, -1)
        turned[:, 1:][:, where] = np.roll(part, 1, axis=1).reshape(5, -1)
    assert not (turned == X).all()
    np.testing.assert_allclose(
        neighbour_correlations(turned, geometry=UNEVEN),
        neighbour_correlations(X, geometry=UNEVEN),
        rtol=1e-9,
        atol=1e-12,
    )


def test_correlations_do_not_depend_on_units_rows_beside_or_type(rng, monkeypatch):
    X = showers(rng, 9, EVEN)
    found = neighbour_correlations(X, geometry=EVEN)
    scaled = neighbour_correlations(1e3 * X, geometry=EVEN, threshold=300.0)
    np.testing.assert_allclose(scaled, found, rtol=1e-9, atol=1e-12)
    monkeypatch.setattr(module, "_NUMBERS", 2 * EVEN.n_voxels)  # two rows at a time
    np.testing.assert_array_equal(neighbour_correlations(X, geometry=EVEN), found)
    np.testing.assert_array_equal(neighbour_correlations(pd.DataFrame(X), geometry=EVEN), found)
    single = neighbour_correlations(X.astype(np.float32), geometry=EVEN)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, found, atol=1e-5)


@pytest.mark.parametrize("threshold", [None, 0.0, -1.0, np.inf, np.nan])
def test_thresholds_must_be_above_0(threshold):
    geometry = CaloGeometry([(0, 5)], [4])
    with pytest.raises(ValueError, match=r"must be above 0, in MeV, .* threshold=0\.01 say"):
        neighbour_correlations(np.ones((2, 5)), geometry=geometry, threshold=threshold)


def test_bad_input_is_named():
    X = np.ones((2, 61))
    with pytest.raises(ValueError, match="X has 61 columns; the geometry has 6480 voxels"):
        neighbour_correlations(X)
    X[1, 3] = -2.0
    with pytest.raises(ValueError, match="1 negative energies, min -2"):
        neighbour_correlations(X, geometry=EVEN)
    with pytest.raises(ValueError, match="'dataset_4' is none of"):
        neighbour_correlation_names("dataset_4")
