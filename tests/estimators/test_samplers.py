"""Samplers of dimod: how warm they are, the range of a device, and what is said of poor ones."""

import warnings

import dimod
import numpy as np
import pytest
import torch
from dwave.samplers import PathIntegralAnnealingSampler, SimulatedAnnealingSampler
from scipy.special import logsumexp

from skae import CaloShowerVAE, LogRatioTransformer
from skae.datasets import CaloGeometry, make_showers
from skae.estimators._samplers import Problems
from skae.exceptions import SamplerWarning
from skae.modules.showers.boltzmann import BoltzmannMachine

SIZES = (3, 4, 4, 3)
N_CODE, N_FREE = 3, 11
STATES = ((np.arange(2**N_FREE)[:, None] >> np.arange(N_FREE)) & 1).astype(float)


class Device(dimod.Sampler):
    """Draw exactly from exp(−β E), with limits, and fields off by 5 %, from spins −1 and 1."""

    properties, parameters = {}, {"num_reads": [], "seed": [], "auto_scale": []}

    def __init__(self, beta=2.0, limits=None, off=0.05, repeats=1):
        self.beta, self.off, self.repeats, self.handed = beta, off, repeats, []
        self.properties = {} if limits is None else {"h_range": limits[0], "j_range": limits[1]}

    def sample(self, bqm, num_reads=1, seed=None, auto_scale=True):
        assert not auto_scale
        bqm = bqm.change_vartype("SPIN", inplace=False)
        self.handed.append(bqm)
        order = list(bqm.variables)
        spins = 2.0 * STATES - 1.0
        linear = np.array([bqm.get_linear(v) for v in order])
        linear = linear * (1.0 + self.off * np.where(np.arange(len(order)) % 2, 1.0, -1.0))
        energy = spins @ linear
        for (u, v), j in bqm.quadratic.items():
            energy += j * spins[:, order.index(u)] * spins[:, order.index(v)]
        chance = np.exp(-self.beta * energy - logsumexp(-self.beta * energy))
        drawn = np.random.default_rng(seed).choice(len(chance), num_reads // self.repeats, p=chance)
        drawn = np.repeat(drawn, self.repeats)
        return dimod.SampleSet.from_samples_bqm((spins[drawn].astype(np.int8), order), bqm)


@pytest.fixture
def machine():
    machine = BoltzmannMachine(SIZES)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        machine.weight.normal_(std=0.5, generator=generator)
        machine.bias.normal_(std=0.5, generator=generator)
    return machine


def problems(machine, sampler, **arguments):
    qubits = [f"q{i}" for i in range(sum(SIZES))]
    return Problems(sampler, machine, qubits, 0, arguments)


def exact(ours, code):
    """Return the probabilities of all states."""
    energy = ours.energy(np.tile(code, (len(STATES), 1)), STATES)
    return np.exp(-energy - logsumexp(-energy))


CODES = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def test_energies_are_those_of_the_machine(machine):
    ours = problems(machine, Device())
    code = np.tile(CODES[0], (len(STATES), 1))
    states = torch.from_numpy(np.column_stack([code, STATES])).float()
    energy = machine.energy(states).detach().numpy()
    found = ours.energy(code, STATES)
    np.testing.assert_allclose(found - found[0], energy - energy[0], atol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0])
def test_a_temperature_is_estimated_and_taken_off(machine, beta):
    ours = problems(machine, Device(beta, off=0.0))
    codes = np.repeat(CODES, 2000, axis=0)
    found = ours.temperature(codes, ours.draw(codes, 1.0))
    assert abs(found.beta - beta) < 4.0 * found.error
    assert found.error < 0.1 * beta
    assert ours.settle(codes) == pytest.approx(1.0 / beta, rel=0.15)


@pytest.mark.parametrize("seed", range(4))
def test_errors_of_temperatures_are_as_large_as_they_vary(machine, seed):
    codes = np.repeat(CODES, 100, axis=0)
    pulls = []
    for i in range(25):
        ours = problems(machine, Device(1.0, off=0.0), seed=1000 * seed + i)
        beta, error = ours.temperature(codes, ours.draw(codes, 1.0))
        pulls.append((beta - 1.0) / error)
    assert 0.6 < np.std(pulls) < 1.5
    assert abs(np.mean(pulls)) < 0.8


@pytest.mark.parametrize("beta", ["auto", None], ids=["estimated", "not estimated"])
def test_moments_are_those_of_the_machine_where_the_temperature_is_known(machine, beta):
    ours = problems(machine, Device(2.0, off=0.0))
    codes = np.repeat(CODES[:1], 20_000, axis=0)
    scale = ours.settle(codes) if beta == "auto" else 1.0
    states = ours.draw(codes, scale)
    chance = exact(ours, CODES[0])
    mean = chance @ STATES
    error = np.sqrt(mean * (1.0 - mean) / len(states))
    off = np.abs(states.mean(axis=0) - mean)
    if beta == "auto":
        assert (off < 4.0 * error + 0.03).all()  # the temperature is known to some per cent
    else:
        assert off.max() > 0.1


def test_gibbs_sampling_and_partition_functions_agree_with_enumeration(machine):
    ours = problems(machine, Device())
    state = torch.zeros(20_000, sum(SIZES))
    state[:, :N_CODE] = torch.from_numpy(CODES[1]).float()
    drawn = machine.gibbs(state, 200, torch.Generator().manual_seed(0), clamped=(0,))
    mean = exact(ours, CODES[1]) @ STATES
    error = np.sqrt(mean * (1.0 - mean) / len(drawn))
    assert (np.abs(drawn[:, N_CODE:].numpy().mean(axis=0) - mean) < 4.0 * error).all()
    every = torch.from_numpy(np.column_stack([np.tile(CODES[1], (len(STATES), 1)), STATES]))
    log_z = torch.logsumexp(-machine.energy(every), dim=0).item()
    value, spread = machine.log_partition(state[:1], clamped=(0,), n_chains=256)
    assert abs(value.item() - log_z) < max(4.0 * spread.item(), 1e-6)
    assert abs(value.item() - log_z) < 0.02


def test_problems_stay_within_the_range_of_a_device(machine):
    limits = [-0.2, 0.15], [-0.1, 0.05]
    device = Device(20.0, limits, off=0.0)
    ours = problems(machine, dimod.TrackingComposite(device))  # what is wrapped has the range
    codes = np.repeat(CODES, 500, axis=0)
    scale = ours.settle(codes)
    assert scale == pytest.approx(1.0 / 20.0, rel=0.1)
    assert scale < ours.largest_scale(codes) < 1.0
    ours.draw(codes, ours.largest_scale(codes))
    reached = []
    for bqm in device.handed:
        for numbers, (low, high) in zip((bqm.linear, bqm.quadratic), limits, strict=True):
            values = np.array(list(numbers.values()))
            assert values.min() >= low * (1 + 1e-9)
            assert values.max() <= high * (1 + 1e-9)
            reached.append(max(values.max() / high, values.min() / low))
    assert max(reached) == pytest.approx(1.0)


def test_a_range_that_is_too_small_gives_a_warning(machine):
    ours = problems(machine, Device(2.0, ([-0.1, 0.1], [-0.1, 0.1])))
    codes = np.repeat(CODES, 500, axis=0)
    scale = ours.settle(codes)
    assert scale == ours.largest_scale(codes) < 0.2
    with pytest.warns(SamplerWarning, match=r"inverse temperature of 0\.\d+ rather than 1"):
        ours.warn_of_others(codes, ours.draw(codes, scale), scale)


def test_few_different_states_give_a_warning(machine):
    codes = np.repeat(CODES, 200, axis=0)
    ours = problems(machine, Device(1.0, off=0.0, repeats=100))
    with pytest.warns(SamplerWarning, match="of 200 states it returns 2 different ones"):
        ours.warn_of_others(codes, ours.draw(codes, 1.0), 1.0)


def test_simulated_annealing_that_sets_its_own_temperature_gives_a_warning(machine):
    with torch.no_grad():
        machine.weight.mul_(0.2)
        machine.bias.mul_(0.2)
    codes = np.repeat(CODES, 100, axis=0)
    ours = problems(machine, SimulatedAnnealingSampler())
    scale = ours.settle(codes)
    with pytest.warns(SamplerWarning, match="beta_range"):
        ours.warn_of_others(codes, ours.draw(codes, scale), scale)


def test_a_good_sampler_gives_none(machine):
    codes = np.repeat(CODES, 500, axis=0)
    for seed in range(5):
        for sampler, arguments in (
            (Device(2.0), {}),
            (SimulatedAnnealingSampler(), {"beta_range": (0.1, 3.0), "num_sweeps": 300}),
        ):
            ours = problems(machine, sampler, seed=seed, **arguments)
            scale = ours.settle(codes)
            with warnings.catch_warnings():
                warnings.simplefilter("error", SamplerWarning)
                ours.warn_of_others(codes, ours.draw(codes, scale), scale)


# -- in an estimator -----------------------------------------------------------------------------

GEOMETRY = CaloGeometry([(0, 8, 60)] * 4, [4] * 4, 0.1, np.arange(5) * 30.0)


@pytest.fixture(scope="module")
def fitted():
    X = LogRatioTransformer("log1p", reference=0).fit_transform(
        make_showers(400, geometry=GEOMETRY, random_state=0)
    )
    return CaloShowerVAE(
        9, prior="rbm", geometry=GEOMETRY, batch_size=128, hidden_size=16, max_epochs=6,
        lr=5e-3, random_state=0,
    ).fit(X)  # fmt: skip


@pytest.mark.parametrize(
    ("sampler", "arguments"),
    [
        (SimulatedAnnealingSampler(), {"beta_range": (0.1, 3.0), "num_sweeps": 200}),
        (PathIntegralAnnealingSampler(), {"beta_range": (0.1, 3.0), "num_sweeps": 200}),
    ],
    ids=["simulated annealing", "path integrals"],
)
def test_reports_compare_samplers_with_gibbs_sampling(fitted, sampler, arguments):
    fitted.set_params(sampler=sampler, sampler_arguments=arguments, sampler_beta="auto")
    report = fitted.sampler_report([2e4, 6e4], random_state=0)
    assert report.n_states == 400
    assert report.largest_scale == np.inf
    assert abs(report.inverse_temperature - 1.0) < 0.1 + 4.0 * report.inverse_temperature_error
    assert report.scale < 0.8
    assert report.n_distinct > 0.6 * report.n_distinct_gibbs
    off = abs(report.mean_energy - report.mean_energy_gibbs)
    assert off < 5.0 * report.mean_energy_error + 0.2
    fitted.set_params(sampler_beta=1.0)
    report = fitted.sampler_report([2e4, 6e4], random_state=0)
    assert report.scale == 1.0
    assert report.inverse_temperature > 1.2
    with pytest.warns(SamplerWarning, match="see sampler_report"):
        fitted.sample(np.full(2000, 2e4), random_state=0)


def test_what_is_no_temperature_is_refused(fitted):
    for beta in (0.0, -1.0, np.inf, "warm", None, True):
        fitted.set_params(sampler=SimulatedAnnealingSampler(), sampler_beta=beta)
        with pytest.raises(ValueError, match="sampler_beta"):
            fitted.sample([2e4])
    fitted.set_params(sampler=None, sampler_beta="auto")
    with pytest.raises(ValueError, match="no sampler to report of"):
        fitted.sampler_report([2e4])
