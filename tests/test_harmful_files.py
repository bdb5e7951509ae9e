"""Files that were damaged, or made to harm: refused, and nothing of them run."""

import io
import itertools
import json
import os
import pickle
import shutil
import struct
import sys
import tracemalloc
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
import safetensors.torch
import scipy.sparse
import sklearn
import skops.io
import torch
from fitted import FITTED, dictionaries, members_of, rewrite, rewrite_member, rewrite_net, write
from mutations import net_with
from scripts import printed_by
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from sklearn.random_projection import SparseRandomProjection

import skae
from skae.training import packing


@pytest.fixture(scope="module")
def models():
    """Models whose files are changed, and rows for them."""
    names = ("jets", "jets-residual", "sequences-poisson", "every-transformer")
    return {name: FITTED[name]() for name in names}


@pytest.fixture
def saved(models, tmp_path):
    path = tmp_path / "jets.skops"
    skae.save(models["jets"][0], path)
    return path


def _refused(path, match="cannot be loaded"):
    before = set(sys.modules)
    with pytest.raises(ValueError, match=match):
        skae.load(path)
    assert not {"subprocess.Popen", "antigravity"} & (set(sys.modules) - before)


class Bomb:
    """What a pickle runs when it is read."""

    def __reduce__(self):
        return os.mkdir, ("boom",)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model").write_bytes(pickle.dumps(Bomb()))
    _refused("model", "joblib.load reads .* run code: load only those that you trust")
    torch.save({"a": torch.zeros(2)}, "model")
    _refused("model")
    assert not Path("boom").exists()


def test_a_pickle_in_the_place_of_a_net_is_not_run(saved, tmp_path, monkeypatch):
    """skorch's nets hold pickles, which they read when they are given their state."""
    monkeypatch.chdir(tmp_path)

    def change(schema, members):
        content = _node(schema, "TrainingNet")["content"]["content"]
        content["__cuda_dependent_attributes__"] = content.pop("content")

    rewrite(saved, change)
    rewrite_member(saved, ".bin", lambda _: pickle.dumps(Bomb()))
    _refused(saved)
    with pytest.raises(KeyError):
        skops.io.load(saved, trusted=skae.TRUSTED_TYPES)
    assert not Path("boom").exists()


@pytest.mark.usefixtures("no_pickles")
def test_no_pickle_is_read(saved):
    skae.load(saved)
    assert b"pickle" not in saved.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    _refused(saved)


@pytest.mark.parametrize("member", [".npy", ".bin", "schema.json"])
def test_a_changed_member_is_noticed(saved, member):
    with ZipFile(saved) as file:
        info = next(m for m in file.infolist() if m.filename.endswith(member))
    content = bytearray(saved.read_bytes())
    content[info.header_offset + 30 + len(info.filename) + info.file_size - 5] ^= 1
    saved.write_bytes(content)
    _refused(saved, r"cannot be loaded: .*Bad CRC-32")


def test_a_changed_weight_is_noticed(saved):
    rewrite_member(saved, ".bin", lambda net: net[:-5] + bytes([net[-5] ^ 1]) + net[-4:])
    _refused(saved, "does not match its digest")


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "model"
    for content in (safetensors.torch.save({"weight": torch.zeros(3)}), packing.to_bytes([1])):
        path.write_bytes(content)
        _refused(path)
    skops.io.dump(StandardScaler(), path)
    _refused(path, r"not written by skae\.save")


# -- schemas ---------------------------------------------------------------------------------------

_NUMBERS = itertools.count(10**4)


def _node(schema, name):
    """Return the first object of a class."""
    return next(
        value
        for value in dictionaries(schema)
        if value.get("__class__") == name and isinstance(value.get("__loader__"), str)
    )


def _new(form, name, **rest):
    module, _, cls = name.rpartition(".")
    about = {"__module__": module, "__class__": cls, "__id__": next(_NUMBERS)}
    return {"__loader__": form, **about, **rest}


def _text(value):
    return _new("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def _dict(**values):
    types = [_new("TypeNode", "builtins.str") for _ in values]
    key_types = _new("ListNode", "builtins.list", content=types)
    return _new("DictNode", "builtins.dict", content=values, key_types=key_types)


def _list(*values, form="ListNode", name="builtins.list"):
    return _new(form, name, content=list(values))


def _array_in(file):
    return _new("NdArrayNode", "numpy.ndarray", type="numpy", file=file)


def _array(members, content):
    value = _array_in("")
    value["file"] = f"{value['__id__']}.npy"  # as skae numbers them: nothing else is wrong with it
    members[value["file"]] = content
    return value


def _of_class(name):
    def change(schema, members):
        module, _, cls = name.rpartition(".")
        _node(schema, "StandardScaler").update(__module__=module, __class__=cls)

    return change


def _attribute(cls, name, make):
    """Give the estimator of a class one more attribute; ``make`` may make members."""

    def change(schema, members):
        value = make(members) if callable(make) else make
        content = _node(schema, cls)["content"]
        if name not in content["content"]:
            content["key_types"]["content"].append(_new("TypeNode", "builtins.str"))
        content["content"][name] = value

    return change


def _anything(make):
    return _attribute("StandardScaler", "anything", make)


def _root(make):
    return lambda schema, members: {
        **{name: schema[name] for name in ("skae", "protocol", "_skops_version")},
        **make(schema),
    }


def _constructed(name):
    arguments = _list(form="TupleNode", name="builtins.tuple")
    return _new("ConstructorFromReduceNode", name, content=arguments)


def _numbered(number):
    return {**_text(1), "__id__": number}


def _random_state(pos=0, key=np.arange(624, dtype=np.uint32)):
    """Give an estimator random numbers that begin at a position of a key."""

    def make(members):
        twister = _dict(pos=_text(pos), key=_array(members, _npy("<u4", key.shape, key.tobytes())))
        values = {"bit_generator": _text("MT19937"), "state": twister}
        state = _dict(**values, has_gauss=_text(0), gauss=_text(0.0))
        return _new("RandomStateNode", "numpy.random.mtrand.RandomState", content=state)

    return _attribute("JetAutoencoder", "random_state", make)


#: values of an attribute; what is called with the members of the file may add to them
VALUES = {
    "a function that is none": _new("FunctionNode", "numpy.load"),
    "a private function": _new("FunctionNode", "numpy.__loader__"),
    "a form that is none": _new("net", "builtins.str"),
    "a class of the system": _new("TypeNode", "subprocess.Popen"),
    "a path for a member": _array_in("../../etc/passwd"),
    "a member of another": _array_in("schema.json"),
    "an object of the future": _new("CachedNode", "builtins.list"),
    "an object from behind": _numbered(-1),
    "a number that is none": _numbered(True),
    "a number of another": _numbered(2),
    "no number": _numbered(None),
    "a method": _new("MethodNode", "builtins.str", content={"func": "format", "obj": _text("a")}),
    "a partial function": _new(
        "PartialNode",
        "functools.partial",
        content=dict.fromkeys(("func", "args", "kwds"), _text(1)),
    ),
    "an operator": _new("OperatorFuncNode", "operator.methodcaller", attrs=_text(1)),
    "a class that is called": _constructed("skae.training.net.TrainingNet"),
    "a function that is called": _constructed(
        "sklearn.feature_selection._univariate_selection.f_classif"
    ),
    "a list of another class": _list(_text(1), name="torch.device"),
    "a dictionary of another class": {**_dict(), "__class__": "device", "__module__": "torch"},
    "random numbers of another kind": _new("RandomGeneratorNode", "numpy.random.Generator"),
    "a tree": _new("TreeNode", "sklearn.tree._tree.Tree"),
    "a huge text": lambda m: _array(m, _npy("<U999999999", (1,), b"a")),
    "a huge text of none": lambda m: _array(m, _npy("<U999999999", (0,), b"")),
    "a shape that is none": lambda m: _array(m, _npy("<f8", (10**12,), b"a")),
    "a negative shape": lambda m: _array(m, _npy("<f8", (-1, -1), bytes(8))),
    "an array of objects": lambda m: _array(m, _npy("|O", (1,), pickle.dumps(Bomb()))),
}

HARM = {
    **{name: _anything(value) for name, value in VALUES.items()},
    "a foreign class": _of_class("os.system"),
    "a dotted path": _of_class("skae.estimators._base.os.system"),
    "a module of ours": _of_class("skae.training"),
    "a class of another kind": _of_class("torch.nn.modules.linear.Linear"),
    "an abstract class": _of_class("skae.modules.latents.Latents"),
    "a class without objects": _of_class("torch.optim.adam.Adam"),
    "a hidden method": _attribute("StandardScaler", "fit", _text("text")),
    "a hidden property": _attribute("JetAutoencoder", "module_", _text(1)),
    "no constraints": _attribute("JetAutoencoder", "_parameter_constraints", _dict()),
    "a folder to write to": _attribute("JetAutoencoder", "checkpoint", _text("folder")),
    "callbacks": _attribute("JetAutoencoder", "callbacks", _list(_text("a"))),
    "scikit-learn's callbacks": _attribute("Pipeline", "_skl_callbacks", _list(_text("a"))),
    "requests of text": _attribute("StandardScaler", "_metadata_request", _text("text")),
    "random numbers from elsewhere": _random_state(pos=10**9),
    "random numbers from before": _random_state(pos=-1),
    "random numbers that are all zero": _random_state(key=np.zeros(624, dtype=np.uint32)),
    "a dunder": _attribute(
        "StandardScaler",
        "__class__",
        _new("TypeNode", "skae.estimators.pulse_locator.PulseLocator"),
    ),
    "a request for a dunder": _attribute(
        "StandardScaler", "_metadata_request", _dict(__init__=_dict(a=_text(True)))
    ),
    "a cache of pickles": _attribute("Pipeline", "memory", _text("cache")),
    "a net of text": _attribute("JetAutoencoder", "net_", _text("net")),
    "no parameters": lambda schema, members: _node(schema, "StandardScaler").update(
        content=_dict(_sklearn_version=_text(sklearn.__version__))
    ),
    "a root that is a number": _root(lambda schema: _text(3)),
    "a root that is a class": _root(
        lambda schema: _new("TypeNode", "skae.estimators.jet_autoencoder.JetAutoencoder")
    ),
    "a root that is a net": _root(lambda schema: _node(schema, "TrainingNet")),
    "no root": _root(lambda schema: {}),
    "an early protocol": lambda schema, members: {**schema, "protocol": 0},
    "versions that are none": lambda schema, members: schema["skae"].update(versions=3),
    "no versions": lambda schema, members: schema.update(skae=3),
}


def _npy(dtype, shape, content):
    """Return an array file whose header says what it is told to."""
    header = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize("harm", HARM)
def test_a_file_made_to_harm_is_refused(saved, harm):
    rewrite(saved, HARM[harm])
    _refused(saved)


def test_a_file_that_was_only_rewritten_is_read(saved):
    """What refuses the files above is what was changed in them."""
    rewrite(saved, _anything(_list(_text(1), _text("a"))))
    assert skae.load(saved)[0].anything == [1, "a"]
    rewrite(saved, _random_state(pos=624))
    state = skae.load(saved)[1].random_state.get_state(legacy=False)["state"]
    assert state["pos"] == 624
    np.testing.assert_array_equal(state["key"], np.arange(624))


# -- nets ------------------------------------------------------------------------------------------


def _module(parts):
    """Return a module that has parameters and no modules inside."""
    level = [parts["module"]]
    while not (level[0]["parameters"] and not level[0]["modules"]):
        level = [*level[0]["modules"].values(), *level[1:]]
    return level[0]


def _module_with(part, name, value):
    return lambda parts: _module(parts)[part].update({name: value})


NETS = {
    "a foreign class": lambda parts: _module(parts).update({"class": "os.system"}),
    "an optimizer for a module": lambda parts: _module(parts).update({"class": "torch.Adam"}),
    "a module for a net": lambda parts: {**parts, "module": "text", "criterion": "text"},
    "another dunder": _module_with("attributes", "__dict__", {}),
    "a class": _module_with("attributes", "__class__", "text"),
    "a hidden forward": _module_with("attributes", "forward", "text"),
    "a hidden forward of tensors": _module_with("buffers", "forward", torch.zeros(2)),
    "a hidden forward of modules": _module_with("modules", "forward", None),
    "a compiled call": _module_with("attributes", "_compiled_call_impl", "text"),
    "hooks": _module_with("attributes", "_forward_hooks", {1: "text"}),
    "parameters that are none": _module_with("parameters", "weight", "text"),
    "no parameters": lambda parts: _module(parts).pop("parameters") and None,
    "another optimizer": lambda parts: {**parts, "optimizer": "object"},
    "no optimizer": lambda parts: {**parts, "optimizer": None},
    "a seed that is none": lambda parts: parts["training"].update(seed="text"),
    "no history": lambda parts: parts["training"].pop("history") and None,
}


@pytest.mark.parametrize("harm", NETS)
def test_a_net_made_to_harm_is_refused(saved, harm):
    rewrite_net(saved, NETS[harm])
    _refused(saved)


def _with_text(saved, change):
    """Change the text of the net in a file, and give it the digest that belongs to it."""
    rewrite_member(saved, ".bin", lambda net: net_with(net, change))


def test_axes_that_are_none_are_refused(saved):
    assert b'{"tensor": ["3", []]}' in _texts(saved)
    _with_text(saved, lambda text: text.replace(b'["3", []]', b'["3", [5]]'))
    _refused(saved, "is no order of")


def _texts(path):
    found = []
    _with_text(path, lambda text: found.append(text) or text)
    return found[0]


@pytest.mark.parametrize("harm", ["the net", "the schema", "a text in the schema"])
def test_deep_nesting_is_refused(saved, harm):
    deep = "[" * 100_000 + "]" * 100_000
    if harm == "the net":
        _with_text(saved, lambda text: deep.encode())
    elif harm == "the schema":
        write(saved, {"schema.json": deep})
    else:
        rewrite(saved, _anything({**_text(1), "content": deep}))
    _refused(saved)


# -- sizes -----------------------------------------------------------------------------------------


def _in_bounded_memory(path, most=64 * 2**20):
    tracemalloc.start()
    try:
        _refused(path)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_a_member_that_unpacks_to_gigabytes_is_refused_unread(saved):
    large = {"1000.npy": np.zeros(2**25).tobytes()}
    write(saved, {**members_of(saved), **large}, ZIP_DEFLATED)
    assert saved.stat().st_size < 2**20
    _in_bounded_memory(saved)


def test_members_that_lie_over_one_another_are_refused_unread(saved):
    with ZipFile(saved, "w", ZIP_STORED) as file:
        file.writestr("schema.json", "{}")
        file.writestr("1.npy", bytes(2**20))
        for number in range(2, 500):
            info = file.getinfo("1.npy")
            copy = type(info)(f"{number}.npy")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(copy, name, getattr(info, name))
            file.filelist.append(copy)
    _in_bounded_memory(saved)


def test_a_member_is_read_once_however_many_ask_for_it(saved):
    def change(schema, members):
        large = _array(members, _npy("|u1", (2**21,), bytes(2**21)))
        copies = [{**large, "__id__": next(_NUMBERS)} for _ in range(2000)]
        _anything(_list(large, *copies))(schema, members)

    rewrite(saved, change)
    _in_bounded_memory(saved)


def test_objects_that_double_at_each_level_are_refused(saved):
    value = _text("lol")
    for _ in range(30):  # each twice: a reference would be enough, if it were read
        value = _list(value, {"__id__": value["__id__"], "__loader__": "ListNode"})
    rewrite(saved, _anything(value))
    _in_bounded_memory(saved)


def test_a_number_does_not_become_as_many_bytes(saved):
    def change(schema, members):
        value = _array(members, _npy("<i8", (), struct.pack("<q", 10**11)))
        _anything({**value, "__class__": "void"})(schema, members)

    rewrite(saved, change)
    _in_bounded_memory(saved)


def test_no_more_members_than_a_model_has_are_read(saved, monkeypatch):
    monkeypatch.setattr("skae._skops._MOST_MEMBERS", 3)
    _refused(saved, r"has \d members")


# -- content that compiled code would follow -------------------------------------------------------


def _fitted(step, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    path = tmp_path / "model"
    skae.save(make_pipeline(step.fit(X)), path)
    skae.load(path)
    return path


def _with_members(path, change):
    """Change those arrays of a file that ``change`` returns something for."""

    def rewritten(schema, members):
        for name in [name for name in members if name.endswith(".npy")]:
            changed = change(np.load(io.BytesIO(members[name])))
            if changed is not None:
                file = io.BytesIO()
                np.save(file, changed)
                members[name] = file.getvalue()

    rewrite(path, rewritten)


def test_a_tree_of_neighbours_whose_indices_lead_out_of_it_is_refused(tmp_path):
    path = _fitted(KNeighborsTransformer(algorithm="kd_tree", mode="distance"), tmp_path)
    _with_members(path, lambda a: a + 10**9 if a.dtype == np.intp and a.ndim == 1 else None)
    _refused(path, "tree of neighbours")


def test_a_spline_whose_knots_are_missing_is_refused(tmp_path):
    path = _fitted(SplineTransformer(), tmp_path)
    _with_members(path, lambda a: a[:2] if a.ndim == 1 and a.dtype == float else None)
    _refused(path)


def _with_matrix(change, tmp_path):
    """Save a step with a sparse matrix, for which ``change`` writes another."""
    path = _fitted(SparseRandomProjection(2, random_state=0), tmp_path)

    def changed(content):
        file = io.BytesIO()
        change(io.BytesIO(content), file)
        return file.getvalue()

    rewrite_member(path, ".npz", changed)
    return path


def test_a_sparse_matrix_whose_indices_lead_out_of_it_is_refused(tmp_path):
    def change(old, new):
        matrix = scipy.sparse.load_npz(old)
        matrix.indices[:] = 10**6
        scipy.sparse.save_npz(new, matrix, compressed=False)

    _refused(_with_matrix(change, tmp_path), "indices")


def test_a_sparse_matrix_that_unpacks_to_gigabytes_is_refused(tmp_path):
    def change(_, new):
        write(new, {"data.npy": np.zeros(2**25).tobytes()}, ZIP_DEFLATED)

    _in_bounded_memory(_with_matrix(change, tmp_path))


# -- time and memory -------------------------------------------------------------------------------

_MODULUS = sys.hash_info.modulus  # numbers that it divides have the hash 0


def _one_hash(n=20_000):
    return [k * _MODULUS for k in range(1, n)]


def _numbers_for_keys(schema, members):
    values = {str(k): _text(1) for k in _one_hash()}
    types = _list(*[_new("TypeNode", "builtins.int") for _ in values])
    _anything(_new("DictNode", "builtins.dict", content=values, key_types=types))(schema, members)


def _with_header(change):
    """Change the header of the net in a file."""

    def changed(net):
        length = int.from_bytes(net[:8], "little")
        header = json.loads(net[8 : 8 + length])
        text = json.dumps(change(header) or header).encode()
        return len(text).to_bytes(8, "little") + text + net[8 + length :]

    return lambda path: rewrite_member(path, ".bin", changed)


def _many_tensors(header):
    end = max(entry["data_offsets"][1] for k, entry in header.items() if k != "__metadata__")
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [end, end]}
    return header | {f"x{k}": empty for k in range(200_000)}


def _many_members(path):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, *(0,) * 8, 7, *(0,) * 6)
    directory = b"".join(entry + b"%07d" % k for k in range(200_000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    path.write_bytes(directory + end)


def _wide_text(path):
    members = members_of(path)
    schema = members["schema.json"].decode()[:-1] + ', "x": "\U0001f600' + "a" * 2**24 + '"}'
    write(path, {**members, "schema.json": schema.encode()})


def _bytes_of_a_number(schema, members):
    value = _array(members, _npy("<i8", (), struct.pack("<q", 10**11)))
    _anything({**value, "__class__": "bytes_"})(schema, members)


def _fifo(path):
    path.unlink()
    os.mkfifo(path)


def _device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def _sparse(path):
    with open(path, "r+b") as file:
        file.truncate(100 * 10**9)


_LISTS = "[" + "[]," * 3_000_000 + "[]]"


def _changed(change):
    return lambda path: rewrite(path, change)


#: what is done to a file: small ones that ask for hours or gigabytes, and what is none
BOMBS = {
    "keys of one hash": _changed(_numbers_for_keys),
    "a set of one hash": _changed(
        _anything(_new("SetNode", "builtins.set", content=[_text(k) for k in _one_hash()]))
    ),
    "objects of one hash": _changed(
        _anything(_list(*[{**_text(1), "__id__": k} for k in _one_hash()]))
    ),
    "versions of one hash": _changed(
        lambda schema, members: schema["skae"].update(versions=[[k, 1] for k in _one_hash()])
    ),
    "keys of one hash in a net": lambda path: _with_text(
        path, lambda text: json.dumps({"dict": [[k, 1] for k in _one_hash()]}).encode()
    ),
    "lists in the schema": lambda path: write(path, {"schema.json": _LISTS}),
    "lists in a net": lambda path: _with_text(path, lambda text: _LISTS.encode()),
    "lists in a net's description": _with_header(lambda header: {"__metadata__": {"skae": _LISTS}}),
    "tensors in a net": _with_header(_many_tensors),
    "members": _many_members,
    "a wide character": _wide_text,
    "a number for bytes": _changed(_bytes_of_a_number),
    "a pipe that nobody writes to": _fifo,
    "a device without an end": _device,
    "a sparse file": _sparse,
}

# Loads each file of a folder; says what that raised, the seconds and megabytes it took.
MEASURE = """
import faulthandler, json, resource, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import skae

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
files = sorted(Path(sys.argv[1]).iterdir(), key=lambda path: path.name != "whole")
found = {}
for path in files:
    faulthandler.dump_traceback_later(60, exit=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = peak(), time.process_time()
    try:
        skae.load(path)
        error = None
    except Exception as raised:
        error = type(raised).__name__
    found[path.name] = error, time.process_time() - start, peak() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def measured(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    skae.save(models["jets"][0], folder / "whole")
    for name, arm in BOMBS.items():
        shutil.copy(folder / "whole", folder / name)
        arm(folder / name)
    return json.loads(printed_by(MEASURE, folder))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("name", BOMBS)
def test_a_file_takes_neither_hours_nor_gigabytes(name, measured):
    assert measured["whole"][0] is None
    error, seconds, megabytes = measured[name]
    assert error in ("ValueError", "OSError")
    assert seconds < 2
    assert megabytes < 200


# -- mutations -------------------------------------------------------------------------------------

# Mutated files of all models in a folder are used in a process of its own, in bounded memory.
FUZZ = """
import json, resource, sys, warnings
from pathlib import Path
import numpy as np
import torch
from mutations import fuzz

warnings.simplefilter("ignore")  # of an altered version, say; an error may not be hidden by one
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
folder, rows, n = Path(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
print(json.dumps({path.name: fuzz(path, rows[path.name], n, seed=0) for path in folder.iterdir()}))
"""
FUZZED = ("jets-residual", "sequences-poisson", "every-transformer")


@pytest.mark.parametrize(
    ("names", "n"),
    [
        pytest.param(FUZZED, 60, id="quick"),
        *(pytest.param((name,), 3500, id=name, marks=pytest.mark.slow) for name in FUZZED),
    ],
)
def test_mutated_files_are_refused_or_can_be_used(names, n, models, tmp_path):
    """Neither ends the process, and nothing is written."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in names:
        skae.save(models[name][0], folder / name)
    np.savez(tmp_path / "rows.npz", **{name: models[name][1] for name in names})
    found = json.loads(printed_by(FUZZ, folder, tmp_path / "rows.npz", n))
    for outcomes in found.values():
        assert sum(outcomes.values()) == n
        assert outcomes["loaded"] > 0
        assert outcomes["sums"] > 0.2 * n
        assert outcomes["behind"] > 0.2 * n
    assert {path.name for path in folder.iterdir()} == {*names} == {*found}
