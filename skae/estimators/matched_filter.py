"""MatchedFilterLocator: coincident pulses of known shape, found without training data."""

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, column_or_1d

from skae._parameters import POSITIVE, Parameters, estimator, parameter
from skae._pickling import RecordsVersion
from skae._sklearn import _fit_context
from skae.estimators._locator import BaseLocator, validate_positions, validate_traces

# Standard deviations that a Gaussian template extends to either side.
_EXTENT = 4.0

# Events filtered at once.
_CHUNK_EVENTS = 1024


@estimator
class MatchedFilterLocator(Parameters, BaseLocator, RecordsVersion, BaseEstimator):
    r"""Locate the pulse that the traces of an event have in common with a matched filter.

    Each trace is correlated with the pulse's shape, the responses of all traces are multiplied, negative
    ones taken as zero, and the sample with the largest product is where the coincidence is. Of one pulse
    in white noise the plain filter, ``remove_baseline=False``, finds the maximum-likelihood position.
    With ``remove_baseline=True`` the second derivative of the shape, with its sign reversed, takes its
    place: it does not see constants and slopes.

    The distribution is the product of the responses, normalised: it orders positions, and its standard
    deviation tells how sharp it is. Neither is calibrated; :class:`PulseLocator`'s are.

    Parameters
    ----------
    width : float, default=2.0
        Standard deviation of a Gaussian pulse, in samples. Without noise a narrower filter separates
        neighbouring pulses better.
    template : array-like of shape (n_template,), default=None
        Any other shape, sampled as the traces are; its sample ``n_template // 2`` is the position
        of the pulse.
    remove_baseline : bool, default=True
        Ignore constants and slopes.
    sub_bin : bool, default=False
        Interpolate between samples, with a parabola through the logarithm of the product.

    Attributes
    ----------
    kernel_ : ndarray of shape (n_template,)
        What the traces are correlated with.
    trace_shape_ : tuple of int
        Shape of an event, (n_traces, n_times) or (n_times,).
    n_features_in_ : int
        Number of samples in a trace.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the samples, where X had string names.

    See Also
    --------
    PulseLocator : A network, more exact where background pulses pile up.

    References
    ----------
    .. [1] G. L. Turin, "An introduction to matched filters", IRE Transactions on Information Theory 6
       (1960).

    Examples
    --------
    >>> from skae import MatchedFilterLocator
    >>> from skae.datasets import make_pulses
    >>> from skae.metrics import position_accuracy
    >>> X, y = make_pulses(500, random_state=0)
    >>> locator = MatchedFilterLocator(width=0.5).fit(X)
    >>> position_accuracy(y, locator.predict(X)) > 0.9
    True
    """

    width: Any = parameter(default=2.0, allowed=POSITIVE)
    template: Any = parameter(default=None, allowed=["array-like", None])
    remove_baseline: Any = parameter(default=True, allowed="boolean")
    sub_bin: Any = parameter(default=False, allowed="boolean")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Make the filter and note the shape of the events; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events: the traces of each, or a single one.
        y : array-like of shape (n_samples,), default=None
            Ignored, but checked.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        shape = self._shape()
        if self.remove_baseline:
            shape = -np.convolve(shape, [1.0, -2.0, 1.0])
        norm = np.linalg.norm(shape)
        if norm == 0.0:
            raise ValueError(
                "template has no shape: all of its values, or their curvatures, are 0."
            )
        X = validate_traces(self, X, reset=True)
        self.kernel_ = shape / norm
        if y is not None:
            validate_positions(self, y, X, "keep")
        return self

    def _shape(self) -> np.ndarray:
        if self.template is not None:
            template = check_array(self.template, ensure_2d=False, dtype=np.float64)
            return column_or_1d(template)
        reach = max(1, round(_EXTENT * self.width))
        return np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.width) ** 2)

    def _log_product(self, X: np.ndarray) -> np.ndarray:
        """Return the logarithm of the product of the traces' responses, ``(n, n_times)``."""
        result = np.empty((len(X), X.shape[-1]))
        for start in range(0, len(X), _CHUNK_EVENTS):
            events = X[start : start + _CHUNK_EVENTS].astype(np.float64)
            events = events.reshape(len(events), -1, X.shape[-1])
            response = correlate1d(events, self.kernel_, axis=2, mode="nearest")
            positive = np.maximum(response, np.finfo(np.float64).tiny)
            result[start : start + _CHUNK_EVENTS] = np.log(positive).sum(axis=1)
        return result

    @np.errstate(under="ignore")
    def _locate(self, X: np.ndarray, return_std: bool) -> tuple[np.ndarray, np.ndarray | None]:
        log_product = self._log_product(X)
        largest = log_product.argmax(axis=1)
        position = largest.astype(np.float64)
        if self.sub_bin:
            position += _vertex(log_product, largest)
        if not return_std:
            return position, None
        p = _normalise(log_product)
        bins = np.arange(p.shape[1])
        return position, np.sqrt((p * (bins - (p @ bins)[:, np.newaxis]) ** 2).sum(axis=1))

    @np.errstate(under="ignore")
    def _distribute(self, X: np.ndarray) -> np.ndarray:
        return _normalise(self._log_product(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.regressor_tags.poor_score = True
        return tags


def _normalise(log_product: np.ndarray) -> np.ndarray:
    p = np.exp(log_product - log_product.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _vertex(log_product: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return how far from the largest sample the parabola through it and its neighbours peaks."""
    last = log_product.shape[1] - 1
    rows = np.arange(len(log_product))
    left, middle, right = (
        log_product[rows, np.clip(position + step, 0, last)] for step in (-1, 0, 1)
    )
    curvature = left - 2.0 * middle + right
    inside = (position > 0) & (position < last) & (curvature < 0.0)
    shift = np.divide(0.5 * (left - right), curvature, out=np.zeros(len(rows)), where=inside)
    return np.clip(shift, -0.5, 0.5)
