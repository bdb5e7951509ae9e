"""Nested states (of a module, an optimiser, a history) as bytes, exactly, and bytes as whole files."""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from skae._version import __version__

#: of everything that skae writes; another number means that this version cannot read it
FORMAT = 1

#: end of the names of files that are not whole yet
UNFINISHED = ".tmp"

# What a hostile file may ask for: bytes of one that is read whole (a larger zip file has another form),
# brackets of JSON beside those that its size explains, keys that are neither text nor small numbers.
_MOST_BYTES = 2**32
_MOST_BRACKETS = 2**20
_MOST_KEYS = 100
_SMALL = 2**20

# Of safetensors' header, which names the tensors: thousands fit, and the few words that skae adds.
_LONGEST_HEADER = 2**22
_LONGEST_ABOUT = 2**10

# JSON knows lists and string-keyed dicts only: everything else is a dict with one of these keys.
_TENSOR, _ARRAY, _TUPLE, _DICT, _SLICE = "tensor", "array", "tuple", "dict", "slice"

# The name of the JSON among the tensors, whose names are numbers.
_TEXT = "json"


def to_bytes(state: Any) -> bytes:
    """Return a nested state as the content of a safetensors file, with a digest of itself.

    Parameters
    ----------
    state : object
        Tensors, arrays, numbers, strings, booleans and None, in dicts, lists and tuples. A tensor that is
        met twice is one tensor again when it is read.

    Raises
    ------
    TypeError
        If something else is in it; the message says what and where.
    """
    packer = _Packer()
    text = json.dumps(packer.pack(state, "state")).encode()
    # as a tensor among the others: the header that safetensors offers for text is small
    tensors = {**packer.tensors, _TEXT: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    about = {"digest": _digest(tensors), "format": FORMAT, "version": __version__}
    try:
        # one entry: safetensors writes several in an order that changes from call to call
        return safetensors.torch.save(tensors, {"skae": json.dumps(about)})
    except (KeyError, SafetensorError) as error:  # a dtype that it does not know
        raise TypeError(f"a tensor of the state cannot be saved ({error})") from error


def from_bytes(content: bytes) -> Any:
    """Return the state that :func:`to_bytes` was given, its tensors on the CPU.

    Raises
    ------
    ValueError
        If the content is not what was written: cut off, changed, of something else, or of a version of
        skae that writes another format.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header has {length} bytes")
        header = parsed(content[8 : 8 + length])
        tensors = safetensors.torch.load(content)
    except Exception as error:  # of which kind depends on what is wrong with it
        raise ValueError(f"it is no whole safetensors file ({error})") from error
    try:
        about = parsed(header["__metadata__"]["skae"][:_LONGEST_ABOUT].encode())
        number, version, digest = about["format"], about["version"], about["digest"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("it was not written by skae") from error
    check_format(number, version)
    if digest != _digest(tensors):
        raise ValueError("its content does not match its digest")
    try:
        return _Unpacker(tensors).unpack(parsed(tensors[_TEXT].numpy().tobytes()))
    except Exception as error:  # somebody made a digest for it
        raise ValueError(f"it was not written by skae ({error})") from error


def parsed(text: bytes) -> Any:
    """Return what JSON of a file says.

    Raises
    ------
    ValueError
        If it is none as Python writes it, or would take many times its own size of memory.
    """
    n_brackets = text.count(b"[") + text.count(b"{")
    if n_brackets > _MOST_BRACKETS + len(text) // 16:
        raise ValueError(f"its text of {len(text)} bytes has {n_brackets} brackets")
    if not text.isascii():  # one wide character makes all of a text four times as large
        raise ValueError("its text is not in ASCII")
    return json.loads(text)


def check_keys(keys: Iterable[Any]) -> None:
    """Refuse keys that may have been chosen to have one hash: n of them cost a dictionary n² steps.

    Python draws the hashes of text anew in each process, and small numbers are their own.

    Raises
    ------
    TypeError
        If there are many that are neither text nor small numbers.
    """
    others = [k for k in keys if not (isinstance(k, str) or (type(k) is int and abs(k) < _SMALL))]
    if len(others) > _MOST_KEYS:
        raise TypeError(f"{len(others)} keys are neither text nor small numbers")


def check_format(number: Any, version: Any) -> None:
    """Refuse what a version of skae has written in another format.

    Raises
    ------
    ValueError
        If the format is another one; the message names both versions.
    """
    if str(number) != str(FORMAT):
        raise ValueError(
            f"it was written by skae {version} in the format {number}, and this is skae {__version__}, "
            f"which reads the format {FORMAT}"
        )


def digest_of(state: Any) -> str:
    """Return a digest of a nested state, the same in every process."""
    packer = _Packer()
    text = json.dumps(packer.pack(state, "state"))
    return hashlib.blake2b((text + _digest(packer.tensors)).encode(), digest_size=16).hexdigest()


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class _Packer:
    """Replaces tensors by numbers, and gives each container a form that JSON keeps.

    Attributes
    ----------
    tensors : dict of Tensor
        Copies by their numbers, each with a storage of its own.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._forms: dict[int, dict[str, Any]] = {}  # of tensors that were met, by their id

    def pack(self, value: Any, name: str) -> Any:
        """Return the form of a value; ``name`` says in an error where it stands."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Tensor | np.ndarray):
            if id(value) not in self._forms:
                self._forms[id(value)] = self._form(value, name)
            return self._forms[id(value)]
        if isinstance(value, list):
            return [self.pack(v, f"{name}.{k}") for k, v in enumerate(value)]
        if isinstance(value, tuple):
            return {_TUPLE: [self.pack(v, f"{name}.{k}") for k, v in enumerate(value)]}
        if isinstance(value, slice):
            return {_SLICE: [value.start, value.stop, value.step]}
        if isinstance(value, dict):
            check_keys(value)
            return {
                _DICT: [
                    [_Packer().pack(k, f"a key of {name}"), self.pack(v, f"{name}.{k}")]
                    for k, v in value.items()
                ]
            }
        raise TypeError(
            f"{name} is a {type(value).__name__}; only tensors, arrays, numbers, strings, booleans and "
            "None can be saved"
        )

    def _form(self, value: Tensor | np.ndarray, name: str) -> dict[str, Any]:
        is_tensor = isinstance(value, Tensor)
        try:
            tensor = value.detach().cpu() if is_tensor else torch.from_numpy(np.array(value))
            # sums over another order of the axes in memory differ in the last bit
            axes = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
            axes = [] if tensor.is_contiguous() else axes
            tensor = tensor.permute(axes) if axes else tensor
            tensor = tensor.clone(memory_format=torch.contiguous_format)  # a storage of its own
        except (RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name} is no plain {type(value).__name__} ({error})") from error
        number = str(len(self.tensors))  # paths may coincide: "a.b" beside "a" that holds "b"
        self.tensors[number] = tensor
        return {_TENSOR if is_tensor else _ARRAY: [number, axes]}


class _Unpacker:
    """Undoes what a :class:`_Packer` does."""

    def __init__(self, tensors: dict[str, Tensor]):
        self._stored = tensors
        self._tensors: dict[str, Tensor] = {}

    def unpack(self, value: Any) -> Any:
        """Return the value of a form."""
        if isinstance(value, list):
            return [self.unpack(v) for v in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind in (_TENSOR, _ARRAY):
            tensor = self._tensor(*content)
            return tensor if kind == _TENSOR else tensor.numpy()
        if kind == _TUPLE:
            return tuple(self.unpack(content))
        if kind == _SLICE:
            return slice(*content)
        keys = [self.unpack(k) for k, _ in content]
        check_keys(keys)
        return dict(zip(keys, [self.unpack(v) for _, v in content], strict=True))

    def _tensor(self, number: str, axes: list[int]) -> Tensor:
        """Return a tensor with its axes in the order that they had; the same one each time."""
        if number not in self._tensors:
            stored = self._stored[number]
            if axes and sorted(axes) != list(range(stored.ndim)):
                raise ValueError(f"{axes} is no order of {stored.ndim} axes")
            back = sorted(range(len(axes)), key=axes.__getitem__)
            self._tensors[number] = stored.permute(back) if axes else stored
        return self._tensors[number]


def read_whole(path: str | os.PathLike) -> bytes:
    """Return the content of a file, but of none that has no end or waits for a writer.

    Raises
    ------
    OSError
        If it is no regular file, or cannot be read.
    ValueError
        If it is larger than any that skae writes.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(f"{path} is a pipe or a device and no file")
        if about.st_size >= _MOST_BYTES:
            raise ValueError(f"{path} has {about.st_size} bytes, more than a file of skae's")
        return file.read(about.st_size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # which Windows has not


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it, and rename it; what was there before is kept until then.

    Raises
    ------
    OSError
        If that fails; nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the rename itself; Windows has no such thing
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some network mounts cannot
                os.fsync(folder)
        finally:
            os.close(folder)
