"""Spectra from files: CSV, NPY and FITS, with their grid and errors where the file has them."""

import re
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skae._parameters import arguments
from skae._sklearn import StrOptions
from skae.datasets._binary import check_fits, check_fits_rows, map_npy, real_numbers
from skae.datasets._files import kind_of, reading
from skae.datasets._text import DECIMAL, read_table

# Names under which tables keep what is needed, in lower case.
_FLUX = ("flux", "flux_density", "counts", "intensity", "spec", "spectrum")
_GRID = ("wavelength", "wave", "lambda", "lam", "loglam", "energy", "frequency", "time", "tau")
_ERROR = ("error", "err", "sigma", "flux_error", "flux_err", "uncertainty", "ivar")


@arguments(
    path=[str, Path],
    orient=StrOptions({"rows", "columns"}),
    grid=["boolean", None],
    column=[str, None],
    hdu=[Integral, str, None],
    decimal=DECIMAL,
)
def load_spectra(path, *, orient="rows", grid=None, column=None, hdu=None, decimal=None):
    r"""Read spectra from a CSV, NPY or FITS file.

    Parameters
    ----------
    path : str or Path
        A .csv or .txt table, separated by commas, semicolons, tabs or spaces, with names in the line or
        the comment before its numbers, or without; an .npy array of shape (n_samples, n_bins); a .fits
        file, or .fits.gz, with an image of that shape, or with a table that has a row for each bin, or a
        vector for each spectrum (needs astropy: the extra ``spectra``). Rows and columns without any
        entry at the end of a text file are left out.
    orient : {"rows", "columns"}, default="rows"
        How a text file, an array or an image lies: a spectrum in each row, or in each column.
    grid : bool, default=None
        Whether the first column (``orient="columns"``), or line (``orient="rows"``), is the grid.
        None looks at the names of a text file: a first column called "wavelength", "loglam",
        "energy", "time" or the like is the grid, and so are names in a table with an index, as pandas
        writes it, if all are numbers. Without names nothing is taken for a grid.
    column : str, default=None
        Name of the fluxes in a FITS table; None looks for "flux", "counts" and the like.
    hdu : int or str, default=None
        Which unit of the FITS file; None takes the first with data.
    decimal : {".", ","}, default=None
        The decimal sign of a text file. None finds it, and refuses a file that could be read in two ways.

    Returns
    -------
    spectra : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        data : ndarray of shape (n_samples, n_bins)
            Spectra, as floats. NaN where a file has no number, or an error that is none: use
            ``SpectraVAE(missing="mask")``.
        wavelengths : ndarray of shape (n_bins,) or None
            The grid, in the file's unit; "loglam" is brought from its logarithm.
        errors : ndarray of shape (n_samples, n_bins) or None
            Standard deviations, from columns called "error", "sigma" or the like; "ivar" is brought
            from inverse variances. ``SpectraVAE`` takes one for each bin, their rms over the spectra say:
            ``noise_sigma=np.sqrt(np.nanmean(errors**2, axis=0))``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, or holds no spectra.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from skae.datasets import load_spectra
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "spectra.csv")
    ...     _ = file.write_text("wavelength,first,second\n400,1,4\n500,2,5\n600,3,6\n")
    ...     spectra = load_spectra(file, orient="columns")
    >>> spectra.data
    array([[1., 2., 3.],
           [4., 5., 6.]])
    >>> spectra.wavelengths
    array([400., 500., 600.])
    """
    path = Path(path)
    kind = kind_of(path, _READERS)
    with reading(path, f"spectra from a {kind} file"):
        spectra = _READERS[kind](path, orient, grid, column, hdu, decimal)
        if spectra.data.ndim != 2 or spectra.data.size == 0:
            raise ValueError(f"its shape is {spectra.data.shape}, not (n_samples, n_bins)")
    return spectra


def _bunch(data: Any, wavelengths: Any = None, errors: Any = None) -> Bunch:
    def floats(part: Any) -> np.ndarray | None:
        return None if part is None else np.array(real_numbers(part), dtype=np.float64)

    spectra = Bunch(data=floats(data), wavelengths=floats(wavelengths), errors=floats(errors))
    if errors is not None:
        is_none = ~((spectra.errors > 0) & np.isfinite(spectra.errors))
        spectra.data[is_none] = np.nan
    return spectra


def _as_errors(name: str, values: np.ndarray) -> np.ndarray:
    """Return standard deviations from what a file calls its errors; infinite where nothing is known."""
    if _word(name) != "ivar":
        return values
    return np.where(values > 0, 1.0 / np.sqrt(np.where(values > 0, values, 1.0)), np.inf)


def _word(name: str) -> str:
    """The word that a name begins with: "wavelength" of "Wavelength (nm)"."""
    match = re.match(r"[a-z_]*[a-z]", name.strip().lower())
    whole = match.group() if match else ""
    return whole if whole in (*_GRID, *_ERROR, *_FLUX) else whole.split("_")[0]


def _read_npy(
    path: Path, orient: str, grid: bool | None, column: str | None, hdu: Any, decimal: str | None
) -> Bunch:
    array = map_npy(path)
    if array.ndim != 2:
        raise ValueError(f"its shape is {array.shape}, not (n_samples, n_bins)")
    return _from_array(array, None, orient, grid)


def _read_text(
    path: Path, orient: str, grid: bool | None, column: str | None, hdu: Any, decimal: str | None
) -> Bunch:
    import pandas as pd

    table = read_table(path, decimal=decimal)
    names, array = table.names or table.remark, table.values
    # pandas writes an index without a name; over it a line of numbers is the grid
    is_unnamed = np.isnan(array[0, 0]) if names is None else names[0] in ("", "index")
    body = array[1:] if names is None else array
    if is_unnamed and len(body) and np.array_equal(body[:, 0], np.arange(len(body))):
        names = [f"{x:.17g}" for x in array[0, 1:]] if names is None else names[1:]
        array = body[:, 1:]
        numbers = pd.to_numeric(names, errors="coerce")
        if grid is None and orient == "rows" and np.isfinite(numbers).all():
            return _bunch(array, numbers)
    return _from_array(array, names, orient, grid)


def _from_array(
    table: np.ndarray, names: list[str] | None, orient: str, grid: bool | None
) -> Bunch:
    """Spectra in rows or in columns, of which the first may be their grid."""
    if orient == "rows":
        return _bunch(table[1:], table[0]) if grid else _bunch(table)
    names = [""] * table.shape[1] if names is None else names
    wavelengths = None
    if grid or (grid is None and _word(names[0]) in _GRID):
        wavelengths = _linear(names[0], table[:, 0])
        names, table = names[1:], table[:, 1:]
    is_error = np.array([_word(name) in _ERROR for name in names])
    if not is_error.any():
        return _bunch(table.T, wavelengths)
    if is_error.sum() * 2 != len(names):
        raise ValueError(
            f"it has {is_error.sum()} columns of errors for {(~is_error).sum()} spectra: {names}"
        )
    errors = [_as_errors(names[j], table[:, j]) for j in np.flatnonzero(is_error)]
    return _bunch(table.T[~is_error], wavelengths, errors)


def _linear(name: str, grid: np.ndarray) -> np.ndarray:
    return 10.0**grid if _word(name) == "loglam" else grid


def _read_fits(
    path: Path, orient: str, grid: bool | None, column: str | None, hdu: Any, decimal: str | None
) -> Bunch:
    from astropy.io import fits

    check_fits(path)
    with fits.open(path, memmap=False) as units:
        for unit in units:
            check_fits_rows(unit)
        with_data = (unit for unit in units if unit.data is not None)
        unit = next(with_data, None) if hdu is None else units[hdu]
        if unit is None or unit.data is None:
            raise ValueError("it holds no data" + ("" if hdu is None else f" in hdu={hdu!r}"))
        if unit.data.dtype.names is not None:
            return _from_table(unit.data, column)
        data = np.atleast_2d(unit.data)
        if orient == "columns":
            return _bunch(data.T, _grid_of(unit.header, 2))
        return _bunch(data, _grid_of(unit.header, 1))


def _grid_of(header: Any, axis: int) -> np.ndarray | None:
    """The grid along an axis of an image, as its header describes it (Greisen et al., 2006)."""
    step = header.get(f"CDELT{axis}", header.get(f"CD{axis}_{axis}"))
    if step is None or f"CRVAL{axis}" not in header:
        return None
    pixel = np.arange(1, header[f"NAXIS{axis}"] + 1)
    first = header[f"CRVAL{axis}"]
    grid = first + (pixel - header.get(f"CRPIX{axis}", 1.0)) * step
    kind = str(header.get(f"CTYPE{axis}", "")).upper()
    if kind.endswith("-LOG"):  # evenly spaced in the natural logarithm
        return first * np.exp((grid - first) / first)
    is_decadic = header.get("DC-FLAG", 0) == 1 or "LOG10" in kind or kind == "LOGLAM"
    return 10.0**grid if is_decadic else grid


def _from_table(table: Any, column: str | None) -> Bunch:
    names = {name.lower(): name for name in table.dtype.names}

    def find(wanted: tuple[str, ...]) -> str | None:
        return next((word for word in wanted if word in names), None)

    flux = column.lower() if column is not None else find(_FLUX)
    if flux not in names:
        raise ValueError(
            f"it has no column {column or 'flux'!r}, only {list(names.values())}; set column="
        )

    def read(name: str) -> np.ndarray:
        # one row a bin makes one spectrum, one vector a row makes many
        numbers = real_numbers(table[names[name]])
        return np.atleast_2d(np.array(numbers, dtype=np.float64))

    grid, error = find(_GRID), find(_ERROR)
    if grid is not None and not (read(grid) == read(grid)[0]).all():
        raise ValueError(
            f"its spectra lie on grids of their own ({names[grid]}); bring them to one, with "
            "numpy.interp say"
        )
    wavelengths = None if grid is None else _linear(grid, read(grid)[0])
    errors = None if error is None else _as_errors(error, read(error))
    return _bunch(read(flux), wavelengths, errors)


_READERS = {
    ".csv": _read_text,
    ".txt": _read_text,
    ".npy": _read_npy,
    ".fits": _read_fits,
    ".fits.gz": _read_fits,
    ".fit": _read_fits,
}
