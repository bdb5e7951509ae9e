"""What a fitted model says of rows, from a few whole numbers a row: the same on writing and on reading.

Latent coordinates are rounded to whole numbers of steps. What a model makes of them is computed in
float64, whatever it was trained in, so that machines, threads and batches differ by less than 1e-11.
"""

import copy
import warnings
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer
from skorch.history import History

from skae.compression.bounds import Column, from_cells, in_steps
from skae.compression.polynomials import Predicted
from skae.compression.streams import expected_bits
from skae.estimators._base import BaseNeuralEstimator
from skae.estimators.jet_autoencoder import JetAutoencoder
from skae.sampling import steps_of
from skae.training.hardware import own_settings

_ROUNDING = 1e-11
_LARGEST_LATENT = 2**40
_WIDEST = 10.0  # range of latent coordinates, in that of nine tenths of them

# Rows among which one is looked for that the model takes.
_TRIES = 50

# Calls of a model for the rows of a block, which find about one refused row in a thousand.
_MOST_CALLS = 1500

# By how much steps are coarser than what a model leaves of columns.
_COARSENESS = (0.5, 1.0, 2.0, 4.0)

Function = Callable[[np.ndarray], np.ndarray]


class Model:
    """A fitted estimator, both ways.

    Parameters
    ----------
    estimator : estimator
        With ``transform``.
    decoder : estimator
        With ``inverse_transform``: the same one, or a copy of it.
    names : list or None
        Those of the columns, where they have names.

    Raises
    ------
    TypeError
        If it cannot go both ways.
    """

    def __init__(self, estimator: BaseEstimator, decoder: BaseEstimator, names: list[Any] | None):
        self._estimator = getattr(estimator, "best_estimator_", estimator)
        self._back = [_way_back(step) for step in reversed(steps_of(decoder))]
        if not callable(getattr(self._estimator, "transform", None)):
            raise TypeError(f"{type(estimator).__name__} has no transform, which compress needs.")
        self._names = names if hasattr(self._estimator, "feature_names_in_") else None

    @own_settings()
    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Return rows (n, d) of latent coordinates (n, k), in float64."""
        rows = np.asarray(latent, dtype=np.float64)
        with warnings.catch_warnings(action="ignore"):
            for back in self._back:
                rows = np.asarray(back(rows), dtype=np.float64)
        return rows

    def encode(self, rows: np.ndarray, typical: np.ndarray) -> np.ndarray:
        """Return latent coordinates (n, k) of rows (n, d); where it refuses one, of a typical row."""
        filled = np.where(np.isfinite(rows), rows, typical)
        usual = self._encode(typical[None])
        latent = self._encode_all(filled, usual)
        return np.where(np.isfinite(latent), latent, usual)

    def typical_row(self, rows: np.ndarray) -> np.ndarray | None:
        """Return a row that the model takes; None where none is finite.

        Raises
        ------
        ValueError
            As the model does, if it takes none.
        """
        candidates = rows[np.isfinite(rows).all(axis=1)]
        distances = (
            np.abs(candidates - np.median(candidates, axis=0)) if len(candidates) else candidates
        )
        spread = np.median(distances, axis=0) if len(candidates) else 1.0
        nearest = np.argsort(
            (distances / np.where(spread > 0.0, spread, 1.0)).sum(axis=1), kind="stable"
        )
        error = None
        for row in candidates[nearest[:_TRIES]]:
            try:
                self._encode(row[None])
                return row
            except ValueError as refused:
                error = error or refused
        if error is not None:
            raise error
        return None

    def _encode_all(self, rows: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """Encode rows, and halve them to find those that the model refuses, the largest parts first.

        After so many calls, parts in which some are left are taken for refused.
        """
        latent = np.repeat(usual, len(rows), axis=0)
        parts = deque([slice(0, len(rows))])
        for _ in range(_MOST_CALLS):
            if not parts:
                break
            part = parts.popleft()
            try:
                latent[part] = self._encode(rows[part])
            except ValueError:
                middle = (part.start + part.stop) // 2
                if middle > part.start:
                    parts += [slice(part.start, middle), slice(middle, part.stop)]
        return latent

    def _encode(self, rows: np.ndarray) -> np.ndarray:
        X: Any = rows
        if self._names is not None:
            from pandas import DataFrame

            X = DataFrame(rows, columns=self._names)
        with warnings.catch_warnings(action="ignore"):
            return np.asarray(self._estimator.transform(X), dtype=np.float64)


def _way_back(step: Any) -> Function:
    """Return what brings rows back through a step, in float64."""
    is_one_way = isinstance(step, FunctionTransformer) and step.func and not step.inverse_func
    if is_one_way or not callable(getattr(step, "inverse_transform", None)):
        raise TypeError(
            f"{type(step).__name__} has no inverse_transform, so that rows cannot be brought back "
            "through it; compress takes a JetAutoencoder, a Pipeline that ends in one, PCA, …"
        )
    if isinstance(step, JetAutoencoder):
        return partial(_decode_in_double, _on_cpu(step))
    if isinstance(step, BaseNeuralEstimator):
        raise TypeError(
            f"compress cannot compute a {type(step).__name__} in float64; it takes a JetAutoencoder."
        )
    return step.inverse_transform


def angles_of(model: Any, names: list[Any] | None) -> set[Any]:
    """Return which columns are angles of a JetAutoencoder that sees them first: names, or numbers."""
    first = next(iter(steps_of(model)), None)
    if not isinstance(first, JetAutoencoder):
        return set()
    angles = getattr(first, "angles_", ())
    if names is None:
        return {*angles}
    known = list(getattr(first, "feature_names_in_", names))
    return {known[place] for place in angles if place < len(known)}


def decoder_alone(estimator: Any) -> Any:
    """Return a copy of a model that can only decode: zeros in place of encoders' weights take no room."""
    estimator = copy.deepcopy(getattr(estimator, "best_estimator_", estimator))
    for step in steps_of(estimator):
        if isinstance(step, JetAutoencoder):
            with torch.no_grad():
                for weight in step.module_.get_submodule("encoder").parameters():
                    weight.zero_()
            step.net_.history = History()
    return estimator


def _on_cpu(autoencoder: JetAutoencoder) -> JetAutoencoder:
    autoencoder = copy.deepcopy(autoencoder)
    autoencoder.net_.to(torch.device("cpu"))
    autoencoder.module_.eval().double()
    return autoencoder


def _decode_in_double(autoencoder: JetAutoencoder, latent: np.ndarray) -> np.ndarray:
    step = autoencoder.transformer_
    with torch.inference_mode():
        decode: Any = autoencoder.module_.decode
        rows = decode(torch.tensor(latent), back=step is None).numpy()
    return autoencoder._units.undo(rows) if step is None else step.inverse_transform(rows)


def predict(
    model: Model, latent: np.ndarray, columns: list[Column], typical_sizes: np.ndarray
) -> Predicted:
    """Return what a model says of the whole numbers of columns."""
    rows = model.decode(latent)
    if rows.shape != (len(latent), len(columns)):
        raise ValueError(f"the model has {rows.shape[1:]} columns, and not {len(columns)}")
    numbers, doubts = np.empty_like(rows), np.empty_like(rows)
    for place, column in enumerate(columns):
        values = rows[:, place]
        scaled = in_steps(column, values)
        error = _ROUNDING * (np.abs(values) + typical_sizes[place]) / column.step
        if column.kind == "relative":
            error = error / np.abs(values)
        is_usable = np.abs(scaled) < 2.0**62
        numbers[:, place] = np.where(is_usable, scaled, 0.0)
        doubts[:, place] = np.where(is_usable, error, np.inf)
    return Predicted(numbers, doubts)


def typical_sizes(columns: list[Column], middles: np.ndarray) -> np.ndarray:
    """Return how large the values in the middles of columns are."""
    pairs = zip(columns, middles, strict=True)
    values = [from_cells(c, np.array([m]), np.zeros(1, bool))[0] for c, m in pairs]
    sizes = np.abs(np.array(values, dtype=np.float64))
    return np.where(np.isfinite(sizes), sizes, 0.0)


def choose_steps(
    model: Model, latent: np.ndarray, numbers: np.ndarray, columns: list[Column], sizes: np.ndarray
) -> np.ndarray:
    """Return steps (k,) for latent coordinates (n, k) of whole numbers (n, d).

    A step moves the prediction by a multiple of what the model leaves of columns: of several multiples
    the one that takes the fewest bits.
    """

    def say(latent: np.ndarray) -> np.ndarray:
        return predict(model, latent, columns, sizes).numbers

    rest = np.maximum(1.4826 * np.median(np.abs(numbers - say(latent)), axis=0), 0.3)
    low, high = np.quantile(latent, [0.05, 0.95], axis=0)
    spread = np.where(high > low, (high - low) / 3.3, 1.0)
    reach = np.empty_like(spread)
    for place, width in enumerate(0.05 * spread):
        move = np.zeros_like(spread)
        move[place] = width
        slope = (say(latent + move) - say(latent - move)) / (2.0 * width)
        reach[place] = np.sqrt(np.square(np.median(np.abs(slope), axis=0) / rest).sum())
    finest = np.sqrt(12.0) / np.maximum(reach, 1e-3 / spread)

    def bits(coarseness: float) -> float:
        whole = to_latent_numbers(latent, coarseness * finest)
        rests = numbers - np.rint(say(whole * (coarseness * finest))).astype(np.int64)
        return sum(map(expected_bits, whole.T)) + sum(map(expected_bits, rests.T))

    return min(_COARSENESS, key=bits) * finest


def to_latent_numbers(latent: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return latent coordinates (n, k) in whole numbers of steps."""
    whole = np.clip(np.rint(latent / steps), -_LARGEST_LATENT, _LARGEST_LATENT)
    return whole.astype(np.int64)


def usual_range(latent: np.ndarray) -> np.ndarray:
    """Return the ends (2, k) of usual latent coordinates (n, k); beyond, decoders may overflow."""
    low, middle, high = np.quantile(latent, [0.05, 0.5, 0.95], axis=0)
    return middle + np.outer([-1.0, 1.0], _WIDEST * (high - low))
