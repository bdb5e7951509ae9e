"""The loss of a minibatch: in float32 or mixed precision, compiled or not."""

import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skae.exceptions import CompileWarning

#: name → dtype that matrix products are computed in, None for the weights' own
PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16-mixed": torch.bfloat16}

#: (inputs, targets, weights or None) → (output, mean loss)
Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


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

    def mean_loss(x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        output = module(x)
        losses = criterion(output, target)  # (n,)
        # The weights' mean over *all* rows is one, so dividing by the batch's size, and never by its
        # own sum of weights, keeps every batch's gradient unbiased, negative weights included.
        return output, losses.mean() if weight is None else (losses * weight).sum() / len(weight)

    if dtype is None:
        return mean_loss

    def mixed_loss(x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, dtype):
            return mean_loss(x, target, weight)

    return mixed_loss


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that torch does not offer on a device."""
    if PRECISIONS[precision] is not None and not torch.amp.is_autocast_available(device.type):
        raise ValueError(
            f"precision={precision!r} is not available on device {str(device)!r}; use "
            "precision='float32'."
        )


class CompiledLoss:
    """A loss that ``torch.compile`` turned into one kernel or few; on CUDA, a graph replayed as a whole.

    It is compiled for full minibatches; one of another size, the last of an epoch, runs as it was
    written. Where compiling fails, for want of a C++ compiler say, everything does, with one warning.

    Parameters
    ----------
    loss : callable
        What :func:`make_loss` returned.
    device : torch.device
        Where it computes.
    batch_size : int
        Rows in a full minibatch.
    """

    def __init__(self, loss: Loss, device: torch.device, batch_size: int):
        self._loss = loss
        self._batch_size = batch_size
        self._on_graphs = device.type == "cuda"
        self._is_warm = False
        self._compiled: Loss | None = None
        mode = "reduce-overhead" if self._on_graphs else None
        try:
            self._compiled = torch.compile(_with_own_code(loss), dynamic=False, mode=mode)
        except RuntimeError as error:  # a Python that torch cannot compile yet
            self._give_up(error)

    def __call__(self, x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return output and mean loss."""
        if self._compiled is None or len(x) != self._batch_size:
            return self._loss(x, target, weight)
        if self._on_graphs:  # what the last replay wrote may be overwritten now
            torch.compiler.cudagraph_mark_step_begin()
        try:
            if self._is_warm:
                return self._own(*self._compiled(x, target, weight))
            with warnings.catch_warnings():  # torch's own, about itself, while it compiles
                warnings.filterwarnings("ignore", module=r"torch(\.|$)")
                result = self._compiled(x, target, weight)
            self._is_warm = True
            return self._own(*result)
        except _compiler_errors() as error:
            self._give_up(error)
            return self._loss(x, target, weight)

    def _own(self, output: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Copy what lies in a graph's memory, which the next replay overwrites."""
        return (output.detach().clone(), loss.clone()) if self._on_graphs else (output, loss)

    def _give_up(self, error: Exception) -> None:
        self._compiled = None
        reason = next(
            (line for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        warnings.warn(
            f"compile=True has no effect here, training goes on uncompiled: {reason.strip()} "
            "(torch.compile needs a C++ compiler: install g++ or clang, or set the variable CXX.)",
            CompileWarning,
            stacklevel=2,
        )


def _compiler_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return TorchDynamoException, InductorError


def _with_own_code(function: Loss) -> Loss:
    """Copy a function together with its code.

    torch keeps what it compiled, and counts how often up to a limit of eight, by the code object:
    the same one for every fit of this process.
    """
    code = function.__code__.replace()
    return types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
