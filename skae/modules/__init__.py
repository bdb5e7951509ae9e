"""The networks themselves: torch modules and losses, and nothing but torch."""

from skae.modules.autoencoder import Autoencoder, LinearPath
from skae.modules.blocks import (
    BLOCKS,
    activation_names,
    conv_decoder,
    conv_encoder,
    dense_stack,
    is_activation,
)
from skae.modules.locators import ReferenceLocator, ResidualLocator
from skae.modules.losses import SquaredError, wrap_angle
from skae.modules.noise import RowNoise
from skae.modules.positions import BinLaw, MixtureLaw, PositionLaw
from skae.modules.seeded import SeededDropout, SeededModule, attach_generator
from skae.modules.symmetries import RandomSymmetries

__all__ = [
    "BLOCKS",
    "Autoencoder",
    "BinLaw",
    "LinearPath",
    "MixtureLaw",
    "PositionLaw",
    "RandomSymmetries",
    "ReferenceLocator",
    "ResidualLocator",
    "RowNoise",
    "SeededDropout",
    "SeededModule",
    "SquaredError",
    "activation_names",
    "attach_generator",
    "conv_decoder",
    "conv_encoder",
    "dense_stack",
    "is_activation",
    "wrap_angle",
]
