"""Text tables: whatever an instrument or a spreadsheet writes comes back, or is refused with a remedy."""

import bz2
import gzip
import lzma
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skae.datasets._text import read_table


def read(text, encoding="utf-8", **options):
    """What is read of a file that holds this text."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.txt")
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_table(path, **options)


# -- whatever way they are written -------------------------------------------------------------------

#: a byte-order mark, and the encoding of what follows
ENCODINGS = [
    (b"", "utf-8"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"", "latin-1"),
]
NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-1000, 1000).map(float), st.just(np.nan))


def write(numbers, delimiter, decimal, blank):
    """The lines of a table, where what is missing is blank, or another word."""

    def cell(x):
        if np.isnan(x):
            return blank
        return (str(int(x)) if x == int(x) else repr(x)).replace(".", decimal)

    return [delimiter.join(map(cell, row)) for row in numbers.tolist()]


@st.composite
def written_tables(draw):
    """Numbers, their names, and the bytes of a file that holds them, written in some way."""
    shape = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    numbers = np.array(draw(st.lists(NUMBERS, min_size=20, max_size=20)))[: np.prod(shape)]
    numbers = numbers.reshape(shape)
    delimiter = draw(st.sampled_from(["\t", " \t", ";", "; ", ",", ", ", " ", "   "]))
    decimal = "." if "," in delimiter else draw(st.sampled_from(".,"))
    separates = delimiter.strip(" ")  # not white space alone
    blank = draw(st.sampled_from(["", "nan", "NA"] if separates else ["nan", "NA"]))
    there = np.isfinite(numbers)
    assume(there.any(axis=0).all() and there.any(axis=1).all())  # an empty end is left out
    mark, comment = draw(st.sampled_from(["#", "%", "// ", "! "])), "24 µW; day 2, dark"
    lines = write(numbers, delimiter, decimal, blank)
    if separates and draw(st.booleans()):
        lines = [line + 2 * separates for line in [*lines, ""]]
    if draw(st.booleans()):
        lines[0] += " # " + comment
    lines.insert(draw(st.integers(0, len(lines))), mark + comment)
    names = draw(st.sampled_from([None, [f"µ_{letter}" for letter in "abcd"[: shape[1]]]]))
    lines = ([] if names is None else [delimiter.join(names)]) + lines
    lines = draw(st.sampled_from([[], ["Laboratory"], [mark + comment, ""]])) + lines
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(
        [*lines, *draw(st.sampled_from([[], [""]]))]
    )
    mark, encoding = draw(st.sampled_from(ENCODINGS))
    return numbers, names, mark + text.encode(encoding)


@given(written_tables())
def test_numbers_come_back_however_they_are_written(written):
    numbers, names, content = written
    table = read(content, least=2)
    np.testing.assert_array_equal(table.values, numbers)
    assert table.names == names


@given(
    st.lists(st.floats(0.01, 1e5), min_size=2, max_size=8),
    st.sampled_from(["{:.3f}", "{!r}"]),
)
def test_commas_that_are_delimiters_and_decimal_signs_are_refused_unless_quoted(row, form):
    cells = [form.format(x).replace(".", ",") for x in row]
    expected = [float(cell.replace(",", ".")) for cell in cells]
    quoted = read(",".join(f'"{cell}"' for cell in cells) + "\n", decimal=",")
    np.testing.assert_array_equal(quoted.values, [expected])
    names = ",".join("abcdefgh"[: len(cells)])
    with pytest.raises(ValueError, match=r"entries for|decimal signs"):
        read(names + "\n" + ",".join(cells) + "\n")


# -- one by one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers", "names"),
    [
        ("0,0\t12\n0,256\t13\n", [[0.0, 12.0], [0.256, 13.0]], None),
        ("1,5 2,5\n3 4\n", [[1.5, 2.5], [3.0, 4.0]], None),
        ('"1,5","2"\n"3,5","4"\n', [[1.5, 2.0], [3.5, 4.0]], None),
        ("1,\t2.5\n3,\t4\n", [[1.0, 2.5], [3.0, 4.0]], None),
        ("1\t2\n3\t4\t\n", [[1.0, 2.0], [3.0, 4.0]], None),
        ("1\t\n3\t4\n", [[1.0, np.nan], [3.0, 4.0]], None),
        ("a,b,c\n1,2,\n3,4,\n", [[1.0, 2.0, np.nan], [3.0, 4.0, np.nan]], ["a", "b", "c"]),
        (";;;\n1;2;3\n;;;\n4;5;6\n;;;\n", [[1, 2, 3], [np.nan] * 3, [4, 5, 6]], None),
        ("1\t#DIV/0!\n3\t4 # dark\n", [[1.0, np.nan], [3.0, 4.0]], None),
        ('"pt (GeV)",η\n1.5,2\n', [[1.5, 2.0]], ["pt (GeV)", "η"]),
        ("pt, η\n1 2\n", [[1.0, 2.0]], ["pt", "η"]),
        ("Begin of spectral data\n1.5\t2\n", [[1.5, 2.0]], None),
    ],
)
def test_what_spreadsheets_and_instruments_write(text, numbers, names):
    table = read(text)
    np.testing.assert_array_equal(table.values, numbers)
    assert table.names == names


def test_comments_may_hold_names_as_numpy_writes_them():
    assert read("# E pt\n1 2\n").remark == ["E", "pt"]
    assert read("# E, pt\n1 2\n").remark == ["E", "pt"]
    assert read("# measured on a Monday\n1 2\n").remark is None
    table = read("E\tpt\n# GeV\tGeV\n1\t2\n")
    assert (table.names, table.remark) == (["E", "pt"], None)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,5\n2,6\n", [[1.5], [2.6]]),
        ("1,024\t3\n", [[1.024, 3.0]]),
        ("0;1\n1,5;2\n", [[0, 1], [1.5, 2]]),
    ],
)
def test_a_decimal_sign_can_be_said(text, numbers):
    np.testing.assert_array_equal(read(text, decimal=",").values, numbers)


def test_commas_that_separate_can_be_said():
    np.testing.assert_array_equal(read("1,5\n2,6\n", decimal=".").values, [[1, 5], [2, 6]])
    np.testing.assert_array_equal(read("1,05\n2,06\n", decimal=".").values, [[1, 5], [2, 6]])
    np.testing.assert_array_equal(read("a,b\n1,5\n2,6\n").values, [[1, 5], [2, 6]])
    np.testing.assert_array_equal(read("1,5\n2,6\n", least=2).values, [[1, 5], [2, 6]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,5\n2,6\n", "may separate two columns or be the decimal signs of one; say decimal='.'"),
        ("0,05,1\n", "may be decimal signs, as in '0,05'; say decimal='.'"),
        ("1,024\t3\n1,280\t4\n", "decimal signs or separate thousands; say decimal=','"),
        ("1,5;2\n1.5;2\n", "both points and commas"),
        ("1.234,5;2\n", "no line of numbers"),
        ("1,2,3\n4,5\n", "row 2 of its numbers has 2 entries, others have 3: '4,5'"),
        ("1 2\n3 4 5\n", "row 1 of its numbers has 2 entries, others have 3: '1 2'"),
        ("1.5,2\nx,3\n", "'x' in line 2 of its numbers is no number"),
        ("1,x,3\n4,5,6\n", "'x' in its first row is no number; leave it blank"),
        (
            "E pt eta\n1 2 3 4\n",
            "the line before its numbers has 3 entries for 4 columns: 'E pt eta'",
        ),
        ("", "no line of numbers"),
        (b"1\x002\x00", "null bytes, .* save it as UTF-8"),
    ],
)
def test_what_is_ambiguous_or_broken_is_an_error_with_a_remedy(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_numbers_that_are_not_of_the_given_decimal_sign_are_refused():
    for text, decimal in [("0\t1\n0,5\t2\n", "."), ("1.5\t2\n", ","), ("0\t1\n1.5\t2\n", ",")]:
        with pytest.raises(ValueError, match=r"no number|no line of numbers"):
            read(text, decimal=decimal)


@pytest.mark.parametrize(
    "text",
    [
        100_000 * "9" + "x\n",
        "1 " + 100_000 * "9" + "\n2 x\n",
        "1;2\n" + 100_000 * " " + "x;3\n",
        "1,2\n" + 100_000 * "9" + " 1,x\n",
        100_000 * "#" + "\n",
    ],
    ids=range(5),
)
def test_long_entries_are_refused_in_linear_time(text):
    start = time.process_time()
    with pytest.raises(ValueError, match=r"no number|no line of numbers"):
        read(text, least=2)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(("ending", "module"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_tables(ending, module, tmp_path):
    path = tmp_path / f"table.txt{ending}"
    path.write_bytes(module.compress("\ufeff0,0\t1\n0,5\t2\n".encode()))
    np.testing.assert_array_equal(read_table(path).values, [[0.0, 1.0], [0.5, 2.0]])
