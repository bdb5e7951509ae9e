"""Base of the transformers: validation of X and of what comes back, and callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, validate_data

from skae._pickling import RecordsVersion

_DTYPES = [np.float64, np.float32]


class TableTransformer(CallbackSupportMixin, TransformerMixin, RecordsVersion, BaseEstimator):
    """A transformer of float32 and float64 tables that keeps their dtype."""

    def _validate(self, X, *, reset):
        return validate_data(
            self, X, dtype=_DTYPES, ensure_all_finite=self._finite_or_nan(), reset=reset
        )

    def _validate_transformed(self, X, n_columns):
        """Check what is to be brought back, of ``n_columns`` columns."""
        X = check_array(X, dtype=_DTYPES, ensure_all_finite=self._finite_or_nan())
        if X.shape[1] != n_columns:
            raise ValueError(f"X has {X.shape[1]} columns, but transform returns {n_columns}.")
        return X

    def _finite_or_nan(self):
        return "allow-nan" if get_tags(self).input_tags.allow_nan else True

    @contextmanager
    def _fit_task(self, X: np.ndarray, y: object) -> Iterator[None]:
        """Tell scikit-learn's callbacks when the fit inside begins, and when it has ended well."""
        context = self._init_callback_context().call_on_fit_task_begin(estimator=self, X=X, y=y)
        yield
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
