"""PulseLocator: where a pulse is that several traces share, as a distribution over samples.

For triggers and offline selection of digitised waveforms, where a wrong bin is a lost event.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._parameters import COUNT, NOT_NEGATIVE, estimator, parameter
from skae._sklearn import Interval, StrOptions
from skae.estimators._base import BaseNeuralEstimator
from skae.estimators._data import TrainingData
from skae.estimators._locator import (
    BaseLocator,
    refuse_missing_positions,
    validate_positions,
    validate_traces,
)
from skae.estimators._locator_callbacks import CalibrateMixture, DecayWeights
from skae.estimators._locator_drift import DriftMixin, LearnTypical
from skae.estimators._locator_faults import faults_of_locator
from skae.estimators._locator_networks import (
    ARCHITECTURES,
    build_locator,
    check_architecture,
    window_of,
)
from skae.estimators._locator_presence import PresenceMixin
from skae.estimators._locator_pulses import PulsesMixin
from skae.estimators._pulse_evidence import settle
from skae.modules.pulses.locators import ReferenceLocator, ResidualLocator
from skae.modules.pulses.positions import BinDistribution, MixtureDistribution, PositionDistribution
from skae.modules.pulses.symmetries import RandomSymmetries
from skae.training.batches import Rows
from skae.training.callbacks import gradient_clipping
from skae.training.hardware import own_settings
from skae.training.inference import bounded_rows
from skae.training.state import Run

_AUTO = StrOptions({"auto"})

# Events that go through a residual network at a time on the CPU, and numbers in them.
_MOST_ROWS, _NUMBERS_AT_ONCE = 64, 2**15


@estimator
class PulseLocator(PresenceMixin, PulsesMixin, DriftMixin, BaseLocator, BaseNeuralEstimator):
    r"""Locate the pulse that the traces of an event have in common.

    A network of residual dilated convolutions gives a probability to each sample. It looks at each
    trace first, with the same weights for all, and then at all of an event's traces together. What
    is known of the events enters as augmentation: traces that are exchangeable are put in random order,
    where pulses look the same in both directions of time half of the events are mirrored, and all are
    moved by a sample at random; of events longer than 256 steps, windows around the pulse are trained on.
    Levels of the traces do not matter: the first layer sees differences.

    Events are ``X`` of shape (n_samples, n_traces, n_times), or (n_samples, n_times) for single traces,
    or flat rows of ``n_traces`` traces, one behind the other; ``y`` of shape (n_samples,) has the
    pulses' positions in samples, whole or fractional, from 0 to n_times − 1. With ``absent="learn"`` it
    may be NaN, where there is no pulse, or of shape (n_samples, n_pulses) for events of several pulses,
    filled up with NaN: :meth:`predict_pulses` then finds all.

    Labels that are whole numbers are bins, and the network is trained on the cross-entropy. With finer
    labels it gives a mixture of narrow Gaussians, trained on the likelihood: mean and standard deviation
    are then resolved to hundredths of a sample. When :meth:`fit` ends, a temperature of the probabilities
    and scales of shifts and widths, common to all events, are fitted to at most 4,096 training events.
    Mean and standard deviation leave out what is a thousand times less probable than the most probable
    component: far away it would be all that counts.

    Parameters
    ----------
    architecture : {"fast", "residual", "reference"}, default="fast"
        "fast" is the network described above, in steps of two samples, longer ones of smooth pulses.
        "residual" is a larger one, which also joins what it predicts for a reversible event and its
        mirror image: somewhat more accurate, and about three times as slow. "reference" is the published
        one of two convolutional layers [1]_, of 51 parameters for three traces; it always predicts bins.
        To train it as published: ``optimizer="adam", lr=0.01, lr_schedule="constant", weight_decay=0,
        batch_size=500, max_epochs=42, permute_traces=False, reverse_time=False`` (of 6000 events, 504
        steps).

    trace_channels : int, default=None
        Channels of the convolutions over single traces; None is 16 of "fast", 24 of "residual".

    n_channels : int, default=None
        Channels of the convolutions over all traces of an event; None is 16 of "fast", 32 of "residual".

    kernel_size : int, default=None
        Steps that a convolution spans, odd; None is 3. Blocks are dilated by 1 and 2 in single traces,
        and then by 1, 2, 4 and 8: with 3, each prediction sees 21 steps to either side, 43 samples by the
        shortest ones. Take more where what is farther away tells something.

    remove_baseline : bool, default=True
        Look at differences between samples, so that levels of traces and what is added to all samples of
        one do not matter. With False the network sees the samples themselves: better for pulses hardly
        above the noise, where levels are always the same.

    polarity : {"auto", "positive", "negative"}, default="auto"
        Whether pulses go up or down. "auto" looks at the mean waveform around the labels.

    saturation : {"auto"}, float or None, default="auto"
        The number at which pulses are cut off, in units of ``X``; the network is told which samples are.
        "auto" takes the most extreme of the training samples in the direction of the pulses, if it is
        there much more often than the next one, and none where ``noise`` corrupts minibatches.

    missing : {"raise", "mask"}, default="raise"
        What NaN is: an error, or samples that were not recorded. Records of different lengths are padded
        with NaN at their ends; no position is predicted there.

    n_traces : int, default=None
        Rows of a table ``X`` are events of so many traces, one behind the other, (n_samples, n_traces ·
        n_times): for tools that take tables alone, BaggingRegressor for one. None takes them for single
        traces.

    permute_traces : {"auto"} or bool, default="auto"
        Put the traces of an event in random order in training. "auto" does it unless traces differ
        significantly in their mean waveform around the pulse, their mean or their variance.

    reverse_time : {"auto"} or bool, default="auto"
        Mirror half of the events in training. "auto" does it unless the mean waveform differs
        significantly from its mirror image.

    sub_bin : {"auto"} or bool, default="auto"
        Resolve positions finer than a sample. "auto" does it if ``y`` of the first fit has
        fractions. With False, a fractional label is shared by the two bins beside it: the mean stays
        right, but the distribution is a bin wide and ``return_std`` too large. "reference" knows
        only that.

    absent : {"raise", "learn"}, default="raise"
        What a label of NaN is: an error, or an event without a pulse. With "learn" the network also gives
        the probability that there is one, :meth:`predict_presence`; positions and distributions are
        those of a pulse that is there, and events without one are left out of scores.

    estimate : {"mode", "mean", "median"}, default="mode"
        What :meth:`predict` returns: the most probable bin, best for the number of exactly right ones;
        the mean, best for squared errors, which one improbable bin far away may spoil; or the
        median.

    out_of_range : {"raise", "clip"}, default="raise"
        What becomes of a label outside of ``[0, n_times - 1]``: an error that names it, or the nearest
        position inside.

    weight_decay : float, default=None
        Shrinks the weights a little at each step. Where events are few it keeps the network from learning
        their noise by heart, and being too sure of others: with None and "adamw" it is 1.5 up to 690
        events, less by the square of their number then, and 0.01 from 8,500 on and in
        :meth:`partial_fit`. The reference network and other optimisers take torch's default.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    trace_shape_ : tuple of int
        Shape of an event, (n_traces, n_times) or (n_times,). ``n_features_in_`` is n_times, of flat rows
        their length.

    permute_traces_ : bool
        Whether traces were permuted.

    reverse_time_ : bool
        Whether events were mirrored.

    polarity_ : {"positive", "negative"}
        Direction of the pulses.

    saturation_ : float or None
        The number at which pulses are cut off.

    sub_bin_ : bool
        Whether positions are resolved finer than a sample.

    footprint_ : int
        Samples within which a pulse looks like itself, moved by so many: the correlation of the mean
        waveform with itself.

    step_ : int
        Samples that the network looks at in a step: 2, more of wide pulses without a sharp edge.

    several_pulses_ : bool
        Whether events were labelled with several pulses.

    empty_fraction_ : float
        Share of the training events without a pulse, by weight. Only with ``absent="learn"``.

    label_totals_ : ndarray of shape (2,)
        Weight of the training events without a pulse, and of all. Only with ``absent="learn"``.

    See Also
    --------
    MatchedFilterLocator : The same without training, for pulses of known shape.
    skae.plotting.PulseDisplay : Traces with the predicted distribution.
    skae.metrics.position_accuracy : Share of events in the right bin.

    References
    ----------
    .. [1] D. Kirkby, "Machine Learning and Statistics for Physicists", University of California,
       Irvine (2018): the convolutional network of its notebook on deep learning.

    Examples
    --------
    >>> from skae import PulseLocator
    >>> from skae.datasets import make_pulses
    >>> X, y = make_pulses(600, random_state=0)
    >>> locator = PulseLocator(max_epochs=5, random_state=0).fit(X[:500], y[:500])
    >>> locator.predict(X[500:]).shape
    (100,)
    >>> locator.predict_distribution(X[500:]).shape
    (100, 100)
    """

    architecture: Any = parameter(
        default="fast", allowed=StrOptions({*ARCHITECTURES, "reference"}), shapes=True
    )
    trace_channels: Any = parameter(default=None, allowed=[COUNT, None], shapes=True)
    n_channels: Any = parameter(default=None, allowed=[COUNT, None], shapes=True)
    kernel_size: Any = parameter(default=None, allowed=[COUNT, None], shapes=True)
    remove_baseline: Any = parameter(default=True, allowed="boolean", shapes=True)
    polarity: Any = parameter(
        default="auto", allowed=StrOptions({"auto", "positive", "negative"}), shapes=True
    )
    saturation: Any = parameter(
        default="auto",
        allowed=[_AUTO, Interval(Real, None, None, closed="neither"), None],
        shapes=True,
    )
    missing: Any = parameter(default="raise", allowed=StrOptions({"raise", "mask"}), shapes=True)
    n_traces: Any = parameter(default=None, allowed=[COUNT, None], shapes=True)
    permute_traces: Any = parameter(default="auto", allowed=[_AUTO, "boolean"], shapes=True)
    reverse_time: Any = parameter(default="auto", allowed=[_AUTO, "boolean"], shapes=True)
    sub_bin: Any = parameter(default="auto", allowed=[_AUTO, "boolean"], shapes=True)
    absent: Any = parameter(default="raise", allowed=StrOptions({"raise", "learn"}), shapes=True)
    estimate: Any = parameter(default="mode", allowed=StrOptions({"mode", "mean", "median"}))
    out_of_range: Any = parameter(default="raise", allowed=StrOptions({"raise", "clip"}))
    max_epochs: Any = 40
    batch_size: Any = 64
    lr: Any = 1.6e-2
    weight_decay: Any = parameter(default=None, allowed=[NOT_NEGATIVE, None], shapes=True)

    # -- fitting -------------------------------------------------------------------------------

    def _validate_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        X = validate_traces(self, X, reset=reset, gaps=self.missing == "mask")
        y = validate_positions(self, y, X, self.out_of_range, absent=self._takes_absent)
        self._check_labels(y)
        if self.missing == "mask":
            refuse_missing_positions(X, y)
        if reset:
            settle(self, X, y)
        elif self.several_pulses_ != (y.ndim == 2):
            raise ValueError(
                "y has one position for each event in one fit of this network, and several in another: "
                "pass several, (n_samples, n_pulses) with NaN where there are fewer, in all of them."
            )
        return X, y

    def _check_parameters(self, n_samples: int) -> None:
        check_architecture(self)

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        kind = MixtureDistribution if self.sub_bin_ else BinDistribution
        several = self.trace_shape_[-1] if self.several_pulses_ else None
        distribution: PositionDistribution = kind(self._takes_absent, several)
        return build_locator(self, rows, distribution), distribution

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        run = super()._plan(epochs, X, validation)
        if self.sub_bin_:
            # an event far from a sharp component pulls at it by the square of its sharpness
            run = replace(run, callbacks=[gradient_clipping(), *run.callbacks])
        symmetries = RandomSymmetries(
            permute=self.permute_traces_,
            reverse=self.reverse_time_,
            window=window_of(self),
        )
        return replace(run, augmentation=symmetries)

    def _make_run(self, *args: Any, partial: bool) -> Run:
        run = super()._make_run(*args, partial=partial)
        callbacks = list(run.callbacks)
        if (
            self.weight_decay is None
            and self.architecture != "reference"
            and self.optimizer == "adamw"
        ):
            callbacks.append(("skae_weight_decay", DecayWeights(partial)))
        if self.sub_bin_ and not partial:
            calibration = CalibrateMixture(window_of(self))
            callbacks.append(("skae_calibration", calibration))
        for_batches = self.noise is None and not self._takes_absent
        typical = LearnTypical(for_batches=for_batches, partial=partial)
        callbacks.append(("skae_typical", typical))
        return replace(run, callbacks=callbacks)

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        is_reference, pooled = self.architecture == "reference", self.permute_traces_

        def around(mean: np.ndarray) -> np.ndarray:
            if is_reference:
                return np.zeros(())
            return mean.mean(axis=None if pooled else -1, keepdims=not pooled)

        vars(self).pop("label_totals_", None)
        self._count_empty(data)
        gaps = self.missing == "mask"
        data = super()._learn_units(data, around=around, gaps=gaps)
        if not is_reference:
            return data
        self.scale_ = 1.0  # traces as they are, as published
        return super()._in_units(data)

    def _in_units(self, data: TrainingData) -> TrainingData:
        if hasattr(self, "net_"):  # a further fit
            self._count_empty(data)
        return super()._in_units(data)

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        yield from faults_of_locator(self, X, y, is_short)

    # -- predicting ----------------------------------------------------------------------------

    @property
    def _takes_gaps(self) -> bool:
        """Whether the network that was fitted knows missing samples, whatever the parameter is now."""
        return isinstance(self.module_, ResidualLocator) and self.module_.inputs.missing

    def _chunks(self) -> dict[str, Any]:
        if self.device_.type != "cpu" or isinstance(self.module_, ReferenceLocator):
            return super()._chunks()
        # Activations stay in cache. A row is a matrix of many steps, whose result depends on no others.
        rows = max(1, min(_MOST_ROWS, _NUMBERS_AT_ONCE // math.prod(self.trace_shape_)))
        return {"chunk_rows": rows, "fewest_rows": 1, "side_by_side": True}

    def _locate(self, X: np.ndarray, return_std: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if return_std:
            return self._look(self._position_and_std, X)
        return self._look(self._position, X), None

    def _position(self, output: Tensor) -> Tensor:
        """Locate events from the network's outputs, ``(n,)``."""
        distribution, last = self.net_.criterion_, output.shape[-1] - 1.0
        if self.estimate == "mean":
            return distribution.mean_and_std(output)[0].clamp(0.0, last)
        return getattr(distribution, self.estimate)(output).clamp(0.0, last)

    def _position_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._position(output), self.net_.criterion_.mean_and_std(output)[1]

    def _distribute(self, X: np.ndarray) -> np.ndarray:
        return self._look(self.net_.criterion_.masses, X)

    @property
    def _exportable(self) -> tuple[str, ...]:
        presence = ("predict_presence",) if self._knows_absent else ()
        return "predict", "predict_distribution", *presence

    def _tensor_predict(self, x: Tensor) -> Tensor:
        return self._position(self.module_(x))

    def _tensor_predict_distribution(self, x: Tensor) -> Tensor:
        return self.net_.criterion_.masses(self.module_(x))

    @own_settings()
    def predict_cdf(self, X, y):
        """Return the predicted probability that the pulse lies before a position.

        At the true positions these are the probability integral transform: uniform between 0 and 1 if the
        distributions are right, wherever labels are finer than a bin.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_traces, n_times) or (n_samples, n_times)
            Events.
        y : array-like of shape (n_samples,)
            One position for each event, in samples; may lie outside of them. NaN, of no pulse, stays NaN.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            From 0 to 1.
        """
        X = self._validate_rows(X)
        y = validate_positions(self, y, X, "keep", absent=True).astype(np.float32)
        distribution = self.net_.criterion_
        step = bounded_rows(len(X), X.shape[1:])
        result = np.empty(len(X), dtype=X.dtype if X.dtype == np.float32 else np.float64)
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            output = torch.from_numpy(self._apply(self.module_, X[rows])).float()
            with torch.inference_mode():
                result[rows] = distribution.cdf(output, torch.from_numpy(y[rows]))
        return result

    @property
    def kernels_(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernels of the reference network: (n_filters, width) and (n_filters, n_traces, width)."""
        check_is_fitted(self, "net_")
        if not isinstance(self.module_, ReferenceLocator):
            raise AttributeError(
                "Only architecture='reference' has two layers of kernels to look at."
            )
        layers = self.module_.filters.weight[:, 0, 0], self.module_.combination.weight[0]
        first, second = (layer.detach().cpu().numpy().copy() for layer in layers)
        return first, second

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = self.out_of_range == "clip"
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags
