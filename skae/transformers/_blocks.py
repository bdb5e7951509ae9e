"""Large arrays piece by piece: each piece stays in the cache, and the cores share them."""

#: numbers in a block: small enough for the cache, large enough that threads seldom meet at Python's
#: lock (at 2**14 two threads are slower than one)
BLOCK_SIZE = 2**18


def row_blocks(n_rows: int, row_size: int, block_size: int = BLOCK_SIZE) -> list[slice]:
    """Cut rows of ``row_size`` numbers into blocks of about ``block_size`` numbers."""
    step = max(1, block_size // max(1, row_size))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
