"""Base of the pulse locators: predict, predict_distribution, checks and symmetries of events."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skae.estimators._data import to_host
from skae.estimators._sequences import (
    SWAPPED,
    SequenceWords,
    refuse_single_target,
    validate_sequences,
)


class BaseLocator(RegressorMixin, ABC):
    """A regressor that gives each event a position on its samples, and a distribution over them."""

    @abstractmethod
    def _locate(self, X: np.ndarray, return_std: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return positions ``(n,)`` of checked events, and standard deviations if they are asked for."""

    @abstractmethod
    def _distribute(self, X: np.ndarray) -> np.ndarray:
        """Return a distribution over the samples of checked events, ``(n, n_times)``."""

    @property
    def _row_shape(self) -> tuple[int, ...]:
        return self.trace_shape_

    def _validate_rows(self, X) -> np.ndarray:
        check_is_fitted(self, "trace_shape_")
        return validate_traces(self, X, reset=False)

    def predict(self, X, return_std=False):
        """Locate the pulse of each event.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.
        return_std : bool, default=False
            Return a standard deviation, too; the class says of what.

        Returns
        -------
        position : ndarray of shape (n_samples,)
            Positions in samples.
        std : ndarray of shape (n_samples,)
            Standard deviations in samples. Only returned with ``return_std=True``.
        """
        position, std = self._locate(self._validate_rows(X), return_std)
        return (position, std) if return_std else position

    def predict_distribution(self, X):
        """Return how probable each sample is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_times)
            Each row sums to one. Bin j spans positions from j − ½ to j + ½.
        """
        return self._distribute(self._validate_rows(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


# What symmetries are judged by: as many events, as many numbers in them, this far around the pulse.
_JUDGED_EVENTS = 5000
_JUDGED_NUMBERS = 2**22
_JUDGED_SAMPLES = 20

# A difference breaks a symmetry if it is as improbable as this, and this share of the traces' spread:
# what is significant in a large sample may still be small.
_IMPROBABLE = 1e-9
_LARGE = 0.05


# What labels may be off whole samples by, for they were computed: least, and most in single precision.
_ROUNDING = 1e-6, 1e-4

_WORDS = SequenceWords("trace_shape_", "n_traces", "event", "events", "trace", "sample")


def validate_traces(estimator: BaseEstimator, X: Any, *, reset: bool) -> np.ndarray:
    """Check events, of traces or of a single one, and that their shape is the one of fit."""
    return validate_sequences(estimator, X, _WORDS, reset=reset)


def validate_positions(
    estimator: BaseEstimator, y: Any, X: np.ndarray, out_of_range: str
) -> np.ndarray:
    """Check positions, one for each event; those outside of the samples "raise", or "clip" or "keep"."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    y = to_host(y)
    refuse_single_target(y, X)
    y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
    y = column_or_1d(y, warn=True)
    eps, y = np.finfo(y.dtype).eps if y.dtype.kind == "f" else 0.0, y.astype(np.float64)
    check_consistent_length(X, y)
    last = X.shape[-1] - 1
    if out_of_range == "keep":
        return y
    whole = np.rint(y)
    rounding = np.clip(2.0 * eps * last, *_ROUNDING)
    y = np.where(np.abs(y - whole) <= rounding, whole, y)
    outside = np.flatnonzero((y < 0.0) | (y > last))
    is_on_other_axis = X.ndim == 3 and last < y.max() < X.shape[1] and 2 * len(outside) > len(y)
    if out_of_range == "clip" and not is_on_other_axis:
        return np.clip(y, 0.0, last)
    if len(outside):
        remedy = "Give positions in samples, leave these events out, or set out_of_range='clip'."
        shown = ", ".join(f"y[{i}] = {float(y[i])!r}" for i in outside[:5])
        raise ValueError(
            f"{len(outside)} of {len(y)} positions in y lie outside of the samples 0 to {last} of X: "
            f"{shown}{', …' if len(outside) > 5 else ''}. {SWAPPED if is_on_other_axis else remedy}"
        )
    return y


def find_symmetries(X: np.ndarray, y: np.ndarray) -> tuple[bool, bool]:
    """Tell whether the data allow traces to be exchanged, and time to be reversed.

    Looked at are the mean waveform around the pulse, the mean over all of the samples, and the
    traces' variances. A symmetry is denied where they differ significantly, and by more than a
    twentieth of the spread of the samples.

    Parameters
    ----------
    X : ndarray of shape (n, n_traces, n_times) or (n, n_times)
        Events.
    y : ndarray of shape (n,)
        Positions of their pulses.

    Returns
    -------
    exchangeable, reversible : bool
        Of a single trace there is nothing to exchange.
    """
    n_judged = min(_JUDGED_EVENTS, max(1, _JUDGED_NUMBERS // max(1, X[:1].size)))
    step = -(-len(X) // n_judged)
    events = np.array(X[::step], dtype=np.float64)
    events = events.reshape(len(events), -1, X.shape[-1])  # (n, n_traces, n_times)
    aligned = _align(events, np.rint(y[::step]).astype(int))  # NaN outside of the trace
    # pedestals are no part of what traces do
    spread = max((events - events.mean(axis=2, keepdims=True)).std(), np.finfo(float).tiny)
    reversible = not (
        _differ(aligned, aligned[..., ::-1], spread) or _differ(events, events[..., ::-1], spread)
    )
    if events.shape[1] == 1:
        return False, reversible
    variance = events.var(axis=2, keepdims=True) / spread
    exchangeable = not any(
        _differ(numbers, numbers.mean(axis=1, keepdims=True), spread)
        for numbers in (aligned, events, variance)
    )
    return exchangeable, reversible


def _align(events: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Cut the samples around each position out; NaN where there are none."""
    n_times = events.shape[2]
    reach = min(_JUDGED_SAMPLES, n_times - 1)
    samples = positions[:, np.newaxis] + np.arange(-reach, reach + 1)  # (n, lags)
    inside = (samples >= 0) & (samples < n_times)
    cut = np.take_along_axis(events, np.clip(samples, 0, n_times - 1)[:, np.newaxis], axis=2)
    return np.where(inside[:, np.newaxis], cut, np.nan)


def _differ(first: np.ndarray, second: np.ndarray, spread: float) -> bool:
    """Tell whether two sets of numbers, paired event by event, have different means somewhere."""
    difference = first - second  # (n, n_traces, lags)
    known = np.isfinite(difference)
    n = known.sum(axis=0)
    difference = np.where(known, difference, 0.0)
    mean = difference.sum(axis=0) / np.maximum(n, 1)
    square = (difference**2).sum(axis=0) / np.maximum(n, 1)
    error = np.sqrt(np.maximum(square - mean**2, 0.0) / np.maximum(n - 1, 1))
    limit = stats.t.isf(_IMPROBABLE, np.maximum(n - 1, 1)) * error
    large = np.abs(mean) > _LARGE * spread
    return bool((large & (np.abs(mean) > limit) & (n > 2)).any())
