"""Features of showers, against loops over voxels as the CaloChallenge's own code has them."""

from itertools import pairwise

import numpy as np
import pytest

from skae.datasets import CaloGeometry, make_showers
from skae.metrics import shower_feature_names, shower_features

UNEVEN = CaloGeometry(
    radial_edges=[(0, 5, 20), (0, 3, 6, 9), (2, 7)], n_angles=[1, 4, 6], threshold=0.3,
    layer_names=("0", "1", "12"),
)  # fmt: skip


def by_loops(shower, geometry, threshold):
    """All features of one shower by name, voxel after voxel."""
    incident, voxels = shower[0], np.where(shower[1:] < threshold, 0.0, shower[1:])
    features, voxel, total = {"log10_E_inc": np.log10(incident)}, 0, 0.0
    for layer, name in enumerate(geometry.layer_names):
        edges, parts = geometry.radial_edges[layer], geometry.n_angles[layer]
        sums, energy, dark, count = np.zeros(6), 0.0, 0, 0
        for part in range(parts):
            angle = -np.pi + (part + 0.5) * 2 * np.pi / parts
            for low, high in pairwise(edges):
                r = (low + high) / 2
                place = np.array([r * np.cos(angle), r * np.sin(angle), r])
                sums += voxels[voxel] * np.concatenate([place, place**2])
                energy += voxels[voxel]
                dark += voxels[voxel] == 0.0
                count, voxel = count + 1, voxel + 1
        total += energy
        features[f"log10_E_layer_{name}"] = np.log10(energy + 1e-8)
        centre, square = np.split(sums / (energy + 1e-16), 2)
        width = np.sqrt(np.clip(square - centre**2, 0, None))
        axes = ("x", "y", "r") if parts > 1 else ("", "", "r")
        for axis, c, w in zip(axes, centre, width, strict=True):
            if axis:
                features[f"centre_{axis}_{name}"], features[f"width_{axis}_{name}"] = c, w
        features[f"sparsity_{name}"] = dark / count
    features["log10_E_tot"] = np.log10(max(total, 1e-8))
    return features


def check(X, geometry, threshold):
    found = shower_features(X, geometry=geometry, threshold=threshold)
    names = shower_feature_names(geometry)
    least = geometry.threshold if threshold is None else threshold
    for row, shower in zip(found, X.astype(np.float64), strict=True):
        expected = by_loops(shower, geometry, least)
        assert sorted(expected) == sorted(names)
        np.testing.assert_allclose(row, [expected[name] for name in names], rtol=1e-7, atol=2e-6)


@pytest.mark.parametrize("threshold", [None, 0.0, 1.0])
def test_features_are_those_of_loops(threshold, rng):
    X = rng.exponential(size=(6, 1 + UNEVEN.n_voxels)) * (rng.uniform(size=(6, 21)) < 0.7)
    X[:, 0] = rng.uniform(10, 100, 6)
    X[0, 1:] = 0.0  # nothing is lit
    check(X, UNEVEN, threshold)


def test_features_of_data_set_2():
    X = make_showers(3, random_state=0)
    assert len(shower_feature_names()) == 362
    check(X, CaloGeometry.named("dataset_2"), None)


def test_features_do_not_depend_on_rows_beside():
    deep = CaloGeometry([(0, 9, 30)] * 2, [3] * 2, 0.1, (0, 50, 90))
    X = make_showers(2500, geometry=deep, random_state=0)
    geometry = CaloGeometry([(0, 9, 30)] * 2, [3] * 2, 0.1)
    together = shower_features(X, geometry=geometry)
    np.testing.assert_allclose(
        together[2400:], shower_features(X[2400:], geometry=geometry), rtol=1e-12
    )
    frame = shower_features(X[:5].tolist(), geometry=geometry)
    np.testing.assert_allclose(frame, together[:5], rtol=1e-12)


def test_bad_input_is_named():
    X = np.ones((2, 21))
    with pytest.raises(ValueError, match="X has 21 columns; the geometry has 6480 voxels"):
        shower_features(X)
    X[1, 3] = -2.0
    with pytest.raises(ValueError, match="1 negative energies, min -2"):
        shower_features(X, geometry=UNEVEN)
    with pytest.raises(ValueError, match="X contains NaN"):
        shower_features(np.full((2, 21), np.nan), geometry=UNEVEN)
