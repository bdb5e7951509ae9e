"""The estimators: what scikit-learn, and a user, sees."""

from skae.estimators.calo_shower_vae import CaloShowerVAE
from skae.estimators.jet_autoencoder import JetAutoencoder
from skae.estimators.matched_filter import MatchedFilterLocator
from skae.estimators.multires_rnn_regressor import MultiResRNNRegressor
from skae.estimators.pulse_locator import PulseLocator
from skae.estimators.spectra_vae import SpectraVAE

__all__ = [
    "CaloShowerVAE",
    "JetAutoencoder",
    "MatchedFilterLocator",
    "MultiResRNNRegressor",
    "PulseLocator",
    "SpectraVAE",
]
