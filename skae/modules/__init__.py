"""The networks themselves: torch modules and losses, and nothing but torch."""

from skae.modules.autoencoder import Autoencoder, LinearPath
from skae.modules.binary_latents import BinaryLatents, EnergyCode
from skae.modules.blocks import (
    BLOCKS,
    activation_names,
    conv_decoder,
    conv_encoder,
    dense_stack,
    make_activation,
)
from skae.modules.coordinates import Coordinates, PrincipalFactors, StandardisedColumns
from skae.modules.descent import CELLS, level_widths
from skae.modules.latents import GaussianLatents, Latents
from skae.modules.likelihoods import (
    LIKELIHOODS,
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    PoissonLikelihood,
)
from skae.modules.locators import ReferenceLocator, ResidualLocator
from skae.modules.losses import SquaredError, wrap_angle
from skae.modules.multires import (
    MultiResolutionDecoder,
    MultiResolutionRNN,
    SequenceSummary,
)
from skae.modules.noise import RowNoise
from skae.modules.positions import BinLaw, MixtureLaw, PositionLaw
from skae.modules.principal import principal_factors, standardised_columns
from skae.modules.priors import PRIORS, MixturePrior, NormalPrior, Prior
from skae.modules.rbm import BoltzmannMachine, LogPartition
from skae.modules.recurrent import LSTMDecoder
from skae.modules.resolutions import Resolutions
from skae.modules.seeded import SeededDropout, SeededModule, Share
from skae.modules.sequence_units import Outputs, ResolutionLoss, Standardised
from skae.modules.showers import LEAST_WEIGHED_ENERGY, ShowerAutoencoder, ShowerLoss
from skae.modules.starts import decoder_at_factors, encoder_at_factors
from skae.modules.symmetries import RandomSymmetries
from skae.modules.variational import VariationalAutoencoder
from skae.modules.voxel_scales import EnergyScale, VoxelScale, lit_moments
from skae.modules.voxels import (
    ConvVoxelDecoder,
    ConvVoxelEncoder,
    DenseVoxelDecoder,
    DenseVoxelEncoder,
    VoxelGrid,
)

__all__ = [
    "LEAST_WEIGHED_ENERGY",
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
    "Share",
    "SquaredError",
    "activation_names",
    "conv_decoder",
    "conv_encoder",
    "dense_stack",
    "decoder_at_factors",
    "encoder_at_factors",
    "make_activation",
    "wrap_angle",
    "LIKELIHOODS",
    "GaussianLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "PoissonLikelihood",
    "Coordinates",
    "PrincipalFactors",
    "StandardisedColumns",
    "principal_factors",
    "standardised_columns",
    "PRIORS",
    "MixturePrior",
    "NormalPrior",
    "Prior",
    "LSTMDecoder",
    "VariationalAutoencoder",
    "CELLS",
    "MultiResolutionDecoder",
    "MultiResolutionRNN",
    "Outputs",
    "ResolutionLoss",
    "Resolutions",
    "SequenceSummary",
    "Standardised",
    "level_widths",
    "BinaryLatents",
    "BoltzmannMachine",
    "ConvVoxelDecoder",
    "ConvVoxelEncoder",
    "DenseVoxelDecoder",
    "DenseVoxelEncoder",
    "EnergyCode",
    "EnergyScale",
    "GaussianLatents",
    "Latents",
    "LogPartition",
    "ShowerAutoencoder",
    "ShowerLoss",
    "VoxelGrid",
    "VoxelScale",
    "lit_moments",
]
