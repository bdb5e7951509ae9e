"""skorch's net with a loop that costs what a hand-written one does."""

import contextlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from torch import nn

from skae.exceptions import DivergenceError
from skae.training.batches import Batch, Minibatches, Rows
from skae.training.callbacks import is_raised_by_code
from skae.training.hardware import own_settings, resolve_device
from skae.training.inference import bounded_rows
from skae.training.net_file import net_from_bytes, net_to_bytes
from skae.training.optimisation import (
    ScalarsInFloat32,
    Weights,
    resolve_optimizer,
    start_schedule,
)
from skae.training.seeding import RandomStreams, attach_generator
from skae.training.state import Position, Run, load_callbacks, load_state, take_state
from skae.training.step import Step

# Rows in a validation batch: no gradients are kept, so it may be larger than a training batch.
_VALIDATION_ROWS = 8192


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
    seed : int
        Seed of shuffling, noise and dropout.
    device : torch.device
        Where the net is put.
    optimizer, weight_decay, lr
        As of :func:`skae.training.optimisation.resolve_optimizer`, and the learning rate.

    Attributes
    ----------
    random_streams : RandomStreams
        Where shuffling, noise and dropout draw from.
    progress_ : float
        Share of the run's epochs that ended.
    first_epoch_ : int
        Epochs of the run that had ended when it began, or was resumed.
    weight_mean_ : float
        Mean weight of the rows of the first run.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        *,
        seed: int,
        device: torch.device,
        optimizer: str | type[torch.optim.Optimizer],
        weight_decay: float,
        lr: float,
    ):
        optimizer, arguments = resolve_optimizer(optimizer, weight_decay, device)
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            lr=lr,
            train_split=None,
            device=str(device),
            verbose=0,
            **arguments,
        )
        self.random_streams = RandomStreams(seed, device)
        self.weight_mean_ = 1.0
        self.best_losses_: dict[str, float] = {}
        self.optimizer_starts_afresh = False
        self.initialize()
        # a second reference to either would be copied and written as well
        self.module, self.criterion = type(module), type(criterion)

    # -- building ------------------------------------------------------------------------------

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
        self.random_streams.to(device)
        return self

    # -- its way to another process -------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return the bytes of the net: no objects of torch's, which another version may not read.

        Raises
        ------
        TypeError
            If something of the user's own is in it, an optimiser say.
        """
        return {"content": net_to_bytes(self), "device": str(self.device)}

    @own_settings()
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the net that was written, on its device, and on the CPU where that is not there."""
        vars(self).update(vars(net_from_bytes(state["content"], type(self))))
        with contextlib.suppress(ValueError):
            self.to(resolve_device(state["device"]))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Let a pickle hold what has no bytes, as skorch's pickles do; files that are safe cannot."""
        try:
            return super().__reduce_ex__(protocol)
        except TypeError:
            return _like_skorchs, (type(self), super().__getstate__())

    # -- training ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def listening(self, run: Run) -> Iterator[None]:
        """Have the callbacks of a run inside this context, and nothing of them behind it."""
        self.lr, self.batch_size, self.max_epochs = run.lr, run.batch_size, run.epochs
        self.verbose, self.callbacks = run.verbose, list(run.callbacks)
        try:
            self.initialize_callbacks()
            yield
        finally:
            self.callbacks, self.callbacks_ = None, []

    def train(self, rows: Rows, validation: Rows | None, run: Run) -> "TrainingNet":
        """Make a run on these rows, with others held out, and its callbacks :meth:`listening`.

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
        try:
            _Loop(self, rows, validation, run).run_epochs()
        finally:
            self._set_training(False)
            attach_generator(self.module_, None)
        return self

    def fit(self, *_: Any, **__: Any) -> "TrainingNet":
        """Refuse: what a fit needs beside the net, the estimator has."""
        raise TypeError(
            "net_ is for callbacks to look at; it is trained by the estimator that holds it: call fit or "
            "partial_fit of that."
        )

    partial_fit = fit_loop = fit

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


class _Loop:
    """One run of a net: epochs of minibatches, and what they need."""

    def __init__(self, net: TrainingNet, rows: Rows, validation: Rows | None, run: Run):
        self.net, self.run = net, run
        self.data = {"dataset_train": rows, "dataset_valid": validation}
        self.batches = Minibatches(rows, run.batch_size, net.random_streams.shuffle)
        self.held_out = None
        if validation is not None:
            most = bounded_rows(_VALIDATION_ROWS, validation.x.shape[1:])
            self.held_out = Minibatches(validation, most)
        by_gradients = Step if run.processes is None else run.processes.step
        self._make_step = partial(
            run.step or by_gradients,
            net.module_,
            net.criterion_,
            torch.device(net.device),
            run.precision,
            compiled_rows=self.batches.sizes[0] if run.compile else 0,
        )
        self.step: Step = self._make_step()
        self.is_saved_within = run.checkpoint is not None and self.step.is_divisible
        self.has_batch_callbacks = self._has_callback_for("on_batch_begin", "on_batch_end")
        self.has_gradient_callbacks = self._has_callback_for("on_grad_computed")
        self.last_finite = Weights(net.module_)
        if torch.get_default_dtype() is not torch.float32:
            net.optimizer_.state.default_factory = ScalarsInFloat32
        self.schedule = start_schedule(
            net.optimizer_,
            run.lr,
            run.lr_schedule,
            run.epochs * len(self.batches.sizes),
            run.lr_restart,
        )
        self.position = Position()

    def _has_callback_for(self, *methods: str) -> bool:
        for method in methods:
            for _, callback in self.net.callbacks_:
                if getattr(type(callback), method, None) is not getattr(Callback, method):
                    return True
        return False

    def run_epochs(self) -> None:
        """Go through all epochs, or fewer if a callback ends the run."""
        net, run = self.net, self.run
        net.stop_training = False
        if run.processes is not None:
            run.processes.synchronise(net)
            self.has_batch_callbacks = any(run.processes.of_all(self.has_batch_callbacks))
        if run.resume_from is not None:
            self.position = load_state(self, run.resume_from)
            if net.verbose >= 2 and self.position.epoch:
                print(f"{self.position.epoch} of {run.epochs} epochs restored from the checkpoint.")
        net.first_epoch_ = self.position.epoch
        attach_generator(net.module_, net.random_streams.corruption, self.step.share)
        rows = self.data["dataset_train"]
        try:
            net.notify("on_train_begin", X=rows.x, y=rows.target, dataset_train=rows)
            if run.resume_from is not None:
                load_callbacks(net, run.resume_from)
            if run.processes is not None:
                run.processes.synchronise(net)
            while self.position.epoch < run.epochs and not net.stop_training:
                self._run_epoch()
        except KeyboardInterrupt:
            if not self.last_finite.are_finite():
                self.last_finite.restore()
            raise
        finally:
            if len(net.history) and "train_loss" not in net.history[-1]:
                del net.history[-1]  # an epoch that did not end
            net._set_training(False)
            net.notify("on_train_end", X=rows.x, y=rows.target)
        if run.processes is not None:
            run.processes.synchronise(net)  # what callbacks computed at the end

    def _run_epoch(self) -> None:
        net, run, position, epochs = self.net, self.run, self.position, self.run.epochs
        net.progress_ = position.epoch / epochs
        net.random_streams.begin_epoch(len(net.history))
        net.notify("on_epoch_begin", **self.data)
        if position.step > 0:  # callbacks have met the beginning of this epoch before
            load_callbacks(net, run.resume_from)
        if run.compile and self.step.is_outdated():
            self.step = self._make_step()
            attach_generator(net.module_, net.random_streams.corruption, self.step.share)
        self._pass_over(self.batches, position)
        if run.processes is not None:
            run.processes.synchronise(net)  # buffers follow rows that a process saw
        if self.held_out is not None:
            self._pass_over(self.held_out, None)
        net._set_training(False)  # callbacks meet a module as it will be used
        self._keep_finite()
        position = self.position = Position(position.epoch + 1)
        net.progress_ = position.epoch / epochs
        net.notify("on_epoch_end", **self.data)
        if run.processes is not None:
            run.processes.synchronise(net)
        if run.checkpoint is not None:
            # the first epoch tells early what cannot be saved, the last is the result
            is_end = position.epoch == epochs or net.stop_training
            self._save(at_once=is_end or position.epoch == net.first_epoch_ + 1)

    def _pass_over(self, batches: Minibatches, position: Position | None) -> None:
        """Go over the minibatches once, and record their mean loss, weighted by their rows.

        ``position`` says which steps of a training epoch are behind, and is moved on; without one, rows
        are held out.
        """
        net, training = self.net, position is not None
        net._set_training(training)
        position = position or Position()
        first = position.step
        if position.losses is None:
            # Filled in place: a loss kept for each batch would pin the heap between the activations
            # that come and go, and memory would grow with the number of batches.
            n = len(batches.sizes)
            position.losses = torch.zeros(n, dtype=torch.float32, device=net.device)
        if not self.has_batch_callbacks:  # one row of the history stands for all batches
            net.history.new_batch()
        else:
            net.history[-1]["batches"].extend(position.batches)
        for index, batch in enumerate(batches):
            if index < first:
                continue
            if index == first and position.generator is not None:
                net.random_streams.resume(position.generator)
            if self.has_batch_callbacks:
                net.notify("on_batch_begin", batch=batch[:2], training=training)
            if training:
                step = self.step.take(batch, net, self.run, report=self.has_gradient_callbacks)
                if self.schedule is not None:
                    self.schedule.step()
            else:
                step = self.step.judge(batch)
            position.losses[index] = step["loss"].detach()
            position.step = index + 1
            if self.has_batch_callbacks:
                self._report(batch, step, training)
                if net.stop_training:
                    break
            if training and self.is_saved_within and not net.stop_training:
                self._save()
        if training and not self.step.is_divisible and position.step == len(batches.sizes):
            self.step.finish()
        self._record(position, batches.sizes, "train" if training else "valid")

    def _report(self, batch: Batch, step: dict[str, Any], training: bool) -> None:
        """Tell the callbacks of a batch."""
        net, prefix = self.net, "train" if training else "valid"
        net.history.record_batch(f"{prefix}_loss", step["loss"].item() * self.run.loss_unit)
        net.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
        net.notify("on_batch_end", batch=batch[:2], training=training, **step)
        if self.run.processes is not None:
            net.stop_training = self.run.processes.of_main(net.stop_training)

    def _record(self, position: Position, sizes: list[int], prefix: str) -> None:
        """Write an epoch's mean loss into the history."""
        net, sizes = self.net, sizes[: position.step]
        total = position.losses[: len(sizes)].cpu().double() @ torch.tensor(sizes).double()
        loss = total.item() / sum(sizes) * self.run.loss_unit
        if not self.has_batch_callbacks:
            net.history.record_batch(f"{prefix}_loss", loss)
            net.history.record_batch(f"{prefix}_batch_size", sum(sizes))
        best = loss < net.best_losses_.get(prefix, math.inf)
        if best:
            net.best_losses_[prefix] = loss
        net.history.record(f"{prefix}_loss", loss)
        net.history.record(f"{prefix}_loss_best", best)  # skorch's checkpoints ask for it
        net.history.record(f"{prefix}_batch_count", len(sizes))

    def _keep_finite(self) -> None:
        """Remember the weights of a finite epoch; end the run on one that is not."""
        net, loss = self.net, self.net.history[-1, "train_loss"]
        if math.isfinite(loss) and self.last_finite.are_finite():
            self.last_finite.keep()
            return
        self.last_finite.restore()
        net.optimizer_.state.clear()
        raise DivergenceError(
            f"The training loss became {loss} in epoch {len(net.history)} "
            f"(lr={self.run.lr}, lr_schedule={self.run.lr_schedule!r}). The weights of the last finite "
            "epoch were restored. Lower lr, standardise the columns of X, or look for extreme rows or "
            "sample weights."
        )

    def _save(self, *, at_once: bool = False) -> None:
        """Save the run if it is time to."""
        if at_once or self.run.checkpoint.is_due():
            self.run.checkpoint.write(take_state(self))


def _like_skorchs(cls: type[TrainingNet], state: dict[str, Any]) -> TrainingNet:
    """Return a net that skorch has pickled."""
    net = cls.__new__(cls)
    NeuralNet.__setstate__(net, state)
    return net
