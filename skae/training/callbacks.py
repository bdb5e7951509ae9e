"""Callbacks between epochs: early stopping, progress, and scikit-learn's own."""

import dis
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackContext
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping

from skae.training.optimisation import Weights

# Norm that gradients are cut to, where a minibatch may have extreme ones.
_LARGEST_GRADIENT = 1.0

# One for all bars: rich stacks the bars of one console, those of two overwrite each other.
_CONSOLE = Console(stderr=True)


def gradient_clipping() -> tuple[str, Callback]:
    """Return the callback, with its name, that cuts gradients to a norm of 1."""
    return "skae_gradient_clipping", GradientNormClipping(_LARGEST_GRADIENT)


@dataclass(eq=False, repr=False)
class EarlyStopping(Callback):
    """End a fit when the validation loss stops falling, and put the best weights back.

    With an annealed schedule patience counts in the annealing phase only: while the learning rate
    is high the loss stands still, and the gain comes at the end (Prechelt, 1998,
    doi:10.1007/3-540-49430-8_3, on why the criterion matters).
    """

    patience: float  # epochs without improvement after which the fit ends
    #: relative improvement that counts: below best · (1 − tol), for a negative loss best − tol·|best|
    tol: float
    annealing_from: float = 0.0  # share of the epochs after which patience counts
    #: share of the epochs that is passed over: where the loss is still changing its meaning
    settled_from: float = 0.0
    monitor: str = "valid_loss"  # what is to fall, a column of the history

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Forget an earlier fit."""
        self.best_loss_ = float("inf")
        self.reference_loss_ = float("inf")
        self.n_stale_ = 0
        self._best = Weights(net.module_)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Compare this epoch's validation loss with the best."""
        if net.progress_ <= self.settled_from:
            return
        loss = net.history[-1, self.monitor]
        if loss < self.best_loss_:
            self.best_loss_ = loss
            self._best.keep()
        reference = self.reference_loss_
        if reference == float("inf") or loss < reference - self.tol * abs(reference):
            self.reference_loss_ = loss
            self.n_stale_ = 0
        elif net.progress_ > self.annealing_from:
            self.n_stale_ += 1
        if self.n_stale_ >= self.patience:
            net.stop_training = True

    def state_dict(self) -> dict[str, Any]:
        """Return what the decisions to come depend on."""
        return {
            "best_loss": self.best_loss_,
            "reference_loss": self.reference_loss_,
            "n_stale": self.n_stale_,
            "best": self._best.copies,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.best_loss_ = state["best_loss"]
        self.reference_loss_ = state["reference_loss"]
        self.n_stale_ = state["n_stale"]
        self._best.keep(state["best"])

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Put the best weights back, also after an interrupt or a divergence."""
        if self.best_loss_ < float("inf"):
            self._best.restore()
        del self._best


@dataclass(eq=False, repr=False)
class Converged(Callback):
    """End a fit when an epoch has changed the training loss by next to nothing."""

    tol: float  # in the units of the loss

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Compare the last two epochs, of an earlier fit as well."""
        if len(net.history) > 1:
            before, loss = net.history[-2:, "train_loss"]
            if abs(before - loss) <= self.tol:
                net.stop_training = True


@dataclass(eq=False, repr=False)
class EpochProgressBar(Callback):
    """A bar for the epochs of one fit, with the loss and the time left."""

    name: str  # of what is being fitted
    epochs: int  # that are expected

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Show the bar."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} epochs, loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=_CONSOLE,
        )
        done, name = net.first_epoch_, self.name
        if done:
            name += f" ({done} epochs restored)"
        self._task = self._bar.add_task(name, total=self.epochs, completed=done, loss="–")
        if done:
            self._show_loss(net)
        self._bar.start()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Move the bar on."""
        self._show_loss(net, advance=1)

    def _show_loss(self, net: NeuralNet, advance: int = 0) -> None:
        row = net.history[-1]
        loss = f"{row['train_loss']:.3g}"
        if "valid_loss" in row:
            loss += f", validation {row['valid_loss']:.3g}"
        self._bar.update(self._task, advance=advance, loss=loss)

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Leave the bar as it stands and give the terminal back."""
        self._bar.stop()
        del self._bar


@dataclass(eq=False, repr=False)
class ScikitLearnCallbacks(Callback):
    """Report each epoch to the callbacks that were set with scikit-learn's ``set_callbacks``."""

    context: CallbackContext  # of the fit; epochs become its subtasks
    estimator: BaseEstimator  # that is being fitted
    X: Any  # the training data, handed on to callbacks that ask for them
    y: Any

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open a subtask."""
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close the subtask; a callback may ask for the fit to end."""
        if self._epoch.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            y=self.y,
            reconstruction_attributes=dict,  # the estimator is ready to use as it is
        ):
            net.stop_training = True


def is_raised_by_code(interrupt: KeyboardInterrupt) -> bool:
    """Tell ``raise KeyboardInterrupt`` in a callback from Ctrl-C arriving while it runs."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code.co_code
    return code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
