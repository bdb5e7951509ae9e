"""Readers of measured photon correlations."""

from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch, check_array

from skae._parameters import arguments
from skae._sklearn import Interval
from skae.datasets._files import reading
from skae.datasets._text import DECIMAL, read_table


@arguments(
    path=[str, Path],
    drop_last=Interval(Integral, 0, None, closed="left"),
    decimal=DECIMAL,
)
def load_photon_correlations(path, *, drop_last=0, decimal=None):
    r"""Read a table of coincidences: a column of delays, and one for each snapshot that was counted.

    Parameters
    ----------
    path : str or Path
        A text file, which may be compressed (.gz, .bz2, .xz), separated by tabs, commas, semicolons or
        spaces. Lines before the first that holds nothing but numbers are titles and names; comments,
        which begin with #, %, ! or //, are left out, and so are delays at the end without any count.
    drop_last : int, default=0
        Snapshots at the end to leave out, where a measurement was broken off.
    decimal : {".", ","}, default=None
        The decimal sign. None finds it, and refuses a file that could be read in two ways.

    Returns
    -------
    correlations : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        counts : ndarray of shape (n_snapshots, n_times)
            Coincidences of each snapshot; ``counts[:k].sum(axis=0)`` is the histogram after k of them.
        tau : ndarray of shape (n_times,)
            Delays, in the file's unit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such table, delays do not increase, or counts are negative or missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skae.datasets import load_photon_correlations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "g2.txt")
    ...     _ = file.write_text("0.0\t1\t0\n0.5\t3\t2\n")
    ...     g2 = load_photon_correlations(file)
    >>> g2.tau, g2.counts.sum(axis=0)
    (array([0. , 0.5]), array([1., 5.]))
    """
    path = Path(path)
    with reading(path, "a table of coincidences"):
        table = read_table(path, decimal=decimal, least=2, named=False).values
        if table.shape[1] < 2 + drop_last:
            raise ValueError(
                f"it has {table.shape[1]} columns; needed are delays and one snapshot more than "
                f"drop_last={drop_last}"
            )
        tau, counts = table[:, 0], table[:, 1 : table.shape[1] - drop_last].T
        counted = np.flatnonzero(~np.isnan(counts).all(axis=0))
        end = counted[-1] + 1 if len(counted) else 0
        tau, counts = tau[:end], np.ascontiguousarray(counts[:, :end])
        check_array(tau, ensure_2d=False, input_name="its delays")
        _check_counts(counts)
        if not (np.diff(tau) > 0).all():
            raise ValueError("its first column, of delays, does not increase")
    return Bunch(counts=counts, tau=tau)


def _check_counts(counts):
    missing = ~np.isfinite(counts)
    if missing.any():
        first = int(missing.any(axis=1).argmax())
        raise ValueError(
            f"{missing.sum()} of its counts are missing or infinite, the first in snapshot {first} of "
            f"{len(counts)}; drop_last= leaves out snapshots at the end"
        )
    if (counts < 0).any():
        raise ValueError(f"{(counts < 0).sum()} of its counts are negative")
