"""What casts to numbers without being any: dates and durations, of which NumPy takes the counts."""

import re
from typing import Any

import numpy as np

# In the names of dtypes: NumPy's (of another byte order, too), pandas' and polars'.
_DATES = re.compile(r"\b(date|time|duration|period)|[<>][mM]8", re.IGNORECASE)


def refuse_dates(X: Any) -> None:
    """Refuse arrays and tables of dates or durations, which would be cast to counts of some unit.

    Raises
    ------
    ValueError
        If there are some in X.
    """
    dtypes = np.array(getattr(X, "dtypes", getattr(X, "dtype", "")), dtype=object).ravel()
    found = [str(dtype) for dtype in dtypes if _DATES.search(str(dtype))]
    if found:
        raise ValueError(
            f"Dates and durations are not numbers, and there are columns of {found[0]}: divide "
            "differences of times by a unit, (t - t[0]) / np.timedelta64(1, 's') say."
        )
