"""What a network sees of traces: numbers of unit spread, and masks of samples that are none."""

import torch
from torch import Tensor, nn

from skae.modules.moments import Rows, scale_of, usable_moments

# How close to a limit a sample is cut off, as a share of the limit: rounding of single precision.
_ROUNDING = 1e-6


class _Levelled:
    """Rows whose traces have a mean of 0, each its own."""

    def __init__(self, x: Rows):
        self.shape, self.dtype, self._x = x.shape, x.dtype, x

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, part: slice) -> Tensor:
        x = self._x[part]
        return x - x.nanmean(dim=-1, keepdim=True)


class TraceInputs(nn.Module):
    """Traces in units of their spread and, beside each, masks of cut-off and of missing samples.

    Parameters
    ----------
    n_traces : int
        Traces in an event.
    pooled : bool
        Divide all traces by the same number.
    remove_baseline : bool
        Spreads are those around the level of each trace.
    negative : bool
        Turn pulses that go down into ones that go up.
    missing : bool
        Samples that are NaN are missing.
    limit : Tensor or None
        The number at which pulses are cut off, of each trace, ``(n_traces, 1)`` or ``(1, 1)``.
    """

    def __init__(
        self,
        n_traces: int,
        *,
        pooled: bool,
        remove_baseline: bool,
        negative: bool = False,
        missing: bool = False,
        limit: Tensor | None = None,
    ):
        super().__init__()
        self.n_traces = n_traces
        self.pooled = pooled
        self.remove_baseline = remove_baseline
        self.negative = negative
        self.missing = missing
        self.is_limited = limit is not None
        self.centre = nn.Buffer(torch.zeros(n_traces, 1))
        self.scale = nn.Buffer(torch.ones(n_traces, 1))
        if limit is not None:
            inwards = -1.0 if negative else 1.0
            self.limit = nn.Buffer(limit - inwards * _ROUNDING * limit.abs())

    @property
    def n_channels(self) -> int:
        """Numbers for each sample: itself, and its masks."""
        return 1 + self.is_limited + self.missing

    def fit_statistics(self, x: Rows, weight: Rows | None = None) -> None:
        """Take means and standard deviations from training rows, ``(n, n_traces, n_times)``."""
        rows = _Levelled(x) if self.remove_baseline else x
        mean, variance, _ = usable_moments(rows, weight, gaps=self.missing)
        mean, variance = mean.reshape(self.n_traces, -1), variance.reshape(self.n_traces, -1)
        dim = None if self.pooled else 1
        square = (variance + mean**2).mean(dim=dim, keepdim=True)
        mean = mean.mean(dim=dim, keepdim=True)
        self.centre.copy_(mean)
        self.scale.copy_(scale_of(mean, square - mean**2, x.dtype))
        if self.negative:
            self.scale.neg_()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_traces, n_times)`` to ``(n, n_traces, n_channels, n_times)``, missing ones last."""
        masks = []
        if self.missing:
            gone = x.isnan()
            x = _filled(x, gone)
        if self.is_limited:
            is_cut = x <= self.limit if self.negative else x >= self.limit
            masks.append(is_cut.to(x.dtype))
        if self.missing:
            masks.append(gone.to(x.dtype))
        return torch.stack([(x - self.centre) / self.scale, *masks], dim=2)

    def gone(self, inputs: Tensor) -> Tensor:
        """Tell which samples are missing in all traces, ``(n, n_times)``."""
        return inputs[:, :, -1].amin(dim=1) > 0.5


def _filled(x: Tensor, gone: Tensor) -> Tensor:
    """Fill gaps with the sample before, and those at the beginning with the first one behind."""
    n_times = x.shape[-1]
    known = torch.where(gone, -1, torch.arange(n_times, device=x.device))
    reach = 1
    while reach < n_times:  # the largest so far, in steps that double
        before = nn.functional.pad(known[..., :-reach], (reach, 0), value=-1)
        known = torch.maximum(known, before)
        reach *= 2
    first = (~gone).to(torch.int64).argmax(dim=-1, keepdim=True)
    known = torch.where(known < 0, first, known)
    return x.gather(-1, known).nan_to_num(nan=0.0)  # of a trace that has no samples at all
