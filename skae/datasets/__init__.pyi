from ._shower_profiles import CaloMaterial
from .calochallenge import LazyShowers, load_calochallenge, save_calochallenge
from .correlation_files import load_photon_correlations
from .correlations import make_photon_correlations
from .jets import load_jets, make_jets
from .pulse_records import cut_pulse_windows, make_pulse_records
from .pulses import make_pulses
from .resampling import resample_spectra
from .showers import CaloGeometry, make_showers
from .spectra import make_spectra
from .spectra_files import load_spectra
from .stellar_spectra import make_stellar_spectra
from .time_tag_files import load_time_tags
from .time_tags import correlate_tags

__all__ = [
    "CaloGeometry",
    "CaloMaterial",
    "LazyShowers",
    "correlate_tags",
    "cut_pulse_windows",
    "load_calochallenge",
    "load_jets",
    "load_photon_correlations",
    "load_spectra",
    "load_time_tags",
    "make_jets",
    "make_photon_correlations",
    "make_pulse_records",
    "make_pulses",
    "make_showers",
    "make_spectra",
    "make_stellar_spectra",
    "resample_spectra",
    "save_calochallenge",
]
