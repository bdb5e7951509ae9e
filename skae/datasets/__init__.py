"""Generators and readers of physical data."""

from skae._calorimeter import CaloGeometry
from skae.datasets._shower_profiles import CaloMaterial
from skae.datasets.calochallenge import LazyShowers, load_calochallenge, save_calochallenge
from skae.datasets.correlations import load_photon_correlations, make_photon_correlations
from skae.datasets.jets import load_jets, make_jets
from skae.datasets.pulses import make_pulses
from skae.datasets.showers import make_showers
from skae.datasets.spectra import make_spectra
from skae.datasets.spectra_files import load_spectra

__all__ = [
    "CaloGeometry",
    "CaloMaterial",
    "LazyShowers",
    "load_calochallenge",
    "load_jets",
    "load_photon_correlations",
    "load_spectra",
    "make_jets",
    "make_photon_correlations",
    "make_pulses",
    "make_showers",
    "make_spectra",
    "save_calochallenge",
]
