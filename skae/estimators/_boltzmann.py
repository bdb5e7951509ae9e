"""Latent bits with a Boltzmann machine, and samplers that stand in for Gibbs."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skae._extras import optional
from skae.estimators._qubits import place_units
from skae.modules.showers.bits import BinaryLatents, EnergyCode
from skae.modules.showers.boltzmann import BoltzmannMachine

# Persistent chains of a Boltzmann machine, steps that they take for a minibatch, and its first couplings.
_N_CHAINS, _CHAIN_STEPS = 256, 5
_SMALL_COUPLINGS = 0.01


def make_bits(
    topology: Any,
    group_sizes: Sequence[int],
    energy: Tensor,
    weight: Tensor | None,
    sampling_steps: int,
) -> tuple[BinaryLatents, list[Hashable]]:
    """Return latent bits in groups of these sizes, and the qubits that the units of the machine are.

    Chains take their energies from all training ones.
    """
    sizes = [max(EnergyCode.least_size, *group_sizes), *group_sizes]
    mask, qubits = place_units(topology, sizes)
    machine = BoltzmannMachine(sizes, mask)
    nn.init.normal_(machine.weight, std=_SMALL_COUPLINGS)
    ordered, order = torch.sort(energy, stable=True)
    passed = torch.ones(len(energy)) if weight is None else weight[order]
    passed = passed.double().cumsum(0)
    # quantiles of the energies
    places = (torch.arange(_N_CHAINS, dtype=torch.float32) + 0.5) / _N_CHAINS
    chains = ordered[torch.searchsorted(passed, passed[-1] * places)]
    return BinaryLatents(machine, chains, _CHAIN_STEPS, sampling_steps), qubits


def check_sampler(sampler: Any) -> None:
    """Refuse what is no sampler of dimod."""
    if sampler is None:
        return
    # a class has properties in the place of what an object of it has
    is_sampler = isinstance(getattr(sampler, "parameters", None), Mapping)
    if not is_sampler or not callable(getattr(sampler, "sample", None)):
        raise TypeError(
            f"sampler={sampler!r} is no sampler of dimod; use one, "
            "dwave.samplers.SimulatedAnnealingSampler() say, or None for block Gibbs sampling."
        )


def sample_with(
    sampler: Any,
    machine: BoltzmannMachine,
    qubits: Sequence[Hashable],
    codes: Tensor,
    seed: int,
    arguments: dict[str, Any],
) -> Tensor:
    """Draw free units with a sampler of dimod, partition 0 clamped to each code ``(n, n_code)``.

    Rows with the same code are read out of one problem, whose variables are the qubits that the units
    are, and whose interactions are the couplings that are not zero. The sampler is taken to draw from
    exp(−E), as simulated annealing does that ends at a temperature of 1.
    """
    (dimod,) = optional("sampler", "calo", "dimod")
    bias = machine.bias.detach().double().cpu().numpy()
    couplings = machine.couplings.detach().double().cpu().numpy()
    n_code = machine.sizes[0]
    rows, columns = np.nonzero(np.triu(couplings[n_code:, n_code:]))
    quadratic = -couplings[n_code + rows, n_code + columns]
    distinct, which, counts = np.unique(
        codes.cpu().numpy(), axis=0, return_inverse=True, return_counts=True
    )
    drawn = np.empty((len(codes), len(bias) - n_code), dtype=np.float32)
    if "seed" in sampler.parameters:
        arguments = {"seed": seed % 2**31, **arguments}
    for i, (code, count) in enumerate(zip(distinct, counts, strict=True)):
        linear = -(bias[n_code:] + code @ couplings[:n_code, n_code:])
        problem = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, (rows, columns, quadratic), 0.0, "BINARY", variable_order=qubits[n_code:]
        )
        result = sampler.sample(problem, num_reads=int(count), **arguments)
        order = [result.variables.index(qubit) for qubit in qubits[n_code:]]
        states = np.repeat(result.record.sample, result.record.num_occurrences, axis=0)
        if len(states) < count:
            raise RuntimeError(
                f"sampler={sampler!r} returned {len(states)} states where {count} were asked for."
            )
        drawn[which.ravel() == i] = states[:count, order]
        if "seed" in sampler.parameters:
            arguments["seed"] = (arguments["seed"] + 1) % 2**31
    return torch.from_numpy(drawn)


def check_sharpness(sharpness: Any) -> None:
    """Refuse what is no pair of positive numbers, the second not below the first."""
    pair = np.asarray(sharpness, dtype=np.float64)
    if pair.shape != (2,) or not 0.0 < pair[0] <= pair[1] < np.inf:
        raise ValueError(
            f"sharpness={sharpness!r} must be two positive numbers, that of the first epoch and that of "
            "the last, which is not below it."
        )
