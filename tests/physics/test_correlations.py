"""Correlations in closed form."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from skae.physics.correlations import two_sided_decay


@pytest.mark.parametrize(("lifetime", "jitter"), [(1.0, 0.5), (0.3, 2.0), (2.0, 0.05), (0.1, 1.0)])
def test_blur_is_a_convolution(lifetime, jitter):
    t = np.linspace(-12.0, 12.0, 48001)
    kernel = np.exp(-0.5 * (t / jitter) ** 2)
    numeric = fftconvolve(np.exp(-np.abs(t) / lifetime), kernel / kernel.sum(), "same")
    exact = two_sided_decay(t, np.array(lifetime), np.array(jitter))
    np.testing.assert_allclose(exact[12000:36000], numeric[12000:36000], atol=2e-6)
    far = two_sided_decay(np.array([1e3, 1e6]), np.array(lifetime), np.array(jitter))
    assert np.isfinite(far).all()
