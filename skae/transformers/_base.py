"""Base of the transformers: fit, and validation of X and of what comes back."""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, validate_data

from skae._numbers import refuse_dates
from skae._parameters import Parameters
from skae._pickling import RecordsVersion
from skae._sklearn import _fit_context

_DTYPES = [np.float64, np.float32]


class TableTransformer(
    Parameters, CallbackSupportMixin, TransformerMixin, RecordsVersion, BaseEstimator, ABC
):
    """A transformer of float32 and float64 tables that keeps their dtype.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X had string names.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X and the parameters, and learn what is to be learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, as the class describes them.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X cannot be transformed, or a parameter does not suit it.
        """
        X = self._validate(X, reset=True)
        context = self._init_callback_context().call_on_fit_task_begin(estimator=self, X=X, y=y)
        self._learn(X)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        return self

    @abstractmethod
    def _learn(self, X: np.ndarray) -> None:
        """Learn from X, after checking what no single parameter's constraint can."""

    def _validate(self, X, *, reset):
        refuse_dates(X)
        return validate_data(
            self, X, dtype=_DTYPES, ensure_all_finite=self._finite_or_nan(), reset=reset
        )

    def _validate_transformed(self, X, n_columns):
        """Check what is to be brought back, of ``n_columns`` columns."""
        refuse_dates(X)
        X = check_array(X, dtype=_DTYPES, ensure_all_finite=self._finite_or_nan())
        if X.shape[1] != n_columns:
            raise ValueError(f"X has {X.shape[1]} columns, but transform returns {n_columns}.")
        return X

    def _finite_or_nan(self):
        return "allow-nan" if get_tags(self).input_tags.allow_nan else True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
