"""Noise has the shape of what was seen."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from skae.modules.showers.scales import NoiseShape


def test_noise_is_normal_until_more_is_known():
    generator = torch.Generator().manual_seed(0)
    drawn = NoiseShape().draw(torch.linspace(-2.0, 2.0, 400_000), generator).numpy()
    assert drawn.mean() == pytest.approx(0.0, abs=4 / np.sqrt(4e5))
    assert drawn.std() == pytest.approx(1.0, abs=4 / np.sqrt(8e5))
    for p in (0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999):
        spread = np.sqrt(p * (1.0 - p) / 4e5)
        assert (drawn < ndtri(p)).mean() == pytest.approx(p, abs=4 * spread + 0.02 * min(p, 1 - p))


@pytest.mark.parametrize("shape", [1.0, 2.0, 30.0])
def test_noise_has_mean_spread_and_shape_of_what_was_seen(shape, rng):
    """Gamma laws, as few particles make them, to either side; sums multiply an error of the mean."""
    relative = rng.uniform(0.1, 2.0, 500_000)
    seen = (rng.gamma(shape, size=len(relative)) - shape) / np.sqrt(shape)
    seen[relative > 1.0] *= -1.0
    noise, generator = NoiseShape(), torch.Generator().manual_seed(0)
    noise.learn(*(torch.from_numpy(part).float() for part in (relative, seen)))
    drawn = noise.draw(torch.from_numpy(relative).float(), generator).numpy()
    for low, high in ((0.1, 0.5), (0.5, 0.9), (1.1, 2.0)):
        inside = (relative > low) & (relative < high)
        n, std = inside.sum(), seen[inside].std()
        assert drawn[inside].mean() == pytest.approx(
            seen[inside].mean(), abs=4 * std * np.sqrt(2 / n)
        )
        assert drawn[inside].std() == pytest.approx(std, rel=0.02)
        for p in (0.01, 0.2, 0.5, 0.8, 0.99):
            share = (drawn[inside] < np.quantile(seen[inside], p)).mean()
            assert share == pytest.approx(p, abs=4 * np.sqrt(p / n) + 0.03 * min(p, 1 - p))


def test_noise_of_too_few_voxels_stays_normal():
    noise = NoiseShape()
    before = noise.quantiles.clone()
    noise.learn(torch.rand(100), torch.rand(100))
    torch.testing.assert_close(noise.quantiles, before, rtol=0, atol=0)
