"""Latent bits of showers, with a Boltzmann machine for a prior."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


def check_sharpness(sharpness: Any) -> None:
    """Refuse what is no pair of positive numbers, the second not below the first."""
    pair = np.asarray(sharpness, dtype=np.float64)
    if pair.shape != (2,) or not 0.0 < pair[0] <= pair[1] < np.inf:
        raise ValueError(
            f"sharpness={sharpness!r} must be two positive numbers, that of the first epoch and that of "
            "the last, which is not below it."
        )
