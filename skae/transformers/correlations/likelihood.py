"""The likelihood of histograms, and its maximum: many rows at a time, each within bounds."""

from dataclasses import dataclass

import numpy as np
from scipy.special import kl_div

from skae.transformers.correlations.model import CorrelationModel

# Rates are no smaller, in units of the largest count.
_SMALLEST_RATE = 1e-9

# A fit has converged where the next step is expected to gain less, in units of χ².
_TOLERANCE = 1e-9
_MOST_STEPS = 80

# Damping of steps at first, and where a row is given up.
_FIRST_DAMPING = 1e-3
_MOST_DAMPING = 1e12


@dataclass(frozen=True)
class Histograms:
    """Rows of a table, and which of their bins count.

    Attributes
    ----------
    counts : ndarray of shape (n, n_bins)
        What was counted; 0 where nothing is known.
    known : ndarray of shape (n, n_bins)
        1 where the bin counts, 0 where it is left out.
    """

    counts: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Histograms":
        """Return rows whose bins are left out where they are NaN."""
        missing = np.isnan(X)
        return cls(np.where(missing, 0.0, X), 1.0 - missing)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows) -> "Histograms":
        return Histograms(self.counts[rows], self.known[rows])


def deviances(model: CorrelationModel, data: Histograms, means: np.ndarray) -> np.ndarray:
    """Return the deviance of each bin, ``(n, n_bins)``: 0 where it is left out."""
    if model.gaussian:
        return data.known * np.square(means - data.counts)
    return 2.0 * data.known * kl_div(data.counts, _above_zero(data, means))


def _above_zero(data, means):
    """Return means that no count is impossible under."""
    floor = _SMALLEST_RATE * data.counts.max(axis=1, keepdims=True)
    return np.maximum(means, np.maximum(floor, 1e-300))


def maximise(
    model: CorrelationModel,
    data: Histograms,
    start: np.ndarray,
    *,
    fixed: tuple[str, ...] = (),
    tolerance: float = _TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely parameters near a start, ``(n, n_params)``, and their deviances ``(n,)``.

    Fisher's scoring, damped where a step does not gain (Levenberg, 1944; Marquardt, 1963), of those
    parameters that are not held by a bound.

    Parameters
    ----------
    model : CorrelationModel
        The model.
    data : Histograms
        Histograms.
    start : ndarray of shape (n, n_params)
        Where to begin.
    fixed : tuple of str
        Names of parameters to leave as they are.
    tolerance : float
        What another step is expected to gain, in units of χ², where there is no need for it.
    """
    low, high = model.limits
    as_they_are = np.zeros(len(low), dtype=bool)
    as_they_are[[model.index[name] for name in fixed]] = True
    free = (low < high) & ~as_they_are
    values = np.where(as_they_are, start, np.clip(start, low, high))
    if not free.any():
        return values, deviances(model, data, model.curves(values)).sum(axis=1)
    search = _Search(model, data, free, values, tolerance)
    for _ in range(_MOST_STEPS):
        if not search.step():
            break
    return search.values, search.deviance


class _Search:
    """The state of all rows' searches."""

    def __init__(self, model, data, free, values, tolerance):
        self.model, self.data, self.free, self.values = model, data, free, values
        self.tolerance = tolerance
        n, n_free = len(values), free.sum()
        self.damping = np.full(n, _FIRST_DAMPING)
        self.gradient, self.information = np.empty((n, n_free)), np.empty((n, n_free, n_free))
        self.deviance = np.empty(n)
        self.active = np.arange(n)
        self._look(self.active, values)

    def _look(self, rows, values):
        """Compute deviances, gradients of half of them, and informations of rows."""
        data = self.data[rows]
        means, slopes = self.model.with_slopes(values, self.free)
        self.values[rows] = values
        self.deviance[rows] = deviances(self.model, data, means).sum(axis=1)
        if self.model.gaussian:
            force, weight = data.known * (means - data.counts), data.known
        else:
            means = _above_zero(data, means)
            force, weight = data.known * (1.0 - data.counts / means), data.known / means
        self.gradient[rows] = np.matmul(slopes, force[:, :, None])[:, :, 0]
        self.information[rows] = np.matmul(slopes * weight[:, None], slopes.transpose(0, 2, 1))

    def step(self):
        """Move all rows that have not converged by a step; tell whether there are any left."""
        rows = self.active
        change, gain = self._proposal(rows)
        low, high = self.model.limits[:, self.free]
        trial = self.values[rows]
        trial[:, self.free] = np.clip(trial[:, self.free] + change, low, high)
        means = self.model.curves(trial)
        deviance = deviances(self.model, self.data[rows], means).sum(axis=1)
        better = deviance <= self.deviance[rows]
        done = (gain < self._tolerance(rows)) | (self.damping[rows] > _MOST_DAMPING)
        self.damping[rows] = np.where(
            better, np.maximum(0.2 * self.damping[rows], 1e-9), 8.0 * self.damping[rows]
        )
        if better.any():
            self._look(rows[better], trial[better])
        self.active = rows[~done]
        return len(self.active) > 0

    def _tolerance(self, rows):
        """Return gains that are too small to go on for."""
        if self.model.gaussian:
            return (
                self.tolerance * np.maximum(self.deviance[rows], 1e-300) / self.data.counts.shape[1]
            )
        return np.maximum(self.tolerance, 1e-13 * self.deviance[rows])

    def _proposal(self, rows):
        """Return a step of each row, and by how much the deviance is expected to fall."""
        low, high = self.model.limits[:, self.free]
        at = self.values[rows][:, self.free]
        gradient, information = self.gradient[rows], self.information[rows]
        held = ((at <= low) & (gradient > 0.0)) | ((at >= high) & (gradient < 0.0))
        scale = np.sqrt(np.einsum("nii->ni", information))
        held |= scale == 0.0
        scale = np.where(held, 1.0, scale)
        gradient = np.where(held, 0.0, gradient / scale)
        both = held[:, :, None] | held[:, None, :]
        information = np.where(both, 0.0, information / (scale[:, :, None] * scale[:, None, :]))
        damping = np.where(held, 1.0, self.damping[rows, None])
        damped = information + damping[:, :, None] * np.eye(scale.shape[1])
        change = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        gain = -(change * gradient).sum(axis=1)
        return change / scale, gain


def information(model: CorrelationModel, data: Histograms, values: np.ndarray) -> np.ndarray:
    """Return the Fisher information of all parameters, ``(n, n_params, n_params)``, 0 where fixed."""
    low, high = model.limits
    free = low < high
    means, slopes = model.with_slopes(values, free)
    if model.gaussian:
        spread = np.square(means - data.counts) * data.known
        variance = spread.sum(axis=1) / np.maximum(data.known.sum(axis=1), 1.0)
        weight = data.known / np.maximum(variance, 1e-300)[:, None]
    else:
        largest = means.max(axis=1, keepdims=True)
        safe = np.maximum(means, np.maximum(_SMALLEST_RATE * largest, 1e-300))
        weight = data.known * (largest > 0.0) / safe
    found = np.zeros((len(values), len(free), len(free)))
    inner = np.matmul(slopes * weight[:, None], slopes.transpose(0, 2, 1))
    found[np.ix_(np.arange(len(values)), free, free)] = inner
    return found


def errors_of(model: CorrelationModel, data: Histograms, values: np.ndarray) -> np.ndarray:
    """Return the Cramér–Rao errors of all parameters, ``(n, n_params)``: infinite where unknown."""
    low, high = model.limits
    found = np.where(low < high, np.inf, 0.0) * np.ones_like(values)
    for row, matrix in enumerate(information(model, data, values)):
        free = matrix.any(axis=0)
        scale = np.sqrt(matrix.diagonal()[free])
        scaled = matrix[np.ix_(free, free)] / np.outer(scale, scale)
        eigenvalues, vectors = np.linalg.eigh(scaled)
        known = eigenvalues > 1e-12
        variance = np.square(vectors[:, known]) @ (1.0 / eigenvalues[known])
        lost = np.square(vectors[:, ~known]).sum(axis=1) > 1e-6
        found[row, free] = np.where(lost, np.inf, np.sqrt(variance) / scale)
    return found
