"""What readers share: errors that name the file, and its kind."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

# The extras of skae that bring a library.
_EXTRAS = {
    "astropy": "spectra",
    "awkward": "root",
    "dask": "distributed",
    "h5py": "calo",
    "phconvert": "tags",
    "ptufile": "tags",
    "pyarrow": "parquet",
    "uproot": "root",
}
_PACKED = ("", ".gz", ".bz2", ".xz")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Say of whatever goes wrong with a file what it was to be."""
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r} is not a file.")
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"path={str(path)!r} needs {error.name} to be read; {install_hint(error.name)}."
        ) from error
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"path={str(path)!r} cannot be read as {what}: {error}") from error


def install_hint(library: str | None) -> str:
    """Say how to install a library that is missing."""
    name = str(library).partition(".")[0]
    return f"pip install skae[{_EXTRAS[name]}]" if name in _EXTRAS else f"pip install {name}"


def kind_of(path: Path, known: Collection[str], packed: Collection[str] = ()) -> str:
    """Return which of the known endings a file's name has, of some also with .gz, .bz2 or .xz behind."""
    for ending in known:
        behind = _PACKED if ending in packed else ("",)
        if path.name.lower().endswith(tuple(ending + more for more in behind)):
            return ending
    also = f" ({', '.join(packed)} also packed: {', '.join(_PACKED[1:])})" if packed else ""
    raise ValueError(f"path={str(path)!r} is of no known kind; known are {', '.join(known)}{also}.")
