"""Helpers of displays: the last step of a Pipeline, the round trip, and names of columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skae.plotting._display import Display, documented


def last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the last step of a Pipeline, and the rows as they reach it."""
    if not isinstance(estimator, Pipeline):
        return estimator, X
    return estimator[-1], estimator[:-1].transform(X) if len(estimator) > 1 else X


def given(**beside: Any) -> dict[str, Any]:
    """Return what is not None of what may stand beside rows."""
    return {name: part for name, part in beside.items() if part is not None}


@documented
class RoundTripDisplay(Display):
    """A display of rows beside the same rows encoded and decoded."""

    @classmethod
    def from_estimator(cls, estimator, X, *, sample_weight=None, **kwargs):
        """Plot X beside X encoded and decoded.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        """
        decoded = np.asarray(estimator.inverse_transform(estimator.transform(X)))
        return cls.from_predictions(X, decoded, sample_weight=sample_weight, **kwargs)


def column_names(X: Any, names: Sequence[str] | None) -> list[str]:
    """Return the names that were given, else those of a DataFrame, else x0, x1, …"""
    n_columns = np.shape(X)[1]
    if names is None:
        names = list(X.columns) if hasattr(X, "columns") else [f"x{j}" for j in range(n_columns)]
    if len(names) != n_columns:
        raise ValueError(
            f"names={list(names)} has {len(names)} entries, but X has {n_columns} columns."
        )
    return [str(name) for name in names]
