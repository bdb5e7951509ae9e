"""Rows go through a network in chunks."""

import threading

import numpy as np
import pytest
import torch

from skae.training.inference import apply_to_rows


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_give_what_all_rows_at_once_give(n, dtype, rng):
    X = rng.normal(size=(n, 3)).astype(dtype)
    X.flags.writeable = False
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows[:, :2]

    result = apply_to_rows(double, X, torch.device("cpu"), chunk_rows=256)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, 2 * X[:, :2], rtol=1e-6)
    assert 64 <= min(sizes) <= max(sizes) <= 256


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [1, 100, 1000])
def test_chunks_side_by_side_give_the_same_on_one_thread_each(n, rng, two_threads):
    X = rng.normal(size=(n, 3))
    seen = set()

    def double(rows):
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return 2 * rows, rows.sum(dim=1)

    options = {"chunk_rows": 64, "fewest_rows": 1}
    doubled, total = apply_to_rows(double, X, torch.device("cpu"), side_by_side=True, **options)
    assert {n_threads for _, n_threads in seen} == {1}
    assert (threading.current_thread().name in {name for name, _ in seen}) == (n == 1)
    assert torch.get_num_threads() == 2
    doubled_before, total_before = apply_to_rows(double, X, torch.device("cpu"), **options)
    np.testing.assert_array_equal(doubled, doubled_before)
    np.testing.assert_array_equal(total, total_before)


@pytest.mark.parametrize("n", [1, 1000])
def test_an_error_side_by_side_reaches_the_caller_and_leaves_the_threads(n, rng, two_threads):
    def fail(rows):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        apply_to_rows(
            fail, rng.normal(size=(n, 3)), torch.device("cpu"), chunk_rows=64, side_by_side=True
        )
    assert torch.get_num_threads() == 2


def test_numpys_settings_hold_side_by_side(rng, two_threads):
    def settings(rows):
        found.append(np.geterr()["over"])
        return rows

    found = []
    with np.errstate(over="ignore"):
        apply_to_rows(
            settings,
            rng.normal(size=(300, 3)),
            torch.device("cpu"),
            chunk_rows=64,
            side_by_side=True,
        )
    assert set(found) == {"ignore"}
