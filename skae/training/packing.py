"""Nested states (those of a module, an optimiser, a history) as tensors and JSON, and back, exactly."""

import hashlib
import json
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

# JSON knows lists and string-keyed dicts only: everything else is a dict with one of these keys.
_TENSOR, _ARRAY, _TUPLE, _DICT = "tensor", "array", "tuple", "dict"

# The name of the JSON among the tensors, whose names are numbers.
_TEXT = "json"


def to_bytes(state: Any) -> bytes:
    """Return a nested state as the content of a safetensors file, with a digest of itself.

    Parameters
    ----------
    state : object
        Tensors, arrays, numbers, strings, booleans and None, in dicts, lists and tuples.

    Raises
    ------
    TypeError
        If something else is in it; the message says what and where.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(state, tensors, "state")).encode()
    # as a tensor among the others: the header that safetensors offers for text is small
    tensors[_TEXT] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    try:
        return safetensors.torch.save(tensors, {"digest": _digest(tensors)})
    except (KeyError, SafetensorError) as error:  # a dtype that it does not know
        raise TypeError(f"a tensor of the state cannot be saved ({error})") from error


def from_bytes(content: bytes) -> Any:
    """Return the state that :func:`to_bytes` was given, its tensors on the CPU.

    Raises
    ------
    ValueError
        If the content is not what was written: cut off, changed, or of something else.
    """
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        digest = header["__metadata__"]["digest"] if _TEXT in tensors else None
    except KeyError:
        digest = None
    except Exception as error:  # of which kind depends on what is wrong with it
        raise ValueError(f"it is no whole safetensors file ({error})") from error
    if digest is None:
        raise ValueError("it was not written by skae")
    if digest != _digest(tensors):
        raise ValueError("its content does not match its digest")
    try:
        return _unpack(json.loads(tensors[_TEXT].numpy().tobytes()), tensors)
    except Exception as error:  # somebody made a digest for it
        raise ValueError(f"it was not written by skae ({error})") from error


def digest_of(state: Any) -> str:
    """Return a digest of a nested state, the same in every process."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(state, tensors, "state"))
    return hashlib.blake2b((text + _digest(tensors)).encode(), digest_size=16).hexdigest()


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _pack(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Replace tensors by numbers, and give each container a form that JSON keeps.

    ``name`` says in an error where the value stands.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor | np.ndarray):
        is_tensor = isinstance(value, Tensor)
        try:
            tensor = value.detach().cpu() if is_tensor else torch.from_numpy(np.array(value))
            tensor = tensor.clone(memory_format=torch.contiguous_format)  # a storage of its own
        except (RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name} is no plain {type(value).__name__} ({error})") from error
        number = str(len(tensors))  # paths may coincide: "a.b" beside "a" that holds "b"
        tensors[number] = tensor
        return {_TENSOR if is_tensor else _ARRAY: number}
    if isinstance(value, list):
        return [_pack(v, tensors, f"{name}.{k}") for k, v in enumerate(value)]
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(v, tensors, f"{name}.{k}") for k, v in enumerate(value)]}
    if isinstance(value, dict):
        return {
            _DICT: [
                [_pack(k, {}, f"a key of {name}"), _pack(v, tensors, f"{name}.{k}")]
                for k, v in value.items()
            ]
        }
    raise TypeError(
        f"{name} is a {type(value).__name__}; only tensors, arrays, numbers, strings, booleans and None "
        "can be saved"
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == _ARRAY:
        return tensors[content].numpy()
    if kind == _TUPLE:
        return tuple(_unpack(v, tensors) for v in content)
    return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
