"""The rows of a fit as tensors on the device, and the loop over minibatches that slices them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor, Tensor | None]


def map_parts(function: Callable[[Any], Any], *parts: Any) -> list[Any]:
    """Apply a function to each part that is there; None stays None."""
    return [None if part is None else function(part) for part in parts]


@dataclass(frozen=True)
class TensorRows(Dataset):
    """Rows on the device: inputs, targets and weights.

    Attributes
    ----------
    x : Tensor of shape (n, ...)
        Inputs.
    target : Tensor of shape (n, ...) or None
        What the output is compared with; None where it is ``x`` itself.
    weight : Tensor of shape (n,) or None
        Weights of the rows, divided by the mean weight of all of the fit's rows.
    """

    x: Tensor
    target: Tensor | None = None
    weight: Tensor | None = None

    def _each(self, function: Callable[[Tensor], Tensor]) -> "TensorRows":
        return TensorRows(*map_parts(function, self.x, self.target, self.weight))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one row and its target: what a scoring callback of skorch takes from a dataset."""
        return self.x[index], self.x[index] if self.target is None else self.target[index]

    def total_weight(self) -> float:
        """Return the sum of the weights; of rows without, their number."""
        return float(len(self) if self.weight is None else self.weight.double().sum())

    def with_mean_weight_of_one(self) -> "TensorRows":
        """Return the same rows with their weights divided by their mean."""
        if self.weight is None:
            return self
        return replace(self, weight=self.weight / self.weight.mean())

    def to(self, device: torch.device) -> "TensorRows":
        """Return the rows on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def take(self, rows: Tensor) -> "TensorRows":
        """Return the rows with these indices, in this order."""
        return self._each(lambda tensor: tensor.index_select(0, rows))

    def from_row(self, start: int) -> "TensorRows":
        """Return the rows from this one on, without copying them."""
        return self._each(lambda tensor: tensor[start:])

    def followed_by(self, others: "TensorRows") -> "TensorRows":
        """Return these rows and, behind them, others of the same kind."""
        pairs = ((self.x, others.x), (self.target, others.target), (self.weight, others.weight))
        return TensorRows(*(None if pair[0] is None else torch.cat(pair) for pair in pairs))

    def hold_out(self, n: int, seed: int) -> tuple["TensorRows", "TensorRows"]:
        """Split n random rows off, the same ones for the same seed."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[n:]), self.take(order[:n])

    def minibatches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> "Minibatches":
        """Loop over the rows in minibatches."""
        return Minibatches(self, batch_size, generator)

    def batch(self, start: int, stop: int) -> Batch:
        """Return inputs, targets and weights of a run of rows, without copying them."""
        x = self.x[start:stop]
        target = x if self.target is None else self.target[start:stop]
        weight = None if self.weight is None else self.weight[start:stop]
        return x, target, weight


def _batch_edges(n: int, batch_size: int) -> list[int]:
    """Cut n rows into minibatches: return where each begins, and n.

    A last batch of a single row is merged with the one before: batch normalisation has no variance
    to divide one row by.
    """
    edges = [*range(0, n, batch_size), n]
    if len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return edges


class Minibatches:
    """Loop over rows in minibatches: one permutation an epoch, then slices.

    Parameters
    ----------
    rows : TensorRows
        The data, on the device.
    batch_size : int
        Rows in a minibatch.
    generator : torch.Generator or None
        Where permutations come from, on the CPU; None keeps the rows in order.
    """

    def __init__(self, rows: TensorRows, batch_size: int, generator: torch.Generator | None = None):
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator
        self._edges = _batch_edges(len(rows), batch_size)

    def __len__(self) -> int:
        return len(self._edges) - 1

    @property
    def sizes(self) -> list[int]:
        """Rows in each of them."""
        return [stop - start for start, stop in pairwise(self._edges)]

    def __iter__(self) -> Iterator[Batch]:
        rows = self.rows
        if self.generator is not None:
            order = torch.randperm(len(rows), generator=self.generator)
            rows = rows.take(order.to(rows.x.device))
        for start, stop in pairwise(self._edges):
            yield rows.batch(start, stop)
