"""skorch's net with a loop that costs what a hand-written one does."""

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from torch import Tensor, nn

from skae._saving import ClassTable, read_object, table_of_networks, write_object
from skae.exceptions import DivergenceError
from skae.modules import attach_generator
from skae.training.batches import Batch, Minibatches
from skae.training.callbacks import is_raised_by_code
from skae.training.checkpoints import Checkpoint
from skae.training.device import resolve_device
from skae.training.inference import bounded_rows
from skae.training.packing import from_bytes, to_bytes
from skae.training.parts import NetKind
from skae.training.processes import ALONE, Alone
from skae.training.schedules import Restart, start_schedule
from skae.training.seeding import RandomStreams
from skae.training.state import Position, load_callbacks, load_state, take_state
from skae.training.step import CompiledGradient, make_gradient, make_loss
from skae.training.streaming import Rows, StreamedRows
from skae.training.weights import Weights

# Rows in a validation batch: no gradients are kept, so it may be larger than a training batch.
_VALIDATION_ROWS = 8192

Corruption = Callable[[Tensor, torch.Generator], Tensor]
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class TrainingNet(NeuralNet):
    """A :class:`skorch.NeuralNet` for tensors that are on the device already.

    It differs from its parent in the loop only: batches are slices of one permuted tensor, the loss
    is read once an epoch, callbacks that do not listen to batches are not called for them, the
    learning rate follows its schedule step by step, and a loss that is no longer finite ends the fit.
    Callbacks written for skorch work as they are.

    Parameters
    ----------
    module, criterion : nn.Module
        Built already; the criterion gives the loss of each row, ``(n,)``.
    streams : RandomStreams
        Where shuffling, noise and dropout draw from.
    **kwargs
        Those of :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        *,
        streams: RandomStreams,
        **kwargs: Any,
    ):
        super().__init__(module, criterion, train_split=None, **kwargs)
        self.streams = streams
        self.lr_schedule = "constant"
        self.precision, self.compile_step = "float32", False
        self.corruption = self.augmentation = None
        self.team = ALONE
        self.best_losses_: dict[str, float] = {}

    # -- building ------------------------------------------------------------------------------

    def initialize_module(self) -> "TrainingNet":
        """Adopt the module that was handed in, and keep no second reference to it."""
        self.module_, self.module = self.module, type(self.module)
        return self

    def initialize_criterion(self) -> "TrainingNet":
        """Adopt the criterion that was handed in, and keep no second reference to it."""
        self.criterion_, self.criterion = self.criterion, type(self.criterion)
        return self

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        callbacks: list[tuple[str, Callback]] = [("epoch_timer", EpochTimer())]
        if self.verbose >= 2:
            callbacks.append(("print_log", PrintLog()))
        return callbacks

    def to(self, device: torch.device) -> "TrainingNet":
        """Move module, criterion and the optimiser's state to ``device``."""
        self.device = str(device)
        self.module_.to(device)
        self.criterion_.to(device)
        self.optimizer_.load_state_dict(self.optimizer_.state_dict())  # follows its parameters
        self.streams.to(device)
        return self

    # -- its way to another process -------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: no objects of torch's, which another version may not read.

        A net with something of the user's own in it, an optimiser say, is pickled as skorch's are.
        """
        try:
            content = to_bytes(write_object(self, table_of_nets()))
        except TypeError:
            return super().__getstate__()
        return {"content": content, "device": str(self.device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the net that was pickled, on its device, and on the CPU where that is not there."""
        if "content" not in state:
            super().__setstate__(state)
            return
        net = read_object(from_bytes(state["content"]), table_of_nets())
        vars(self).update(vars(net))
        with contextlib.suppress(ValueError):
            self.to(resolve_device(state["device"]))

    def set_run(
        self,
        *,
        lr: float,
        lr_schedule: str,
        batch_size: int,
        verbose: int,
        corruption: Corruption | None,
        callbacks: list[Any],
        augmentation: Augmentation | None = None,
        precision: str = "float32",
        compile_step: bool = False,
        lr_restart: Restart | None = None,
        team: Alone = ALONE,
    ) -> None:
        """Set what may differ from one run of the same net to the next.

        Parameters
        ----------
        lr : float
            Peak learning rate.
        lr_schedule : str
            A name of :data:`skae.training.schedules.SCHEDULES`.
        batch_size : int
            Rows in a minibatch.
        verbose : int
            2 or more prints skorch's table of epochs.
        corruption : callable or None
            Called with a minibatch and a generator; what it returns goes into the module.
        callbacks : list
            skorch callbacks.
        augmentation : callable or None
            Called with a minibatch, its targets and a generator, before the corruption; what it returns
            is trained on.
        precision : str
            A name of :data:`skae.training.step.PRECISIONS`.
        compile_step : bool
            Compile the loss of a full minibatch.
        lr_restart : Restart or None
            Where the schedule begins again, if it does.
        team : Alone
            The processes that share the run.
        """
        self.lr_restart, self.team = lr_restart, team
        self.precision, self.compile_step = precision, compile_step
        self.lr, self.lr_schedule, self.batch_size = lr, lr_schedule, batch_size
        self.verbose, self.callbacks = verbose, callbacks
        self.corruption, self.augmentation = corruption, augmentation
        try:
            self.initialize_callbacks()
        except BaseException:
            self._forget_run()
            raise

    # -- the loop ------------------------------------------------------------------------------

    def train(
        self,
        rows: Rows,
        validation: Rows | None,
        epochs: int,
        *,
        checkpoint: Checkpoint | None = None,
        resume_from: dict[str, Any] | None = None,
    ) -> "TrainingNet":
        """Run ``epochs`` epochs, or fewer if a callback ends the fit; :meth:`set_run` comes first.

        Parameters
        ----------
        rows, validation : TensorRows or StreamedRows
            What is trained on, and what is held out.
        epochs : int
            Number of epochs, those of the run that is resumed included.
        checkpoint : Checkpoint or None
            Where the run is saved, from time to time and at its end.
        resume_from : dict or None
            What the checkpoint holds of this run; training goes on from there.

        Raises
        ------
        DivergenceError
            If the loss or a weight is no longer finite; the module holds the weights of the last
            epoch that was.
        CheckpointError
            If the run cannot be saved; the module holds the weights of that moment.
        KeyboardInterrupt
            If the user interrupts; the module holds the weights of that moment, or the best ones
            where early stopping keeps them.
        """
        data = {"dataset_train": rows, "dataset_valid": validation}
        try:
            self.stop_training = False
            self.listens_to_batches_ = self.team.any_of(
                self._any_callback_overrides("on_batch_begin", "on_batch_end")
            )
            self.listens_to_gradients_ = self._any_callback_overrides("on_grad_computed")
            batches = rows.minibatches(self.batch_size, self.streams.shuffle)
            held_out = None
            if validation is not None:
                most = bounded_rows(_VALIDATION_ROWS, validation.x.shape[1:])
                held_out = validation.minibatches(most)
            self.team.agree_on(self.module_)
            finite = Weights(self.module_)
            self.schedule_ = start_schedule(
                self.optimizer_, self.lr, self.lr_schedule, epochs * len(batches), self.lr_restart
            )
            self._prepare_losses(batches.sizes[0])
            position = load_state(self, resume_from, finite)
            self.first_epoch_ = position.epoch
            attach_generator(self.module_, self.streams.corruption, self.team.share)
            save = self._saving(checkpoint, position, finite, isinstance(rows, StreamedRows))
            with self._begun(rows, finite):
                load_callbacks(self, resume_from)
                self._agree_to_stop()
                while position.epoch < epochs and not self.stop_training:
                    self.progress_ = position.epoch / epochs
                    self.streams.begin_epoch(len(self.history))
                    self.notify("on_epoch_begin", **data)
                    if position.step > 0:  # callbacks have met the beginning of this epoch before
                        load_callbacks(self, resume_from)
                    self.run_single_epoch(
                        batches, True, "train", self.train_step, position=position, after_step=save
                    )
                    self.team.agree_on(self.module_)  # buffers follow rows that a process saw
                    self.run_single_epoch(held_out, False, "valid", self.validation_step)
                    self._set_training(False)  # callbacks meet a module as it will be used
                    self._check_finite(finite)
                    position.begin_epoch(position.epoch + 1)
                    self.progress_ = position.epoch / epochs
                    self.notify("on_epoch_end", **data)
                    self._agree_to_stop()
                    if save is not None:
                        # the first epoch tells early what cannot be saved, the last is the result
                        is_end = position.epoch == epochs or self.stop_training
                        save(at_once=is_end or position.epoch == self.first_epoch_ + 1)
            self.team.agree_on(self.module_)  # what callbacks computed at the end
        finally:
            self._set_training(False)
            attach_generator(self.module_, None)
            self._forget_run()
        return self

    @contextlib.contextmanager
    def _begun(self, rows: Rows, finite: Weights) -> Iterator[None]:
        """Tell the callbacks of the run's beginning and, however it ends, of its end."""
        try:
            self.notify("on_train_begin", X=rows.x, y=rows.target, dataset_train=rows)
            yield
        except KeyboardInterrupt:
            if not finite.are_finite():
                finite.restore()
            raise
        finally:
            if len(self.history) and "train_loss" not in self.history[-1]:
                del self.history[-1]  # an epoch that did not end
            self._set_training(False)
            self.notify("on_train_end", X=rows.x, y=rows.target)

    def _saving(
        self, checkpoint: Checkpoint | None, position: Position, finite: Weights, streamed: bool
    ) -> Callable[..., None] | None:
        """Return what saves the run if it is time to, None where nothing is saved."""
        if checkpoint is None:
            return None
        return partial(
            checkpoint.write_if_due,
            lambda: {**take_state(self, position, finite), "streamed": streamed},
        )

    def run_single_epoch(
        self,
        iterator: Minibatches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        *,
        position: Position | None = None,
        after_step: Callable[[], None] | None = None,
        **fit_params: Any,
    ) -> None:
        """Loop over the minibatches once and record their mean loss, weighted by their rows.

        ``position`` says which steps of this epoch are behind, and is moved on; ``after_step`` is called
        behind each step.
        """
        if iterator is None:
            return
        listening = self.listens_to_batches_
        self._set_training(training)
        position = Position() if position is None else position
        first = position.step
        if position.losses is None:
            # Filled in place: a loss kept for each batch would pin the heap between the activations
            # that come and go, and memory would grow with the number of batches.
            position.losses = torch.zeros(len(iterator), device=self.device)
        if not listening:  # one row of the history stands for all batches
            self.history.new_batch()
        else:
            self.history[-1]["batches"].extend(position.batches)
        for index, batch in enumerate(iterator):
            if index < first:
                continue
            if index == first and position.generator is not None:
                self.streams.resume(position.generator)
            if listening:
                self.notify("on_batch_begin", batch=batch[:2], training=training)
            step = step_fn(batch, **fit_params)
            position.losses[index] = step["loss"].detach()
            position.step = index + 1
            if listening:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch[:2], training=training, **step)
                self._agree_to_stop()
                if self.stop_training:
                    break
            if after_step is not None and not self.stop_training:
                after_step()
        sizes = iterator.sizes[: position.step]
        total = position.losses[: len(sizes)].cpu().double() @ torch.tensor(sizes).double()
        loss = total.item() / sum(sizes)
        if not listening:
            self.history.record_batch(f"{prefix}_loss", loss)
            self.history.record_batch(f"{prefix}_batch_size", sum(sizes))
        best = loss < self.best_losses_.get(prefix, math.inf)
        if best:
            self.best_losses_[prefix] = loss
        self.history.record(f"{prefix}_loss", loss)
        self.history.record(f"{prefix}_loss_best", best)  # skorch's checkpoints ask for it
        self.history.record(f"{prefix}_batch_count", len(sizes))

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Take one step of the optimiser and of the learning-rate schedule."""
        step: dict[str, Any] = {}

        def closure() -> Tensor:
            self.optimizer_.zero_grad(set_to_none=True)
            x, target, weight = batch
            if self.augmentation is not None:
                x, target = self.augmentation(x, target, self.streams.corruption)
            if self.corruption is not None:
                x = self.corruption(x, self.streams.corruption)
            output, loss = self._gradient(x, target, weight)
            if not step:  # an optimiser that asks again (LBFGS) reports its first loss
                step.update(loss=loss, y_pred=output)
            if self.listens_to_gradients_:
                self.notify(
                    "on_grad_computed",
                    named_parameters=list(self.get_all_learnable_params()),
                    batch=batch[:2],
                    training=True,
                )
            return loss

        self.optimizer_.step(closure)
        if self.schedule_ is not None:
            self.schedule_.step()
        return step

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a minibatch, without noise, dropout or gradients."""
        with torch.no_grad():
            output, loss = self._validation_loss(*batch)
        return {"loss": loss, "y_pred": output}

    def renew_losses(self) -> None:
        """Begin anew with compiled losses: other parameters are trained from here on."""
        self._prepare_losses(self.rows_in_batch_)

    def _prepare_losses(self, batch_size: int) -> None:
        self.rows_in_batch_ = batch_size
        device, team = torch.device(self.device), self.team
        loss = make_loss(self.module_, self.criterion_, device, self.precision)
        if self.compile_step:
            rows = team.size_of_share(batch_size)
            gradient = CompiledGradient(loss, self.module_, device, rows)
        else:
            gradient = make_gradient(loss)
        # rows held out are judged as the module will be used
        held_out = make_loss(self.module_, self.criterion_, device, "float32")
        self._gradient = team.gradient(gradient, self.module_)
        self._validation_loss = team.loss(held_out)

    def _forget_run(self) -> None:
        """Keep nothing that belongs to the run, callbacks and noise say: it may not pickle."""
        self.schedule_ = self._gradient = self._validation_loss = None
        self.callbacks, self.callbacks_ = None, []
        self.corruption = self.augmentation = None
        self.team = ALONE

    def _check_finite(self, finite: Weights) -> None:
        """Remember the weights of a finite epoch; end the fit on one that is not."""
        loss = self.history[-1, "train_loss"]
        if math.isfinite(loss) and finite.are_finite():
            finite.remember()
            return
        finite.restore()
        self.optimizer_.state.clear()
        raise DivergenceError(
            f"The training loss became {loss} in epoch {len(self.history)} "
            f"(lr={self.lr}, lr_schedule={self.lr_schedule!r}). The weights of the last finite epoch "
            "were restored. Lower lr, standardise the columns of X, or look for extreme rows or "
            "sample weights."
        )

    # -- callbacks -----------------------------------------------------------------------------

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; one that raises KeyboardInterrupt, skorch's way to stop, ends the fit."""
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as interrupt:
                if not is_raised_by_code(interrupt):
                    raise
                self.stop_training = True

    def on_batch_begin(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **_: Any
    ) -> None:
        """Open a row of the history for the batch."""
        self.history.new_batch()

    def _agree_to_stop(self) -> None:
        """End the fit where the main process's callbacks end it, and only there."""
        self.stop_training = self.team.of_main(self.stop_training)

    def _any_callback_overrides(self, *methods: str) -> bool:
        return any(
            getattr(type(callback), method, None) is not getattr(Callback, method)
            for _, callback in self.callbacks_
            for method in methods
        )


def table_of_nets() -> ClassTable:
    """Return a table of all that a net is built of, for its way to a file and back."""
    return table_of_networks().add("skae", [TrainingNet], NetKind())
