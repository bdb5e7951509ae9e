"""Boltzmann machines of several partitions: energies, block Gibbs sampling, partition functions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skae.modules.losses import in_double

# Steps of annealed importance sampling, and the chains that take them.
_N_TEMPERATURES, _N_CHAINS = 200, 16

# Numbers in the states of chains that are moved at once.
_NUMBERS_AT_ONCE = 2**22


class LogPartition(NamedTuple):
    """Logarithm of a partition function and its standard error, each ``(m,)``."""

    value: Tensor
    error: Tensor


class BoltzmannMachine(nn.Module):
    r"""Units 0 or 1 in partitions, coupled between partitions only.

    .. math:: p(s) = e^{-E(s)} / Z, \qquad E(s) = -\sum_i b_i s_i - \sum_{i<j} J_{ij} s_i s_j

    Given the others, the units of a partition are independent: they are drawn all at once. With two
    partitions and all couplings it is the restricted Boltzmann machine.

    Parameters
    ----------
    sizes : sequence of int
        Units in each partition.
    mask : Tensor of shape (n_units, n_units) or None
        Where couplings are allowed, symmetric; those within partitions are ignored. None allows all.
    """

    def __init__(self, sizes: Sequence[int], mask: Tensor | None = None):
        super().__init__()
        self.sizes = tuple(sizes)
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        self.parts = [slice(end - size, end) for size, end in zip(self.sizes, ends, strict=True)]
        n_units = ends[-1]
        allowed = torch.ones(n_units, n_units, dtype=torch.bool)
        if mask is not None:
            allowed = mask.bool() & mask.bool().T
        for part in self.parts:
            allowed[part, part] = False
        self.mask = nn.Buffer(torch.triu(allowed).float())
        self.bias = nn.Parameter(torch.zeros(n_units))
        self.weight = nn.Parameter(torch.zeros(n_units, n_units))

    @property
    def couplings(self) -> Tensor:
        """Couplings J, symmetric, ``(n_units, n_units)``."""
        upper = self.weight * self.mask
        return upper + upper.T

    def energy(self, s: Tensor) -> Tensor:
        """Return the energies of states ``(m, n_units)``, ``(m,)``."""
        upper = (self.weight * self.mask).to(s.dtype)
        return -((s @ upper + self.bias.to(s.dtype)) * s).sum(dim=-1)

    @torch.no_grad()
    def gibbs(
        self,
        s: Tensor,
        n_steps: int,
        generator: torch.Generator | None,
        *,
        clamped: Sequence[int] = (),
    ) -> Tensor:
        """Draw the partitions in turn, ``n_steps`` times; return new states ``(m, n_units)``.

        Parameters
        ----------
        s : Tensor of shape (m, n_units)
            Where the chains are.
        n_steps : int
            Rounds through the partitions.
        generator : torch.Generator or None
            Where random numbers come from.
        clamped : sequence of int
            Partitions that stay as they are.
        """
        s = s.clone()
        couplings = self.couplings
        free = [
            (part, self.bias[part], couplings[:, part].contiguous())
            for i, part in enumerate(self.parts)
            if i not in clamped
        ]
        for _ in range(n_steps):
            for part, bias, columns in free:
                chance = torch.sigmoid(torch.addmm(bias, s, columns))
                s[:, part] = _bits(chance, generator)
        return s

    @torch.no_grad()
    def random_states(self, m: int, generator: torch.Generator | None) -> Tensor:
        """Draw states ``(m, n_units)`` as if there were no couplings: where chains begin."""
        return _bits(torch.sigmoid(self.bias).expand(m, -1), generator)

    @torch.no_grad()
    def log_partition(
        self,
        states: Tensor | None = None,
        clamped: Sequence[int] = (),
        *,
        n_chains: int = _N_CHAINS,
        n_temperatures: int = _N_TEMPERATURES,
    ) -> LogPartition:
        """Estimate ln Z by annealed importance sampling (Neal, 2001; Salakhutdinov & Murray, 2008).

        Couplings between free units rise in even steps from 0, where ln Z is known.

        Parameters
        ----------
        states : Tensor of shape (m, n_units) or None
            States of the clamped partitions, each with a Z of its own; None where none is clamped.
        clamped : sequence of int
            Partitions over which Z does not sum.
        n_chains, n_temperatures : int
            More of either make the error smaller. All states share the same random numbers, always.
            The chains move in double precision: in single, how a product is rounded, and with it now and
            then a bit, depends on how many states stand beside one.

        Returns
        -------
        log_z : LogPartition
            Values and standard errors, ``(m,)``.
        """
        if states is None:
            states = torch.zeros_like(self.bias)[None]
        states = in_double(states)
        fixed = torch.zeros(len(self.bias), dtype=torch.bool, device=self.bias.device)
        for i in clamped:
            fixed[self.parts[i]] = True
        at_once = max(1, _NUMBERS_AT_ONCE // (n_chains * len(self.bias)))
        parts = [
            self._anneal(part, fixed, n_chains, n_temperatures) for part in states.split(at_once)
        ]
        return LogPartition(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _anneal(
        self, states: Tensor, fixed: Tensor, n_chains: int, n_temperatures: int
    ) -> LogPartition:
        generator = torch.Generator(states.device).manual_seed(0)
        given = states * fixed
        couplings = self.couplings.to(states.dtype)
        # what is clamped acts on the others like a bias
        bias = (self.bias.to(states.dtype) + given @ couplings)[:, None]
        couplings = couplings * (~fixed[:, None] & ~fixed)
        start = -self.energy(given) + (nn.functional.softplus(bias[:, 0]) * ~fixed).sum(dim=1)
        free = [part for part in self.parts if not fixed[part].any()]

        def random(like: Tensor) -> Tensor:  # the same for all states
            return torch.rand(
                like.shape[1:], generator=generator, dtype=like.dtype, device=like.device
            )

        chance = torch.sigmoid(bias).expand(-1, n_chains, -1)
        s = (random(chance) < chance).to(chance.dtype) * ~fixed
        log_weight = torch.zeros(s.shape[:2], dtype=s.dtype, device=s.device)
        step = 1.0 / n_temperatures
        for t in range(1, n_temperatures + 1):
            log_weight += 0.5 * step * ((s @ couplings) * s).sum(dim=2)
            if t == n_temperatures:
                break
            for part in free:
                field = bias[:, :, part] + t * step * (s @ couplings[:, part])
                s[:, :, part] = (random(field) < torch.sigmoid(field)).to(s.dtype)
        log_mean = torch.logsumexp(log_weight, dim=1) - math.log(n_chains)
        ratios = torch.exp(log_weight - log_mean[:, None])
        error = ratios.std(dim=1) / math.sqrt(n_chains)
        return LogPartition(start + log_mean, error)


def _bits(chance: Tensor, generator: torch.Generator | None) -> Tensor:
    # torch.bernoulli with a generator cannot be compiled
    uniform = torch.empty(chance.shape, dtype=chance.dtype, device=chance.device)
    return (uniform.uniform_(generator=generator) < chance).to(chance.dtype)
