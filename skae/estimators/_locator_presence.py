"""Events without a pulse: their labels, their share, and the probability that there is one."""

from typing import Any

import numpy as np
import torch
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae._warn import warn
from skae.estimators._data import TrainingData
from skae.exceptions import IgnoredParameterWarning
from skae.training.hardware import own_settings

# Probabilities between which an expected number of pulses is one.
_POSSIBLE = 1e-9, 1.0 - 1e-6


class PresenceMixin:
    """What PulseLocator knows of events without a pulse."""

    @property
    def _takes_absent(self) -> bool:
        return self.absent == "learn"

    @property
    def _knows_absent(self) -> bool:
        """Whether the network that was fitted knows empty events, whatever the parameter is now."""
        return self.net_.criterion_.absent

    def _check_labels(self, y: np.ndarray) -> None:
        """Refuse labels that are all NaN, and say if none is."""
        if self.absent != "learn":
            return
        is_empty = np.isnan(y)
        if is_empty.all():
            raise ValueError(
                f"y is NaN in all {len(y)} events: none has a pulse that could be learnt from."
            )
        if not is_empty.any():
            warn(
                "absent='learn' has no effect: no y is NaN, so that there are no events without a pulse "
                "to learn from. predict_presence will find one everywhere.",
                IgnoredParameterWarning,
            )

    def _count_empty(self, data: TrainingData) -> None:
        """Keep the share of training events without a pulse, over all fits of this network."""
        if self.absent != "learn":
            return
        weight = np.ones(len(data.y)) if data.weight is None else np.abs(data.weight)
        is_empty = np.isnan(data.y) if data.y.ndim == 1 else np.isnan(data.y).all(axis=1)
        totals = np.array([weight[is_empty].sum(), weight.sum()])
        self.label_totals_ = totals + getattr(self, "label_totals_", 0.0)

    @property
    def empty_fraction_(self) -> float:
        """Share of training events without a pulse."""
        check_is_fitted(self, "net_")
        if not self._knows_absent:
            raise AttributeError("Only absent='learn' has a share of events without a pulse.")
        empty, total = self.label_totals_
        return float(empty / total)

    @own_settings()
    def predict_presence(self, X, empty_fraction=None):
        """Return how probable it is that there is a pulse.

        Only with ``absent="learn"``, of a fit to events of which some had none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.
        empty_fraction : float, default=None
            Share of events without a pulse among those that X is of, if it is not that of the training
            events, ``empty_fraction_``: between 0 and 1.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            From 0 to 1.
        """
        X = self._validate_rows(X)
        if not self._knows_absent:
            raise ValueError(
                "This PulseLocator was fitted with absent='raise' and knows no events without a pulse: "
                "fit it with absent='learn', and y = NaN where there is none."
            )
        odds = self._apply(self._tensor_log_odds, X)
        if self.several_pulses_:  # of their expected number, of which a pulse that is sure is one
            odds = logit(np.clip(np.exp(np.minimum(odds, 0.0)), *_POSSIBLE)).astype(odds.dtype)
        return _probability(odds + self._change_of_odds(empty_fraction)).astype(odds.dtype)

    def _change_of_odds(self, empty_fraction: Any) -> float:
        """Return what another share of empty events adds to the logarithm of the odds of a pulse."""
        if empty_fraction is None:
            return 0.0
        if not 0.0 < empty_fraction < 1.0:
            raise ValueError(f"empty_fraction={empty_fraction!r} must lie between 0 and 1.")
        before = self.empty_fraction_
        if not before > 0.0:
            raise ValueError(
                "empty_fraction replaces the share of events without a pulse in training, but there were "
                "none."
            )
        change = (1.0 - empty_fraction) / empty_fraction * before / (1.0 - before)
        return float(np.log(change))

    def _tensor_log_odds(self, x: Tensor) -> Tensor:
        return self.net_.criterion_.log_odds(self.module_(x))

    def _tensor_predict_presence(self, x: Tensor) -> Tensor:
        log_odds = self._tensor_log_odds(x)
        return log_odds.exp().clamp_max(1.0) if self.several_pulses_ else torch.sigmoid(log_odds)


def _probability(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities from logarithms of their odds, without overflow."""
    with np.errstate(under="ignore"):
        small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0.0, 1.0, small) / (1.0 + small)
