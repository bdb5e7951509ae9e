"""The errors and warnings that are skae's own, so that they can be caught by name."""

__all__ = [
    "CheckpointError",
    "CheckpointWarning",
    "ClippingWarning",
    "CompileWarning",
    "DivergenceError",
    "ExtrapolationWarning",
    "OvercompleteWarning",
]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, is damaged, or belongs to another fit.

    What was saved before is still there. An estimator whose training had begun holds the weights of that
    moment and is usable as it is.
    """


class DivergenceError(FloatingPointError):
    """The training loss became NaN or infinite.

    The estimator that raised it holds the last finite weights and is usable as it is.
    """


class CheckpointWarning(UserWarning):
    """A fit waits for another one that has the same checkpoint open, or cannot tell whether one has."""


class ClippingWarning(UserWarning):
    """Values beyond a transformer's invertible range were clipped to its ends."""


class CompileWarning(UserWarning):
    """The training step could not be compiled and runs uncompiled."""


class ExtrapolationWarning(UserWarning):
    """A model is asked about conditions that it has not seen in training."""


class OvercompleteWarning(UserWarning):
    """An autoencoder has as many latent coordinates as its rows have columns, or more."""
