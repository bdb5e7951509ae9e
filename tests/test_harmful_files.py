"""Files that were damaged, or made to harm: refused, and nothing of them run."""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from fitted import FITTED, rewrite

import skae
from skae.training import packing


@pytest.fixture(scope="module")
def models():
    """Models whose files are changed."""
    names = ("jets", "jets-residual", "sequences-poisson", "every-transformer")
    return {name: FITTED[name]()[0] for name in names}


@pytest.fixture
def saved(models, tmp_path):
    path = tmp_path / "jets.safetensors"
    skae.save(models["jets"], path)
    return path


class Bomb:
    """What a pickle runs when it is read."""

    def __reduce__(self):
        return os.mkdir, ("boom",)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="no whole safetensors file"):
        skae.load("model")
    torch.save({"a": torch.zeros(2)}, "model")
    with pytest.raises(ValueError, match="no whole safetensors file"):
        skae.load("model")
    assert not Path("boom").exists()


@pytest.mark.usefixtures("no_pickles")
def test_no_pickle_is_read(saved):
    skae.load(saved)
    assert b"pickle" not in saved.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="cannot be loaded"):
        skae.load(saved)


def test_a_changed_weight_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="does not match its digest"):
        skae.load(saved)


def test_a_safetensors_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "model"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not written by skae"):
        skae.load(path)
    path.write_bytes(packing.to_bytes({"state": 1}))
    with pytest.raises(ValueError, match=r"not written by skae\.save"):
        skae.load(path)


def _objects(content):
    return content["estimator"]["objects"]


# An entry of each kind in the file: what it is recognised by.
_MARKS = {
    "estimator": lambda o: "requests" in o,
    "module": lambda o: "buffers" in o,
    "net": lambda o: "parts" in o,
    "neural": lambda o: "net_" in o.get("attributes", {}),
    "tensor": lambda o: "tensor" in o,
}


def _first(content, kind):
    return next(o for o in _objects(content) if _MARKS[kind](o))


def _foreign_class(name):
    def change(content):
        _first(content, "estimator")["class"] = name

    return change


def _attribute(kind, name, value):
    def change(content):
        _first(content, kind)["attributes"][name] = value

    return change


def _replaced(kind, part, value):
    def change(content):
        _first(content, kind)[part] = value

    return change


def _wrong_root(value):
    def change(content):
        content["estimator"]["root"] = value

    return change


def _wrong_optimizer(content):
    _first(content, "net")["parts"]["optimizer"] = ("class", "builtins.object")


def _root_at_a_module(content):
    objects = _objects(content)
    number = next(i for i, entry in enumerate(objects) if _MARKS["module"](entry))
    content["estimator"]["root"] = ("object", number)


HARM = {
    "a foreign class": _foreign_class("os.system"),
    "a dotted path": _foreign_class("skae.estimators._base.os.system"),
    "a module of ours": _foreign_class("skae.training"),
    "a class of another kind": _foreign_class("torch.nn.Linear"),
    "an abstract class": _foreign_class("skae.Latents"),
    "a hidden method": _attribute("estimator", "fit", "text"),
    "a hidden property": _attribute("neural", "module_", 1),
    "a dunder": _attribute("estimator", "__class__", ("class", "skae.PulseLocator")),
    "another dunder": _attribute("module", "__dict__", ("dict", [])),
    "a hidden forward": _attribute("module", "forward", ("ufunc", "add")),
    "hooks": _attribute("module", "_forward_hooks", ("dict", [[1, ("ufunc", "add")]])),
    "a function that is none": _attribute("estimator", "anything", ("ufunc", "load")),
    "a private function": _attribute("estimator", "anything", ("ufunc", "__loader__")),
    "a method of the reader": _attribute("estimator", "anything", ("net", 0)),
    "a class of the system": _attribute("estimator", "anything", ("class", "subprocess.Popen")),
    "a path for a tensor": _attribute("estimator", "anything", ("array", [0], "../../etc", [1])),
    "an object of the future": _attribute("estimator", "anything", ("object", 10**6)),
    "an object from behind": _attribute("estimator", "anything", ("object", -1)),
    "a cache of pickles": _attribute("estimator", "memory", "cache"),
    "a huge text": _attribute("estimator", "anything", ("entries", "<U999999999", [1], ["a"])),
    "a shape that is none": _attribute("estimator", "anything", ("entries", "O", [10**12], ["a"])),
    "no parameters": _replaced("estimator", "attributes", {}),
    "a class without objects": _foreign_class("torch.optim.Adam"),
    "a request for a dunder": _replaced("estimator", "requests", {"__init__": {"a": True}}),
    "a net of text": _replaced("net", "parts", {"module": "text", "criterion": "text"}),
    "another optimizer": _wrong_optimizer,
    "axes that are none": _replaced("tensor", "axes", [5]),
    "a root that is a number": _wrong_root(3),
    "a root that is a class": _wrong_root(("class", "skae.JetAutoencoder")),
    "a root that is a module": _root_at_a_module,
    "no objects": lambda content: {**content, "estimator": {"root": 1}},
    "versions that are none": lambda content: {**content, "versions": 3},
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_made_to_harm_is_refused(saved, harm):
    before = set(sys.modules)
    rewrite(saved, HARM[harm])
    with pytest.raises(ValueError, match="cannot be loaded"):
        skae.load(saved)
    assert not {"subprocess.Popen", "antigravity"} & (set(sys.modules) - before)


def test_deep_nesting_is_refused(saved):
    tensors = safetensors.torch.load(saved.read_bytes())
    text = b"[" * 100_000 + b"]" * 100_000
    tensors["json"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    digest = packing._digest(tensors)
    saved.write_bytes(safetensors.torch.save(tensors, {"digest": digest}))
    with pytest.raises(ValueError, match="cannot be loaded"):
        skae.load(saved)


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


def _mutated_text(tensors, rng):
    """Change the JSON in a file, at a place that matters: a word, a number or a bracket of it."""
    text = tensors["json"].numpy().tobytes()
    if rng.random() < 0.3:
        return _mutated(text, rng)
    value = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        _mutate_value(value, rng)
    return json.dumps(value).encode()


_JUNK = [
    None,
    True,
    -1,
    0,
    1e308,
    "",
    "tensor",
    "tuple",
    "object",
    "class",
    [],
    {},
    "__class__",
    "é",
]


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


def _fuzz(path, n, rng):
    """Load mutated files; return how many were loaded, refused by the digest, and refused behind it."""
    content = path.read_bytes()
    tensors = safetensors.torch.load(content)
    outcomes = {"loaded": 0, "digest": 0, "behind": 0}
    for index in range(n):
        if index % 4 == 0:
            path.write_bytes(_mutated(content, rng))
        else:  # with a digest that is right: most of what there is to break stands behind it
            text = _mutated_text(tensors, rng)
            code = torch.from_numpy(np.frombuffer(bytearray(text), dtype=np.uint8))  # may be empty
            changed = {**tensors, "json": code}
            digest = packing._digest(changed)
            path.write_bytes(safetensors.torch.save(changed, {"digest": digest}))
        try:
            skae.load(path)
            outcomes["loaded"] += 1
        except (ValueError, OSError):
            outcomes["digest" if index % 4 == 0 else "behind"] += 1
    return outcomes


@pytest.mark.filterwarnings(
    "ignore"
)  # of an altered version, say; an error may not be hidden by one
@pytest.mark.parametrize("name", ["jets-residual", "sequences-poisson", "every-transformer"])
def test_mutated_files_raise_nothing_but_value_and_os_errors(name, models, tmp_path, rng):
    _fuzz_and_check(name, 120, models, tmp_path, rng)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["jets-residual", "sequences-poisson", "every-transformer"])
def test_ten_thousand_mutated_files(name, models, tmp_path, rng):
    _fuzz_and_check(name, 3500, models, tmp_path, rng)


def _fuzz_and_check(name, n, models, tmp_path, rng):
    path = tmp_path / "model"
    skae.save(models[name], path)
    outcomes = _fuzz(path, n, rng)
    assert sum(outcomes.values()) == n
    assert outcomes["digest"] > 0.2 * n
    assert outcomes["behind"] > 0.2 * n
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
