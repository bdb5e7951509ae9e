"""make_spectra looks like the published sample; load_spectra reads what people have."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from skae.datasets import load_spectra, make_spectra
from skae.exceptions import UnusedDataWarning

REAL = Path(__file__).parents[3] / "shared" / "data" / "spectra"
needs_real = pytest.mark.skipif(
    not (REAL / "spectra.npy").exists(), reason="the published spectra are not beside this checkout"
)


def parts_of(X, fluxes):
    """Baseline and lines, by least squares."""
    return np.linalg.lstsq(np.c_[np.ones(len(X)), fluxes], X, rcond=None)[0]


def test_spectra_are_baseline_and_lines_with_poisson_noise():
    X, fluxes = make_spectra(2000, random_state=0)
    expected, same = make_spectra(2000, noise=False, random_state=0)
    np.testing.assert_array_equal(fluxes, same)
    assert (np.rint(X) == X).all()
    pulls = (X - expected) / np.sqrt(expected)
    assert pulls.mean() == pytest.approx(0.0, abs=4 / np.sqrt(pulls.size))
    assert pulls.var() == pytest.approx(1.0, abs=0.005)
    parts = parts_of(expected, fluxes)
    np.testing.assert_allclose(parts[0] + fluxes @ parts[1:], expected, rtol=1e-9)
    np.testing.assert_allclose(parts[1:].mean(axis=1), 1.0, rtol=1e-3)
    assert list(parts.argmax(axis=1)) == [0, 149, 274]


def test_fluxes_are_zero_or_gamma_and_the_lines_avoid_each_other():
    _, fluxes = make_spectra(60000, n_bins=2, random_state=0)
    there = fluxes > 0
    np.testing.assert_allclose(there.mean(axis=0), 0.5, atol=0.01)
    assert there.all(axis=1).mean() == pytest.approx(1 / 6, abs=0.01)
    assert (~there).all(axis=1).mean() == pytest.approx(1 / 6, abs=0.01)
    for flux, mean, std in zip(fluxes.T, (112.0, 78.0), (29.0, 30.0), strict=True):
        assert flux[flux > 0].mean() == pytest.approx(mean, rel=0.01)
        assert flux[flux > 0].std() == pytest.approx(std, rel=0.02)


@needs_real
def test_they_look_like_the_published_ones():
    real = np.load(REAL / "spectra.npy").astype(float)
    truth = np.loadtxt(REAL / "fluxes.csv", delimiter=",", skiprows=1)
    X, fluxes = make_spectra(20000, random_state=0)
    for ours, theirs in zip(fluxes.T, truth.T, strict=True):
        lit, mine = theirs[theirs > 0], ours[ours > 0]
        assert mine.mean() == pytest.approx(lit.mean(), abs=4 * lit.std() / np.sqrt(len(lit)))
        assert mine.std() == pytest.approx(lit.std(), rel=0.2)
    ours, theirs = (parts_of(*pair) for pair in ((X, fluxes), (real, truth)))
    assert np.abs(ours - theirs)[0].max() < 20.0  # of 500 counts
    assert np.abs(ours - theirs)[1:].max() < 0.2  # of 8


def test_other_templates_and_baselines():
    templates = np.eye(3, 10)
    X, fluxes = make_spectra(
        50, n_bins=10, templates=templates, baseline=np.full(10, 2.0), flux_mean=5.0,
        flux_std=[1.0, 2.0, 3.0], zero_fraction=0.0, noise=False, random_state=0,
    )  # fmt: skip
    assert fluxes.shape == (50, 3)
    assert (fluxes > 0).all()
    np.testing.assert_allclose(X[:, :3], 2.0 + fluxes)
    np.testing.assert_array_equal(X[:, 3:], 2.0)
    assert (make_spectra(50, zero_fraction=1.0, random_state=0)[1] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"templates": np.ones((2, 5))}, r"templates has shape \(2, 5\)"),
        ({"templates": -np.ones((2, 10))}, "templates has negative values"),
        ({"baseline": np.ones(5)}, r"baseline has shape \(5,\)"),
        ({"flux_mean": [1.0, 2.0, 3.0]}, "one for each of 2 lines"),
        ({"flux_std": [1.0, -2.0]}, "positive"),
        ({"zero_fraction": 1.5}, "zero_fraction"),
    ],
)
def test_what_makes_no_spectra_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_spectra(5, n_bins=10, **arguments)


# -- files -------------------------------------------------------------------------------------


@pytest.fixture
def table(rng):
    return rng.uniform(1.0, 9.0, size=(4, 6))


GRID = np.linspace(400.0, 900.0, 6)


def test_arrays_and_tables_in_rows(tmp_path, table):
    np.save(tmp_path / "s.npy", table)
    np.savetxt(tmp_path / "plain.csv", table, delimiter=",")
    np.savetxt(tmp_path / "named.txt", table, header="a b c d e f", comments="")
    np.savetxt(tmp_path / "commented.txt", table, header="made by a spectrograph")
    header = ",".join(map(str, GRID))
    np.savetxt(tmp_path / "grid.csv", table, delimiter=",", header=header, comments="")
    for name in ("s.npy", "plain.csv", "named.txt", "commented.txt", "grid.csv"):
        spectra = load_spectra(tmp_path / name, grid=True if name == "grid.csv" else None)
        np.testing.assert_allclose(spectra.data, table)
        assert spectra.errors is None
        if name == "grid.csv":
            np.testing.assert_allclose(spectra.wavelengths, GRID)
        else:
            assert spectra.wavelengths is None


def test_tables_in_columns_with_their_grid(tmp_path, table):
    columns = np.c_[GRID, table.T]
    np.savetxt(tmp_path / "s.csv", columns, delimiter=",", header="wavelength,a,b,c,d", comments="")
    np.savetxt(tmp_path / "s.txt", columns)
    np.save(tmp_path / "s.npy", columns)
    log = np.c_[np.log10(GRID), table.T]
    np.savetxt(tmp_path / "log.csv", log, delimiter=",", header="loglam,a,b,c,d", comments="")
    for name in ("s.csv", "s.txt", "s.npy", "log.csv"):
        named = name.endswith(".csv")
        spectra = load_spectra(tmp_path / name, orient="columns", grid=None if named else True)
        np.testing.assert_allclose(spectra.data, table)
        np.testing.assert_allclose(spectra.wavelengths, GRID)
    np.savetxt(tmp_path / "bare.csv", table.T, delimiter=",", header="a,b,c,d", comments="")
    spectra = load_spectra(tmp_path / "bare.csv", orient="columns")
    np.testing.assert_allclose(spectra.data, table)
    assert spectra.wavelengths is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,,3\n4,5,6\n7,8,10\n", [[1, np.nan, 3], [4, 5, 6], [7, 8, 10]]),
        ("1,NA,3\n4,5,6\n", [[1, np.nan, 3], [4, 5, 6]]),
        ("a,b,c\n1,,3\n4,5,6\n", [[1, np.nan, 3], [4, 5, 6]]),
        ("\ufeff1,2,1\n4,5,6\n", [[1, 2, 1], [4, 5, 6]]),
        ("9,5,1\n8,6,2\n", [[9, 5, 1], [8, 6, 2]]),
        ("\ufeff1,5;2;-\r\n4;5,25;6\r\n", [[1.5, 2, np.nan], [4, 5.25, 6]]),
        ("1,2,3,\n4,5,6,\n,,,\n", [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_gaps_are_nan_and_no_spectrum_is_taken_for_a_header_or_a_grid(text, expected, tmp_path):
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    spectra = load_spectra(tmp_path / "s.csv")
    np.testing.assert_array_equal(spectra.data, expected)
    assert spectra.wavelengths is None


def test_names_in_a_comment_and_decimal_commas(tmp_path, table):
    np.savetxt(tmp_path / "s.txt", np.c_[GRID, table.T], header="wavelength a b c d")
    spectra = load_spectra(tmp_path / "s.txt", orient="columns")
    np.testing.assert_allclose(spectra.data, table)
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    (tmp_path / "s.csv").write_text("1,5\n2,5\n")
    with pytest.raises(
        ValueError, match=r"say decimal='\.' for the former and decimal=',' for the"
    ):
        load_spectra(tmp_path / "s.csv")
    spectra = load_spectra(tmp_path / "s.csv", orient="columns", decimal=",")
    np.testing.assert_array_equal(spectra.data, [[1.5, 2.5]])


def test_what_pandas_writes_is_read_back(tmp_path, table):
    pd.DataFrame(table, columns=GRID).to_csv(tmp_path / "s.csv")
    spectra = load_spectra(tmp_path / "s.csv")
    np.testing.assert_allclose(spectra.data, table)
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    pd.DataFrame(table, columns=list("abcdef")).to_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(load_spectra(tmp_path / "s.csv").data, table)


def test_names_with_units_and_columns_of_errors(tmp_path, table):
    columns = np.c_[GRID, table[0], 0.1 * table[0]]
    for names in ("Wavelength (nm),flux,error", "wavelength_A,flux_density,flux_err"):
        np.savetxt(tmp_path / "s.csv", columns, delimiter=",", header=names, comments="")
        spectra = load_spectra(tmp_path / "s.csv", orient="columns")
        np.testing.assert_allclose(spectra.wavelengths, GRID)
        np.testing.assert_allclose(spectra.data, table[:1])
        np.testing.assert_allclose(spectra.errors, 0.1 * table[:1])
    np.savetxt(
        tmp_path / "s.csv", np.c_[columns, columns[:, 1]], delimiter=",",
        header="wavelength,a,error,b", comments="",
    )  # fmt: skip
    with pytest.raises(ValueError, match="1 columns of errors for 2 spectra"):
        load_spectra(tmp_path / "s.csv", orient="columns")


def test_fits_images_with_their_grid(tmp_path, table):
    image = fits.ImageHDU(table)
    image.header.update(CRVAL1=400.0, CDELT1=100.0, CRPIX1=1.0)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "s.fits")
    spectra = load_spectra(tmp_path / "s.fits")
    np.testing.assert_allclose(spectra.data, table)
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    plain = fits.PrimaryHDU(table[0])
    plain.writeto(tmp_path / "one.fits.gz")
    spectra = load_spectra(tmp_path / "one.fits.gz")
    np.testing.assert_allclose(spectra.data, table[:1])
    assert spectra.wavelengths is None
    log = fits.PrimaryHDU(table)
    log.header.update({"CRVAL1": 2.6, "CDELT1": 0.1, "CRPIX1": 2.0, "DC-FLAG": 1})
    log.writeto(tmp_path / "log.fits")
    wavelengths = load_spectra(tmp_path / "log.fits").wavelengths
    np.testing.assert_allclose(wavelengths, 10.0 ** (2.5 + 0.1 * np.arange(6)))


def test_fits_grids_in_the_natural_logarithm_and_along_the_other_axis(tmp_path, table):
    image = fits.PrimaryHDU(table.T)
    image.header.update(CRVAL2=400.0, CDELT2=4.0, CRPIX2=1.0, CTYPE2="WAVE-LOG")
    image.writeto(tmp_path / "s.fits")
    spectra = load_spectra(tmp_path / "s.fits", orient="columns")
    np.testing.assert_allclose(spectra.data, table)
    np.testing.assert_allclose(spectra.wavelengths, 400.0 * np.exp(0.01 * np.arange(6)))


def test_fits_tables_with_grids_of_their_own_are_refused(tmp_path, table):
    columns = [
        fits.Column("flux", "6D", array=table),
        fits.Column("wave", "6D", array=GRID + np.arange(4)[:, None]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "s.fits")
    with pytest.raises(ValueError, match="lie on different grids"):
        load_spectra(tmp_path / "s.fits")


def test_fits_tables_with_errors(tmp_path, table):
    ivar = np.full(6, 4.0)
    ivar[2] = -1.0
    columns = [
        fits.Column("flux", "D", array=table[0]),
        fits.Column("loglam", "D", array=np.log10(GRID)),
        fits.Column("ivar", "D", array=ivar),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "one.fits")
    spectra = load_spectra(tmp_path / "one.fits")
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    np.testing.assert_allclose(spectra.errors, [[0.5, 0.5, np.nan, 0.5, 0.5, 0.5]])
    assert np.isnan(spectra.data[0, 2])
    np.testing.assert_allclose(np.delete(spectra.data[0], 2), np.delete(table[0], 2))

    vectors = [
        fits.Column("COUNTS", "6D", array=table),
        fits.Column("MYFLUX", "6D", array=2 * table),
    ]
    table_of_vectors = fits.BinTableHDU.from_columns(vectors, name="S")
    table_of_vectors.writeto(tmp_path / "many.fits")
    with pytest.warns(UnusedDataWarning, match="Left unused: column 'MYFLUX'"):
        np.testing.assert_allclose(load_spectra(tmp_path / "many.fits").data, table)
    with pytest.warns(UnusedDataWarning, match="Left unused: column 'COUNTS'"):
        chosen = load_spectra(tmp_path / "many.fits", column="MYFLUX", hdu="S")
    np.testing.assert_allclose(chosen.data, 2 * table)
    with pytest.raises(ValueError, match=r"no column 'nothing', only \['COUNTS', 'MYFLUX'\]"):
        load_spectra(tmp_path / "many.fits", column="nothing")
    with pytest.raises(ValueError, match="it holds no data in hdu=0"):
        load_spectra(tmp_path / "many.fits", hdu=0)


def test_files_that_are_no_spectra_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_spectra(tmp_path / "missing.npy")
    with pytest.raises(ValueError, match="is of no known kind"):
        load_spectra(tmp_path / "s.xlsx")
    np.save(tmp_path / "one.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"its shape is \(5,\)"):
        load_spectra(tmp_path / "one.npy")
    (tmp_path / "words.csv").write_text("a,b\nred,blue\n")
    with pytest.raises(ValueError, match="cannot be read as spectra"):
        load_spectra(tmp_path / "words.csv")
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =  nonsense")
    with pytest.raises(ValueError, match="cannot be read as spectra"):
        load_spectra(tmp_path / "broken.fits")


@needs_real
def test_the_published_file_is_read():
    assert load_spectra(REAL / "spectra.npy").data.shape == (200, 500)
