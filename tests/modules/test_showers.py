"""Parts of the networks of showers, against loops and NumPy: loss, code of the energy, grid, noise."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from skae.modules.showers.bits import EnergyCode
from skae.modules.showers.scales import NoiseShape
from skae.modules.showers.vae import ShowerLoss
from skae.modules.showers.voxel_networks import VoxelGrid, circular


@pytest.mark.parametrize("energy_weight", [False, True])
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.2), (0.7, 0.2)])
def test_the_loss_is_that_of_loops(a, b, energy_weight):
    rng = np.random.default_rng(0)
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


def test_an_energy_is_the_bits_of_three_numbers():
    """The first bit of each, then the second of each; repeated, then zeros."""
    energies = [0.0, 1.0, 5.0, 1e3, 123_456.0, 1e6, 2.0**24, 1e9]
    codes = EnergyCode(2 * 72 + 5)(torch.tensor(energies, dtype=torch.float64)).numpy()
    most = 2**24 - 1
    for energy, code in zip(energies, codes, strict=True):
        numbers = (energy, np.sqrt(10.0 * energy), np.exp(10.0) * np.log(max(energy, 1.0)))
        words = [f"{min(int(number), most):024b}" for number in numbers]
        once = [int(bit) for bits in zip(*words, strict=True) for bit in bits]
        np.testing.assert_array_equal(code, [*once, *once, *[0] * 5])


def test_angles_go_around_and_the_ends_of_others_do_not():
    x = torch.arange(2 * 5 * 3.0).reshape(1, 1, 2, 5, 3)
    expected = np.pad(x.numpy(), [(0, 0)] * 3 + [(2, 7), (0, 0)], mode="wrap")
    np.testing.assert_array_equal(circular(x, 2, 7).numpy(), expected)
    grid = VoxelGrid((45, 16, 9))
    x = torch.rand(2, 3, 45, 16, 9)
    padded = grid.padded(x)
    turned = grid.padded(x.roll(1, dims=-2))
    (layers, _), (angles, behind), (radii, _) = (
        (overlap, overlap + excess)
        for overlap, excess in zip(grid.overlap, grid.excess, strict=True)
    )
    inside = padded[:, :, layers : layers + 45, angles : angles + 16, radii : radii + 9]
    torch.testing.assert_close(inside, x, rtol=0, atol=0)
    assert angles + behind > 0
    torch.testing.assert_close(turned[..., 1:, :], padded[..., :-1, :], rtol=0, atol=0)
    assert not padded[:, :, :layers].any()
    assert not padded[..., radii + 9 :].any()


def test_noise_is_normal_until_more_is_known():
    generator = torch.Generator().manual_seed(0)
    drawn = NoiseShape().draw(torch.linspace(-2.0, 2.0, 400_000), generator).numpy()
    assert drawn.mean() == pytest.approx(0.0, abs=4 / np.sqrt(4e5))
    assert drawn.std() == pytest.approx(1.0, abs=4 / np.sqrt(8e5))
    for p in (0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999):
        spread = np.sqrt(p * (1.0 - p) / 4e5)
        assert (drawn < ndtri(p)).mean() == pytest.approx(p, abs=4 * spread + 0.02 * min(p, 1 - p))


@pytest.mark.parametrize("shape", [1.0, 2.0, 30.0])
def test_noise_has_mean_spread_and_shape_of_what_was_seen(shape):
    """Gamma laws, as few particles make them, to either side; sums multiply an error of the mean."""
    rng = np.random.default_rng(0)
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
