"""The loss of showers against loops."""

import numpy as np
import pytest
import torch

from skae.modules.showers.likelihood import ShowerLoss


@pytest.mark.parametrize("energy_weight", [False, True])
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.2), (0.7, 0.2)])
def test_the_loss_is_that_of_loops(a, b, energy_weight, rng):
    n, d = 5, 7
    energy = rng.uniform(1e3, 1e5, n)
    x = rng.exponential(size=(n, d)) * (rng.uniform(size=(n, d)) < 0.6)
    logit, mean, log_std = rng.normal(size=(3, n, d))
    penalty = rng.normal(size=n)
    centre = x[x > 0.0].mean()
    of_energy = (np.log(energy) - 6.0) / 8.0
    of_energy = of_energy / of_energy.mean() if energy_weight else np.ones(n)
    expected = penalty.copy()
    for i in range(n):
        for j in range(d):
            chance = 1.0 / (1.0 + np.exp(-logit[i, j]))
            if x[i, j] == 0.0:
                expected[i] -= np.log(1.0 - chance)
                continue
            above = x[i, j] - centre
            weight = 0.5 * (np.exp(a * above) + np.exp(-b * above)) * of_energy[i]
            square = ((x[i, j] - mean[i, j]) / np.exp(log_std[i, j])) ** 2
            expected[i] += 0.5 * weight * square + log_std[i, j] + 0.5 * np.log(2.0 * np.pi)
            expected[i] -= np.log(chance)
    output = [torch.from_numpy(part) for part in (logit, mean, log_std, penalty)]
    target = torch.from_numpy(np.column_stack([energy, x]))
    found = ShowerLoss(a, b, energy_weight)(output, target)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
