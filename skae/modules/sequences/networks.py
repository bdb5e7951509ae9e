"""Networks that read and write long sequences at several resolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skae.modules.sequences.descent import (
    Descent,
    JoinedLinear,
    SequenceOutput,
    WindowRNN,
    level_widths,
)
from skae.modules.sequences.resolutions import Resolutions, place_layers
from skae.modules.sequences.units import Outputs, Standardised

# Steps that the first convolution spans.
_KERNEL_SIZE = 5

# Numbers in the finest states of the rows that go through at once on the CPU: from 32 MiB on each tensor
# would be given back to the system and asked for anew, which costs more than what is done with it.
_NUMBERS_AT_ONCE = 2**22


class SequenceReader(nn.Module):
    """Describe a sequence at each level, from fine to coarse, by convolutions that skip as many steps.

    Parameters
    ----------
    resolutions : Resolutions
        The levels.
    n_channels : int
        Sequences in a row.
    widths : list of int
        Numbers in a state of each level, the finest first; even. Half of them describe a step.
    inputs : Standardised
        Units of the rows.
    """

    def __init__(
        self, resolutions: Resolutions, n_channels: int, widths: list[int], inputs: Standardised
    ):
        super().__init__()
        self.resolutions, self.inputs = resolutions, inputs
        self.n_channels, self.widths = n_channels, widths
        halves = [width // 2 for width in widths]
        self.first = JoinedLinear(n_channels * _KERNEL_SIZE, halves[0])
        sizes = zip(resolutions.factors, halves[:-1], halves[1:], strict=True)
        self.next = nn.ModuleList(
            JoinedLinear(2 * factor * fine + n_channels, coarse) for factor, fine, coarse in sizes
        )
        self.places = place_layers(halves)

    def state_layer(self, level: int) -> JoinedLinear:
        """Make a layer from description and sequence of a level to a state of it."""
        width = self.widths[level]
        return JoinedLinear(width // 2 + self.n_channels, width)

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return description and sequence of each level, of rows ``(n, [n_channels,] n_times)``."""
        x = self.inputs(x)
        levels = self.resolutions.all_of(x[:, :, None] if x.ndim == 2 else x.transpose(1, 2))
        reach = _KERNEL_SIZE // 2
        padded = nn.functional.pad(levels[0], (0, 0, reach, reach))
        described = [self._activate(self.first(padded.unfold(1, _KERNEL_SIZE, 1).flatten(2)), 0)]
        for level, layer in enumerate(self.next):
            windows = self.resolutions.windows(described[-1], level)
            described.append(self._activate(layer(*windows, levels[level + 1]), level + 1))
        return list(zip(described, levels, strict=True))

    def _activate(self, x: Tensor, level: int) -> Tensor:
        return nn.functional.silu(x + self.places[level](self.resolutions.places(level)))


class MultiResolutionRNN(nn.Module):
    """Map sequences to sequences, at all resolutions.

    Parameters
    ----------
    reader : SequenceReader
        What describes them at all levels.
    outputs : Outputs
        Units of the targets.
    cell : {"gru", "lstm"}
        Kind of network.
    """

    def __init__(self, reader: SequenceReader, outputs: Outputs, cell: str):
        super().__init__()
        self.reader, self.outputs, self.resolutions = reader, outputs, reader.resolutions
        widths = reader.widths
        self.own = nn.ModuleList(reader.state_layer(level) for level in range(len(widths)))
        self.descent = Descent(reader.resolutions, widths, cell)
        self.widen = nn.ModuleList(
            nn.Identity() if width == widths[0] else nn.Linear(width, widths[0]) for width in widths
        )
        self.output = SequenceOutput(widths[0])  # shared by all levels

    def states(self, x: Tensor) -> list[Tensor]:
        """Return the states of all levels, the finest first, from rows ``(n, [n_channels,] n_times)``."""
        described = zip(self.own, self.reader(x), strict=True)
        return self.descent([layer(*parts) for layer, parts in described])

    def predict(self, states: list[Tensor], level: int) -> Tensor:
        """Return what a level's states predict, ``(n, sizes[level])``."""
        output = self.output(self.widen[level](states[level]))
        return self.outputs(output.float(), level)

    def finest(self, x: Tensor) -> Tensor:
        """Return the prediction of the finest level alone, ``(n, n_times)``."""
        return self.predict(self.states(x), 0)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return predictions of all levels, the finest first."""
        most = len(x)
        if x.device.type == "cpu":
            most = max(1, _NUMBERS_AT_ONCE // (self.resolutions.sizes[0] * self.descent.widths[0]))
        parts = [self._predict_all(part) for part in x.split(most)]
        return tuple(torch.cat(level) for level in zip(*parts, strict=True))

    def _predict_all(self, x: Tensor) -> list[Tensor]:
        states = self.states(x)
        return [self.predict(states, level) for level in range(len(states))]


class SequenceSummary(nn.Module):
    """Map sequences to a few numbers: what the coarsest level, which has seen everything, says of them.

    Parameters
    ----------
    reader, outputs, cell
        As of :class:`MultiResolutionRNN`.
    n_outputs : int
        Numbers that a row is mapped to.
    """

    def __init__(self, reader: SequenceReader, outputs: Outputs, cell: str, n_outputs: int):
        super().__init__()
        self.reader, self.outputs = reader, outputs
        width = reader.widths[-1]
        self.own = reader.state_layer(-1)
        self.network = WindowRNN(width, cell, None)
        self.output = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, n_outputs))

    def finest(self, x: Tensor) -> Tensor:
        """Return the prediction, ``(n, n_outputs)``, of rows ``(n, [n_channels,] n_times)``."""
        states = self.network(self.own(*self.reader(x)[-1]))
        return self.outputs(self.output(states.mean(dim=1)).float())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the prediction, the only one."""
        return (self.finest(x),)


class MultiResolutionDecoder(nn.Module):
    """Write sequences from a latent, coarse to fine.

    Each level sees the places on the grid, averaged, and the latent, and never a number of the row
    it is to rebuild.

    Parameters
    ----------
    grid : Tensor of shape (d,)
        Times or wavelengths, increasing or decreasing.
    n_components : int
        Latent coordinates.
    hidden_size : int
        Numbers in a state of the finest level, even.
    latent_state : {"hidden", "cell"}
        State of the coarsest level that the latent sets.
    factors : sequence of int
        Steps in a window of each level, the finest first.
    """

    def __init__(
        self,
        grid: Tensor,
        n_components: int,
        hidden_size: int,
        latent_state: str,
        factors: Sequence[int],
    ):
        super().__init__()
        self.resolutions = Resolutions((grid - grid[0]).abs(), factors)
        widths = level_widths(hidden_size, len(self.resolutions.sizes))
        self.latent = nn.ModuleList(nn.Linear(n_components, width) for width in widths)
        self.descent = Descent(self.resolutions, widths, "lstm", n_components, latent_state)
        self.output = SequenceOutput(widths[0])

    def forward(self, z: Tensor) -> Tensor:
        """Map latent coordinates ``(n, n_components)`` to sequences ``(n, d)``."""
        own = [latent(z)[:, None] for latent in self.latent]
        return self.output(self.descent(own, z)[0])
