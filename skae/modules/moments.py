"""Means and variances over any number of rows, which may lie in a file."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Rows(Protocol):
    """Rows of which slices can be taken: a tensor, or what is read or made as it is needed."""

    shape: torch.Size
    dtype: torch.dtype

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice) -> Tensor: ...


# Sums over rows run through chunks in float64: exact enough for any mean, and in bounded memory.
_CHUNK_NUMBERS = 2**20

# Passes through the rows in which leading axes are found.
_ITERATIONS = 6


def rows_at_once(x: Rows) -> int:
    """Return how many rows are read at a time."""
    return max(1, _CHUNK_NUMBERS // math.prod(x.shape[1:]))


def chunks_of(
    x: Rows, weight: Rows | None, absolute: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and their weights, a chunk at a time; weights of one where there are none.

    Nothing is asked of ``x`` and ``weight`` but slices: they may be read from a file as they are needed.
    """
    step = rows_at_once(x)
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
    x: Rows, weight: Rows | None, absolute: bool = False, gaps: bool = False
) -> tuple[Tensor, Tensor]:
    """Return weighted mean and variance of the columns; of rows with more axes, of all their numbers.

    With ``gaps`` a NaN is a number that was not observed.
    """
    n_columns = math.prod(x.shape[1:])
    total = torch.zeros(n_columns if gaps else 1, dtype=torch.float64)
    mean, variance = torch.zeros(2 * n_columns, dtype=torch.float64).split(n_columns)
    for rows, w in chunks_of(x, weight, absolute):
        total += w @ (~rows.isnan()).double() if gaps else w.sum()
        mean += w @ (rows.nan_to_num(nan=0.0) if gaps else rows)
    total = total.where(total != 0.0, 1.0)  # of a column that no row has observed
    mean /= total
    for rows, w in chunks_of(x, weight, absolute):
        squares = (rows - mean).square_()
        variance += w @ (squares.nan_to_num_(nan=0.0) if gaps else squares)
    return mean, variance / total


def usable_moments(x: Rows, weight: Rows | None, gaps: bool = False) -> tuple[Tensor, Tensor, bool]:
    """Return mean and variance of the columns, and whether they had to be taken with absolute weights.

    That is where negative weights make a variance negative.
    """
    mean, variance = column_moments(x, weight, gaps=gaps)
    absolute = weight is not None and not bool((variance >= 0.0).all())
    if absolute:
        mean, variance = column_moments(x, weight, absolute, gaps)
    return mean, variance, absolute


def scale_of(mean: Tensor, variance: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what numbers of ``dtype`` are divided by: their spread, or 1 where they are constant.

    Rounding alone must not pass for a spread.
    """
    constant = variance <= (10.0 * torch.finfo(dtype).eps * mean) ** 2
    return torch.where(constant, 1.0, variance.clamp_min(0.0).sqrt())


def column_covariance(
    x: Rows,
    mean: Tensor,
    weight: Rows | None,
    absolute: bool,
    columns: Sequence[int] | slice = slice(None),
) -> Tensor:
    """Return the weighted covariance of some of the columns."""
    n_columns = len(mean[columns])
    total = torch.zeros(1, dtype=torch.float64)
    products = torch.zeros(n_columns, n_columns, dtype=torch.float64)
    for rows, w in chunks_of(x, weight, absolute):
        centred = (rows - mean)[:, columns]
        total += w.sum()
        products += (centred * w[:, None]).T @ centred
    return products / total


def leading_axes(
    x: Rows, mean: Tensor, scale: Tensor, weight: Rows | None, absolute: bool, n_axes: int
) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues of the columns' covariance in units of ``scale``, and their axes.

    Found by subspace iteration (Halko et al., 2011, arXiv:0909.4061), for more columns than a covariance
    is formed of. Draws from torch's global random state.
    """
    axes = torch.linalg.qr(torch.randn(len(mean), n_axes, dtype=torch.float64)).Q
    values = torch.zeros(n_axes, dtype=torch.float64)
    for _ in range(_ITERATIONS):
        total = torch.zeros(1, dtype=torch.float64)
        product = torch.zeros_like(axes)
        for rows, w in chunks_of(x, weight, absolute):
            white = (rows - mean) / scale
            total += w.sum()
            product += white.T @ ((white @ axes) * w[:, None])
        axes, triangle = torch.linalg.qr(product / total)
        values = triangle.diagonal().abs()
    order = values.argsort(descending=True)
    return values[order], axes[:, order]
