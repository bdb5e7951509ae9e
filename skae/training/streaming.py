"""Rows that are too many to copy: read from an array, mostly a memory-mapped file, as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from skae.training.batches import (
    PLAIN,
    Rows,
    TensorRows,
    Units,
    buffer_size,
    shuffled,
    to_float32,
)

# Numbers in what is read in one run: 256 KB of them. Single rows of a file cost a page each; each buffer
# holds runs from all over the file.
_RUN_NUMBERS = 2**16

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """The rows of an array in an order of runs; slices are read as float32 tensors."""

    array: np.ndarray  # (n_rows, ...), of any numeric dtype; may be memory-mapped
    runs: np.ndarray  # (n_runs, 2), first row, and the row behind the last, of each run
    name: str  # what it is called in an error
    units: Units = PLAIN  # what the numbers are read in
    dtype: ClassVar = torch.float32

    @cached_property
    def ends(self) -> np.ndarray:
        """Rows up to the end of each run, ``(n_runs,)``."""
        return np.cumsum(self.runs[:, 1] - self.runs[:, 0])

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """As a tensor's."""
        return (len(self), *self.array.shape[1:])

    def __getitem__(self, rows: slice) -> Tensor:
        """Read the rows from ``rows.start`` up to ``rows.stop``."""
        start, stop, _ = rows.indices(len(self))
        n_rows = max(0, stop - start)
        result = torch.empty(n_rows, *self.array.shape[1:], dtype=torch.float32)
        done = 0
        while done < len(result):
            run = int(np.searchsorted(self.ends, start + done, side="right"))
            first = int(self.runs[run, 1] - (self.ends[run] - start - done))
            last = min(first + len(result) - done, int(self.runs[run, 1]))
            result.numpy()[done : done + last - first] = self._read(first, last)
            done += last - first
        return result

    def _read(self, first: int, last: int) -> np.ndarray:
        return to_float32(self.array[first:last], self.name, self.units)

    def check_range(self) -> None:
        """Refuse values that float32 cannot hold, before they come up in the middle of a fit."""
        if self.array.dtype.itemsize > 4:
            for first, last in self.runs:
                self._read(first, last)


@dataclass(frozen=True)
class StreamedRows(Rows):
    """Rows of arrays, which stay where they are and are read when needed."""

    device: torch.device = _CPU  # where minibatches are wanted

    @classmethod
    def from_arrays(
        cls,
        x: np.ndarray,
        target: np.ndarray | None,
        weight: np.ndarray | None,
        mean_weight: float,
        x_units: Units = PLAIN,
        target_units: Units = PLAIN,
    ) -> "StreamedRows":
        """Read from these arrays, in these units, weights over their mean; nothing is copied."""
        n_numbers = sum(part[:1].size for part in (x, target) if part is not None)
        edges = np.append(np.arange(0, len(x), max(1, _RUN_NUMBERS // max(1, n_numbers))), len(x))
        runs = np.stack([edges[:-1], edges[1:]], axis=1)
        return cls(
            ArrayRows(x, runs, "X", x_units),
            None if target is None else ArrayRows(target, runs, "y", target_units),
            None
            if weight is None
            else ArrayRows(weight, runs, "sample_weight", Units(0.0, mean_weight)),
        )

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one row and its target."""
        x, target, _ = self.read(index, index + 1).batch(0, 1)
        return x[0], target[0]

    def check_range(self) -> None:
        """Refuse values that float32 cannot hold."""
        self.parts(ArrayRows.check_range)

    def to(self, device: torch.device) -> "StreamedRows":
        """Return the rows for minibatches on another device."""
        return replace(self, device=device)

    def take_runs(self, runs: np.ndarray) -> "StreamedRows":
        """Return the rows of these runs, in this order."""
        return StreamedRows(*self.parts(lambda part: replace(part, runs=runs)), self.device)

    def hold_out(self, n: int, seed: int) -> tuple["StreamedRows", "StreamedRows"]:
        """Split n rows off, in runs from all over the array; the same ones for the same seed."""
        x = replace(self.x, runs=shuffled(self.x.runs, torch.Generator().manual_seed(seed)))
        runs = x.runs
        last = int(np.searchsorted(x.ends, n))  # the run that is cut in two
        cut = runs[last, 1] - (x.ends[last] - n)
        held_out = np.vstack([runs[:last], [[runs[last, 0], cut]]])
        kept = np.vstack([[[cut, runs[last, 1]]], runs[last + 1 :]])
        parts = (part[np.argsort(part[:, 0])] for part in (kept[kept[:, 0] < kept[:, 1]], held_out))
        training, validation = (self.take_runs(part) for part in parts)
        return training, validation

    def weighed_by(self, mean_weight: float) -> "StreamedRows":
        """Return the same rows with their weights divided by another number."""
        return replace(self, weight=replace(self.weight, units=Units(0.0, mean_weight)))

    def read(self, start: int, stop: int) -> TensorRows:
        """Copy a run of rows to the device."""
        return TensorRows(*self.parts(itemgetter(slice(start, stop)))).to(self.device)

    def loaded(self) -> TensorRows:
        """Copy all rows to the device, to come in the order in which they are read from here."""
        runs = np.stack([np.append(0, self.x.ends[:-1]), self.x.ends], axis=1)
        return replace(self.read(0, len(self)), runs=runs)

    def buffers(self, generator: torch.Generator | None) -> Iterator[TensorRows]:
        """Go through all rows, in order or shuffled by a generator on the CPU."""
        rows = self if generator is None else self.take_runs(shuffled(self.x.runs, generator))
        step = buffer_size(self.x, self.target)
        for start in range(0, len(rows), step):
            buffer = rows.read(start, start + step)
            if generator is None:
                yield buffer
            else:
                yield buffer.take(torch.randperm(len(buffer), generator=generator))
