"""What a locator's outputs are like for the events it was trained on."""

import torch
from torch import Tensor, nn

#: numbers that the outputs for an event are summed up in
N_STATISTICS = 3

# Outputs that stand for samples which are not there lie under this.
_NEVER = -5e3


def summarise(log_weight: Tensor, *, gaps: bool) -> Tensor:
    """Sum up what a network says of all samples, ``(n, n_opinions, n_times)``, in ``(n, 3)`` numbers.

    These are the logarithm of the sum of all weights, and the median and the standard deviation of their
    logarithms: how large the largest are, how large they are where no pulse is, and how much they vary.
    With ``gaps``, samples are left out of which the network says that they are not there.
    """
    a = log_weight.mean(dim=1)
    known = a > _NEVER if gaps else torch.ones_like(a, dtype=torch.bool)
    n = known.sum(dim=1, keepdim=True).clamp_min(1)
    mean = torch.where(known, a, 0.0).sum(dim=1, keepdim=True) / n
    variance = torch.where(known, (a - mean).square(), 0.0).sum(dim=1) / n[:, 0]
    middle = torch.where(known, a, torch.inf).sort(dim=1).values.gather(1, (n - 1) // 2)
    return torch.stack([a.logsumexp(dim=1), middle[:, 0], variance.sqrt()], dim=1)


def roughness(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Map ``(n, n_traces, n_times)`` to ``(n, 1)``: how much samples differ from the next on average.

    Traces count in units of their ``scale`` (n_traces, 1), missing samples not at all.
    """
    steps = x.diff(dim=2).abs()
    if scale is not None:
        steps = steps / scale.abs()
    return steps.nanmean(dim=(1, 2)).nan_to_num(nan=0.0)[:, None]


class TypicalOutputs(nn.Module):
    """What events of the training are like: their summed-up outputs, and how rough their traces are.

    Attributes
    ----------
    n_events : Tensor of shape ()
        How many events it was learnt from; 0 before.
    is_for_batches : bool
        Whether batches may be judged by it.
    """

    def __init__(self):
        super().__init__()
        self.is_for_batches = False
        size = N_STATISTICS + 1
        self.centre = nn.Buffer(torch.zeros(size))
        self.whitening = nn.Buffer(torch.eye(size))
        self.mean = nn.Buffer(torch.zeros(size + 2))
        self.covariance = nn.Buffer(torch.eye(size + 2))
        self.n_events = nn.Buffer(torch.zeros(()))

    def deviate(self, statistics: Tensor) -> Tensor:
        """Map summed-up outputs and roughness, ``(n, 4)``, to ``(n, 6)``.

        These are three whitened coordinates of the outputs; minus half the sum of their squares; the
        roughness in units of the mean; and the score, minus half the square of the Mahalanobis distance
        of all four: the logarithm of a normal density, but for a constant.
        """
        z = (statistics - self.centre) @ self.whitening.T.to(statistics.dtype)
        halves = -0.5 * z.square()
        rough = statistics[:, -1:] / torch.where(self.centre[-1] > 0.0, self.centre[-1], 1.0)
        of_outputs = halves[:, :N_STATISTICS].sum(dim=1, keepdim=True)
        parts = [z[:, :N_STATISTICS], of_outputs, rough, halves.sum(dim=1, keepdim=True)]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def learn(self, statistics: Tensor, weight: Tensor | None) -> None:
        """Take means and covariances from training events, ``(n, 4)``."""
        statistics = statistics.cpu().double()
        self.n_events.zero_()
        if not torch.isfinite(statistics).all():
            return
        share = torch.ones(len(statistics)) if weight is None else weight.cpu().clamp_min(0.0)
        share = share.double() / share.double().sum()
        centre, covariance = _moments(statistics, share)
        self.centre.copy_(centre)
        self.whitening.copy_(_whitening(centre, covariance))
        deviations = self.deviate(statistics.to(self.whitening)).cpu().double()
        mean, covariance = _moments(deviations, share)
        self.mean.copy_(mean)
        self.covariance.copy_(covariance)
        self.n_events.fill_(float(1.0 / share.square().sum()))  # of equal weight (Kish, 1965)


def _moments(numbers: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of rows that have shares of the whole."""
    mean = share @ numbers
    distance = numbers - mean
    return mean, distance.T @ (share[:, None] * distance)


def _whitening(mean: Tensor, covariance: Tensor) -> Tensor:
    """Return a lower triangular matrix: the first coordinates are those of the first numbers alone."""
    spread = covariance.diagonal().clamp_min(0.0).sqrt()
    spread = torch.where(spread > 1e-6 * mean.abs(), spread, 1.0)
    values, vectors = torch.linalg.eigh(covariance / (spread[:, None] * spread))
    usable = vectors * values.clamp_min(1e-6) @ vectors.T  # of numbers that say the same
    return torch.linalg.inv(torch.linalg.cholesky(usable)) / spread
