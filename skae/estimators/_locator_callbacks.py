"""Callbacks of a fit of pulse positions: weight decay, and scales of a mixture settled at the end."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from skae.modules.pulses.symmetries import RandomSymmetries
from skae.training.batches import Rows, TensorRows
from skae.training.inference import bounded_rows

# Events that scales are taken from, numbers in them that may be there together, and steps of the search.
_MOST_ROWS, _MOST_NUMBERS, _STEPS = 4096, 2**26, 40


# Weight decay of few and of many events; between, it falls with the square of their number. Of noisy
# pulses, 500 to 2,000 of them, that left probabilities within 0.02 of how often they were right.
_MOST_DECAY, _LEAST_DECAY, _DECAY_AT_1000 = 1.5, 0.01, 0.72


class DecayWeights(Callback):
    """Set the weight decay by the number of training events: the fewer, the more is learnt by heart.

    Parameters
    ----------
    partial : bool
        Whether these are a part of all events, of which nobody knows how many there are.
    """

    def __init__(self, partial: bool):
        self.partial = partial

    def on_train_begin(self, net: NeuralNet, dataset_train: Any = None, **kwargs: Any) -> None:
        """Set it for all steps of a run."""
        n_events = float("inf") if self.partial else _effective_number(dataset_train)
        decay = _DECAY_AT_1000 * (1000.0 / n_events) ** 2
        for group in net.optimizer_.param_groups:
            group["weight_decay"] = min(max(decay, _LEAST_DECAY), _MOST_DECAY)


def _effective_number(rows: Rows) -> float:
    """Return how many events of equal weight say as much (Kish, 1965)."""
    if rows.weight is None:
        return float(len(rows))
    weight = rows.weight[:].abs().double()
    return float(weight.sum().square() / weight.square().sum())


class LookAtRows(Callback):
    """Look at training rows once more at the end of a fit, when nothing else changes."""

    _rows: Rows | None = None

    def on_train_begin(self, net: NeuralNet, dataset_train: Any = None, **kwargs: Any) -> None:
        """Remember them."""
        self._rows = dataset_train

    @torch.no_grad()
    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Look at them, if there was an epoch."""
        rows, self._rows = self._rows, None
        if rows is not None and len(net.history):
            self.look(net, rows)

    def look(self, net: NeuralNet, rows: Rows) -> None:
        """Learn from them what there is to learn."""
        raise NotImplementedError


class CalibrateMixture(LookAtRows):
    """Scale weights, shifts and widths of a mixture by the likelihood of training events.

    That is temperature scaling (Guo et al., 2017, arXiv:1706.04599) of what a mixture has more. After a
    few optimiser steps a network knows where a pulse is better than how sure it can be: components
    far away are not improbable enough, and near ones are too wide.

    Parameters
    ----------
    window : int or None
        Samples that long events are cut to, around the pulse.
    """

    def __init__(self, window: int | None):
        self.window = window

    def look(self, net: NeuralNet, rows: Rows) -> None:
        """Build the most likely scales into the last layer."""
        n_numbers = min(_MOST_ROWS, len(rows)) * math.prod(rows.x.shape[1:])
        if self.window is None or n_numbers <= _MOST_NUMBERS:
            pieces = [rows.some(_MOST_ROWS, net.device)]
        else:  # long events, of which windows are short
            pieces = rows.some_by_runs(_MOST_ROWS, net.device)
        x, target, weight = _windows_of(pieces, self.window)
        parts = x.split(bounded_rows(_MOST_ROWS, x.shape[1:]))
        output = torch.cat([net.module_(part) for part in parts]).float()
        net.module_.calibrate(*_most_likely(net.criterion_, output, target, weight))


def _windows_of(pieces: Iterable[TensorRows], window: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, targets and weights of rows, each cut to a window."""
    found, draws = [], None
    for piece in pieces:
        x, target, weight = piece.x, piece.target, piece.weight
        if window is not None:
            cut = RandomSymmetries(permute=False, reverse=False, window=window)
            draws = draws or torch.Generator(x.device).manual_seed(0)
            x, target = cut(x, target, draws)
        one = x.new_ones(len(x))
        found.append((x, target, one if weight is None else weight.clamp_min(0.0)))
    x, target, weight = (torch.cat(parts) for parts in zip(*found, strict=True))
    return x, target, weight


@torch.enable_grad()
def _most_likely(
    criterion: Any, output: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what weights, shifts and widths are multiplied by (3,), and what is added to them (3,)."""
    n_searched = 4 if criterion.absent else 3
    search = torch.zeros(n_searched, dtype=torch.float32, device=output.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([search], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def calibration() -> tuple[Tensor, Tensor]:
        one, zero = output.new_ones(1), output.new_zeros(1)
        odds = search[3:] if criterion.absent else zero
        return torch.cat([search[:2].exp(), one]), torch.cat([odds, zero, search[2:3]])

    def loss() -> Tensor:
        optimizer.zero_grad()
        mean = (weight * criterion(criterion.calibrated(output, *calibration()), target)).sum()
        mean = mean / weight.sum()
        mean.backward()
        return mean

    optimizer.step(loss)
    with torch.no_grad():
        if not torch.isfinite(search).all():
            search.zero_()
    return tuple(part.detach() for part in calibration())
