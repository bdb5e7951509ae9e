"""The pages of the documentation: their sessions run, and they leave out nothing that is public."""

import doctest
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from scripts import imported
from test_package import public_names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def record():
    """The script that measures the tables."""
    return imported(ROOT / "benchmarks" / "record.py")


@pytest.mark.parametrize(
    "page", [p.name for p in sorted(DOCS.glob("*.rst")) if ">>>" in p.read_text()]
)
@pytest.mark.filterwarnings("error::skae.exceptions.PoorFitWarning")
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
    assert short - named == set()
    assert "TRUSTED_TYPES" in named


@pytest.mark.parametrize("page", ["pulses", "spectra", "correlations"])
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


@pytest.mark.parametrize("page", ["jets", "showers"])
def test_a_guide_leads_from_a_file_to_a_result(page):
    text = (DOCS / f"{page}.rst").read_text()
    parts = ["Data", "Fit", "Did", "Result", "..", "Pitfalls", "Formula", "References"]
    titles = {part: re.search(rf"\n{part}[^\n]*\n---", text) for part in parts if part != ".."}
    places = [titles[part].start() if part != ".." else text.index(".. figure::") for part in parts]
    assert places == sorted(places)


def test_initials_do_not_number_a_list():
    """A paragraph of one line that begins with "E. Wulff" is item E of a list: Wulff."""
    short = re.compile(r'(?:\n\s*|\.\. \[\d+\] )([A-Z]\. .*)\n\s*(?:\n|\.\.|""")')
    pages = [*DOCS.glob("*.rst"), *(ROOT / "skae").rglob("*.py")]
    assert [line for page in pages for line in short.findall(page.read_text())] == []


def test_each_table_has_a_command_that_is_there():
    tables = record().tables(DOCS)
    assert set(tables) == {path.stem for path in (DOCS / "results").glob("*.txt")}
    for commands in tables.values():
        for command in commands:
            python, script, *_ = command.split()
            assert python == "python"
            assert (ROOT / script).exists()


def test_a_table_is_measured_by_its_command(tmp_path, capfd):
    (tmp_path / "results").mkdir()
    page = tmp_path / "page.rst"
    page.write_text(
        ".. code-block:: sh\n\n   python -c 'print(1)'\n   python -c 'print(\"FOLDER\")'\n\nText.\n\n"
        ".. literalinclude:: results/ones.txt\n"
        "\n.. code-block:: sh\n\n   python -c 'print(2); exit(1)'\n\n"
        ".. literalinclude:: results/bad.txt\n"
    )
    for name in ("ones", "bad"):
        (tmp_path / "results" / f"{name}.txt").write_text("0")
    script = record()
    script.main(["ones", "--folder", "data"], tmp_path)
    assert (tmp_path / "results" / "ones.txt").read_text() == "1\ndata\n"
    with pytest.raises(SystemExit, match="is as it was"):
        script.main(["bad"], tmp_path)
    assert (tmp_path / "results" / "bad.txt").read_text() == "0"
    for arguments, message in ((["ones"], "needs --folder"), (["none"], "no table is named none")):
        with pytest.raises(SystemExit):
            script.main(arguments, tmp_path)
        assert message in capfd.readouterr().err
