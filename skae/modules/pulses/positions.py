"""Distributions of a position on a row of samples, with a network's output for parameters.

A sample is a bin of unit width: bin j spans positions from j − ½ to j + ½.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from skae.modules.pulses.typical import TypicalOutputs

#: halvings of an interval until float32 has no more digits
_HALVINGS = 32

#: largest logarithm of odds, and that in single precision
_LARGEST, _LARGEST_SINGLE = 600.0, 60.0

#: bins whose masses are computed at a time
_BINS_AT_ONCE = 128

#: weight under which a component is left out of the masses, and standard deviations that it reaches
_LEAST_WEIGHT, _SIGMAS = 1e-9, 6.0


class PositionDistribution(ABC, nn.Module):
    """A probability distribution over positions; as a module it is its own loss, −log likelihood.

    What goes in is the output of a network, ``(n, k · n_outputs, n_times)``: k opinions of equal weight.

    Parameters
    ----------
    absent : bool
        A target of NaN is an event without a pulse. Of the first output of each sample the exponential is
        then how many times as likely the event is with a pulse there as without one: its mean is the odds
        of a pulse, and its shares are the distribution given that there is one.
    several : int or None
        Targets are several positions for each event, ``(n, n_pulses)``, filled up with NaN. Of the first
        output of each sample the exponential, divided by this number, is then how many pulses are
        expected there, of a Poisson process. None if an event has one pulse at most.

    Attributes
    ----------
    n_outputs : int
        Numbers that the network gives for each sample.
    odd_outputs : tuple of int
        Those among them that change sign with the direction of time.
    """

    n_outputs: int
    odd_outputs: tuple[int, ...] = ()

    def __init__(self, absent: bool = False, several: int | None = None):
        super().__init__()
        self.absent = absent
        self.several = several
        self.typical = TypicalOutputs()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``, from outputs and positions ``(n,)``."""
        if self.several is not None:
            return self._process_loss(output, target)
        if not self.absent:
            return self.position_loss(output, target)
        is_there = ~target.isnan()
        loss = self.position_loss(output, target.nan_to_num(nan=0.0))
        odds = self.log_odds(output)
        softplus = nn.functional.softplus
        return torch.where(is_there, loss + softplus(-odds), softplus(odds))

    def _process_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return −log likelihood of a Poisson process: all that is expected, less the log rates there."""
        log_expected = self.log_odds(output)
        loss = log_expected.exp()
        for position in target.unbind(dim=1):
            is_there = ~position.isnan()
            log_rate = log_expected - self.position_loss(output, position.nan_to_num(nan=0.0))
            loss = loss - torch.where(is_there, log_rate, 0.0)
        return loss

    def log_weights(self, output: Tensor) -> Tensor:
        """Return logarithms of weights as they are, of each opinion and sample, ``(n, k, n_times)``."""
        output = output if output.dtype == torch.float64 else output.float()
        return output[:, :: self.n_outputs]

    def log_odds(self, output: Tensor) -> Tensor:
        """Return the logarithm of the odds of a pulse, ``(n,)``; of several, of their expected number."""
        weights = self.log_weights(output)
        n_bins = weights.shape[2] if self.several is None else self.several
        return weights.logsumexp(dim=(1, 2)) - math.log(weights.shape[1] * n_bins)

    def rates(self, output: Tensor, n_bins: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return odds of pulses at single places, where these are, and variances, ``(n, k · n_times)``.

        In double precision where the device has it, for odds may be large. ``n_bins`` is the number of
        bins in an event of the training.
        """
        is_double = output.device.type != "mps"
        dtype, largest = (
            (torch.float64, _LARGEST) if is_double else (torch.float32, _LARGEST_SINGLE)
        )
        log_weight, centre, sigma = (part.to(dtype).flatten(1) for part in self.components(output))
        n_opinions = output.shape[1] // self.n_outputs
        return log_weight.clamp_max(largest).exp() / (n_bins * n_opinions), centre, sigma**2

    @abstractmethod
    def components(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logarithms of weights as they are, centres and σ of components, ``(n, k, n_times)``."""

    @abstractmethod
    def position_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``, in which there is a pulse."""

    @abstractmethod
    def masses(self, output: Tensor) -> Tensor:
        """Return the probability of each bin, ``(n, n_times)``; they sum to one."""

    @abstractmethod
    def mean_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, each ``(n,)``."""

    @abstractmethod
    def cdf(self, output: Tensor, position: Tensor) -> Tensor:
        """Return the probability to lie before ``position`` (n,), as ``(n,)``."""

    def mode(self, output: Tensor) -> Tensor:
        """Return the centre of the most probable bin, ``(n,)``."""
        return self.masses(output).argmax(dim=1).to(output.dtype)

    def median(self, output: Tensor) -> Tensor:
        """Return the position before and behind which half of the probability lies, ``(n,)``."""
        low = output.new_full((len(output),), -0.5)
        high = low + output.shape[2]
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            before = self.cdf(output, middle) < 0.5
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        return 0.5 * (low + high)


class BinDistribution(PositionDistribution):
    """A probability for each bin, for labels that are bins.

    The loss is the cross-entropy. A label between two bins is shared by both, in proportion to how near
    it is: the mean is then right, but the distribution is at least as wide as a bin.
    """

    n_outputs = 1

    def position_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row."""
        log_p = self._logits(output).log_softmax(dim=1)  # (n, n_times)
        last = log_p.shape[1] - 1
        left = target.floor().clamp(0, last)
        share = (target - left).clamp(0.0, 1.0)
        left = left.long()
        picked = log_p.gather(1, torch.stack([left, (left + 1).clamp(max=last)], dim=1))
        return -((1.0 - share) * picked[:, 0] + share * picked[:, 1])

    def components(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logarithms of weights, the bins, and 0."""
        weight = output.float()
        bins = torch.arange(weight.shape[2], dtype=weight.dtype, device=weight.device)
        return weight, bins.expand_as(weight), torch.zeros_like(weight)

    def masses(self, output: Tensor) -> Tensor:
        """Return the probability of each bin."""
        return self._logits(output).softmax(dim=1)

    def _logits(self, output: Tensor) -> Tensor:
        return output.float().mean(dim=1)

    def mean_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the bins' numbers."""
        p = self.masses(output)
        bins = torch.arange(p.shape[1], dtype=p.dtype, device=p.device)
        mean = p @ bins
        return mean, (p * (bins - mean[:, None]) ** 2).sum(dim=1).sqrt()

    def cdf(self, output: Tensor, position: Tensor) -> Tensor:
        """Return the probability before a position, uniform inside each bin."""
        p = self.masses(output)
        edges = torch.arange(p.shape[1], dtype=p.dtype, device=p.device) - 0.5
        return (p * (position[:, None] - edges).clamp(0.0, 1.0)).sum(dim=1)


class MixtureDistribution(PositionDistribution):
    r"""A mixture of one narrow Gaussian for each bin, for labels finer than a bin.

    .. math:: p(t) = \sum_j \pi_j \, \mathcal N(t;\, j + \delta_j,\, \sigma_j)

    (Bishop, 1994, "Mixture density networks"). Shifts δ are unbounded, and σ > 1/1000. Neither may be
    squashed from above, by a tanh or a sigmoid: what the first steps push far up such a function has no
    gradient that brings it back. What lies outside of the samples counts for the first or the last bin.
    """

    n_outputs = 3
    odd_outputs = (1,)

    _SMALLEST_SIGMA = 1e-3
    #: share of the largest weight under which components are left out of the moments
    _NEGLIGIBLE = 1e-3

    def components(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logarithms of weights, centres and σ."""
        n, _, n_times = output.shape
        weight, shift, width = output.float().reshape(n, -1, self.n_outputs, n_times).unbind(dim=2)
        bins = torch.arange(n_times, dtype=weight.dtype, device=weight.device)
        return weight, bins + shift, self._SMALLEST_SIGMA + nn.functional.softplus(width)

    def _components(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log π, centres and σ, each ``(n, k, n_times)``."""
        weight, centre, sigma = self.components(output)
        return weight.log_softmax(dim=2) - math.log(weight.shape[1]), centre, sigma

    def calibrated(self, output: Tensor, factors: Tensor, added: Tensor) -> Tensor:
        """Return outputs, each of the three times a factor (3,) and with a number added (3,)."""
        opinions = output.unflatten(1, (-1, self.n_outputs))
        return (opinions * factors[:, None] + added[:, None]).flatten(1, 2)

    def position_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row."""
        log_weight, centre, sigma = self._components(output)
        z = (target[:, None, None] - centre) / sigma
        log_density = log_weight - 0.5 * z**2 - sigma.log()
        return 0.5 * math.log(2.0 * math.pi) - torch.logsumexp(log_density, dim=(1, 2))

    def masses(self, output: Tensor) -> Tensor:
        """Return the probability of each bin."""
        log_weight, centre, sigma = self._components(output)
        weight, n_times = log_weight.exp(), centre.shape[2]
        edges = torch.arange(n_times + 1, dtype=centre.dtype, device=centre.device) - 0.5
        edges[0], edges[-1] = -math.inf, math.inf
        result = torch.empty_like(weight[:, 0])  # filled in place, in bounded memory
        reach = self._reach(weight, centre, sigma)
        for start in range(0, n_times, _BINS_AT_ONCE):
            part = edges[start : start + _BINS_AT_ONCE + 1]
            near = slice(max(0, start - reach), start + _BINS_AT_ONCE + reach)
            distance = part - centre[:, :, near].unsqueeze(3)
            below = torch.special.ndtr(distance / sigma[:, :, near].unsqueeze(3))
            inside = below[..., 1:] - below[..., :-1]  # (n, k, components, bins)
            mass = torch.einsum("nkt,nktb->nb", weight[:, :, near], inside)
            result[:, start : start + _BINS_AT_ONCE] = mass
        return result

    @staticmethod
    def _reach(weight: Tensor, centre: Tensor, sigma: Tensor) -> int:
        """Return how many bins away from its own a component may have a mass."""
        n_times = centre.shape[2]
        if n_times <= _BINS_AT_ONCE or torch.compiler.is_exporting():
            return n_times
        bins = torch.arange(n_times, dtype=centre.dtype, device=centre.device)
        distance = (centre - bins).abs() + _SIGMAS * sigma
        farthest = torch.where(weight > _LEAST_WEIGHT, distance, 0.0).amax()
        return n_times if not torch.isfinite(farthest) else min(n_times, int(farthest) + 2)

    def mean_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, of the components that are not negligible.

        How improbable the improbable is, no training sample can tell. Far away it would decide the
        moments: a probability of 1e-5 in 30 bins' distance is a standard deviation of 0.1.
        """
        log_weight, centre, sigma = self._components(output)
        largest = log_weight.amax(dim=(1, 2), keepdim=True)
        negligible = log_weight < largest + math.log(self._NEGLIGIBLE)
        weight = log_weight.exp().masked_fill(negligible, 0.0)
        weight = weight / weight.sum(dim=(1, 2), keepdim=True)
        mean = (weight * centre).sum(dim=(1, 2))
        distance = centre - mean[:, None, None]
        variance = (weight * (sigma**2 + distance**2)).sum(dim=(1, 2))
        return mean, variance.sqrt()

    def cdf(self, output: Tensor, position: Tensor) -> Tensor:
        """Return the probability before a position."""
        log_weight, centre, sigma = self._components(output)
        below = torch.special.ndtr((position[:, None, None] - centre) / sigma)
        return (log_weight.exp() * below).sum(dim=(1, 2))
