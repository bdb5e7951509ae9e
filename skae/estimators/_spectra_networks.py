"""The networks of SpectraVAE: a linear model by expectation-maximisation, or encoders and decoders."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from skae.estimators._sequences import make_sequence_decoder, warn_of_long_fit, warn_of_long_steps
from skae.modules.blocks import dense_stack
from skae.modules.spectra.alignment import first_model, some_rows
from skae.modules.spectra.coordinates import Coordinates
from skae.modules.spectra.error_coordinates import columns_with_errors, factors_with_errors
from skae.modules.spectra.likelihoods import Likelihood, Rates
from skae.modules.spectra.linear import FactorAnalysis, Mean, first_factors
from skae.modules.spectra.pca_init import decoder_at_factors, encoder_at_factors
from skae.modules.spectra.principal import principal_factors, standardised_columns
from skae.modules.spectra.priors import PRIORS
from skae.modules.spectra.redshifted import RedshiftedFactors
from skae.modules.spectra.rest_frame import RestFrame
from skae.modules.spectra.shifted import Nodes, Seen, ShiftedModel, posterior_of
from skae.modules.spectra.vae import VariationalAutoencoder
from skae.training.batches import Rows

# Factors that hidden layers start with beside those of the latent coordinates.
_MORE_FACTORS = 24

# Variance beyond the errors that models of redshifts begin with where it is learnt, of the typical one.
_FIRST_SCATTER = 0.01

# Fewest pixels in which lines can shift.
_FEWEST_PIXELS = 8


def check_redshift(vae: Any) -> None:
    """Refuse what a decoder that shifts lines cannot be combined with."""
    given = {
        "likelihood": (vae.likelihood, "gaussian"),
        "prior": (vae.prior, "gaussian"),
        "beta": (vae.beta, 1.0),
        "hidden_layer_sizes": (np.atleast_1d(vae.hidden_layer_sizes).tolist(), []),
    }
    for name, (value, needed) in given.items():
        if value != needed:
            raise ValueError(
                f"decoder='redshift' is not fitted by gradients, and takes no {name}={value!r}: leave it "
                "at its default."
            )
    if not vae.has_errors_:
        raise ValueError(
            "decoder='redshift' needs errors of the rows: pass errors= to fit, or use "
            "skae.with_errors with error_columns=True."
        )
    if vae.wavelengths is None:
        raise ValueError(
            "decoder='redshift' needs wavelengths=, of the columns of X, in any unit: redshifts move "
            "lines by equal steps of their logarithm."
        )
    if vae._n_fluxes < _FEWEST_PIXELS:
        raise ValueError(
            f"decoder='redshift' needs {_FEWEST_PIXELS} pixels or more, but X has {vae._n_fluxes}."
        )
    if not (vae.grid_ > 0.0).all():
        raise ValueError("wavelengths must be positive with decoder='redshift'.")
    if vae.n_components < 2:
        raise ValueError(
            "decoder='redshift' needs n_components of 2 or more: the redshift is one, curves are the "
            "others."
        )


def build_network(vae: Any, rows: Rows, likelihood: Likelihood) -> tuple[nn.Module, nn.Module]:
    """Return the module and its criterion, as the parameters say."""
    if vae.decoder == "redshift":
        return _redshifted_model(vae, rows, likelihood)
    if vae.has_errors_ and vae._is_linear:
        return _linear_model(vae, rows, likelihood)
    return _encoder_and_decoder(vae, rows, likelihood)


def _linear_model(vae: Any, rows: Rows, likelihood: Likelihood) -> tuple[nn.Module, nn.Module]:
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


def _redshifted_model(vae: Any, rows: Rows, likelihood: Likelihood) -> tuple[nn.Module, nn.Module]:
    frame = RestFrame(torch.from_numpy(np.log(vae.grid_)), math.log1p(vae.max_redshift))
    numbers, variance = likelihood.values_and_variances(some_rows(rows.x, rows.weight))
    if vae._noise_is_free:
        scatter = _FIRST_SCATTER * variance[variance.isfinite()].median()[None]
    else:
        scatter = likelihood.noise.detach().double().square()
    seen = Seen.of(numbers, variance, scatter)
    curves = torch.randn(frame.n_knots, vae.n_components, dtype=torch.float64)
    guess, some = ShiftedModel(frame, curves, scatter), seen.only(slice(vae.batch_size))
    remedy = "Pixels twice as wide take a quarter of it, and a smaller max_redshift less."
    warn_of_long_steps(vae, lambda: posterior_of(guess, some, Nodes(guess)), rows, remedy)
    start = first_model(frame, seen, scatter, vae.n_components - 1)
    likelihood.learn_noise(scatter.sqrt(), 0.0)
    options = {
        "learns_scatter": vae._noise_is_free,
        "learns_misfit": vae.misfit_errors,
        "doubts_curves": vae.loading_errors,
    }
    return RedshiftedFactors(start, likelihood, **options), Mean()


def _encoder_and_decoder(
    vae: Any, rows: Rows, likelihood: Likelihood
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


def _taken_off(vae: Any) -> torch.Tensor | None:
    """What networks do not see of the columns, where loadings are smooth, in their units."""
    if not vae.smooth_loadings:
        return None
    center = np.broadcast_to(vae.center_, (vae._n_fluxes,))
    return torch.from_numpy(center / vae.scale_)


def _read(vae: Any, rows: Rows, likelihood: Likelihood) -> Coordinates:
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


def _standardise(vae: Any, rows: Rows, likelihood: Likelihood) -> Coordinates:
    if vae._n_parts > 1:
        return columns_with_errors(rows.x, rows.weight, _seen_by(vae, rows, likelihood))
    return standardised_columns(rows.x, rows.weight, has_gaps=vae.missing == "mask")


def _seen_by(vae: Any, rows: Rows, likelihood: Likelihood) -> Likelihood:
    """Return the likelihood of what encoders see of rows: rates, where there are exposures."""
    return Rates(rows.x, rows.weight) if vae.has_exposure_ else likelihood
