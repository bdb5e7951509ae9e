"""What goes into an estimator: checked as scikit-learn does, and turned into rows to train on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data
from torch import Tensor

from skae.training import Rows, StreamedRows, TensorRows, should_stream, to_float32

# Rows checked at once where an array stays on the disk.
_CHECKED_ROWS = 4096


@dataclass(frozen=True)
class TrainingData:
    """The data of a fit, checked.

    Attributes
    ----------
    X : ndarray of shape (n_samples, ...)
        Inputs.
    y : ndarray of shape (n_samples, ...) or None
        Targets, where they are not the inputs.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    """

    X: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray | None

    def __len__(self) -> int:
        return len(self.X)

    def mean_weight(self) -> float:
        """Return the mean of the weights, 1 where there are none."""
        return 1.0 if self.weight is None else float(self.weight.mean())

    def are_too_many(self, device: torch.device) -> bool:
        """Tell whether they are too many to be copied."""
        return should_stream(self.X.size + (0 if self.y is None else self.y.size), device)

    def rows(self, mean_weight: float, *, streamed: bool) -> Rows:
        """Copy the data to tensors, or with ``streamed`` leave them where they are."""
        X, y, weight = self.X, self.y, self.weight
        if streamed:
            return StreamedRows.from_arrays(X, y, weight, mean_weight)
        return TensorRows(
            torch.from_numpy(to_float32(X, "X")),
            None if y is None else torch.from_numpy(to_float32(y, "y")),
            None if weight is None else torch.from_numpy((weight / mean_weight).astype(np.float32)),
        )


def to_host(X: Any) -> Any:
    """Bring a torch tensor to where NumPy can read it; leave anything else alone."""
    return X.detach().cpu().numpy() if isinstance(X, Tensor) else X


def validate_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, gaps: bool = False
) -> np.ndarray:
    """Check X as scikit-learn does; a memory-mapped array of any numeric dtype is left where it is.

    With ``gaps`` it may have NaN.
    """
    X = to_host(X)
    finite = "allow-nan" if gaps else True
    options = {"dtype": [np.float64, np.float32], "reset": reset, "ensure_all_finite": finite}
    if not is_memory_mapped(X) or X.ndim != 2 or X.dtype in options["dtype"] or len(X) == 0:
        return validate_data(estimator, X, **options)
    # a conversion of all rows would copy them
    validate_data(estimator, X[:1], **options)
    if X.dtype.kind == "f":
        for start in range(0, len(X), _CHECKED_ROWS):
            check_array(
                X[start : start + _CHECKED_ROWS],
                dtype=np.float64,
                input_name="X",
                ensure_all_finite=finite,
            )
    return X


def is_memory_mapped(X: Any) -> bool:
    """Tell whether X is an array of numbers in a file, or a view of one."""
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "biuf":
        return False
    while isinstance(X, np.ndarray) and not isinstance(X, np.memmap):
        X = X.base
    return isinstance(X, np.memmap)


def check_finite_rows(X: np.ndarray, name_of: Callable[..., str]) -> None:
    """Refuse rows with NaN or infinities, and say how many there are and where the first one is."""
    rows = range(0, len(X), _CHECKED_ROWS)
    bad = [start + np.flatnonzero(_have_gaps(X[start : start + _CHECKED_ROWS])) for start in rows]
    n_bad = sum(map(len, bad))
    if n_bad:
        first = int(next(part for part in bad if len(part))[0])
        place = np.argwhere(~np.isfinite(X[first]))[0]
        what = "NaN" if np.isnan(X[(first, *place)]) else "infinity"
        raise ValueError(
            f"Input X contains {what}: {n_bad} of {len(X)} rows have values that are not finite, the "
            f"first is {name_of(first, *place)}. Leave these rows out, or fill the gaps."
        )


def _have_gaps(X: np.ndarray) -> np.ndarray:
    return ~np.isfinite(X).all(axis=tuple(range(1, X.ndim)))


def check_weight(sample_weight: Any, X: np.ndarray, *, positive: bool = True) -> np.ndarray | None:
    """Check event weights: one a row, finite, of positive sum; None where there are none."""
    if sample_weight is None:
        return None
    weight = _check_sample_weight(
        to_host(sample_weight), X, dtype=np.float64, allow_all_zero_weights=True
    )
    if positive and not weight.sum() > 0.0:
        raise ValueError(
            f"The sum of sample_weight is {weight.sum():.6g}; it must be positive, for what is "
            "averaged is divided by it. Single weights may be negative or zero."
        )
    return weight


def hold_out(rows: Rows, n_validation: int, seed: int) -> tuple[Rows, Rows | None]:
    """Split off rows for validation, the same ones for the same seed."""
    if n_validation == 0:
        return rows, None
    training, validation = rows.hold_out(n_validation, seed)
    for part, name in ((training, "trained on"), (validation, "held out")):
        total = part.total_weight()
        if not total > 0.0:
            raise ValueError(
                f"The sample_weight of the {len(part)} rows {name} with early_stopping=True sum to "
                f"{total:.6g} times the mean weight; it must be positive. Use another "
                "validation_fraction or random_state, or early_stopping=False."
            )
    return training, validation.with_mean_weight_of_one()
