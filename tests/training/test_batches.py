"""Minibatches hold each row once an epoch, in an order of their own."""

import pytest
import torch

from skae.training.batches import Minibatches, TensorRows


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),  # a single row is merged with the batch before
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 2]),
    ],
)
def test_batches_hold_every_row_once_and_never_end_in_a_single_row(n, batch_size, sizes):
    x = torch.arange(n).float()[:, None]
    rows = TensorRows(x, 2 * x, 3 * x[:, 0])
    batches = list(Minibatches(rows, batch_size, torch.Generator().manual_seed(0)))
    assert [len(batch[0]) for batch in batches] == sizes
    seen = torch.cat([batch[0] for batch in batches])
    assert sorted(seen[:, 0].tolist()) == list(range(n))
    for inputs, target, weight in batches:
        assert torch.equal(target, 2 * inputs)
        assert torch.equal(weight, 3 * inputs[:, 0])


def test_rows_are_not_copied_where_the_order_stays():
    x = torch.randn(10, 2)
    for inputs, target, weight in Minibatches(TensorRows(x), 4):
        assert inputs.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        assert target is inputs
        assert weight is None


@pytest.mark.parametrize("most", [1, 7, 50, 64, 200, 512, 900, 1000, 5000])
def test_some_rows_come_from_all_over(most):
    x = torch.arange(1000.0)[:, None]
    some = TensorRows(x, 2 * x, 3 * x[:, 0]).some(most, "cpu")
    assert min(0.8 * most, 1000) <= len(some) <= min(most, 1000)
    assert torch.equal(some.target, 2 * some.x)
    assert torch.equal(some.weight, 3 * some.x[:, 0])
    if most >= 7:
        assert some.x.min() == 0.0
        assert some.x.max() == 999.0
    runs = list(TensorRows(x, 2 * x, 3 * x[:, 0]).some_by_runs(most, "cpu"))
    assert max(map(len, runs)) <= 64
    if most < 1000:
        assert torch.equal(torch.cat([run.x for run in runs]), some.x)
        assert torch.equal(torch.cat([run.weight for run in runs]), some.weight)
