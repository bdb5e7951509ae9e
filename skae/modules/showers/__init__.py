"""Variational autoencoders of calorimeter showers: voxels, latents, Boltzmann machines."""
