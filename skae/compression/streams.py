"""Whole numbers as bytes, and back.

A number is split in two: its low bits, which look random, are stored as they are, and the rest, seldom
more than a few dozen different numbers, goes through zstd, which gives each as many bits as it is rare.
"""

import sys
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from skae._extras import optional

_LEVEL = 19
_MAGIC = (0xFD2FB528).to_bytes(4, "little")  # of zstd, at the front of each of its frames
_LARGEST_WINDOW = 23  # as a power of two: bytes that a frame may ask for
_SYMBOLS = 255  # that stand for themselves; the last one says that a number is written out
_WORST = 1 << 62


@cache
def zstd() -> ModuleType:
    """Return Python's own zstd, or its backport.

    Raises
    ------
    ImportError
        If there is none; the message says how to install it.
    """
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return optional("skae.compress", "compress", name)[0]


def pack(content: bytes) -> bytes:
    """Compress bytes, without what every frame of zstd begins with."""
    library = zstd()
    parameter = library.CompressionParameter
    options = {
        parameter.compression_level: _LEVEL,
        parameter.content_size_flag: 0,
        parameter.checksum_flag: 0,
    }
    return library.compress(content, options=options)[len(_MAGIC) :]


def unpack(content: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that were packed.

    Raises
    ------
    ValueError
        If there are others, or more or fewer.
    """
    library = zstd()
    options = {library.DecompressionParameter.window_log_max: _LARGEST_WINDOW}
    opened = library.ZstdDecompressor(options=options)
    try:
        found = opened.decompress(_MAGIC + content, max_length=size + 1)
    except library.ZstdError as error:
        raise ValueError(f"a part of it is not of zstd ({error})") from error
    if len(found) != size or not opened.eof or opened.unused_data:
        raise ValueError(f"a part of it does not have {size} bytes")
    return found


class Writer:
    """Bytes that are written one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def number(self, value: int) -> None:
        """Write a number of 0 or more, seven bits a byte."""
        part = bytearray()
        while value > 127:
            part.append(value & 127 | 128)
            value >>= 7
        self.parts.append(bytes([*part, value]))

    def signed(self, value: int) -> None:
        """Write a number of either sign."""
        self.number(2 * value if value >= 0 else -2 * value - 1)

    def packed(self, content: bytes) -> None:
        """Write bytes, compressed, behind their length."""
        content = pack(content) if content else b""
        self.number(len(content))
        self.parts.append(content)

    def raw(self, content: bytes) -> None:
        """Write bytes as they are."""
        self.parts.append(content)

    def flags(self, are: np.ndarray) -> None:
        """Write booleans (n,); if none is true, that."""
        self.packed(np.packbits(are).tobytes() if are.any() else b"")

    def integers(self, numbers: np.ndarray) -> None:
        """Write whole numbers (n,), int64."""
        base, shift = _layout(numbers)
        centred = numbers - base
        high = centred >> shift
        is_far = (high < -127) | (high > 127)
        symbols = np.where(is_far, _SYMBOLS, high + 127).astype(np.uint8)
        self.signed(base)
        self.number(shift)
        self.packed(symbols.tobytes())
        low = np.where(is_far, 0, centred)[:, None] >> np.arange(shift) & 1  # (n, shift)
        self.raw(np.packbits(low.astype(bool)).tobytes())
        if is_far.any():
            self.packed(_planes(centred[is_far].astype("<i8")))

    def values(self, values: np.ndarray) -> None:
        """Write values of any dtype bit for bit."""
        if len(values):
            self.packed(_planes(values.astype(values.dtype.newbyteorder("<"), copy=False)))

    def content(self) -> bytes:
        """Return all that was written."""
        return b"".join(self.parts)


class Reader:
    """Reads what a :class:`Writer` has written.

    Every method raises a ValueError if that is not there, before it takes memory for it.
    """

    def __init__(self, content: bytes, start: int = 0):
        self.content = content
        self.position = start

    def number(self) -> int:
        """Read a number of 0 or more."""
        value, shift = 0, 0
        while True:
            (byte,) = self.raw(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 63:
                raise ValueError("a number of it has no end")
        if value > 2 * _WORST:
            raise ValueError(f"it has the number {value}")
        return value

    def signed(self) -> int:
        """Read a number of either sign."""
        value = self.number()
        return -(value + 1) // 2 if value % 2 else value // 2

    def raw(self, size: int) -> bytes:
        """Read so many bytes."""
        part = self.content[self.position : self.position + size]
        if len(part) != size:
            raise ValueError("it ends too early")
        self.position += size
        return part

    def packed(self, size: int) -> bytes:
        """Read what will be ``size`` bytes; without any, there are none."""
        content = self.raw(self.number())
        return unpack(content, size) if content else b""

    def flags(self, n: int) -> np.ndarray:
        """Read booleans (n,)."""
        content = self.packed((n + 7) // 8)
        if not content:
            return np.zeros(n, dtype=bool)
        return np.unpackbits(np.frombuffer(content, np.uint8), count=n).astype(bool)

    def integers(self, n: int) -> np.ndarray:
        """Read whole numbers (n,), int64."""
        base, shift = self.signed(), self.number()
        if abs(base) > _WORST or shift > 62:
            raise ValueError("it has whole numbers beyond 64 bits")
        symbols = np.frombuffer(self.packed(n), np.uint8)
        if len(symbols) != n:
            raise ValueError("it lacks numbers")
        low = np.unpackbits(
            np.frombuffer(self.raw((n * shift + 7) // 8), np.uint8), count=n * shift
        )
        centred = symbols.astype(np.int64) - 127 << shift
        for place, bits in enumerate(low.reshape(n, shift).T):
            centred |= bits.astype(np.int64) << place
        is_far = symbols == _SYMBOLS
        if is_far.any():
            centred[is_far] = _from_planes(self.packed(8 * int(is_far.sum())), np.dtype("<i8"))
        return centred + base

    def values(self, n: int, dtype: Any) -> np.ndarray:
        """Read n values of a dtype."""
        dtype = np.dtype(dtype)
        if not n:
            return np.empty(0, dtype)
        return _from_planes(self.packed(n * dtype.itemsize), dtype.newbyteorder("<"))

    def end(self) -> None:
        """Refuse what follows."""
        if self.position != len(self.content):
            raise ValueError("it goes on behind its end")


def expected_bits(numbers: np.ndarray) -> float:
    """Return about how many bits whole numbers (n,) take."""
    if not len(numbers):
        return 0.0
    base = int(np.median(numbers))
    return min(_bits(numbers - base, shift) for shift in _shifts(numbers - base))


def _layout(numbers: np.ndarray) -> tuple[int, int]:
    """Return what is subtracted from numbers, and how many of their bits are stored as they are."""
    if not len(numbers):
        return 0, 0
    base = int(np.median(numbers))
    centred = numbers - base
    return base, min(_shifts(centred), key=lambda shift: _bits(centred, shift))


def _shifts(centred: np.ndarray) -> Iterable[int]:
    """Return the numbers of low bits that are worth a trial."""
    widths = np.quantile(np.abs(centred.astype(np.float64)), [0.5, 0.999])
    first, last = (int(np.log2(width + 1.0)) for width in widths)
    return range(max(0, first - 6), min(62, max(0, last - 3)) + 1)


def _bits(centred: np.ndarray, shift: int) -> float:
    """Return the entropy of the high parts, the low bits, and what is written out, in bits."""
    high = centred >> shift
    is_far = (high < -127) | (high > 127)
    counts = np.bincount(np.where(is_far, _SYMBOLS, high + 127))
    counts = counts[counts > 0]
    entropy = float(counts @ np.log2(len(centred) / counts))
    return entropy + 5.0 * len(counts) + shift * len(centred) + 50.0 * float(is_far.sum())


def _planes(values: np.ndarray) -> bytes:
    """Return the first bytes of all values, then the second ones, and so on."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1).T.tobytes()


def _from_planes(content: bytes, dtype: np.dtype) -> np.ndarray:
    """Return the values whose bytes these are, in the machine's order."""
    if len(content) % dtype.itemsize or not content:
        raise ValueError("it lacks values")
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype)[:, 0].astype(dtype.newbyteorder("="))
