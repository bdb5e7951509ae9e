"""Latent bits with a Boltzmann machine as prior, one partition of which is the incident energy."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from skae.modules.showers.boltzmann import BoltzmannMachine, LogPartition
from skae.modules.showers.latents import Latents
from skae.modules.showers.scales import LEAST_CHANCE

# Bits of each of the whole numbers that stand for an energy.
N_BITS = 24


class EnergyCode(nn.Module):
    r"""Incident energies as bits.

    Those of the whole numbers below E, :math:`\sqrt{10 E}` and :math:`e^{10} \ln E`, with E in MeV up to
    2²⁴ = 16.8 TeV, where it ends: the most significant bit of each of the three, then the next of each,
    so that units with the most couplings say most; repeated as often as there is room, then zeros.

    Parameters
    ----------
    size : int
        Units of the partition, ``least_size`` or more.
    """

    least_size = 3 * N_BITS

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, energy: Tensor) -> Tensor:
        """Map ``(n,)`` to ``(n, size)``."""
        numbers = torch.stack([
            energy,
            torch.sqrt(10.0 * energy),
            math.exp(10.0) * torch.log(energy.clamp_min(1.0)),
        ], dim=1)  # fmt: skip
        numbers = numbers.clamp(0.0, 2.0**N_BITS - 1.0).long()
        shifts = torch.arange(N_BITS - 1, -1, -1, device=energy.device)
        bits = ((numbers[:, None, :] >> shifts[:, None]) & 1).flatten(1).float()
        repeated = bits.repeat(1, self.size // bits.shape[1])
        return functional.pad(repeated, (0, self.size - repeated.shape[1]))


class BinaryLatents(Latents):
    r"""Bits whose prior, given the incident energy, is a Boltzmann machine's.

    While training, bits are relaxed to :math:`\sigma(s\,(l + \operatorname{logit} u))` for posteriors
    with log-odds l and uniform u; the sharpness s rises until they are as good as bits (Jang et al.,
    2017; Khoshaman et al., 2019). The machine learns by persistent contrastive divergence (Tieleman,
    2008): its chains have incident energies of their own, from all over the training data, and move on
    with each minibatch.

    Parameters
    ----------
    machine : BoltzmannMachine
        Partition 0 is the code of the energy, the others are the groups of latents.
    energy : Tensor of shape (n_chains,)
        Incident energies of the chains.
    n_steps : int
        Rounds of Gibbs sampling by which the chains move for a minibatch.
    n_sampling_steps : int
        Rounds that lead from random bits to a draw.
    """

    n_parameters = 1

    def __init__(
        self, machine: BoltzmannMachine, energy: Tensor, n_steps: int, n_sampling_steps: int
    ):
        super().__init__()
        self.machine = machine
        self.code = EnergyCode(machine.sizes[0])
        self.n_steps, self.n_sampling_steps = n_steps, n_sampling_steps
        self.sharpness = nn.Buffer(torch.tensor(1.0, dtype=torch.float32))
        bits = torch.full((len(energy), sum(machine.sizes[1:])), 0.5, dtype=torch.float32)
        generator = torch.Generator().manual_seed(0)
        bits = torch.bernoulli(bits, generator=generator)
        self.chains = nn.Buffer(torch.cat([self.code(energy), bits], dim=1))

    def draws(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return uniform numbers."""
        chance = torch.empty(like.shape, dtype=torch.float32, device=like.device)
        return chance.uniform_(LEAST_CHANCE, 1.0 - LEAST_CHANCE, generator=generator)

    def fixed_draws(self, n: int, k: int) -> Tensor:
        """Return uniform numbers that are always the same, in pairs about one half."""
        generator = torch.Generator().manual_seed(0)
        half = torch.rand(-(-n // 2), k, generator=generator, dtype=torch.float32)
        both = torch.stack([half, 1.0 - half], dim=1).flatten(0, 1)[:n]
        return both.clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE)

    def draw(self, parameters: Tensor, draws: Tensor) -> Tensor:
        """Draw from posteriors with log-odds ``(n, k, 1)``: bits, relaxed ones while training."""
        above = parameters[..., 0] + torch.logit(draws)
        if self.training:
            return torch.sigmoid(self.sharpness * above)
        return (above > 0.0).to(above.dtype)

    def centre(self, parameters: Tensor) -> Tensor:
        """Return the likelier value of each bit."""
        return (parameters[..., 0] > 0.0).to(parameters.dtype)

    @torch.no_grad()
    def prepare(self) -> None:
        """Move the chains on."""
        moved = self.machine.gibbs(self.chains, self.n_steps, self.generator, clamped=(0,))
        self.chains.copy_(moved)

    def divergence(self, parameters: Tensor, z: Tensor, energy: Tensor) -> Tensor:
        """Return −entropy + energy − mean energy of the chains: of KL(q ‖ p) it has the gradient."""
        return self.cost(parameters, z, energy) - self.machine.energy(self.chains).mean()

    def cost(self, parameters: Tensor, z: Tensor, energy: Tensor) -> Tensor:
        """Return −entropy + energy of the posteriors, ``(n,)``."""
        logit = parameters[..., 0]
        entropy = functional.softplus(logit) - logit * torch.sigmoid(logit)
        return self.machine.energy(self.states(z, energy)) - entropy.sum(dim=1)

    def log_normaliser(self, energy: Tensor) -> LogPartition:
        """Return ln Z of the bits at these incident energies."""
        n_bits = len(self.machine.bias) - self.code.size
        bits = torch.zeros(len(energy), n_bits, dtype=torch.float32, device=energy.device)
        states = self.states(bits, energy)
        return self.machine.log_partition(states, clamped=(0,))

    def sample(
        self, energy: Tensor, k: int, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """Draw bits by block Gibbs sampling."""
        n_steps = self.n_sampling_steps if n_steps is None else n_steps
        states = self.machine.random_states(len(energy), generator)
        states[:, self.machine.parts[0]] = self.code(energy)
        states = self.machine.gibbs(states, n_steps, generator, clamped=(0,))
        return states[:, self.code.size :]

    def states(self, z: Tensor, energy: Tensor) -> Tensor:
        """Put codes of energies ``(n,)`` before bits ``(n, k)``."""
        return torch.cat([self.code(energy).to(z.dtype), z], dim=1)
