"""Checks behind a fit, on some of its rows: what was learnt so badly that its user must hear of it."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from skae._warn import warn
from skae.exceptions import PoorFitWarning

#: fewest rows of which a fit is judged, and most rows that are looked at
FEWEST_ROWS, MOST_ROWS = 250, 1024

# Fewer steps than these are named as the likely cause.
_FEW_STEPS = 200

# Least R² of a fit of few steps; that of any other is 0.
_LEAST_R2_OF_SHORT = 0.5

# Factors by which totals of drawn showers may be off: those of all, and of each quarter of the energies.
_OFF_BY, _QUARTER_OFF_BY = 1.25, 1.5

# Mean squared pulls above which a fit is poor, and one of few steps; and below which it is.
_WIDE, _WIDE_OF_SHORT, _NARROW = 2.0, 1.25, 0.5

# Correlation of the pulls of neighbouring columns from which on errors are too small by a tenth, fewest
# pairs from which it is found, and pulls beyond which one is an outlier.
_RELATED, _FEWEST_PAIRS, _LARGEST_PULL = 0.1, 2000, 3.0

# Rows that should have seen a column for each number that is learnt of it, a mean and loadings.
_ROWS_OF_EACH = 10

# From where on a redshift is at the end of its range, as a standard normal number, and how many may be: a
# hundredth should.
_AT_THE_END, _MOST_AT_THE_ENDS = 2.6, 0.1

# Rows of which principal components are found.
_ROWS_OF_PCA = 512


def warn_of_poor_fit(
    estimator: Any, X: np.ndarray, y: np.ndarray | None, weight: np.ndarray | None
) -> None:
    """Judge a fit by the rows it was trained on, and warn of all that is wrong with it."""
    rows: Any = slice(None, None, -(-len(X) // MOST_ROWS))
    if weight is not None:  # as often as they weigh
        total = np.cumsum(np.abs(weight))
        rows = np.searchsorted(total, (np.arange(MOST_ROWS) + 0.5) / MOST_ROWS * total[-1])
    n_steps = estimator.n_iter_ * -(-len(X) // estimator.batch_size)
    is_short = n_steps < _FEW_STEPS and not getattr(estimator, "_has_converged", False)
    with np.errstate(all="ignore"):  # what is not finite is judged by comparisons, which fail
        faults = list(estimator._find_faults(X[rows], None if y is None else y[rows], is_short))
    if not faults:
        return
    if is_short:
        faults.append(f"Training took only {n_steps} steps: raise max_epochs, or lower batch_size.")
    warn(f"Poor fit of {type(estimator).__name__}: {' '.join(faults)}", PoorFitWarning)


def r_squared(true: np.ndarray, found: np.ndarray) -> float:
    """Return the share of the variance of all columns together that is explained."""
    error = np.square(found - true, dtype=np.float64).mean()
    variance = np.var(true, axis=0, dtype=np.float64).mean()
    return 1.0 - float(error / variance) if variance > 0.0 else 1.0


def faults_of_redshifts(latent: np.ndarray) -> Iterator[str]:
    """Say that rows gather at the ends of a coordinate that is standard normal."""
    share = np.mean(np.abs(latent) > _AT_THE_END)
    if share > _MOST_AT_THE_ENDS:
        yield (
            f"{share:.0%} of the redshifts are at the ends of their range, where few should be: raise "
            "max_redshift."
        )


def faults_of_regression(name: str, r2: float, is_short: bool) -> Iterator[str]:
    """Name a target that is predicted badly."""
    if not r2 > (_LEAST_R2_OF_SHORT if is_short else 0.0):
        yield (
            f"R² of {name} is {r2:.2f} on the training data; their mean alone gives 0. Train for longer, "
            "with another lr, or check whether X says anything about it."
        )


def faults_of_angle(name: str, spread: float, angle: np.ndarray) -> Iterator[str]:
    """Say of a column that is an angle why it is in no radians."""
    if np.mean(np.abs(angle) > 2.0 * np.pi) > 0.01:
        yield (
            f"{name} reaches {np.abs(angle).max():.6g} and is not in radians, as angles must be: use "
            "np.deg2rad."
        )
    elif abs(spread - 1.0) < 1e-3 and abs(angle.mean()) < 0.2:
        yield (
            f"{name} has a spread of {spread:.4f}, as a StandardScaler leaves it: angles must stay in "
            "radians. Scale the other columns alone."
        )


def faults_of_showers(
    name: str, drawn: np.ndarray, true: np.ndarray, energy: np.ndarray
) -> Iterator[str]:
    """Name a total of drawn showers that is off, over all of them or at some incident energies."""
    ends = np.quantile(energy, [0.0, 0.25, 0.5, 0.75, 1.0])
    parts = [(ends[0], ends[-1], "", _OFF_BY)]
    for low, high in pairwise(ends):
        parts.append(
            (low, high, f" at incident energies of {low:.3g} to {high:.3g}", _QUARTER_OFF_BY)
        )
    for low, high, where, off_by in parts:
        rows = (low <= energy) & (energy <= high)
        of_true = true[rows].sum()
        ratio = drawn[rows].sum() / of_true if of_true else 1.0
        if not 1.0 / off_by < ratio < off_by:
            yield (
                f"Showers that are drawn have {ratio:.3g} times the total {name} of those in training"
                f"{where}. Train for longer, or bring voxels to one scale by a LogRatioTransformer."
            )
            return


def faults_of_widths(pulls: np.ndarray, is_short: bool, *, counted: bool) -> Iterator[str]:
    """Say of residuals in units of their noise, NaN in gaps, that they are not as wide as that is."""
    squares = np.nanmean(np.square(pulls, dtype=np.float64), axis=1)
    squares = squares[~np.isnan(squares)]  # of rows in which nothing that varies was seen
    typical, mean = np.median(squares), squares.mean()  # a few outliers make no poor fit
    limit = _WIDE_OF_SHORT if is_short else _WIDE
    if min(typical, mean) < limit and max(typical, mean) > _NARROW:
        return
    remedy = (
        "Where counts were scaled, subtracted from or amplified, use likelihood='gaussian'; else try "
        "more latent coordinates or hidden layers"
        if counted
        else "Give noise_sigma in the units of X, or let it be learnt; else try more latent "
        "coordinates or hidden layers"
    )
    yield (
        f"The mean squared pull is {mean:.3g} and should be 1: residuals are "
        f"{'larger' if mean > 1.0 else 'smaller'} than the noise. {remedy}."
    )


def faults_of_neighbours(pulls: np.ndarray) -> Iterator[str]:
    """Say of residuals in units of their noise, NaN in gaps, that neighbouring columns go together.

    Noise of independent columns, whose correlation is ρ from each to the next, would make errors of sums
    √((1 + ρ) / (1 - ρ)) times as large.
    """
    pulls = np.clip(pulls, -_LARGEST_PULL, _LARGEST_PULL).astype(np.float64)
    products = pulls[:, 1:] * pulls[:, :-1]
    if np.isfinite(products).sum() < _FEWEST_PAIRS:
        return
    related = float(np.nanmean(products) / np.nanmean(np.square(pulls)))
    if related > _RELATED:
        times = np.sqrt((1.0 + related) / (1.0 - related)) if related < 1.0 else np.inf
        yield (
            f"Residuals of neighbouring columns have a correlation of {related:.2f}, where independent "
            "noise has none: errors of latent coordinates are too small by a factor of about "
            f"{times:.2g}. Try more latent coordinates or hidden layers; where neighbours share their "
            "noise, as after resampling, take fewer columns."
        )


def faults_of_rare_columns(
    n_seen: np.ndarray, n_components: int, name: Callable[[int], str]
) -> Iterator[str]:
    """Name columns that fewer rows saw than what is to be learnt of them asks for."""
    fewest = _ROWS_OF_EACH * (n_components + 1)
    rare = n_seen < fewest
    if rare.any():
        first = int(rare.argmax())
        yield (
            f"{rare.sum()} of {len(n_seen)} columns were seen in fewer than {fewest} rows, which is "
            f"{_ROWS_OF_EACH} for each number learnt of a column; the first is {name(first)}, seen in "
            f"{n_seen[first]}. What the model says there comes from neighbouring columns, or is noise. "
            "Leave these columns out, or take fewer components."
        )


def explained_by_pca(X: np.ndarray, n_components: int) -> float:
    """Return the share of all variance that as many principal components explain."""
    X = X[:: -(-len(X) // _ROWS_OF_PCA)].astype(np.float64)
    X -= X.mean(axis=0)
    values = np.linalg.eigvalsh(X.T @ X if len(X) > X.shape[1] else X @ X.T)  # ascending
    return float(values[-n_components:].sum() / values.sum()) if values.sum() > 0.0 else 0.0
