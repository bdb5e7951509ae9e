"""Weights of rows, some of which may be negative, as event generators give them: what sum is usable."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._sklearn import _check_sample_weight
from skae._warn import warn
from skae.exceptions import WeightWarning

# A sum that is a smaller share of the absolute weights' is taken for 0: events, and rounding, cancel.
_SMALLEST_SHARE = 1e-6

# Sums of weights of either sign that are fewer of their standard errors are warned of.
_FEWEST_ERRORS = 3.0


def check_weight(
    sample_weight: ArrayLike | None, X: NDArray, *, positive: bool = True
) -> NDArray[np.float64]:
    """Check the weights of rows: finite, one a row, of positive sum; ones where there are none."""
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, allow_all_zero_weights=True)
    if positive:
        check_sum(weight)
    return weight


def check_sum(
    weight: NDArray[np.float64],
    of: str = "",
    remedy: str = "Single weights may be negative or zero.",
) -> None:
    """Refuse weights whose sum is not clearly positive; warn if it is within its statistical error.

    ``of`` says of which rows they are.
    """
    total, size = weight.sum(), np.abs(weight).sum()
    if cancels(weight):
        raise ValueError(
            f"The sum of sample_weight{of} is {total:.6g}; it must be positive, and more than "
            f"{_SMALLEST_SHARE:g} of the sum of absolute weights, {size:.6g}, for what is averaged is "
            f"divided by it. {remedy}"
        )
    errors = total / size / np.sqrt(np.square(weight / size).sum())
    if errors < _FEWEST_ERRORS and weight.min() < 0.0:
        warn(
            f"Negative weights leave a sum of sample_weight{of} of {total:.6g}, only {errors:.2g} times "
            "its standard error (the root of the sum of squares): what is averaged with them is mostly "
            "noise. Use more events, or fewer negative weights.",
            WeightWarning,
        )


def cancels(weight: NDArray[np.float64]) -> bool:
    """Tell whether the sum of weights is not clearly positive."""
    return not weight.sum() > _SMALLEST_SHARE * np.abs(weight).sum()
