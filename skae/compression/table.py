"""Arrays and DataFrames as columns, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skae.compression.bounds import DTYPES

#: rows that are written, and read, at once
BLOCK_ROWS = 2**16


@dataclass(frozen=True)
class Table:
    """Columns of one length, each with its own dtype.

    Attributes
    ----------
    columns : list of ndarray
        In the byte order of the machine.
    names : list of str or int
        Of a DataFrame; else the numbers of the columns.
    is_frame : bool
        Whether it is one.
    """

    columns: list[np.ndarray]
    names: list[Any]
    is_frame: bool

    @classmethod
    def of(cls, X: Any) -> "Table":
        """Take an array or a DataFrame apart.

        Raises
        ------
        TypeError
            If a column holds no numbers of NumPy's.
        ValueError
            If X has no two dimensions, no columns, or two of one name.
        """
        is_frame = type(X).__module__.partition(".")[0] == "pandas" and hasattr(X, "columns")
        if is_frame:
            names = X.columns.tolist()
            columns = [X.iloc[:, place] for place in range(X.shape[1])]
            dtypes = [column.dtype for column in columns]
        else:
            if np.ma.isMaskedArray(X):
                raise TypeError("X is a masked array; pass on X.filled(np.nan).")
            X = np.asarray(X)
            if X.dtype.names:
                raise TypeError("X is a structured array; pass on pandas.DataFrame(X).")
            if X.ndim != 2:
                raise ValueError(f"X must have two dimensions, rows and columns; it has {X.ndim}.")
            names = list(range(X.shape[1]))
            columns, dtypes = list(X.T), [X.dtype] * len(names)
        for name, dtype in zip(names, dtypes, strict=True):
            if not isinstance(dtype, np.dtype) or str(dtype.newbyteorder("=")) not in DTYPES:
                raise TypeError(
                    f"column {name!r} is of {dtype}; compress takes NumPy's booleans, integers and "
                    "floats of up to 64 bits."
                )
        if not names:
            raise ValueError("X has no columns.")
        if not all(type(name) in (str, int) for name in names) or len({*names}) < len(names):
            raise ValueError(
                "Columns of X must have names that are text or whole numbers, each once."
            )
        arrays = [np.asarray(column) for column in columns]
        native = [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]
        return cls(native, names, is_frame)

    def __len__(self) -> int:
        return len(self.columns[0])

    def matrix(self, rows: Any) -> np.ndarray:
        """Return rows in float64, as a model takes them."""
        return np.column_stack([column[rows].astype(np.float64) for column in self.columns])

    def blocks(self) -> Iterator[slice]:
        """Yield the rows of each block."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield slice(start, min(len(self), start + BLOCK_ROWS))


def joined(
    blocks: list[list[np.ndarray]], dtypes: list[str], names: list[Any], is_frame: bool
) -> Any:
    """Return the columns of blocks as what :meth:`Table.of` was given."""
    parts = list(zip(*blocks, strict=True)) or [()] * len(dtypes)
    columns = [
        np.concatenate([np.empty(0, dtype), *part])
        for dtype, part in zip(dtypes, parts, strict=True)
    ]
    if not is_frame:
        return np.stack(columns, axis=1)
    from pandas import DataFrame, Index

    frame = DataFrame(dict(enumerate(columns)))
    frame.columns = Index(names)
    return frame
