"""Principal factors of rows with noise and gaps, and standardised columns."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from fits import generator

from skae.modules.spectra.principal import principal_factors, standardised_columns


def linear_rows(n=400, d=30, seed=0):
    """Rows of two factors and unit noise."""
    rng = np.random.default_rng(seed)
    loadings = np.array([[9.0], [4.0]]) * np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    X = 3.0 + rng.normal(size=(n, 2)) @ loadings + rng.normal(size=(n, d))
    return torch.tensor(X, dtype=torch.float32)


def factors_of(x, n_components=2, noise=torch.ones_like, has_gaps=False):
    return principal_factors(
        x, None, noise_around=noise, n_components=n_components, has_gaps=has_gaps
    )


def test_as_many_factors_are_kept_as_stand_above_the_noise():
    x = linear_rows()
    for noise in (torch.ones_like, lambda mean: None):
        assert factors_of(x, 1, noise).n_outputs == 2
    assert factors_of(x, 5).n_outputs == 5


def test_factors_are_posterior_means_and_bring_rows_back():
    x = linear_rows()
    factors = factors_of(x)
    read = factors.read(x)
    loadings = factors.loadings
    precision = torch.eye(2) + loadings @ loadings.T
    expected = torch.linalg.solve(precision, loadings @ (x - factors.centre).T).T
    torch.testing.assert_close(read, expected, rtol=1e-3, atol=1e-4)
    rms = (factors.expect(x) - x).square().mean().sqrt()
    assert rms == pytest.approx(math.sqrt(28 / 30), abs=0.02)


def test_gaps_that_are_filled_give_the_factors_of_whole_rows():
    x = linear_rows(n=2000)
    whole = factors_of(x)
    holed = x.clone()
    holed[torch.rand(x.shape, generator=generator()) < 0.3] = torch.nan
    factors = factors_of(holed, has_gaps=True)
    assert factors.n_outputs == 2
    ours, theirs = (f.loadings.T @ f.loadings for f in (factors, whole))
    assert (ours - theirs).abs().max() < 0.1 * theirs.abs().max()
    read = factors.read(holed)
    assert read.shape == (2000, 4)
    # without a gap the widths are those of whole rows
    torch.testing.assert_close(
        factors.read(x)[:, 2:], factors.log_std.expand(2000, 2), rtol=0, atol=1e-4
    )


def test_standardised_columns_read_gaps_as_means_and_mark_them():
    x = linear_rows(n=50)
    x[3, 4] = torch.nan
    columns = standardised_columns(x, None, has_gaps=True)
    read = columns.read(x)
    assert read.shape == (50, 60)
    assert read[3, 4] == 0.0
    assert read[:, 30:].sum() == read[3, 34] == 1.0
    np.testing.assert_allclose(columns.centre, np.nanmean(x.numpy(), axis=0), rtol=1e-5)


def test_factors_do_not_depend_on_the_unit():
    x = linear_rows()
    one, other = (
        factors_of(scale * x, noise=partial(torch.full_like, fill_value=scale)).read(scale * x)
        for scale in (1.0, 1e4)
    )
    torch.testing.assert_close(one.abs(), other.abs(), rtol=1e-3, atol=1e-4)
