"""The pages of the documentation: their sessions run, and they leave out nothing that is public."""

import doctest
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from test_package import public_names

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "page", [p.name for p in sorted(DOCS.glob("*.rst")) if ">>>" in p.read_text()]
)
def test_sessions_run(page):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=flags)
    plt.close("all")
    assert tried > 0
    assert failed == 0


def test_the_reference_names_all_that_is_public():
    named = set((DOCS / "api.rst").read_text().split())
    paths = {path for path, _ in public_names()}
    short = {
        path.removeprefix("skae.").removeprefix("estimators.").removeprefix("transformers.")
        for path in paths
    }
    assert short - named == {"export"}  # a module; its functions stand there


@pytest.mark.parametrize("page", ["jets", "pulses", "spectra", "correlations", "showers"])
def test_a_guide_has_all_of_its_parts(page):
    text = (DOCS / f"{page}.rst").read_text()
    for part in (
        "What it does\n---",
        "When to use it\n---",
        ".. math::",
        ".. figure::",
        "Pitfalls\n---",
        ".. [1]",
    ):
        assert part in text, part
