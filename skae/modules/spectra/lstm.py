"""Recurrent decoders: a sequence from a latent and the grid it lies on."""

import torch
from torch import Tensor, nn

from skae.modules.sequences.resolutions import waves


def grid_features(grid: Tensor) -> Tensor:
    """Describe places on a grid ``(d,)``: position, step, and waves of each octave, ``(d, 2 + 12)``."""
    position = (grid - grid.min()) / (grid.max() - grid.min()).clamp_min(1e-30)
    step = torch.diff(position, prepend=position[:1])
    typical = step.abs().mean().clamp_min(1e-30)
    return torch.stack([2.0 * position - 1.0, step / typical - 1.0, *waves(position)], dim=1)


def chrono_init(lstm: nn.LSTM, n_steps: int) -> None:
    """Let an LSTM's memories last for 1 to ``n_steps`` steps at first (Tallec & Ollivier, 2018).

    With torch's own biases half of a state is gone after a step, and no gradient tells a distant one
    of it (arXiv:1804.11188).
    """
    size = lstm.hidden_size
    forget = torch.empty(size).uniform_(1.0, max(2.0, n_steps - 1.0)).log()
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            bias = getattr(lstm, f"bias_ih_l{layer}")  # of the gates: input, forget, cell, output
            bias[size : 2 * size] = forget
            bias[:size] = -forget
            getattr(lstm, f"bias_hh_l{layer}")[: 2 * size] = 0.0


class LSTMDecoder(nn.Module):
    """Read the grid with an LSTM (Hochreiter & Schmidhuber, 1997) that a latent has set going.

    It sees the places on the grid and the latent, and never a number of the row it is to rebuild: what it
    knows of the row is in the latent.

    Parameters
    ----------
    grid : Tensor of shape (d,)
        Times or wavelengths.
    n_components : int
        Latent coordinates.
    hidden_size : int
        Units of the LSTM.
    latent_state : {"hidden", "cell"}
        Which of the two initial states the latent sets; the other one is zero.
    """

    def __init__(self, grid: Tensor, n_components: int, hidden_size: int, latent_state: str):
        super().__init__()
        self.features = nn.Buffer(grid_features(grid.double()).float())
        self.latent_state = latent_state
        self.start = nn.Linear(n_components, hidden_size)
        self.lstm = nn.LSTM(self.features.shape[1], hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)
        chrono_init(self.lstm, len(grid))

    def forward(self, z: Tensor) -> Tensor:
        """Map latent coordinates ``(n, n_components)`` to sequences ``(n, d)``."""
        start = self.start(z)[None]  # (1, n, hidden_size)
        if self.latent_state == "hidden":
            states = torch.tanh(start), torch.zeros_like(start)  # where an LSTM's output lies
        else:
            states = torch.zeros_like(start), start
        sequence = self.features.expand(z.shape[0], *self.features.shape)
        return self.output(self.lstm(sequence, states)[0])[..., 0]
