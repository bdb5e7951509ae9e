"""Running a fit: the loop, its batches, device, seeds, schedules, callbacks and threads."""

from skae.training.batches import Minibatches, TensorRows
from skae.training.callbacks import (
    EarlyStopping,
    EpochProgressBar,
    ScikitLearnCallbacks,
    gradient_clipping,
)
from skae.training.checkpoints import Checkpoint
from skae.training.device import resolve_device
from skae.training.files import write_atomically
from skae.training.inference import apply_to_rows, bounded_rows, to_float32
from skae.training.memory import should_stream
from skae.training.net import Augmentation, Corruption, TrainingNet, table_of_nets
from skae.training.optimizers import OPTIMIZERS, resolve_optimizer
from skae.training.packing import from_bytes, to_bytes
from skae.training.processes import current_team, distribute
from skae.training.schedules import SCHEDULES, Restart
from skae.training.seeding import RandomStreams, draw_seed, seeded_initialisation
from skae.training.showers import (
    LearnNoiseShape,
    SharpenBits,
    ShowerDistances,
    TwoStages,
    row_weights,
)
from skae.training.state import starting_point
from skae.training.step import PRECISIONS, check_precision
from skae.training.streaming import ArrayRows, Rows, StreamedRows
from skae.training.threads import fair_share_of_threads

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
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
    "ScikitLearnCallbacks",
    "SharpenBits",
    "ShowerDistances",
    "StreamedRows",
    "TensorRows",
    "TrainingNet",
    "TwoStages",
    "apply_to_rows",
    "bounded_rows",
    "check_precision",
    "current_team",
    "distribute",
    "draw_seed",
    "fair_share_of_threads",
    "from_bytes",
    "gradient_clipping",
    "resolve_device",
    "resolve_optimizer",
    "row_weights",
    "seeded_initialisation",
    "should_stream",
    "starting_point",
    "table_of_nets",
    "to_bytes",
    "to_float32",
    "write_atomically",
]
