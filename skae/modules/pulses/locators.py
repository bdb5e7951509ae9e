"""Networks that look at the traces of an event and give numbers for each sample: where a pulse is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skae.modules.pulses.inputs import TraceInputs
from skae.modules.pulses.positions import PositionDistribution

# Of the reference network: filters of its first layer, samples that filters of both layers span, and bins
# at either end that the second ones reach only with padding.
_N_FILTERS, _FIRST_WIDTH, _SECOND_WIDTH, _MARGIN = 2, 3, 7, 3

# What these bins give away: nothing is published for them.
_HANDICAP = 20.0

# Samples that are looked at together, outside of training: more than these go through in tiles, which
# stay in cache.
_TILE = 8192

# What is added to the logarithm of a probability where there are no samples.
_NEVER = -1e4


def with_traces(x: Tensor) -> Tensor:
    """Return ``(n, n_traces, n_times)``; of a single trace ``(n, n_times)`` goes in as well."""
    return x.unsqueeze(1) if x.ndim == 2 else x


class StepConvolution(nn.Module):
    """A 1-D convolution over the steps of ``(n, n_steps, n_in)``, as one matrix product.

    Of few channels that is several times as fast, on a CPU, as convolutions with the channels first.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    n_taps : int
        Steps that it spans, odd.
    dilation : int
        Distance between them (Yu & Koltun, 2016, arXiv:1511.07122).
    """

    def __init__(self, n_in: int, n_out: int, n_taps: int, dilation: int = 1):
        super().__init__()
        self.offsets = [tap * dilation for tap in range(n_taps)]
        self.reach = self.offsets[-1] // 2
        self.taps = nn.Linear(n_taps * n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_steps, n_in)`` to ``(n, n_steps, n_out)``; there are zeros before and behind."""
        n_steps = x.shape[1]
        x = nn.functional.pad(x, (0, 0, self.reach, self.reach))
        return self.taps(
            torch.cat([x[:, first : first + n_steps] for first in self.offsets], dim=2)
        )


def _stack(n_channels: int, n_taps: int, dilations: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(StepConvolution(n_channels, n_channels, n_taps, d) for d in dilations)


def _through(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = x + block(x).relu()
    return x


class ResidualLocator(nn.Module):
    """Residual dilated convolutions: first over each trace by itself, then over all of an event's.

    The first stack is the same for every trace: a pulse looks alike in all of them. The second one sees
    what it found in each, side by side, and looks for the coincidence. Both see a trace in steps of a few
    samples; what the last layer gives for a step are the outputs of all of its samples.

    Parameters
    ----------
    inputs : TraceInputs
        What is seen of traces.
    distribution : PositionDistribution
        What the outputs are numbers of, for each sample.
    step : int
        Samples in a step.
    trace_channels, n_channels : int
        Channels of the stack over single traces, and of that over events.
    kernel_size : int
        Steps that a convolution spans, odd.
    dilations : (sequence of int, sequence of int)
        Dilations of the residual blocks of both stacks.
    reversible : bool
        Give, outside of training, what is found in an event and behind it, as further outputs, what is
        found in its time-reversed image.
    """

    def __init__(
        self,
        inputs: TraceInputs,
        distribution: PositionDistribution,
        *,
        step: int,
        trace_channels: int,
        n_channels: int,
        kernel_size: int,
        dilations: tuple[Sequence[int], Sequence[int]],
        reversible: bool,
    ):
        super().__init__()
        self.inputs = inputs
        self.step = step
        self.reversible = reversible
        self.odd_outputs = list(distribution.odd_outputs)
        self.n_outputs = distribution.n_outputs
        self.margin = step * (kernel_size - 1)  # samples that the first layer sees beside a step
        patch = inputs.n_channels * (step + 2 * self.margin)
        self.first = nn.Linear(patch, trace_channels)
        self.single = _stack(trace_channels, kernel_size, dilations[0])
        self.joining = StepConvolution(inputs.n_traces * trace_channels, n_channels, kernel_size)
        self.joint = _stack(n_channels, kernel_size, dilations[1])
        self.output = nn.Linear(n_channels, step * self.n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_traces, n_times)`` to ``(n, n_outputs, n_times)`` or twice as many outputs."""
        x = self.inputs(with_traces(x))
        found = self._tiled(x)
        if self.reversible and not self.training:
            mirrored = self._tiled(x.flip(3)).flip(2)
            if self.odd_outputs:
                mirrored[:, self.odd_outputs] *= -1.0
            found = torch.cat([found, mirrored], dim=1)
        if self.inputs.missing:
            is_weight = torch.arange(found.shape[1], device=x.device) % self.n_outputs == 0
            found = found + _NEVER * (self.inputs.gone(x)[:, None] & is_weight[:, None])
        return found

    @torch.no_grad()
    def calibrate(self, factors: Tensor, added: Tensor) -> None:
        """Build what `MixtureDistribution.calibrated` does into the last layer."""
        weight, bias = (part.unflatten(0, (self.step, -1)) for part in self.output.parameters())
        weight *= factors[:, None]
        bias *= factors
        bias += added

    @property
    def reach(self) -> int:
        """Samples to either side of a step on which its outputs depend."""
        blocks = [*self.single, self.joining, *self.joint]
        return self.margin + self.step * sum(block.reach for block in blocks)

    def _tiled(self, x: Tensor) -> Tensor:
        """Return outputs for inputs ``(n, n_traces, n_channels, n_times)``, long ones in parts."""
        n_times = x.shape[3]
        if self.training or n_times <= _TILE or torch.compiler.is_exporting():
            return self._locate(x)
        size = -(-n_times // -(-n_times // _TILE))  # all about as long
        size = -(-size // self.step) * self.step
        beside = -(-self.reach // self.step) * self.step
        parts = []
        for start in range(0, n_times, size):
            first = max(0, start - beside)
            found = self._locate(x[..., first : start + size + beside])
            parts.append(found[..., start - first : start - first + min(size, n_times - start)])
        return torch.cat(parts, dim=2)

    def _locate(self, x: Tensor) -> Tensor:
        n, n_traces, n_channels, n_times = x.shape
        n_steps = -(-n_times // self.step)
        behind = self.margin + n_steps * self.step - n_times
        x = nn.functional.pad(x.flatten(0, 1), (self.margin, behind), mode="replicate")
        patches = x.unfold(2, self.step + 2 * self.margin, self.step)
        patches = patches.transpose(1, 2).flatten(2)  # (n · n_traces, n_steps, n_channels · …)
        weight = self.first.weight
        if self.inputs.remove_baseline:
            values, *masks = weight.chunk(n_channels, dim=1)
            weight = torch.cat([values - values.mean(dim=1, keepdim=True), *masks], dim=1)
        found = nn.functional.linear(patches, weight, self.first.bias).relu()
        found = _through(self.single, found).unflatten(0, (n, n_traces))
        found = found.transpose(1, 2).flatten(2)  # (n, n_steps, n_traces · …)
        found = self.output(_through(self.joint, self.joining(found).relu()))
        return found.reshape(n, -1, self.n_outputs)[:, :n_times].transpose(1, 2)


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
        x = with_traces(x).unsqueeze(1)  # (n, 1, n_traces, n_times)
        logits = self.combination(self.activation(self.filters(x))).squeeze(2)
        bins = torch.arange(logits.shape[2], device=x.device)
        at_end = (bins < _MARGIN) | (bins >= len(bins) - _MARGIN)
        return logits - _HANDICAP * at_end
