"""The errors that are skae's own, so that they can be caught by name."""

__all__ = ["DivergenceError"]


class DivergenceError(FloatingPointError):
    """The training loss became NaN or infinite.

    The estimator that raised it holds the last finite weights and is usable as it is.
    """
