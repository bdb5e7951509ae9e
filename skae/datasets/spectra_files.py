"""Spectra from files: surveys' FITS, text, CSV and NPY, with grid, errors and flags."""

from collections import Counter
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skae._parameters import arguments
from skae._sklearn import Interval, StrOptions
from skae._warn import warn
from skae.datasets._files import kind_of, reading
from skae.datasets._spectra_parts import Reading, apart, is_same_grid, joined, rows_of
from skae.datasets._spectra_text import read_npy, read_text
from skae.datasets._survey_files import read_fits
from skae.datasets._text import DECIMAL
from skae.exceptions import UnusedDataWarning

# Entries of a warning.
_MOST_NAMED = 12


@arguments(
    path=[str, Path, "array-like"],
    orient=[StrOptions({"rows", "columns"}), None],
    grid=["boolean", None],
    names=[list, tuple, None],
    column=[str, None],
    hdu=[Integral, str, None],
    decimal=DECIMAL,
    mask=["boolean", Interval(Integral, 1, None, closed="left"), None],
    as_list=["boolean"],
)
def load_spectra(
    path, *, orient=None, grid=None, names=None, column=None, hdu=None, decimal=None, mask=None,
    as_list=False,
):  # fmt: skip
    r"""Read spectra, with their grid, errors and flags, from a file, a folder or a list of files.

    Parameters
    ----------
    path : str, Path, or list of them
        A file, the files of a folder in order of their names, or a list of files:

        - FITS (needs astropy: the extra ``spectra``): SDSS ``spec``, ``spec-lite``, ``spPlate``,
          ``spSpec``; DESI ``coadd`` and ``spectra``, whose arms are joined by inverse variance; LAMOST;
          JWST ``x1d`` and ``c1d``; any table with a row for each bin or a vector for each spectrum; any
          image of shape (n_samples, n_bins), with units ERR, IVAR, VAR, DQ, MASK, WAVELENGTH beside it.
        - Text, separated by commas, semicolons, tabs or spaces, with names in the line or the comment
          before its numbers, or without: CSV, two columns, RRUFF, ECSV (needs astropy).
        - An .npy array of shape (n_samples, n_bins).
    orient : {"rows", "columns"}, default=None
        How a text file, an array or an image lies: a spectrum in each row, or in each column. None takes
        columns where the first is called "wavelength" or the like, or where there are two, of ten rows or
        more, the first in order; else rows. Three or four such columns are refused if names do not tell.
    grid : bool, default=None
        Whether the first column (``orient="columns"``), or line (``orient="rows"``), is the grid.
        None looks at the names of a text file: a first column called "wavelength", "loglam",
        "energy", "time" or the like is the grid, and so are names in a table with an index, as pandas
        writes it, if all are numbers. Otherwise only the first of two columns, as above, is taken for a
        grid.
    names : list of str, default=None
        What the columns of a text file or an array hold, in place of its own names:
        ``["wavelength", "flux", "error"]``.
    column : str, default=None
        Name of the fluxes in a table; None looks for "flux", "counts" and the like.
    hdu : int or str, default=None
        Which unit of a FITS file; None takes those that a survey's layout has, else the first with data.
        ``hdu="B_FLUX"`` is one arm of DESI's.
    decimal : {".", ","}, default=None
        The decimal sign of a text file. None finds it, and refuses a file that could be read in two ways.
    mask : bool or int, default=None
        Which flags say that a pixel was not seen: True takes all, a number those of its bits. None
        applies none: good spectra carry flags, of a sky line near by, say.
    as_list : bool, default=False
        Return a list rather than one table: an entry for each file, in order, or for each of the grids in
        it. :func:`resample_spectra` takes it.

    Returns
    -------
    spectra : :class:`~sklearn.utils.Bunch`, or list of them
        Dictionary-like, with the following attributes. Each but ``data`` may be None, where the file does
        not say it.

        data : ndarray of shape (n_samples, n_bins)
            Spectra, as floats. NaN where a file has no number, or an error that is none.
        wavelengths : ndarray of shape (n_bins,)
            The grid, in the file's unit; "loglam" is brought from its logarithm.
        errors : ndarray of shape (n_samples, n_bins)
            Standard deviations, from columns or units called "error", "sigma" or the like, from variances
            and from inverse variances. NaN where nothing is known.
        flags : ndarray of shape (n_samples, n_bins), integers
            Bits of the file's mask; SDSS's and LAMOST's are ``and_mask``.
        ids : ndarray of shape (n_samples,)
            DESI's TARGETID, LAMOST's OBSID, SDSS's "plate-mjd-fiber", JWST's source or target.
        redshifts : ndarray of shape (n_samples,)
            From SDSS's SPECOBJ, or LAMOST's header; NaN where unknown.
        files, rows : ndarray of shape (n_samples,)
            Where each spectrum comes from: the file, and which of its spectra it is.
        medium : {"air", "vacuum"}
            What the wavelengths are of.
        unit, wavelength_unit : str
            As the file writes them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file cannot be read, holds no spectra, or could be read in two ways; if spectra lie on
        different grids and ``as_list`` is False.

    Warns
    -----
    UnusedDataWarning
        Names what is left unused: columns, units of a FITS file, other files of a folder, and spectra
        without a single pixel that was seen, which are dropped.

    See Also
    --------
    resample_spectra : Spectra of different grids on one.
    skae.SpectraVAE : Takes the errors: ``SpectraVAE(8).fit(spectra.data, errors=spectra.errors)``.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from skae.datasets import load_spectra
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "star.csv")
    ...     _ = file.write_text("wavelength (nm),flux,ivar\n400,1,4\n500,2,0\n600,3,1\n")
    ...     spectra = load_spectra(file)
    >>> spectra.data
    array([[ 1., nan,  3.]])
    >>> spectra.errors
    array([[0.5, nan, 1. ]])
    >>> spectra.wavelengths, spectra.wavelength_unit
    (array([400., 500., 600.]), 'nm')
    """
    how = Reading(orient, grid, names, column, hdu, decimal, mask)
    unused: Counter[str] = Counter()
    parts, empty = [], Counter[str]()
    for file in _files_of(path, unused):
        kind = kind_of(file, _READERS)
        with reading(file, f"spectra from a {kind} file"):
            found = _READERS[kind](file, how)
        _number(found)
        for spectra in found:
            unused.update(spectra.pop("unused"))
            spectra.files = np.full(len(spectra.data), str(file))
            kept = _drop_empty(spectra)
            empty[str(file)] += len(spectra.data) - len(kept.data)
            parts += apart(kept) if len(kept.data) else []
    empty = +empty
    if not parts:
        raise ValueError(
            f"path={_short(path)} holds no spectra: all {empty.total()} are empty, no pixel of them was "
            "seen (ivar is 0, or all is masked)"
        )
    _warn_of(unused, empty)
    if as_list:
        return parts
    other = next((part for part in parts if not is_same_grid(parts[0], part)), None)
    if other is not None:
        names = sorted({str(part.files[0]) for part in (parts[0], other)})
        raise ValueError(
            f"spectra of {' and '.join(map(repr, names))} lie on different grids; bring them to one: "
            "resample_spectra(load_spectra(path, as_list=True), wavelengths)"
        )
    return joined(parts)


def _number(found: list[Bunch]) -> None:
    """Number the spectra of a file through its parts."""
    first = 0
    for spectra in found:
        spectra.rows = np.arange(first, first := first + len(spectra.data))


def _short(path: Any) -> str:
    listed = [str(path)] if isinstance(path, (str, Path)) else [str(one) for one in path]
    return repr(listed[0]) if len(listed) == 1 else f"[{listed[0]!r}, … {len(listed)} files]"


def _files_of(path: Any, unused: Counter[str]) -> Iterator[Path]:
    """Yield the files that are meant; those of a folder which are no spectra are noted."""
    if not isinstance(path, (str, Path)):
        if len(path) == 0:
            raise ValueError("path is an empty list; give it a file")
        yield from map(Path, path)
        return
    path = Path(path)
    if not path.is_dir():
        yield path
        return
    files = sorted(one for one in path.iterdir() if one.is_file() and one.name[0] != ".")
    known = [file for file in files if file.name.lower().endswith(tuple(_READERS))]
    if not known:
        raise ValueError(
            f"path={str(path)!r} is a folder without spectra; known are {', '.join(_READERS)}"
        )
    unused.update(f"file {file.name!r}" for file in files if file not in known)
    yield from known


def _drop_empty(spectra: Bunch) -> Bunch:
    """Leave out spectra whose errors, or masks, say that nothing was seen."""
    if spectra.errors is None and spectra.flags is None:
        return spectra
    is_seen = ~np.isnan(spectra.data).all(axis=1)
    return spectra if is_seen.all() else rows_of(spectra, is_seen)


def _warn_of(unused: Counter[str], empty: Counter[str]) -> None:
    if empty:
        where = ", ".join(f"{n} in {name!r}" for name, n in empty.most_common(3))
        more = "" if len(empty) <= 3 else f" and {len(empty) - 3} more files"
        warn(
            f"{empty.total()} empty spectra are dropped, of which no pixel was seen: {where}{more}; rows "
            "says which are kept.",
            UnusedDataWarning,
        )
    if unused:
        entries = [
            name if n == 1 else f"{name} ({n} times)" for name, n in unused.most_common(_MOST_NAMED)
        ]
        more = "" if len(unused) <= _MOST_NAMED else f" and {len(unused) - _MOST_NAMED} more"
        warn(
            f"Left unused: {', '.join(entries)}{more}. column= and hdu= choose others.",
            UnusedDataWarning,
        )


_READERS = {
    ".csv": read_text,
    ".tsv": read_text,
    ".txt": read_text,
    ".dat": read_text,
    ".asc": read_text,
    ".ascii": read_text,
    ".ecsv": read_text,
    ".npy": read_npy,
    ".fits": read_fits,
    ".fits.gz": read_fits,
    ".fit": read_fits,
    ".fit.gz": read_fits,
}
