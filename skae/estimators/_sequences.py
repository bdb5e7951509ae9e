"""Rows of one or several sequences each, as scikit-learn sees them: checked on both axes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length
from torch import nn

from skae._warn import warn
from skae.estimators._data import check_finite_rows, is_memory_mapped, to_host, validate_table
from skae.exceptions import LongFitWarning
from skae.modules.sequences.networks import MultiResolutionDecoder
from skae.modules.spectra.lstm import LSTMDecoder
from skae.training.batches import Rows
from skae.training.hardware import resolve_device

#: decoders that read the grid, by their names
SEQUENCE_DECODERS: dict[str, type[nn.Module]] = {
    "lstm": LSTMDecoder,
    "multires": MultiResolutionDecoder,
}


# Minutes from which on a fit is long, and numbers in all of its batches below which none is.
_LONG_MINUTES, _FEW_NUMBERS = 30.0, 10**8

#: what to do about rows of (n_times, n_sequences)
SWAPPED = "If the last two axes of X are swapped, pass X.transpose(0, 2, 1): times come last."


@dataclass(frozen=True)
class SequenceWords:
    """Words of an estimator for the sequences that it takes.

    Attributes
    ----------
    attribute : str
        The fitted attribute that keeps the shape of a row.
    axis : str
        The axis between rows and times.
    row, rows, sequence, place : str
        One row, several of them, one of its sequences, and one number in that.
    masking : str
        The parameter by which rows may have gaps; empty if there is none.
    """

    attribute: str
    axis: str
    row: str
    rows: str
    sequence: str
    place: str
    masking: str = ""

    def shown(self, shape: tuple[int, ...]) -> str:
        """Write the shape of a row with the names of its axes."""
        names = (self.axis, "n_times") if len(shape) == 2 else ("n_times",)
        return (
            "(" + ", ".join(f"{name}={size}" for name, size in zip(names, shape, strict=True)) + ")"
        )


def validate_sequences(
    estimator: BaseEstimator, X: Any, words: SequenceWords, *, reset: bool, gaps: bool = False
) -> np.ndarray:
    """Check rows, of several sequences or of a single one, and that their shape is the one of fit.

    With ``gaps`` they may have NaN.
    """
    X = to_host(X)
    refuse_ragged(X, words.rows, words.sequence, words.masking)
    n_axes = _count_axes(X)
    if n_axes is not None and n_axes > 3:
        raise ValueError(
            f"Found array with {n_axes} axes; X must be (n_samples, {words.axis}, n_times), or "
            f"(n_samples, n_times) for a single {words.sequence}."
        )
    fitted = None if reset else getattr(estimator, words.attribute)
    if fitted is not None and n_axes in (2, 3) and n_axes != len(fitted) + 1:
        _refuse_shape(estimator, np.shape(X), fitted, words)
    if n_axes == 3:
        X = _check_rows(estimator, X, words, gaps)
        if reset:
            estimator.n_features_in_ = X.shape[2]
            vars(estimator).pop("feature_names_in_", None)
    else:
        X = validate_table(estimator, X, reset=reset, gaps=gaps)
        if gaps:
            check_finite_rows(X, f"{words.row} {{}}, {words.place} {{}}".format, gaps=True)
    if reset:
        setattr(estimator, words.attribute, X.shape[1:])
    elif X.shape[1:] != fitted:
        _refuse_shape(estimator, X.shape, fitted, words)
    return X


def _refuse_shape(
    estimator: BaseEstimator, shape: tuple[int, ...], fitted: tuple[int, ...], words: SequenceWords
) -> NoReturn:
    """Refuse rows of another shape than those of fit, and say which axes look swapped, or left out."""
    hint = ""
    if shape == fitted:
        hint = f" If X is a single {words.row}, pass X[np.newaxis]."
    elif shape[1:] == fitted[::-1]:
        hint = f" {SWAPPED}"
    raise ValueError(
        f"X has {words.rows} of shape {words.shown(shape[1:])}, but {type(estimator).__name__} was "
        f"fitted on {words.rows} of shape {words.shown(fitted)}.{hint}"
    )


def _count_axes(X: Any) -> int | None:
    """Return the number of axes; of what is no array before it is converted, None."""
    return np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", None)


def refuse_ragged(
    X: Any, what: str = "records", sequence: str = "trace", masking: str = "missing='mask'"
) -> None:
    """Refuse a list of rows that have different shapes."""
    if not isinstance(X, list | tuple):
        return
    shapes = {np.shape(row) for row in X if isinstance(row, np.ndarray)}
    lengths = {len(row) for row in X if isinstance(row, list | tuple)}
    if len(shapes) <= 1 and len(lengths) <= 1:
        return
    remedy = "Cut them to one length."
    if masking:
        remedy = (
            f"Pad the shorter ones with NaN at their ends, and set {masking}: for records of one "
            f"{sequence}, np.stack([np.pad(x, (0, longest - len(x)), constant_values=np.nan) for x "
            "in X])."
        )
    found = sorted(shapes or lengths, key=str)
    raise ValueError(
        f"X is a list of {what} of different lengths ({', '.join(map(str, found[:4]))}"
        f"{', …' if len(found) > 4 else ''}). {remedy}"
    )


def _check_rows(estimator: BaseEstimator, X: Any, words: SequenceWords, gaps: bool) -> np.ndarray:
    name = type(estimator).__name__
    options = {"dtype": [np.float64, np.float32], "allow_nd": True, "estimator": name}
    if is_memory_mapped(X) and X.dtype not in options["dtype"] and len(X):
        # a conversion of all rows would copy them
        check_array(X[:1], ensure_all_finite=False, **options)
    else:
        X = check_array(X, ensure_all_finite=False, **options)
    if 0 in X.shape:
        raise ValueError(
            f"Found array with shape {X.shape} while a minimum of one {words.sequence} of one "
            f"{words.place} is required by {name}."
        )
    places = f"{words.row} {{}}, {words.sequence} {{}}, {words.place} {{}}"
    remedy = f" Where they were not recorded, set {words.masking}." if words.masking else ""
    remedy = f"Leave these rows out, or fill the gaps.{remedy}"
    check_finite_rows(X, places.format, remedy, gaps=gaps)
    return X


def refuse_single_target(y: Any, X: np.ndarray) -> None:
    """Refuse the target of one row for several, which may be the sequences of that row."""
    try:
        is_single = len(y) == 1
    except TypeError:
        is_single = np.isscalar(y) or getattr(y, "shape", None) == ()
    if is_single and X.ndim == 2 and len(X) > 1:
        raise ValueError(
            f"y is for one row, but X has {len(X)}. If these are the sequences of a single row, pass "
            "X[np.newaxis], and y with an axis for rows, too."
        )


def validate_targets(
    estimator: BaseEstimator, y: Any, X: np.ndarray, *, positive: bool
) -> np.ndarray:
    """Check targets: a number, or a row of them, for each row of X; with ``positive`` of 0 or more."""
    name = type(estimator).__name__
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    y = to_host(y)
    refuse_single_target(y, X)
    y = check_array(
        y,
        ensure_2d=False,
        allow_nd=True,
        dtype=[np.float64, np.float32],
        input_name="y",
        estimator=name,
    )
    if y.ndim not in (1, 2):
        raise ValueError(
            f"y has shape {y.shape}; it must be (n_samples, n_times), (n_samples,) or (n_samples, "
            "n_outputs)."
        )
    check_consistent_length(X, y)
    if positive and (y < 0).any():
        place = tuple(map(int, np.argwhere(y < 0)[0]))
        raise ValueError(
            f"loss='poisson' needs y of 0 or more; {(y < 0).sum()} of {y.size} numbers are negative, "
            f"the first is y[{', '.join(map(str, place))}] = {y[place]:.6g}. Use "
            "loss='squared_error' for what was subtracted from."
        )
    return y


def check_level_weights(weights: Any, n_levels: int) -> list[float]:
    """Return the weight of each level, the coarsest first; a number is that of all but the finest."""
    if np.ndim(weights) == 0:
        values = [float(weights)] * (n_levels - 1) + [1.0]
    else:
        values = [float(weight) for weight in weights]
    if len(values) != n_levels or not (
        np.isfinite(values).all() and min(values) >= 0.0 < values[-1]
    ):
        raise ValueError(
            f"level_weights={weights!r} must be a finite number, or one for each of {n_levels} "
            "levels, the coarsest first; none may be negative, and the last one must be positive."
        )
    return values


def level_times(
    times: np.ndarray, factors: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return mean times of the steps of each level, and the edges of their windows, coarsest first.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
        Increasing times.
    factors : sequence of int
        Steps in a window of each level, the finest first.
    """
    middles = (times[1:] + times[:-1]) / 2.0
    steps = np.diff(times) if len(times) > 1 else np.ones(1)
    first, last = times[0] - steps[0] / 2.0, times[-1] + steps[-1] / 2.0
    edges = [np.concatenate([[first], middles, [last]])]
    means = [times]
    for factor in factors:
        widths = np.diff(edges[-1])
        starts = np.arange(0, len(widths), factor)
        # around the first time: of large times with small steps the sums would lose the steps
        sums = np.add.reduceat(widths * (means[-1] - times[0]), starts)
        means.append(times[0] + sums / np.add.reduceat(widths, starts))
        edges.append(np.append(edges[-1][starts], last))
    return means[::-1], edges[::-1]


def check_grid(times: Any, wavelengths: Any, n_features: int) -> np.ndarray:
    """Return the grid ``(n_features,)``: the one that was given, or equal steps."""
    if times is not None and wavelengths is not None:
        raise ValueError("times and wavelengths name the same grid; give one of them.")
    name, grid = ("times", times) if times is not None else ("wavelengths", wavelengths)
    if grid is None:
        return np.arange(n_features, dtype=np.float64)
    grid = check_array(grid, ensure_2d=False, dtype=np.float64, input_name=name)
    if grid.shape != (n_features,):
        raise ValueError(
            f"{name} has shape {grid.shape}, but X has {n_features} columns: it needs shape "
            f"({n_features},), one place for each."
        )
    steps = np.diff(grid)
    if not ((steps > 0).all() or (steps < 0).all()):
        first = int(np.argmin(steps if steps.sum() > 0 else -steps))
        raise ValueError(
            f"{name} must rise or fall throughout, but after {float(grid[first])!r} comes "
            f"{float(grid[first + 1])!r} (entry {first + 1}); sort it, and the columns of X with it."
        )
    return grid


def check_downsampling(downsampling: Any, hidden_size: int | Sequence[int]) -> None:
    """Refuse factors that do not coarsen, and sizes that have no halves."""
    factors = np.asarray(downsampling)
    if factors.ndim != 1 or not all(isinstance(f, Integral) and f >= 2 for f in downsampling):
        raise ValueError(
            f"downsampling={downsampling!r} must be a sequence of integers of 2 or more: the "
            "steps that make one of the next coarser level."
        )
    n_levels = len(factors) + 1
    sizes = np.atleast_1d(np.asarray(hidden_size))
    if np.ndim(hidden_size) and len(sizes) != n_levels:
        raise ValueError(
            f"hidden_size={hidden_size!r} must be an integer or have {n_levels} of them, one for "
            f"each level of downsampling={downsampling!r}, the coarsest first."
        )
    if sizes.dtype.kind not in "iu" or (sizes < 2).any() or (sizes % 2).any():
        raise ValueError(
            f"hidden_size={hidden_size!r} must be even and positive: half of a state runs "
            "forwards, half backwards."
        )


def make_sequence_decoder(estimator: Any, n_components: int) -> nn.Module:
    """Build the decoder that an estimator names, over its grid."""
    arguments = [
        torch.from_numpy(np.ascontiguousarray(estimator.grid_)),
        n_components,
        int(estimator.hidden_size),
        estimator.latent_state,
    ]
    if estimator.decoder == "multires":
        arguments.append([int(factor) for factor in estimator.downsampling][::-1])
    return SEQUENCE_DECODERS[estimator.decoder](*arguments)


def warn_of_long_fit(
    estimator: Any, module: nn.Module, criterion: nn.Module, rows: Rows, remedy: str
) -> None:
    """Time a step of a network that reads long sequences, and say how long its fit will take."""
    size = min(estimator.batch_size, len(rows))
    x = rows.x[:size]
    target = x if rows.target is None else rows.target[:size]

    def step() -> None:
        criterion(module(x), target).mean().backward()
        module.zero_grad(set_to_none=True)

    module.eval()  # draws nothing
    warn_of_long_steps(estimator, step, rows, remedy)
    module.train()


def warn_of_long_steps(estimator: Any, step: Callable[[], object], rows: Rows, remedy: str) -> None:
    """Time a step, and say how long the fit will take, if that is long.

    On a CPU alone: that of the machine at hand, which is where such fits are long.
    """
    n, epochs = len(rows), estimator._epochs
    if n * rows.x.shape[-1] * epochs < _FEW_NUMBERS:
        return
    if resolve_device(estimator.device).type != "cpu":
        return
    n_steps = -(-n // min(estimator.batch_size, n))
    for _ in range(2):  # the first may have to make things ready
        begin = perf_counter()
        step()
        seconds = perf_counter() - begin
        minutes = seconds * n_steps * epochs / 60.0
        if minutes < _LONG_MINUTES:
            return
    warn(
        f"This fit will take about {minutes:.0f} minutes: {epochs} epochs of {n_steps} steps, "
        f"each of {seconds:.2g} s. {remedy} A checkpoint keeps what was learnt.",
        LongFitWarning,
    )
