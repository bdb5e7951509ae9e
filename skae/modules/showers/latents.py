"""Latent coordinates of showers: how they are drawn, before anything is observed and after."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skae.modules.seeded import SeededModule
from skae.modules.showers.boltzmann import LogPartition
from skae.modules.spectra.priors import normal_divergence
from skae.modules.spectra.vae import matched_draws

# Logarithms of posterior standard deviations are kept within these.
_LOG_STD_RANGE = (-6.0, 3.0)


class Latents(SeededModule, ABC):
    """A family of posteriors of latent coordinates, and the prior that they come from."""

    #: numbers that the posterior of a coordinate has
    n_parameters: int

    @abstractmethod
    def draws(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return random numbers of the shape and on the device of ``like``, for :meth:`draw`."""

    @abstractmethod
    def fixed_draws(self, n: int, k: int) -> Tensor:
        """Return random numbers ``(n, k)`` that are always the same."""

    @abstractmethod
    def draw(self, parameters: Tensor, draws: Tensor) -> Tensor:
        """Draw from posteriors with parameters ``(n, k, n_parameters)``, ``(n, k)``."""

    @abstractmethod
    def centre(self, parameters: Tensor) -> Tensor:
        """Return what stands for the posteriors, ``(n, k)``."""

    def prepare(self) -> None:
        """Do what a training step needs beforehand, without gradients."""

    @abstractmethod
    def cost(self, parameters: Tensor, z: Tensor, energy: Tensor) -> Tensor:
        """Return KL(q ‖ p) but for :meth:`log_normaliser`, ``(n,)``."""

    def log_normaliser(self, energy: Tensor) -> LogPartition:
        """Return what is to be added to the cost at energies ``(n,)``, and its error: zeros."""
        return LogPartition(torch.zeros_like(energy), torch.zeros_like(energy))

    def divergence(self, parameters: Tensor, z: Tensor, energy: Tensor) -> Tensor:
        """Return what training takes for the cost, ``(n,)``: a number with the gradient of KL(q ‖ p)."""
        return self.cost(parameters, z, energy)

    @abstractmethod
    def sample(
        self, energy: Tensor, k: int, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """Draw before more than incident energies ``(n,)`` is known, ``(n, k)``, in so many steps."""


class GaussianLatents(Latents):
    """Coordinates that are independent and standard normal, and Gaussian once a shower is seen."""

    n_parameters = 2

    def draws(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return standard normal numbers."""
        draws = torch.empty(like.shape, dtype=torch.float32, device=like.device)
        return draws.normal_(generator=generator)

    def fixed_draws(self, n: int, k: int) -> Tensor:
        """Return standard normal numbers that are always the same."""
        return matched_draws(n, k)

    def draw(self, parameters: Tensor, draws: Tensor) -> Tensor:
        """Draw from posteriors with means and log standard deviations ``(n, k, 2)``."""
        mean, log_std = self._moments(parameters)
        return mean + torch.exp(log_std) * draws

    def centre(self, parameters: Tensor) -> Tensor:
        """Return the means."""
        return parameters[..., 0]

    def cost(self, parameters: Tensor, z: Tensor, energy: Tensor) -> Tensor:
        """Return KL(q ‖ N(0, 1)), all of it."""
        return normal_divergence(*self._moments(parameters))

    def sample(
        self, energy: Tensor, k: int, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """Draw standard normal coordinates."""
        draws = torch.empty(len(energy), k, dtype=torch.float32, device=energy.device)
        return draws.normal_(generator=generator)

    def _moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = parameters.unbind(-1)
        return mean, log_std.clamp(*_LOG_STD_RANGE)
