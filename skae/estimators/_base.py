"""Base of all estimators: fit, partial_fit, fitted attributes, and the way back to NumPy."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._pickling import RecordsVersion
from skae._sklearn import _fit_context
from skae._warn import warn
from skae.estimators._data import (
    TrainingData,
    check_weight,
    count_validation_rows,
    in_units,
    learn_units,
    make_corruption,
    make_rows,
    validate_table,
    warn_of_ignored,
)
from skae.estimators._poor_fit import FEWEST_ROWS, warn_of_poor_fit
from skae.estimators._resume import begin
from skae.estimators._shared_parameters import SharedParameters
from skae.exceptions import OptimizerStateWarning
from skae.training.batches import PLAIN, Rows, Units
from skae.training.callbacks import EarlyStopping, EpochProgressBar, ScikitLearnCallbacks
from skae.training.hardware import own_settings, resolve_device
from skae.training.inference import apply_to_rows
from skae.training.net import TrainingNet
from skae.training.optimisation import SCHEDULES
from skae.training.seeding import draw_seed, seeded_initialisation
from skae.training.state import Run
from skae.training.step import PROCESSES, check_precision


class BaseNeuralEstimator(
    SharedParameters, CallbackSupportMixin, RecordsVersion, BaseEstimator, ABC
):
    """A scikit-learn estimator around a torch module that a skorch net trains.

    A subclass says how to build its network, and what its public methods compute.
    """

    # -- what makes an estimator itself --------------------------------------------------------

    #: whether what an epoch does depends on how many there are, beside the learning rate
    _plans_epochs: ClassVar[bool] = False

    #: rows that inference on the CPU takes at a time, always as many; None leaves it to the engine
    _rows_at_once: ClassVar[int | None] = None

    #: share of the epochs in which early stopping neither counts nor keeps anything
    _settled_from: ClassVar[float] = 0.0

    #: column of the history that early stopping wants to fall
    _monitor: ClassVar[str] = "valid_loss"

    #: power of the unit of X that losses have
    _loss_power: ClassVar[int] = 0

    @abstractmethod
    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        """Build module and criterion for these training rows, on the CPU; called with the seed set.

        The criterion gives one number a row, ``(n,)``, from the module's output and the target. It may
        be a part of the module.
        """

    def _validate_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Check the data of a fit; return inputs and targets, None where they are the inputs."""
        return validate_table(self, X, reset=reset), None

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        """Learn the units of the network from the data of a first fit; options as of `learn_units`."""
        units, training, self._spread_ = learn_units(data.X, data.weight, **options)
        self.center_, self.scale_ = np.asarray(units.center), float(units.scale)
        return data._replace(x_units=training)

    def _in_units(self, data: TrainingData) -> TrainingData:
        """Return the data of a further fit, to be seen in the units of the first."""
        return data._replace(x_units=self._units)

    @property
    def _units(self) -> Units:
        """Units of rows, as the network sees them."""
        is_plain = self.scale_ == 1.0 and not np.any(self.center_)
        return PLAIN if is_plain else Units(self.center_, self.scale_)

    def _corruption(self, X: np.ndarray) -> Callable[[Tensor, torch.Generator], Tensor]:
        """Return what corrupts minibatches, in the network's units."""
        return in_units(make_corruption(self.noise, X), self._units)

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        """Return what is special of a run: schedule, noise, and the callbacks that steer it, in order."""
        callbacks = []
        if validation is not None:
            _, annealing_from = SCHEDULES[self.lr_schedule]
            patience = self.n_iter_no_change, self.tol, annealing_from
            stopping = EarlyStopping(*patience, self._settled_from, self._monitor)
            callbacks.append(("skae_early_stopping", stopping))
        return Run(
            epochs,
            self.batch_size,
            self.lr,
            self.lr_schedule,
            corruption=None if self.noise is None else self._corruption(X),
            callbacks=callbacks,
            loss_unit=self.scale_**self._loss_power,
            precision=self.precision,
            compile=self.compile,
        )

    @abstractmethod
    def _check_parameters(self, n_samples: int) -> None:
        """Check what a single parameter's constraint cannot; ``n_samples`` rows are trained on."""

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        """Name what was learnt badly, by some training rows; ``is_short`` means few steps."""
        yield from ()

    # -- fitting -------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Train the network.

        With ``warm_start=True`` a second call goes on from the weights of the first. With ``checkpoint``
        a call with the same parameters and data goes on where an earlier one ended, in whatever way.

        Data are read as they are needed if they take up more than 512 MB on a CPU, a quarter of a GPU's
        memory, or a tenth of the main memory: memory-mapped arrays of any size can be fitted. This
        changes no result. More than 32 MB of numbers are shuffled in pieces of that size.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ..., n_times)
            Training data: rows, or the sequences of each row. With ``noise`` they are clean ones.
        y : array-like of shape (n_samples, ...), default=None
            Targets, as the class describes them. Ignored by estimators that learn X itself.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as event generators give them. They may be negative; their sum
            must be positive, and WeightWarning says where it is not clearly so.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, the data or the weights cannot be used; before training starts.
        DivergenceError
            If the loss becomes NaN or infinite; the last finite weights are kept.
        CheckpointError
            If ``checkpoint`` cannot be written or read; what was saved before is still there.
        """
        fresh = not (self.warm_start and hasattr(self, "net_"))
        return self._train(X, y, sample_weight, fresh=fresh)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch on these rows, at the constant rate ``lr``.

        The first call builds the network, takes means and spreads from its rows, and settles what
        parameters leave to the data. There is no early stopping, no schedule and no checkpoint: how much
        is to come is not known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ..., n_times)
            A chunk of the training data.
        y : array-like of shape (n_samples, ...), default=None
            Targets, as in :meth:`fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, relative to the mean weight of the first chunk; the sum of a
            later chunk may be negative.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        warn_of_ignored(self)
        return self._train(X, y, sample_weight, fresh=not hasattr(self, "net_"), partial=True)

    def _train(self, X, y, sample_weight, *, fresh, partial=False, **beside):
        before, processes = dict(vars(self)), PROCESSES.get()
        with contextlib.ExitStack() as stack:
            stack.enter_context(own_settings())
            try:
                X, y = self._validate_training_data(X, y, reset=fresh, **beside)
                weight, n_validation = sample_weight, 0
                if weight is not None:
                    weight = check_weight(weight, X, positive=fresh or not partial)
                if self.early_stopping and not partial:
                    n_validation = self._count_validation_rows(len(X))
                device = self._check_fit(len(X) - n_validation, fresh)
                data, beginning = TrainingData(X, y, weight), None
                data = self._learn_units(data) if fresh else self._in_units(data)
                seed = draw_seed(self.random_state) if fresh else self.net_.random_streams.seed
                if processes is not None or (self.checkpoint is not None and not partial):
                    resuming = begin(self, data, seed, fresh=fresh, saved=not partial)
                    beginning = stack.enter_context(resuming)
                    seed = beginning.seed
                mean = 1.0 if (weight := data.weight) is None else float(weight.mean())
                if partial and not fresh:  # chunks keep their weights relative to one another
                    mean = self.net_.weight_mean_
                rows, validation = make_rows(data, n_validation, mean, seed, device)
                if fresh:
                    net = self._build_net(rows, seed, device, mean)
                else:
                    net = self._net_to_go_on_with(device)
                if device.type != "cpu":
                    rows = rows.to(device)
                    validation = None if validation is None else validation.to(device)
                if beginning is not None:
                    beginning.write(processes)
                context = self._init_callback_context(max_subtasks=1 if partial else self._epochs)
                run = self._make_run(data, validation, context, beginning, partial=partial)
                stack.enter_context(net.listening(run))
            except BaseException:
                self._take_back(before)
                raise
            # up to here an earlier fit is kept; from here on this one is usable, whatever ends it
            self.net_ = net
            if fresh or not partial:
                self._epochs_before = len(net.history)  # those that a warm start goes on from
            net.train(rows, validation, run)
        if processes is None or processes.is_main:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
            if not partial and len(X) >= FEWEST_ROWS:
                warn_of_poor_fit(self, X, y, weight)
        return self

    def _make_run(self, data, validation, context, beginning, *, partial):
        """Plan a run, and say what is shown, saved and shared of it."""
        processes, epochs = PROCESSES.get(), 1 if partial else self._epochs
        run = self._plan(epochs, data.X, validation)
        callbacks, verbose = list(run.callbacks), 0
        if processes is None or processes.is_main:
            verbose = self.verbose
            context.call_on_fit_task_begin(estimator=self, X=data.X, y=data.y)
            if verbose == 1:
                callbacks.append(EpochProgressBar(type(self).__name__, epochs))
            if getattr(self, "_skl_callbacks", None):
                callbacks.append(ScikitLearnCallbacks(context, self, data.X, data.y))
        return replace(
            run,
            lr_schedule="constant" if partial else run.lr_schedule,
            callbacks=[*callbacks, *(self.callbacks or [])],
            verbose=verbose,
            checkpoint=None if beginning is None else beginning.checkpoint,
            resume_from=None if beginning is None else beginning.state,
            processes=processes,
        )

    def _count_validation_rows(self, n_samples: int) -> int:
        return count_validation_rows(n_samples, self.validation_fraction)

    def _count_epochs(self, n_samples: int) -> int:
        """Return how many epochs ``max_epochs=None`` means, of so many training rows."""
        raise NotImplementedError

    def _check_fit(self, n_samples: int, fresh: bool) -> torch.device:
        """Check what no single parameter's constraint can; return the device."""
        self._epochs = self.max_epochs or self._count_epochs(n_samples)
        self._check_parameters(n_samples)
        processes, is_auto = PROCESSES.get(), self.device == "auto"
        device = processes.device if is_auto and processes else resolve_device(self.device)
        if self.precision != "float32":
            check_precision(self.precision, device)
        if not fresh:
            self._check_unchanged(self._current_structure())
        return device

    def _current_structure(self) -> dict[str, Any]:
        structure = {}
        for known in fields(self):
            if known.metadata["shapes"]:
                value = getattr(self, known.name)
                if isinstance(value, list | tuple):  # whatever sequence it came in
                    value = tuple(value)
                elif hasattr(value, "__array__") and np.ndim(value) == 1:
                    value = tuple(np.asarray(value).tolist())  # an array, a Series, a tensor
                structure[known.name] = value
        return structure

    def _build_net(
        self, rows: Rows, seed: int, device: torch.device, mean_weight: float
    ) -> TrainingNet:
        with seeded_initialisation(seed):
            module, criterion = self._build_network(rows)
        net = TrainingNet(
            module,
            criterion,
            seed=seed,
            device=device,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            lr=self.lr,
        )
        net.weight_mean_ = mean_weight
        self._structure = self._current_structure()
        return net

    def _net_to_go_on_with(self, device: torch.device) -> TrainingNet:
        if self.net_.optimizer_starts_afresh:
            warn(
                f"This {type(self).__name__} was saved without the optimizer's state. It starts afresh, "
                "so the next epochs differ from those of a fit that was never saved. To keep the state "
                "use skae.save(..., optimizer_state=True).",
                OptimizerStateWarning,
            )
            self.net_.optimizer_starts_afresh = False
        return self.net_.to(device)

    def _take_back(self, before: dict[str, Any]) -> None:
        """Leave the fitted attributes as they were before a fit that is refused."""
        for name in {*vars(self), *before}:
            if name.endswith("_") or name == "_structure":
                vars(self).pop(name, None)
                if name in before:
                    vars(self)[name] = before[name]

    def _check_unchanged(self, structure: dict[str, Any]) -> None:
        """A net that is trained further keeps the parameters it was built with."""
        for name, value in structure.items():
            if value != self._structure[name]:
                raise ValueError(
                    f"{name}={value!r}, but the network that is to be trained further was built with "
                    f"{name}={self._structure[name]!r}; set it back, or fit afresh with "
                    "warm_start=False."
                )

    # -- what a fit leaves ---------------------------------------------------------------------

    @property
    def module_(self) -> nn.Module:
        """The trained torch module."""
        return self.net_.module_

    @property
    def history_(self) -> Any:
        """Skorch's history: a row for each epoch, with losses and durations."""
        return self.net_.history

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch."""
        return self.history_[:, "train_loss"] if len(self.history_) else []

    @property
    def n_iter_(self) -> int:
        """Number of epochs that the last fit ran, and partial_fit since then."""
        return len(self.history_) - self._epochs_before

    @property
    def device_(self) -> torch.device:
        """Device of the module."""
        return next(self.module_.parameters()).device

    # -- using it ------------------------------------------------------------------------------

    @property
    def _exportable(self) -> tuple[str, ...]:
        """Methods that a graph of tensors can compute: each ``name`` as ``_tensor_name`` does."""
        return ()

    @property
    def _row_shape(self) -> tuple[int, ...]:
        """The shape of a row of X."""
        return (self.n_features_in_,)

    def _validate_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "net_")
        return validate_table(self, X, reset=False)

    def _units_of(self, method: str) -> tuple[Units, Units]:
        """Units of what the tensors of an exportable method take and give."""
        return self._units, PLAIN

    def _apply(
        self,
        function: Callable[[Tensor], Any],
        X: np.ndarray,
        takes: Units | None = None,
        gives: Units | tuple[Units, ...] = PLAIN,
    ) -> Any:
        """Apply a function of tensors to the rows of X, in bounded memory, in X's dtype.

        A function that returns several tensors gives as many arrays. It takes rows in the network's
        units, or what is said, and gives numbers that are brought back from ``gives``.
        """
        takes = self._units if takes is None else takes
        with own_settings():
            return apply_to_rows(
                function, X, self.device_, takes=takes, gives=gives, **self._chunks()
            )

    def _chunks(self) -> dict[str, Any]:
        """Return how many rows inference takes at a time, in the words of `apply_to_rows`."""
        rows = None if self.device_.type != "cpu" else self._rows_at_once
        return {} if rows is None else {"chunk_rows": rows, "fewest_rows": rows}
