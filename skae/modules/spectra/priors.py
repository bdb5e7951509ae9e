"""Distributions of the latent coordinates before anything is observed."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

_LOG_2PI = math.log(2.0 * math.pi)


def normal_log_prob(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the log-density of independent Gaussians, summed over the last axis."""
    deviation = (z - mean) * torch.exp(-log_std)
    return -(0.5 * deviation.square() + log_std + 0.5 * _LOG_2PI).sum(dim=-1)


def normal_divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    r"""Return :math:`\frac12\sum_j(\mu_j^2 + \sigma_j^2 - \ln\sigma_j^2 - 1)`, KL(q ‖ N(0, 1))."""
    squares = mean.square() + torch.exp(2.0 * log_std)
    return 0.5 * (squares - 2.0 * log_std - 1.0).sum(dim=1)


class Prior(nn.Module, ABC):
    """A distribution of latent coordinates.

    Parameters
    ----------
    n_components : int
        Latent coordinates, k.
    n_mixture : int
        Gaussians that a mixture has.
    """

    #: whether its divergence from a Gaussian is known in closed form
    is_closed: bool

    def __init__(self, n_components: int, n_mixture: int = 1):
        super().__init__()

    def divergence(self, mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
        """Return KL(q ‖ p) of Gaussians q, ``(n,)``, or its estimate from one draw z of each."""
        return normal_log_prob(z, mean, log_std) - self.log_prob(z)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density at z, ``(n,)``."""

    @abstractmethod
    def transform(self, normal: Tensor, uniform: Tensor) -> Tensor:
        """Turn standard normal numbers ``(n, k)`` and uniform ones ``(n,)`` into draws of its own."""


class NormalPrior(Prior):
    """Independent standard normal coordinates."""

    is_closed = True

    def divergence(self, mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
        """Return KL(q ‖ p) of Gaussians q, ``(n,)``."""
        return normal_divergence(mean, log_std)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density at z, ``(n,)``."""
        return -(0.5 * z.square() + 0.5 * _LOG_2PI).sum(dim=-1)

    def transform(self, normal: Tensor, uniform: Tensor) -> Tensor:
        """Return the normal draws."""
        return normal


class MixturePrior(Prior):
    """A mixture of Gaussians with diagonal covariances, learnt with the rest (Jiang et al., 2017).

    One normal distribution has no gaps: a decoder would have to tear it where the data lie in separate
    groups. The mixture follows them (arXiv:1611.05148).
    """

    is_closed = False

    def __init__(self, n_components: int, n_mixture: int = 1):
        super().__init__(n_components)
        self.logits = nn.Parameter(torch.zeros(n_mixture))
        self.means = nn.Parameter(0.7 * torch.randn(n_mixture, n_components))
        self.log_stds = nn.Parameter(-torch.ones(n_mixture, n_components))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density at z, ``(n,)``."""
        parts = normal_log_prob(z[..., None, :], self.means, self.log_stds)
        return torch.logsumexp(torch.log_softmax(self.logits, dim=0) + parts, dim=-1)

    def transform(self, normal: Tensor, uniform: Tensor) -> Tensor:
        """Take a component for each draw, and move the normal draw there."""
        edges = torch.softmax(self.logits, dim=0).cumsum(dim=0)
        component = torch.searchsorted(edges, uniform).clamp_max(len(edges) - 1)
        return self.means[component] + torch.exp(self.log_stds[component]) * normal


#: distributions of latent coordinates by their names
PRIORS: dict[str, type[Prior]] = {"gaussian": NormalPrior, "mixture": MixturePrior}
