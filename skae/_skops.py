"""Files of skops in the one form that skae writes, and what is checked before and after skops reads one.

skops looks at the types in a file. It does not look at sizes: a member that unpacks to gigabytes, an
array whose header asks for them, ten thousand references to one member, brackets in brackets, keys
of one hash. A file in this form has none of these, and is read in time and memory that its own size
bounds. Nor does it look at what objects hold: indices that compiled code would follow, attributes that
hide those of a class.
"""

import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from scipy.interpolate import BSpline
from scipy.sparse import load_npz
from sklearn.base import BaseEstimator
from sklearn.neighbors import BallTree, KDTree

from skae._sklearn import SIMPLE_METHODS
from skae.training.net import TrainingNet
from skae.training.net_file import hides_class_attribute
from skae.training.packing import check_keys, parsed

_SCHEMA = "schema.json"
_MOST_MEMBERS = 65_000  # of more a zip file has another form
_LONGEST_SCHEMA = 2**25
_LONGEST_DIRECTORY = 2**23  # of a zip file, with the names of its members
_END_OF_ZIP, _OF_ZIP64 = b"PK\5\6", b"PK\6\7"
_DEEPEST = 200
_LONGEST_TEXT = 2**16  # bytes of an entry in an array of text
_FIRST_PROTOCOL = 2  # of skops 0.16

_ANY_TRUSTED = r"(?s:.*)"

# The forms that skops gives to values, and the classes that each is for: elsewhere a name from the file
# would be called with values from the file.
_FORMS = {
    "BytesNode": r"builtins\.bytes",
    "ConstructorFromReduceNode": r"torch\.device|pathlib\.(_local\.)?(Posix|Windows)Path",
    "DTypeNode": r"numpy\.dtype",
    "DictNode": r"builtins\.dict|sklearn\.utils\._bunch\.Bunch",
    "FunctionNode": _ANY_TRUSTED,
    "JsonNode": r"builtins\.str",
    "ListNode": r"builtins\.list",
    "LossNode": r"(sklearn\.(_loss\._loss|linear_model\._sgd_fast)|_loss)\.\w+",
    "NdArrayNode": r"numpy\.(ndarray|bool_?|str_|u?int\d+|float\d+|longdouble|u?longlong)",
    "ObjectNode": _ANY_TRUSTED,
    "RandomStateNode": r"numpy\.random\.mtrand\.RandomState",
    "SetNode": r"builtins\.set",
    "SliceNode": r"builtins\.slice",
    "SparseMatrixNode": r"scipy\.sparse\._csr\.csr_matrix",
    "TupleNode": r"builtins\.tuple",
    "TypeNode": _ANY_TRUSTED,
}
_OF_A_SPARSE_MATRIX = ("data", "format", "indices", "indptr", "shape")
_SPARE_NUMBERS = 2**16  # objects are counted: other numbers may have been chosen to have one hash
_KEYS = re.compile(r"builtins\.(str|int|float)|numpy\.(str_|u?int\d+|float\d+)")
_SUFFIXES = {"BytesNode": ".bin", "NdArrayNode": ".npy", "SparseMatrixNode": ".npz"}

_LIBRARIES = ("skae", "sklearn")

#: what refers back to the estimator, or belongs to a run
LEFT_OUT = ("_metadata_request", "_skl_callbacks", "_skl_callbacks_to_teardown")

#: parameters that belong to a machine or a run, and not to a model: a file may not say where to write
NEVER_SAVED = ("callbacks", "checkpoint", "memory", "sampler")


# -- writing ---------------------------------------------------------------------------------------


def normalized(content: bytes, about: dict[str, Any]) -> bytes:
    """Return a file of skops in the one form: the same bytes for the same estimator.

    skops names objects by their addresses, and members by random numbers; here both are counted, and
    nothing is compressed. ``about`` is what the file says of itself; skops reads over it.
    """
    buffer = io.BytesIO()
    with ZipFile(io.BytesIO(content)) as old, ZipFile(buffer, "w", ZIP_STORED) as new:
        numbers: dict[int, dict[str, Any]] = {}

        def renumbered(value: Any) -> Any:
            if isinstance(value, list):
                return [renumbered(v) for v in value]
            if not isinstance(value, dict):
                return value
            if not _is_node(value):
                return {k: renumbered(v) for k, v in value.items()}
            if value["__id__"] not in numbers:
                node = numbers[value["__id__"]] = {"__id__": len(numbers) + 1}
                node |= {k: renumbered(v) for k, v in value.items() if k not in ("__id__", "file")}
                if "file" in value:
                    node["file"] = f"{node['__id__']}{_SUFFIXES[value['__loader__']]}"
                    _write(new, node["file"], old.read(value["file"]))
            return numbers[value["__id__"]]

        schema = {"skae": about, **renumbered(json.loads(old.read(_SCHEMA)))}
        _write(new, _SCHEMA, json.dumps(schema).encode())
    return buffer.getvalue()


def _write(file: ZipFile, name: str, content: bytes) -> None:
    if name.endswith(".npz"):
        buffer = io.BytesIO()
        with ZipFile(io.BytesIO(content)) as old, ZipFile(buffer, "w", ZIP_STORED) as new:
            for inner in sorted(old.namelist()):
                _write(new, inner, old.read(inner))
        content = buffer.getvalue()
    file.writestr(ZipInfo(name), content)  # which has a date of its own, always the same


# -- reading ---------------------------------------------------------------------------------------


def checked(content: bytes) -> Any:
    """Return what a file says of itself, if it has the form of :func:`normalized`; nothing of it is run.

    Raises
    ------
    Exception
        Of any kind, if it has not.
    """
    if not content.startswith(b"PK"):
        raise ValueError(
            "it was not written by skae.save; joblib.load reads files of joblib.dump and pickles, which "
            "run code: load only those that you trust"
        )
    with _opened(content) as file:
        if _SCHEMA not in file.namelist():
            raise ValueError("it was not written by skae.save")
        if file.getinfo(_SCHEMA).file_size > _LONGEST_SCHEMA:
            raise ValueError(f"its schema has more than {_LONGEST_SCHEMA} bytes")
        schema = parsed(file.read(_SCHEMA))
        if not isinstance(schema, dict) or not isinstance(schema.get("skae"), dict):
            raise ValueError("it was not written by skae.save")
        about = schema.pop("skae")
        if not schema["protocol"] >= _FIRST_PROTOCOL:
            raise ValueError("it has an early protocol of skops, which skae never wrote")
        _check_nodes(schema)
    return about


def _opened(content: bytes) -> ZipFile:
    """Open a zip file of the plain form, and check its members; its end says how many there are."""
    end = content[-22:]
    if end[:4] != _END_OF_ZIP or end[-2:] != b"\0\0":
        raise ValueError("File is not a zip file")
    is_long = int.from_bytes(end[12:16], "little") > _LONGEST_DIRECTORY
    if is_long or content[-42:-38] == _OF_ZIP64:
        raise ValueError("it was not written by skae.save: it has more than a model has")
    file = ZipFile(io.BytesIO(content))
    _check_members(file, len(content))
    return file


def _check_members(file: ZipFile, size: int) -> None:
    """Refuse members that are compressed, lie over one another, or are no whole arrays."""
    members = file.infolist()
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"it has {len(members)} members")
    if any(member.compress_type != ZIP_STORED for member in members):
        raise ValueError("a member is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members are larger than the file")
    for member in members:
        if member.filename.endswith(".npy"):
            _check_array(file.read(member))
        elif member.filename.endswith(".npz"):
            _check_sparse(file.read(member))


def _check_array(content: bytes) -> None:
    """Refuse an array whose header asks for other bytes than there are, or for objects."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(file)
    if dtype.hasobject or dtype.itemsize > _LONGEST_TEXT:
        raise ValueError(f"an array has the dtype {str(dtype)[:50]}")
    if min(shape, default=0) < 0:
        raise ValueError(f"an array has the shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} has {len(content) - file.tell()} bytes")


def _check_sparse(content: bytes) -> None:
    """Refuse a sparse matrix whose indices lead out of it: compiled code follows them unchecked."""
    with _opened(content) as file:
        if not {*file.namelist()} <= {f"{k}.npy" for k in _OF_A_SPARSE_MATRIX}:
            raise ValueError("a sparse matrix has members that it has no use for")
    matrix = load_npz(io.BytesIO(content))
    if matrix.format != "csr":
        raise ValueError(f"a sparse matrix is in the form {matrix.format}")
    matrix.check_format(full_check=True)


def _check_nodes(schema: dict[str, Any]) -> None:
    """Refuse what skops never writes.

    An object that is met again is written out again in full, and a member belongs to one object: so the
    work of reading grows with the size of the file, and not with the number of its references.
    """
    met: dict[int, dict[str, Any]] = {}
    nodes = [value for value in _dictionaries(schema) if _is_node(value)]
    for value in nodes:
        number, form = value["__id__"], value["__loader__"]
        if type(number) is not int or not 1 <= number <= len(nodes) + _SPARE_NUMBERS:
            raise ValueError(f"{number!r} is no number of an object")
        if met.setdefault(number, value) != value:
            raise ValueError(f"two objects have the number {number}")
        name = f"{value['__module__']}.{value['__class__']}"
        if form not in _FORMS or not re.fullmatch(_FORMS[form], name):
            raise ValueError(f"an object of {name} is in the form {form}, which skae does not load")
        if "file" in value and value["file"] != f"{number}{_SUFFIXES[form]}":
            raise ValueError(f"the object {number} has the member {value['file']!r}")
        if form == "JsonNode" and str(value["content"]).lstrip()[:1] in ("[", "{"):
            raise ValueError("an object is written as text")
        if form in ("DictNode", "SetNode"):
            check_keys(_keys_of(value))


def _keys_of(node: dict[str, Any]) -> Iterator[Any]:
    """Yield the keys of a dictionary, or the items of a set, as far as their hashes depend on them."""
    if node["__loader__"] == "SetNode":
        for item in node["content"]:
            yield json.loads(item["content"]) if item["__loader__"] == "JsonNode" else None
        return
    for key, kind in zip(node["content"], node["key_types"]["content"], strict=True):
        name = f"{kind['__module__']}.{kind['__class__']}"
        if not _KEYS.fullmatch(name):
            raise ValueError(f"a key is a {name}")
        yield key if "str" in name else int(key) if "int" in name else float(key)


def _dictionaries(schema: Any) -> Iterator[dict[str, Any]]:
    """Go through all dictionaries in a schema, without recursion."""
    level = [schema]
    for _ in range(_DEEPEST):
        yield from (value for value in level if isinstance(value, dict))
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _is_node(value: dict[str, Any]) -> bool:
    """Tell an object from a dictionary of objects, which may have keys of any names."""
    return any(k in value and not isinstance(value[k], dict) for k in ("__id__", "__loader__"))


# -- estimators ------------------------------------------------------------------------------------


def parts_of(
    value: Any, where: str, met: dict[int, bool] | None = None
) -> Iterator[tuple[str, Any]]:
    """Go through an estimator and all that it is made of, with where each stands; each object once.

    Raises
    ------
    TypeError
        If an estimator or a list is part of itself.
    """
    met = {} if met is None else met  # whether objects that were met are still being walked through
    if id(value) in met:
        if met[id(value)]:
            raise TypeError(f"{where} is part of itself")
        return
    yield where, value
    inner = _inside(value, where)
    if inner:
        met[id(value)] = True
        for place, part in inner:
            yield from parts_of(part, place, met)
        met[id(value)] = False


def _inside(value: Any, where: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{where}[{k!r}]", v) for k, v in value.items()]
    if isinstance(value, list | tuple | set):
        return [(f"{where}[{k}]", v) for k, v in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return _inside(value.ravel().tolist(), where)
    return [(f"{where}.{k}", v) for k, v in _attributes_of(value).items() if k not in LEFT_OUT]


def _attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object of skae's or scikit-learn's, or of an estimator of anybody's."""
    is_of_library = type(value).__module__.partition(".")[0] in _LIBRARIES
    if isinstance(value, TrainingNet | type) or not (
        is_of_library or isinstance(value, BaseEstimator)
    ):
        return {}
    return getattr(value, "__dict__", {})


def is_record(value: Any) -> bool:
    """Tell whether an object is one of a dataclass of skae's: its fields, and what it caches."""
    return is_dataclass(value) and type(value).__module__.startswith("skae.")


def check_loaded(estimator: Any) -> None:
    """Refuse what skops has made of a file, if it is no estimator or would not behave as one.

    Raises
    ------
    Exception
        Of any kind, if something is wrong with it.
    """
    if not isinstance(estimator, BaseEstimator) or isinstance(estimator, TrainingNet):
        raise ValueError(f"it holds a {type(estimator).__name__} and no estimator")
    for where, part in parts_of(estimator, type(estimator).__name__):
        for name in _attributes_of(part):
            if not isinstance(name, str) or _may_not_be_of(part, name):
                raise ValueError(f"{name!r} cannot be an attribute of {where}")
        if isinstance(part, BaseEstimator) and not isinstance(part, TrainingNet):
            _check_estimator(part)
        elif is_record(part):
            made = type(part)(**{f.name: getattr(part, f.name) for f in fields(part) if f.init})
            vars(part).update(vars(made))  # its fields are checked, and what follows from them
        elif isinstance(part, BSpline):
            vars(part).update(vars(BSpline(part.t, part.c, part.k, part.extrapolate, part.axis)))
        elif isinstance(part, KDTree | BallTree):
            _check_tree(part)
        elif isinstance(part, np.random.RandomState):
            _check_random_state(part)


def _may_not_be_of(part: Any, name: str) -> bool:
    """Tell whether an attribute is the class's, or a run's, and no parameter or field of the object."""
    own = {f.name for f in fields(part)} if is_dataclass(part) else set()
    if isinstance(part, BaseEstimator):
        own |= {*type(part)._get_param_names()}
    belongs_to_a_run = name in LEFT_OUT and name != "_metadata_request"
    return belongs_to_a_run or (name not in own and hides_class_attribute(name, type(part)))


def _check_estimator(estimator: BaseEstimator) -> None:
    """See that it has its parameters, none of a run, and a net that is one; renew what it asks for."""
    attributes = vars(estimator)
    missing = {*type(estimator)._get_param_names()} - {*attributes}
    if missing:
        raise ValueError(f"{type(estimator).__name__} lacks {', '.join(sorted(missing))}")
    for name in NEVER_SAVED:
        if attributes.get(name) is not None:
            raise ValueError(f"{type(estimator).__name__} has a {name}, which is never saved")
    if "net_" in attributes and not isinstance(estimator.net_, TrainingNet):
        raise ValueError(f"{type(estimator).__name__} has a net that is none")
    if "_metadata_request" in attributes:
        requests = attributes.pop("_metadata_request")
        request = estimator._get_metadata_request()
        for method, aliases in requests.items():
            if method not in SIMPLE_METHODS:
                raise ValueError(f"{method!r} is no method that is handed metadata")
            for name, alias in aliases.items():
                getattr(request, method).add_request(param=name, alias=alias)
        estimator._metadata_request = request


def _check_tree(tree: Any) -> None:
    """See that the indices in a tree of neighbours are those that its points give."""
    state = tree.__getstate__()
    again = type(tree)(state[0], leaf_size=state[4], metric="euclidean").__getstate__()
    if not all(map(np.array_equal, state[:7], again[:7])):
        raise ValueError("a tree of neighbours is not that of its points")
    if type(state[11]) is not type(again[11]):
        raise ValueError("a tree of neighbours has another metric than the Euclidean one")
    if state[12] is not None:
        raise ValueError("a tree of neighbours has weights")


def _check_random_state(random_state: np.random.RandomState) -> None:
    """See that random numbers are read inside their key, and that these are not all zero."""
    state = random_state.get_state(legacy=False)["state"]
    key, position = state["key"], state["pos"]
    if not 0 <= position <= len(key):
        raise ValueError(f"a RandomState is at the position {position} of {len(key)}")
    if not (key[0] >> 31 or key[1:].any()):
        raise ValueError("a RandomState has a key of zeros, of which no normal deviate comes")
