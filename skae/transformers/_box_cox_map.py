"""The Box–Cox map of many columns: its constants, found in fit, and the map both ways.

The map is written once, for NumPy and for whatever other array namespace ``xp`` its constants are
`converted` to. It works in place, so that a block stays in the cache.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from skae.transformers._likelihood import SMALL_POWER, largest_power, most_likely_power

#: error that the round trip may have: in float64, and in float32
_TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
#: largest exponent of e that stays finite, squared, after division by a small power
_LARGEST_EXPONENT = {np.dtype(np.float64): 250.0, np.dtype(np.float32): 50.0}
#: a column that reaches zero is moved this share of its mean distance from the minimum above it
_START = 0.01


@dataclass
class BoxCoxMap:
    """``z = (((x + shift) / e^centre)^power − 1) / power`` less ``mean``, over ``scale``.

    A power of exactly 1 is the straight line ``z = (x − mean) / scale``. All arrays ``(n_columns,)``.
    """

    power: np.ndarray
    shift: np.ndarray
    centre: np.ndarray  # of the logarithms
    mean: np.ndarray
    scale: np.ndarray
    low: np.ndarray  # of x + shift: beyond these the map is not invertible to the tolerance
    high: np.ndarray
    gentle: np.ndarray  # so near the logarithm that exp(λl) − 1 would lose digits

    def __post_init__(self):
        self.linear = self.power == 1.0
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            self.factor = 1.0 / (self.power * self.scale)
            self.offset = (1.0 / self.power + self.mean) / self.scale
        self.special = np.flatnonzero(self.gentle | self.linear)
        ends = np.where(np.isfinite([self.low, self.high]), [self.low, self.high], 1.0) - self.shift
        with np.errstate(all="ignore"):
            ends = self.forward(ends)[0]
        self.image_low = np.where(self.linear, -np.inf, ends[0])
        self.image_high = np.where(self.linear, np.inf, ends[1])

    @classmethod
    def join(cls, parts: list["BoxCoxMap"]) -> "BoxCoxMap":
        """Put the columns of several maps side by side."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def repeat(self, times: int) -> "BoxCoxMap":
        """Return the map of ``times`` rows laid side by side."""
        return BoxCoxMap.join([self] * times)

    def converted(self, convert: Callable[[np.ndarray], Any]) -> "BoxCoxMap":
        """Return the map with arrays of another namespace, made by ``convert``."""
        new = copy(self)
        vars(new).update({name: convert(values) for name, values in vars(self).items()})
        return new

    def forward(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        """Transform rows of x; return them, and how many values were clipped, by column."""
        z = x + self.shift
        clipped = clip(z, self.low, self.high, xp)
        xp.log(z, out=z)
        z -= self.centre
        logs = z[:, self.special]
        z *= self.power
        xp.exp(z, out=z)
        z *= self.factor
        z -= self.offset
        if len(self.special):
            power, mean, scale, linear = self._of_special_columns()
            line = x[:, self.special]
            z[:, self.special] = (xp.where(linear, line, _bend(logs, power, xp)) - mean) / scale
        return z, clipped

    def backward(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        """Bring rows of z back; return them, and how many values were clipped, by column."""
        rounding = 4.0 * xp.finfo(z.dtype).eps
        x = xp.asarray(z, dtype=xp.float64, copy=True)
        low = self.image_low - rounding * xp.abs(self.image_low)
        high = self.image_high + rounding * xp.abs(self.image_high)
        clipped = clip(x, low, high, xp)
        line = x[:, self.special]
        x += self.offset
        x /= self.factor
        xp.log(x, out=x)
        x /= self.power
        x += self.centre
        if len(self.special):
            power, mean, scale, linear = self._of_special_columns()
            line = line * scale + mean
            x[:, self.special] = _unbend(line, power, xp) + self.centre[self.special]
        xp.exp(x, out=x)
        xp.clip(x, self.low, self.high, out=x)
        x -= self.shift
        if len(self.special):
            x[:, self.special] = xp.where(linear, line, x[:, self.special])
        return x, clipped

    def _of_special_columns(self):
        return tuple(
            array[self.special] for array in (self.power, self.mean, self.scale, self.linear)
        )


def fit_box_cox_map(
    columns: np.ndarray,
    power: np.ndarray | None,
    shift: np.ndarray | None,
    skew_threshold: float | None,
    standardize: bool,
    dtype: np.dtype,
) -> tuple[BoxCoxMap, np.ndarray]:
    """Fit the map of these columns; return it, and their skewness.

    ``columns`` ``(n_columns, n)`` has a column in each row, float64, and NaN where a value is missing.
    ``power`` and ``shift`` ``(n_columns,)`` are found where they are None. ``dtype`` is what the
    transformed columns will be stored in; the others are parameters of :class:`BoxCoxTransformer`.
    """
    missing = np.isnan(columns)
    some_missing = bool(missing.any())
    count = np.maximum(columns.shape[1] - missing.sum(axis=1), 1)
    if some_missing:
        columns = np.where(missing, 0.0, columns)
    average = columns.sum(axis=1) / count
    if some_missing:
        columns = np.where(missing, average[:, None], columns)
    minimum, maximum = columns.min(axis=1), columns.max(axis=1)
    deviation = columns - average[:, None]
    size = np.maximum(maximum - average, average - minimum)
    constant = size <= 8.0 * np.finfo(dtype).eps * np.maximum(np.abs(minimum), np.abs(maximum))
    deviation /= np.where(constant, 1.0, size)[:, None]
    square = deviation * deviation
    variance = square.sum(axis=1) / count
    third = np.vecdot(square, deviation) / count
    skewness = np.where(constant, 0.0, third / np.where(constant, 1.0, variance) ** 1.5)
    spread = np.sqrt(variance) * size

    alone = constant if power is None else power == 1.0
    if skew_threshold is not None and power is None:
        alone = alone | (np.abs(skewness) < skew_threshold)
    if shift is None:
        room = np.where(constant, np.where(minimum < 0.0, -minimum, 1.0), average - minimum)
        shift = np.where(minimum <= 0.0, _START * room - minimum, 0.0)
    if power is None:
        shift = np.where(alone, 1.0, shift)
    zero = np.zeros(len(columns))
    scale = np.where(constant, 1.0, spread)
    constants = {
        "power": np.ones(len(columns)) if power is None else power.copy(),
        "shift": shift,
        "centre": zero.copy(),
        "mean": average if standardize else 1.0 - shift,
        "scale": scale if standardize else np.ones(len(columns)),
        "low": np.full(len(columns), -np.inf),
        "high": np.full(len(columns), np.inf),
        "gentle": np.zeros(len(columns), dtype=bool),
    }
    bent = np.flatnonzero(~alone)
    if len(bent):
        given = None if power is None else power[bent]
        x = columns if len(bent) == len(columns) else columns[bent]
        gaps = missing[bent] if some_missing else None
        found = _fit_bent_columns(x, gaps, count[bent], given, shift[bent], standardize, dtype)
        for name, values in found.items():
            constants[name][bent] = values
    return BoxCoxMap(**constants), skewness


def _fit_bent_columns(columns, missing, count, power, shift, standardize, dtype):
    precision = _TOLERANCE[dtype] / (8.0 * np.finfo(dtype).eps)
    logs = columns + shift[:, None]
    x_low, x_high = logs.min(axis=1), logs.max(axis=1)
    np.log(logs, out=logs)
    centre, spread = _centre(logs, missing, count)
    logs /= spread[:, None]
    low, high = logs.min(axis=1), logs.max(axis=1)

    if power is None:
        lower, upper = _bounds(low, high, centre, spread, precision, standardize, dtype)
        power = most_likely_power(logs, count, lower * spread, upper * spread) / spread
    if not standardize:
        # the formula as it stands has its 1 at x + s = 1, not at the centre
        logs *= spread[:, None]
        logs += centre[:, None]
        low, high = low * spread + centre, high * spread + centre
        centre, spread = np.zeros(len(logs)), np.ones(len(logs))
        mean, scale = np.zeros(len(logs)), np.ones(len(logs))
    bend_power = (power * spread)[:, None]
    ends = _bend(np.stack([low, high], axis=1), bend_power) * spread[:, None]
    if standardize:
        bent = _bend(logs, bend_power) * spread[:, None]
        mean, scale = _centre(bent, missing, count)
    reach_low, reach_high = _reach(power, np.abs(ends).max(axis=1), precision, dtype)
    largest = np.log(np.finfo(dtype).max)
    return {
        "power": power,
        "shift": shift,
        "centre": centre,
        "mean": mean,
        "scale": scale,
        "low": np.minimum(np.exp(np.clip(centre - reach_low, -745.0, largest)), x_low),
        "high": np.maximum(np.exp(np.clip(centre + reach_high, -745.0, largest)), x_high),
        "gentle": np.abs(power * spread) < SMALL_POWER,
    }


def _centre(values, missing, count):
    """Take its mean off each row, in place; return it, and the spread, or 1 where there is none."""
    if missing is not None:
        values[missing] = 0.0
    mean = values.sum(axis=1) / count
    values -= mean[:, None]
    if missing is not None:
        values[missing] = 0.0
    spread = np.sqrt(np.vecdot(values, values) / count)
    spread[spread == 0.0] = 1.0
    return mean, spread


def _bounds(low, high, centre, spread, precision, standardize, dtype):
    """Return the bounds of the power: what comes back, and what stays finite."""
    low, high = low * spread, high * spread
    if standardize:
        bound = largest_power(high - low, precision)
        return -bound, bound
    low, high = low + centre, high + centre
    finite = _LARGEST_EXPONENT[dtype] / np.maximum(np.maximum(np.abs(low), np.abs(high)), 1e-300)
    upper = largest_power(np.maximum(-low, 0.0), precision)
    lower = largest_power(np.maximum(high, 0.0), precision)
    return -np.minimum(lower, finite), np.minimum(upper, finite)


def _bend(logs, power, xp=np):
    return xp.where(power == 0.0, logs, xp.expm1(logs * power) / _nonzero(power, xp))


def _unbend(bent, power, xp=np):
    return xp.where(power == 0.0, bent, xp.log1p(bent * power) / _nonzero(power, xp))


def _reach(power, largest_value, precision, dtype):
    """Return the distances from the centre that logarithms may have, below and above it."""
    size = np.abs(power)
    with np.errstate(divide="ignore"):
        flat = np.minimum(np.log1p(size * precision), np.log(precision / largest_value))
        flat = np.where(size == 0.0, precision, np.maximum(flat, 0.0) / _nonzero(size))
        steep = np.where(size == 0.0, precision, _LARGEST_EXPONENT[dtype] / _nonzero(size))
    return np.where(power >= 0.0, flat, steep), np.where(power >= 0.0, steep, flat)


def _nonzero(power, xp=np):
    return xp.where(power == 0.0, 1.0, power)


def clip(values: Any, low: Any, high: Any, xp: Any = np) -> Any:
    """Clip in place; return how many were outside, by column."""
    outside = (values < low) | (values > high)
    if xp is np and not outside.any():  # an exported graph has no branches
        return np.zeros(values.shape[1], dtype=int)
    xp.clip(values, low, high, out=values)
    return outside.sum(axis=0)
