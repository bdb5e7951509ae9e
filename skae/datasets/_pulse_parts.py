"""Parts of simulated waveforms: shapes of pulses, noise, and what a digitiser makes of them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

#: heights of a pulse at times in units of its width, behind (or before, negative) its maximum
Shape = Callable[[np.ndarray], np.ndarray]

# Rise of an exponential pulse, in units of its decay. It is not 0: a step could be timed exactly.
_RISE = 0.2

# How far from 0 the maximum of a shape may lie, in widths, and the grid it is looked for on.
_FARTHEST, _STEPS_OF_GRID = 20.0, 2001

# Pink noise is cut from traces as many times as long, so that it has drifts slower than a trace.
_STRETCH = 4

# Numbers of noise that are transformed at once.
_AT_ONCE = 2**20


def _gaussian(u: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * u**2)


def _exponential(u: np.ndarray) -> np.ndarray:
    v = np.maximum(u, 0.0)
    return np.exp(-v) - np.exp(-v / _RISE)


def _crrc(u: np.ndarray) -> np.ndarray:
    v = np.maximum(u, 0.0)
    return v * np.exp(1.0 - v)


#: shapes by their names, in units of a width: standard deviation, decay time, shaping time
SHAPES: dict[str, Shape] = {
    "gaussian": _gaussian,
    "exponential": _exponential,
    "crrc": _crrc,
}


def shape_of(shape: Any) -> Shape:
    """Return a shape of unit height with its maximum at 0, from a name or a callable.

    Raises
    ------
    ValueError
        If a callable gives no such numbers, or has no maximum within 20 widths of 0.
    """
    function = SHAPES[shape] if isinstance(shape, str) else shape
    if function is _gaussian:
        return function
    centre, spread = 0.0, _FARTHEST
    for _ in range(4):  # each time in the neighbourhood of what was highest
        grid = centre + np.linspace(-spread, spread, _STEPS_OF_GRID)
        heights = _heights(function, grid)
        best = int(heights.argmax())
        if best in (0, len(grid) - 1) or not heights[best] > 0.0:
            raise ValueError(
                f"shape={shape!r} has no maximum above 0 between {grid[0]:g} and {grid[-1]:g} widths: it "
                "must map an array of times, in widths, to heights of a pulse that rises and falls."
            )
        centre, spread = grid[best], 2.0 * (grid[1] - grid[0])
    height = heights[best]
    return lambda u: _heights(function, u + centre) / height


def _heights(function: Shape, u: np.ndarray) -> np.ndarray:
    heights = np.asarray(function(u), dtype=np.float64)
    if heights.shape != u.shape or not np.isfinite(heights).all():
        raise ValueError(
            f"shape={function!r} must give a finite number for each time: of {u.shape} it gave "
            f"{heights.shape}{'' if np.isfinite(heights).all() else ', with some that are not finite'}."
        )
    return heights


def pulses_at(positions: np.ndarray, shape: Shape, width: float, n_times: int) -> np.ndarray:
    """Return pulses of unit height with their maxima at positions (n,) in samples, ``(n, n_times)``."""
    return shape((np.arange(n_times) - positions[:, np.newaxis]) / width)


def draw_noise(
    noise: Any, sigma: float, rng: np.random.RandomState, shape: tuple[int, ...]
) -> np.ndarray:
    """Draw noise of a standard deviation along the last axis of an array of this shape."""
    if noise == "white":
        return rng.normal(scale=sigma, size=shape)
    if noise == "pink":
        return sigma * _draw_pink(rng, shape)
    drawn = np.asarray(noise(rng, shape), dtype=np.float64)
    if drawn.shape != tuple(shape) or not np.isfinite(drawn).all():
        raise ValueError(
            f"noise={noise!r} must return finite numbers of the shape that it is asked for: of {shape} "
            f"it returned {drawn.shape}."
        )
    return sigma * drawn


def _draw_pink(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Draw noise of unit variance whose power falls as 1/f, of random amplitudes at each frequency."""
    n_times, n_traces = shape[-1], math.prod(shape[:-1])
    length = _STRETCH * n_times
    power = np.zeros(length // 2 + 1)
    power[1:] = 1.0 / np.arange(1, len(power))
    power *= length**2 / (2.0 * power.sum() - power[-1])  # the last frequency is its own negative
    amplitude = np.sqrt(power / 2.0)
    result = np.empty((n_traces, n_times))
    step = max(1, _AT_ONCE // length)
    for start in range(0, n_traces, step):
        part = result[start : start + step]
        real, imaginary = rng.normal(size=(2, len(part), len(amplitude)))
        spectrum = amplitude * (real + 1j * imaginary)
        spectrum[:, -1] = math.sqrt(2.0) * amplitude[-1] * real[:, -1]
        part[:] = np.fft.irfft(spectrum, n=length)[:, :n_times]
    return result.reshape(shape)


def digitise(traces: np.ndarray, bits: int) -> np.ndarray:
    """Round to counts of an analogue-to-digital converter, which ends at 0 and at 2**bits - 1."""
    return np.clip(np.rint(traces), 0, 2**bits - 1).astype(np.uint16)


def draw_heights(
    amplitude: Any, rng: np.random.RandomState, size: int | tuple[int, ...]
) -> np.ndarray:
    """Return heights of pulses: all the same, or log-uniform between two."""
    if np.ndim(amplitude) == 0:
        return np.full(size, float(amplitude))
    low, high = amplitude
    return np.exp(rng.uniform(math.log(low), math.log(high), size=size))


def check_amplitude(amplitude: Any) -> None:
    """Refuse what is neither a positive height nor two of them, the lower one first."""
    values = np.atleast_1d(np.asarray(amplitude, dtype=np.float64))
    if values.shape not in {(1,), (2,)} or not (
        np.isfinite(values).all() and 0.0 < values[0] <= values[-1]
    ):
        raise ValueError(
            f"amplitude={amplitude!r} must be a positive height, or (low, high) with 0 < low <= high."
        )
