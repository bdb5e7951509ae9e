"""Data of an estimator: checked as scikit-learn does, and turned into rows to train on."""

import math
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor, nn

from skae._numbers import refuse_dates
from skae._warn import warn
from skae.exceptions import IgnoredParameterWarning, PrecisionWarning
from skae.metrics import _weights
from skae.modules.noise import RowNoise
from skae.training.batches import PLAIN, Rows, TensorRows, Units, buffer_size, rows_of, to_float32
from skae.training.hardware import fits_in_memory
from skae.training.streaming import StreamedRows
from skae.transformers import NoiseInjector

# Rows looked at at once, and numbers in them: the others may stay on the disk.
_BLOCK_ROWS, _BLOCK_NUMBERS = 4096, 2**20

# Smallest unit; its inverse is the largest. Squares of both are numbers of float64.
_SMALLEST = 1e-150

# Largest rounding, in spreads of a column, of which nobody is warned.
_COARSEST = 1e-3


class TrainingData(NamedTuple):
    """The data of a fit, checked."""

    X: np.ndarray  # (n_samples, ...)
    y: np.ndarray | None  # (n_samples, ...); None where targets are the inputs
    weight: np.ndarray | None  # (n_samples,)
    x_units: Units = PLAIN
    y_units: Units = PLAIN


class Learned(NamedTuple):
    """What is learned of an array's units."""

    units: Units
    training: Units  # in which a column that is constant but for rounding is exactly 0
    spread: np.ndarray  # standard deviation of each column, 0 of constant ones


def learn_units(
    array: np.ndarray,
    weight: np.ndarray | None,
    *,
    name: str = "X",
    around: Callable[[np.ndarray], np.ndarray] = np.copy,
    of_each: bool = False,
    gaps: bool = False,
) -> Learned:
    """Find units in which an array has a centre of 0 and a spread of 1.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
        Rows, of which means and variances are taken.
    weight : ndarray of shape (n,) or None
        Their weights, of which the absolute values count.
    name : str
        What the array is called in messages.
    around : callable
        Maps the mean row to the centre.
    of_each : bool
        Take a spread for each column. Otherwise there is one for all, the root of their mean square.
    gaps : bool
        Rows may have NaN.

    Warns
    -----
    PrecisionWarning
        If rounding leaves fewer than three digits for the differences within a column.
    """
    eps = np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = _moments(array, weight, gaps)
        rounding, std = eps * np.abs(mean), np.sqrt(variance)
        constant = std <= 10.0 * rounding
        spread = np.where(constant, 0.0, std)
        center = around(mean)
        square = spread**2 + (mean - center) ** 2
        # where all is constant, the unit is its size
        square, size = (square, mean**2) if of_each else (square.mean(), np.mean(mean**2))
        scale = np.sqrt(np.where(square > 0.0, square, size))
    is_zero = (mean == 0.0) if of_each else not mean.any()
    scale = np.where(is_zero & (scale == 0.0), 1.0, scale)
    if not ((scale > _SMALLEST) & (scale < 1.0 / _SMALLEST)).all():
        raise ValueError(
            f"{name} has numbers whose squares are beyond the range of float64; use other units."
        )
    cast = np.finfo(np.float32).eps * np.abs(mean - center)
    # of what varies more than rounding does, though it may pass for constant; where a number is the
    # result of many steps in double precision, rounding adds up
    bar = 10.0 if array.dtype == np.float64 else 3.0
    most = max(_COARSEST, 10.0 * eps)  # float16 has no three digits
    coarse = (std > bar * rounding) & (np.maximum(rounding, cast) > most * std)
    if coarse.any():
        _warn_of_rounding(coarse, name)
    divisor = np.where(constant & (center == mean), np.inf, scale)
    return Learned(Units(center, scale), Units(center, divisor), spread)


def _warn_of_rounding(coarse: np.ndarray, name: str) -> None:
    """Warn of columns whose differences are hardly more than rounding."""
    first = ", ".join(map(str, np.argwhere(coarse)[0]))
    warn(
        f"{coarse.sum()} of {coarse.size} columns of {name} lie so far from zero that fewer than three "
        f"digits are left for their differences; the first is [:, {first}]. Pass float64, or subtract "
        "a constant before the numbers become float32.",
        PrecisionWarning,
    )


def _moments(
    array: np.ndarray, weight: np.ndarray | None, gaps: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances of the columns in float64, by absolute weights; NaN is left out."""
    weight = np.ones(len(array)) if weight is None else np.abs(weight)
    total, mean, error, square = np.zeros((4, *array.shape[1:]))
    for start, rows in blocks(array):
        w, seen = weight[start : start + len(rows)], ~np.isnan(rows) if gaps else None
        total += w.sum() if seen is None else np.tensordot(w, seen, 1)
        # sums follow the order in memory
        numbers = np.array(rows, dtype=np.float64, order="C")
        mean += np.tensordot(w, numbers if seen is None else np.where(seen, numbers, 0.0), 1)
    total = np.where(total > 0.0, total, 1.0)  # of a column that no row has observed
    mean /= total
    for start, rows in blocks(array):
        w = weight[start : start + len(rows)]
        deviation = np.array(rows, dtype=np.float64, order="C")
        deviation -= mean
        if gaps:
            deviation[np.isnan(deviation)] = 0.0
        error += np.tensordot(w, deviation, 1)
        square += np.tensordot(w, np.square(deviation, out=deviation), 1)
    error /= total  # of the mean: in a constant column nothing else would vary
    return mean + error, np.maximum(square / total - error**2, 0.0)


def to_host(X: Any) -> Any:
    """Bring a torch tensor to where NumPy can read it; leave anything else alone, but refuse dates."""
    if isinstance(X, Tensor):
        return X.detach().cpu().numpy()
    if getattr(getattr(X, "dtype", None), "kind", "O") not in "biuf":
        refuse_dates(X)
    return X


def validate_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, gaps: bool = False
) -> np.ndarray:
    """Check X as scikit-learn does; a memory-mapped array of any numeric dtype is left where it is.

    With ``gaps`` it may have NaN.
    """
    X = to_host(X)
    finite = "allow-nan" if gaps else True
    options = {"dtype": [np.float64, np.float32], "reset": reset, "ensure_all_finite": finite}
    is_float = getattr(X, "dtype", None) in options["dtype"]
    if is_float or not is_memory_mapped(X) or X.ndim != 2 or len(X) == 0:
        return validate_data(estimator, X, **options)
    # a conversion of all rows would copy them
    validate_data(estimator, X[:1], **options)
    if X.dtype.kind == "f":
        for _, block in blocks(X):
            check_array(block, dtype=np.float64, input_name="X", ensure_all_finite=finite)
    return X


def blocks(X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Go through rows, some thousands at a time, as they may lie in a file: first number, and rows."""
    step = min(_BLOCK_ROWS, max(1, _BLOCK_NUMBERS // max(1, math.prod(X.shape[1:]))))
    for start in range(0, len(X), step):
        yield start, X[start : start + step]


def warn_of_ignored(estimator: Any) -> None:
    """Name parameters that partial_fit does without."""
    for name in "early_stopping", "checkpoint":
        if getattr(estimator, name):
            warn(
                f"partial_fit ignores {name}={getattr(estimator, name)!r}: it trains for one epoch on "
                "whatever comes, and saves nothing. Use fit, or leave the parameter at its default.",
                IgnoredParameterWarning,
            )


def check_count(name: str, value: Any) -> None:
    """Refuse what is no integer of 1 or more."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be an integer of 1 or more.")


def is_memory_mapped(X: Any) -> bool:
    """Tell whether X is an array of numbers in a file, or a view of one."""
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "biuf":
        return False
    while isinstance(X, np.ndarray) and not isinstance(X, np.memmap):
        X = X.base
    return isinstance(X, np.memmap)


def check_finite_rows(
    X: np.ndarray,
    name_of: Callable[..., str],
    remedy: str = "Leave these rows out, or fill the gaps.",
    *,
    gaps: bool = False,
) -> None:
    """Refuse rows with NaN or infinities, and say how many there are and where the first one is.

    With ``gaps`` a NaN is none, but a row must have some number.
    """

    def is_bad(rows: np.ndarray) -> np.ndarray:
        if not gaps:
            return ~np.isfinite(rows)
        across = tuple(range(1, rows.ndim))
        return np.isinf(rows) | np.isnan(rows).all(axis=across, keepdims=True)

    across = tuple(range(1, X.ndim))
    bad = np.flatnonzero(np.concatenate([is_bad(rows).any(axis=across) for _, rows in blocks(X)]))
    if len(bad):
        first = int(bad[0])
        place = np.argwhere(is_bad(X[first : first + 1])[0])[0]
        what = "NaN" if np.isnan(X[(first, *place)]) else "infinity"
        raise ValueError(
            f"Input X contains {what}: {len(bad)} of {len(X)} rows have values that are not finite, the "
            f"first is {name_of(first, *place)}. {remedy}"
        )


def check_weight(sample_weight: Any, X: np.ndarray, *, positive: bool = True) -> np.ndarray | None:
    """Check event weights: one a row, finite, of positive sum; None where there are none."""
    if sample_weight is None:
        return None
    return _weights.check_weight(to_host(sample_weight), X, positive=positive)


def count_validation_rows(n_samples: int, fraction: float) -> int:
    """Return how many rows a share of them is, one at least; some must be left."""
    n_validation = max(1, round(fraction * n_samples))
    if n_validation >= n_samples:
        raise ValueError(
            f"early_stopping=True holds out {n_validation} of n_samples={n_samples} rows, which leaves "
            "none to train on; use more rows, a smaller validation_fraction, or early_stopping=False."
        )
    return n_validation


def make_rows(
    data: TrainingData, n_validation: int, mean_weight: float, seed: int, device: torch.device
) -> tuple[Rows, Rows | None]:
    """Return rows to train on, and rows held out, the same ones for the same seed; on the CPU.

    Whether they are tensors, or read as they are needed, is a matter of speed: both give the same fit.
    """
    X, y, weight, *_ = data
    if len(X) > buffer_size(X, y):
        return _many_rows(data, n_validation, mean_weight, seed, device)
    if not n_validation:
        return _tensors(data, slice(None), mean_weight), None
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed)).numpy()
    held_out, kept = order[:n_validation], order[n_validation:]
    mean_held_out = 1.0
    if weight is not None:
        mean_held_out = _mean_weight_held_out(weight[kept], weight[held_out])
    return _tensors(data, kept, mean_weight), _tensors(data, held_out, mean_held_out)


def _tensors(data: TrainingData, rows: Any, mean_weight: float) -> TensorRows:
    X, y, weight, x_units, y_units = data
    return TensorRows(
        torch.from_numpy(to_float32(X[rows], "X", x_units)),
        None if y is None else torch.from_numpy(to_float32(y[rows], "y", y_units)),
        None
        if weight is None
        else torch.from_numpy((weight[rows] / mean_weight).astype(np.float32)),
    )


def _many_rows(
    data: TrainingData, n_validation: int, mean_weight: float, seed: int, device: torch.device
) -> tuple[Rows, Rows | None]:
    """Return rows that are too many to be shuffled at once."""
    X, y, weight, *units = data
    rows, validation = StreamedRows.from_arrays(X, y, weight, mean_weight, *units), None
    if n_validation:
        rows, validation = rows.hold_out(n_validation, seed)
        if weight is not None:
            parts = (weight[rows_of(part.x.runs)] for part in (rows, validation))
            validation = validation.weighed_by(_mean_weight_held_out(*parts))
    if fits_in_memory(X.size + (0 if y is None else y.size), device):
        return rows.loaded(), None if validation is None else validation.loaded()
    rows.check_range()
    return rows, validation


def _mean_weight_held_out(kept: np.ndarray, held_out: np.ndarray) -> float:
    """Return the mean weight of rows held out, after checking that they and the others have one."""
    for part, what in ((kept, "trained on"), (held_out, "held out")):
        _weights.check_sum(
            part,
            f" of the {len(part)} rows {what} with early_stopping=True",
            "Use another validation_fraction or random_state, or early_stopping=False.",
        )
    return float(held_out.mean())


def in_units(
    corruption: Callable[[Tensor, torch.Generator], Tensor], units: Units
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return what corrupts rows in the network's units as ``corruption`` does in those of X.

    In float64, where the device has it: a large centre would leave no digits to the rest.
    """

    def corrupt(batch: Tensor, generator: torch.Generator) -> Tensor:
        dtype = torch.float32 if batch.device.type == "mps" else torch.float64
        center, scale = (
            torch.as_tensor(part, dtype=dtype, device=batch.device)
            for part in (units.center, units.scale)
        )
        noisy = corruption(batch.to(dtype) * scale + center, generator)
        return ((noisy - center) / scale).float()

    return corrupt


def make_corruption(
    noise: Any, X: np.ndarray
) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return a callable ``(batch, generator) -> batch`` that corrupts each minibatch afresh.

    Parameters
    ----------
    noise : None, NoiseInjector or callable
        None leaves the data alone. Of a NoiseInjector the twin that draws on the batch's device is
        returned. A callable is used as it is: it gets the clean minibatch ``(m, ...)``, which it must not
        change in place, and the generator, on the same device, that all its randomness has to come from.
    X : ndarray of shape (n_samples, ...)
        The rows that are to be corrupted.

    Raises
    ------
    ValueError
        If the NoiseInjector's parameters are wrong, or do not suit X.
    """
    if isinstance(noise, nn.Module):  # skorch would take it for a part of the network
        return noise.__call__
    if not isinstance(noise, NoiseInjector):
        return noise
    noise._validate_params()
    return RowNoise(**noise._resolve_noise(X))
