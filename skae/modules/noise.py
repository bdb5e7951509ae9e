"""Noise on minibatches, drawn on their device: the twin of the transformer of the same formulas."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class RowNoise:
    """Corrupt each row of a minibatch with Poisson or Gaussian noise.

    Parameters
    ----------
    p_gaussian : float
        Probability that a row gets Gaussian noise, and not Poisson noise.
    counts : (float, float)
        Range from which a row draws, uniformly in the logarithm, what a bin of width 1 counts where the
        row equals its scale.
    sigma : float
        Standard deviation of the Gaussian noise, in units of the scale.
    relative_to : {"clean_max", "std", None}
        The scale of a row: its largest absolute value, its standard deviation, or 1.
    bin_widths : sequence of float or None
        Width of each bin of the last axis; None stands for 1.
    """

    def __init__(
        self,
        *,
        p_gaussian: float,
        counts: tuple[float, float],
        sigma: float,
        relative_to: str | None,
        bin_widths: Sequence[float] | None,
    ):
        self.p_gaussian = p_gaussian
        self.log_counts = [math.log(count) for count in counts]
        self.sigma = sigma
        self.relative_to = relative_to
        self.bin_widths = None if bin_widths is None else torch.tensor([*bin_widths]).float()

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return a noisy copy of the rows ``(m, ...)``, drawn from a generator on their device."""
        scale = self._scale(batch)  # (m, 1, ...)
        if self.p_gaussian == 0.0:
            return self._poisson(batch, scale, generator)
        noisy = batch + self.sigma * scale * torch.empty_like(batch).normal_(generator=generator)
        if self.p_gaussian == 1.0:
            return noisy
        gaussian = torch.empty_like(scale).uniform_(generator=generator) < self.p_gaussian
        return torch.where(gaussian, noisy, self._poisson(batch, scale, generator))

    def _poisson(self, batch: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        exposure = torch.empty_like(scale).uniform_(*self.log_counts, generator=generator).exp_()
        if self.bin_widths is not None:
            exposure = exposure * self.bin_widths.to(batch.device)
        lit = scale > 0.0
        unit = torch.where(lit, scale, 1.0) / exposure
        return torch.where(lit, unit * torch.poisson(batch / unit, generator=generator), batch)

    def _scale(self, batch: Tensor) -> Tensor:
        axes = tuple(range(1, batch.ndim))
        if self.relative_to == "clean_max":
            return batch.abs().amax(axes, keepdim=True)
        if self.relative_to == "std":
            return batch.std(axes, correction=0, keepdim=True)
        return batch.new_ones(len(batch), *[1] * len(axes))
