"""Networks that look at the traces of an event and give numbers for each sample: where a pulse is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skae.modules.moments import scale_of, usable_moments
from skae.modules.pulses.positions import PositionDistribution

# Of the reference network: filters of its first layer, samples that filters of both layers span, and bins
# at either end that the second ones reach only with padding.
_N_FILTERS, _FIRST_WIDTH, _SECOND_WIDTH, _MARGIN = 2, 3, 7, 3

# What these bins give away: nothing is published for them.
_HANDICAP = 20.0


def _with_traces(x: Tensor) -> Tensor:
    """Return ``(n, n_traces, n_times)``; of a single trace ``(n, n_times)`` goes in as well."""
    return x.unsqueeze(1) if x.ndim == 2 else x


class DilatedBlock(nn.Module):
    """``x + silu(conv(x))`` with a dilated 1-D convolution (Yu & Koltun, 2016, arXiv:1511.07122)."""

    def __init__(self, n_channels: int, kernel_size: int, dilation: int):
        super().__init__()
        self.conv = nn.Conv1d(
            n_channels, n_channels, kernel_size, padding="same", dilation=dilation
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_channels, n_times)`` to the same shape."""
        return x + nn.functional.silu(self.conv(x))


def _dilated_stack(
    n_in: int, n_channels: int, kernel_size: int, dilations: Sequence[int]
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(n_in, n_channels, kernel_size, padding="same"),
        nn.SiLU(),
        *(DilatedBlock(n_channels, kernel_size, dilation) for dilation in dilations),
    )


class ResidualLocator(nn.Module):
    """Residual dilated convolutions: first over each trace by itself, then over all of an event's.

    The first stack is the same for every trace: a pulse looks alike in all of them. The second one sees
    what it found in each, side by side, and looks for the coincidence.

    Parameters
    ----------
    n_traces : int
        Traces in an event.
    distribution : PositionDistribution
        What the outputs are numbers of, for each sample.
    trace_channels, n_channels : int
        Channels of the stack over single traces, and of that over events.
    kernel_size : int
        Samples that a convolution spans, odd.
    dilations : (sequence of int, sequence of int)
        Dilations of the residual blocks of both stacks.
    pooled : bool
        Standardise all traces by the same mean and variance.
    reversible : bool
        Give, outside of training, what is found in an event and behind it, as further outputs, what is
        found in its time-reversed image.
    """

    def __init__(
        self,
        n_traces: int,
        distribution: PositionDistribution,
        *,
        trace_channels: int,
        n_channels: int,
        kernel_size: int,
        dilations: tuple[Sequence[int], Sequence[int]],
        pooled: bool,
        reversible: bool,
    ):
        super().__init__()
        self.n_traces = n_traces
        self.pooled = pooled
        self.centre = nn.Buffer(torch.zeros(n_traces, 1))
        self.scale = nn.Buffer(torch.ones(n_traces, 1))
        self.reversible = reversible
        self.odd_outputs = list(distribution.odd_outputs)
        self.single = _dilated_stack(1, trace_channels, kernel_size, dilations[0])
        found = n_traces * trace_channels
        self.joint = _dilated_stack(found, n_channels, kernel_size, dilations[1])
        self.output = nn.Conv1d(n_channels, distribution.n_outputs, 1)

    def fit_statistics(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Take means and standard deviations from training rows, ``(n, n_traces, n_times)``."""
        mean, variance, _ = usable_moments(x, weight)
        mean, variance = mean.reshape(self.n_traces, -1), variance.reshape(self.n_traces, -1)
        dim = None if self.pooled else 1
        square = (variance + mean**2).mean(dim=dim, keepdim=True)
        mean = mean.mean(dim=dim, keepdim=True)
        self.centre.copy_(mean)
        self.scale.copy_(scale_of(mean, square - mean**2, x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_traces, n_times)`` to ``(n, n_outputs, n_times)`` or twice as many outputs."""
        x = (_with_traces(x) - self.centre) / self.scale
        if not self.reversible or self.training:
            return self._locate(x)
        mirrored = self._locate(x.flip(2)).flip(2)
        if self.odd_outputs:
            mirrored[:, self.odd_outputs] *= -1.0
        return torch.cat([self._locate(x), mirrored], dim=1)

    @torch.no_grad()
    def calibrate(self, factors: Tensor, width: Tensor) -> None:
        """Build what `MixtureDistribution.calibrated` does into the last layer."""
        weight, bias = self.output.parameters()
        weight[:2] *= factors[:, None, None]
        bias[:2] *= factors
        bias[2] += width

    def _locate(self, x: Tensor) -> Tensor:
        n, n_traces, n_times = x.shape
        found = self.single(x.reshape(n * n_traces, 1, n_times))  # (n · n_traces, …, n_times)
        return self.output(self.joint(found.reshape(n, -1, n_times)))


class ReferenceLocator(nn.Module):
    """Two convolutional layers: a few filters for each trace, and one over all traces' responses.

    The published network for coincident pulses, which takes traces in their own units. Behind the
    training, its first filters are derivatives of the traces: f′ and −f″.

    Parameters
    ----------
    n_traces : int
        Traces in an event.
    """

    def __init__(self, n_traces: int):
        super().__init__()
        self.filters = nn.Conv2d(1, _N_FILTERS, (1, _FIRST_WIDTH), padding="same")
        self.activation = nn.Tanh()
        self.combination = nn.Conv2d(_N_FILTERS, 1, (n_traces, _SECOND_WIDTH), padding=(0, _MARGIN))
        for name, parameter in self.named_parameters():  # as published
            (nn.init.zeros_ if name.endswith("bias") else nn.init.xavier_uniform_)(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_traces, n_times)`` to ``(n, 1, n_times)``."""
        x = _with_traces(x).unsqueeze(1)  # (n, 1, n_traces, n_times)
        logits = self.combination(self.activation(self.filters(x))).squeeze(2)
        bins = torch.arange(logits.shape[2], device=x.device)
        at_end = (bins < _MARGIN) | (bins >= len(bins) - _MARGIN)
        return logits - _HANDICAP * at_end
