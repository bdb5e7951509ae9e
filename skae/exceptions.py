"""The errors and warnings that are skae's own, so that they can be caught by name."""

__all__ = ["ClippingWarning", "DivergenceError"]


class DivergenceError(FloatingPointError):
    """The training loss became NaN or infinite.

    The estimator that raised it holds the last finite weights and is usable as it is.
    """


class ClippingWarning(UserWarning):
    """Values beyond a transformer's invertible range were clipped to its ends."""
