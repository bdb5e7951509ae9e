"""Means and variances over any number of rows, which may lie in a file."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Sums over rows run through chunks in float64: exact enough for any mean, and in bounded memory.
_CHUNK_NUMBERS = 2**20


def _chunks(
    x: Tensor, weight: Tensor | None, absolute: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and their weights, a chunk at a time; weights of one where there are none.

    Nothing is asked of ``x`` and ``weight`` but slices: they may be read from a file as they are needed.
    """
    step = max(1, _CHUNK_NUMBERS // math.prod(x.shape[1:]))
    for start in range(0, len(x), step):
        rows = x[start : start + step].double().flatten(1)
        if weight is None:
            yield rows, rows.new_ones(len(rows))
        else:
            part = weight[start : start + step].double()
            yield rows, part.abs() if absolute else part


# Sums are added up in place: a result kept for each chunk would lie on the heap between the chunks that
# come and go, and memory would grow with their number.


def column_moments(
    x: Tensor, weight: Tensor | None, absolute: bool = False
) -> tuple[Tensor, Tensor]:
    """Return weighted mean and variance of the columns; of rows with more axes, of all their numbers."""
    n_columns = math.prod(x.shape[1:])
    total, mean, variance = torch.zeros(1 + 2 * n_columns, dtype=torch.float64).split(
        [1, n_columns, n_columns]
    )
    for rows, w in _chunks(x, weight, absolute):
        total += w.sum()
        mean += w @ rows
    mean /= total
    for rows, w in _chunks(x, weight, absolute):
        variance += w @ (rows - mean).square_()
    return mean, variance / total


def usable_moments(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, bool]:
    """Return mean and variance of the columns, and whether they had to be taken with absolute weights.

    That is where negative weights make a variance negative.
    """
    mean, variance = column_moments(x, weight)
    absolute = weight is not None and bool((variance < 0.0).any())
    if absolute:
        mean, variance = column_moments(x, weight, absolute)
    return mean, variance, absolute


def scale_of(mean: Tensor, variance: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what numbers of ``dtype`` are divided by: their spread, or 1 where they are constant.

    Rounding alone must not pass for a spread.
    """
    constant = variance <= (10.0 * torch.finfo(dtype).eps * mean) ** 2
    return torch.where(constant, 1.0, variance.clamp_min(0.0).sqrt())


def column_covariance(
    x: Tensor, mean: Tensor, columns: Sequence[int], weight: Tensor | None, absolute: bool
) -> Tensor:
    """Return the weighted covariance of some of the columns."""
    total = torch.zeros(1, dtype=torch.float64)
    products = torch.zeros(len(columns), len(columns), dtype=torch.float64)
    for rows, w in _chunks(x, weight, absolute):
        centred = (rows - mean)[:, columns]
        total += w.sum()
        products += (centred * w[:, None]).T @ centred
    return products / total
