"""The Box–Cox map of many columns: its constants, found in fit, and the map both ways.

The power holds between the ends of the data. Beyond them the map goes on in straight lines, for the
inverse of a power has a pole just outside, or grows exponentially.

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
#: spreads that a line goes on for in transformed data, which are float32, and may be added up
_FARTHEST = 1e30
#: what is divided by, or has a logarithm, is no smaller
_SMALLEST = np.finfo(np.float64).tiny
#: a column that reaches zero is moved this share of its mean distance from the minimum above it
_START = 0.01


@dataclass
class BoxCoxMap:
    """``z = (((x + shift) / e^centre)^power − 1) / power`` less ``mean``, over ``scale``.

    A power of exactly 1 is the straight line ``z = (x − mean) / scale``. Any other holds from ``minimum``
    to ``maximum``. Beyond, x changes with z as at that end, but by at most ``maximum − minimum`` for each
    ``spread``; where no data were negative, none come back negative. All arrays ``(n_columns,)``.
    """

    power: np.ndarray
    shift: np.ndarray
    centre: np.ndarray  # of the logarithms
    mean: np.ndarray
    scale: np.ndarray
    minimum: np.ndarray  # of the data
    maximum: np.ndarray
    spread: np.ndarray  # standard deviation of the transformed data
    gentle: np.ndarray  # so near the logarithm that exp(λl) − 1 would lose digits

    def __post_init__(self):
        self.linear = self.power == 1.0
        self.special = np.flatnonzero(self.gentle | self.linear)
        with np.errstate(all="ignore"):
            self.factor = 1.0 / (self.power * self.scale)
            self.offset = (1.0 / self.power + self.mean) / self.scale
            self.low, self.high = self._of_powers(self.minimum, self.maximum) + self.shift
            ends = np.stack([self.minimum, self.maximum])
            self.image_low, self.image_high = self._of_powers(*self.forward(ends))
            self.slope_low, self.slope_high = self._slopes(ends)
        self.farthest = _FARTHEST * self.spread
        positive = (self.minimum >= 0.0) & ~self.linear
        self.floor = np.where(positive, np.maximum(0.0, -self.shift) + 0.0, -np.inf)
        down = (self.minimum - self.floor) / self.slope_low
        self.far_low = self.image_low - np.minimum(self.spread, down)
        self.far_high = self.image_high + self.spread

    def _of_powers(self, low, high):
        """Return the ends of a range, ``(2, n_columns)``; that of a straight line is unlimited."""
        return np.where(self.linear, [[-np.inf], [np.inf]], [low, high])

    def _slopes(self, ends):
        """Return dx/dz of the lines beyond the ends of the data, both ``(2, n_columns)``."""
        logs = np.log(ends + self.shift) - self.centre
        slopes = self.scale * np.exp(self.centre + (1.0 - self.power) * logs)
        size = ends[1] - ends[0]
        slopes = np.minimum(slopes, np.where(size > 0.0, size / self.spread, np.inf))
        return np.where(self.linear, 1.0, np.maximum(slopes, _SMALLEST))

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

    def forward(self, x: Any, xp: Any = np) -> Any:
        """Transform rows of x."""
        z = x + self.shift
        z, beyond = _cut(z, self.low, self.high, xp)
        z = xp.log(z, out=z)
        z -= self.centre
        logs = z[:, self.special]
        z *= self.power
        z = xp.exp(z, out=z)
        z *= self.factor
        z -= self.offset
        if len(self.special):
            power, mean, scale, linear = self._of_special_columns()
            line = x[:, self.special]
            z[:, self.special] = (xp.where(linear, line, _bend(logs, power, xp)) - mean) / scale
        if beyond is not None:
            beyond /= xp.where(beyond < 0.0, self.slope_low, self.slope_high)
            z += xp.clip(beyond, -self.farthest, self.farthest)
        return z

    def backward(self, z: Any, xp: Any = np) -> Any:
        """Bring rows of z back."""
        x = xp.asarray(z, dtype=xp.float64, copy=True)
        x, beyond = _cut(x, self.image_low, self.image_high, xp)
        line = x[:, self.special]
        x += self.offset
        x /= self.factor
        x = xp.clip(x, _SMALLEST, None, out=x)  # rounding may take it below zero
        x = xp.log(x, out=x)
        x /= self.power
        x += self.centre
        if len(self.special):
            power, mean, scale, linear = self._of_special_columns()
            line = line * scale + mean
            x[:, self.special] = _unbend(line, power, xp) + self.centre[self.special]
        x = xp.exp(x, out=x)
        x = xp.clip(x, self.low, self.high, out=x)
        x -= self.shift
        if len(self.special):
            x[:, self.special] = xp.where(linear, line, x[:, self.special])
        if beyond is not None:
            end = xp.where(beyond < 0.0, self.minimum, self.maximum)
            beyond *= xp.where(beyond < 0.0, self.slope_low, self.slope_high)
            x = xp.where(beyond == 0.0, x, end + beyond)
            x = xp.clip(x, self.floor, None, out=x)
        return x

    def count_far(self, z: np.ndarray) -> np.ndarray:
        """Count transformed values more than a ``spread`` beyond the data, or below the ``floor``."""
        rounding = 4.0 * np.finfo(z.dtype).eps
        low = self.far_low - rounding * np.abs(self.far_low)
        high = self.far_high + rounding * np.abs(self.far_high)
        far = (z < low) | (z > high)
        return far.sum(axis=0) if far.any() else np.zeros(len(low), dtype=int)

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
        shift = _automatic_shift(minimum, average, constant)
    if power is None:
        shift = np.where(alone, 1.0, shift)
    scale = np.where(constant, 1.0, spread)
    constants = {
        "power": np.ones(len(columns)) if power is None else power.copy(),
        "shift": shift,
        "centre": np.zeros(len(columns)),
        "mean": average if standardize else 1.0 - shift,
        "scale": scale if standardize else np.ones(len(columns)),
        "minimum": minimum,
        "maximum": maximum,
        "spread": np.ones(len(columns)),
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


def _automatic_shift(minimum, average, constant):
    """Return what moves columns that reach zero a little above it."""
    room = np.where(constant, np.where(minimum < 0.0, -minimum, 1.0), average - minimum)
    return np.where(minimum <= 0.0, _START * room - minimum, 0.0)


def _fit_bent_columns(columns, missing, count, power, shift, standardize, dtype):
    precision = _TOLERANCE[dtype] / (8.0 * np.finfo(dtype).eps)
    logs = columns + shift[:, None]
    np.log(logs, out=logs)
    centre, spread = _centre(logs, missing, count)
    logs /= spread[:, None]

    if power is None:
        low, high = logs.min(axis=1), logs.max(axis=1)
        lower, upper = _bounds(low, high, centre, spread, precision, standardize, dtype)
        power = most_likely_power(logs, count, lower * spread, upper * spread) / spread
    if not standardize:
        # the formula as it stands has its 1 at x + s = 1, not at the centre
        logs *= spread[:, None]
        logs += centre[:, None]
        centre, spread = np.zeros(len(logs)), np.ones(len(logs))
    bend_power = power * spread
    bent = _bend(logs, bend_power[:, None]) * spread[:, None]
    half = 0.5 * np.ptp(bent, axis=1)  # no deviation is larger, and its square may overflow
    mean, deviation = _centre(bent, missing, count)
    return {
        "power": power,
        "centre": centre,
        "mean": mean if standardize else 0.0,
        "scale": deviation if standardize else 1.0,
        "spread": 1.0 if standardize else np.where(half > 0.0, np.fmin(deviation, half), 1.0),
        "gentle": np.abs(bend_power) < SMALL_POWER,
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


def _nonzero(power, xp=np):
    return xp.where(power == 0.0, 1.0, power)


def _cut(values: Any, low: Any, high: Any, xp: Any) -> tuple[Any, Any]:
    """Cut values to a range, in place; return them and what was cut off, or None where nothing was."""
    # an exported graph has no branches
    if xp is np and not ((values < low) | (values > high)).any():
        return values, None
    beyond = xp.asarray(values, copy=True)
    values = xp.clip(values, low, high, out=values)
    beyond -= values
    return values, beyond
