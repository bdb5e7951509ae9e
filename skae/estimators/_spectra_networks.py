"""The networks of SpectraVAE: a linear model by expectation-maximisation, or encoders and decoders."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from skae.estimators._sequences import make_sequence_decoder, warn_of_long_fit
from skae.modules.blocks import dense_stack
from skae.modules.spectra.coordinates import Coordinates
from skae.modules.spectra.error_coordinates import columns_with_errors, factors_with_errors
from skae.modules.spectra.likelihoods import Likelihood, Rates
from skae.modules.spectra.linear import FactorAnalysis, Mean, first_factors
from skae.modules.spectra.pca_init import decoder_at_factors, encoder_at_factors
from skae.modules.spectra.principal import principal_factors, standardised_columns
from skae.modules.spectra.priors import PRIORS
from skae.modules.spectra.vae import VariationalAutoencoder
from skae.training.batches import Rows

if TYPE_CHECKING:
    from skae.estimators.spectra_vae import SpectraVAE

# Factors that hidden layers start with beside those of the latent coordinates.
_MORE_FACTORS = 24


def build_network(
    vae: "SpectraVAE", rows: Rows, likelihood: Likelihood
) -> tuple[nn.Module, nn.Module]:
    """Return the module and its criterion, as the parameters say."""
    if vae.has_errors_ and vae._is_linear:
        return _linear_model(vae, rows, likelihood)
    return _encoder_and_decoder(vae, rows, likelihood)


def _linear_model(
    vae: "SpectraVAE", rows: Rows, likelihood: Likelihood
) -> tuple[nn.Module, nn.Module]:
    at_random = vae.init == "random"
    start = first_factors(rows.x, rows.weight, likelihood, vae.n_components, at_random=at_random)
    start = vae._begin_at(start, learns_scatter=vae._noise_is_free)
    likelihood.learn_noise(start.scatter.sqrt(), 0.0)
    options = {
        "learns_scatter": vae._noise_is_free,
        "doubts_loadings": vae.loading_errors,
        "learns_misfit": vae.misfit_errors,
        "smooth_around": _taken_off(vae),
    }
    return FactorAnalysis(start, likelihood, **options), Mean()


def _encoder_and_decoder(
    vae: "SpectraVAE", rows: Rows, likelihood: Likelihood
) -> tuple[nn.Module, nn.Module]:
    k = vae.n_components
    reading = _read(vae, rows, likelihood)
    start = reading.noise[:1] / vae.beta**0.5 if vae.init == "pca" else reading.noise
    likelihood.learn_noise(start, reading.noise_floor)
    sizes = np.atleast_1d(vae.hidden_layer_sizes).tolist()
    encoder = dense_stack([reading.n_inputs, *sizes, 2 * k], vae.activation)
    if vae.init == "pca":
        encoder = encoder_at_factors(encoder, reading, k)
    if vae.decoder == "dense":
        writing = reading.writer(*likelihood.unlink(reading.centre))
        if vae.init == "pca" and not sizes:
            # the way back from the factors is all that there is to learn
            decoder, writing = nn.Identity(), writing.widened(k)
        else:
            decoder = dense_stack([k, *sizes[::-1], writing.n_outputs], vae.activation)
            if vae.init == "pca":
                decoder = decoder_at_factors(decoder, k, writing.n_outputs)
    else:
        columns = _standardise(vae, rows, likelihood)
        writing = columns.writer(*likelihood.unlink(columns.centre))
        decoder = make_sequence_decoder(vae, k)
    prior = PRIORS[vae.prior](k, vae.n_mixture)
    parts = encoder, decoder, reading, writing, likelihood, prior
    module = VariationalAutoencoder(*parts, beta=vae.beta)
    if vae.decoder != "dense":
        remedy = "A dense decoder takes a fraction of it, and larger batches or fewer columns less."
        warn_of_long_fit(vae, module, likelihood, rows, remedy)
    return module, likelihood


def _taken_off(vae: "SpectraVAE") -> torch.Tensor | None:
    """What networks do not see of the columns, where loadings are smooth, in their units."""
    if not vae.smooth_loadings:
        return None
    center = np.broadcast_to(vae.center_, (vae._n_fluxes,))
    return torch.from_numpy(center / vae.scale_)


def _read(vae: "SpectraVAE", rows: Rows, likelihood: Likelihood) -> Coordinates:
    """Return the coordinates in which the encoder sees rows."""
    if vae.init == "random":
        return _standardise(vae, rows, likelihood)
    # a linear decoder writes no more factors than it has coordinates
    is_linear = vae.decoder == "dense" and not np.size(vae.hidden_layer_sizes)
    if vae._n_parts > 1:
        k, most = vae.n_components, min(vae._n_fluxes // 2, len(rows) // 10)
        n_factors = k if is_linear else max(k, min(k + _MORE_FACTORS, most))
        options = {
            "learns_scatter": vae._noise_is_free,
            "smooth_around": _taken_off(vae),
        }
        seen_by = _seen_by(vae, rows, likelihood)
        return factors_with_errors(rows.x, rows.weight, seen_by, n_factors, **options)
    return principal_factors(
        rows.x,
        rows.weight,
        noise_around=likelihood.noise_around,
        n_components=vae.n_components,
        has_gaps=vae.missing == "mask",
        beta=vae.beta,
        at_most=vae.n_components if is_linear else None,
    )


def _standardise(vae: "SpectraVAE", rows: Rows, likelihood: Likelihood) -> Coordinates:
    if vae._n_parts > 1:
        return columns_with_errors(rows.x, rows.weight, _seen_by(vae, rows, likelihood))
    return standardised_columns(rows.x, rows.weight, has_gaps=vae.missing == "mask")


def _seen_by(vae: "SpectraVAE", rows: Rows, likelihood: Likelihood) -> Likelihood:
    """Return the likelihood of what encoders see of rows: rates, where there are exposures."""
    return Rates(rows.x, rows.weight) if vae.has_exposure_ else likelihood
