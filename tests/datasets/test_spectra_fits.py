"""load_spectra reads any image with its siblings, any table, and the grids that headers describe."""

import numpy as np
import pytest
from astropy.io import fits
from spectra_as_written import assert_read, pixels

from skae.datasets import load_spectra, resample_spectra
from skae.exceptions import UnusedDataWarning


def test_images_with_errors_and_flags_beside_them(tmp_path, rng):
    flux, ivar, flags = pixels(3, 20, rng)
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), 0.0)
    science = fits.ImageHDU(flux, name="SCI")
    science.header.update(
        CTYPE1="AWAV", CUNIT1="nm", CRVAL1=500.0, CRPIX1=1.0, CDELT1=0.5, BUNIT="adu"
    )
    forms = {
        "sigma": [fits.ImageHDU(sigma, name="ERR")],
        "variance": [fits.ImageHDU(sigma**2, name="VAR")],
        "stat": [fits.ImageHDU(sigma**2, name="STAT")],
        "ivar": [fits.ImageHDU(ivar, name="IVAR")],
        "ccd": [fits.ImageHDU(sigma**2, name="UNCERT")],
    }
    forms["ccd"][0].header["UTYPE"] = "VarianceUncertainty"
    for name, errors in forms.items():
        path = tmp_path / f"{name}.fits"
        units = [fits.PrimaryHDU(), science, *errors, fits.ImageHDU(flags, name="DQ")]
        fits.HDUList(units).writeto(path)
        spectra = load_spectra(path)
        assert_read(spectra, flux, ivar, flags)
        np.testing.assert_allclose(spectra.wavelengths, 500.0 + 0.5 * np.arange(20))
        assert (spectra.medium, spectra.wavelength_unit, spectra.unit) == ("air", "nm", "adu")


def test_units_of_one_name_are_told_apart_by_their_versions(tmp_path, rng):
    flux, ivar, flags = pixels(2, 20, rng)
    units = [fits.PrimaryHDU()]
    for k in range(2):
        images = {"SCI": flux[[k]], "IVAR": ivar[[k]], "DQ": flags[[k]]}
        units += [fits.ImageHDU(image, name=name, ver=k + 1) for name, image in images.items()]
    fits.HDUList(units).writeto(tmp_path / "s.fits")
    spectra = load_spectra(tmp_path / "s.fits")
    assert_read(spectra, flux, ivar, flags)
    assert list(spectra.rows) == [0, 1]


def test_images_in_a_primary_unit_and_a_grid_in_a_unit_of_its_own(tmp_path, rng):
    flux, ivar, flags = pixels(3, 20, rng)
    grid = np.linspace(400.0, 700.0, 20) ** 1.1
    wave = fits.ImageHDU(grid, name="WAVELENGTH")
    wave.header.update(BUNIT="Angstrom", AIRORVAC="vac")
    units = [fits.PrimaryHDU(flux), fits.ImageHDU(ivar, name="IVAR"), wave]
    fits.HDUList([*units, fits.ImageHDU(flags, name="MASK")]).writeto(tmp_path / "cframe.fits")
    spectra = load_spectra(tmp_path / "cframe.fits")
    assert_read(spectra, flux, ivar, flags)
    np.testing.assert_array_equal(spectra.wavelengths, grid)
    assert (spectra.medium, spectra.wavelength_unit) == ("vacuum", "Angstrom")


def test_what_stands_beside_an_image_and_has_another_shape_is_named(tmp_path, rng):
    flux, ivar, _ = pixels(3, 20, rng)
    units = [fits.PrimaryHDU(flux), fits.ImageHDU(ivar[:2], name="IVAR")]
    fits.HDUList(units).writeto(tmp_path / "s.fits")
    with pytest.warns(UnusedDataWarning, match="Left unused: HDU 'IVAR'"):
        assert load_spectra(tmp_path / "s.fits").errors is None


@pytest.mark.parametrize("kind", ["WAVE-TAB", "MULTISPE", "AWAV-GRI"])
def test_grids_that_are_not_in_the_header_are_refused(kind, tmp_path):
    image = fits.PrimaryHDU(np.ones((2, 5)))
    image.header.update(CTYPE1=kind, CRVAL1=1.0, CDELT1=1.0, CRPIX1=1.0)
    image.writeto(tmp_path / "s.fits")
    with pytest.raises(ValueError, match=f"CTYPE1='{kind}', which is not read"):
        load_spectra(tmp_path / "s.fits")


def test_iraf_writes_one_spectrum_in_three_axes_and_cubes_are_refused(tmp_path):
    image = fits.PrimaryHDU(np.ones((1, 1, 5)))
    image.header.update(CTYPE1="LINEAR", CRVAL1=400.0, CD1_1=2.0, CRPIX1=1.0)
    image.writeto(tmp_path / "one.fits")
    spectra = load_spectra(tmp_path / "one.fits")
    assert spectra.data.shape == (1, 5)
    np.testing.assert_allclose(spectra.wavelengths, 400.0 + 2.0 * np.arange(5))
    fits.PrimaryHDU(np.ones((2, 3, 5))).writeto(tmp_path / "cube.fits")
    with pytest.raises(ValueError, match=r"has shape \(2, 3, 5\), not \(n_samples, n_bins\)"):
        load_spectra(tmp_path / "cube.fits")


def test_the_axis_of_wavelengths_is_found_and_images_of_the_sky_are_none(tmp_path):
    image = fits.PrimaryHDU(np.arange(15.0).reshape(5, 3))
    image.header.update(CTYPE1="OFFSET", CRVAL1=0.0, CDELT1=1.0)
    image.header.update(CTYPE2="AWAV", CRVAL2=400.0, CDELT2=2.0, CRPIX2=1.0, CUNIT2="nm")
    image.writeto(tmp_path / "slit.fits")
    spectra = load_spectra(tmp_path / "slit.fits")
    np.testing.assert_array_equal(spectra.data, image.data.T)
    np.testing.assert_allclose(spectra.wavelengths, 400.0 + 2.0 * np.arange(5))
    assert (spectra.medium, spectra.wavelength_unit) == ("air", "nm")
    image.header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN")
    image.writeto(tmp_path / "sky.fits")
    with pytest.raises(
        ValueError, match=r"an image of the sky, no spectra; orient='rows' reads it"
    ):
        load_spectra(tmp_path / "sky.fits")
    assert load_spectra(tmp_path / "sky.fits", orient="rows").data.shape == (5, 3)


def test_tables_behind_others_and_vectors_of_different_lengths(tmp_path):
    catalogue = fits.BinTableHDU.from_columns(
        [fits.Column("RA", "D", array=[1.0, 2.0])], name="CAT"
    )
    fluxes, grids = np.empty(2, dtype=object), np.empty(2, dtype=object)
    fluxes[:] = [np.arange(4.0), np.arange(6.0)]
    grids[:] = [400.0 + np.arange(4.0), 500.0 + np.arange(6.0)]
    columns = [fits.Column("WAVE", "PD()", array=grids), fits.Column("FLUX", "PD()", array=fluxes)]
    fits.HDUList([fits.PrimaryHDU(), catalogue, fits.BinTableHDU.from_columns(columns)]).writeto(
        tmp_path / "s.fits"
    )
    with pytest.warns(UnusedDataWarning, match="Left unused: HDU 'CAT'"):
        spectra = load_spectra(tmp_path / "s.fits", as_list=True)
    np.testing.assert_array_equal(spectra[0].data, [[0, 1, 2, 3, np.nan, np.nan]])
    np.testing.assert_array_equal(spectra[1].wavelengths, grids[1])
    moved = resample_spectra(spectra[1], [501.5, 503.5])
    np.testing.assert_allclose(moved.data, [[1.5, 3.5]])


def test_units_of_logarithms_are_those_of_wavelengths(tmp_path):
    columns = [
        fits.Column("loglam", "D", array=[2.0, 3.0, 4.0], unit="log10(nm)"),
        fits.Column("flux", "D", array=[1.0, 2.0, 3.0]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "s.fits")
    spectra = load_spectra(tmp_path / "s.fits")
    np.testing.assert_allclose(spectra.wavelengths, [100.0, 1000.0, 10000.0])
    assert spectra.wavelength_unit == "nm"


def test_flags_of_64_bits_and_grids_of_apogee(tmp_path):
    flags = np.zeros((2, 5), dtype=np.int64)
    flags[0, 1] = 1 << 60
    flux = fits.ImageHDU(np.ones((2, 5)), name="FLUX")
    flux.header.update(CTYPE1="LOG-LINEAR", CRVAL1=4.179, CDELT1=6e-6, CRPIX1=1)
    fits.HDUList([fits.PrimaryHDU(), flux, fits.ImageHDU(flags, name="MASK")]).writeto(
        tmp_path / "s.fits"
    )
    spectra = load_spectra(tmp_path / "s.fits", mask=1 << 60)
    np.testing.assert_array_equal(np.isnan(spectra.data), flags > 0)
    np.testing.assert_allclose(spectra.wavelengths, 10 ** (4.179 + 6e-6 * np.arange(5)))


def test_integers_that_are_null_are_missing(tmp_path):
    counts = np.array([3, -99, 5, 7], dtype=np.int32)
    columns = [
        fits.Column("wavelength", "D", array=[1.0, 2.0, 3.0, 4.0], unit="nm"),
        fits.Column("counts", "J", array=counts, null=-99),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "s.fits")
    spectra = load_spectra(tmp_path / "s.fits")
    np.testing.assert_array_equal(spectra.data, [[3.0, np.nan, 5.0, 7.0]])
    ascii_table = fits.TableHDU.from_columns(
        [fits.Column("counts", "I4", array=counts, null="-99", ascii=True)]
    )
    ascii_table.writeto(tmp_path / "ascii.fits")
    np.testing.assert_array_equal(load_spectra(tmp_path / "ascii.fits").data, spectra.data)


def test_mask_without_flags_and_files_without_a_seen_pixel_are_refused(tmp_path, rng):
    flux, ivar, _ = pixels(1, 40, rng)
    fits.PrimaryHDU(flux).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match="mask=True has nothing to apply: it has no flags"):
        load_spectra(tmp_path / "image.fits", mask=True)
    units = [fits.PrimaryHDU(flux), fits.ImageHDU(0 * ivar, name="IVAR")]
    fits.HDUList(units).writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="holds no spectra: all 1 are empty"):
        load_spectra(tmp_path / "empty.fits")


def test_parts_that_do_not_fit_are_refused(tmp_path, rng):
    flux, ivar, _ = pixels(3, 20, rng)
    targets = [fits.Column("TARGETID", "K", array=[1, 2])]
    fibres = fits.BinTableHDU.from_columns(targets, name="FIBERMAP")
    units = [fits.PrimaryHDU(), fibres, fits.ImageHDU(flux, name="B_FLUX")]
    fits.HDUList(units).writeto(tmp_path / "fibres.fits")
    with pytest.raises(ValueError, match="its FIBERMAP has 2 rows"):
        load_spectra(tmp_path / "fibres.fits")
    units = [
        fits.PrimaryHDU(),
        fits.ImageHDU(flux, name="B_FLUX"),
        fits.ImageHDU(flux, name="R_FLUX"),
    ]
    fits.HDUList(units).writeto(tmp_path / "arms.fits")
    with pytest.raises(ValueError, match=r"no common wavelengths; name one with hdu="):
        load_spectra(tmp_path / "arms.fits")
    columns = [
        fits.Column("flux", "20E", array=flux),
        fits.Column("wavelength", "10E", array=flux[:, :10]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "grid.fits")
    with pytest.raises(ValueError, match=r"its grid has shape \(3, 10\), its fluxes \(3, 20\)"):
        load_spectra(tmp_path / "grid.fits")
    columns[1] = fits.Column("error", "10E", array=ivar[:, :10])
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "errors.fits")
    with pytest.raises(ValueError, match=r"its errors have shape \(3, 10\), its fluxes \(3, 20\)"):
        load_spectra(tmp_path / "errors.fits")
