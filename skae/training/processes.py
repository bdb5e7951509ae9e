"""One fit in several processes, on as many devices: each computes its share of every minibatch.

The gradient of a minibatch is the sum of its shares', so a fit is the same as in one process, but for
rounding. Processes begin with the same weights and take the same steps; what is random is drawn in each
of them for all rows.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from skae.modules import Share
from skae.training.step import Loss, Output

# The first optimiser imports this module, whose functions have the process group of that moment as a
# default. It would outlive its end, and its threads abort the process as it exits.
if torch.distributed.is_available():
    import torch.distributed.nn.functional


class Alone:
    """The one process of a fit that is not shared.

    Attributes
    ----------
    is_main : bool
        Whether this process is the one that writes and shows progress.
    device : torch.device or None
        Where it computes; None leaves the choice to the fit.
    share : Share or None
        Its rows of the minibatch that is computed; None for all.
    """

    is_main: bool = True
    device: torch.device | None = None
    share: Share | None = None

    def size_of_share(self, n: int) -> int:
        """Return how many of n rows are this process's."""
        return n

    def gradient(self, gradient: Loss, module: nn.Module) -> Loss:
        """Return what computes a minibatch's loss and gradients.

        Parameters
        ----------
        gradient : callable
            Computes the mean loss of rows, and adds its gradients to the weights' of ``module``.
        module : nn.Module
            What is trained.
        """
        return gradient

    def loss(self, loss: Loss) -> Loss:
        """Return what computes a minibatch's loss, without gradients."""
        return loss

    def agree_on(self, module: nn.Module) -> None:
        """Give every process the main one's weights and buffers."""

    def of_main(self, value: Any) -> Any:
        """Return the main process's value in each process."""
        return value

    def any_of(self, value: bool) -> bool:
        """Tell whether a value is true in any process."""
        return value

    def on_main(self, function: Callable[[], Any]) -> Any:
        """Call a function in the main process; return its result, or raise its error, in each."""
        return function()

    def check_equal(self, describe: Callable[[], Any]) -> None:
        """Refuse a fit that processes describe in different ways.

        Raises
        ------
        ValueError
            In all of them.
        """


class Team(Alone):
    """Processes that share a fit.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Knows the processes, and this one's device.
    """

    def __init__(self, accelerator: Any):
        self._accelerator = accelerator
        self._size: int = accelerator.num_processes
        self._rank: int = accelerator.process_index
        self.is_main = self._rank == 0
        self.device = accelerator.device
        self.share: Share = Share()

    def _divide(self, n: int) -> float:
        """Let ``share`` be this process's part of n rows; return the weight of what it computes of them.

        Where there are fewer than two rows for each process every one computes them all: what happens
        beside a loss, drawing say, has to happen everywhere, and batch normalisation needs two rows.
        """
        rows = self._rows_of(n)
        self.share.start, self.share.stop, self.share.total = rows.start, rows.stop, n
        return 1.0 / self._size if len(rows) == n else len(rows) / n

    def size_of_share(self, n: int) -> int:
        """Return how many of n rows are this process's."""
        return len(self._rows_of(n))

    def _rows_of(self, n: int) -> range:
        if n < 2 * self._size:
            return range(n)
        return range(self._rank * n // self._size, (self._rank + 1) * n // self._size)

    def gradient(self, gradient: Loss, module: nn.Module) -> Loss:
        """Return what computes a minibatch's loss and gradients together."""

        def shared(x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Output, Tensor]:
            output, loss, fraction = self._of_share(gradient, x, target, weight)
            with_gradient = [p for p in module.parameters() if p.grad is not None]
            parts = [p.grad for p in with_gradient] + [loss.detach()]
            whole = self._sum(torch.cat([part.flatten() for part in parts]) * fraction)
            *gradients, loss = whole.split([part.numel() for part in parts])
            for parameter, sum_ in zip(with_gradient, gradients, strict=True):
                parameter.grad.copy_(sum_.view_as(parameter))
            return output, loss[0]

        return shared

    def loss(self, loss: Loss) -> Loss:
        """Return what computes a minibatch's loss together, without gradients."""

        def shared(x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Output, Tensor]:
            output, own, fraction = self._of_share(loss, x, target, weight)
            return output, self._sum(own.detach() * fraction)

        return shared

    def _of_share(
        self, loss: Loss, x: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Output, Tensor, float]:
        fraction = self._divide(len(x))
        rows = slice(self.share.start, self.share.stop)
        output, own = loss(x[rows], target[rows], None if weight is None else weight[rows])
        return output, own, fraction

    def _sum(self, tensor: Tensor) -> Tensor:
        return self._accelerator.reduce(tensor, reduction="sum")

    def agree_on(self, module: nn.Module) -> None:
        """Give every process the main one's weights and buffers."""
        from accelerate.utils import broadcast

        for tensor in module.state_dict().values():
            tensor.copy_(broadcast(tensor.contiguous(), from_process=0))

    def of_main(self, value: Any) -> Any:
        """Return the main process's value in each process."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value], from_process=0)[0]

    def any_of(self, value: bool) -> bool:
        """Tell whether a value is true in any process."""
        from accelerate.utils import gather_object

        return any(gather_object([value]))

    def on_main(self, function: Callable[[], Any]) -> Any:
        """Call a function in the main process; return its result, or raise its error, in each."""
        result = error = None
        if self.is_main:
            try:
                result = function()
            except Exception as caught:
                error = caught
        result, error = self.of_main((result, error))
        if error is not None:
            raise error
        return result

    def check_equal(self, describe: Callable[[], Any]) -> None:
        """Refuse a fit that processes describe in different ways, in all of them."""
        from accelerate.utils import gather_object

        descriptions = gather_object([describe()])
        others = [rank for rank, other in enumerate(descriptions) if other != descriptions[0]]
        if others:
            raise ValueError(
                f"Every process must make the same fit, of all of the data: process {others[0]} has "
                "other data or other parameters than process 0. Give each of them all rows; each takes "
                "its share of a minibatch by itself."
            )


#: of fits that are not shared
ALONE = Alone()

_TEAM: ContextVar[Alone] = ContextVar("skae_team")


def current_team() -> Alone:
    """Return the processes that share the fits of this context: one alone, or a :class:`Team`."""
    return _TEAM.get(ALONE)


@contextlib.contextmanager
def distribute(accelerator: Any) -> Iterator[None]:
    """Share the fits inside this context among the processes, and the devices, of an Accelerator.

    Every process runs the same program on the same data, started by ``accelerate launch`` or
    ``torchrun``. ``batch_size`` is that of all processes together: each computes its share of the rows of
    every minibatch, on its own device, and gradients are summed. A fit comes out as in one process but
    for rounding, with noise and dropout, too. What takes means over the minibatch takes them over the
    share: batch normalisation, and the weights ``a``, ``b`` and ``energy_weight`` of
    :class:`~skae.CaloShowerVAE`.

    Every process has the fitted estimator in the end. The first one alone writes checkpoints and shows
    progress. ``predict``, ``transform`` and the like work in each process by itself. An error that a
    program catches in one process leaves the others waiting: let it end the program, and the launcher
    ends them all. Import skae before the Accelerator is made, and let ``accelerator.end_training()`` be
    the program's last line: without either, a process may abort as it exits.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        What Accelerate made for this process. Its ``mixed_precision`` and
        ``gradient_accumulation_steps`` are not used: see ``precision`` and ``batch_size`` of the
        estimator. Without GPUs it has to be ``Accelerator(cpu=True)``.

    Raises
    ------
    ValueError
        If the Accelerator does not know of the processes that were started.

    Examples
    --------
    >>> import skae
    >>> from accelerate import Accelerator
    >>> from skae.datasets import make_jets
    >>> X = make_jets(200, random_state=0)
    >>> accelerator = Accelerator(cpu=True)
    >>> with skae.distribute(accelerator):
    ...     model = skae.JetAutoencoder(max_epochs=2, random_state=0).fit(X)
    >>> accelerator.end_training()
    >>> model.n_iter_
    2
    """
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started > accelerator.num_processes:
        raise ValueError(
            f"{started} processes were started, but this Accelerator knows of "
            f"{accelerator.num_processes}; on machines without GPUs make it with Accelerator(cpu=True)."
        )
    token = _TEAM.set(Team(accelerator))
    try:
        yield
    finally:
        _TEAM.reset(token)
