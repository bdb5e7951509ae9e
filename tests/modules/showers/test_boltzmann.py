"""Boltzmann machines against enumeration: energies, gradients, samples, partition functions, learning."""

import itertools
import math

import numpy as np
import pytest
import torch
from fits import generator

from skae.modules.showers.boltzmann import BoltzmannMachine

SIZES = (3, 2, 4, 3)


def machine(sizes=SIZES):
    draws = generator()
    result = BoltzmannMachine(sizes).double()
    with torch.no_grad():
        for parameter in (result.bias, result.weight):
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=draws))
    return result


def random_bits(n, generator, p=0.5, width=12):
    return torch.bernoulli(torch.full((n, width), p), generator=generator).double()


def all_states(n):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def probabilities(result):
    """Of all states, by enumeration."""
    states = all_states(sum(result.sizes))
    return states, torch.softmax(-result.energy(states), dim=0)


def test_energies_are_sums_over_pairs_in_different_partitions():
    result = machine()
    of = np.repeat(range(4), SIZES)
    weight, bias = result.weight.detach().numpy(), result.bias.detach().numpy()
    for state in np.random.default_rng(0).integers(2, size=(20, 12)):
        energy = -sum(bias * state)
        for i, j in itertools.combinations(range(12), 2):
            if of[i] != of[j]:
                energy -= weight[i, j] * state[i] * state[j]
        found = result.energy(torch.tensor(state[None], dtype=torch.float64))
        assert found.item() == pytest.approx(energy, abs=1e-12)


def test_differences_of_mean_energies_are_the_gradient_of_the_likelihood():
    result = machine()
    data = random_bits(7, generator(1), p=0.4)
    states, p = probabilities(result)
    loss = result.energy(data).mean() - p.detach() @ result.energy(states)
    found = torch.autograd.grad(loss, [result.bias, result.weight])
    exact = result.energy(data).mean() + torch.logsumexp(-result.energy(states), dim=0)
    expected = torch.autograd.grad(exact, [result.bias, result.weight])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("clamped", [(), (0,), (1, 3)])
def test_gibbs_samples_have_the_marginals_and_pair_correlations(clamped):
    n = 40_000
    result = machine()
    draws = generator(2)
    start = random_bits(1, draws).expand(n, -1)
    drawn = result.gibbs(start, 60, draws, clamped=clamped)
    states, p = probabilities(result)
    p = p.detach()
    for i in clamped:
        part = result.parts[i]
        assert (drawn[:, part] == start[:, part]).all()
        p = p * (states[:, part] == start[0, part]).all(dim=1)
    p = p / p.sum()
    expected = torch.einsum("m,mi,mj->ij", p, states, states)  # the diagonal holds the marginals
    error = torch.sqrt((expected * (1.0 - expected)).clamp_min(0.0) / n)
    found = drawn.T @ drawn / n
    assert (torch.abs(found - expected) <= 4.0 * error + 1e-12).all()


@pytest.mark.parametrize("clamped", [(), (0,), (1, 3)])
def test_annealing_finds_the_partition_function(clamped):
    result = machine()
    rows = random_bits(6, generator(3))
    states = all_states(12)
    expected = []
    for row in rows:
        keep = torch.ones(len(states), dtype=torch.bool)
        for i in clamped:
            keep &= (states[:, result.parts[i]] == row[result.parts[i]]).all(dim=1)
        expected.append(torch.logsumexp(-result.energy(states[keep]), dim=0).item())
    value, error = result.log_partition(rows, clamped, n_chains=400, n_temperatures=300)
    assert error.max() < 0.02
    np.testing.assert_allclose(value, expected, atol=4 * error.max().item())
    # rows share their random numbers, whatever stands beside them
    alone, _ = result.log_partition(rows[2:3], clamped, n_chains=400, n_temperatures=300)
    assert alone.item() == pytest.approx(value[2].item(), abs=1e-9)
    if not clamped:
        whole = result.log_partition(n_chains=400).value.item()
        assert whole == pytest.approx(expected[0], abs=0.1)


def test_a_partition_function_is_the_same_in_whatever_company():
    # in single precision a product's rounding depends on it, and decides bits now and then
    result = machine((8, 7, 6, 5)).float()
    rows = random_bits(67, generator(4), width=26).float()
    together = result.log_partition(rows, (0,)).value
    assert together.dtype == torch.float64
    backwards = result.log_partition(rows.flip(0), (0,)).value.flip(0)
    alone = torch.cat([result.log_partition(row[None], (0,)).value for row in rows[:9]])
    np.testing.assert_allclose(backwards, together, rtol=1e-10)
    np.testing.assert_allclose(alone, together[:9], rtol=1e-10)


def test_without_couplings_the_partition_function_is_exact():
    result = machine()
    with torch.no_grad():
        result.weight.zero_()
    value, error = result.log_partition()
    expected = torch.nn.functional.softplus(result.bias).sum().item()
    assert value.item() == pytest.approx(expected, abs=1e-12)
    assert error.item() < 1e-12


def bars_and_stripes():
    """The six images of 2 × 2 pixels whose rows, or columns, are of one colour."""
    lines = itertools.product([0.0, 1.0], repeat=2)
    images = {image for a, b in lines for image in ((a, a, b, b), (a, b, a, b))}
    return torch.tensor(sorted(images))


@pytest.mark.slow
def test_bars_and_stripes_are_learnt():
    """Four pixels and eight hidden units in three partitions, by persistent chains; KL by enumeration."""
    images = bars_and_stripes()
    assert len(images) == 6
    result = BoltzmannMachine((4, 3, 3, 2))
    draws = generator()
    with torch.no_grad():
        result.weight.copy_(0.1 * torch.randn(result.weight.shape, generator=draws))
    optimizer = torch.optim.Adam(result.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3500)
    chains = result.random_states(600, draws)
    seen = result.random_states(300, draws)
    for _ in range(3500):
        seen[:, :4] = images.repeat(50, 1)
        seen = result.gibbs(seen, 5, draws, clamped=(0,))
        chains = result.gibbs(chains, 5, draws)
        loss = result.energy(seen).mean() - result.energy(chains).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    states, p = probabilities(result.double())
    of_images = torch.stack([p[(states[:, :4] == image).all(dim=1)].sum() for image in images])
    divergence = (torch.log(torch.full((6,), 1.0 / 6.0)) - torch.log(of_images)).mean().item()
    assert 0.0 < divergence <= 0.05


def test_there_is_no_coupling_outside_of_the_mask():
    draws = generator(4)
    mask = torch.rand(12, 12, generator=draws) < 0.4
    mask = mask | mask.T
    result = BoltzmannMachine(SIZES, mask)
    optimizer = torch.optim.AdamW(result.parameters(), lr=0.1)
    for _ in range(20):
        data = random_bits(9, draws, p=0.3).float()
        chains = result.gibbs(data, 1, draws)
        loss = (result.energy(data) - result.energy(chains)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    couplings = result.couplings.detach()
    assert (couplings == couplings.T).all()
    for part in result.parts:
        mask[part, part] = False
    assert (couplings[~mask] == 0.0).all()
    assert (couplings[mask] != 0.0).float().mean() > 0.9
    assert math.isfinite(result.log_partition().value.item())
