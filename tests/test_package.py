"""The package as a whole: what importing it costs, and what its documentation promises."""

import inspect
import subprocess
import sys

import pytest
import torch
from numpydoc.validate import validate

import skae
from skae import datasets, estimators, exceptions, metrics, plotting, transformers
from skae.__main__ import main

# what numpydoc is asked to hold: sections, their order, every parameter and what is returned
CHECKS = {
    "GL01", "GL03", "GL05", "GL06", "GL07", "GL08", "SS03", "SS05",
    "PR01", "PR02", "PR03", "PR05", "PR07", "PR10", "RT01", "RT03", "EX01",
}  # fmt: skip


def public_names():
    for room in (datasets, estimators, exceptions, metrics, plotting, transformers):
        for name in room.__all__:
            yield f"{room.__name__}.{name}", getattr(room, name)
    for name in sorted(
        {*skae.__all__}
        - {
            *estimators.__all__,
            *transformers.__all__,
            "__version__",
            "TRUSTED_TYPES",
        }  # no docstrings
    ):
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


def test_importing_skae_imports_nothing_it_may_not_need():
    script = "import sys, skae, skae.datasets, skae.metrics, skae.plotting; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "torch" in loaded
    assert not {"matplotlib", "h5py", "dask", "onnx", "skops", "uproot", "polars"} & set(loaded)


@pytest.mark.parametrize("path", [p for p, _ in public_names()])
def test_every_public_name_is_documented(path):
    errors = [e for e in validate(path)["errors"] if e[0] in CHECKS]
    assert errors == []


@pytest.mark.parametrize("path", [p for p, t in public_names() if not inspect.ismodule(t)])
def test_every_public_name_has_an_example_that_runs(path):
    assert ">>>" in inspect.getdoc(dict(public_names())[path])  # run by --doctest-modules


@pytest.mark.parametrize("path", [p for p, _ in public_methods()])
def test_every_public_method_is_documented(path):
    errors = [e for e in validate(path)["errors"] if e[0] in CHECKS - {"EX01"}]
    assert errors == []


def test_the_methods_of_the_base_are_among_those_that_are_checked():
    names = {path for path, _ in public_methods()}
    for method in (
        "fit",
        "partial_fit",
        "transform",
        "inverse_transform",
        "score",
        "score_samples",
    ):
        assert f"skae.estimators.JetAutoencoder.{method}" in names


def test_shared_parameters_are_documented_with_their_defaults():
    text = skae.JetAutoencoder.__doc__
    assert "{shared" not in text
    for name, parameter in inspect.signature(skae.JetAutoencoder).parameters.items():
        assert f"    {name} : " in text
        line = next(ln for ln in text.splitlines() if ln.startswith(f"    {name} : "))
        shown = (
            f'"{parameter.default}"'
            if isinstance(parameter.default, str)
            else str(parameter.default)
        )
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
