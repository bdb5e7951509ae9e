"""Losses, one number a row: what the engine averages, weighted, over a minibatch."""

import math

import torch
from torch import Tensor, nn

# Share of the rows of a minibatch whose squared errors count as they are.
_SHARE = 0.9


def wrap_angle(difference: Tensor, period: float = 2.0 * math.pi) -> Tensor:
    """Bring differences of angles to the nearest of their periodic images, [−period/2, period/2]."""
    return difference - period * torch.round(difference / period)


def in_double(x: Tensor) -> Tensor:
    """Return a tensor in double precision, for terms that cancel; as it is on Apple's GPUs."""
    return x if x.device.type == "mps" else x.double()


def _bent(loss: Tensor, start: Tensor) -> Tensor:
    """Let squared errors beyond a start rise as roots (Huber, 1964, doi:10.1214/aoms/1177703732)."""
    tiny = torch.finfo(loss.dtype).tiny  # where nothing is lost, the root would have no slope
    root = (torch.maximum(loss, start) * start + tiny).sqrt()
    return torch.where(loss > start, 2.0 * root - start, loss)


class SquaredError(nn.Module):
    """Mean squared error of each row, angular columns taken around the circle.

    Parameters
    ----------
    angles : tuple of int
        Columns that are angles: their differences are wrapped to half a turn.
    radian : float
        A radian in the unit of these columns.
    factors : Tensor of shape (d,) or None
        What differences of the columns are multiplied by; 1 where there are none.
    least : Tensor of shape (d,) or None
        With these, differences are divided by the size of the target as well, or by these, if they are
        larger; infinity leaves a column as it is.
    bend : bool
        Whether rows whose loss is beyond the 90 % quantile of the minibatch count by its root.
    """

    def __init__(
        self,
        angles: tuple[int, ...] = (),
        radian: float = 1.0,
        factors: Tensor | None = None,
        least: Tensor | None = None,
        bend: bool = False,
    ):
        super().__init__()
        self.bend = bend
        self.angles, self.turn = list(angles), 2.0 * math.pi * radian
        self.factors = nn.Buffer(factors) if factors is not None else None
        self.least = nn.Buffer(least) if least is not None else None

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, ``(n,)``, from two tensors ``(n, d)``."""
        nearest = self._nearest_image(output.detach(), target) if self.angles else target
        if self.factors is None:
            loss = nn.functional.mse_loss(output, nearest, reduction="none").mean(dim=1)
        else:
            difference = (output - nearest) * self.factors
            if self.least is not None:
                size = torch.maximum(target.abs(), self.least)
                difference = torch.where(size.isinf(), difference, difference / size)
            loss = difference.square().mean(dim=1)
        return _bent(loss, torch.quantile(loss.detach(), _SHARE)) if self.bend else loss

    def _nearest_image(self, output: Tensor, target: Tensor) -> Tensor:
        """Move angles of the target by whole turns, to within half a turn of the output's."""
        nearest = target.clone()
        difference = output[:, self.angles] - target[:, self.angles]
        nearest[:, self.angles] += difference - wrap_angle(difference, self.turn)
        return nearest
