"""Headers that ask for what no table has are refused, before there is memory for it."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from skae.compression import header
from skae.compression.bounds import Column
from skae.compression.header import Header
from skae.compression.polynomials import Chain
from skae.compression.streams import Reader, Writer

NOTHING = np.zeros(0, np.int64)
CHAIN = Chain(
    order=[1, 0],
    modes=[2, 0],
    degree=1,
    middles=[3, -4],
    lows=[-9, -9],
    highs=[9, 9],
    widths=[2, 3],
    rests=[1, 1],
    coefficients=[np.array([5, -7]), NOTHING],
    scales=[-3, 0],
)
COLUMNS = [Column("float64", "relative", 1e-3, 2e-3, 1e-6), Column("int16", "exact", 0.0)]
GOOD = Header(7, ["E", 3], True, COLUMNS, CHAIN, np.zeros(0), None)


def read_back(written):
    writer = Writer()
    written.write(writer)
    return Header.read(Reader(writer.content()))


def test_a_header_comes_back():
    with_model = replace(GOOD, latent_steps=np.array([0.5]), model=b"model" * 9)
    with_model = replace(with_model, chain=replace(CHAIN, modes=[1, 0], coefficients=[NOTHING] * 2))
    for one in (GOOD, with_model, replace(GOOD, is_frame=False, names=[0, 1])):
        back = read_back(one)
        for name in ("n_rows", "names", "is_frame", "columns", "model"):
            assert getattr(back, name) == getattr(one, name)
        np.testing.assert_array_equal(back.latent_steps, one.latent_steps)
        for name, value in vars(one.chain).items():
            if name != "coefficients":
                assert getattr(back.chain, name) == value
        for ours, its in zip(back.chain.coefficients, one.chain.coefficients, strict=True):
            np.testing.assert_array_equal(ours, its)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": [0, 0]}, "no order of its columns"),
        ({"modes": [4, 0]}, "in a way that is not known"),
        ({"modes": [3, 0]}, "no model for its predictions"),
        ({"middles": [2**61, 0]}, "out of range"),
        ({"widths": [0, 1]}, "no range"),
        ({"lows": [10, 0]}, "no range"),
        ({"scales": [1001, 0]}, "polynomials are out of range"),
        ({"degree": 0}, "polynomials of degree 0 in 2 columns"),
    ],
)
def test_a_chain_that_predicts_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read_back(replace(GOOD, chain=replace(CHAIN, **change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2, "version": "9.9"}, "written by skae 9.9 in the format 2"),
        ({"rows": -1}, "has the number -1"),
        ({"rows": True}, "has the number True"),
        ({"rows": 2**61}, "has the number"),
        ({"names": ["a", "a"]}, "no names"),
        ({"names": [["a"], 1]}, "unhashable|no names"),
        ({"names": []}, "no names"),
        ({"names": 2**40, "frame": False}, "has the number"),
        ({"components": 2**40}, "has the number"),
        ({"components": 30}, "ends too early|no steps|out of range|no order|no names"),
        ({"degree": 3}, "has the number 3"),
        ({"dtypes": ["float64", "object"]}, "'exact' of 'object'"),
        ({"kinds": ["relative", "lossy"]}, "'lossy' of 'int16'"),
        ({"kinds": ["relative"]}, "shorter"),
    ],
)
def test_what_a_header_says_of_itself_is_checked(change, message, monkeypatch):
    dumps = json.dumps
    monkeypatch.setattr(
        header.json, "dumps", lambda about, **options: dumps({**about, **change}, **options)
    )
    writer = Writer()
    GOOD.write(writer)
    tracemalloc.start()
    with pytest.raises((ValueError, TypeError), match=message):
        Header.read(Reader(writer.content()))
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize("numbers", [(np.nan, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, np.inf)])
def test_a_column_without_cells_is_refused(numbers):
    column = object.__new__(Column)
    vars(column).update(dtype="float64", kind="absolute")
    vars(column).update(zip(("bound", "step", "offset"), numbers, strict=True))
    with pytest.raises(ValueError, match="a column has the numbers"):
        read_back(replace(GOOD, columns=[column, COLUMNS[1]]))


def test_latent_coordinates_need_steps_and_models_need_them():
    chain = replace(CHAIN, modes=[0, 0], coefficients=[NOTHING] * 2)
    for step in (0.0, np.nan, -1.0):
        with pytest.raises(ValueError, match="no steps"):
            read_back(replace(GOOD, chain=chain, latent_steps=np.array([step])))
    with pytest.raises(ValueError, match="a model, and no use for it"):
        read_back(replace(GOOD, model=b"model"))


def test_polynomials_in_too_many_columns_are_refused():
    d = 31
    chain = Chain(list(range(d)), [2] * d, 2, *([0] * d for _ in range(3)), [1] * d, [1] * d,
                  [NOTHING] * d, [0] * d)  # fmt: skip
    with pytest.raises(ValueError, match="polynomials of degree 2 in 31 columns"):
        read_back(Header(1, list(range(d)), False, COLUMNS[1:] * d, chain, np.zeros(0), None))


def test_a_part_that_unpacks_to_gigabytes_is_refused():
    writer = Writer()
    writer.number(2**25)
    writer.packed(bytes(2**25))
    with pytest.raises(ValueError, match=f"a part of it has {2**25} bytes"):
        Header.read(Reader(writer.content()))
