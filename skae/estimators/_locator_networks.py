"""Networks of PulseLocator by their names, and what parameters left at None are in each."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from skae.modules.pulses.inputs import TraceInputs
from skae.modules.pulses.locators import ReferenceLocator, ResidualLocator
from skae.modules.pulses.positions import PositionDistribution
from skae.training.batches import Rows


@dataclass(frozen=True)
class Architecture:
    """A residual network: samples in a step, channels, dilations of its blocks, opinions asked for.

    Attributes
    ----------
    step : int
        Samples that are looked at in one step, of narrow pulses.
    trace_channels, n_channels : int
        Channels over single traces, and over all of an event's.
    dilations : tuple of tuple of int
        Dilations of the blocks over single traces, and over events.
    mirrors : bool
        Whether a reversible event is looked at in both directions.
    """

    step: int
    trace_channels: int
    n_channels: int
    dilations: tuple[tuple[int, ...], tuple[int, ...]]
    mirrors: bool


#: residual networks by their names; "reference" is none
ARCHITECTURES = {
    "fast": Architecture(2, 16, 16, ((1, 2), (1, 2, 4, 8)), mirrors=False),
    "residual": Architecture(2, 24, 32, ((1, 2), (1, 2, 4, 8)), mirrors=True),
}

#: parameters that the published network has no use for
OF_RESIDUAL = "trace_channels", "n_channels", "kernel_size"

# Steps that a convolution spans where that is left to the network.
_KERNEL_SIZE = 3


# Steps of longer events that are trained on at a time.
_LONGEST = 256

# Samples in which a slope changes, up to which steps are the shortest ones. Of pulses whose slopes change
# more slowly they are twice as long, or more.
_SHARP = 9


def step_of(architecture: str, edge: int) -> int:
    """Return the samples in a step, of pulses whose slope changes in so many samples."""
    known = ARCHITECTURES.get(architecture)
    return 1 if known is None else known.step * 2 ** max(0, math.ceil(math.log2(edge / _SHARP)))


def window_of(estimator: Any) -> int | None:
    """Return how many samples of an event are trained on at a time, None for all of them.

    That leaves room to move events of any length by the samples of a step. What a network gives for a
    sample depends on its neighbourhood alone, so that windows teach it as much as long events.
    """
    if estimator.architecture not in ARCHITECTURES:
        return None
    step = estimator.step_
    return max(1, min(_LONGEST * step, estimator.trace_shape_[-1] + 1 - step))


def check_architecture(estimator: Any) -> None:
    """Refuse parameters that the architecture does not know, or cannot do."""
    size = estimator.kernel_size
    if size is not None and size % 2 == 0:
        raise ValueError(f"kernel_size={size} must be odd, to be centred on a step.")
    if estimator.architecture != "reference":
        return
    if estimator.sub_bin is True:
        raise ValueError(
            "architecture='reference' predicts whole bins; use sub_bin='auto' or False, or "
            "architecture='fast'."
        )
    if estimator.missing == "mask":
        raise ValueError(
            "architecture='reference' knows no missing samples; use missing='raise', or "
            "architecture='fast'."
        )
    for name in OF_RESIDUAL:
        if getattr(estimator, name) is not None:
            raise ValueError(
                f"architecture='reference' has the published layers and no {name}: leave it None, or "
                "use architecture='fast'."
            )


def build_locator(estimator: Any, rows: Rows, distribution: PositionDistribution) -> nn.Module:
    """Return the network that an estimator names, which knows the spreads of its training rows."""
    shape = estimator.trace_shape_
    n_traces = 1 if len(shape) == 1 else shape[0]
    if estimator.architecture == "reference":
        return ReferenceLocator(n_traces)
    known = ARCHITECTURES[estimator.architecture]
    limit = estimator.saturation_
    if limit is not None:
        units = estimator._units
        limit = torch.as_tensor((limit - np.asarray(units.center)) / units.scale).float()
        limit = limit.reshape(-1, 1)
    inputs = TraceInputs(
        n_traces,
        pooled=estimator.permute_traces_,
        remove_baseline=estimator.remove_baseline,
        negative=estimator.polarity_ == "negative",
        missing=estimator.missing == "mask",
        limit=limit,
    )
    inputs.fit_statistics(rows.x, rows.weight)
    return ResidualLocator(
        inputs,
        distribution,
        step=estimator.step_,
        trace_channels=estimator.trace_channels or known.trace_channels,
        n_channels=estimator.n_channels or known.n_channels,
        kernel_size=estimator.kernel_size or _KERNEL_SIZE,
        dilations=known.dilations,
        reversible=estimator.reverse_time_ and known.mirrors,
    )
