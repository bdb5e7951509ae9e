"""Whole numbers as bytes, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from skae.compression.streams import Reader, Writer, expected_bits, pack, unpack

WHOLE = st.integers(-(2**53), 2**53)


@given(numbers=stn.arrays(np.int64, st.integers(1, 50), elements=WHOLE))
def test_any_whole_numbers_come_back(numbers):
    writer = Writer()
    writer.integers(numbers)
    reader = Reader(writer.content())
    np.testing.assert_array_equal(reader.integers(len(numbers)), numbers)
    reader.end()


@given(numbers=st.lists(st.integers(-(2**60), 2**60)), flags=stn.arrays(bool, st.integers(0, 40)))
def test_numbers_and_flags_come_back(numbers, flags):
    writer = Writer()
    for number in numbers:
        writer.signed(number)
    writer.flags(flags)
    reader = Reader(writer.content())
    assert [reader.signed() for _ in numbers] == numbers
    np.testing.assert_array_equal(reader.flags(len(flags)), flags)
    reader.end()


@pytest.mark.parametrize("spread", [0.3, 1.0, 30.0, 1e3, 1e6])
def test_normal_numbers_take_little_more_than_their_entropy(spread):
    numbers = np.rint(np.random.default_rng(0).normal(0.0, spread, size=50_000)).astype(np.int64)
    writer = Writer()
    writer.integers(numbers)
    bits = 8.0 * len(writer.content()) / len(numbers)
    counts = np.unique(numbers, return_counts=True)[1] / len(numbers)
    exact = -float(counts @ np.log2(counts))
    entropy = exact if spread < 100.0 else np.log2(spread * np.sqrt(2.0 * np.pi * np.e))
    assert bits < entropy + (0.1 if spread > 1.0 else 0.25)
    assert abs(expected_bits(numbers) / len(numbers) - bits) < 0.2


def test_a_frame_that_unpacks_to_more_is_refused():
    with pytest.raises(ValueError, match="does not have 10 bytes"):
        unpack(pack(bytes(10**6)), 10)
    with pytest.raises(ValueError, match="does not have 11 bytes"):
        unpack(pack(bytes(10)), 11)
    with pytest.raises(ValueError, match=r"not of zstd|does not have"):
        unpack(b"abc", 3)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff" * 20])
def test_a_number_that_is_none_is_refused(content):
    with pytest.raises(ValueError, match=r"ends too early|no end"):
        Reader(content).number()
