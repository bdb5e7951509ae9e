"""Names of columns in error messages."""

from typing import Any


def name_column(estimator: Any, index: int) -> str:
    """Name a column as the user does: by its name where X had names, else by its number."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {index}" if names is None else f"column {str(names[index])!r}"
