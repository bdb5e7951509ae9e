"""Blocks of rows: latent coordinates, and columns as distances from what is predicted for them."""

import hashlib
from collections.abc import Callable

import numpy as np

from skae.compression.bounds import from_cells, to_cells
from skae.compression.header import Header
from skae.compression.polynomials import Predicted, chunks, walk
from skae.compression.streams import Reader, Writer

_DIGEST_BYTES = 8


def write_block(
    writer: Writer,
    header: Header,
    values: list[np.ndarray],
    latent: np.ndarray | None = None,
    predicted: Predicted | None = None,
) -> None:
    """Write the columns of some rows.

    Parameters
    ----------
    values : list of ndarray of shape (n,)
        Columns.
    latent : ndarray of shape (n, n_components) or None
        Whole numbers.
    predicted : Predicted or None
        What the model says of them.
    """
    cells = [to_cells(c, v) for c, v in zip(header.columns, values, strict=True)]
    numbers = np.stack([cell.numbers for cell in cells])  # (d, n)
    is_exception = np.stack([cell.is_exception for cell in cells])
    distances = np.zeros_like(numbers)
    n = numbers.shape[1]
    for rows in chunks(n):

        def give(column: int, whole: np.ndarray, is_in_doubt: np.ndarray, rows=rows) -> np.ndarray:
            is_exception[column, rows] |= is_in_doubt
            is_apart = is_exception[column, rows]
            true = np.where(is_apart, header.chain.middles[column], numbers[column, rows])
            numbers[column, rows] = true
            distances[column, rows] = np.where(is_apart, 0, true - whole)
            return true

        walk(header.chain, rows.stop - rows.start, _part(predicted, rows), give)
    for coordinate in latent.T if latent is not None else ():
        writer.integers(coordinate)
    for place, column in enumerate(header.columns):
        writer.integers(distances[place])
        if column.kind == "relative":
            writer.flags(cells[place].is_negative)
        writer.flags(is_exception[place])
        writer.values(values[place][is_exception[place]])
    writer.raw(_digest(numbers))


def read_block(
    reader: Reader,
    header: Header,
    n: int,
    predict: Callable[[np.ndarray], Predicted] | None,
) -> list[np.ndarray]:
    """Read the columns of n rows; ``predict`` is the model's, of whole numbers (n, n_components).

    Raises
    ------
    Exception
        Of any kind, if they are not there, or predictions are not those of :func:`write_block`.
    """
    latent = [reader.integers(n) for _ in header.latent_steps]
    predicted = predict(np.stack(latent, axis=1)) if predict is not None else None
    distances, is_negative, is_exception, apart = [], [], [], []
    for column in header.columns:
        distances.append(reader.integers(n))
        has_sign = column.kind == "relative"
        is_negative.append(reader.flags(n) if has_sign else np.zeros(n, bool))
        is_exception.append(reader.flags(n))
        apart.append(reader.values(int(is_exception[-1].sum()), column.dtype))
    numbers = np.empty((len(header.columns), n), np.int64)
    for rows in chunks(n):

        def give(column: int, whole: np.ndarray, _: np.ndarray, rows=rows) -> np.ndarray:
            true = whole + distances[column][rows]
            true[is_exception[column][rows]] = header.chain.middles[column]
            numbers[column, rows] = true
            return true

        walk(header.chain, rows.stop - rows.start, _part(predicted, rows), give)
    if reader.raw(_DIGEST_BYTES) != _digest(numbers):
        raise ValueError(
            "its predictions are other than when it was compressed: this is another model, or a "
            "machine that rounds differently"
        )
    columns = []
    for place, column in enumerate(header.columns):
        values = from_cells(column, numbers[place], is_negative[place])
        values[is_exception[place]] = apart[place]
        columns.append(values)
    return columns


def _part(predicted: Predicted | None, rows: slice) -> Predicted | None:
    return None if predicted is None else predicted.part(rows)


def _digest(numbers: np.ndarray) -> bytes:
    return hashlib.blake2b(numbers.astype("<i8").tobytes(), digest_size=_DIGEST_BYTES).digest()
