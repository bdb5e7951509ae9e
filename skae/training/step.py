"""One step of training: a minibatch is corrupted, its loss differentiated, the optimiser moves.

In float32 or mixed precision, compiled or not.
"""

import threading
import types
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn

from skae._warn import warn
from skae._workers import free_in_children
from skae.exceptions import CompileWarning
from skae.modules.seeded import Share
from skae.training.batches import Batch

#: name → dtype that matrix products are computed in, None for the weights' own
PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16-mixed": torch.bfloat16}

#: what a module returns and its criterion reads: one tensor, or several
Output = Tensor | tuple[Tensor, ...]

#: (inputs, targets, weights or None) → (output, mean loss)
Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Output, Tensor]]


def make_loss(
    module: nn.Module, criterion: nn.Module, device: torch.device, precision: str
) -> Loss:
    """Return the function that a training step differentiates.

    Parameters
    ----------
    module, criterion : nn.Module
        The criterion gives the loss of each row, ``(n,)``.
    device : torch.device
        Where both are.
    precision : str
        A name of :data:`PRECISIONS`. Weights, losses and gradients' sums stay float32.
    """
    dtype = PRECISIONS[precision]

    def mean_loss(x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Output, Tensor]:
        output = module(x)
        losses = criterion(output, target)  # (n,)
        # The weights' mean over *all* rows is one, so dividing by the batch's size, and never by its
        # own sum of weights, keeps every batch's gradient unbiased, negative weights included.
        return output, losses.mean() if weight is None else (losses * weight).sum() / len(weight)

    return mean_loss if dtype is None else torch.autocast(device.type, dtype)(mean_loss)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that torch does not offer on a device."""
    if PRECISIONS[precision] is not None and not torch.amp.is_autocast_available(device.type):
        raise ValueError(
            f"precision={precision!r} is not available on device {str(device)!r}; use "
            "precision='float32'."
        )


def differentiated(
    loss: Loss, x: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Output, Tensor]:
    """Compute a loss, and add its gradients to the weights'."""
    torch.clear_autocast_cache()  # of weights before the last step, where the caller has autocast on
    output, mean_loss = loss(x, target, weight)
    mean_loss.backward()
    return output, mean_loss


class Step:
    """Steps of a process alone.

    Parameters
    ----------
    module, criterion, device, precision
        As of :func:`make_loss`.
    compiled_rows : int
        Rows in the minibatches for which the loss is compiled; 0 compiles nothing.

    Attributes
    ----------
    gradient : callable
        Returns output and mean loss of a minibatch, and adds gradients to the weights'.
    loss : callable
        Returns output and mean loss, in float32: rows held out are judged as the module will be used.
    share : Share or None
        The rows of the minibatch that this process computes; None for all.
    """

    share: Share | None = None

    #: whether a run can be saved between the steps of an epoch
    is_divisible: bool = True

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        device: torch.device,
        precision: str,
        compiled_rows: int = 0,
    ):
        self.module = module
        loss = make_loss(module, criterion, device, precision)
        if compiled_rows:
            self.gradient: Loss = CompiledGradient(loss, module, device, compiled_rows)
        else:
            self.gradient = partial(differentiated, loss)
        self.loss = make_loss(module, criterion, device, "float32")
        self._trained = _trained_parameters(module) if compiled_rows else []

    def take(self, batch: Batch, net: NeuralNet, run: Any, *, report: bool) -> dict[str, Any]:
        """Take one step: augment and corrupt a minibatch, add up gradients, let the optimiser move.

        The optimiser and the random numbers are the net's, which with ``report`` tells its callbacks of
        the gradients; the run says how the minibatch is changed.
        """
        step: dict[str, Any] = {}

        def closure() -> Tensor:
            net.optimizer_.zero_grad(set_to_none=True)
            x, target, weight = batch
            if run.augmentation is not None:
                x, target = run.augmentation(x, target, net.random_streams.corruption)
            if run.corruption is not None:
                x = run.corruption(x, net.random_streams.corruption)
            output, loss = self.gradient(x, target, weight)
            if not step:  # an optimiser that asks again (LBFGS) reports its first loss
                step.update(loss=loss, y_pred=output)
            if report:
                parameters = list(net.get_all_learnable_params())
                net.notify(
                    "on_grad_computed", named_parameters=parameters, batch=batch[:2], training=True
                )
            return loss

        net.optimizer_.step(closure)
        return step

    def finish(self) -> None:
        """Do what is left to be done behind the last step of an epoch that is not divisible."""

    def judge(self, batch: Batch) -> dict[str, Any]:
        """Compute the loss of a minibatch that is held out: no noise, dropout or gradients."""
        with torch.no_grad():
            output, loss = self.loss(*batch)
        return {"loss": loss, "y_pred": output}

    def is_outdated(self) -> bool:
        """Tell whether other parameters are trained than when this was compiled."""
        return self._trained != _trained_parameters(self.module)


def _trained_parameters(module: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in module.parameters()]


#: the processes that share the fits of this context; None for one alone
PROCESSES: ContextVar[Any] = ContextVar("skae_processes", default=None)


# The filters of warnings are the process's, so only one thread at a time may change them.
_COMPILING = free_in_children(threading.Lock())


class CompiledGradient:
    """A loss and its gradients that ``torch.compile`` turned into few kernels; on CUDA, into graphs.

    They are compiled for full minibatches; one of another size, the last of an epoch, runs as it was
    written. Where compiling fails, for want of a C++ compiler say, everything does, with one warning.

    Parameters
    ----------
    loss : callable
        What :func:`make_loss` returned for this module and device.
    module, device
        As of :func:`make_loss`.
    batch_size : int
        Rows in a full minibatch.
    """

    def __init__(self, loss: Loss, module: nn.Module, device: torch.device, batch_size: int):
        self._plain = partial(differentiated, loss)
        self._module = module
        self._batch_size = batch_size
        self._compiled: Loss | None = None
        self._is_warm = False
        # torch keeps its graphs by thread, and has been wrong about that outside of the main one
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._on_graphs = device.type == "cuda" and in_main_thread
        mode = "reduce-overhead" if self._on_graphs else None
        try:
            compiled = torch.compile(_with_own_code(loss), dynamic=False, mode=mode)
            self._compiled = partial(differentiated, compiled)
        except RuntimeError as error:  # a Python that torch cannot compile yet
            self._give_up(error)

    def __call__(self, x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Output, Tensor]:
        """Return output and mean loss, and add the gradients to the weights'."""
        if self._compiled is None or len(x) != self._batch_size:
            return self._plain(x, target, weight)
        if self._on_graphs:  # pragma: other device
            # what the last replay wrote may be overwritten now
            torch.compiler.cudagraph_mark_step_begin()
        if self._is_warm:
            output, loss = self._compiled(x, target, weight)
        else:
            from torch._dynamo.exc import TorchDynamoException
            from torch._inductor.exc import InductorError

            try:
                output, loss = self._compile(x, target, weight)
            except (TorchDynamoException, InductorError) as error:
                self._give_up(error)
                self._module.zero_grad(set_to_none=True)
                return self._plain(x, target, weight)
        if self._on_graphs:  # pragma: other device
            # both lie in a graph's memory
            return _copy(output), loss.detach().clone()
        return output, loss

    def _compile(self, x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Output, Tensor]:
        with _COMPILING, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch(\.|$)")  # what torch says about itself
            result = self._compiled(x, target, weight)
        self._is_warm = True
        return result

    def _give_up(self, error: Exception) -> None:
        self._compiled = None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        warn(
            "compile=True has no effect here, training goes on uncompiled: "
            f"{lines[0] if lines else type(error).__name__} "
            "(torch.compile needs a C++ compiler: install g++ or clang, or set the variable CXX.)",
            CompileWarning,
        )


def _copy(output: Output) -> Output:  # pragma: other device
    if isinstance(output, Tensor):
        return output.detach().clone()
    return tuple(part.detach().clone() for part in output)


def _with_own_code(function: Loss) -> Loss:
    """Copy a function together with its code.

    torch keeps what it compiled, and counts how often up to a limit of eight, by the code object:
    the same one for every fit of this process.
    """
    code = function.__code__.replace()
    return types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
