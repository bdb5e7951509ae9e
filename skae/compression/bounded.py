"""compress and decompress: a table in few bytes, every value within a bound.

The content, behind its first bytes: a header (JSON, bounds, how columns are predicted), the model, if one
is in it, blocks of rows, and a digest of all this. Each block ends with a digest of the whole numbers of
its columns, so that a prediction that differs from the one when it was written is noticed.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skae.compression.blocks import read_block, write_block
from skae.compression.bounds import Column, choose_bounds, make_column, to_cells
from skae.compression.header import Header
from skae.compression.polynomials import Predicted, fit_chain
from skae.compression.prediction import (
    Model,
    choose_steps,
    decoder_alone,
    predict,
    to_latent_numbers,
    typical_sizes,
    usual_range,
)
from skae.compression.streams import Reader, Writer, zstd
from skae.compression.table import BLOCK_ROWS, Table, joined
from skae.persistence import content_of, estimator_in

__all__ = ["compress", "decompress"]

_FRONT = b"\x93skae\r\n\x1a"  # changed where a file is taken for text
_DIGEST_BYTES = 16

# Rows, evenly spread, that decide how columns are predicted.
_SAMPLE_ROWS = 16384


@np.errstate(all="ignore")
def compress(X, model=None, *, relative=None, absolute=None, degree=2, embed_model=True):
    r"""Compress a table so that every value comes back within a bound.

    A value becomes a whole number, that of its cell, twice the bound wide. Stored is the distance of
    this number from a prediction: by polynomials in columns that are decoded before it, which are
    fitted to X, by a model that decodes a few latent coordinates, which are stored along, or by both,
    whichever takes the fewest bytes. Distances go through zstd. Predictions decide how many bytes there
    are, and nothing else: what comes back is the cell's value, whatever was predicted, and each is
    checked. NaN, infinities, zeros under a relative bound and whatever else has no cell come back bit
    for bit.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        Booleans, integers, or floats of 16, 32 or 64 bits; columns of a DataFrame may differ.
    model : estimator or Pipeline, default=None
        Fitted, with ``transform`` and ``inverse_transform``: a :class:`~skae.JetAutoencoder`, PCA, or a
        Pipeline that ends in one. Rows that it refuses are stored without its help.
    relative, absolute : float or dict, default=None
        Largest error, \|x̂ − x\| ≤ ``relative``·\|x\| or \|x̂ − x\| ≤ ``absolute``. A dict has bounds
        by columns, names or numbers; 0 means exactly. A number is for all columns that the other one
        does not name. Integers come back exactly, and so do floats that are all whole numbers, unless a
        dict names them.
    degree : {0, 1, 2}, default=2
        Of the polynomials in other columns, at most: linear, or with products of two columns and
        piecewise parabolas. 0 for none; so it is for more than 200 columns, and 1 for more than 30.
    embed_model : bool, default=True
        Whether what the model needs to decode is a part of the result. If not, :func:`decompress` needs
        the model.

    Returns
    -------
    data : bytes
        What :func:`decompress` takes; safe to be read from anybody, as files of :func:`skae.save` are.

    Raises
    ------
    ImportError
        If there is no zstd: ``pip install skae[compress]``. Python 3.14 brings its own.
    TypeError
        If a column holds no numbers, or the model has no way back, or cannot be saved.
    ValueError
        If a column has no bound or two, or the model takes no row of X.

    See Also
    --------
    decompress : The way back.

    Notes
    -----
    Models are computed in float64 on both sides. A value whose prediction could be another where
    rounding is different, by up to 1e-11, is stored as it is. If predictions are others nevertheless,
    :func:`decompress` raises an error. What comes back may differ in its last digit from machine to
    machine.

    A model costs its own bytes, and latent coordinates theirs: compare ``len(compress(X))`` without
    one.

    Examples
    --------
    >>> import numpy as np
    >>> import skae
    >>> from skae.datasets import make_jets
    >>> X = make_jets(1000, random_state=0)  # E, pT (GeV), η, φ
    >>> data = skae.compress(X, relative={0: 1e-3, 1: 1e-3}, absolute=1e-3)
    >>> X.nbytes, len(data) < 6000
    (32000, True)
    >>> back = skae.decompress(data)
    >>> bool((np.abs(back[:, :2] / X[:, :2] - 1) <= 1e-3).all())
    True
    """
    zstd()  # or an error
    if not (type(degree) is int and 0 <= degree <= 2):
        raise ValueError(f"degree={degree!r} must be 0, 1 or 2.")
    table = Table.of(X)
    bounds = choose_bounds(table.names, table.columns, relative, absolute)
    pairs = zip(table.columns, bounds, strict=True)
    columns = [make_column(values, *bound) for values, bound in pairs]
    sample = _sample_of(len(table))
    numbers = _typical_numbers(columns, [values[sample] for values in table.columns])
    coder, content = None, None
    if model is not None and len(table):
        coder, content = _writing_coder(table, sample, numbers, columns, model, embed_model)
    predicted = coder.predict(coder.encode(table.matrix(sample))) if coder else None
    header = Header(
        n_rows=len(table),
        names=table.names,
        is_frame=table.is_frame,
        columns=columns,
        chain=fit_chain(numbers, len(table), predicted, degree),
        latent_steps=coder.steps if coder else np.zeros(0),
        model=content,
    )
    writer = Writer()
    writer.raw(_FRONT)
    header.write(writer)
    for rows in table.blocks():
        values = [column[rows] for column in table.columns]
        if coder is None:
            write_block(writer, header, values)
        else:
            latent = coder.encode(table.matrix(rows))
            write_block(writer, header, values, latent, coder.predict(latent))
    content = writer.content()
    return content + _digest(content)


@np.errstate(all="ignore")
def decompress(data, model=None):
    """Bring a table back that :func:`compress` has made small.

    Nothing in the data is run, and they may be from anybody: what :func:`skae.load` says of files is true
    of a model in them.

    Parameters
    ----------
    data : bytes
        What compress has returned.
    model : estimator or Pipeline, default=None
        The model, if the data were compressed with ``embed_model=False``.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The table, its columns with their names and dtypes. The index of a DataFrame is not kept.

    Raises
    ------
    ImportError
        If there is no zstd: ``pip install skae[compress]``.
    ValueError
        If the data are not what compress returned, or the model is missing or another.

    See Also
    --------
    compress : With an example.

    Examples
    --------
    >>> import skae
    >>> data = skae.compress([[1, 2], [3, 4]], absolute=0)
    >>> skae.decompress(data)
    array([[1, 2],
           [3, 4]])
    """
    zstd()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"decompress takes bytes, not a {type(data).__name__}.")
    data = bytes(data)
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not data.startswith(_FRONT):
        raise ValueError("The data were not written by skae.compress.")
    if _digest(content) != digest:
        raise ValueError("The data were changed or cut off: they do not match their digest.")
    try:
        reader = Reader(content, len(_FRONT))
        header = Header.read(reader)
        coder = _reading_coder(header, model)
        blocks = []
        for start in range(0, header.n_rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, header.n_rows - start)
            blocks.append(read_block(reader, header, n, coder.predict if coder else None))
        reader.end()
    except (ImportError, MemoryError, Warning):
        raise
    except Exception as error:  # whatever malicious data bring about
        text = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"The data cannot be decompressed: {text}.") from error
    return joined(blocks, [c.dtype for c in header.columns], header.names, header.is_frame)


@dataclass(frozen=True)
class _Coder:
    """A model, and the whole numbers around it."""

    model: Model
    columns: list[Column]
    sizes: np.ndarray  # (d,), of values in the middles of columns
    steps: np.ndarray  # (n_components,)
    typical: np.ndarray  # (d,), a row
    ends: np.ndarray  # (2, n_components), of latent coordinates

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return rows as whole numbers (n, n_components)."""
        latent = self.model.encode(rows, self.typical)
        return to_latent_numbers(np.clip(latent, self.ends[0], self.ends[1]), self.steps)

    def predict(self, latent: np.ndarray) -> Predicted:
        """Return what the model says of whole numbers (n, n_components)."""
        return predict(self.model, latent * self.steps, self.columns, self.sizes)


def _writing_coder(
    table: Table,
    sample: np.ndarray,
    numbers: np.ndarray,
    columns: list[Column],
    estimator: Any,
    embed_model: bool,
) -> tuple[_Coder | None, bytes | None]:
    """Return a coder with steps for a sample of rows, and the content of the model's file."""
    content, decoder = None, estimator
    if embed_model:
        content = content_of(decoder_alone(estimator))
        decoder = estimator_in(content, "the model", torch.device("cpu"))
    model = Model(estimator, decoder, table.names if table.is_frame else None)
    rows = table.matrix(sample)
    typical = model.typical_row(rows)
    if typical is None:
        return None, None
    sizes = typical_sizes(columns, np.median(numbers, axis=0).astype(np.int64))
    latent = model.encode(rows, typical)
    ends = usual_range(latent)
    steps = choose_steps(model, np.clip(latent, ends[0], ends[1]), numbers, columns, sizes)
    return _Coder(model, columns, sizes, steps, typical, ends), content


def _reading_coder(header: Header, model: Any) -> _Coder | None:
    if not len(header.latent_steps):
        return None
    if header.model is not None:
        model = estimator_in(header.model, "the model in it", torch.device("cpu"))
    elif model is None:
        raise ValueError("the model that it was compressed with is not in it: pass it on as model=")
    nothing = np.zeros(len(header.columns))  # of use for writing alone
    steps = header.latent_steps
    return _Coder(Model(model, model, None), header.columns, nothing, steps, nothing, nothing)


def _sample_of(n_rows: int) -> np.ndarray:
    """Return rows that are spread evenly."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE_ROWS)).astype(np.int64))


def _typical_numbers(columns: list[Column], values: list[np.ndarray]) -> np.ndarray:
    """Return a sample of columns as whole numbers (n, d), medians in the place of exceptions."""
    numbers = []
    for column, sample in zip(columns, values, strict=True):
        cells = to_cells(column, sample)
        usual = cells.numbers[~cells.is_exception]
        middle = int(np.median(usual)) if len(usual) else 0
        numbers.append(np.where(cells.is_exception, middle, cells.numbers))
    return np.stack(numbers, axis=1) if len(numbers[0]) else np.zeros((1, len(columns)), np.int64)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
