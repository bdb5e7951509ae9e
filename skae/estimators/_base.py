"""What every estimator of skae shares: its parameters, fit, partial_fit, and the way back to NumPy."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae.estimators._data import TrainingData, check_weight, hold_out, validate_table
from skae.estimators._noise import make_corruption
from skae.estimators._parameters import Parameters, parameter
from skae.estimators._resume import Beginning, begin
from skae.training import (
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    Augmentation,
    Corruption,
    EarlyStopping,
    EpochProgressBar,
    RandomStreams,
    Restart,
    Rows,
    ScikitLearnCallbacks,
    TrainingNet,
    apply_to_rows,
    check_precision,
    current_team,
    draw_seed,
    fair_share_of_threads,
    resolve_device,
    resolve_optimizer,
    seeded_initialisation,
)
from skae.transformers import NoiseInjector


class BaseNeuralEstimator(Parameters, CallbackSupportMixin, BaseEstimator, ABC):
    """A scikit-learn estimator around a torch module that a skorch net trains.

    A subclass says how to build its network, and what its public methods compute.

    Parameters
    ----------
    max_epochs : int, default=100
        Passes through the training data. More is better until the validation loss rises: watch
        ``loss_curve_``.

    batch_size : int, default=256
        Rows in a minibatch. Larger ones are faster by the row and take fewer, less noisy steps.

    lr : float, default=0.003
        Peak learning rate. Lower it when the loss jumps.

    optimizer : str or type, default="adamw"
        "adamw", "adam", "nadam", "radam", "rmsprop", "adagrad", "sgd", or a class of torch.optim.

    weight_decay : float, default=0.0
        Shrinks the weights a little at each step.

    lr_schedule : {"one_cycle", "cosine", "constant"}, default="one_cycle"
        How the learning rate moves: up then down to nearly 0, down only, or not at all.

    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, end when their loss no longer falls, and keep
        the weights that were best on them.

    validation_fraction : float, default=0.1
        Share of the rows held out with ``early_stopping=True``.

    n_iter_no_change : int, default=10
        Epochs without improvement after which early stopping ends the fit. With an annealed schedule
        only those of the annealing phase count.

    tol : float, default=0.0001
        Improvement of the validation loss that counts, relative to its value.

    noise : NoiseInjector or callable, default=None
        Corrupts each training minibatch afresh while the target stays clean, for denoising: a
        :class:`~skae.NoiseInjector`, whose parameters a search reaches as ``noise__sigma``, or a callable
        that gets a tensor of rows and a ``torch.Generator`` to draw from and returns a new tensor.

    device : str or torch.device, default="auto"
        "auto" takes CUDA, else Apple's MPS, else the CPU, when fit is called.

    precision : {"float32", "bf16-mixed"}, default="float32"
        "bf16-mixed" multiplies matrices in bfloat16 while training, faster where the processor or the
        GPU has instructions for it, with three significant digits: reconstructions finer than 1e-2 of
        a column's spread need "float32". What the fitted estimator computes is float32 in any case.

    compile : bool, default=False
        Compile the loss of a full minibatch and its gradients with ``torch.compile``: it takes seconds
        at first and pays on long fits. On CUDA they are replayed as graphs, so that small networks do
        not wait for launches. Dropout gains less: each mask splits what is compiled. Without a C++
        compiler a warning is given and training goes on uncompiled.

    checkpoint : str or path-like, default=None
        Folder in which the fit is saved, at most every 30 seconds, and at its end. The same call, with
        the same parameters and data, goes on from there: bit for bit on the CPU. Each fit has a
        subfolder of its own, so clones in a search do not meet. ``callbacks``, ``device`` and
        ``verbose`` do not make another fit, with ``lr_schedule="constant"`` neither does ``max_epochs``
        unless a warm-up or a second stage is planned by it: callbacks that change what is learnt need a
        folder of their own. Of callbacks only those with ``state_dict`` and ``load_state_dict`` are
        saved; one that ended a fit has ended it. A fit with ``random_state=None`` goes on with the seed
        it drew. Delete the folder to train afresh.

    callbacks : list, default=None
        Callbacks of skorch, used as they are; its LRScheduler needs ``lr_schedule="constant"``.
        scikit-learn's own are set with ``set_callbacks``.

    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.

    warm_start : bool, default=False
        Let ``fit`` go on from the weights of the fit before.

    random_state : int, RandomState instance or None, default=None
        An integer makes the fit reproducible. No global random state is used or changed.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The net that trained the module.

    module_ : torch.nn.Module
        The trained module.

    history_ : skorch.history.History
        One row for each epoch: losses, duration.

    loss_curve_ : list of float
        Training loss of each epoch.

    n_iter_ : int
        Number of epochs run.

    device_ : torch.device
        Where the module is.

    n_features_in_ : int
        Number of columns seen in fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X had string names.
    """

    max_epochs: Any = parameter(default=100, allowed=Interval(Integral, 1, None, closed="left"))
    batch_size: Any = parameter(default=256, allowed=Interval(Integral, 1, None, closed="left"))
    lr: Any = parameter(default=3e-3, allowed=Interval(Real, 0, None, closed="neither"))
    optimizer: Any = parameter(
        default="adamw", allowed=[StrOptions(set(OPTIMIZERS)), type], shapes=True
    )
    weight_decay: Any = parameter(
        default=0.0, allowed=Interval(Real, 0, None, closed="left"), shapes=True
    )
    lr_schedule: Any = parameter(default="one_cycle", allowed=StrOptions(set(SCHEDULES)))
    early_stopping: Any = parameter(default=False, allowed="boolean")
    validation_fraction: Any = parameter(
        default=0.1, allowed=Interval(Real, 0, 1, closed="neither")
    )
    n_iter_no_change: Any = parameter(
        default=10, allowed=Interval(Integral, 1, None, closed="left")
    )
    tol: Any = parameter(default=1e-4, allowed=Interval(Real, 0, None, closed="left"))
    noise: Any = parameter(default=None, allowed=[NoiseInjector, callable, None])
    device: Any = parameter(default="auto", allowed=[str, torch.device], of_fit=False)
    precision: Any = parameter(default="float32", allowed=StrOptions(set(PRECISIONS)))
    compile: Any = parameter(default=False, allowed="boolean")
    checkpoint: Any = parameter(default=None, allowed=[str, os.PathLike, None], of_fit=False)
    callbacks: Any = parameter(default=None, allowed=[list, None], of_fit=False)
    verbose: Any = parameter(default=0, allowed="verbose", of_fit=False)
    warm_start: Any = parameter(default=False, allowed="boolean", of_fit=False)
    # its seed is a matter of its own
    random_state: Any = parameter(default=None, allowed="random_state", of_fit=False)

    # -- what makes an estimator itself --------------------------------------------------------

    #: whether what an epoch does depends on how many there are, beside the learning rate
    _plans_epochs: bool = False

    #: rows that inference on the CPU takes at a time, always as many; None leaves it to the engine
    _rows_at_once: int | None = None

    #: share of the epochs in which early stopping neither counts nor keeps anything
    _settled_from: float = 0.0

    #: column of the history that early stopping wants to fall
    _monitor: str = "valid_loss"

    @abstractmethod
    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        """Build module and criterion for these training rows, on the CPU; called with the seed set.

        The criterion gives one number a row, ``(n,)``, from the module's output and the target. It may
        be a part of the module.
        """

    def _make_corruption(self, X: np.ndarray) -> Corruption | None:
        """Return what adds ``noise`` to each minibatch of these rows; None for nothing."""
        return make_corruption(self.noise, X)

    def _make_augmentation(self) -> Augmentation | None:
        """Return what changes each minibatch, inputs and targets, at random; None for nothing."""
        return None

    def _validate_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Check the data of a fit; return inputs and targets, None where they are the inputs."""
        return validate_table(self, X, reset=reset), None

    def _lr_restart(self, epochs: int) -> Restart | None:
        """Return where in the fit the learning rate's schedule begins again, if it does."""
        return None

    @abstractmethod
    def _check_parameters(self, n_samples: int) -> None:
        """Check what a single parameter's constraint cannot; ``n_samples`` rows are trained on."""

    # -- fitting -------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Train the network.

        With ``warm_start=True`` a second call goes on from the weights of the first. With ``checkpoint``
        a call with the same parameters and data goes on where an earlier one ended, in whatever way.

        Data that take up more than a tenth of the main memory, or a quarter of the GPU's, are not
        copied there: they are read as they are needed, in random order, and shuffled in
        pieces of 32 MB. Memory-mapped arrays of any size can be fitted that way.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored; present because scikit-learn's Pipeline hands it on.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as event generators give them. They may be negative; their sum
            must be positive.

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

        The first call builds the network, and takes the columns' means and spreads from its rows.
        There is no early stopping, no schedule and no checkpoint: how much is to come is not known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A chunk of the training data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, relative to the mean weight of the first chunk; the sum of a
            later chunk may be negative.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        fresh = not hasattr(self, "net_")
        return self._train(X, y, sample_weight, fresh=fresh, partial=True)

    def _train(self, X, y, sample_weight, *, fresh, partial=False):
        epochs, team = 1 if partial else self.max_epochs, current_team()
        before = dict(vars(self))
        with contextlib.ExitStack() as stack:
            try:
                X, y = self._validate_training_data(X, y, reset=fresh)
                weight = check_weight(sample_weight, X, positive=fresh or not partial)
                data = TrainingData(X, y, weight)
                n_validation = 0 if partial else self._count_validation_rows(len(data))
                device = self._check_fit(len(data) - n_validation, fresh)
                seed = draw_seed(self.random_state) if fresh else self.net_.streams.seed
                beginning = Beginning(seed, data.are_too_many(device))
                beginning = stack.enter_context(
                    begin(self, data, beginning, fresh=fresh, saved=not partial)
                )
                with fair_share_of_threads():
                    # chunks of partial_fit keep their weights relative to one another
                    is_chunk = partial and not fresh
                    mean = self.net_.weight_mean_ if is_chunk else data.mean_weight()
                    rows = data.rows(mean, streamed=beginning.streamed)
                    rows, validation = hold_out(rows, n_validation, beginning.seed)
                    if fresh:
                        net = self._build_net(rows, beginning.seed, device, mean)
                    else:
                        net = self.net_.to(device)
                    rows = rows.to(device)
                    validation = None if validation is None else validation.to(device)
                beginning.write()
                context = self._init_callback_context(max_subtasks=epochs)
                if team.is_main:
                    context.call_on_fit_task_begin(estimator=self, X=X, y=y)
                net.set_run(
                    lr=self.lr,
                    lr_schedule="constant" if partial else self.lr_schedule,
                    batch_size=self.batch_size,
                    verbose=self.verbose if team.is_main else 0,
                    corruption=self._make_corruption(X),
                    augmentation=self._make_augmentation(),
                    callbacks=self._run_callbacks(
                        epochs, validation, context, X, y, shown=team.is_main
                    ),
                    precision=self.precision,
                    compile_step=self.compile,
                    lr_restart=self._lr_restart(epochs),
                    team=team,
                )
            except BaseException:
                self._take_back(before)
                raise
            # up to here an earlier fit is kept; from here on this one is usable, whatever ends it
            self.net_ = net
            with fair_share_of_threads():
                net.train(
                    rows,
                    validation,
                    epochs,
                    checkpoint=beginning.checkpoint,
                    resume_from=beginning.state,
                )
        if team.is_main:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=dict)
        return self

    def _count_validation_rows(self, n_samples: int) -> int:
        """Return how many rows early stopping holds out."""
        if not self.early_stopping:
            return 0
        n_validation = max(1, round(self.validation_fraction * n_samples))
        if n_validation >= n_samples:
            raise ValueError(
                f"early_stopping=True holds out {n_validation} of n_samples={n_samples} rows, which "
                "leaves none to train on; use more rows, a smaller validation_fraction, or "
                "early_stopping=False."
            )
        return n_validation

    def _check_fit(self, n_samples: int, fresh: bool) -> torch.device:
        """Check what no single parameter's constraint can; return the device."""
        self._check_parameters(n_samples)
        device = resolve_device(self.device)
        check_precision(self.precision, device)
        if not fresh:
            self._check_unchanged(self._current_structure())
        return device

    def _current_structure(self) -> dict[str, Any]:
        return {
            f.name: _frozen(getattr(self, f.name)) for f in fields(self) if f.metadata["shapes"]
        }

    def _build_net(
        self, rows: Rows, seed: int, device: torch.device, mean_weight: float
    ) -> TrainingNet:
        optimizer, arguments = resolve_optimizer(self.optimizer, self.weight_decay, device)
        with seeded_initialisation(seed):
            module, criterion = self._build_network(rows)
        net = TrainingNet(
            module,
            criterion,
            streams=RandomStreams(seed, device),
            optimizer=optimizer,
            lr=self.lr,
            device=str(device),
            verbose=0,
            **{f"optimizer__{name}": value for name, value in arguments.items()},
        ).initialize()
        net.weight_mean_ = mean_weight
        self._structure = self._current_structure()
        return net

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

    def _own_callbacks(self, epochs: int, validation: Rows | None) -> list[Any]:
        """Return what steers the fit, in the order in which it is asked."""
        if validation is None:
            return []
        early_stopping = EarlyStopping(
            self.n_iter_no_change, self.tol, self._settled_from, self._monitor
        )
        return [("skae_early_stopping", early_stopping)]

    def _run_callbacks(self, epochs, validation, context, X, y, *, shown):
        callbacks = self._own_callbacks(epochs, validation)
        if self.verbose == 1 and shown:
            callbacks.append(EpochProgressBar(type(self).__name__, epochs))
        if getattr(self, "_skl_callbacks", None) and shown:
            callbacks.append(ScikitLearnCallbacks(context, self, X, y))
        return callbacks + list(self.callbacks or [])

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
        """Number of epochs run."""
        return len(self.history_)

    @property
    def device_(self) -> torch.device:
        """Where the module is."""
        return next(self.module_.parameters()).device

    # -- using it ------------------------------------------------------------------------------

    def _tensor_functions(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return, by the names of methods, what they make of float32 rows: what can be exported."""
        return {}

    @property
    def _row_shape(self) -> tuple[int, ...]:
        """The shape of a row of X."""
        return (self.n_features_in_,)

    def _validate_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "net_")
        return validate_table(self, X, reset=False)

    def _apply(self, function: Callable[[Tensor], Tensor], X: np.ndarray) -> np.ndarray:
        """Apply a function of tensors to the rows of X, in bounded memory, in X's dtype."""
        with fair_share_of_threads():
            if self.device_.type != "cpu" or self._rows_at_once is None:
                return apply_to_rows(function, X, self.device_)
            return apply_to_rows(
                function,
                X,
                self.device_,
                chunk_rows=self._rows_at_once,
                fewest_rows=self._rows_at_once,
            )


def _frozen(value: Any) -> Any:
    """A parameter's value in a form that can be compared, whatever sequence it came in."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if hasattr(value, "__array__") and np.ndim(value) == 1:  # an array, a Series, a tensor
        return tuple(np.asarray(value).tolist())
    return value
