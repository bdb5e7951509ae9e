"""What readers share: errors that name the file, and the heads of tables."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Say of whatever goes wrong with a file what it was to be."""
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r} is not a file.")
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"path={str(path)!r} needs {error.name} to be read; pip install {error.name}."
        ) from error
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"path={str(path)!r} cannot be read as {what}: {error}") from error


def kind_of(path: Path, known: Collection[str]) -> str:
    """Return which of the known endings a file's name has."""
    for ending in known:
        if path.name.lower().endswith(ending):
            return ending
    raise ValueError(f"path={str(path)!r} is of no known kind; known are {', '.join(known)}.")


def read_head(path: Path) -> tuple[list[str], list[str], str]:
    """Return the remarks that a table begins with, the words of its first line, and their separator."""
    remarks: list[str] = []
    with open(path, encoding="utf-8-sig") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                return remarks, words_of(line), "," if "," in line else r"\s+"
            remarks.append(line)
    return remarks, [], r"\s+"


def words_of(line: str) -> list[str]:
    """Return the entries of a line, separated by commas or white space, without quotes."""
    words = line.split(",") if "," in line else line.split()
    return [word.strip().strip("\"'") for word in words]


def is_number(word: str) -> bool:
    """Tell numbers from names."""
    try:
        float(word)
    except ValueError:
        return False
    return True
