"""Smooth values: the whole system solved at once, and steps that are known."""

import numpy as np
import pytest
import torch

from skae.modules.spectra.smooth import rare_links, smooth_solution, stiffness_of


@pytest.mark.parametrize("d", [4, 7, 8, 13])
def test_smooth_values_solve_the_whole_system(d, rng):
    m = 3
    roots = rng.normal(size=(d, m, m))
    roots[2] = 0.0  # nothing is known of this pixel
    squares, products = roots @ roots.transpose(0, 2, 1), rng.normal(size=(d, m))
    products[2] = 0.0
    stiffness = np.array([0.5, 2.0, 100.0])
    links = np.ones(d - 1)
    links[0] = 0.0
    whole = np.zeros((d, m, d, m))
    for j in range(d):
        whole[j, :, j] += squares[j]
        for i in (j - 1, j + 1):
            if 0 <= i < d:
                link = links[min(i, j)]
                whole[j, :, j] += link * np.diag(stiffness)
                whole[j, :, i] -= link * np.diag(stiffness)
    expected = np.linalg.solve(whole.reshape(d * m, d * m), products.ravel()).reshape(d, m).T
    given = (torch.from_numpy(part) for part in (squares, products, stiffness, links))
    found = smooth_solution(*given)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # between its neighbours lies what nothing is known of
    np.testing.assert_allclose(found[:, 2], 0.5 * (found[:, 1] + found[:, 3]), rtol=1e-9)


def test_stiffness_is_that_of_steps_of_pixels_that_are_known():
    values = torch.tensor([[0.0, 1.0, 3.0, 1e3, 5.0, 6.0], [1.0, 1.0, 1.0, 9.0, 1.0, 1.0]]).double()
    weight = torch.ones_like(values)
    weight[:, 3] = 1e-3
    links = rare_links(weight[-1])
    assert links.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0]
    # steps 1, 2 and 1 of the first; none of the second, whose stiffness ends at a million
    expected = torch.tensor([1.0 / 2.0, 1e6]).double()
    torch.testing.assert_close(stiffness_of(values, weight, links), expected)
