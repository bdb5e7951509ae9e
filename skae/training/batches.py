"""The rows of a fit as tensors on the device, and the loop over minibatches that slices them.

The order of rows follows from the seed, their number and their width, and from nothing else: rows that
are read from a file as they are needed (:mod:`skae.training.streaming`) come in the same one. Up to
``BUFFER_NUMBERS`` numbers are shuffled freely. More come in runs of neighbouring rows, which are put in
random order and shuffled buffer by buffer, for a file is read in runs.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor, Tensor | None]

#: numbers that are shuffled at once: 32 MB of them
BUFFER_NUMBERS = 2**23

# Rows next to one another where some from all over are looked at, fewer where there are not so many runs.
_RUN, _FEWEST_RUNS = 64, 8

# Numbers that are cast at once: their copies in float64 stay in cache.
_CAST_NUMBERS = 2**16


@dataclass(frozen=True)
class Units:
    """Centre and unit of what networks compute with: both are taken off in float64, before the cast.

    Attributes
    ----------
    center, scale : ndarray
        What is subtracted from a row, and what the rest is divided by; broadcast with it.
    """

    center: Any
    scale: Any

    def undo(self, numbers: np.ndarray) -> np.ndarray:
        """Bring numbers back, in float64."""
        return np.multiply(numbers, self.scale, dtype=np.float64) + self.center


#: units of what stays as it is
PLAIN = Units(0.0, 1.0)


def to_float32(array: np.ndarray, name: str, units: Units = PLAIN) -> np.ndarray:
    """Copy an array, which may be read-only or memory-mapped, to float32, in these units.

    Raises
    ------
    ValueError
        If a value is beyond the range of float32.
    """
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)  # as scikit-learn's validation does with what is at hand
    try:
        with np.errstate(over="raise"):
            if units is PLAIN:
                return np.array(array, dtype=np.float32, order="C")
            result = np.empty(array.shape, dtype=np.float32)
            step = max(1, _CAST_NUMBERS // max(1, math.prod(array.shape[1:])))
            for start in range(0, len(array), step):
                part = slice(start, start + step)
                result[part] = (array[part] - units.center) / units.scale
            return result
    except FloatingPointError as error:
        raise ValueError(
            f"{name} has values up to {np.abs(array).max():.3g}, beyond the range of float32 "
            f"({np.finfo(np.float32).max:.3g}), in which networks compute; rescale {name}."
        ) from error


@dataclass(frozen=True)
class Rows(Dataset, ABC):
    """Rows of a fit, as tensors or as what reads them: slices, shapes and lengths are asked of it."""

    x: Any  # (n, ...), inputs
    target: Any = None  # (n, ...), what the output is compared with; None where it is x itself
    weight: Any = None  # (n,), divided by the mean weight of all of the fit's rows

    def __len__(self) -> int:
        return len(self.x)

    def parts(self, function: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
        """Return what a function makes of inputs, targets and weights, None of what is not there."""
        target = None if self.target is None else function(self.target)
        weight = None if self.weight is None else function(self.weight)
        return function(self.x), target, weight

    def some(self, most: int, device: torch.device | str) -> "TensorRows":
        """Return these rows, or ``most`` of them from all over: their order may mean something."""
        if len(self) <= most:
            return TensorRows(*self.parts(lambda part: part[:].to(device)))
        run, starts = self._runs(most)

        def runs_of(part: Any) -> Tensor:
            return torch.cat([part[start : start + run] for start in starts]).to(device)

        return TensorRows(*self.parts(runs_of))

    def some_by_runs(self, most: int, device: torch.device | str) -> Iterator["TensorRows"]:
        """Go through as many rows in runs: for those that are too long to be there together."""
        run, starts = self._runs(min(most, len(self)))
        for start in starts:
            rows = slice(start, start + run)
            yield TensorRows(*self.parts(lambda part, rows=rows: part[rows].to(device)))

    def _runs(self, most: int) -> tuple[int, list[int]]:
        """Return the length of runs of rows, and where they start."""
        run = min(_RUN, -(-most // _FEWEST_RUNS))
        return run, np.linspace(0, len(self) - run, most // run).astype(int).tolist()

    @abstractmethod
    def buffers(self, generator: torch.Generator | None) -> Iterator["TensorRows"]:
        """Go through all rows, in order or shuffled by a generator on the CPU."""


@dataclass(frozen=True)
class TensorRows(Rows):
    """Rows on the device."""

    #: first row, and the row behind the last, of each run; None where rows are shuffled freely
    runs: np.ndarray | None = None  # (n_runs, 2)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one row and its target: what a scoring callback of skorch takes from a dataset."""
        return self.x[index], self.x[index] if self.target is None else self.target[index]

    def to(self, device: torch.device) -> "TensorRows":
        """Return the rows on another device."""
        return TensorRows(*self.parts(methodcaller("to", device)), self.runs)

    def take(self, rows: Tensor) -> "TensorRows":
        """Return the rows with these indices, in this order."""
        return TensorRows(*self.parts(methodcaller("index_select", 0, rows.to(self.x.device))))

    def followed_by(self, others: "TensorRows", start: int) -> "TensorRows":
        """Return these rows from ``start`` on and, behind them, others of the same kind."""
        pairs = (self.x, others.x), (self.target, others.target), (self.weight, others.weight)
        return TensorRows(*(None if a is None else torch.cat([a[start:], b]) for a, b in pairs))

    def batch(self, start: int, stop: int) -> Batch:
        """Return the rows from ``start`` up to ``stop``, without copying them."""
        x = self.x[start:stop]
        target = x if self.target is None else self.target[start:stop]
        return x, target, None if self.weight is None else self.weight[start:stop]

    def buffers(self, generator: torch.Generator | None) -> Iterator["TensorRows"]:
        """Go through all rows, in order or shuffled by a generator on the CPU."""
        if generator is None:
            yield self
        elif self.runs is None:
            yield self.take(torch.randperm(len(self), generator=generator))
        else:
            rows = torch.from_numpy(rows_of(shuffled(self.runs, generator)))
            for part in rows.split(buffer_size(self.x, self.target)):
                yield self.take(part[torch.randperm(len(part), generator=generator)])


def buffer_size(x: Any, target: Any) -> int:
    """Return how many rows of this width are shuffled at once."""
    n_numbers = math.prod(x.shape[1:]) + (0 if target is None else math.prod(target.shape[1:]))
    return max(1, BUFFER_NUMBERS // max(1, n_numbers))


def shuffled(runs: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Return runs in random order."""
    return runs[torch.randperm(len(runs), generator=generator).numpy()]


def rows_of(runs: np.ndarray) -> np.ndarray:
    """Return the indices of the rows in runs, one run after the other."""
    lengths = runs[:, 1] - runs[:, 0]
    behind = np.cumsum(lengths)
    return np.arange(behind[-1]) + np.repeat(runs[:, 1] - behind, lengths)


class Minibatches:
    """Loop over rows in minibatches: slices of buffers, each shuffled as a whole.

    The order comes from a generator on the CPU; None keeps the rows in order. A last batch of a single
    row is merged with the one before: batch normalisation has no variance to divide one row by.
    """

    def __init__(self, rows: Rows, batch_size: int, generator: torch.Generator | None = None):
        self.rows = rows
        self.generator = generator
        edges = [*range(0, len(rows), batch_size), len(rows)]
        if len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        #: rows in each of them
        self.sizes: list[int] = np.diff(edges).tolist()

    def __iter__(self) -> Iterator[Batch]:
        buffers = self.rows.buffers(self.generator)
        pool, start = next(buffers), 0
        for size in self.sizes:
            while len(pool) < start + size:
                pool, start = pool.followed_by(next(buffers), start), 0
            yield pool.batch(start, start + size)
            start += size
