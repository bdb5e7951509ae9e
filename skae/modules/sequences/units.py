"""Units in which networks of sequences work, and the loss at all resolutions."""

import torch
from torch import Tensor, nn

from skae.modules.blocks import inverse_softplus
from skae.modules.moments import Rows, scale_of, usable_moments
from skae.modules.sequences.resolutions import Resolutions

# Positive outputs are no smaller, in units of the targets' spread: their logarithm is asked for.
_SMALLEST = 1e-6


class Standardised(nn.Module):
    """Rows in units of their spread around their mean, and the way back.

    Parameters
    ----------
    centre : Tensor
        Mean row.
    scale : Tensor
        What differences are divided by; broadcasts with the row.
    """

    def __init__(self, centre: Tensor, scale: Tensor):
        super().__init__()
        self.centre = nn.Buffer(centre.float())
        self.scale = nn.Buffer(scale.float())

    @classmethod
    def of_rows(cls, x: Rows, weight: Rows | None, dim: tuple[int, ...]) -> "Standardised":
        """Take the mean row, and a spread for each place but those along ``dim``, from training rows."""
        mean, variance, _ = usable_moments(x, weight)
        mean, variance = mean.reshape(x.shape[1:]), variance.reshape(x.shape[1:])
        if dim:
            largest = mean.abs().amax(dim=dim, keepdim=True)
            return cls(mean, scale_of(largest, variance.mean(dim=dim, keepdim=True), x.dtype))
        return cls(mean, scale_of(mean, variance, x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise rows."""
        return (x - self.centre) / self.scale


class Outputs(nn.Module):
    """Outputs of networks in standard units, in the units of the targets.

    Parameters
    ----------
    centres : list of Tensor
        Mean target at each level, the finest first.
    scale : Tensor
        Spread of the targets.
    positive : bool
        Give positive numbers only: ``scale · softplus(·)``, and never less than a millionth of the scale.
    poisson : bool
        Whether errors are measured by the deviance of counts, and not by squares.

    Attributes
    ----------
    unit : Tensor
        What errors, or the deviance of counts, are divided by, so that the mean row costs about 1.
    """

    def __init__(
        self, centres: list[Tensor], scale: Tensor, *, positive: bool, poisson: bool = False
    ):
        super().__init__()
        self.scale = nn.Buffer(scale.float())
        unit = scale
        if poisson:  # half the deviance of a mean m is (y − m)² / 2m, about
            centre = centres[0]
            mean = centre if centre.shape == scale.shape else centre.mean()
            unit = scale.square() / (2.0 * torch.where(mean > 0.0, mean, scale))
        self.unit = nn.Buffer(unit.float())
        self.positive, self.poisson = positive, poisson
        for level, centre in enumerate(centres):
            if positive:
                centre = inverse_softplus((centre / scale).clamp_min(1e-4))
            self.register_buffer(f"centre_{level}", centre.float())

    def forward(self, output: Tensor, level: int = 0) -> Tensor:
        """Bring outputs of a level to the units of the targets."""
        centre = getattr(self, f"centre_{level}")
        if self.positive:
            return self.scale * (nn.functional.softplus(output + centre) + _SMALLEST)
        return torch.addcmul(centre, output, self.scale)


class ResolutionLoss(nn.Module):
    """Loss of each row at all levels, the coarser ones against averages of the target.

    It is in units of what predicting the mean row would cost, about.

    Parameters
    ----------
    resolutions : Resolutions or None
        The levels; None for targets that are no sequences.
    weights : list of float
        Weight of each level, the finest first.
    outputs : Outputs
        Those of the network: how errors are measured, and in which unit.
    """

    def __init__(self, resolutions: Resolutions | None, weights: list[float], outputs: Outputs):
        super().__init__()
        self.resolutions, self.weights, self.outputs = resolutions, weights, outputs

    def forward(self, output: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``, from all levels and targets ``(n, k)``."""
        levels = [target[:, :, None]]
        if self.resolutions is not None:
            levels = self.resolutions.all_of(levels[0])
        losses = [
            weight * self._error(prediction, level[:, :, 0]).mean(dim=1)
            for weight, prediction, level in zip(self.weights, output, levels, strict=True)
        ]
        return torch.stack(losses).sum(dim=0)

    def _error(self, prediction: Tensor, target: Tensor) -> Tensor:
        unit = self.outputs.unit
        if not self.outputs.poisson:
            return ((prediction - target) / unit).square()
        ratio = prediction / target.clamp_min(1e-30)
        return (prediction - target - torch.xlogy(target, ratio)) / unit
