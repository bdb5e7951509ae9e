"""Spectra in FITS files: tables and images with their siblings, and the grids that headers describe.

Layouts of surveys that names alone do not tell are in ``_survey_files``.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from skae.datasets._spectra_parts import (
    ERROR,
    FLAGS,
    FLUX,
    GRID,
    Reading,
    is_log,
    kind_of_errors,
    linear,
    spectra_of,
)  # fmt: skip

# Kinds of errors that astropy's CCDData writes.
_UTYPES = {
    "StdDevUncertainty": "error",
    "VarianceUncertainty": "variance",
    "InverseVariance": "ivar",
}

# Telescopes whose reduced spectra lie on wavelengths in vacuum, as their data models say.
_IN_VACUUM = ("SDSS 2.5-M", "LAMOST", "JWST", "DESI")

# Grids that a header does not hold: in tables, in polynomials, behind prisms and gratings.
_ELSEWHERE = ("-TAB", "-GRI", "-GRA", "-LUT")


# What headers call axes of spectra, and of the sky (Greisen et al., 2006; Calabretta & Greisen, 2002).
_SPECTRAL = ("WAVE", "AWAV", "FREQ", "ENER", "WAVN", "VRAD", "VOPT", "ZOPT", "VELO", "LAMBDA")
_CELESTIAL = ("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT")

# Kinds of decadic logarithms beside those of IRAF's DC-FLAG: the latter is APOGEE's.
_DECADIC = ("LOGLAM", "LOG-LINEAR")

# What tables of JWST call the errors of a surface brightness.
_ERRORS_OF = {"surf_bright": ["sb_error"]}


class Columns(NamedTuple):
    """A table: names of columns, how they are read, and their units."""

    names: Sequence[str]
    read: Callable[[str], np.ndarray]
    unit: Callable[[str], str | None]


def has_data(unit: Any) -> bool:
    """Whether there are numbers in a unit, without reading them."""
    return unit.header.get("NAXIS", 0) > 0 and all(
        unit.header.get(f"NAXIS{k + 1}", 0) for k in range(unit.header["NAXIS"])
    )


def is_table(unit: Any) -> bool:
    """Whether a unit is a table, and no image, compressed or not."""
    return not unit.is_image and hasattr(unit, "columns")


# -- tables ------------------------------------------------------------------------------------------


def holds(unit: Any, names: Sequence[str]) -> bool:
    """Whether a table has a column of one of these names."""
    return any(name.lower() in names for name in unit.columns.names)


def columns_of(unit: Any) -> Columns:
    """Describe a table, whose integers may have a number for those that are missing (TNULL)."""

    def read(name: str) -> np.ndarray:
        values, null = unit.data[name], unit.columns[name].null
        if values.dtype == object:
            return _padded(values)
        if null is None or null == "":
            return np.asarray(values)
        stored = unit.data.view(np.ndarray)[name]
        # in an ASCII table the null is a word, which astropy has made a zero of
        stored = np.char.strip(stored.astype(str)) if stored.dtype.kind == "S" else stored
        null = null.strip() if isinstance(null, str) else null
        return np.where(stored == null, np.nan, np.asarray(values, dtype=np.float64))

    return Columns(
        unit.columns.names, read, lambda name: (unit.columns[name].unit or "").strip() or None
    )


def _padded(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of different lengths, NaN behind their ends."""
    rows = np.full((len(vectors), max(map(len, vectors), default=0)), np.nan)
    for row, vector in zip(rows, vectors, strict=True):
        row[: len(vector)] = vector
    return rows


def read_table_unit(units: Any, unit: Any, reading: Reading, used: list[Any], **said: Any) -> Bunch:
    """Read the spectra of a table: a row for each bin, or a vector for each spectrum."""
    used.append(unit)
    headers = [unit.header, units[0].header]
    said = {"medium": medium_of(headers), **said}
    spectra = from_columns(columns_of(unit), reading, **said)
    if spectra.unit is None:
        spectra.unit = _bunit(*headers)
    return spectra


def from_columns(columns: Columns, reading: Reading, **said: Any) -> Bunch:
    """Make spectra of the columns of a table, which are found by their names."""
    names = {name.lower(): name for name in columns.names}

    def find(wanted: Sequence[str]) -> str | None:
        return next((word for word in wanted if word in names), None)

    flux = reading.column.lower() if reading.column is not None else find(FLUX)
    if flux not in names:
        raise ValueError(
            f"it has no column {reading.column or 'flux'!r}, only {list(names.values())}; set column="
        )
    own = [f"{flux}_{word}" for word in ERROR] + [f"e_{flux}"] + _ERRORS_OF.get(flux, [])
    # "ivar" is of the column "flux" where there is one, and not of a model beside it
    is_main = find(FLUX) in (None, flux)
    grid, error, flag = find(GRID), find([*own, *ERROR] if is_main else own), find(FLAGS)
    taken = [word for word in (flux, grid, error, flag) if word is not None]

    def read(word: str | None) -> np.ndarray | None:
        # one row a bin makes one spectrum, one vector a row makes many
        return None if word is None else np.atleast_2d(columns.read(names[word]))

    said = {
        "unit": columns.unit(names[flux]),
        "wavelength_unit": None if grid is None else _unit_of_grid(grid, columns.unit(names[grid])),
        **said,
    }
    kind = "error" if error is None else kind_of_errors(error)
    return spectra_of(
        read(flux), None if grid is None else linear(grid, read(grid)), read(error),
        _integers(read(flag)), kind=kind, mask=reading.mask,
        unused=[f"column {name!r}" for word, name in names.items() if word not in taken], **said,
    )  # fmt: skip


def _integers(flags: np.ndarray | None) -> np.ndarray | None:
    return None if flags is None else np.nan_to_num(flags).astype(np.int64)


def _unit_of_grid(name: str, unit: str | None) -> str | None:
    if unit is not None and unit.lower().startswith("log"):
        unit = unit.partition("(")[2].rstrip(")") or None
    return unit or ("Angstrom" if is_log(name) else None)


# -- images ------------------------------------------------------------------------------------------


def read_image(units: Any, unit: Any, reading: Reading, used: list[Any], **said: Any) -> Bunch:
    """Read an image of spectra, with those of errors, flags and wavelengths that stand beside it."""
    reading = reading._replace(orient=reading.orient or _orient_of(unit.header))
    data = _rows(unit, reading)
    axis = 2 if reading.orient == "columns" and unit.header["NAXIS"] > 1 else 1
    error = _sibling(units, unit, ERROR)
    flags, grid = _sibling(units, unit, FLAGS), _sibling(units, unit, GRID)
    used += [one for one in (unit, error, flags, grid) if one is not None]
    headers = [unit.header, units[0].header]
    if grid is not None:
        word = _word_of(grid)
        wavelengths = linear(word, grid.data if grid.data.ndim == 1 else _rows(grid, reading))
        wavelength_unit = _unit_of_grid(word, _bunit(grid.header))
        said = {"medium": medium_of([grid.header, *headers]), **said}
    else:
        wavelengths = grid_of(unit.header, axis)
        wavelength_unit = unit_of_grid(unit.header, axis)
    kind = "error" if error is None else _kind_of_unit(error)
    return spectra_of(
        data, wavelengths, None if error is None else _rows(error, reading),
        None if flags is None else _integers(_rows(flags, reading)), kind=kind, mask=reading.mask,
        **{
            "medium": medium_of(headers, axis), "unit": _bunit(unit.header),
            "wavelength_unit": wavelength_unit, **said,
        },
    )  # fmt: skip


def _orient_of(header: Any) -> str:
    """Return how spectra lie in an image: in rows, unless its header calls the other axis spectral."""
    kinds = [str(header.get(f"CTYPE{axis}", "")).upper().partition("-")[0] for axis in (1, 2)]
    if not any(kind in _SPECTRAL for kind in kinds) and any(kind in _CELESTIAL for kind in kinds):
        raise ValueError(
            f"its axes are of CTYPE {kinds}: an image of the sky, no spectra; orient='rows' reads it all "
            "the same"
        )
    return "columns" if kinds[1] in _SPECTRAL and kinds[0] not in _SPECTRAL else "rows"


def _rows(unit: Any, reading: Reading) -> np.ndarray:
    """Return an image with a spectrum in each row."""
    data = np.atleast_2d(unit.data)
    while data.ndim > 2 and data.shape[0] == 1:
        data = data[0]
    if data.ndim != 2:
        raise ValueError(
            f"the image in HDU {unit.name!r} has shape {data.shape}, not (n_samples, n_bins): take the "
            "spectra out of it, and pass the array to the estimator"
        )
    return data.T if reading.orient == "columns" else data


def name_of(unit: Any) -> tuple[str, str]:
    """Return what stands before the word in a unit's name, and the word: ("b_", "flux")."""
    name = unit.name.lower()
    name = "" if name == "primary" else name
    head, _, last = name.rpartition("_")
    known = (*FLUX, *ERROR, *FLAGS, *GRID)
    return ("", name) if name in known or last not in known else (f"{head}_", last)


def _kind_of_unit(unit: Any) -> str:
    return _UTYPES.get(unit.header.get("UTYPE")) or kind_of_errors(_word_of(unit))


def _word_of(unit: Any) -> str:
    return name_of(unit)[1]


def _sibling(units: Any, unit: Any, words: Sequence[str]) -> Any:
    """Return the unit that has one of these names, and belongs to an image."""
    prefix, _ = name_of(unit)
    n_bins = unit.header["NAXIS1"], unit.header.get("NAXIS2")
    for word in words:
        for other in units:
            is_own = other.name.lower() == prefix + word and other.ver == unit.ver
            if other is unit or not is_own or not has_data(other) or not other.is_image:
                continue
            is_grid = words is GRID and other.header["NAXIS"] == 1
            if _shape(other) == _shape(unit) or (is_grid and other.header["NAXIS1"] in n_bins):
                return other
    return None


def _shape(unit: Any) -> list[int]:
    return [unit.header[f"NAXIS{k + 1}"] for k in range(unit.header["NAXIS"])]


# -- headers -----------------------------------------------------------------------------------------


def grid_of(header: Any, axis: int) -> np.ndarray | None:
    """Return the grid along an axis of an image, as its header describes it (Greisen et al., 2006)."""
    kind = str(header.get(f"CTYPE{axis}", "")).upper().strip()
    if kind.endswith(_ELSEWHERE) or kind.startswith("MULTISPE"):
        raise ValueError(
            f"its grid is of CTYPE{axis}={kind!r}, which is not read: write wavelengths in a unit "
            "WAVELENGTH beside the image, or on a linear or logarithmic grid"
        )
    n_pixels = header[f"NAXIS{axis}"]
    if axis == 1 and "COEFF0" in header and "COEFF1" in header:
        return 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(n_pixels))
    step = header.get(f"CDELT{axis}", header.get(f"CD{axis}_{axis}"))
    if step is None or f"CRVAL{axis}" not in header:
        return None
    pixel = np.arange(1, n_pixels + 1)
    first = header[f"CRVAL{axis}"]
    grid = first + (pixel - header.get(f"CRPIX{axis}", 1.0)) * step
    if kind.endswith("-LOG"):  # evenly spaced in the natural logarithm
        return first * np.exp((grid - first) / first)
    is_decadic = header.get("DC-FLAG", 0) == 1 or "LOG10" in kind or kind in _DECADIC
    return 10.0**grid if is_decadic else grid


def unit_of_grid(header: Any, axis: int) -> str | None:
    """Return the unit of the grid along an axis, None where a header says none."""
    unit = str(header.get(f"CUNIT{axis}", "")).strip() or None
    return _unit_of_grid("loglam" if axis == 1 and "COEFF0" in header else "", unit)


def medium_of(headers: Sequence[Any], axis: int = 1) -> str | None:
    """Return what wavelengths are of, "air" or "vacuum", where a header says so."""
    for header in headers:
        said = str(header.get("AIRORVAC", "")).strip().lower()
        if said[:3] in ("air", "vac"):
            return "air" if said.startswith("air") else "vacuum"
        if isinstance(header.get("VACUUM"), (bool, int, np.bool_)):
            return "vacuum" if header["VACUUM"] else "air"
        kind = str(header.get(f"CTYPE{axis}", "")).upper()
        if kind[:4] in ("AWAV", "WAVE") and (len(kind.strip()) == 4 or kind[4] == "-"):
            return "air" if kind.startswith("AWAV") else "vacuum"
    telescopes = [str(header.get("TELESCOP", "")).strip() for header in headers]
    return "vacuum" if any(name in _IN_VACUUM for name in telescopes) else None


def _bunit(*headers: Any) -> str | None:
    units = (str(header.get("BUNIT", "")).strip() for header in headers)
    return next((unit for unit in units if unit), None)
