"""Columns of jets from the files of examples/jets_from_pythia.py."""

import numpy as np

from skae.datasets import make_jets

# An azimuth that is uniform, and what is no property of a jet.
_LEFT_OUT = ("phi", "event")


def jets_in(file: str | None) -> tuple[np.ndarray, list[str]]:
    """Return jets (n, d), without φ and the event's number, and the names of columns.

    Without a file generated ones.
    """
    if file is None:
        table = make_jets(62_500, n_features=25, random_state=0, as_frame=True)
        names = list(table.columns)
    else:
        table = np.load(file)
        names = list(table.dtype.names)
    names = [name for name in names if name not in _LEFT_OUT]
    return np.column_stack([np.asarray(table[name], dtype=np.float64) for name in names]), names
