"""What stands before the rows: how columns are bounded and predicted, and which model predicts them."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from skae._version import __version__
from skae.compression.bounds import Column
from skae.compression.polynomials import MODES, Chain, fits_columns
from skae.compression.streams import Reader, Writer
from skae.training.packing import FORMAT, check_format, parsed

# What a harmful one may ask for.
_MOST_BYTES = 2**26
_MOST_TIMES = 2**10  # as large as it is compressed
_LARGEST = 2**60
_LARGEST_SCALE = 1000


@dataclass(frozen=True)
class Header:
    """All but the rows.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    names, is_frame
        As in :class:`~skae.compression.table.Table`.
    columns : list of Column
        How values are whole numbers.
    chain : Chain
        How these are predicted.
    latent_steps : ndarray of shape (n_components,)
        Of latent coordinates; none without a model.
    model : bytes or None
        The content of a file of :func:`skae.save`; None where there is none, or it is kept elsewhere.
    """

    n_rows: int
    names: list[Any]
    is_frame: bool
    columns: list[Column]
    chain: Chain
    latent_steps: np.ndarray
    model: bytes | None

    def write(self, writer: Writer) -> None:
        """Write it."""
        inner = Writer()
        chain, columns = self.chain, self.columns
        about = {
            "format": FORMAT,
            "version": __version__,
            "rows": self.n_rows,
            "frame": self.is_frame,
            "names": self.names if self.is_frame else len(self.names),
            "dtypes": _shortened([c.dtype for c in columns]),
            "kinds": _shortened([c.kind for c in columns]),
            "degree": chain.degree,
            "components": len(self.latent_steps),
        }
        text = json.dumps(about, separators=(",", ":")).encode()
        inner.number(len(text))
        inner.raw(text)
        floats = [x for c in columns for x in (c.bound, c.step, c.offset)]
        inner.raw(np.array([*floats, *self.latent_steps]).astype("<f8").tobytes())
        for numbers in _numbers_of(chain):
            for number in numbers:
                inner.signed(int(number))
        coefficients = np.concatenate(chain.coefficients)
        if len(coefficients):
            inner.integers(coefficients)
        _write_sized(writer, inner.content())
        _write_sized(writer, self.model or b"")

    @classmethod
    def read(cls, reader: Reader) -> "Header":
        """Read it, and check it.

        Raises
        ------
        Exception
            Of any kind, if it is none.
        """
        inner = Reader(_read_sized(reader))
        about = parsed(inner.raw(inner.number()))
        check_format(about["format"], about["version"])
        n_rows, is_frame, degree = about["rows"], about["frame"], about["degree"]
        names, most = about["names"], len(inner.content)
        names = names if is_frame else list(range(_whole(names, most)))
        d, k = len(names), _whole(about["components"], most)
        if not d or len({*names}) < d or not all(type(name) in (str, int) for name in names):
            raise ValueError("its columns have no names")
        floats = np.frombuffer(inner.raw(8 * (3 * d + k)), "<f8").astype(np.float64)
        kinds = zip(
            _lengthened(about["dtypes"], d),
            _lengthened(about["kinds"], d),
            floats[: 3 * d].reshape(d, 3).tolist(),
            strict=True,
        )
        columns = [Column(dtype, kind, *numbers) for dtype, kind, numbers in kinds]
        steps = floats[3 * d :]
        if not (np.isfinite(steps).all() and (steps > 0.0).all()):
            raise ValueError("its latent coordinates have no steps")
        chain = _read_chain(inner, d, _whole(degree, 2), k > 0)
        inner.end()
        model = _read_sized(reader) or None
        if not k and model is not None:
            raise ValueError("it has a model, and no use for it")
        return cls(_whole(n_rows, _LARGEST), names, bool(is_frame), columns, chain, steps, model)


def _numbers_of(chain: Chain) -> list[list[int]]:
    lists = [chain.order, chain.modes, chain.middles, chain.lows, chain.highs, chain.widths]
    return [*lists, chain.rests, chain.scales]


def _read_chain(reader: Reader, d: int, degree: int, has_model: bool) -> Chain:
    order, modes, middles, lows, highs, widths, rests, scales = (
        [reader.signed() for _ in range(d)] for _ in range(8)
    )
    if sorted(order) != list(range(d)):
        raise ValueError(f"{order} is no order of its columns")
    if any(not 0 <= mode < len(MODES) for mode in modes):
        raise ValueError("it predicts columns in a way that is not known")
    if not has_model and {*modes} & {1, 3}:
        raise ValueError("it has no model for its predictions")
    if not (degree and fits_columns(degree, d)) and {*modes} & {2, 3}:
        raise ValueError(f"it has polynomials of degree {degree} in {d} columns")
    if max(map(abs, [*middles, *lows, *highs, *widths, *rests])) > _LARGEST:
        raise ValueError("its columns are out of range")
    if min([*widths, *rests]) < 1 or any(a > b for a, b in zip(lows, highs, strict=True)):
        raise ValueError("its columns have no range")
    if max(map(abs, scales)) > _LARGEST_SCALE:
        raise ValueError("its polynomials are out of range")
    chain = Chain(order, modes, degree, middles, lows, highs, widths, rests, [], scales)
    sizes = [0] * d
    for place, column in enumerate(order):
        sizes[column] = chain.n_terms(place, has_model) if modes[column] >= 2 else 0
    total = sum(sizes)
    coefficients = reader.integers(total) if total else np.zeros(0, np.int64)
    chain.coefficients.extend(np.split(coefficients, np.cumsum(sizes)[:-1]))
    return chain


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"it has the number {str(value)[:20]}")
    return value


def _shortened(values: list[str]) -> list[str] | str:
    return values[0] if len({*values}) == 1 else values


def _lengthened(values: Any, d: int) -> list[str]:
    return [values] * d if isinstance(values, str) else values


def _write_sized(writer: Writer, content: bytes) -> None:
    writer.number(len(content))
    writer.packed(content)


def _read_sized(reader: Reader) -> bytes:
    size = reader.number()
    if size > min(_MOST_BYTES, _MOST_TIMES * (len(reader.content) - reader.position)):
        raise ValueError(f"a part of it has {size} bytes")
    content = reader.packed(size)
    if len(content) != size:
        raise ValueError("a part of it is missing")
    return content
