"""Events unlike those of the training: how unlike each is, and a warning of batches of them."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats
from skorch import NeuralNet
from torch import Tensor, nn

from skae._warn import warn
from skae.estimators._locator_callbacks import LookAtRows
from skae.exceptions import DriftWarning
from skae.modules.pulses.locators import ResidualLocator, with_traces
from skae.modules.pulses.typical import N_STATISTICS, roughness, summarise
from skae.training.batches import Rows
from skae.training.hardware import own_settings

# Fewest events in a batch that is judged, and of those it is judged by; fewest training events, for fewer
# are learnt by heart.
_FEWEST, _FEWEST_TRAINED = 50, 250

# A batch is unlike the training if its means lie as far away as only one in 3,000 would whose true means
# are off by a tenth of a standard deviation: so much new events may be, for the network knows its own.
_IMPROBABLE, _HARMLESS = 3e-4, 0.1

# Or if its traces are that much rougher or smoother, besides what is as improbable.
_HARMLESS_ROUGHNESS = 0.1

# Training events that are looked at, fewer of long ones, numbers in them, and numbers that go through the
# network together.
_MOST_ROWS, _FEWEST_ROWS, _MOST_NUMBERS, _NUMBERS_AT_ONCE = 4096, 64, 2**24, 2**18


class LearnTypical(LookAtRows):
    """Learn what training events are like, and what the network gives for them.

    Parameters
    ----------
    for_batches : bool
        Whether batches may be judged by them.
    partial : bool
        Whether these are a chunk of the events. Of one too small to judge batches by, scores at most are
        learnt anew, and no batch is judged: the network has changed.
    """

    def __init__(self, *, for_batches: bool, partial: bool):
        self.for_batches = for_batches
        self.partial = partial

    def on_train_begin(self, net: NeuralNet, dataset_train: Any = None, **kwargs: Any) -> None:
        """Forget what was typical before, unless there is too little to learn it anew."""
        self._rows, typical = None, net.criterion_.typical
        typical.is_for_batches = False
        if self.partial and len(dataset_train) < _FEWEST <= typical.n_events:
            return
        typical.n_events.zero_()
        super().on_train_begin(net, dataset_train, **kwargs)

    def look(self, net: NeuralNet, rows: Rows) -> None:
        """Look at some of them."""
        n_numbers = math.prod(rows.x.shape[1:])
        some = rows.some(max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_NUMBERS // n_numbers)), net.device)
        if some.weight is not None and not some.weight.clamp_min(0.0).sum() > 0.0:
            return
        net.module_.eval()
        is_enough = len(rows) >= _FEWEST_TRAINED
        net.criterion_.typical.is_for_batches = self.for_batches and is_enough
        parts = some.x.split(max(1, _NUMBERS_AT_ONCE // n_numbers))
        found = [_summary(net.module_, net.criterion_, part, net.module_(part)) for part in parts]
        net.criterion_.typical.learn(torch.cat(found), some.weight)


def _summary(module: nn.Module, criterion: Any, x: Tensor, output: Tensor) -> Tensor:
    inputs = module.inputs if isinstance(module, ResidualLocator) else None
    gaps = inputs is not None and inputs.missing
    rough = roughness(with_traces(x), None if inputs is None else inputs.scale)
    return torch.cat([summarise(criterion.log_weights(output), gaps=gaps), rough], dim=1)


class DriftMixin:
    """What PulseLocator says of events that are unlike those it was trained on."""

    @own_settings()
    def score_samples(self, X):
        r"""Return how much events are like those of the training: the higher, the more.

        Four numbers are looked at. A network gives each sample a logarithm :math:`a_t` of how probable
        the pulse is there; of these, :math:`\log \sum_t e^{a_t}`, the median, and the standard deviation.
        And of the traces, how much a sample differs from the next one on average. The score is −d²/2,
        with their Mahalanobis distance d from those of training events. Noise without a pulse, pulses of
        another gain, polarity or noise, and those that do not coincide, stand out.

        :meth:`predict` and :meth:`predict_distribution` give a
        :class:`~skae.exceptions.DriftWarning` for 50 events or more whose means differ from those of
        training events. That needs a fit to 250 events or more, without ``noise`` and without
        ``absent="learn"``: scores depend on the share of events without a pulse. After
        :meth:`partial_fit` the last chunk is what counts: batches are judged if it had 250 events or
        more, and scores refer to the last one of 50 or more.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            0 at most; its mean over training events is −2.
        """
        X = self._validate_rows(X)
        if not self.net_.criterion_.typical.n_events > 0:
            raise ValueError(
                "It is not known what training events are like: the fit ended before its first epoch "
                "did, or gave numbers that are not finite. Fit again."
            )
        # the distance magnifies the last digits, which hang on how many rows go through together
        is_double = self.device_.type != "mps"
        module = copy.deepcopy(self.module_).double() if is_double else self.module_

        def score(x: Tensor) -> Tensor:
            x = x.double() if is_double else x
            return self._deviations(x, module(x))[:, -1]

        return self._apply(score, X)

    def _deviations(self, x: Tensor, output: Tensor) -> Tensor:
        criterion = self.net_.criterion_
        return criterion.typical.deviate(_summary(self.module_, criterion, x, output))

    def _look(self, function: Callable[[Tensor], Any], X: np.ndarray) -> Any:
        """Apply a function of the network's outputs to events; warn of a batch unlike the training's."""
        module, typical = self.module_, self.net_.criterion_.typical
        if min(len(X), typical.n_events) < _FEWEST or not typical.is_for_batches:
            return self._apply(lambda x: function(module(x)), X)

        def judged(x: Tensor) -> tuple[Tensor, ...]:
            output = module(x)
            found = function(output)
            return *(found if isinstance(found, tuple) else (found,)), self._deviations(x, output)

        *found, deviations = self._apply(judged, X)
        _warn_of_drift(deviations.astype(np.float64), typical)
        return tuple(found) if len(found) > 1 else found[0]


def _warn_of_drift(deviations: np.ndarray, typical: Any) -> None:
    """Warn if the means of deviations ``(n, 6)`` are not what those of training events are."""
    n = len(deviations)
    mean, covariance, n_typical = (
        each.cpu().double().numpy() for each in (typical.mean, typical.covariance, typical.n_events)
    )
    n_effective = 1.0 / (1.0 / n + 1.0 / n_typical)
    size = N_STATISTICS + 1  # coordinates of outputs, and their score; then the roughness
    with np.errstate(all="ignore"):
        shift = deviations.mean(axis=0) - mean
        of_outputs = shift[:size]
        inverse = np.linalg.pinv(covariance[:size, :size], hermitian=True)
        square = n_effective * of_outputs @ inverse @ of_outputs
    limit = stats.ncx2.isf(_IMPROBABLE, size, n_effective * _HARMLESS**2)
    by_chance = stats.norm.isf(_IMPROBABLE / 2) * np.sqrt(covariance[size, size] / n_effective)
    is_rough = not abs(shift[size]) <= _HARMLESS_ROUGHNESS + by_chance
    if square <= limit and not is_rough:
        return
    square = np.nan_to_num(square, nan=np.inf)
    what = (
        f"what the network gives differs by {np.sqrt(square / n_effective):.2g} standard deviations"
    )
    if is_rough:
        ratio = 1.0 + shift[size]
        what = f"a sample differs from the next one {ratio:.3g} times as much as in training, and {what}"
    warn(
        f"These {n} events are unlike those of the training: their mean of score_samples is "
        f"{deviations[:, -1].mean():.3g}, where {mean[-1]:.3g} is typical; {what} on average. Its "
        "answers may be wrong. Compare gain, noise and polarity with those in training, and check that "
        "all events have a pulse; or train on events like these.",
        DriftWarning,
    )
