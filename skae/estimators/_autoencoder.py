"""Base of the autoencoders: transform, inverse_transform, and the mean of their rows' scores."""

from abc import abstractmethod
from numbers import Integral

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from skae._warn import warn
from skae.estimators._base import BaseNeuralEstimator
from skae.estimators._data import check_weight, to_host
from skae.exceptions import OvercompleteWarning
from skae.modules.blocks import make_activation
from skae.training.batches import PLAIN, Units


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
        return self._apply(self._tensor_transform, self._validate_rows(X))

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
        return self._decode(self._check_latent(X))

    def _decode(self, latent: np.ndarray) -> np.ndarray:
        """Decode latent coordinates that were checked."""
        units = self._units_of("inverse_transform")
        return self._apply(self._tensor_inverse_transform, latent, *units)

    @property
    def _exportable(self) -> tuple[str, ...]:
        return "transform", "inverse_transform"

    def _units_of(self, method: str) -> tuple[Units, Units]:
        if method == "inverse_transform":
            return PLAIN, self._row_units
        return super()._units_of(method)

    @property
    def _row_units(self) -> Units:
        """Units of rows that are decoded."""
        return self._units

    def _tensor_transform(self, x: Tensor) -> Tensor:
        return self.module_.encode(x)

    def _tensor_inverse_transform(self, z: Tensor) -> Tensor:
        return self.module_.decode(z)

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
        return self._mean_score(self.score_samples(X), sample_weight)

    def _mean_score(self, scores, sample_weight):
        scores = scores.astype(np.float64)
        return float(np.average(scores, weights=check_weight(sample_weight, scores)))

    def _check_layers(self) -> None:
        """Check ``hidden_layer_sizes`` and ``activation``."""
        sizes = [*np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))]
        for size in sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"hidden_layer_sizes={sizes} must hold integers of 1 or more.")
        make_activation(self.activation)

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def warn_if_overcomplete(n_components: int, n_features: int) -> None:
    """Warn of as many latent coordinates as columns."""
    if n_components >= n_features:
        warn(
            f"n_components={n_components} latent coordinates for {n_features} columns compress "
            "nothing; use fewer.",
            OvercompleteWarning,
        )
