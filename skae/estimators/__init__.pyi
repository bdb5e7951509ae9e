from .calo_shower_vae import CaloShowerVAE
from .jet_autoencoder import JetAutoencoder
from .matched_filter import MatchedFilterLocator
from .multires_rnn_regressor import MultiResRNNRegressor
from .pulse_locator import PulseLocator
from .spectra_vae import SpectraVAE

__all__ = [
    "CaloShowerVAE",
    "JetAutoencoder",
    "MatchedFilterLocator",
    "MultiResRNNRegressor",
    "PulseLocator",
    "SpectraVAE",
]
