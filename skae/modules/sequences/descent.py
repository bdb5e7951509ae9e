"""Recurrent networks that go through a sequence from its coarsest level to its finest.

The coarsest level runs over a short sequence. Below it the windows of a level are independent given the
states of the coarser one, so they run side by side: the steps one after another are those of the
coarsest level and one window of each finer one, not the length of the sequence.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from skae.modules.sequences.resolutions import Resolutions, place_layers

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}

# How often an integer hidden_size doubles: the cost of a level falls faster than its width grows.
_DOUBLINGS = 2

# States that an output is read from: more than stand on one side of a seam.
_OUTPUT_SIZE = 9


def level_widths(hidden_size: int | Sequence[int], n_levels: int) -> list[int]:
    """Return the widths of states at each level, the finest first."""
    if isinstance(hidden_size, int):
        return [hidden_size * 2 ** min(level, _DOUBLINGS) for level in range(n_levels)]
    return list(hidden_size)[:n_levels]


class WindowRNN(nn.Module):
    """A recurrent network over short windows, one half forwards and one backwards, added to its input.

    Parameters
    ----------
    width : int
        Numbers in a state, half of them of each direction.
    cell : {"gru", "lstm"}
        Kind of network.
    start_width : int or None
        Numbers in what a window's first states are made of; None starts at zero.
    sets : {"hidden", "cell"} or None
        Which state of an LSTM is set by them, the other one is zero; None for both.
    """

    def __init__(self, width: int, cell: str, start_width: int | None, sets: str | None = None):
        super().__init__()
        self.sets = sets
        self.rnn = CELLS[cell](width, width // 2, batch_first=True, bidirectional=True)
        self.n_states = 2 if cell == "lstm" else 1
        self.start = None if start_width is None else nn.Linear(start_width, self.n_states * width)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """Map windows ``(n, steps, width)``, from starts ``(n, start_width)``, to their states."""
        if self.start is None:
            return x + self.rnn(x)[0]
        states = torch.tanh(self.start(start)).unflatten(1, (self.n_states, 2, -1))
        # of both directions, (2, n, width / 2)
        first = [state.contiguous() for state in states.permute(1, 2, 0, 3)]
        if self.sets is not None:
            other = 1 if self.sets == "hidden" else 0
            first[other] = torch.zeros_like(first[other])
        return x + self.rnn(x, tuple(first) if self.n_states == 2 else first[0])[0]


class Descent(nn.Module):
    """Run a sequence from the coarsest level to the finest.

    A level's states are those of the coarser one, interpolated, to which are added what the level
    itself has to say, what stands for the places, and what a recurrent network makes of all within each
    window.

    Parameters
    ----------
    resolutions : Resolutions
        The levels.
    widths : list of int
        Numbers in a state of each level, the finest first; even.
    n_starts : int or None
        Numbers that set the first state of the coarsest level; None starts it at zero.
    cell, sets
        As of :class:`WindowRNN`.
    """

    def __init__(
        self,
        resolutions: Resolutions,
        widths: list[int],
        cell: str,
        n_starts: int | None = None,
        sets: str | None = None,
    ):
        super().__init__()
        self.resolutions, self.widths = resolutions, widths
        self.places = place_layers(widths)
        pairs = list(pairwise(widths))
        self.narrow = nn.ModuleList(
            nn.Identity() if fine == coarse else nn.Linear(coarse, fine) for fine, coarse in pairs
        )
        self.networks = nn.ModuleList(WindowRNN(fine, cell, coarse) for fine, coarse in pairs)
        self.networks.append(WindowRNN(widths[-1], cell, n_starts, sets))

    def forward(self, own: list[Tensor], start: Tensor | None = None) -> list[Tensor]:
        """Return the states of all levels, the finest first.

        Parameters
        ----------
        own : list of Tensor of shape (n, sizes[level] or 1, widths[level])
            What each level has to say, of each step or of all, the finest first.
        start : Tensor of shape (n, n_starts) or None
            What sets the coarsest level going.
        """
        own = [
            said + layer(self.resolutions.places(level))
            for level, (said, layer) in enumerate(zip(own, self.places, strict=True))
        ]
        states = [self.networks[-1](own[-1], start)]
        for level in range(len(own) - 2, -1, -1):
            states.append(self._refine(states[-1], own[level], level))
        return states[::-1]

    def _refine(self, coarse: Tensor, own: Tensor, level: int) -> Tensor:
        steps, factor = own.shape[1], self.resolutions.factors[level]
        # (n, size, factor, width)
        windows = self.resolutions.refine(self.narrow[level](coarse), level)
        n, size = windows.shape[:2]
        padded = nn.functional.pad(own, (0, 0, 0, size * factor - steps))
        windows = windows + padded.unflatten(1, (size, factor))
        states = self.networks[level](windows.flatten(0, 1), coarse.flatten(0, 1))
        return states.unflatten(0, (n, size)).flatten(1, 2)[:, :steps]


class JoinedLinear(nn.Linear):
    """A linear map of several parts, laid side by side.

    Filled up with zeros to a multiple of eight numbers: of others, matrix products on the CPU round
    differently from one row to the next, and a row's result would depend on where it stands.

    Parameters
    ----------
    n_in : int
        Numbers in all parts together.
    n_out : int
        Numbers in the output.
    """

    def __init__(self, n_in: int, n_out: int):
        self.n_missing = -n_in % 8
        super().__init__(n_in + self.n_missing, n_out)

    def forward(self, *parts: Tensor) -> Tensor:
        """Map parts ``(..., k)``, of equal shapes but for their last axes, to ``(..., n_out)``."""
        if self.n_missing:
            shape = (*parts[0].shape[:-1], self.n_missing)
            parts = (*parts, parts[0].new_zeros(1).expand(shape))
        return super().forward(torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0])


class SequenceOutput(nn.Module):
    """Read a number from the states around each step.

    A state knows its own window best. Read from the states around it as well, on both sides of a seam,
    a sequence has none.

    Parameters
    ----------
    width : int
        Numbers in a state.
    """

    def __init__(self, width: int):
        super().__init__()
        self.spread = nn.Linear(width, _OUTPUT_SIZE)

    def forward(self, states: Tensor) -> Tensor:
        """Map states ``(n, steps, width)`` to sequences ``(n, steps)``."""
        reach, steps = _OUTPUT_SIZE // 2, states.shape[1]
        parts = self.spread(states).transpose(1, 2)  # (n, _OUTPUT_SIZE, steps)
        parts = nn.functional.pad(parts, (reach, reach), mode="replicate").flatten(1)
        # rows one number longer than they are: each begins one step later than the one above
        shifted = nn.functional.pad(parts, (0, _OUTPUT_SIZE)).unflatten(1, (_OUTPUT_SIZE, -1))
        return shifted[:, :, :steps].sum(dim=1)
