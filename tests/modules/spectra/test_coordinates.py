"""Factors are written back in steps of the noise."""

import torch

from skae.modules.spectra.coordinates import PrincipalFactors


def test_a_writer_brings_factors_back_and_is_trained_in_steps_of_the_noise():
    factors = PrincipalFactors(
        torch.zeros(3), torch.full((3,), 0.5), torch.tensor([[1.0, 2.0, 0.0]])
    )
    writer = factors.writer(torch.ones(3), torch.tensor([1.0, 2.0, 1.0]))
    torch.testing.assert_close(writer(torch.ones(1, 1)), torch.tensor([[2.0, 5.0, 1.0]]))
    with torch.no_grad():
        writer.offset += 1.0
    torch.testing.assert_close(writer(torch.zeros(1, 1)), torch.tensor([[1.5, 2.0, 1.5]]))
