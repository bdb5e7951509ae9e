"""Networks that begin where probabilistic PCA ends, and learn what it misses."""

from typing import cast

import torch
from torch import Tensor, nn

from skae.modules.autoencoder import LinearPath
from skae.modules.spectra.coordinates import PrincipalFactors


def encoder_at_factors(
    network: nn.Sequential, factors: PrincipalFactors, n_components: int
) -> nn.Module:
    """Let an encoder's posterior be that of the first factors.

    Parameters
    ----------
    network : nn.Sequential
        Maps what ``factors`` reads to means and log standard deviations, ``(n, 2 n_components)``.
    factors : PrincipalFactors
        The coordinates it works in.
    n_components : int
        Latent coordinates; those without a factor keep their prior.
    """
    used = min(n_components, factors.n_outputs)
    weight = torch.zeros(2 * n_components, factors.n_inputs)
    weight[:used, :used] = torch.eye(used)
    bias = torch.zeros(2 * n_components)
    if factors.has_gaps:  # their widths are read, row by row
        weight[n_components:, factors.n_outputs :][:used, :used] = torch.eye(used)
    else:
        bias[n_components : n_components + used] = factors.log_std[:used]
    return _begin(network, weight, bias)


def decoder_at_factors(network: nn.Sequential, n_components: int, n_factors: int) -> nn.Module:
    """Let a decoder hand the latent coordinates on as the first factors."""
    weight = torch.zeros(n_factors, n_components)
    used = min(n_components, n_factors)
    weight[:used, :used] = torch.eye(used)
    return _begin(network, weight, torch.zeros(n_factors))


def _begin(network: nn.Sequential, weight: Tensor, bias: Tensor) -> nn.Module:
    """Make a network linear, or nearly: hidden layers learn beside the linear map."""
    last = cast(nn.Linear, network[-1])
    with torch.no_grad():
        if len(network) == 1:
            last.weight.copy_(weight)
            last.bias.copy_(bias)
            return last
        beside = LinearPath(network, weight.shape[1], weight.shape[0])
        beside.start_from(weight)
        last.bias.copy_(bias)
    return beside
