"""The warnings and errors that are skae's own, so that they can be caught or filtered by name."""

__all__ = ["DivergenceError", "SkaeWarning"]


class SkaeWarning(UserWarning):
    """Base class of every warning that skae raises itself."""


class DivergenceError(FloatingPointError):
    """The training loss became NaN or infinite.

    The estimator that raised it holds the last finite weights and is usable as it is.
    """
