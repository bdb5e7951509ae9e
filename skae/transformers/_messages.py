"""What error messages of several transformers have in common."""

from typing import Any

import numpy as np


def name_column(estimator: Any, index: int) -> str:
    """Name a column as the user does: by its name where X had names, else by its number."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {index}" if names is None else f"column {str(names[index])!r}"


def refuse_negative(estimator: Any, X: np.ndarray, remedy: str) -> None:
    """Raise an error where X ``(..., n_columns)`` has negative values."""
    negative = (X < 0.0).reshape(-1, X.shape[-1]).sum(axis=0)
    if negative.any():
        column = int(negative.argmax())
        raise ValueError(
            f"Negative values in data: X has {negative[column]} negative values in "
            f"{name_column(estimator, column)} (min {X[..., column].min():.6g}), one of "
            f"{np.count_nonzero(negative)} such columns; {remedy}"
        )
