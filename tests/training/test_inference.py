"""Rows go through a network in chunks."""

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
