"""Showers as data of a fit: checks, incident energies, where voxels are, and on which scale."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skae.estimators._data import blocks, validate_table
from skae.modules.showers.scales import LEAST_SHARE
from skae.physics.calorimeter import CaloGeometry
from skae.training.inference import bounded_rows
from skae.transformers._log_ratios import single_backward

# Showers that tell on which scale voxels are.
_ROWS_OF_SCALE = 1000

#: scales of voxels, the likelier one first where data do not tell
SCALES = ("energy", "log1p", "logit")


def validate_showers(estimator: BaseEstimator, X: Any, *, reset: bool) -> np.ndarray:
    """Check that X are showers: an incident energy and one voxel or more, nothing negative."""
    X = validate_table(estimator, X, reset=reset)
    name = type(estimator).__name__
    if X.shape[1] < 2:
        raise ValueError(
            f"Found array with {X.shape[1]} feature(s) (shape={X.shape}) while a minimum of 2 is "
            f"required by {name}: the incident energy in column 0, and one voxel or more."
        )
    lowest = min(showers.min() for _, showers in blocks(X))
    if lowest < 0.0:
        raise ValueError(
            f"Negative values in data passed to {name}, the lowest is {lowest:g}: energies are 0 or more."
        )
    if reset and not X[:, 0].any() and brightest_voxel(X) > 0.0:
        raise ValueError(
            "Column 0 is the incident energy, and zero in all rows, though voxels are lit; put the "
            "energies there, as LogRatioTransformer does."
        )
    return X


def brightest_voxel(X: np.ndarray) -> float:
    """Return what the brightest voxel of all showers holds."""
    return float(max(showers[:, 1:].max() for _, showers in blocks(X)))


def incident_energies(rows: Any) -> Tensor:
    """Return the first column of rows, which may be read as they are needed."""
    step = bounded_rows(4096, rows.shape[1:])
    energy = torch.empty(len(rows), dtype=torch.float32)
    for start in range(0, len(rows), step):
        energy[start : start + step] = rows[start : start + step][:, 0]
    return energy


def counting(rows: Any) -> Tensor:
    """Return the rows of some that have a weight above zero, or all where none has."""
    if rows.weight is None or not (rows.weight > 0.0).any():
        return rows.x
    return rows.x[rows.weight > 0.0]


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


def scale_of_voxels(X: np.ndarray) -> str:
    """Return on which scale voxels come: that on which they add up to about the incident energy."""
    X = np.asarray(X[:: -(-len(X) // _ROWS_OF_SCALE)], dtype=np.float64)
    X = X[(X[:, 0] > 0.0) & (X[:, 1:] > 0.0).any(axis=1)]
    if not len(X):
        return SCALES[0]
    off = {}
    with np.errstate(all="ignore"):
        for kind in SCALES:
            energy = X[:, 1:]
            if kind != "energy":
                energy = single_backward(kind, energy.copy(), X[:, :1], LEAST_SHARE, 0.0)
            ratio = energy.sum(axis=1) / X[:, 0]
            off[kind] = float(np.median(np.abs(np.log(ratio))))
    best = min((value for value in off.values() if np.isfinite(value)), default=0.0)
    return next((kind for kind in SCALES if off[kind] <= best * (1.0 + 1e-3) + 1e-9), SCALES[0])
