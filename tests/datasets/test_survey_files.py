"""load_spectra reads files as surveys write them: names of units and columns, headers, conventions."""

import numpy as np
import pytest
from astropy.io import fits
from spectra_as_written import assert_read, pixels, quietly

from skae import SpectraVAE
from skae.datasets import load_spectra, resample_spectra
from skae.exceptions import UnusedDataWarning

LOGLAM = 3.58 + 1e-4 * np.arange(40)
WAVELENGTHS = 10.0**LOGLAM


# -- SDSS --------------------------------------------------------------------------------------------


def write_spec_lite(path, flux, ivar, flags, loglam=LOGLAM, fibre=596, z=0.123):
    """SDSS's spec-lite: COADD, SPECOBJ, SPZLINE."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        TELESCOP="SDSS 2.5-M", PLATEID=4055, MJD=55359, FIBERID=fibre, VACUUM=True, VERS2D="v5_7_0",
        BUNIT="1E-17 erg/cm^2/s/Ang",
    )  # fmt: skip
    d = len(loglam)
    columns = [
        fits.Column("flux", "E", array=flux),
        fits.Column("loglam", "E", array=loglam),
        fits.Column("ivar", "E", array=ivar),
        fits.Column("and_mask", "J", array=flags),
        fits.Column("or_mask", "J", array=flags | 1),
        *(fits.Column(name, "E", array=np.ones(d)) for name in ("wdisp", "sky", "model")),
    ]
    catalogue = [
        fits.Column("CLASS", "6A", array=["GALAXY"]),
        fits.Column("Z", "E", array=[z]),
        fits.Column("ZWARNING", "J", array=[0]),
    ]
    lines = [fits.Column("LINENAME", "13A", array=["H_alpha"])]
    fits.HDUList([
        primary,
        fits.BinTableHDU.from_columns(columns, name="COADD"),
        fits.BinTableHDU.from_columns(catalogue, name="SPECOBJ"),
        fits.BinTableHDU.from_columns(lines, name="SPZLINE"),
    ]).writeto(path)  # fmt: skip


def test_sdss_spec_lite(tmp_path, rng):
    flux, ivar, flags = pixels(1, 40, rng)
    path = tmp_path / "spec-4055-55359-0596.fits"
    write_spec_lite(path, flux[0], ivar[0], flags[0])
    with pytest.warns(UnusedDataWarning) as caught:
        spectra = load_spectra(path)
    (warning,) = caught
    assert str(warning.message) == (
        "Left unused: column 'or_mask', column 'wdisp', column 'sky', column 'model', HDU 'SPZLINE'. "
        "column= and hdu= choose others."
    )
    assert_read(spectra, flux, ivar, flags)
    np.testing.assert_allclose(spectra.wavelengths, WAVELENGTHS, rtol=1e-6)
    assert (spectra.medium, spectra.wavelength_unit) == ("vacuum", "Angstrom")
    assert spectra.unit == "1E-17 erg/cm^2/s/Ang"
    assert list(spectra.ids) == ["4055-55359-0596"]
    np.testing.assert_allclose(spectra.redshifts, [0.123], rtol=1e-6)
    assert list(spectra.files) == [str(path)]
    assert list(spectra.rows) == [0]
    # the errors are those of the flux, and not of a model
    model = quietly(path, column="model")
    np.testing.assert_array_equal(model.data, np.ones((1, 40)))
    assert model.errors is None


def test_flags_are_applied_when_they_are_asked_for(tmp_path, rng):
    flux, ivar, flags = pixels(1, 40, rng)
    write_spec_lite(tmp_path / "s.fits", flux[0], ivar[0], flags[0])
    for mask, masked in ((None, []), (True, [5, 6]), (1 << 24, [5]), (1 << 2 | 1, [6]), (1, [])):
        spectra = quietly(tmp_path / "s.fits", mask=mask)
        expected = np.where(ivar > 0, flux, np.nan)
        expected[:, masked] = np.nan
        np.testing.assert_array_equal(spectra.data, expected)
        np.testing.assert_array_equal(np.isnan(spectra.errors), np.isnan(expected))


def test_a_folder_of_one_grid_is_a_table_that_a_model_takes(tmp_path, rng):
    flux, ivar, flags = pixels(30, 40, rng)
    for j in range(30):
        z = 0.01 * j
        write_spec_lite(
            tmp_path / f"spec-{j:04d}.fits", flux[j], ivar[j], flags[j], fibre=j + 1, z=z
        )
    (tmp_path / "README.md").write_text("spectra")
    with pytest.warns(
        UnusedDataWarning, match=r"column 'or_mask' \(30 times\), .*file 'README.md'"
    ):
        spectra = load_spectra(tmp_path)
    assert_read(spectra, flux, ivar, flags)
    assert list(spectra.ids) == [f"4055-55359-{j + 1:04d}" for j in range(30)]
    np.testing.assert_allclose(spectra.redshifts, 0.01 * np.arange(30), rtol=1e-6)
    vae = SpectraVAE(2, hidden_layer_sizes=(), random_state=0)
    vae.fit(spectra.data, errors=spectra.errors)
    assert np.isfinite(vae.transform(spectra.data, errors=spectra.errors)).all()


def write_plate(path, flux, ivar, flags):
    """SDSS's spPlate: images without names, a table of fibres, and the sky."""
    n, d = flux.shape
    primary = fits.PrimaryHDU(flux)
    primary.header.update(
        TELESCOP="SDSS 2.5-M", PLATEID=266, MJD=51630, COEFF0=3.58, COEFF1=1e-4, VACUUM=True,
        CTYPE1="LINEAR", CRPIX1=1, CRVAL1=3.58, CD1_1=1e-4, BUNIT="1E-17 erg/cm^2/s/Ang",
    )  # fmt: skip
    primary.header["DC-FLAG"] = 1
    fibres = fits.BinTableHDU.from_columns(
        [
            fits.Column("OBJID", "5J", array=np.ones((n, 5))),
            fits.Column("FIBERID", "J", array=1 + np.arange(n)),
        ]
    )
    fits.HDUList([
        primary, fits.ImageHDU(ivar), fits.ImageHDU(flags), fits.ImageHDU(flags | 1),
        fits.ImageHDU(np.ones((n, d), np.float32)), fibres, fits.ImageHDU(np.ones((n, d), np.float32)),
    ]).writeto(path)  # fmt: skip


def test_sdss_plates(tmp_path, rng):
    flux, ivar, flags = pixels(8, 40, rng)
    ivar[2] = 0.0  # a fibre that was broken
    write_plate(tmp_path / "spPlate-0266-51630.fits", flux, ivar, flags)
    with pytest.warns(UnusedDataWarning) as caught:
        spectra = load_spectra(tmp_path / "spPlate-0266-51630.fits")
    assert [str(w.message).partition(":")[0] for w in caught] == [
        "1 empty spectra are dropped, of which no pixel was seen",
        "Left unused",
    ]
    assert "HDU 3, HDU 4, HDU 6" in str(caught[1].message)
    kept = np.arange(8) != 2
    assert_read(spectra, flux[kept], ivar[kept], flags[kept])
    np.testing.assert_allclose(spectra.wavelengths, WAVELENGTHS)
    assert list(spectra.rows) == [0, 1, 3, 4, 5, 6, 7]
    assert spectra.ids[2] == "0266-51630-0004"
    assert spectra.medium == "vacuum"


def test_sdss_spspec_of_earlier_releases(tmp_path, rng):
    flux, ivar, flags = pixels(1, 40, rng)
    errors = np.where(ivar > 0, 1.0 / np.sqrt(np.where(ivar > 0, ivar, 1.0)), 0.0)
    rows = np.concatenate([flux, flux - 1, errors, flags, flux]).astype(np.float32)
    primary = fits.PrimaryHDU(rows)
    primary.header.update(
        TELESCOP="SDSS 2.5-M", PLATEID=266, MJD=51630, FIBERID=7, COEFF0=3.58, COEFF1=1e-4, VACUUM=1
    )
    primary.writeto(tmp_path / "spSpec-51630-0266-007.fit")
    spectra = quietly(tmp_path / "spSpec-51630-0266-007.fit")
    assert_read(spectra, flux, ivar, flags)
    np.testing.assert_allclose(spectra.wavelengths, WAVELENGTHS)
    assert list(spectra.ids) == ["0266-51630-0007"]


# -- LAMOST ------------------------------------------------------------------------------------------


def lamost_header(primary):
    primary.header.update(
        TELESCOP="LAMOST", OBSID=101008, VACUUM=True, COEFF0=3.58, COEFF1=1e-4, Z=-9999.0
    )


@pytest.mark.parametrize("release", ["pilot", "DR5", "DR8"])
def test_lamost(release, tmp_path, rng):
    flux, ivar, flags = pixels(1, 40, rng)
    third = flux - 1 if release == "pilot" else WAVELENGTHS[np.newaxis]
    primary = fits.PrimaryHDU(np.concatenate([flux, ivar, third, flags, flags]).astype(np.float32))
    units = [primary]
    if release == "DR8":
        names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK", "NORMALIZATION")
        values = (flux, ivar, third, flags, flags, flux / 2)
        columns = [fits.Column(n, "40E", array=v) for n, v in zip(names, values, strict=True)]
        units = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="COADD")]
    lamost_header(units[0])
    fits.HDUList(units).writeto(tmp_path / "spec.fits.gz")
    with pytest.warns(UnusedDataWarning, match="ormask|ORMASK"):
        spectra = load_spectra(tmp_path / "spec.fits.gz")
    assert_read(spectra, flux, ivar, flags)
    np.testing.assert_allclose(spectra.wavelengths, WAVELENGTHS, rtol=1e-6)
    assert list(spectra.ids) == ["101008"]
    assert spectra.medium == "vacuum"
    assert np.isnan(spectra.redshifts).all()


def test_lamost_of_medium_resolution_has_two_arms(tmp_path, rng):
    """With nothing between them; of single exposures nothing is read."""
    arms, units = {}, [fits.PrimaryHDU()]
    lamost_header(units[0])
    for name, first in (("COADD_B", 4950.0), ("COADD_R", 6300.0), ("B-84414855-01", 4950.0)):
        flux, ivar, flags = arms[name] = pixels(1, 30, rng)
        grid = np.float32(first * np.exp(2e-5 * np.arange(30)))[np.newaxis]
        values = {"FLUX": flux, "IVAR": ivar, "WAVELENGTH": grid, "PIXMASK": flags}
        columns = [fits.Column(key, "30E", array=value) for key, value in values.items()]
        units.append(fits.BinTableHDU.from_columns(columns, name=name))
    fits.HDUList(units).writeto(tmp_path / "med.fits.gz")
    with pytest.warns(UnusedDataWarning, match="Left unused: HDU 'B-84414855-01'"):
        spectra = load_spectra(tmp_path / "med.fits.gz")
    both = (
        np.concatenate(pair, axis=1) for pair in zip(arms["COADD_B"], arms["COADD_R"], strict=True)
    )
    flux, ivar, flags = both
    np.testing.assert_allclose(spectra.data, np.where(ivar > 0, flux, np.nan))
    np.testing.assert_array_equal(spectra.flags, flags)
    np.testing.assert_allclose(spectra.wavelengths[[0, 30]], [4950.0, 6300.0])
    red = quietly(tmp_path / "med.fits.gz", hdu="COADD_R")
    assert_read(red, *arms["COADD_R"])


# -- DESI --------------------------------------------------------------------------------------------

ARMS = {
    arm: first + 0.8 * np.arange(n)
    for arm, first, n in (("B", 3600.0, 50), ("R", 3632.0, 60), ("Z", 3664.0, 80))
}


def write_coadd(path, rng, n=4, shift=0.0):
    """DESI's coadd; return what is in its arms."""
    targets = 39627652591521181 + np.arange(n)  # beyond 2^53
    fibres = fits.BinTableHDU.from_columns(
        [fits.Column("TARGETID", "K", array=targets)], name="FIBERMAP"
    )
    scores = fits.BinTableHDU.from_columns(
        [fits.Column("TARGETID", "K", array=targets)], name="SCORES"
    )
    units, arms = [fits.PrimaryHDU(), fibres, scores], {}
    for arm, grid in ARMS.items():
        flux, ivar, flags = arms[arm] = pixels(n, len(grid), rng)
        ivar[-1] = 0.0  # a target that was not observed
        flags[:, 3] = 1 << 9  # of pixels that some targets' arms have not seen
        grid = grid + (shift if arm == "R" else 0.0)
        units += [
            fits.ImageHDU(grid, name=f"{arm}_WAVELENGTH"),
            fits.ImageHDU(flux, name=f"{arm}_FLUX"),
            fits.ImageHDU(ivar, name=f"{arm}_IVAR"),
            fits.CompImageHDU(flags, name=f"{arm}_MASK"),
            fits.ImageHDU(np.ones((n, 11, len(grid)), np.float32), name=f"{arm}_RESOLUTION"),
        ]
        units[-5].header["BUNIT"] = "Angstrom"
        units[-4].header["BUNIT"] = "10**-17 erg/(s cm2 Angstrom)"
        units[-3].header["BUNIT"] = "10**+34 (s2 cm4 Angstrom2) / erg2"
    fits.HDUList(units).writeto(path)
    return targets, arms


def test_desi_arms_are_joined_by_inverse_variance(tmp_path, rng):
    targets, arms = write_coadd(tmp_path / "coadd-main-dark-10000.fits", rng)
    with pytest.warns(UnusedDataWarning) as caught:
        spectra = load_spectra(tmp_path / "coadd-main-dark-10000.fits")
    assert "1 empty spectra are dropped" in str(caught[0].message)
    assert "HDU 'SCORES', HDU 'B_RESOLUTION'" in str(caught[1].message)
    np.testing.assert_array_equal(spectra.ids, targets[:-1])
    assert (spectra.medium, spectra.wavelength_unit) == ("vacuum", "Angstrom")
    assert spectra.unit == "10**-17 erg/(s cm2 Angstrom)"
    np.testing.assert_allclose(spectra.wavelengths, 3600.0 + 0.8 * np.arange(160))
    # an independent loop over wavelengths
    for k, wavelength in enumerate(spectra.wavelengths):
        weights, total = np.zeros((2, 3))
        bits, of_unseen = np.zeros((2, 3), dtype=int)
        for arm, (flux, ivar, flags) in arms.items():
            for j in np.flatnonzero(np.abs(ARMS[arm] - wavelength) < 1e-6):
                weight = ivar[:-1, j].astype(float)
                weights, total = weights + weight, total + weight * flux[:-1, j]
                bits |= np.where(weight > 0, flags[:-1, j], 0)
                of_unseen |= flags[:-1, j]
        with np.errstate(invalid="ignore", divide="ignore"):
            np.testing.assert_allclose(spectra.data[:, k], total / weights)
            expected = np.where(weights > 0, 1.0 / np.sqrt(weights), np.nan)
        np.testing.assert_allclose(spectra.errors[:, k], expected)
        expected = np.where(weights > 0, bits, of_unseen)
        np.testing.assert_array_equal(spectra.flags[:, k], expected)


def test_one_arm_of_desi(tmp_path, rng):
    targets, arms = write_coadd(tmp_path / "coadd.fits", rng, shift=0.3)
    with pytest.raises(ValueError, match=r"its arms overlap.* name one arm with hdu="):
        quietly(tmp_path / "coadd.fits")
    spectra = quietly(tmp_path / "coadd.fits", hdu="R_FLUX")
    assert_read(spectra, *(part[:-1] for part in arms["R"]))
    np.testing.assert_allclose(spectra.wavelengths, ARMS["R"] + 0.3)
    assert spectra.medium == "vacuum"
    np.testing.assert_array_equal(spectra.ids, targets[:-1])


def test_masks_are_applied_before_arms_are_joined(tmp_path, rng):
    _, arms = write_coadd(tmp_path / "coadd.fits", rng)
    spectra = quietly(tmp_path / "coadd.fits", mask=1 << 24)
    k = 40 + 5  # flagged in R; seen by B as well
    np.testing.assert_array_equal(spectra.data[:, k], arms["B"][0][:-1, k])


# -- JWST --------------------------------------------------------------------------------------------


def write_x1d(path, grids, rng, source="POINT", zero_errors=False):
    """JWST's x1d: a table for each of its spectra."""
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="JWST", INSTRUME="NIRSPEC", TARGNAME="TYC 4433-1800-1")
    units, written = [primary], []
    for version, grid in enumerate(grids, start=1):
        d = len(grid)
        flux, errors = rng.normal(1.0, 0.1, d), rng.uniform(0.01, 0.1, d)
        dq = np.zeros(d, dtype=np.uint32)
        dq[4], flux[4], errors[4] = 1, np.nan, np.nan
        values = {
            "WAVELENGTH": (grid, "um"), "FLUX": (flux, "Jy"),
            "FLUX_ERROR": (0.0 * errors if zero_errors else errors, "Jy"),
            "FLUX_VAR_POISSON": (errors**2, "Jy^2"), "SURF_BRIGHT": (2 * flux, "MJy/sr"),
            "SB_ERROR": (2 * errors, "MJy/sr"), "DQ": (dq, None), "BACKGROUND": (0 * grid, "MJy/sr"),
            "NPIXELS": (np.ones(d), None),
        }  # fmt: skip
        columns = [
            fits.Column(name, "J" if name == "DQ" else "D", array=value, unit=unit, bzero=None)
            for name, (value, unit) in values.items()
        ]
        table = fits.BinTableHDU.from_columns(columns, name="EXTRACT1D", ver=version)
        table.header["SRCTYPE"] = source
        units.append(table)
        written.append((flux, errors))
    metadata = fits.Column("ASDF_METADATA", "3B", array=[[1, 2, 3]])
    units.append(fits.BinTableHDU.from_columns([metadata], name="ASDF"))
    fits.HDUList(units).writeto(path)
    return written


def test_jwst_extracted_spectra(tmp_path, rng):
    grid = np.linspace(0.6, 5.3, 30)
    ((flux, errors),) = write_x1d(tmp_path / "jw_x1d.fits", [grid], rng)
    with pytest.warns(UnusedDataWarning, match=r"column 'FLUX_VAR_POISSON', .*HDU 'ASDF'"):
        spectra = load_spectra(tmp_path / "jw_x1d.fits")
    np.testing.assert_array_equal(spectra.data, [flux])
    np.testing.assert_array_equal(spectra.errors, [errors])
    np.testing.assert_array_equal(spectra.wavelengths, grid)
    assert (spectra.unit, spectra.wavelength_unit, spectra.medium) == ("Jy", "um", "vacuum")
    assert spectra.flags[0, 4] == 1
    assert list(spectra.ids) == ["TYC 4433-1800-1"]


def test_extended_sources_of_jwst_are_read_in_surface_brightness(tmp_path, rng):
    ((flux, errors),) = write_x1d(
        tmp_path / "x1d.fits", [np.linspace(0.6, 5.3, 30)], rng, "EXTENDED"
    )
    spectra = quietly(tmp_path / "x1d.fits")
    np.testing.assert_array_equal(spectra.data, [2 * flux])
    np.testing.assert_array_equal(spectra.errors, [2 * errors])
    assert spectra.unit == "MJy/sr"
    np.testing.assert_array_equal(quietly(tmp_path / "x1d.fits", column="FLUX").data, [flux])


def test_errors_that_were_not_filled_in_are_none_and_the_spectrum_stays(tmp_path, rng):
    ((flux, _),) = write_x1d(
        tmp_path / "x1d.fits", [np.linspace(0.6, 5.3, 30)], rng, zero_errors=True
    )
    with pytest.warns(UnusedDataWarning, match="errors that are 0 or NaN in all pixels"):
        spectra = load_spectra(tmp_path / "x1d.fits")
    assert spectra.errors is None
    np.testing.assert_array_equal(spectra.data, [flux])


def test_orders_of_jwst_lie_on_grids_of_their_own(tmp_path, rng):
    grids = [np.linspace(0.6, 1.4, 30), np.linspace(0.8, 2.8, 40)]
    written = write_x1d(tmp_path / "x1d.fits", grids, rng)
    with pytest.raises(ValueError, match=r"different grids; .*resample_spectra\(load_spectra\("):
        quietly(tmp_path / "x1d.fits")
    spectra = quietly(tmp_path / "x1d.fits", as_list=True)
    for one, (flux, errors), grid in zip(spectra, written, grids, strict=True):
        np.testing.assert_array_equal(one.data, [flux])
        np.testing.assert_array_equal(one.errors, [errors])
        np.testing.assert_array_equal(one.wavelengths, grid)
    assert [list(one.rows) for one in spectra] == [[0], [1]]


def test_slitless_spectra_of_jwst_are_rows_of_one_table(tmp_path, rng):
    """As pipelines from 2025 on write them: a row for each source, NaN behind its end."""
    grid = np.tile(np.linspace(1.0, 2.0, 12), (3, 1))
    grid[1:] += [[0.1], [0.2]]
    flux, errors = rng.normal(size=(3, 12)), rng.uniform(0.1, 0.2, (3, 12))
    grid[2, 9:], flux[2, 9:], errors[2, 9:] = np.nan, np.nan, np.nan
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="JWST", TARGNAME="field")
    columns = [
        fits.Column("SOURCE_ID", "J", array=[7, 8, 9]),
        fits.Column("WAVELENGTH", "12D", array=grid, unit="um"),
        fits.Column("FLUX", "12D", array=flux, unit="Jy"),
        fits.Column("FLUX_ERROR", "12D", array=errors, unit="Jy"),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="EXTRACT1D")
    fits.HDUList([primary, table]).writeto(tmp_path / "x1d.fits")
    spectra = quietly(tmp_path / "x1d.fits", as_list=True)
    assert [list(one.ids) for one in spectra] == [[7], [8], [9]]
    table = resample_spectra(spectra, [1.35, 1.45, 1.55])
    assert list(table.ids) == [7, 8, 9]
    assert np.isfinite(table.data).all()
