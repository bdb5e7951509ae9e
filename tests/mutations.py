"""Mutated files of models, and what comes of using them: run in a process that may crash."""

import contextlib
import faulthandler
import json

import numpy as np
import safetensors.torch
import torch
from fitted import members_of, write
from sklearn.base import clone

import skae
from skae.training import packing


def _mutated(content, rng):
    """Change a few bytes, or bits, cut something out, or put something in."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(content)))
        match rng.integers(5):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                content[place] = int(rng.integers(256))
            case 2:
                del content[place : place + int(rng.integers(1, 20))]
            case 3:
                content[place:place] = rng.bytes(int(rng.integers(1, 20)))
            case 4:
                content = content[:place] or bytearray(b"\0")
    return bytes(content)


def _changed_text(text, rng):
    """Change JSON, at a place that matters: a word, a number or a bracket of it."""
    if rng.random() < 0.3:
        return _mutated(text, rng)
    value = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        _mutate_value(value, rng)
    return json.dumps(value).encode()


_JUNK = [
    None, True, -1, 0, 1e308, "", "tensor", "tuple", "object", "class", "TypeNode", "ObjectNode",
    "FunctionNode", "ConstructorFromReduceNode", [], {}, "__class__", "é",
]  # fmt: skip


def _mutate_value(value, rng):
    """Walk down to some entry, and replace, drop, double or swap it."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        inner = value[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
            value = inner
            continue
        match rng.integers(4):
            case 0:
                value[key] = _JUNK[rng.integers(len(_JUNK))]
            case 1:
                del value[key]
            case 2:
                value[key] = value[keys[rng.integers(len(keys))]]
            case 3 if isinstance(value, dict):
                value[str(_JUNK[rng.integers(len(_JUNK))])] = value.pop(key)
            case _:
                value[key] = [inner]
        return


def fuzz(path, X, n, seed):
    """Load mutated files, and use what is loaded; return how many were, or were refused, and by what.

    What is loaded may be wrong, and say so when it is used: it may not end the process, nor hang.
    """
    rng = np.random.default_rng(seed)
    content, members = path.read_bytes(), members_of(path)
    outcomes = {"loaded": 0, "sums": 0, "behind": 0}
    for index in range(n):
        if index % 4 == 0:
            path.write_bytes(_mutated(content, rng))
        else:  # with sums that are right: most of what there is to break stands behind them
            _write_mutated(path, members, rng)
        faulthandler.dump_traceback_later(30, exit=True)
        try:
            model = skae.load(path)
        except (ValueError, OSError):
            outcomes["sums" if index % 4 == 0 else "behind"] += 1
        else:
            outcomes["loaded"] += 1
            use(model, X)
    faulthandler.cancel_dump_traceback_later()
    return outcomes


def use(model, X):
    """Use an estimator in all ways that a user has, whatever they raise."""
    for call in (
        repr,
        clone,
        lambda m: m.transform(X),
        lambda m: m.predict(X),
        lambda m: m.fit(X, X),
    ):
        with contextlib.suppress(Exception):
            call(model)


def _write_mutated(path, members, rng):
    names = list(members)
    name = "schema.json" if rng.random() < 0.5 else names[rng.integers(len(names))]
    if name == "schema.json":
        changed = _changed_text(members[name], rng)
    elif name.endswith(".bin"):
        changed = net_with(members[name], lambda text: _changed_text(text, rng))
    else:
        changed = _mutated(members[name], rng)
    write(path, {**members, name: changed})


def net_with(content, change):
    """Return a net whose text is changed, with the digest that belongs to it."""
    tensors = safetensors.torch.load(content)
    text = change(tensors["json"].numpy().tobytes())
    code = torch.from_numpy(np.frombuffer(bytearray(text), dtype=np.uint8))  # may be empty
    tensors = {**tensors, "json": code}
    about = {"digest": packing._digest(tensors), "format": packing.FORMAT, "version": "1"}
    return safetensors.torch.save(tensors, {"skae": json.dumps(about)})
