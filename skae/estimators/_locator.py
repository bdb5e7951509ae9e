"""Base of the pulse locators: predict, predict_distribution, checks and symmetries of events."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skae.estimators._data import blocks, to_host, validate_table
from skae.estimators._sequences import (
    SWAPPED,
    SequenceWords,
    refuse_single_target,
    validate_sequences,
)


class BaseLocator(RegressorMixin, ABC):
    """A regressor that gives each event a position on its samples, and a distribution over them."""

    #: whether NaN is a sample that was not recorded
    _takes_gaps: bool = False

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
        return validate_traces(self, X, reset=False, gaps=self._takes_gaps)

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

    def score(self, X, y, sample_weight=None):
        """Return R² of the positions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.
        y : array-like of shape (n_samples,) or (n_samples, n_pulses)
            True positions; events whose position is NaN have no pulse, and are left out, as are events
            with several.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the events.

        Returns
        -------
        score : float
            1 is perfect, 0 what the mean position gives.
        """
        y_pred = self.predict(X)
        y_true = check_array(
            to_host(y), ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan"
        )
        if y_true.ndim == 2 and y_true.shape[1] == 1:
            y_true = y_true.ravel()
        check_consistent_length(y_true, y_pred)
        y_true = single_positions(y_true)
        is_there = ~np.isnan(y_true)
        weight = None if sample_weight is None else np.asarray(sample_weight)[is_there]
        return r2_score(y_true[is_there], y_pred[is_there], sample_weight=weight)

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


# What labels may be off whole samples by, for they were computed: least, and most in single precision.
_ROUNDING = 1e-6, 1e-4

_WORDS = SequenceWords(
    "trace_shape_", "n_traces", "event", "events", "trace", "sample", "missing='mask'"
)


def validate_traces(
    estimator: BaseEstimator, X: Any, *, reset: bool, gaps: bool = False
) -> np.ndarray:
    """Check events, of traces or of a single one, and that their shape is the one of fit."""
    n_traces = getattr(estimator, "n_traces", None)
    if n_traces is not None and np.ndim(X) == 2:
        return _validate_flat(estimator, X, n_traces, reset=reset, gaps=gaps)
    words = _WORDS if hasattr(estimator, "missing") else replace(_WORDS, masking="")
    return validate_sequences(estimator, X, words, reset=reset, gaps=gaps)


def _validate_flat(
    estimator: BaseEstimator, X: Any, n_traces: int, *, reset: bool, gaps: bool
) -> np.ndarray:
    """Check rows of traces that stand one behind the other; return events."""
    X = validate_table(estimator, X, reset=reset, gaps=gaps)
    if X.shape[1] % n_traces:
        raise ValueError(
            f"X has rows of {X.shape[1]} samples, which are not {n_traces} traces of one length; set "
            f"n_traces={n_traces} right, or pass events of shape (n_samples, n_traces, n_times)."
        )
    if reset:
        estimator.trace_shape_ = (n_traces, X.shape[1] // n_traces)
    return X.reshape(len(X), *estimator.trace_shape_)


def single_positions(y: np.ndarray) -> np.ndarray:
    """Return the position of each event's only pulse; NaN where it has none, or several."""
    if y.ndim == 1:
        return y
    is_there = ~np.isnan(y)
    one = np.where(is_there, y, 0.0).sum(axis=1)
    return np.where(is_there.sum(axis=1) == 1, one, np.nan)


def refuse_missing_positions(X: np.ndarray, y: np.ndarray) -> None:
    """Refuse positions at which no trace of the event has a sample."""
    if y.ndim == 2:
        for column in y.T:
            refuse_missing_positions(X, column)
        return
    is_there = ~np.isnan(y)
    nearest = np.rint(np.where(is_there, y, 0.0)).astype(int)
    for start, rows in blocks(X):
        events = rows.reshape(len(rows), -1, X.shape[-1])
        at = nearest[start : start + len(rows)]
        there = events[np.arange(len(rows)), :, at]  # (n, n_traces)
        bad = np.flatnonzero(np.isnan(there).all(axis=1) & is_there[start : start + len(rows)])
        if len(bad):
            event = start + int(bad[0])
            raise ValueError(
                f"y[{event}] = {float(y[event])!r} is a place where event {event} has no samples: they "
                "are NaN in all of its traces. Leave the event out, or correct its label."
            )


def validate_positions(
    estimator: BaseEstimator, y: Any, X: np.ndarray, out_of_range: str, *, absent: bool = False
) -> np.ndarray:
    """Check positions, one for each event; those outside of the samples "raise", or "clip" or "keep".

    With ``absent`` they may be NaN, where there is no pulse, and there may be several, ``(n, n_pulses)``.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    y = to_host(y)
    refuse_single_target(y, X)
    y = check_array(
        y, ensure_2d=False, dtype="numeric", input_name="y", ensure_all_finite="allow-nan"
    )
    if not (absent and y.ndim == 2 and y.shape[1] > 1):
        y = column_or_1d(y, warn=True)
    if not absent and y.dtype.kind == "f" and np.isnan(y).any():
        n = int(np.isnan(y).sum())
        remedy = ""
        if hasattr(estimator, "absent"):
            remedy = (
                " If these are events without a pulse, set absent='learn'; else leave them out."
            )
        raise ValueError(
            f"Input y contains NaN: {n} of {len(y)} positions, the first is y[{np.isnan(y).argmax()}]."
            f"{remedy}"
        )
    eps, y = np.finfo(y.dtype).eps if y.dtype.kind == "f" else 0.0, y.astype(np.float64)
    check_consistent_length(X, y)
    last = X.shape[-1] - 1
    if out_of_range == "keep":
        return y
    whole = np.rint(y)
    rounding = np.clip(2.0 * eps * last, *_ROUNDING)
    y = np.where(np.abs(y - whole) <= rounding, whole, y)
    outside = np.argwhere((y < 0.0) | (y > last))
    largest = y.max(initial=-np.inf, where=~np.isnan(y))
    is_on_other_axis = X.ndim == 3 and last < largest < X.shape[1] and 2 * len(outside) > y.size
    if out_of_range == "clip" and not is_on_other_axis:
        return np.clip(y, 0.0, last)
    if len(outside):
        remedy = "Give positions in samples, leave these events out, or set out_of_range='clip'."
        places = [tuple(map(int, place)) for place in outside[:5]]
        shown = ", ".join(f"y[{', '.join(map(str, at))}] = {float(y[at])!r}" for at in places)
        raise ValueError(
            f"{len(outside)} of {y.size} positions in y lie outside of the samples 0 to {last} of X: "
            f"{shown}{', …' if len(outside) > 5 else ''}. {SWAPPED if is_on_other_axis else remedy}"
        )
    return y
