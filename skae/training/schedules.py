"""Learning-rate schedules as functions of a fit's progress, from 0 at its start to 1 at its end."""

import math
from collections.abc import Callable

# Smith & Topin, 2018, arXiv:1708.07120, with the cosine shape and proportions that torch's
# OneCycleLR uses: 30 % of the steps rise from lr/25 to lr, the rest fall to lr/25/1e4.
_WARM_UP = 0.3
_START = 1.0 / 25.0
_END = _START / 1e4


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0


def one_cycle(progress: float) -> float:
    """Rise and fall: from 1/25 up to 1, then down to nearly 0."""
    if progress < _WARM_UP:
        return _cosine(_START, 1.0, progress / _WARM_UP)
    return _cosine(1.0, _END, (progress - _WARM_UP) / (1.0 - _WARM_UP))


def cosine(progress: float) -> float:
    """Fall from 1 to nearly 0 along half a cosine (Loshchilov & Hutter, 2017, arXiv:1608.03983)."""
    return _cosine(1.0, _END, progress)


def constant(progress: float) -> float:
    """Stay at 1."""
    return 1.0


#: name → (factor of lr at a given progress, progress at which the annealing phase begins)
SCHEDULES: dict[str, tuple[Callable[[float], float], float]] = {
    "one_cycle": (one_cycle, _WARM_UP),
    "cosine": (cosine, 0.0),
    "constant": (constant, 0.0),
}
