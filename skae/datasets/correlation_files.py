"""Readers of measured photon correlations: tables of coincidences, and PicoQuant's histograms."""

from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch, check_array

from skae._parameters import arguments
from skae._sklearn import Interval
from skae._warn import warn
from skae.datasets._files import reading
from skae.datasets._text import DECIMAL, read_table
from skae.exceptions import OutlierWarning

# A snapshot with so many times the median count is no longer chance, nor a source that blinks.
_OUTLYING = 10


@arguments(
    path=[str, Path],
    drop_last=Interval(Integral, 0, None, closed="left"),
    decimal=DECIMAL,
)
def load_photon_correlations(path, *, drop_last=0, decimal=None):
    r"""Read snapshots of coincidences: a table with a column for each, or the histograms of a .phu.

    Parameters
    ----------
    path : str or Path
        - A text file, which may be compressed (.gz, .bz2, .xz), separated by tabs, commas, semicolons or
          spaces: a column of delays, and one for each snapshot. Lines before the first that holds nothing
          but numbers are titles and names; comments, which begin with #, %, ! or //, are left out, and so
          are delays at the end without any entry.
        - A .phu of PicoQuant's (``pip install skae[tags]``): each of its curves is a snapshot. Bins
          behind the last count are left out.
    drop_last : int, default=0
        Snapshots at the end to leave out, where a measurement was broken off.
    decimal : {".", ","}, default=None
        The decimal sign of text. None finds it, and refuses a file that could be read in two ways.

    Returns
    -------
    correlations : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        counts : ndarray of shape (n_snapshots, n_times)
            Coincidences of each snapshot; ``counts[:k].sum(axis=0)`` is the histogram after k of them.
        tau : ndarray of shape (n_times,)
            Delays, in the file's unit; of a .phu where bins begin, in seconds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, delays do not increase, counts are negative or missing, or the curves of a
        .phu have bins of different widths.

    Warns
    -----
    OutlierWarning
        If snapshots hold more than 10 times the median count: of cross-talk or of ambient light, say.
        They would dominate the histogram of all.

    See Also
    --------
    load_time_tags : Reads time tags.
    correlate_tags : Counts their coincidences.

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
        if path.suffix.lower() == ".phu":
            tau, counts = _phu(path)
        else:
            table = read_table(path, decimal=decimal, least=2, named=False).values
            tau, counts = table[:, 0], table[:, 1:].T
        if len(counts) < 1 + drop_last:
            raise ValueError(
                f"it has {len(counts)} snapshots; needed is one more than drop_last={drop_last}"
            )
        counts = counts[: len(counts) - drop_last]
        counted = np.flatnonzero(~np.isnan(counts).all(axis=0))
        end = counted[-1] + 1 if len(counted) else 0
        tau, counts = tau[:end], np.ascontiguousarray(counts[:, :end])
        check_array(tau, ensure_2d=False, input_name="its delays")
        _check_counts(counts)
        if not (np.diff(tau) > 0).all():
            raise ValueError("its first column, of delays, does not increase")
    _warn_of_outliers(counts)
    return Bunch(counts=counts, tau=tau)


def _phu(path):
    """Return delays in seconds, and the curves, without bins behind the last count."""
    from ptufile import PhuFile

    with PhuFile(path) as file:
        tags, widths = file.tags, file.tags.get("HistResDscr_MDescResolution")
        n_bins = tags["HistResDscr_HistogramBins"]
        widths = np.array(widths or [file.tcspc_resolution] * len(n_bins))
        if 4 * sum(n_bins) > path.stat().st_size:
            raise ValueError(
                f"its header says {sum(n_bins)} bins, more than it holds: it was cut off"
            )
        curves = file.histograms()
    if [len(curve) for curve in curves] != n_bins:
        raise ValueError("its curves have fewer bins than its header says: it was cut off")
    if not (widths > 0.0).all() or (widths != widths[0]).any():
        raise ValueError(
            f"its curves have bins of {np.unique(widths).tolist()} s; they need one width, above 0: save "
            "curves that differ in files of their own"
        )
    counts = np.zeros((len(curves), max(n_bins)))
    for row, curve in zip(counts, curves, strict=True):
        row[: len(curve)] = curve
    filled = np.flatnonzero(counts.any(axis=0))
    if not len(filled):
        raise ValueError(f"none of its {len(curves)} curves has a count")
    return widths[0] * np.arange(filled[-1] + 1), counts[:, : filled[-1] + 1]


def _warn_of_outliers(counts):
    totals = counts.sum(axis=1)
    median = np.median(totals)
    outlying = totals > _OUTLYING * median
    if median == 0 or not outlying.any():
        return
    share = totals[outlying].sum() / totals.sum()
    warn(
        f"{outlying.sum()} of {len(counts)} snapshots hold more than {_OUTLYING} times the median count "
        f"of {median:g}, the first of them snapshot {outlying.argmax()}: {share:.0%} of all counts. "
        "Look at them, and leave them out if the source did not send them: totals = counts.sum(axis=1); "
        f"counts = counts[totals <= {_OUTLYING} * numpy.median(totals)].",
        OutlierWarning,
    )


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
