"""Spectra from files: CSV, NPY and FITS, with their grid and errors where the file has them."""

from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

# Names under which tables keep what is needed, in lower case.
_FLUX = ("flux", "flux_density", "counts", "intensity", "spec", "spectrum")
_GRID = ("wavelength", "wave", "lambda", "lam", "loglam", "energy", "frequency", "time", "tau")
_ERROR = ("error", "err", "sigma", "flux_error", "flux_err", "uncertainty", "ivar")


@validate_params(
    {
        "path": [str, Path],
        "orient": [StrOptions({"rows", "columns"})],
        "column": [str, None],
        "hdu": [Integral, str, None],
    },
    prefer_skip_nested_validation=True,
)
def load_spectra(path, *, orient="rows", column=None, hdu=None):
    r"""Read spectra from a CSV, NPY or FITS file.

    Parameters
    ----------
    path : str or Path
        A .csv or .txt table; an .npy array of shape (n_samples, n_bins); a .fits file, or .fits.gz, with
        an image of that shape, or with a table that has a row for each bin, or a vector for each spectrum
        (needs astropy).
    orient : {"rows", "columns"}, default="rows"
        How a CSV file or an array lies: a spectrum in each row, or in each column. In columns the
        first one is the grid, if its name says so ("wavelength", "loglam", "energy", "time", …) or,
        without names, if it rises or falls throughout. In rows names that are numbers are the grid.
    column : str, default=None
        Name of the fluxes in a FITS table; None looks for "flux", "counts" and the like.
    hdu : int or str, default=None
        Which unit of the FITS file; None takes the first with data.

    Returns
    -------
    spectra : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        data : ndarray of shape (n_samples, n_bins)
            Spectra, as floats. NaN where a file has no number, or a weight of zero: use
            ``SpectraVAE(missing="mask")``.
        wavelengths : ndarray of shape (n_bins,) or None
            The grid, in the file's unit; "loglam" is brought from its logarithm.
        errors : ndarray of shape (n_samples, n_bins) or None
            Standard deviations; "ivar" is brought from inverse variances.

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
    name = path.name.lower()
    kind = next((suffix for suffix in _READERS if name.endswith(suffix)), None)
    if kind is None:
        raise ValueError(
            f"path={str(path)!r} is of no known kind; known are {', '.join(_READERS)}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r} is not a file.")
    try:
        spectra = _READERS[kind](path, orient, column, hdu)
        if spectra.data.ndim != 2 or spectra.data.size == 0:
            raise ValueError(f"its shape is {spectra.data.shape}, not (n_samples, n_bins)")
    except ImportError as error:
        raise ImportError(f"Reading {kind} files needs astropy; pip install astropy.") from error
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"path={str(path)!r} cannot be read as spectra from a {kind} file: {error}"
        ) from error
    return spectra


def _bunch(data: Any, wavelengths: Any = None, errors: Any = None) -> Bunch:
    parts = {"data": data, "wavelengths": wavelengths, "errors": errors}
    return Bunch(
        **{
            name: None if part is None else np.array(part, dtype=np.float64)
            for name, part in parts.items()
        }
    )


def _read_npy(path: Path, orient: str, column: str | None, hdu: Any) -> Bunch:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2:
        raise ValueError(f"its shape is {array.shape}, not (n_samples, n_bins)")
    return _by_columns(array) if orient == "columns" else _bunch(array)


def _read_text(path: Path, orient: str, column: str | None, hdu: Any) -> Bunch:
    with open(path, encoding="utf-8") as lines:
        first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    words = [word.strip().strip("\"'") for word in _split(first)]
    separator = "," if "," in first else r"\s+"
    numbers = _as_numbers(words)
    options: dict[str, Any] = {"sep": separator, "comment": "#", "skipinitialspace": True}
    if orient == "columns":
        table = pd.read_csv(path, header=None if numbers is not None else 0, **options)
        return _by_columns(table.to_numpy(dtype=np.float64), None if numbers is not None else words)
    # a line of names, or of wavelengths: these rise or fall, and no spectrum of many bins does
    is_grid = numbers is not None and len(numbers) > 2 and _is_monotonic(numbers)
    header = 0 if numbers is None or is_grid else None
    table = pd.read_csv(path, header=header, **options).to_numpy(dtype=np.float64)
    return _bunch(table, numbers if is_grid else None)


def _split(line: str) -> list[str]:
    return line.split(",") if "," in line else line.split()


def _as_numbers(words: list[str]) -> np.ndarray | None:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return None


def _is_monotonic(grid: np.ndarray) -> bool:
    steps = np.diff(grid)
    return bool((steps > 0).all() or (steps < 0).all())


def _by_columns(table: np.ndarray, names: list[str] | None = None) -> Bunch:
    """Spectra in columns; the first column may be their grid."""
    has_grid = _is_monotonic(table[:, 0]) if names is None else names[0].lower() in _GRID
    if not has_grid:
        return _bunch(table.T)
    grid = _linear(names[0], table[:, 0]) if names else table[:, 0]
    return _bunch(table[:, 1:].T, grid)


def _linear(name: str, grid: np.ndarray) -> np.ndarray:
    return 10.0**grid if name.lower() == "loglam" else grid


def _read_fits(path: Path, orient: str, column: str | None, hdu: Any) -> Bunch:
    from astropy.io import fits

    with fits.open(path, memmap=False) as units:
        if hdu is not None:
            unit = units[hdu]
        else:
            unit = next((unit for unit in units if unit.data is not None), None)
        if unit is None or unit.data is None:
            raise ValueError("it holds no data" + ("" if hdu is None else f" in hdu={hdu!r}"))
        if unit.data.dtype.names is None:
            data = np.atleast_2d(np.asarray(unit.data, dtype=np.float64))
            return _bunch(data.T if orient == "columns" else data, _grid_of(unit.header))
        return _from_table(unit.data, column)


def _grid_of(header: Any) -> np.ndarray | None:
    """The linear grid along the first axis of an image, as its header describes it."""
    step = header.get("CDELT1", header.get("CD1_1"))
    if step is None or "CRVAL1" not in header:
        return None
    pixel = np.arange(1, header["NAXIS1"] + 1)
    grid = header["CRVAL1"] + (pixel - header.get("CRPIX1", 1.0)) * step
    is_logarithmic = header.get("DC-FLAG", 0) == 1 or "LOG" in str(header.get("CTYPE1", "")).upper()
    return 10.0**grid if is_logarithmic else grid


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
        return np.atleast_2d(np.array(table[names[name]], dtype=np.float64))

    data, grid, error = read(flux), find(_GRID), find(_ERROR)
    wavelengths = None if grid is None else _linear(grid, read(grid)[0])
    errors = None if error is None else read(error)
    if error == "ivar":
        with np.errstate(divide="ignore"):
            errors = 1.0 / np.sqrt(errors)
        data = np.where(np.isfinite(errors), data, np.nan)
    return _bunch(data, wavelengths, errors)


_READERS = {
    ".csv": _read_text,
    ".txt": _read_text,
    ".npy": _read_npy,
    ".fits": _read_fits,
    ".fits.gz": _read_fits,
    ".fit": _read_fits,
}
