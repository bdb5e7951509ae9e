"""MultiResRNNRegressor: long sequences from long sequences, learnt coarse to fine.

For photon correlations, light curves and other traces of thousands of steps that are to be cleaned, or
told a few numbers of.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._parameters import NOT_NEGATIVE, estimator, parameter
from skae._sklearn import Interval, StrOptions
from skae.estimators._base import BaseNeuralEstimator
from skae.estimators._data import TrainingData, learn_units
from skae.estimators._poor_fit import faults_of_regression, r_squared
from skae.estimators._sequences import (
    SWAPPED,
    SequenceWords,
    check_downsampling,
    check_grid,
    check_level_weights,
    level_times,
    validate_sequences,
    validate_targets,
    warn_of_long_fit,
)
from skae.modules.sequences.descent import CELLS, level_widths
from skae.modules.sequences.networks import MultiResolutionRNN, SequenceReader, SequenceSummary
from skae.modules.sequences.resolutions import Resolutions
from skae.modules.sequences.units import Outputs, ResolutionLoss, Standardised
from skae.training.batches import Rows, Units
from skae.training.callbacks import gradient_clipping
from skae.training.hardware import own_settings
from skae.training.state import Run

_WORDS = SequenceWords("row_shape_", "n_channels", "row", "rows", "channel", "time")

# Numbers in the rows that inference on the CPU takes at a time.
_NUMBERS_AT_ONCE = 2**16


@estimator
class MultiResRNNRegressor(RegressorMixin, BaseNeuralEstimator):
    r"""Recurrent regressor that goes through long sequences at several resolutions.

    A recurrent network forgets, and trains slowly, over thousands of steps. This one averages a
    sequence over windows, over windows of these, and so on. A network runs over the few steps of the
    coarsest level; each finer level is run in windows, all at the same time, that start from the
    states of the coarser one and see their own average and what convolutions found in it. Its
    ``downsampling`` factors set how many steps come one after another: for 4096 times and three
    factors of 8 it is 8 + 8 + 8 + 8. One output layer serves all levels, and in training each is
    compared with the average of the target: coarse levels, short and easy, lead the finer ones [1]_ [2]_.

    ``X`` has shape (n_samples, n_channels, n_times), or (n_samples, n_times) for one sequence a row;
    ``y`` has a number for each time, (n_samples, n_times), or a few for each row, (n_samples,) or
    (n_samples, n_outputs).

    Parameters
    ----------
    downsampling : sequence of int, default=(8, 8, 8)
        How many steps of the next finer level make one step, for each level but the finest; the coarsest
        first. Those too coarse for a sequence, which would leave fewer than two steps, are left out.

    hidden_size : int or sequence of int, default=32
        Numbers in the state of a step, even: half are of a network that runs forwards, half of one that
        runs backwards. An integer is the finest level's; it is doubled for the next, and
        for all coarser ones once more, as these cost little. A sequence has one for each level, the
        coarsest first.

    cell : {"gru", "lstm"}, default="gru"
        Kind of recurrent network.

    loss : {"squared_error", "poisson"}, default="squared_error"
        Error of an output. "poisson" is the deviance of counts, for targets that are counts or rates,
        with noise or without; outputs are positive.

    positive : bool, default=False
        Predict positive numbers only.

    level_weights : float or sequence of float, default=0.3
        Weight of the loss of each level: a number is that of all levels but the finest, whose weight is
        1; a sequence has one for each level, the coarsest first.

    times : array-like of shape (n_times,), default=None
        Increasing times of the steps, in any unit, where they are not equally spaced. Averages
        over windows are weighted by the widths of the bins around them.

    output : {"auto", "sequence", "vector"}, default="auto"
        Whether ``y`` has a number for each time, or a few for each row. "auto" takes a ``y`` that is as
        long as ``X`` for sequences. Vectors are read from the coarsest level.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    row_shape_ : tuple of int
        Shape of a row, (n_channels, n_times) or (n_times,). ``n_features_in_`` is n_times.

    n_levels_ : int
        Resolutions in use: one more than there are factors that fit.

    target_center_, target_scale_ : ndarray of shape (n_times,) or (n_outputs,)
        What is added to the outputs of the network, and what they are multiplied by; 0 and 1 with
        ``loss="poisson"``.

    target_shape_ : tuple of int
        Shape of a row's target: (n_times,), () or (n_outputs,).

    output_ : {"sequence", "vector"}
        What ``y`` was taken for.

    level_times_ : list of ndarray of shape (n_steps,)
        Mean time of each step, at each level, the coarsest first.

    level_edges_ : list of ndarray of shape (n_steps + 1,)
        Edges of the windows that steps are averages of, in the same order.

    See Also
    --------
    skae.plotting.ResolutionDisplay : Predictions at all resolutions beside truth and input.
    SpectraVAE : Its ``decoder="multires"`` writes sequences from latents in the same way.
    PhotonCorrelationFit : The maximum-likelihood fit to photon correlations.

    Notes
    -----
    Rows and targets are standardised inside, around the mean row of the training data. What is left is
    easiest to learn where rows are on one scale: divide each row of counts by its sum, say.

    References
    ----------
    .. [1] J. Koutník et al.,
       "A Clockwork RNN", ICML (2014), arXiv:1402.3511.
    .. [2] S. Mehri et al.,
       "SampleRNN", ICLR (2017), arXiv:1612.07837.

    Examples
    --------
    >>> from skae import MultiResRNNRegressor, NoiseInjector
    >>> from skae.datasets import make_photon_correlations
    >>> g2 = make_photon_correlations(200, n_times=256, random_state=0)
    >>> noise = NoiseInjector({"poisson": 0.95, "gaussian": 0.05}, counts=(1, 1000))
    >>> model = MultiResRNNRegressor(noise=noise, max_epochs=2, random_state=0)
    >>> model.fit(g2.clean, g2.clean).predict(g2.noisy).shape
    (200, 256)
    >>> [level.shape for level in model.predict_resolutions(g2.noisy)]
    [(200, 4), (200, 32), (200, 256)]
    """

    downsampling: Any = parameter(default=(8, 8, 8), allowed="array-like", shapes=True)
    hidden_size: Any = parameter(
        default=32, allowed=[Interval(Integral, 2, None, closed="left"), "array-like"], shapes=True
    )
    cell: Any = parameter(default="gru", allowed=StrOptions(set(CELLS)), shapes=True)
    loss: Any = parameter(
        default="squared_error", allowed=StrOptions({"squared_error", "poisson"}), shapes=True
    )
    positive: Any = parameter(default=False, allowed="boolean", shapes=True)
    level_weights: Any = parameter(default=0.3, allowed=[NOT_NEGATIVE, "array-like"], shapes=True)
    times: Any = parameter(default=None, allowed=["array-like", None], shapes=True)
    output: Any = parameter(
        default="auto", allowed=StrOptions({"auto", "sequence", "vector"}), shapes=True
    )
    max_epochs: Any = 30
    batch_size: Any = 16
    lr: Any = 6e-3
    weight_decay: Any = 1e-4

    # -- fitting -------------------------------------------------------------------------------

    def _validate_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        X = validate_sequences(self, X, _WORDS, reset=reset)
        y = validate_targets(self, y, X, positive=self.loss == "poisson")
        shape = y.shape[1:]
        is_on_other_axis = X.ndim == 3 and shape == X.shape[1:2]
        if reset:
            if self.output == "auto" and is_on_other_axis and X.shape[1] > X.shape[2]:
                raise ValueError(
                    f"y has a number for each of {X.shape[1]} channels of X, which has {X.shape[2]} "
                    f"times. {SWAPPED} If they are not, use output='vector'."
                )
            is_long = shape == X.shape[-1:]
            self.output_ = self.output if self.output != "auto" else _OUTPUTS[is_long]
            self.target_shape_ = shape
        elif shape != self.target_shape_:
            raise ValueError(
                f"y has targets of shape {shape}, but {type(self).__name__} was fitted on targets of "
                f"shape {self.target_shape_}."
            )
        if self.output_ == "sequence" and shape != X.shape[-1:]:
            remedy = SWAPPED if is_on_other_axis else "For a few numbers a row use output='vector'."
            raise ValueError(
                f"y has shape {y.shape}, but output='sequence' needs a number for each of the "
                f"{X.shape[-1]} times of X: shape ({len(X)}, {X.shape[-1]}). {remedy}"
            )
        return X, y.reshape(len(y), -1)

    def _check_parameters(self, n_samples: int) -> None:
        times = check_grid(self.times, None, self.n_features_in_)
        if times[0] > times[-1]:
            raise ValueError(
                f"times must increase, but they fall from {times[0]:.6g} to {times[-1]:.6g}; reverse "
                "them, and the last axis of X and y with them."
            )
        check_downsampling(self.downsampling, self.hidden_size)
        self._all_level_weights()
        resolutions = self._resolutions()
        self.n_levels_ = len(resolutions.sizes)
        self.level_times_, self.level_edges_ = level_times(times, resolutions.factors)

    def _all_level_weights(self) -> list[float]:
        """Return the weight of each level that was asked for, the coarsest first."""
        return check_level_weights(self.level_weights, len(self.downsampling) + 1)

    # -- building ------------------------------------------------------------------------------

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        data, k = super()._learn_units(data), data.y.shape[1]
        units, training, self._target_spread_ = learn_units(
            data.y,
            data.weight,
            name="y",
            around=np.zeros_like if self.positive or self.loss == "poisson" else np.copy,
            of_each=self.output_ == "vector",
        )
        if self.loss == "poisson":  # counts stay counts
            units = training = Units(np.zeros(k), np.ones(k))
        self.target_center_ = units.center
        self.target_scale_ = np.broadcast_to(units.scale, k).copy()
        return data._replace(y_units=training)

    def _in_units(self, data: TrainingData) -> TrainingData:
        return super()._in_units(data)._replace(y_units=self._target_units)

    @property
    def _target_units(self) -> Units:
        return Units(self.target_center_, self.target_scale_)

    def _resolutions(self) -> Resolutions:
        times = check_grid(self.times, None, self.n_features_in_)
        return Resolutions(torch.from_numpy(times), [int(f) for f in self.downsampling][::-1])

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        resolutions = self._resolutions()
        hidden = self.hidden_size
        widths = level_widths(
            int(hidden) if isinstance(hidden, Integral) else _reversed(hidden), self.n_levels_
        )
        inputs = Standardised.of_rows(rows.x, rows.weight, dim=(-1,))
        is_sequence = self.output_ == "sequence"
        targets = Standardised.of_rows(rows.target, rows.weight, dim=(-1,) if is_sequence else ())
        centres = [targets.centre]
        if is_sequence:
            levels = resolutions.all_of(targets.centre[None, :, None])
            centres = [level[0, :, 0] for level in levels]
        n_channels = 1 if len(self.row_shape_) == 1 else self.row_shape_[0]
        poisson = self.loss == "poisson"
        positive = self.positive or poisson
        outputs = Outputs(centres, targets.scale, positive=positive, poisson=poisson)
        parts = SequenceReader(resolutions, n_channels, widths, inputs), outputs, self.cell
        weights = self._all_level_weights()[::-1]
        module: nn.Module
        if is_sequence:
            criterion = ResolutionLoss(resolutions, weights[: self.n_levels_], outputs)
            module = MultiResolutionRNN(*parts)
        else:
            criterion = ResolutionLoss(None, weights[:1], outputs)
            module = SequenceSummary(*parts, rows.target.shape[1])
        remedy = "Larger batches, fewer times or more downsampling take less."
        warn_of_long_fit(self, module, criterion, rows, remedy)
        return module, criterion

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        run = super()._plan(epochs, X, validation)
        return replace(run, callbacks=[gradient_clipping(), *run.callbacks])

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        if self.output_ == "vector":
            found = self._apply(self.module_.finest, X, *self._units_of("predict"))
            for output in range(y.shape[1]):
                r2 = r_squared(y[:, output], found[:, output])
                yield from faults_of_regression(f"output {output}", r2, is_short)
            return
        weights = self._all_level_weights()[-self.n_levels_ :]
        levels = zip(self._averages(y), self._predict_levels(X), weights, strict=True)
        for level, (true, found, weight) in enumerate(levels):
            if weight > 0.0:
                name = f"resolution {level} (0 is the coarsest)"
                yield from faults_of_regression(name, r_squared(true, found), is_short)

    # -- predicting ----------------------------------------------------------------------------

    @property
    def _rows_at_once(self) -> int | None:
        # states of many numbers at each time: long rows in small chunks, always of one size
        return max(1, min(64, _NUMBERS_AT_ONCE // int(np.prod(self.row_shape_))))

    def _validate_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "net_")
        return validate_sequences(self, X, _WORDS, reset=False)

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_channels, n_times) or (n_samples, n_times)
            Sequences.

        Returns
        -------
        y : ndarray of shape (n_samples, n_times), (n_samples,) or (n_samples, n_outputs)
            As in fit.
        """
        X = self._validate_rows(X)
        return self._apply(self._tensor_predict, X, *self._units_of("predict"))

    def _units_of(self, method: str) -> tuple[Units, Units]:
        return self._units, self._target_units

    @property
    def _exportable(self) -> tuple[str, ...]:
        return ("predict",)

    def _tensor_predict(self, x: Tensor) -> Tensor:
        return self.module_.finest(x).reshape(x.shape[0], *self.target_shape_)

    @property
    def _row_shape(self) -> tuple[int, ...]:
        return self.row_shape_

    @own_settings()
    def predict_resolutions(self, X):
        """Predict sequences at all resolutions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_channels, n_times) or (n_samples, n_times)
            Sequences.

        Returns
        -------
        levels : list of ndarray of shape (n_samples, n_steps)
            Predicted averages over ever shorter windows, the coarsest first; the last is what
            :meth:`predict` returns. ``level_times_`` has their times.
        """
        X = self._validate_rows(X)
        if self.output_ != "sequence":
            raise ValueError(
                "Only sequences have resolutions; y of fit has a few numbers for each row."
            )
        return self._predict_levels(X)

    def _predict_levels(self, X: np.ndarray) -> list[np.ndarray]:
        module, scale = self.module_, self.target_scale_[0]
        gives = [
            Units(level[0], scale) for level in self._averages(self.target_center_[np.newaxis])
        ]
        return list(
            self._apply(lambda x: module(x)[::-1], X, gives=(*gives[:-1], self._target_units))
        )

    def _averages(self, y: np.ndarray) -> list[np.ndarray]:
        """Average targets ``(n, n_times)`` to all resolutions, the coarsest first."""
        mean = y.mean()  # apart: shares of windows are of float32
        resolutions = copy.deepcopy(self.module_.resolutions).cpu()
        levels = resolutions.all_of(torch.from_numpy(y - mean)[..., np.newaxis])
        return [mean + level[..., 0].numpy() for level in levels[::-1]]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags


_OUTPUTS = {True: "sequence", False: "vector"}


def _reversed(values: Sequence[int]) -> list[int]:
    return [int(value) for value in values][::-1]
