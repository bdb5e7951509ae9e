"""One fit in several processes, on as many devices: each computes its share of every minibatch.

The gradient of a minibatch is the sum of its shares', so a fit is the same as in one process, but for
rounding. Processes begin with the same weights and take the same steps; what is random is drawn in each
of them for all rows.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor

from skae.modules.seeded import Share
from skae.training.step import PROCESSES, Loss, Output, Step


def _import_without_a_group() -> None:
    """Import what the first optimiser would, before it does.

    Its functions have the process group of that moment as a default: the group would outlive its end, and
    its threads abort the process as it exits.
    """
    if torch.distributed.is_available():
        group = torch.distributed.group
        world, group.WORLD = group.WORLD, None
        try:
            importlib.import_module("torch.distributed.nn.functional")
        finally:
            group.WORLD = world


_import_without_a_group()


class AcceleratedProcesses:
    """Processes that share a fit.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Knows the processes, and this one's device.
    """

    def __init__(self, accelerator: Any):
        self._accelerator = accelerator
        self.size: int = accelerator.num_processes
        self.rank: int = accelerator.process_index
        #: whether this process is the one that writes and shows progress
        self.is_main = self.rank == 0
        self.device: torch.device = accelerator.device

    def step(self, *arguments: Any, compiled_rows: int = 0) -> "SharedStep":
        """Return how the processes compute a minibatch together; arguments as of :class:`Step`."""
        return SharedStep(self, *arguments, compiled_rows=len(self.rows_of(compiled_rows)))

    def rows_of(self, n: int) -> range:
        """Return this process's part of n rows.

        Where there are fewer than two rows for each process every one computes them all: what happens
        beside a loss, drawing say, has to happen everywhere, and batch normalisation needs two rows.
        """
        if n < 2 * self.size:
            return range(n)
        return range(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes."""
        return self._accelerator.reduce(tensor, reduction="sum")

    def of_main(self, value: Any) -> Any:
        """Return the main process's value in each process."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value], from_process=0)[0]

    def of_all(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order, in each process."""
        from accelerate.utils import gather_object

        return gather_object([value])

    def synchronise(self, net: NeuralNet) -> None:
        """Give every process the main one's weights and buffers, and its decision to stop."""
        from accelerate.utils import broadcast

        for tensor in net.module_.state_dict().values():
            tensor.copy_(broadcast(tensor.contiguous(), from_process=0))
        net.stop_training = self.of_main(net.stop_training)

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

    def check_equal(self, description: Any) -> None:
        """Refuse a fit that processes describe in different ways, in all of them."""
        descriptions = self.of_all(description)
        others = [rank for rank, other in enumerate(descriptions) if other != descriptions[0]]
        if others:
            raise ValueError(
                f"Every process must make the same fit, of all of the data: process {others[0]} has "
                "other data or other parameters than process 0. Give each of them all rows; each takes "
                "its share of a minibatch by itself."
            )


class SharedStep(Step):
    """A :class:`Step` of which each process computes its share of the minibatch's rows."""

    def __init__(self, processes: AcceleratedProcesses, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.processes = processes
        self.share = Share()
        self._own_gradient, self._own_loss = self.gradient, self.loss
        self.gradient, self.loss = self._shared_gradient, self._shared_loss

    def _shared_gradient(
        self, x: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Output, Tensor]:
        """Return output and loss, and sum the gradients over the processes."""
        output, loss, fraction = self._of_share(self._own_gradient, x, target, weight)
        with_gradient = [p for p in self.module.parameters() if p.grad is not None]
        parts = [p.grad for p in with_gradient] + [loss.detach()]
        whole = self.processes.sum(torch.cat([part.flatten() for part in parts]) * fraction)
        *gradients, loss = whole.split([part.numel() for part in parts])
        for parameter, sum_ in zip(with_gradient, gradients, strict=True):
            parameter.grad.copy_(sum_.view_as(parameter))
        return output, loss[0]

    def _shared_loss(
        self, x: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Output, Tensor]:
        """Return output and loss, without gradients."""
        output, own, fraction = self._of_share(self._own_loss, x, target, weight)
        return output, self.processes.sum(own.detach() * fraction)

    def _of_share(
        self, loss: Loss, x: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Output, Tensor, float]:
        n, rows = len(x), self.processes.rows_of(len(x))
        self.share.start, self.share.stop, self.share.total = rows.start, rows.stop, n
        fraction = 1.0 / self.processes.size if len(rows) == n else len(rows) / n
        part = slice(rows.start, rows.stop)
        output, own = loss(x[part], target[part], None if weight is None else weight[part])
        return output, own, fraction


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
    ends them all. Let ``accelerator.end_training()`` be the program's last line: without it, a process
    may abort as it exits.

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
    token = PROCESSES.set(AcceleratedProcesses(accelerator))
    try:
        yield
    finally:
        PROCESSES.reset(token)
