"""load_spectra reads text as instruments, archives and people write it, folders, and lists of files."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from skae.datasets import load_spectra
from skae.exceptions import UnusedDataWarning

GRID = np.linspace(400.0, 711.0, 12)
FLUX = np.array([3.5, 1.25, 0.5, 8.0, 2.0, 4.5, 6.25, 7.0, 1.5, 2.25, 9.0, 0.75])


def lines(*columns, separator=" ", form="{:.4f}"):
    rows = zip(*columns, strict=True)
    return "".join(separator.join(form.format(x) for x in row) + "\n" for row in rows)


PAIRS = lines(GRID, FLUX)
RRUFF = (
    "##NAMES=Actinolite\n##RRUFFID=R040063\n##IDEAL CHEMISTRY=Ca_2_(Mg,Fe^2+^)_5_Si_8_O_22_(OH)_2_\n"
    "##LOCALITY=Gouverneur, New York, USA\n##STATUS=verified, by X-ray\n"
    + lines(GRID, FLUX, separator=", ")
    + "##END=\n\n"
)
FORMS = {
    "two columns.txt": PAIRS,
    "with tabs.dat": lines(GRID, FLUX, separator="\t"),
    "with commas.csv": lines(GRID, FLUX, separator=","),
    "falling.asc": lines(GRID[::-1], FLUX[::-1]),
    "rruff.txt": RRUFF,
    "a header of any kind.txt": (
        "Instrument: USB4000\nIntegration Time (sec): 0.1\n>>>>>Begin Spectral Data<<<<<\n" + PAIRS
    ),
    "remarks.txt": "# SIMPLE = T\n# OBJECT = 'SN 2011fe'\n# wavelength flux\n" + PAIRS + "# end\n",
    "decimal commas.csv": lines(GRID, FLUX, separator=";").replace(".", ","),
    "names.csv": "Wavelength (nm);Intensität\n" + lines(GRID, FLUX, separator=";"),
    "names of no use.csv": "Verschiebung,a.u.\n" + lines(GRID, FLUX, separator=","),
    "Wave.tsv": "wave\tflux\n" + lines(GRID, FLUX, separator="\t"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("name", FORMS)
def test_a_spectrum_in_two_columns(name, encoding, tmp_path):
    (tmp_path / name).write_bytes(FORMS[name].encode(encoding))
    spectra = load_spectra(tmp_path / name)
    order = -1 if name.startswith("falling") else 1
    np.testing.assert_allclose(spectra.wavelengths[::order], GRID, atol=1e-4)
    np.testing.assert_allclose(spectra.data[:, ::order], [FLUX])
    assert spectra.errors is None
    assert spectra.wavelength_unit == ("nm" if name == "names.csv" else None)


def test_columns_without_names_are_asked_for(tmp_path):
    (tmp_path / "s.txt").write_text(lines(GRID, FLUX, 0.1 * FLUX))
    with pytest.raises(ValueError, match=r"no names that tell: say names=\['wavelength', 'flux'"):
        load_spectra(tmp_path / "s.txt")
    spectra = load_spectra(tmp_path / "s.txt", names=["wavelength", "flux", "error"])
    np.testing.assert_allclose(spectra.errors, [0.1 * FLUX], atol=1e-4)
    (tmp_path / "titled.txt").write_text("a title of five words\n" + lines(GRID, FLUX, FLUX))
    for orient, message in (
        (None, "no names that tell"),
        ("columns", "has 5 entries for 3 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            load_spectra(tmp_path / "titled.txt", orient=orient)
    both = load_spectra(tmp_path / "s.txt", orient="columns", grid=True)
    np.testing.assert_allclose(both.data, [FLUX, 0.1 * FLUX], atol=1e-4)
    assert load_spectra(tmp_path / "s.txt", orient="rows").data.shape == (12, 3)
    np.save(tmp_path / "s.npy", np.c_[np.log10(GRID), FLUX, np.full(12, 4.0)])
    spectra = load_spectra(tmp_path / "s.npy", names=["loglam", "flux", "ivar"])
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    np.testing.assert_allclose(spectra.errors, 0.5)
    with pytest.raises(ValueError, match="column= and names= are of spectra in columns"):
        load_spectra(tmp_path / "s.npy", names=["wavelength", "flux", "ivar"], orient="rows")
    with pytest.raises(ValueError, match="names= has 2 entries, the table 3 columns"):
        load_spectra(tmp_path / "s.npy", names=["wavelength", "flux"])


def test_tables_of_many_short_spectra_are_none_of_two_columns(tmp_path, rng):
    """Neither rows of two bins whose first is not in order, nor a few of them."""
    for table in (rng.normal(size=(50, 2)), np.c_[np.arange(5.0), np.arange(5.0)]):
        np.savetxt(tmp_path / "s.txt", table)
        np.testing.assert_allclose(load_spectra(tmp_path / "s.txt").data, table)


def test_the_sky_and_the_fit_beside_a_spectrum_are_none(tmp_path):
    """As SDSS's SkyServer writes it."""
    text = "Wavelength,Flux,BestFit,SkyFlux\n" + lines(
        GRID, FLUX, FLUX - 1, FLUX + 1, separator=","
    )
    (tmp_path / "s.csv").write_text(text)
    with pytest.warns(UnusedDataWarning, match="Left unused: column 'BestFit', column 'SkyFlux'"):
        spectra = load_spectra(tmp_path / "s.csv")
    np.testing.assert_allclose(spectra.data, [FLUX])
    with pytest.warns(UnusedDataWarning, match="column 'Flux', column 'BestFit'"):
        spectra = load_spectra(tmp_path / "s.csv", column="SkyFlux")
    np.testing.assert_allclose(spectra.data, [FLUX + 1])
    with pytest.raises(ValueError, match="no column 'sky', only"):
        load_spectra(tmp_path / "s.csv", column="sky")


@pytest.mark.parametrize("name", ["flux_ivar", "Flux ivar", "IVAR", "invvar"])
def test_names_of_inverse_variances(name, tmp_path):
    text = f"wavelength,flux,{name},wave_err\n" + lines(
        GRID, FLUX, 4 + 0 * FLUX, GRID, separator=","
    )
    (tmp_path / "s.csv").write_text(text)
    with pytest.warns(UnusedDataWarning, match="Left unused: column 'wave_err'"):
        np.testing.assert_allclose(load_spectra(tmp_path / "s.csv").errors, 0.5)


def test_several_spectra_with_errors_each(tmp_path):
    text = "wavelength,a,a_err,b,b error\n" + lines(GRID, FLUX, FLUX, FLUX + 1, FLUX, separator=",")
    (tmp_path / "s.csv").write_text(text)
    spectra = load_spectra(tmp_path / "s.csv")
    np.testing.assert_allclose(spectra.data, [FLUX, FLUX + 1])
    np.testing.assert_allclose(spectra.errors, [FLUX, FLUX])
    (tmp_path / "s.csv").write_text(text.replace("b error", "b ivar"))
    with pytest.raises(ValueError, match=r"errors are of different kinds: \['error', 'ivar'\]"):
        load_spectra(tmp_path / "s.csv")


def test_an_ecsv_header_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = '# %ECSV 1.0\n# ---\n# meta: !!python/object/apply:os.mkdir ["boom"]\n'
    (tmp_path / "s.ecsv").write_text(
        header + "# datatype:\n# - {name: flux, datatype: float64}\nflux\n1\n"
    )
    with pytest.raises(ValueError, match="cannot be read as spectra"):
        load_spectra("s.ecsv")
    assert not (tmp_path / "boom").exists()


def test_errors_are_those_of_the_flux(tmp_path):
    text = "wavelength,flux,error,model\n" + lines(GRID, FLUX, FLUX, FLUX - 1, separator=",")
    (tmp_path / "s.csv").write_text(text)
    with pytest.warns(UnusedDataWarning, match="column 'flux', column 'error'"):
        spectra = load_spectra(tmp_path / "s.csv", column="model")
    np.testing.assert_allclose(spectra.data, [FLUX - 1])
    assert spectra.errors is None


def test_text_with_inverse_variances_and_flags(tmp_path):
    ivar, flags = np.full(12, 4.0), np.zeros(12)
    ivar[3], flags[5] = 0.0, 2
    text = "# wavelength flux ivar and_mask\n" + lines(GRID, FLUX, ivar, flags, form="{:.4g}")
    (tmp_path / "s.txt").write_text(text)
    spectra = load_spectra(tmp_path / "s.txt")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(spectra.data[0])), [3])
    np.testing.assert_allclose(np.delete(spectra.errors[0], 3), 0.5)
    np.testing.assert_array_equal(spectra.flags, [flags])
    masked = load_spectra(tmp_path / "s.txt", mask=True)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(masked.data[0])), [3, 5])


@pytest.mark.parametrize("name", ["s.ecsv", "s.txt", "s.csv"])
def test_ecsv(name, tmp_path):
    table = QTable({"wavelength": GRID, "flux": FLUX, "flux_error": 0.1 * FLUX})
    table["wavelength"].unit, table["flux"].unit = "nm", "Jy"
    table["flux"] = MaskedColumn(FLUX, mask=np.arange(12) == 4, unit="Jy")
    table["line"] = ["Hα, Hβ"] * 12
    table.meta["origin"] = "MUSCLES"
    table.write(tmp_path / name, format="ascii.ecsv")
    with pytest.warns(UnusedDataWarning, match="Left unused: column 'line'"):
        spectra = load_spectra(tmp_path / name)
    np.testing.assert_allclose(spectra.wavelengths, GRID)
    np.testing.assert_allclose(spectra.data, [np.where(np.arange(12) == 4, np.nan, FLUX)])
    np.testing.assert_allclose(spectra.errors, [0.1 * FLUX])
    assert (spectra.unit, spectra.wavelength_unit) == ("Jy", "nm")
    Table({"flux": ["a", "b"]}).write(tmp_path / "w.ecsv")
    with pytest.raises(ValueError, match="column 'flux' holds <U1, no numbers"):
        load_spectra(tmp_path / "w.ecsv")


# -- several files -----------------------------------------------------------------------------------


def write(folder, *names, grid=GRID, header="wavelength,flux\n"):
    for j, name in enumerate(names):
        (folder / name).write_text(header + lines(grid, FLUX + j, separator=","))


def test_lists_and_folders_of_one_grid_are_tables(tmp_path):
    write(tmp_path, "b.csv", "a.csv", "c.csv")
    (tmp_path / ".hidden.csv").write_text("nothing")
    (tmp_path / "inner").mkdir()
    spectra = load_spectra(tmp_path)
    np.testing.assert_allclose(spectra.data, FLUX + np.array([[1], [0], [2]]))
    np.testing.assert_allclose(spectra.wavelengths, GRID, atol=1e-4)
    assert list(spectra.files) == [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv")]
    chosen = load_spectra([tmp_path / "c.csv", str(tmp_path / "b.csv")])
    np.testing.assert_allclose(chosen.data, FLUX + np.array([[2], [0]]))
    apart = load_spectra(tmp_path, as_list=True)
    assert [len(one.data) for one in apart] == [1, 1, 1]


def test_files_of_different_grids_are_a_list_when_it_is_asked_for(tmp_path):
    write(tmp_path, "a.csv")
    write(tmp_path, "b.csv", grid=GRID + 1)
    with pytest.raises(
        ValueError, match=r"a.csv' and '.*b.csv' lie on different grids; .*as_list=True"
    ):
        load_spectra(tmp_path)
    first, second = load_spectra(tmp_path, as_list=True)
    np.testing.assert_allclose(second.wavelengths - first.wavelengths, 1.0)
    np.savetxt(tmp_path / "b.csv", [FLUX, FLUX])
    with pytest.raises(ValueError, match="lie on different grids"):
        load_spectra(tmp_path)  # one says its grid, the other does not


def test_files_that_do_not_go_together_are_named(tmp_path):
    write(tmp_path, "a.csv")
    (tmp_path / "b.csv").write_text(
        "wavelength,flux,error\n" + lines(GRID, FLUX, FLUX, separator=",")
    )
    with pytest.raises(ValueError, match=r"'.*a.csv' has no errors and others have"):
        load_spectra(tmp_path)
    write(tmp_path, "b.csv", header="wavelength (nm),flux\n")
    assert load_spectra(tmp_path).wavelength_unit is None
    write(tmp_path, "a.csv", header="wavelength (Angstrom),flux\n")
    with pytest.raises(ValueError, match=r"different units of wavelength: \['Angstrom', 'nm'\]"):
        load_spectra(tmp_path)
    (tmp_path / "b.csv").write_text("no, numbers")
    with pytest.raises(ValueError, match=r"b.csv' cannot be read as spectra from a .csv file"):
        load_spectra(tmp_path)


def test_air_and_vacuum_are_not_mixed(tmp_path):
    for medium in ("air", "vacuum"):
        image = fits.PrimaryHDU(np.ones((1, 5)))
        image.header.update(AIRORVAC=medium[:3], CRVAL1=400.0, CDELT1=1.0)
        image.writeto(tmp_path / f"{medium}.fits")
    with pytest.raises(ValueError, match=r"different media: \['air', 'vacuum'\]"):
        load_spectra(tmp_path)


def test_folders_and_lists_without_spectra(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder without spectra; known are \.csv"):
        load_spectra(tmp_path)
    with pytest.raises(ValueError, match="path is an empty list"):
        load_spectra([])
    with pytest.raises(FileNotFoundError, match=r"missing\.csv' is not a file"):
        load_spectra([tmp_path / "missing.csv"])
