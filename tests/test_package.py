"""The package as a whole: what importing it costs, and what its documentation promises."""

import ast
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from numpydoc.validate import validate
from scripts import printed_by

import skae
from skae import datasets, estimators, exceptions, export, metrics, plotting, transformers
from skae.__main__ import main

# what numpydoc is asked to hold: sections, their order, every parameter and what is returned
CHECKS = {
    "GL01", "GL03", "GL05", "GL06", "GL07", "GL08", "SS03", "SS05",
    "PR01", "PR02", "PR03", "PR05", "PR07", "PR10", "RT01", "RT03", "EX01",
}  # fmt: skip


PACKAGE = Path(skae.__file__).parent
LAZY = (skae, datasets, estimators, metrics, plotting, transformers)


def public_names():
    for room in (datasets, estimators, exceptions, export, metrics, plotting, transformers):
        for name in room.__all__:
            yield f"{room.__name__}.{name}", getattr(room, name)
    undocumented = {"__version__", "TRUSTED_TYPES"}  # no docstrings
    elsewhere = {*estimators.__all__, *transformers.__all__}
    for name in sorted({*skae.__all__} - elsewhere - undocumented):
        if not inspect.ismodule(getattr(skae, name)):
            yield f"skae.{name}", getattr(skae, name)


def public_methods():
    for path, thing in public_names():
        if inspect.isclass(thing):
            for name in dir(thing):
                owners = [c for c in thing.__mro__ if name in vars(c)]
                ours = bool(owners) and owners[0].__module__.startswith("skae")
                made_by_scikit_learn = name.endswith("_request")
                public = not name.startswith("_") and callable(getattr(thing, name))
                if ours and public and not made_by_scikit_learn:
                    yield f"{path}.{name}", getattr(thing, name)


def loaded_by(code, **environment):
    """Return the modules that are loaded once a fresh interpreter has run the code."""
    return set(printed_by(f"{code}; import sys; print(*sys.modules)", **environment).split())


NOT_NEEDED = {
    "matplotlib",
    "h5py",
    "dask",
    "onnx",
    "skops",
    "uproot",
    "awkward",
    "polars",
    "astropy",
    "ptufile",
    "phconvert",
}


def test_importing_skae_imports_nothing():
    loaded = loaded_by("import skae; skae.__version__; dir(skae)")
    assert not {*NOT_NEEDED, "torch", "sklearn", "scipy", "pandas", "numpy"} & loaded
    rooms = {f"skae.{room}" for room in ("estimators", "transformers", "modules", "training")}
    assert not rooms & loaded


def test_transformers_datasets_and_metrics_bring_no_torch():
    rooms = ("transformers", "datasets", "metrics")
    loaded = loaded_by("; ".join(f"from skae.{room} import *" for room in rooms))
    files = ("transformers.box_cox", "datasets.jets", "metrics.shower_observables")
    assert {f"skae.{file}" for file in files} <= loaded
    assert not {*NOT_NEEDED, "torch", "skorch", "skae.training", "skae.estimators"} & loaded


def test_every_public_name_comes_without_what_it_may_not_need():
    loaded = loaded_by("from skae import *; from skae.plotting import *")
    assert "torch" in loaded
    assert not NOT_NEEDED & loaded


def test_rooms_are_there_once_skae_is_imported():
    loaded = loaded_by("import skae; skae.plotting.ShowerDisplay; skae.datasets.make_jets")
    assert {"skae.plotting.shower", "skae.datasets.jets"} <= loaded
    assert "torch" not in loaded


def test_names_can_all_be_imported_at_once():
    """For those who would rather learn of what is missing at the start."""
    loaded = loaded_by("import skae", EAGER_IMPORT="1")
    assert {"torch", "skae.plotting.shower", "skae.export.onnx", "skae.metrics.latents"} <= loaded


def test_no_module_imports_pandas_at_its_top():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names]
                assert not [name for name in names if name and name.split(".")[0] == "pandas"]


def private_names_of_scikit_learn(path):
    """Yield the private names of scikit-learn that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else [""]
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                parts = ".".join([*filter(None, modules), alias.name]).split(".")
                if parts[0] == "sklearn" and any(part.startswith("_") for part in parts):
                    yield ".".join(parts)


def test_private_names_of_scikit_learn_are_imported_in_one_module():
    found = {path for path in PACKAGE.rglob("*.py") if [*private_names_of_scikit_learn(path)]}
    assert found == {PACKAGE / "_sklearn.py"}


@pytest.mark.parametrize("room", LAZY, ids=lambda room: room.__name__)
def test_a_stub_names_what_is_public(room):
    body = ast.parse(Path(room.__file__).with_suffix(".pyi").read_text()).body
    *imports, assignment = body
    imported = [alias.name for node in imports for alias in node.names]
    assert sorted(imported) == sorted(ast.literal_eval(assignment.value)) == room.__all__
    assert dir(room) == room.__all__
    for name in room.__all__:
        assert getattr(room, name) is vars(room)[name]
    with pytest.raises(AttributeError, match=rf"No {room.__name__} attribute none"):
        room.none  # noqa: B018


@pytest.mark.parametrize("room", LAZY, ids=lambda room: room.__name__)
def test_no_file_hides_a_public_name(room):
    """Once it is imported, a module is an attribute of its package."""
    files = {path.stem for path in Path(room.__file__).parent.glob("*.py")}
    rooms = {name for name in room.__all__ if inspect.ismodule(getattr(room, name))}
    assert files & (set(room.__all__) - rooms) == set()


@pytest.mark.parametrize("path", [p for p, _ in public_names()])
def test_every_public_name_pickles_by_name(path):
    thing = dict(public_names())[path]
    assert pickle.loads(pickle.dumps(thing)) is thing


@pytest.mark.parametrize("path", [p for p, _ in public_names()])
def test_every_public_name_is_documented(path):
    errors = [e for e in validate(path)["errors"] if e[0] in CHECKS]
    assert errors == []


@pytest.mark.parametrize("path", [p for p, _ in public_names()])
def test_every_public_name_has_an_example_that_runs(path):
    assert ">>>" in inspect.getdoc(dict(public_names())[path])  # run by --doctest-modules


@pytest.mark.parametrize("path", [p for p, _ in public_methods()])
def test_every_public_method_is_documented(path):
    errors = [e for e in validate(path)["errors"] if e[0] in CHECKS - {"EX01"}]
    assert errors == []


def test_the_methods_of_the_base_are_among_those_that_are_checked():
    names = {path for path, _ in public_methods()}
    fitting = ("fit", "partial_fit", "score", "score_samples")
    for method in (*fitting, "transform", "inverse_transform"):
        assert f"skae.estimators.JetAutoencoder.{method}" in names


def test_shared_parameters_are_documented_with_their_defaults():
    text = skae.JetAutoencoder.__doc__
    assert "{shared" not in text
    for name, parameter in inspect.signature(skae.JetAutoencoder).parameters.items():
        assert f"    {name} : " in text
        line = next(ln for ln in text.splitlines() if ln.startswith(f"    {name} : "))
        default = parameter.default
        shown = f'"{default}"' if isinstance(default, str) else str(default)
        assert line.endswith(f"default={shown}"), line


def test_the_versions_are_those_of_all_that_is_used(capsys):
    main(["--versions"])
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    table = {name.strip(): value for name, value in lines.items()}
    assert table["skae"] == skae.__version__
    assert table["torch"] == torch.__version__
    assert {"scikit-learn", "skorch", "safetensors", "matplotlib", "onnx", "GPUs"} <= set(table)
    assert table["torch threads"] == str(torch.get_num_threads())


def test_python_m_skae_says_what_it_can_do():
    run = [sys.executable, "-m", "skae"]
    assert "--versions" in subprocess.run(run, capture_output=True, text=True, check=True).stdout
