"""Generators and readers of physical data."""

from skae.datasets.correlations import load_photon_correlations, make_photon_correlations
from skae.datasets.jets import load_jets, make_jets
from skae.datasets.pulses import make_pulses
from skae.datasets.spectra import make_spectra
from skae.datasets.spectra_files import load_spectra

__all__ = [
    "load_jets",
    "load_photon_correlations",
    "load_spectra",
    "make_jets",
    "make_photon_correlations",
    "make_pulses",
    "make_spectra",
]
