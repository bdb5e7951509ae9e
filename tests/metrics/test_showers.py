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


def of_the_challenge(X, geometry, threshold):
    """What its evaluate.py makes of showers in modes cls-high, fpd and kpd; lengths are /100 there."""
    showers = np.where(X[:, 1:] < threshold, 0.0, X[:, 1:]).astype(np.float64)
    layers = np.split(showers, [where.stop for where in geometry.layers[:-1]], axis=1)
    columns = {name: [] for name in ("E", "eta", "phi", "w_eta", "w_phi", "dark", "r", "w_r")}
    for energy, edges, n_alpha in zip(
        layers, geometry.radial_edges, geometry.n_angles, strict=True
    ):
        boundaries = np.linspace(-np.pi, np.pi, n_alpha + 1)
        alpha = np.repeat((boundaries[:-1] + boundaries[1:]) / 2, len(edges) - 1)
        r = np.tile([(low + high) * 0.5 for low, high in pairwise(edges)], n_alpha)
        total = energy.sum(axis=-1)

        def centre_and_width(place, energy=energy, total=total):
            centre = (place * energy).sum(axis=-1) / (total + 1e-16)
            square = (place * place * energy).sum(axis=-1) / (total + 1e-16)
            return centre, np.sqrt((square - centre**2).clip(min=0.0))

        found = {"E": np.log10(total + 1e-8), "dark": 1.0 - (energy > 0).mean(axis=-1)}
        found["r"], found["w_r"] = centre_and_width(r)
        if n_alpha > 1:
            found["eta"], found["w_eta"] = centre_and_width(r * np.cos(alpha))
            found["phi"], found["w_phi"] = centre_and_width(r * np.sin(alpha))
        for name, column in found.items():
            columns[name].append(column)
    return np.stack(
        [
            np.log10(X[:, 0]),
            *columns["E"],
            *(column for name in ("eta", "phi", "w_eta", "w_phi") for column in columns[name]),
            np.log10(showers.sum(axis=-1) + 1e-8),
            *(column for name in ("dark", "r", "w_r") for column in columns[name]),
        ],
        axis=1,
    )


@pytest.mark.parametrize(
    ("name", "threshold", "n_features"),
    [
        ("dataset_1_photons", 1.0, 1 + 5 + 4 * 2 + 1 + 3 * 5),
        ("dataset_1_pions", 1.0, 1 + 7 + 4 * 4 + 1 + 3 * 7),
        ("dataset_2", 0.01515, 362),
        ("dataset_3", 0.01515, 362),
    ],
)
def test_features_are_the_challenges_in_its_order(name, threshold, n_features, rng):
    geometry = CaloGeometry.named(name)
    X = rng.exponential(3.0, size=(4, 1 + geometry.n_voxels))
    X[:, 1:] *= rng.uniform(size=(4, geometry.n_voxels)) < 0.4
    X[:, 0] = [3e2, 1e3, 1e5, 4e6]
    X[0, 1:] = 0.0  # nothing is lit
    X[1, 2:] = 0.0  # one voxel is, or its energy is under the threshold
    X[1, 1] = 0.9
    found = shower_features(X, geometry=name)
    assert found.shape == (4, n_features)
    # a width of 0 is the root of what rounding leaves of a square
    np.testing.assert_allclose(
        found, of_the_challenge(X, geometry, threshold), rtol=1e-9, atol=1e-5
    )


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
