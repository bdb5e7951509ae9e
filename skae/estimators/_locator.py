"""What locators of pulses share: predict, predict_distribution, and the shape of what they look at."""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from skae.estimators._traces import validate_traces


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
