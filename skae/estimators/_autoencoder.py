"""What the autoencoders share: transform, inverse_transform, and the mean of their rows' scores."""

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from skae.estimators._base import BaseNeuralEstimator
from skae.estimators._data import check_weight, to_host
from skae.modules import activation_names, is_activation


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseNeuralEstimator):
    """An estimator whose module has ``encode`` and ``decode``."""

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the units of the training data.

        Returns
        -------
        latent : ndarray of shape (n_samples, n_components)
            Latent coordinates, in the dtype of X (computed in float32).
        """
        X = self._validate_rows(X)
        return self._apply(self._tensor_functions()["transform"], X)

    def inverse_transform(self, X):
        """Decode latent coordinates.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Latent coordinates.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            Reconstructed rows, in the units of the training data and the dtype of ``X`` (computed
            in float32).
        """
        latent = self._check_latent(X)
        return self._apply(self._tensor_functions()["inverse_transform"], latent)

    def _tensor_functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        return {"transform": self.module_.encode, "inverse_transform": self.module_.decode}

    def _check_latent(self, X):
        """Check that X is what transform returns."""
        check_is_fitted(self, "net_")
        latent = check_array(to_host(X), dtype=[np.float64, np.float32])
        if latent.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {latent.shape[1]} columns, but {type(self).__name__} was fitted with "
                f"n_components={self.n_components_}; pass what transform returns, "
                f"{self._n_features_out} columns."
            )
        return latent

    @abstractmethod
    def score_samples(self, X):
        """Score each row; a low score marks an anomaly."""

    def score(self, X, y=None, sample_weight=None):
        """Return the mean of :meth:`score_samples`; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            The (weighted) mean of the rows' scores.
        """
        scores = self.score_samples(X).astype(np.float64)
        return float(np.average(scores, weights=check_weight(sample_weight, scores)))

    def _check_layers(self) -> None:
        """Check ``hidden_layer_sizes`` and ``activation``."""
        sizes = list(self.hidden_layer_sizes)
        if not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ValueError(f"hidden_layer_sizes={sizes} must hold integers of 1 or more.")
        if not is_activation(self.activation):
            raise ValueError(
                f"activation={self.activation!r} is unknown; use one of {', '.join(activation_names())}."
            )

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
