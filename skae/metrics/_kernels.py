"""The squared maximum mean discrepancy with the kernel of the kernel physics distance."""

import numpy as np
from numpy.typing import NDArray

# Rows of a kernel matrix that are computed at a time: few enough for the cache.
_ROWS = 256


class KernelDistance:
    """Unbiased squared maximum mean discrepancies from one sample, with the kernel (x·y/d + 1)⁴.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        The sample.
    weight : ndarray of shape (n,), default=None
        Weights, not negative. Pairs of different rows count by the product of theirs. Distances are NaN
        where fewer than two rows have a weight.
    """

    def __init__(self, rows: NDArray[np.float64], weight: NDArray[np.float64] | None = None):
        self.rows, self.share = rows, _shares(rows, weight)
        self._within = _mean_within(self.rows, self.share)

    def to(self, rows: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> float:
        """Return the distance to another sample."""
        share = _shares(rows, weight)
        within = self._within + _mean_within(rows, share)
        return float(within - 2.0 * _mean_between(self.rows, rows, self.share, share))


def unbiased_mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the unbiased squared maximum mean discrepancy of two samples."""
    return KernelDistance(x).to(y)


def _shares(rows, weight):
    return np.full(len(rows), 1.0 / len(rows)) if weight is None else weight / weight.sum()


def _mean_within(rows, share):
    """Return the mean over pairs of different rows."""
    if (share > 0.0).sum() < 2:
        return np.nan
    scaled, total = rows / rows.shape[1], 0.0
    for start in range(0, len(rows), _ROWS):
        part, behind = slice(start, start + _ROWS), slice(start + _ROWS, None)
        total += share[part] @ _off_diagonal(_kernel(scaled[part] @ rows[part].T)) @ share[part]
        total += 2.0 * (share[part] @ _kernel(scaled[part] @ rows[behind].T) @ share[behind])
    return total / (1.0 - np.square(share).sum())


def _mean_between(x, y, share_x, share_y):
    """Return the mean over pairs of a row of one sample and one of another."""
    scaled, mean = x / x.shape[1], 0.0
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        mean += share_x[part] @ _kernel(scaled[part] @ y.T) @ share_y
    return mean


def _kernel(products):
    """Return (u + 1)⁴ − 1; ones would cancel in a distance, and small numbers beside them."""
    square = products + 2.0
    square *= products  # (u + 1)² − 1
    kernel = square + 2.0
    kernel *= square
    return kernel


def _off_diagonal(kernel):
    np.fill_diagonal(kernel, 0.0)
    return kernel
