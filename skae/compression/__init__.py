"""Tables in few bytes, every value within a bound that is stated beforehand."""

from skae.compression.bounded import compress, decompress

__all__ = ["compress", "decompress"]
