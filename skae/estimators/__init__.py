"""The estimators: what scikit-learn, and a user, sees."""

from skae.estimators.jet_autoencoder import JetAutoencoder

__all__ = ["JetAutoencoder"]
