"""Variational autoencoders of spectra: coordinates, likelihoods, priors, decoders that read a grid."""
