"""What goes into a fit to spectra, checked: counts, gaps, the grid, and the noise."""

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array
from torch import nn

from skae.estimators._data import validate_table
from skae.exceptions import OvercompleteWarning
from skae.modules.sequences.networks import MultiResolutionDecoder
from skae.modules.spectra.lstm import LSTMDecoder
from skae.transformers._messages import name_column

#: decoders that read the grid, by their names
SEQUENCE_DECODERS: dict[str, type[nn.Module]] = {
    "lstm": LSTMDecoder,
    "multires": MultiResolutionDecoder,
}

# Rows looked at at once: the others may lie in a file.
_CHECKED_ROWS = 4096


def validate_spectra(
    estimator: Any, X: Any, *, counts: bool, gaps: bool, reset: bool
) -> np.ndarray:
    """Check X as scikit-learn does, and that it holds counts, or rows with gaps, as the model asks."""
    X = validate_table(estimator, X, reset=reset, gaps=gaps)
    if counts:
        check_counts(estimator, X)
    if gaps:
        check_gaps(estimator, X, axis=1)
    return X


def warn_if_overcomplete(n_components: int, n_features: int) -> None:
    """Warn of as many latent coordinates as columns."""
    if n_components >= n_features:
        warnings.warn(
            f"n_components={n_components} latent coordinates for {n_features} columns compress "
            "nothing, and the likelihood cannot tell them all apart.",
            OvercompleteWarning,
            stacklevel=5,
        )


def check_counts(estimator: Any, X: np.ndarray) -> None:
    """Refuse negative numbers where the likelihood is one of counts; NaN is let through."""
    n_bad, first = 0, None
    for start in range(0, len(X), _CHECKED_ROWS):
        bad = X[start : start + _CHECKED_ROWS] < 0
        n_bad += int(bad.sum())
        if first is None and bad.any():
            row, column = np.argwhere(bad)[0]
            first = start + int(row), int(column)
    if first is not None:
        raise ValueError(
            f"Negative values in data passed to {type(estimator).__name__}(likelihood='poisson'): "
            f"{n_bad} of {X.size}, the first is {X[first]:.6g} in row {first[0]}, "
            f"{name_column(estimator, first[1])}. Counts are never negative: pass them as they were "
            "counted, or use likelihood='gaussian' for what was subtracted from or scaled."
        )


def check_gaps(estimator: Any, X: np.ndarray, *, axis: int) -> None:
    """Refuse rows (axis 1) or columns (axis 0) of which nothing was observed."""
    blocks = [X[start : start + _CHECKED_ROWS] for start in range(0, len(X), _CHECKED_ROWS)]
    if axis == 1:
        empty = np.concatenate([np.isnan(block).all(axis=1) for block in blocks])
    else:
        empty = np.logical_and.reduce([np.isnan(block).all(axis=0) for block in blocks])
    if empty.any():
        first = int(empty.argmax())
        what = "rows" if axis == 1 else "columns"
        where = f"row {first}" if axis == 1 else name_column(estimator, first)
        raise ValueError(
            f"X has {empty.sum()} {what} of nothing but NaN, the first is {where}: there is nothing to "
            f"learn from or to encode. Leave these {what} out."
        )


def check_grid(times: Any, wavelengths: Any, n_features: int) -> np.ndarray:
    """Return the grid ``(n_features,)``: the one that was given, or equal steps."""
    if times is not None and wavelengths is not None:
        raise ValueError("times and wavelengths name the same grid; give one of them.")
    name, grid = ("times", times) if times is not None else ("wavelengths", wavelengths)
    if grid is None:
        return np.arange(n_features, dtype=np.float64)
    grid = check_array(grid, ensure_2d=False, dtype=np.float64, input_name=name)
    if grid.shape != (n_features,):
        raise ValueError(
            f"{name} has shape {grid.shape}, but X has {n_features} columns: it needs shape "
            f"({n_features},), one place for each."
        )
    steps = np.diff(grid)
    if not ((steps > 0).all() or (steps < 0).all()):
        first = int(np.argmin(steps if steps.sum() > 0 else -steps))
        raise ValueError(
            f"{name} must rise or fall throughout, but after {grid[first]:.6g} comes "
            f"{grid[first + 1]:.6g} (entry {first + 1}); sort it, and the columns of X with it."
        )
    return grid


def check_noise(sigma: Any, n_features: int) -> np.ndarray:
    """Return the standard deviation of the noise, ``(1,)`` or ``(n_features,)``."""
    array = np.atleast_1d(np.asarray(sigma, dtype=np.float64))
    if array.shape not in ((1,), (n_features,)):
        raise ValueError(
            f"noise_sigma has shape {array.shape}, but X has {n_features} columns: it needs one "
            f"number, or one for each column, shape ({n_features},)."
        )
    with np.errstate(over="ignore", under="ignore"):
        single = array.astype(np.float32)
    bad = ~((single > np.finfo(np.float32).tiny) & np.isfinite(single))
    if bad.any():
        first = int(bad.argmax())
        where = "" if array.size == 1 else f" at column {first} (and {bad.sum() - 1} more)"
        raise ValueError(
            f"noise_sigma={array[first]:.6g}{where} must be positive and finite in float32: it is the "
            "standard deviation of the noise, in the units of X. Leave out columns without one."
        )
    return array


def check_downsampling(downsampling: Any, hidden_size: int | Sequence[int]) -> None:
    """Refuse factors that do not coarsen, and sizes that have no halves."""
    factors = np.asarray(downsampling)
    if factors.ndim != 1 or not all(isinstance(f, Integral) and f >= 2 for f in downsampling):
        raise ValueError(
            f"downsampling={downsampling!r} must be a sequence of integers of 2 or more: the "
            "steps that make one of the next coarser level."
        )
    n_levels = len(factors) + 1
    sizes = np.atleast_1d(np.asarray(hidden_size))
    if np.ndim(hidden_size) and len(sizes) != n_levels:
        raise ValueError(
            f"hidden_size={hidden_size!r} must be an integer or have {n_levels} of them, one for "
            f"each level of downsampling={downsampling!r}, the coarsest first."
        )
    if sizes.dtype.kind not in "iu" or (sizes < 2).any() or (sizes % 2).any():
        raise ValueError(
            f"hidden_size={hidden_size!r} must be even and positive: half of a state runs "
            "forwards, half backwards."
        )


def make_sequence_decoder(estimator: Any, n_components: int) -> nn.Module:
    """Build the decoder that an estimator names, over its grid."""
    arguments = [
        torch.from_numpy(np.ascontiguousarray(estimator.grid_)),
        n_components,
        int(estimator.hidden_size),
        estimator.latent_state,
    ]
    if estimator.decoder == "multires":
        arguments.append([int(factor) for factor in estimator.downsampling][::-1])
    return SEQUENCE_DECODERS[estimator.decoder](*arguments)
