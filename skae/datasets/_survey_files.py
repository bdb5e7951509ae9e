"""Layouts of surveys' FITS files that the names of tables and images alone do not tell.

A layout takes the open file and returns its spectra, or None where the file is another one.

- SDSS: ``spec`` and ``spec-lite`` (a table COADD, redshift in SPECOBJ), ``spPlate`` (a plate of fibres in
  images without names), ``spSpec`` (five rows of an image).
- LAMOST: five rows of an image, or a table COADD.
- DESI: ``coadd`` and ``spectra``, images of three arms and a table FIBERMAP.
- JWST: ``x1d`` and ``c1d``, a table for each target, order and exposure.
"""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skae.datasets._binary import check_fits, check_fits_rows
from skae.datasets._spectra_fits import (
    grid_of,
    has_data,
    holds,
    is_table,
    name_of,
    read_image,
    read_table_unit,
)  # fmt: skip
from skae.datasets._spectra_parts import FLUX, Reading, join_arms, spectra_of

_FLUX_UNITS = ("flux", "sci")


def read_fits(path: Path, reading: Reading) -> list[Bunch]:
    """Read all spectra of a FITS file, in parts that have a grid each."""
    from astropy.io import fits

    check_fits(path)
    with fits.open(path, memmap=False) as units:
        for unit in units:
            check_fits_rows(unit)
        used: list[Any] = []
        layouts = (_five_rows, _plate, _tables, _images) if reading.hdu is None else (_images,)
        tries = (layout(units, reading, used) for layout in layouts)
        parts = next((found for found in tries if found is not None), None)
        if parts is None:
            parts = [_read_unit(units, reading, used)]
        left = [
            f"HDU {unit.name or number!r}"
            for number, unit in enumerate(units)
            if has_data(unit) and not any(unit is other for other in used)
        ]
        parts[0].unused = [*parts[0].unused, *left]
    return parts


def _read_unit(units: Any, reading: Reading, used: list[Any]) -> Bunch:
    """Read what is in one unit, and in those beside it that belong to it."""
    with_data = [unit for unit in units if has_data(unit)]
    names = FLUX if reading.column is None else (reading.column.lower(),)
    with_flux = (unit for unit in with_data if not is_table(unit) or holds(unit, names))
    first = next(with_flux, with_data[0] if with_data else None)
    unit = first if reading.hdu is None else units[reading.hdu]
    if unit is None or not has_data(unit):
        hdu = reading.hdu
        raise ValueError("it holds no data" + ("" if hdu is None else f" in hdu={hdu!r}"))
    return read_table_unit(units, unit, reading, used) if is_table(unit) else read_image(
        units, unit, reading, used
    )  # fmt: skip


def _five_rows(units: Any, reading: Reading, used: list[Any]) -> list[Bunch] | None:
    """Spectra of LAMOST until DR7, and SDSS's spSpec: rows of one image are parts of one spectrum."""
    unit, header = units[0], units[0].header
    telescope = str(header.get("TELESCOP", "")).strip()
    is_lamost, is_sdss = telescope == "LAMOST", telescope == "SDSS 2.5-M"
    if header.get("NAXIS") != 2 or header["NAXIS2"] != 5 or not (is_lamost or is_sdss):
        return None
    if is_sdss and header.get("FIBERID", 0) <= 0:
        return None
    used.append(unit)
    data = np.asarray(unit.data, dtype=np.float64)
    unused = ["row 5 (ormask)"]
    if is_sdss:  # flux, flux less its continuum, errors, mask, sky
        wavelengths, errors, kind = _decadic(header), data[2], "error"
        unused = ["row 2 (flux without continuum)", "row 5"]
    else:  # flux, inverse variance, wavelengths, masks; the pilot survey has no wavelengths
        wavelengths, errors, kind = data[2], data[1], "ivar"
        if not (np.diff(data[2]) > 0).all():
            wavelengths = grid_of(header, 1)
            unused.insert(0, "row 3 (flux without continuum)")
    return [
        spectra_of(
            data[:1], wavelengths, errors, data[3].astype(np.int64), kind=kind, mask=reading.mask,
            unused=unused, medium="vacuum", wavelength_unit="Angstrom",
            unit=str(header.get("BUNIT", "")).strip() or None, **_target_of(units, used),
        )
    ]  # fmt: skip


def _decadic(header: Any) -> np.ndarray | None:
    """Return the grid of spSpec files, which is of decadic logarithms, said or not."""
    grid = grid_of(header, 1)
    return 10.0**grid if grid is not None and grid.max() < 10 else grid


def _plate(units: Any, reading: Reading, used: list[Any]) -> list[Bunch] | None:
    """Spectra of one of SDSS's plates: images of fluxes, ivar, masks, dispersion, and PLUGMAP."""
    header = units[0].header
    if header.get("NAXIS") != 2 or "COEFF0" not in header or len(units) < 4:
        return None
    shape = header["NAXIS1"], header["NAXIS2"]
    if any(
        not one.is_image or (one.header.get("NAXIS1"), one.header.get("NAXIS2")) != shape
        for one in units[1:4]
    ):
        return None
    used += units[:3]
    fibres = next(
        (one for one in units if is_table(one) and one.header["NAXIS2"] == shape[1]), None
    )
    ids = None
    if fibres is not None and "FIBERID" in fibres.columns.names:
        used.append(fibres)
        ids = [_sdss_id(header, fibre) for fibre in fibres.data["FIBERID"]]
    return [
        spectra_of(
            units[0].data, grid_of(header, 1), units[1].data, units[2].data, kind="ivar",
            mask=reading.mask, ids=ids, medium="vacuum", wavelength_unit="Angstrom",
            unit=str(header.get("BUNIT", "")).strip() or None,
        )
    ]  # fmt: skip


def _sdss_id(header: Any, fibre: int) -> str:
    return f"{header.get('PLATEID', 0):04d}-{header.get('MJD', 0)}-{fibre:04d}"


def _images(units: Any, reading: Reading, used: list[Any]) -> list[Bunch] | None:
    """Spectra of images called FLUX or SCI; those of arms, B_FLUX and the like, are joined."""
    fluxes = [
        unit
        for unit in units
        if name_of(unit)[1] in _FLUX_UNITS and has_data(unit) and unit.is_image
    ]
    if reading.hdu is not None:
        fluxes = [unit for unit in fluxes if unit is units[reading.hdu]]
    if not fluxes:
        return None
    said = _fibres_of(units, fluxes[0], used)
    parts = [read_image(units, unit, reading, used, **said) for unit in fluxes]
    is_of_arms = len({name_of(unit)[0] for unit in fluxes}) == len(parts)
    return [join_arms(parts)] if is_of_arms else parts


def _fibres_of(units: Any, flux: Any, used: list[Any]) -> dict[str, Any]:
    """Return the targets of DESI's fibres, whose wavelengths are those of vacuum."""
    fibres = next((unit for unit in units if unit.name.upper() == "FIBERMAP"), None)
    if fibres is None or not is_table(fibres) or "TARGETID" not in fibres.columns.names:
        return {}
    if fibres.header["NAXIS2"] != flux.header.get("NAXIS2"):
        raise ValueError(f"its FIBERMAP has {fibres.header['NAXIS2']} rows, its fluxes other ones")
    used.append(fibres)
    return {"ids": np.asarray(fibres.data["TARGETID"], dtype=np.int64), "medium": "vacuum"}


def _tables(units: Any, reading: Reading, used: list[Any]) -> list[Bunch] | None:
    """Spectra of tables called COADD (SDSS, LAMOST; of two arms), EXTRACT1D or COMBINE1D (JWST)."""
    found = [unit for unit in units if is_table(unit) and has_data(unit)]
    coadds = [u for u in found if u.name.upper() in ("COADD", "COADD_B", "COADD_R")]
    if coadds:
        said = _target_of(units, used)
        return [join_arms([read_table_unit(units, u, reading, used, **said) for u in coadds])]
    extracted = [u for u in found if u.name.upper() in ("EXTRACT1D", "COMBINE1D")]
    return [_extracted(units, unit, reading, used) for unit in extracted] or None


def _extracted(units: Any, unit: Any, reading: Reading, used: list[Any]) -> Bunch:
    """Read a table of JWST's, in flux, or in surface brightness where the source is extended."""
    kind = str(unit.header.get("SRCTYPE", units[0].header.get("SRCTYPE", ""))).strip()
    if reading.column is None and kind == "EXTENDED" and "SURF_BRIGHT" in unit.columns.names:
        reading = reading._replace(column="SURF_BRIGHT")
    spectra = read_table_unit(units, unit, reading, used, medium="vacuum")
    target = unit.header.get("SOURCEID", units[0].header.get("TARGNAME"))
    if "SOURCE_ID" in unit.columns.names:  # a row for each source, of slitless spectra
        spectra.ids = np.asarray(unit.data["SOURCE_ID"])
    elif len(spectra.data) == 1 and target is not None:
        spectra.ids = np.array([str(target).strip()])
    return spectra


def _target_of(units: Any, used: list[Any]) -> dict[str, Any]:
    """Return the target of a file of one spectrum, and its redshift, as far as they are said."""
    header = units[0].header
    telescope = str(header.get("TELESCOP", "")).strip()
    ids, redshifts = None, None
    if "FIBERID" in header and "PLATEID" in header:
        ids = [_sdss_id(header, header["FIBERID"])]
    elif "OBSID" in header:
        ids = [str(header["OBSID"]).strip()]
    if telescope in ("LAMOST", "SDSS 2.5-M") and isinstance(header.get("Z"), float):
        # unknown ones are -9999
        redshifts = [header["Z"] if header["Z"] > -1.0 else np.nan]
    catalogue = next((u for u in units if u.name.upper() in ("SPECOBJ", "SPALL", "SPZBEST")), None)
    if catalogue is not None and is_table(catalogue) and catalogue.header["NAXIS2"] == 1:
        column = next((name for name in catalogue.columns.names if name.upper() == "Z"), None)
        if column is not None:
            used.append(catalogue)
            redshifts = np.asarray(catalogue.data[column], dtype=np.float64)
    return {"ids": ids, "redshifts": redshifts}
