"""States in bytes: exact, complete, or an error."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skae.training.packing import digest_of, from_bytes, to_bytes

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()

dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])

arrays = dtypes.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0)))


states = st.recursive(
    scalars | arrays | arrays.map(torch.from_numpy),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=10,
)


def raw(array):
    return (array.numpy() if isinstance(array, torch.Tensor) else array).tobytes()


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        assert_same(list(a.values()), list(b.values()))
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif isinstance(a, torch.Tensor | np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert raw(a) == raw(b)
    else:
        assert a == b or (a != a and b != b)


@given(states)
def test_states_come_back_bit_for_bit(state):
    assert_same(from_bytes(to_bytes(state)), state)


@given(states, st.data())
def test_no_changed_byte_goes_unnoticed(state, data):
    """What is read is what was written or an error; spaces that pad the header may change."""
    content = bytearray(to_bytes(state))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        read = from_bytes(bytes(content))
    except ValueError:
        return
    assert_same(read, state)


@given(states, st.floats(0, 1, exclude_max=True))
def test_a_truncated_state_is_an_error(state, share):
    content = to_bytes(state)
    with pytest.raises(ValueError, match=r"safetensors|not written|digest"):
        from_bytes(content[: int(share * len(content))])


def test_shared_and_strided_tensors_are_saved_as_they_look():
    x = torch.arange(6.0).reshape(2, 3)
    assert_same(from_bytes(to_bytes([x.T, x[:, 1], x])), [x.T, x[:, 1], x])


def test_tensors_whose_paths_coincide_are_kept_apart():
    state = {
        "a.b": torch.zeros(2),
        "a": {"b": torch.ones(2)},
        1: torch.ones(1),
        "1": torch.zeros(1),
    }
    assert_same(from_bytes(to_bytes(state)), state)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1}, r"state\.a\.1 is a set; only tensors"),
        (torch.eye(3).to_sparse(), r"state\.a\.1 is no plain Tensor"),
        (np.zeros(2, dtype=">f4"), r"state\.a\.1 is no plain ndarray"),
        ({(1, print): 2}, r"a key of state\.a\.1\.1 is a builtin_function_or_method"),
    ],
    ids=["set", "sparse", "byte order", "key"],
)
def test_what_cannot_be_packed_is_named(value, message):
    with pytest.raises(TypeError, match=message):
        to_bytes({"a": [0, value]})


def test_a_long_history_is_no_header():
    """The header of a safetensors file holds 100 MB at most."""
    state = {"history": [{"batches": [{"train_loss": 0.1}] * 10}] * 10, "text": "x" * 110_000_000}
    assert from_bytes(to_bytes(state)) == state


def test_digests_tell_states_apart():
    state = {"a": torch.zeros(2), "b": [1, 2.0]}
    assert digest_of(state) == digest_of({"a": torch.zeros(2), "b": [1, 2.0]})
    assert digest_of(state) != digest_of({"a": torch.zeros(2), "b": [1, 2.5]})
    assert digest_of(state) != digest_of({"a": torch.ones(2), "b": [1, 2.0]})
