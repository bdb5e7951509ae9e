"""load_photon_correlations reads what laboratories write."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from tags_as_written import write_phu

from skae.datasets import load_photon_correlations
from skae.exceptions import OutlierWarning

REAL = Path(__file__).parents[3] / "shared" / "data" / "g2"
needs_real = pytest.mark.skipif(
    not (REAL / "hbt_8uW_5100cps.txt.gz").exists(),
    reason="the measured histograms are not beside this checkout",
)

TABLE = "0.0\t1\t0\t2\n0.25\t0\t0\t1\n0.5\t4\t1\t1\n"


@pytest.mark.parametrize("separator", ["\t", ",", " ", ";", ", "])
@pytest.mark.parametrize(
    "head",
    [
        "",
        "delay a b c\n",
        "tau 0 1 2\n",
        "# made in a laboratory\n",
        "Laboratory, 24 November\ndelay (ns) first second third\n",
    ],
)
def test_tables_of_any_separator_are_read(tmp_path, separator, head):
    file = tmp_path / "g2.csv"
    head = head if head.startswith("#") else head.replace(" ", separator)
    file.write_text(head + TABLE.replace("\t", separator))
    g2 = load_photon_correlations(file)
    np.testing.assert_array_equal(g2.tau, [0.0, 0.25, 0.5])
    np.testing.assert_array_equal(g2.counts, [[1, 0, 4], [0, 0, 1], [2, 1, 1]])


def test_compressed_tables_and_broken_off_snapshots(tmp_path):
    file = tmp_path / "g2.txt.gz"
    file.write_bytes(gzip.compress(TABLE.encode()))
    g2 = load_photon_correlations(str(file), drop_last=2)
    np.testing.assert_array_equal(g2.counts, [[1, 0, 4]])


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff0,00\t1\t0\t2\n0,25\t0\t0\t1\n0,50\t4\t1\t1\n".encode(),
        "0,0;1;0;2\r\n0,25;0;0;1\r\n0,5;4;1;1\r\n".encode("utf-16"),
        "delay (µs)\ta\tb\tc\n".encode("latin-1") + TABLE.encode(),
        (TABLE.replace("\n", "\t\t\n") + "0.75\t\t\t\t\t\n1.0\t\t\t\t\t\n\t\t\t\t\t\n").encode(),
    ],
    ids=["byte-order mark, decimal commas", "utf-16", "latin-1", "blank cells at the end"],
)
def test_what_windows_and_spreadsheets_make_of_tables_is_read(tmp_path, content):
    file = tmp_path / "g2.txt"
    file.write_bytes(content)
    g2 = load_photon_correlations(file)
    np.testing.assert_array_equal(g2.tau, [0.0, 0.25, 0.5])
    np.testing.assert_array_equal(g2.counts, [[1, 0, 4], [0, 0, 1], [2, 1, 1]])


def test_a_decimal_sign_can_be_given(tmp_path):
    file = tmp_path / "g2.txt"
    file.write_text("1,024\t3\n1,280\t4\n")
    with pytest.raises(ValueError, match="decimal signs or separate thousands; say decimal=','"):
        load_photon_correlations(file)
    np.testing.assert_array_equal(load_photon_correlations(file, decimal=",").tau, [1.024, 1.28])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0\t1\n0\t2\n", {}, "does not increase"),
        ("0\t1\n1\t-2\n", {}, "1 of its counts are negative"),
        ("0\t1\n1\tx\n", {}, "cannot be read"),
        ("0\t1\n1\t\n2\t3\n", {}, "1 of its counts are missing or infinite, .* snapshot 0 of 1"),
        ("0\n1\n", {}, "0 snapshots"),
        ("0\t1\n1\t2\n", {"drop_last": 1}, "drop_last=1"),
        ("", {}, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, options, message):
    file = tmp_path / "g2.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_photon_correlations(file, **options)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_photon_correlations(tmp_path / "none.txt")


@needs_real
def test_a_measured_histogram_has_forty_peaks():
    g2 = load_photon_correlations(REAL / "hbt_8uW_5100cps.txt.gz", drop_last=2)
    assert g2.counts.shape == (290, 1954)
    histogram = g2.counts.sum(axis=0)
    frequencies = 1.0 / np.arange(11.0, 14.0, 0.01)
    waves = np.abs(np.exp(-2j * np.pi * np.outer(frequencies, g2.tau)) @ histogram)
    assert 11.0 + 0.01 * waves.argmax() == pytest.approx(12.5, abs=0.02)


@needs_real
@pytest.mark.filterwarnings("ignore::skae.exceptions.OutlierWarning")
@pytest.mark.parametrize("file", sorted(REAL.glob("hbt_*.txt.gz")), ids=lambda file: file.name)
def test_every_measured_table_is_read_to_the_last_count(file):
    rows = gzip.decompress(file.read_bytes()).decode("utf-8-sig").splitlines()
    table = np.array([row.split("\t") for row in rows if not row.endswith("\t")], dtype=float)
    g2 = load_photon_correlations(file)
    np.testing.assert_array_equal(g2.tau, table[:, 0])
    np.testing.assert_array_equal(g2.counts, table[:, 1:].T)
    assert len(g2.tau) == 1954
    assert g2.tau[0] == 0.0


@needs_real
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "a08_cw_1uW",
            "^11 of 140 snapshots .* median count of 128, .* snapshot 99: 99% of all counts",
        ),
        ("a20_1p5uW_day2", "^14 of 174 snapshots .* count of 15, .* snapshot 3: 70% of all counts"),
    ],
)
def test_measured_snapshots_that_dwarf_the_others_are_warned_of(name, message):
    with pytest.warns(OutlierWarning, match=message):
        load_photon_correlations(REAL / f"hbt_{name}.txt.gz", drop_last=2)


def test_what_the_warning_says_to_do_leaves_the_others(tmp_path):
    file = tmp_path / "g2.txt"
    file.write_text("0\t5\t51\t4\t100\t6\n1\t5\t50\t6\t0\t4\n")
    with pytest.warns(OutlierWarning, match="1 of 5 .* of 10, .* snapshot 1: 44% of all") as caught:
        counts = load_photon_correlations(file).counts
    assert caught[0].filename == __file__
    names = {"counts": counts, "numpy": np}
    exec(str(caught[0].message).partition("send them: ")[2].rstrip("."), names)
    np.testing.assert_array_equal(names["counts"], counts[[0, 2, 3, 4]])


@pytest.mark.parametrize("row", ["3\t2\t30", "0\t0\t500", "7"])
def test_ten_times_the_median_is_not_yet_warned_of_nor_are_rows_that_are_mostly_empty(
    row, tmp_path
):
    file = tmp_path / "g2.txt"
    file.write_text(f"0\t{row}\n1\t{row.replace('30', '0').replace('500', '0')}\n")
    load_photon_correlations(file)


# -- PicoQuant's histograms --------------------------------------------------------------------------


def test_curves_of_a_phu_are_snapshots(tmp_path):
    file = tmp_path / "histogram.phu"
    curves = [[0, 3, 4, 0, 0, 0], [1, 0, 0, 2**32 - 1, 0, 0], [5, 5, 5]]
    write_phu(file, curves, resolutions=[4e-12] * 3)
    with pytest.warns(OutlierWarning, match="1 of 3 .* snapshot 1"):
        g2 = load_photon_correlations(file)
    np.testing.assert_array_equal(g2.counts, [[0, 3, 4, 0], [1, 0, 0, 2**32 - 1], [5, 5, 5, 0]])
    np.testing.assert_allclose(g2.tau, [0.0, 4e-12, 8e-12, 12e-12], rtol=1e-15)
    assert len(load_photon_correlations(file, drop_last=2).counts) == 1


def test_histograms_that_do_not_fit_together_are_refused(tmp_path):
    file = tmp_path / "histogram.phu"
    write_phu(file, [[1, 2], [3, 4]], resolutions=[4e-12, 8e-12])
    with pytest.raises(ValueError, match=r"bins of \[4e-12, 8e-12\] s; they need one width"):
        load_photon_correlations(file)
    write_phu(file, [[1, 2], [3, 4]], resolutions=[4e-12, 4e-12])
    with pytest.raises(ValueError, match="2 snapshots; needed is one more than drop_last=2"):
        load_photon_correlations(file, drop_last=2)
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(ValueError, match="it was cut off"):
        load_photon_correlations(file)
    write_phu(file, [[0, 0]], resolutions=[4e-12])
    with pytest.raises(ValueError, match="none of its 1 curves has a count"):
        load_photon_correlations(file)
