"""The house stays one that can be held in mind."""

import pytest
import structure
import torch


@pytest.fixture
def two_threads():
    """A plain fit is one on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_plain_fit_goes_through_few_files_and_functions():
    files, functions, moves = structure.a_plain_fit()
    assert len(files) <= 14, sorted(files)
    assert len(functions) <= 80, sorted(functions)
    assert moves <= 50


def test_files_and_functions_are_short():
    assert [name for name, source in structure.sources().items() if source.count("\n") > 420] == []
    table = list(structure.functions())
    assert [name for name, lines, _ in table if lines > 60] == []
    assert sum(complexity for *_, complexity in table) <= 3 * len(table)


def test_no_modules_import_one_another():
    assert structure.circles() == []
