"""The stacks that encoders and decoders are made of: dense, residual and 1-D convolutional."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from skae.modules.seeded import SeededDropout

BLOCKS = ("dense", "residual", "conv")

# Features that a convolution spans.
_KERNEL_SIZE = 3

# Every elementwise activation of torch but RReLU, which draws from the global random state.
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    layer.__name__.lower(): layer
    for layer in (
        nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
        nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.SELU,
        nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
    )
}  # fmt: skip


def activation_names() -> list[str]:
    """Return the names that :func:`make_activation` knows: torch's own, in lower case."""
    return sorted(_ACTIVATIONS)


def make_activation(name: str) -> nn.Module:
    """Build an activation from torch's name for it; case and underscores do not matter.

    Raises
    ------
    ValueError
        If torch has no such activation.
    """
    activation = _ACTIVATIONS.get(name.lower().replace("_", ""))
    if activation is None:
        known = ", ".join(activation_names())
        raise ValueError(f"activation={name!r} is unknown; use one of {known}.")
    return activation()


def inverse_softplus(x: Tensor) -> Tensor:
    """Return what softplus maps to positive numbers."""
    return x + torch.log(-torch.expm1(-x))


def _activated(
    layer: nn.Module, width: int, activation: str, *, batch_norm: bool = False, dropout: float = 0.0
) -> list[nn.Module]:
    """Return a layer of this width and what follows it; options are those of :func:`dense_stack`."""
    layers = [layer]
    if batch_norm:
        layers.append(nn.BatchNorm1d(width))
    layers.append(make_activation(activation))
    if dropout > 0.0:
        layers.append(SeededDropout(dropout))
    return layers


class ResidualBlock(nn.Module):
    """``x + f(x)`` with two layers in f (He et al., 2016, arXiv:1603.05027), widths may change.

    Where input and output widths differ the identity becomes a linear map without bias.
    """

    def __init__(self, n_in: int, n_out: int, activation: str, **options: Any):
        super().__init__()
        self.shortcut = nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out, bias=False)
        hidden = _activated(nn.Linear(n_in, n_out), n_out, activation, **options)
        self.body = nn.Sequential(*hidden, nn.Linear(n_out, n_out))
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, n_in)`` to ``(n, n_out)``."""
        return self.activation(self.shortcut(x) + self.body(x))


def dense_stack(
    sizes: Sequence[int],
    activation: str,
    *,
    residual: bool = False,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Chain linear layers of the given sizes; the last one is linear, without activation.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output, two or more.
    activation : str
        Name of the activation between the layers, as in :func:`activation_names`.
    residual : bool
        Make each hidden layer a :class:`ResidualBlock`.
    batch_norm : bool
        Put batch normalisation before each activation.
    dropout : float
        Probability to drop a unit behind each activation.
    """
    options: dict[str, Any] = {"batch_norm": batch_norm, "dropout": dropout}
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        if residual:
            layers.append(ResidualBlock(n_in, n_out, activation, **options))
        else:
            layers += _activated(nn.Linear(n_in, n_out), n_out, activation, **options)
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def _convolution(n_in: int, n_out: int) -> nn.Conv1d:
    return nn.Conv1d(n_in, n_out, _KERNEL_SIZE, padding="same")


def _conv_layers(channels: Sequence[int], activation: str, **options: Any) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        layers += _activated(_convolution(n_in, n_out), n_out, activation, **options)
    return layers


def conv_encoder(
    n_features: int, channels: Sequence[int], n_components: int, activation: str, **options: Any
) -> nn.Sequential:
    """1-D convolutions over the features, then one linear map: ``(n, d)`` to ``(n, n_components)``."""
    return nn.Sequential(
        nn.Unflatten(1, (1, n_features)),  # (n, 1, d)
        *_conv_layers([1, *channels], activation, **options),
        nn.Flatten(),  # (n, channels · d)
        nn.Linear(channels[-1] * n_features, n_components),
    )


def conv_decoder(
    n_features: int, channels: Sequence[int], n_components: int, activation: str, **options: Any
) -> nn.Sequential:
    """Undo :func:`conv_encoder`: ``(n, n_components)`` to ``(n, d)``, ``channels`` in decoding order."""
    return nn.Sequential(
        nn.Linear(n_components, channels[0] * n_features),
        nn.Unflatten(1, (channels[0], n_features)),  # (n, channels, d)
        make_activation(activation),
        *_conv_layers(channels, activation, **options),
        _convolution(channels[-1], 1),
        nn.Flatten(),  # (n, d)
    )
