"""Spectra as surveys store them, and what is to come of them, for the tests of readers."""

import warnings

import numpy as np

from skae.datasets import load_spectra
from skae.exceptions import UnusedDataWarning


def pixels(n, d, rng):
    """Fluxes, inverse variances, of which some are 0, and bits of a mask, all as surveys store them."""
    flux = rng.normal(10.0, 3.0, (n, d)).astype(np.float32)
    ivar = rng.uniform(0.1, 4.0, (n, d)).astype(np.float32)
    ivar[np.arange(n), 3 - np.arange(n) % 3] = 0.0
    flags = np.zeros((n, d), dtype=np.int32)
    flags[:, 5], flags[:, 6] = 1 << 24, 1 << 2
    return flux, ivar, flags


def assert_read(spectra, flux, ivar, flags=None):
    """What was written comes back: gaps where ivar is 0, flags that are not applied."""
    seen = ivar > 0
    np.testing.assert_array_equal(spectra.data, np.where(seen, flux, np.nan))
    expected = np.where(seen, 1.0 / np.sqrt(np.where(seen, ivar, 1.0)), np.nan)
    np.testing.assert_allclose(spectra.errors, expected, rtol=1e-6)
    if flags is not None:
        np.testing.assert_array_equal(spectra.flags, flags)


def quietly(path, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedDataWarning)
        return load_spectra(path, **arguments)
