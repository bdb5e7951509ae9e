"""Running a fit: the loop, its batches, device, seeds, schedules, callbacks and threads."""

from skae.training.batches import Minibatches, Rows, TensorRows, buffer_size, to_float32
from skae.training.callbacks import (
    EarlyStopping,
    EpochProgressBar,
    ScikitLearnCallbacks,
    gradient_clipping,
)
from skae.training.checkpoints import Checkpoint
from skae.training.files import write_atomically
from skae.training.hardware import fair_share_of_threads, fits_in_memory, resolve_device
from skae.training.inference import apply_to_rows, bounded_rows
from skae.training.net import TrainingNet, table_of_nets
from skae.training.optimisation import OPTIMIZERS, SCHEDULES, Restart, resolve_optimizer
from skae.training.packing import from_bytes, to_bytes
from skae.training.processes import distribute
from skae.training.seeding import RandomStreams, draw_seed, seeded_initialisation
from skae.training.showers import (
    LearnNoiseShape,
    SharpenBits,
    ShowerDistances,
    TwoStages,
    row_weights,
)
from skae.training.state import Augmentation, Corruption, Run, starting_point
from skae.training.step import PRECISIONS, PROCESSES, check_precision
from skae.training.streaming import ArrayRows, StreamedRows

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "PROCESSES",
    "SCHEDULES",
    "ArrayRows",
    "Augmentation",
    "Checkpoint",
    "Corruption",
    "EarlyStopping",
    "EpochProgressBar",
    "LearnNoiseShape",
    "Minibatches",
    "RandomStreams",
    "Restart",
    "Rows",
    "Run",
    "ScikitLearnCallbacks",
    "SharpenBits",
    "ShowerDistances",
    "StreamedRows",
    "TensorRows",
    "TrainingNet",
    "TwoStages",
    "apply_to_rows",
    "bounded_rows",
    "buffer_size",
    "check_precision",
    "distribute",
    "draw_seed",
    "fair_share_of_threads",
    "from_bytes",
    "gradient_clipping",
    "resolve_device",
    "resolve_optimizer",
    "row_weights",
    "seeded_initialisation",
    "fits_in_memory",
    "starting_point",
    "table_of_nets",
    "to_bytes",
    "to_float32",
    "write_atomically",
]
