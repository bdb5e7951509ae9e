"""A table that is to be written: how its columns are predicted, without a model or with one."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skae.compression.blocks import write_block
from skae.compression.bounds import Column, choose_bounds, make_column, to_cells
from skae.compression.coder import Coder, writing_coder
from skae.compression.header import Header
from skae.compression.polynomials import fit_chain
from skae.compression.prediction import angles_of
from skae.compression.streams import Writer, expected_bits, pack
from skae.compression.table import Table

FRONT = b"\x93skae\r\n\x1a"  # changed where a file is taken for text
DIGEST_BYTES = 16

# Rows, evenly spread, that decide how columns are predicted.
_SAMPLE_ROWS = 16384

# By how much more a model may be expected to take, and may yet be found to take less.
_DOUBT = 1.03


class Plan(NamedTuple):
    """What is written before the rows, and how many bytes all of it is expected to take."""

    header: Header
    coder: Coder | None
    expected_bytes: float


@dataclass(frozen=True)
class Writing:
    """A table, how values are whole numbers, and a sample of these.

    Attributes
    ----------
    sample : ndarray of shape (n,)
        Rows.
    numbers : ndarray of shape (n, d)
        Whole numbers of the sample, medians in the place of exceptions.
    degree : int
        Of polynomials, at most.
    """

    table: Table
    columns: list[Column]
    sample: np.ndarray
    numbers: np.ndarray
    degree: int

    @classmethod
    def of(cls, model: Any, X: Any, degree: int, **bounds: Any) -> "Writing":
        """Choose whole numbers for X; see :func:`skae.compress`."""
        table = Table.of(X)
        angles = angles_of(model, table.names if table.is_frame else None)
        kinds = choose_bounds(table.names, table.columns, angles=angles, **bounds)
        pairs = zip(table.columns, kinds, strict=True)
        columns = [make_column(values, *bound) for values, bound in pairs]
        sample = _sample_of(len(table))
        numbers = _typical_numbers(columns, [values[sample] for values in table.columns])
        return cls(table, columns, sample, numbers, degree)

    def without_model(self) -> Plan:
        """Plan to predict columns from one another alone."""
        return self._plan(None, np.zeros((len(self.sample), 0), np.int64), 0.0)

    def with_model(self, model: Any, embed_model: bool, below: float = np.inf) -> Plan | None:
        """Plan to predict columns by a model, too.

        None where it takes no row, or takes ``below`` bytes itself, with the latent coordinates.
        """
        if not len(self.table):
            return None
        parts = self.table, self.sample, self.numbers, self.columns
        found = writing_coder(*parts, model, embed_model)
        if found is None:
            return None
        coder, latent = found
        share = len(self.table) / len(latent)
        expected = share * sum(map(expected_bits, latent.T)) / 8.0 + len(pack(coder.content or b""))
        return self._plan(coder, latent, expected) if expected < below else None

    def write(self, plan: Plan) -> bytes:
        """Write all of it."""
        writer, coder = Writer(), plan.coder
        writer.raw(FRONT)
        plan.header.write(writer)
        for rows in self.table.blocks():
            values = [column[rows] for column in self.table.columns]
            if coder is None:
                write_block(writer, plan.header, values)
            else:
                latent = coder.encode(self.table.matrix(rows))
                write_block(writer, plan.header, values, latent, coder.predict(latent))
        content = writer.content()
        return content + digest(content)

    def shortest(self, model: Any, embed_model: bool) -> bytes:
        """Write it with a model, or without, whichever is shorter."""
        plan = self.without_model()
        data = self.write(plan)
        if model is None:
            return data
        other = self.with_model(model, embed_model, below=len(data))
        if other is None or other.expected_bytes > _DOUBT * plan.expected_bytes:
            return data
        return min(data, self.write(other), key=len)

    def _plan(self, coder: Coder | None, latent: np.ndarray, expected: float) -> Plan:
        predicted = coder.predict(latent) if coder else None
        chain, bits = fit_chain(self.numbers, len(self.table), predicted, self.degree)
        header = Header(
            n_rows=len(self.table),
            names=self.table.names,
            is_frame=self.table.is_frame,
            columns=self.columns,
            chain=chain,
            latent_steps=coder.steps if coder else np.zeros(0),
            model=coder.content if coder else None,
        )
        return Plan(header, coder, expected + bits / 8.0)


def digest(content: bytes) -> bytes:
    """Return what stands behind the content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


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
