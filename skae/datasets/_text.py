"""Tables of numbers in text files, as instruments, spreadsheets, pandas and NumPy write them."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skae._sklearn import StrOptions

#: what the argument ``decimal`` of readers may be
DECIMAL = [StrOptions({".", ","}), None]

# In this order: the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OPENERS: dict[str, Callable] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# White space comes last: it may also stand beside the others.
_DELIMITERS = (";", "\t", ",", " ")
_BLANKS = " \t,;"

_DIGITS = {
    ".": r"\d+(?:\.\d*)?|\.\d+",
    ",": r"\d+(?:,\d+)?",
    ".,": r"\d+(?:\.\d*|,\d+)?|\.\d+",
}
_NUMBERS = {
    signs: re.compile(rf"[+-]?(?:{digits})(?:e[+-]?\d+)?|[+-]?inf(?:inity)?|nan", re.I)
    for signs, digits in _DIGITS.items()
}
_SPREADSHEET_ERRORS = ("#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!")
_MISSING = ("", "-", "--", "NA", "na", "n/a", "NULL", "null", "None", "none", *_SPREADSHEET_ERRORS)

_REMARK = re.compile(r'[ \t"]*(?:[#%!]|//)[#%!/ \t]*')
_ANNOUNCED = re.compile(r"[\w ]{1,30}: *")  # "columns: pt, eta, …"
_REMARK_LINES = re.compile(r'\n[ \t"]*(?:[#%!]|//)[^\n]*')
_REMARK_BEHIND = re.compile(
    rf"(?<=[ \t])#(?!{'|'.join(re.escape(error[1:]) for error in _SPREADSHEET_ERRORS)})[^\n]*"
)
# a comma that separates no thousands: behind a 0 or more than three digits, before other than three
_DECIMAL_COMMA = re.compile(r"(?<!\d)0\d*,|\d{4},|(?<!\d),|,(?!\d{3}(?![\de]))", re.I)


class Table(NamedTuple):
    """The numbers of a file, and what stands before them.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        NaN where an entry is blank.
    names : list of str or None
        Entries of the line before the numbers, one for each column.
    remark : list of str or None
        In place of names, those of a comment, as NumPy writes them, or of a comment that merely looks so.
    """

    values: np.ndarray
    names: list[str] | None
    remark: list[str] | None


def read_table(
    path: Path, *, decimal: str | None = None, least: int = 1, named: bool = True
) -> Table:
    """Read a table, after finding out how it is written.

    The encoding is that of the byte-order mark, else UTF-8, else Latin-1. Semicolons, tabs, commas or
    white space separate entries, which may be quoted. Lines that begin with #, %, ! or //, and what
    follows a # behind white space, are comments. Lines before the first that holds nothing but numbers
    are titles, the last of them names. Rows and columns at the end without any entry are left out.

    Parameters
    ----------
    path : Path
        The file, which may be compressed (.gz, .bz2, .xz).
    decimal : {".", ","}, default=None
        The decimal sign; None finds it.
    least : int, default=1
        How many columns there must be, which may tell a decimal comma from one that separates.
    named : bool, default=True
        Whether titles must be names, where there are several entries in the last one.

    Raises
    ------
    ValueError
        If the file holds no such table, or could be read in two ways.
    """
    titles, first_row, text, delimiter = _rows_of(path, decimal)
    sign = _decimal_sign(text, delimiter, decimal)
    values, n_filled = _parsed(text, delimiter, sign)
    table = _named(values, n_filled, titles, delimiter, named)
    if decimal is None and least == 1 and delimiter == ",":
        _refuse_what_may_be_one_column(first_row, table, text)
    return table


def read_integers(
    path: Path, choose: Callable[[list[str] | None, int], list[int]]
) -> list[np.ndarray]:
    """Read columns of whole numbers, exactly, of a table as :func:`read_table` reads it.

    Parameters
    ----------
    path : Path
        The file, which may be compressed (.gz, .bz2, .xz).
    choose : callable
        Returns which columns, of their names, or None, and of how many there are.

    Raises
    ------
    ValueError
        If the file holds no such table, or an entry of these columns is no whole number that fits into
        int64.
    """
    titles, _, text, delimiter = _rows_of(path, ".")
    width = len(_entries(text.partition("\n")[0], delimiter))
    table = _named(np.empty((0, width)), width, titles, delimiter, named=False)
    places = choose(table.names or table.remark, table.values.shape[1])
    # a column with "1e3" pandas would take by way of float64
    dtype = object if re.search("[.e]", text, re.I) else np.int64
    options = {"usecols": sorted(set(places)), "dtype": dtype, "na_filter": False}
    try:
        columns = _read_frame(text, delimiter, **options)
        if dtype is object:
            return [
                np.array([*map(int, columns[place].tolist())], dtype=np.int64) for place in places
            ]
    except (ValueError, OverflowError):
        _refuse_fractions(text, delimiter, places)
        raise
    return [columns[place].to_numpy() for place in places]


def _rows_of(path: Path, decimal: str | None) -> tuple[list[str], str, str, str]:
    """Return titles, the first row as it is, all rows without remarks, and what separates entries."""
    text = _decoded(_bytes_of(path))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    titles, text, delimiter = _split_head(text, decimal)
    first_row = text[:end] if (end := text.find("\n")) >= 0 else text
    text = _without_blank_end(_without_remarks(text))
    if '"' in text:
        text, delimiter = _unquoted(text, delimiter), "\t"
    return titles, first_row, text, delimiter


def _bytes_of(path: Path) -> bytes:
    with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
        return file.read()


def _decoded(content: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    if b"\0" in content:
        raise ValueError(
            "it holds null bytes, so it is no text, or UTF-16 without a byte-order mark; save it as UTF-8"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _split_head(text: str, decimal: str | None) -> tuple[list[str], str, str]:
    """Return the titles, the text from the first row of numbers on, and what separates its entries."""
    titles, start = [], 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = _REMARK_BEHIND.sub("", text[start:end])
        for delimiter in _DELIMITERS:
            if (delimiter in line or delimiter == " ") and _is_row(line, delimiter, decimal):
                return titles, text[start:], delimiter
        titles += [line] if line.strip(_BLANKS) else []
        start = end + 1
    raise ValueError(
        "it has no line of numbers; thousands' signs, and words beside numbers, are refused"
    )


def _is_row(line: str, delimiter: str, decimal: str | None) -> bool:
    signs = ".," if decimal is None else decimal
    if delimiter == "," and '"' not in line:
        signs = "." if decimal != "," else ""
    entries = [entry for entry in _entries(line, delimiter) if entry not in _MISSING]
    return bool(signs and entries) and all(map(_NUMBERS[signs].fullmatch, entries))


def _entries(line: str, delimiter: str) -> list[str]:
    if '"' in line:
        (entries,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    else:
        entries = line.split() if delimiter == " " else line.split(delimiter)
    return [entry.strip().strip("\"'") for entry in entries]


def _without_remarks(text: str) -> str:
    if any(mark in text for mark in "#%!/"):
        text = _REMARK_BEHIND.sub("", _REMARK_LINES.sub("", text))
    return text


def _without_blank_end(text: str) -> str:
    """Leave out lines at the end that have no entries."""
    end = text.find("\n", len(text.rstrip(_BLANKS + "\n")))
    return text if end < 0 else text[:end]


def _unquoted(text: str, delimiter: str) -> str:
    """Return a table whose entries are separated by tabs, and not quoted."""
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return "\n".join("\t".join(row) for row in rows)


def _decimal_sign(text: str, delimiter: str, decimal: str | None) -> str:
    if delimiter == ",":
        padded = None if decimal or "." in text else re.search(r"\d{1,9}, {0,9}0\d{1,9}", text)
        if padded:
            raise ValueError(
                f"its commas may be decimal signs, as in {padded[0]!r}; say decimal='.' if they separate "
                "columns, else write the table with tabs or semicolons between columns"
            )
        return "."
    if "," not in text or decimal == ".":
        return decimal or "."
    if "." in text:
        raise ValueError(
            "its numbers have both points and commas; write them without thousands' signs"
        )
    if decimal is None and not _DECIMAL_COMMA.search(text):
        raise ValueError(
            "its commas may be decimal signs or separate thousands; say decimal=',' if they are decimal "
            "signs, else write the numbers without separators"
        )
    return ","


def _parsed(text: str, delimiter: str, decimal: str) -> tuple[np.ndarray, int]:
    """Return the numbers, and how many columns have entries: more may be blank."""
    try:
        values = _read_csv(text, delimiter, decimal)
        if not np.isnan(values[:, -1]).any():
            return values, values.shape[1]
    except ValueError:
        values = np.empty((0, 0))
    # there are lines that are longer or shorter than the first
    n_filled, n_columns = _widths(text, delimiter)
    if values.shape[1] != n_columns:
        text = re.sub(rf"(?<! ) +(?={delimiter}|\n|\Z)", "", text)  # pandas takes "nan " for a word
        try:
            values = _read_csv(text, delimiter, decimal, names=range(n_columns))
        except ValueError:
            _refuse_words(text, delimiter, decimal)
            raise
    return values, n_filled


def _refuse_words(text: str, delimiter: str, decimal: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        for entry in _entries(line, delimiter):
            if entry not in _MISSING and not _NUMBERS[decimal].fullmatch(entry):
                raise ValueError(f"{entry[:80]!r} in line {number} of its numbers is no number")


def _read_csv(text: str, delimiter: str, decimal: str, names: range | None = None) -> np.ndarray:
    options = {"decimal": decimal, "names": names, "dtype": np.float64, "na_values": _MISSING}
    return _read_frame(text, delimiter, **options).to_numpy()


def _read_frame(text: str, delimiter: str, **options: Any) -> Any:
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(text.encode()), sep=r"\s+" if delimiter == " " else delimiter, header=None,
        index_col=False, skipinitialspace=" " in text, quoting=csv.QUOTE_NONE, **options,
    )  # fmt: skip


def _refuse_fractions(text: str, delimiter: str, places: list[int]) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        entries = _entries(line, delimiter)
        for place in places:
            entry = entries[place] if place < len(entries) else ""
            if not re.fullmatch(r"[+-]?\d+", entry) or not -(2**63) <= int(entry) < 2**63:
                raise ValueError(
                    f"{entry[:80]!r} in column {place} of row {number} is no whole number below 2^63"
                )


def _widths(text: str, delimiter: str) -> tuple[int, int]:
    """Return how many entries the longest row has, without and with blank ones at its end."""

    def count(line: str) -> int:
        return len(line.split()) if delimiter == " " else line.count(delimiter) + 1

    blanks = " " if delimiter == "\t" else " \t"
    lines = [line for line in text.split("\n") if line.strip(blanks)]
    n_filled = max(count(line.rstrip(" \t" + delimiter)) for line in lines)
    for number, line in enumerate(lines, start=1):
        if count(line) < n_filled:
            raise ValueError(
                f"row {number} of its numbers has {count(line)} entries, others have {n_filled}: "
                f"{line[:80]!r}"
            )
    return n_filled, max(map(count, lines))


def _named(
    values: np.ndarray, n_filled: int, titles: list[str], delimiter: str, named: bool
) -> Table:
    """Give columns their names, and leave out those at the end that have neither a name nor entries."""

    def fitting(title: str, most: int) -> list[str] | None:
        for separator in _DELIMITERS if delimiter == " " else (delimiter, *_DELIMITERS):
            names = _entries(title, separator)
            while len(names) > n_filled and not names[-1]:
                names.pop()
            if n_filled <= len(names) <= most:
                return names
        return None

    title = next((line for line in reversed(titles) if not _REMARK.match(line)), "")
    remark = next((line for line in reversed(titles) if _REMARK.match(line)), "")
    names = fitting(title, values.shape[1])
    said = _REMARK.sub("", remark, count=1)
    described = fitting(said, n_filled) or fitting(_ANNOUNCED.sub("", said), n_filled)
    if names is not None:
        _refuse_a_row_among_titles(names)
        return Table(values[:, : len(names)], names, None)
    if described is not None:
        return Table(values[:, : len(described)], None, described)
    if named and len(_entries(title, delimiter)) > 1:
        raise ValueError(
            f"the line before its numbers has {len(_entries(title, delimiter))} entries for {n_filled} "
            f"columns: {title[:80]!r}; give each column a name, or begin the line with #"
        )
    return Table(values[:, :n_filled], None, None)


def _refuse_a_row_among_titles(names: list[str]) -> None:
    if re.match(r"[+-]?\d", names[0]):
        words = [name for name in names if not _NUMBERS[".,"].fullmatch(name)]
        raise ValueError(
            f"{words[0]!r} in its first row is no number; leave it blank, or begin a line of names with #"
        )


def _refuse_what_may_be_one_column(first_row: str, table: Table, text: str) -> None:
    has_names = table.names is not None or table.remark is not None
    is_one = re.fullmatch(r"\s*[+-]?\d+,\d+(?:e[+-]?\d+)?\s*", first_row, re.I)
    if is_one and table.values.shape[1] == 2 and not has_names and "." not in text:
        raise ValueError(
            "its commas may separate two columns or be the decimal signs of one; say decimal='.' for "
            "the former and decimal=',' for the latter"
        )
