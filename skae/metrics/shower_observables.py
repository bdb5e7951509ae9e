"""Features of showers: energies, centres, widths and sparsity, layer by layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array

from skae.physics.calorimeter import CaloGeometry, resolve_geometry

# Showers whose features are computed at a time.
_ROWS = 2048

#: bins of the total over the incident energy, as the CaloChallenge has them
RESPONSE_BINS = np.linspace(0.5, 1.5, 101)

# What the CaloChallenge adds to an energy before its logarithm, and to one that is divided by.
_LEAST_ENERGY = 1e-8
_TINY = 1e-16


def shower_features(
    X: ArrayLike, *, geometry: str | CaloGeometry = "dataset_2", threshold: float | None = None
) -> NDArray[np.float64]:
    r"""Compute the features by which the CaloChallenge compares showers.

    In this order: log₁₀ of the incident energy; log₁₀ of each layer's energy (+ 1e-8); in layers that are
    divided in angle the centres of energy in x, those in y, the widths in x, and those in y; log₁₀ of the
    total energy; the share of dark voxels of each layer; the centre of energy in r of each layer, and the
    width. A width is the root of an energy-weighted variance. Lengths are mm. Data set 2 has
    1 + 45 + 4·45 + 1 + 3·45 = 362 features. They are the challenge's high-level features, in its order;
    its code divides lengths by 100 mm, x is its η and y its φ.

    Parameters
    ----------
    X : array-like of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.
    threshold : float, default=None
        Voxels with less are set to zero first, in MeV; generated showers have such where simulated
        ones cannot. None takes the geometry's.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features)
        See :func:`shower_feature_names`.

    References
    ----------
    C. Krause et al., "CaloChallenge 2022: a community challenge for fast calorimeter simulation", 2024,
    arXiv:2410.21611.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> from skae.metrics import shower_features
    >>> shower_features(make_showers(10, random_state=0)).shape
    (10, 362)
    """
    X, geometry = check_showers(X, geometry)
    threshold = geometry.threshold if threshold is None else threshold
    features = np.empty((len(X), len(shower_feature_names(geometry))))
    weights = [_weights(geometry, layer) for layer in range(geometry.n_layers)]
    for start in range(0, len(X), _ROWS):
        part = X[start : start + _ROWS].astype(np.float64)
        part[:, 1:][part[:, 1:] < threshold] = 0.0
        features[start : start + _ROWS] = _features(part, geometry, weights)
    return features


def shower_response(
    X: ArrayLike, *, geometry: str | CaloGeometry = "dataset_2", threshold: float | None = None
) -> NDArray[np.float64]:
    """Compute the total energy of showers over the incident one.

    Parameters
    ----------
    X : array-like of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.
    threshold : float, default=None
        Voxels with less do not count, in MeV. None takes the geometry's.

    Returns
    -------
    response : ndarray of shape (n_samples,)
        Ratios; 0 where the incident energy is.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> from skae.metrics import shower_response
    >>> shower_response(make_showers(10, random_state=0)).shape
    (10,)
    """
    X, geometry = check_showers(X, geometry)
    threshold = geometry.threshold if threshold is None else threshold
    response = np.zeros(len(X))
    for start in range(0, len(X), _ROWS):
        part = X[start : start + _ROWS]
        total = np.where(part[:, 1:] < threshold, 0.0, part[:, 1:]).sum(axis=1, dtype=np.float64)
        there = part[:, 0] > 0.0
        response[start : start + _ROWS][there] = total[there] / part[there, 0]
    return response


def shower_feature_names(geometry: str | CaloGeometry = "dataset_2") -> NDArray[Any]:
    """Return the names of the columns of :func:`~skae.metrics.shower_features`.

    Parameters
    ----------
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.

    Returns
    -------
    names : ndarray of str
        Quantity and layer.

    Examples
    --------
    >>> from skae.metrics import shower_feature_names
    >>> shower_feature_names("dataset_1_photons")[:3].tolist()
    ['log10_E_inc', 'log10_E_layer_0', 'log10_E_layer_1']
    """
    calorimeter = resolve_geometry(geometry)
    layers = calorimeter.layer_names
    divided = [name for name, parts in zip(layers, calorimeter.n_angles, strict=True) if parts > 1]
    blocks: list[tuple[str | None, Sequence[str]]] = [
        ("log10_E_layer", layers),
        *((name, divided) for name in ("centre_x", "centre_y", "width_x", "width_y")),
        (None, ["log10_E_tot"]),
        *((name, layers) for name in ("sparsity", "centre_r", "width_r")),
    ]
    names = [f"{name}_{layer}" if name else layer for name, of in blocks for layer in of]
    return np.array(["log10_E_inc", *names], dtype=object)


def check_showers(X: Any, geometry: Any) -> tuple[NDArray[Any], CaloGeometry]:
    """Return showers and the geometry, checked to fit each other."""
    geometry = resolve_geometry(geometry)
    X = check_array(X, dtype=(np.float64, np.float32), input_name="X")
    if X.shape[1] != 1 + geometry.n_voxels:
        raise ValueError(
            f"X has {X.shape[1]} columns; the geometry has {geometry.n_voxels} voxels, and the incident "
            "energy stands before them."
        )
    if (X < 0.0).any():
        raise ValueError(f"X has {(X < 0.0).sum()} negative energies, min {X.min():g}.")
    return X, geometry


def _weights(geometry: CaloGeometry, layer: int) -> NDArray[np.float64]:
    """Return what a layer's voxels are multiplied by for the moments: 1, x, y, r and their squares."""
    where = geometry.layers[layer]
    places = np.stack([geometry.x[where], geometry.y[where], geometry.r[where]])
    return np.concatenate([np.ones_like(places[:1]), places, places**2]).T


def _features(
    X: NDArray[np.float64], geometry: CaloGeometry, weights: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    voxels = X[:, 1:]
    moments = np.empty((geometry.n_layers, 7, len(X)))
    sparsity = np.empty((geometry.n_layers, len(X)))
    for layer, where in enumerate(geometry.layers):
        moments[layer] = (voxels[:, where] @ weights[layer]).T
        sparsity[layer] = 1.0 - (voxels[:, where] > 0.0).mean(axis=1)
    energy = moments[:, 0]
    centres = moments[:, 1:4] / (energy[:, None] + _TINY)  # (n_layers, 3, n)
    squares = moments[:, 4:] / (energy[:, None] + _TINY)
    widths = np.sqrt(np.maximum(squares - centres**2, 0.0))
    divided = np.asarray(geometry.n_angles) > 1
    with np.errstate(divide="ignore"):
        total = np.log10(np.maximum(energy.sum(axis=0), _LEAST_ENERGY))
        incident = np.log10(np.maximum(X[:, 0], _LEAST_ENERGY))
    return np.concatenate(
        [
            incident[None],
            np.log10(energy + _LEAST_ENERGY),
            *(centres[divided, axis] for axis in (0, 1)),
            *(widths[divided, axis] for axis in (0, 1)),
            total[None],
            sparsity,
            centres[:, 2],
            widths[:, 2],
        ]
    ).T
