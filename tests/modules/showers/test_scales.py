"""Noise has the shape of what was seen."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from skae.modules.showers.scales import NoiseShape, VoxelEnergy
from skae.transformers import LogRatioTransformer


def test_noise_is_normal_until_more_is_known():
    chance = torch.rand(400_000, generator=torch.Generator().manual_seed(0))
    relative, mean = torch.linspace(-2.0, 2.0, 400_000), torch.linspace(2.0, -1.0, 400_000)
    drawn = NoiseShape().draw(relative, mean, chance).numpy()
    assert drawn.mean() == pytest.approx(0.0, abs=4 / np.sqrt(4e5))
    assert drawn.std() == pytest.approx(1.0, abs=4 / np.sqrt(8e5))
    for p in (0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999):
        spread = np.sqrt(p * (1.0 - p) / 4e5)
        assert (drawn < ndtri(p)).mean() == pytest.approx(p, abs=4 * spread + 0.02 * min(p, 1 - p))


@pytest.mark.parametrize("shape", [1.0, 2.0, 30.0])
def test_noise_has_mean_spread_and_shape_of_what_was_seen(shape, rng):
    """Gamma laws, as few particles make them, to either side; sums multiply an error of the mean."""
    relative, mean = rng.uniform(0.1, 2.0, 1_000_000), rng.uniform(5.0, 6.0, 1_000_000)
    seen = (rng.gamma(shape, size=len(relative)) - shape) / np.sqrt(shape)
    seen[relative > 1.05] *= -1.0
    seen[mean > 5.5] *= -0.5
    noise = NoiseShape()
    chance = torch.rand(len(seen), generator=torch.Generator().manual_seed(0))
    noise.learn(*(torch.from_numpy(part).float() for part in (relative, mean, seen)))
    known = (torch.from_numpy(part).float() for part in (relative, mean))
    drawn = noise.draw(*known, chance).numpy()
    for low, high, least, most in (
        (0.1, 0.5, 5.0, 5.3),
        (0.5, 0.8, 5.0, 5.3),
        (0.1, 0.8, 5.7, 6.0),
        (1.3, 2.0, 5.0, 5.3),
        (1.3, 2.0, 5.7, 6.0),
    ):
        inside = (relative > low) & (relative < high) & (mean > least) & (mean < most)
        n, std = inside.sum(), seen[inside].std()
        assert drawn[inside].mean() == pytest.approx(
            seen[inside].mean(), abs=4 * std * np.sqrt(2 / n)
        )
        assert drawn[inside].std() == pytest.approx(std, rel=0.02)
        for p in (0.01, 0.2, 0.5, 0.8, 0.99):
            share = (drawn[inside] < np.quantile(seen[inside], p)).mean()
            assert share == pytest.approx(p, abs=4 * np.sqrt(p / n) + 0.03 * min(p, 1 - p))


@pytest.mark.parametrize("learnt", [False, True])
def test_a_deviation_tells_the_uniform_number_it_was_drawn_by(learnt, rng):
    noise = NoiseShape()
    known = torch.linspace(-2.0, 2.0, 100_000), torch.from_numpy(rng.normal(size=100_000)).float()
    if learnt:
        noise.learn(*known, torch.from_numpy(rng.gamma(2.0, size=100_000)).float())
    chance = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    found, rest = noise.chances(*known, noise.draw(*known, chance))
    torch.testing.assert_close(found, chance, atol=2e-4, rtol=0)
    torch.testing.assert_close(rest, 1.0 - chance, atol=2e-4, rtol=0)
    ends, rest = noise.chances(torch.zeros(2), torch.zeros(2), torch.tensor([-1e3, 1e3]))
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(rest, torch.tensor([1.0, 0.0]))


def test_noise_of_too_few_voxels_stays_normal():
    noise = NoiseShape()
    before = noise.quantiles.clone()
    noise.learn(*torch.rand(3, 100))
    torch.testing.assert_close(noise.quantiles, before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["log1p", "logit", "energy"])
@pytest.mark.parametrize("unit", [1.0, 2.7])
def test_voxels_are_energies_as_the_transformer_makes_them(kind, unit, rng):
    incident = np.exp(rng.uniform(np.log(1e3), np.log(1e6), 50))
    energy = incident[:, None] * rng.uniform(size=(50, 20)) ** 12
    X = np.column_stack([incident, energy])
    if kind != "energy":
        X = LogRatioTransformer(kind, reference=0).fit_transform(X)
    scale = VoxelEnergy(kind, unit)
    x, given = torch.from_numpy(X[:, 1:] / unit), torch.from_numpy(incident)
    np.testing.assert_allclose(scale.of(x, given).numpy(), energy, rtol=1e-9)
    back = scale.back(torch.from_numpy(energy), given)
    np.testing.assert_allclose(back.numpy(), X[:, 1:] / unit, rtol=1e-6, atol=1e-12)
