"""The code of the energy against NumPy."""

import numpy as np
import torch

from skae.modules.showers.bits import EnergyCode


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
