"""How much latent coordinates are used, against torch's closed form and by hand."""

import numpy as np
import pytest
import torch

from skae.metrics import active_units, latent_divergence


def test_the_divergence_is_that_of_torch(rng):
    mean, std = rng.normal(size=(20, 3)), rng.uniform(0.01, 2.0, size=(20, 3))
    q = torch.distributions.Normal(torch.tensor(mean), torch.tensor(std))
    p = torch.distributions.Normal(torch.zeros(1).double(), torch.ones(1).double())
    expected = torch.distributions.kl_divergence(q, p).numpy()
    np.testing.assert_allclose(latent_divergence(mean, std), expected, rtol=1e-10)


def test_a_posterior_that_is_the_prior_tells_nothing():
    assert (latent_divergence(np.zeros((4, 2)), np.ones((4, 2))) == 0).all()


@pytest.mark.parametrize("std", [np.ones((3, 2)), np.zeros((4, 2)), -np.ones((4, 2))])
def test_standard_deviations_are_checked(std):
    with pytest.raises(ValueError, match=r"std has shape .* must be positive and of mean's shape"):
        latent_divergence(np.zeros((4, 2)), std)


def test_active_units_vary(rng):
    mean = rng.normal(scale=[1.0, 0.05, 0.2], size=(5000, 3))
    np.testing.assert_array_equal(active_units(mean), [True, False, True])
    np.testing.assert_array_equal(active_units(mean, threshold=0.5), [True, False, False])
