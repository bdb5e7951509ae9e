"""What CaloShowerVAE checks of showers, and where it takes their voxels to be."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skae.estimators._data import validate_table
from skae.physics.calorimeter import CaloGeometry
from skae.training.inference import bounded_rows

# Rows checked at once.
_CHECKED_ROWS = 4096


def validate_showers(estimator: BaseEstimator, X: Any, *, reset: bool) -> np.ndarray:
    """Check that X are showers: an incident energy and one voxel or more, nothing negative."""
    X = validate_table(estimator, X, reset=reset)
    name = type(estimator).__name__
    if X.shape[1] < 2:
        raise ValueError(
            f"Found array with {X.shape[1]} feature(s) (shape={X.shape}) while a minimum of 2 is "
            f"required by {name}: the incident energy in column 0, and one voxel or more."
        )
    starts = range(0, len(X), _CHECKED_ROWS)
    lowest = min(X[start : start + _CHECKED_ROWS].min() for start in starts)
    if lowest < 0.0:
        raise ValueError(
            f"Negative values in data passed to {name}, the lowest is {lowest:g}: energies are 0 or more."
        )
    if reset and not X[:, 0].any() and any(X[s : s + _CHECKED_ROWS, 1:].any() for s in starts):
        raise ValueError(
            "Column 0 is the incident energy, and zero in all rows, though voxels are lit; put the "
            "energies there, as LogRatioTransformer does."
        )
    return X


def brightest_voxel(X: np.ndarray) -> float:
    """Return what the brightest voxel of all showers holds."""
    starts = range(0, len(X), _CHECKED_ROWS)
    return float(max(X[start : start + _CHECKED_ROWS, 1:].max() for start in starts))


def incident_energies(rows: Any) -> Tensor:
    """Return the first column of rows, which may be read as they are needed."""
    step = bounded_rows(_CHECKED_ROWS, rows.shape[1:])
    energy = torch.empty(len(rows))
    for start in range(0, len(rows), step):
        energy[start : start + step] = rows[start : start + step][:, 0]
    return energy


def check_voxel_shape(
    shape: Any, geometry: CaloGeometry | None, n_voxels: int
) -> tuple[int, int, int] | None:
    """Return the shape of the voxels, given or that of a geometry, checked to be of so many voxels."""
    if geometry is not None and geometry.n_voxels != n_voxels:
        raise ValueError(f"geometry has {geometry.n_voxels} voxels, but X has {n_voxels}.")
    if shape is None:
        return None if geometry is None else geometry.voxel_shape
    shape = tuple(shape)
    if len(shape) != 3 or not all(isinstance(n, Integral) and n >= 1 for n in shape):
        raise ValueError(
            f"voxel_shape={shape!r} must be three integers of 1 or more, layers, angles and radii."
        )
    if np.prod(shape) != n_voxels:
        raise ValueError(
            f"voxel_shape={shape} has {np.prod(shape)} voxels, but X has {n_voxels} beside the incident "
            "energy in column 0."
        )
    if geometry is not None and geometry.voxel_shape not in (None, shape):
        raise ValueError(
            f"voxel_shape={shape} is not that of geometry, {geometry.voxel_shape}; give one of the two."
        )
    return tuple(map(int, shape))


def shower_geometry(
    geometry: CaloGeometry | None, shape: tuple[int, int, int] | None, n_voxels: int
) -> CaloGeometry:
    """Return where voxels are: as given, on a grid with rings of width 1, or in one layer."""
    if geometry is not None:
        return geometry
    layers, angles, radii = (1, 1, n_voxels) if shape is None else shape
    return CaloGeometry([np.arange(radii + 1)] * layers, [angles] * layers)


def check_sharpness(sharpness: Any) -> None:
    """Refuse what is no pair of positive numbers, the second not below the first."""
    pair = np.asarray(sharpness, dtype=np.float64)
    if pair.shape != (2,) or not 0.0 < pair[0] <= pair[1] < np.inf:
        raise ValueError(
            f"sharpness={sharpness!r} must be two positive numbers, that of the first epoch and that of "
            "the last, which is not below it."
        )
