"""What a locator's outputs are like for the events it was trained on."""

import torch
from torch import Tensor, nn

#: numbers that an event's outputs are summed up in
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


class TypicalOutputs(nn.Module):
    """Means and covariances of the summed-up outputs of training events, and of their scores.

    Of an event, ``deviate`` gives three whitened coordinates and its score, minus half the square of its
    Mahalanobis distance: the logarithm of a normal density, but for a constant.

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
        self.centre = nn.Buffer(torch.zeros(N_STATISTICS))
        self.whitening = nn.Buffer(torch.eye(N_STATISTICS))
        self.mean = nn.Buffer(torch.zeros(size))
        self.covariance = nn.Buffer(torch.eye(size))
        self.n_events = nn.Buffer(torch.zeros(()))

    def deviate(self, statistics: Tensor) -> Tensor:
        """Map ``(n, 3)`` to ``(n, 4)``: whitened coordinates, and the score."""
        z = (statistics - self.centre) @ self.whitening.T.to(statistics.dtype)
        return torch.cat([z, -0.5 * z.square().sum(dim=1, keepdim=True)], dim=1)

    @torch.no_grad()
    def learn(self, statistics: Tensor, weight: Tensor | None) -> None:
        """Take means and covariances from the outputs of training events ``(n, 3)``."""
        statistics = statistics.cpu().double()
        self.n_events.zero_()
        if not torch.isfinite(statistics).all():
            return
        share = torch.ones(len(statistics)) if weight is None else weight.cpu().clamp_min(0.0)
        share = share.double() / share.double().sum()
        centre, covariance = _moments(statistics, share)
        values, vectors = torch.linalg.eigh(covariance)
        smallest = 1e-6 * values[-1] if values[-1] > 1e-12 else 1.0
        whitening = (vectors / values.clamp_min(smallest).sqrt()).T
        self.centre.copy_(centre)
        self.whitening.copy_(whitening)
        there = self.whitening.device
        deviations = self.deviate(statistics.float().to(there)).cpu().double()
        mean, covariance = _moments(deviations, share)
        self.mean.copy_(mean)
        self.covariance.copy_(covariance)
        self.n_events.fill_(float(1.0 / share.square().sum()))  # of equal weight (Kish, 1965)


def _moments(numbers: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of rows that have shares of the whole."""
    mean = share @ numbers
    distance = numbers - mean
    return mean, distance.T @ (share[:, None] * distance)
