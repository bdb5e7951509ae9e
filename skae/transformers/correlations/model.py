"""What is expected of a histogram of photon correlations, and how it changes with each parameter."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skae.physics.correlations import Bins, continuous_parts, hump_integral, pulsed_parts

# Relative step of derivatives.
_STEP = 1e-6

# Of a parameter that has run far away, the share of itself that a step is at least.
_LEAST_STEP = 1e-9

# A blur is no wider than this share of the period: peaks could not be told from background.
BLUR = 0.25

Bounds = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class CorrelationModel:
    """The model of a histogram: ``amplitude · g(τ)``, each parameter between bounds, or fixed.

    g is linear in a few *parts*, decays and humps averaged over the bins, whose *coefficients* depend on
    other parameters than the parts do. Poisson counts grow with the widths of the bins, of which
    ``amplitude`` means one of mean width; what has Gaussian noise does not.

    Attributes
    ----------
    bins : Bins
        Bins of the histogram.
    bounds : dict
        Lowest and highest value of each parameter by its name, ``amplitude`` left out: of pulsed light
        where there is a ``period``, else of continuous light.
    gaussian : bool
        Whether noise is Gaussian and everywhere the same, and not Poisson.
    """

    bins: Bins
    bounds: Bounds
    gaussian: bool

    @cached_property
    def names(self) -> list[str]:
        """Names of the parameters, ``amplitude`` the last."""
        return [*self.bounds, "amplitude"]

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each parameter by its name."""
        return {name: number for number, name in enumerate(self.names)}

    @property
    def is_pulsed(self) -> bool:
        """Whether light is pulsed."""
        return "period" in self.bounds

    @cached_property
    def lifetimes(self) -> list[int]:
        """Numbers of the lifetimes, one or two."""
        return [self.index[name] for name in self.names if name.startswith("lifetime")]

    @cached_property
    def humps(self) -> list[tuple[int, int, int]]:
        """Numbers of delay, height and width of each hump."""
        names = (f"crosstalk{part}_" for part in ("", "_height", "_width"))
        return list(zip(*(self._numbered(name) for name in names), strict=True))

    def _numbered(self, stem):
        return [self.index[name] for name in self.names if name.removeprefix(stem).isdigit()]

    @cached_property
    def limits(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``(2, n_params)``."""
        return np.array([*self.bounds.values(), (0.0, np.inf)]).T

    @cached_property
    def exposure(self) -> np.ndarray:
        """What each bin counts of a rate, ``(n_bins,)``: in proportion to its width."""
        widths = self.bins.widths
        return np.ones_like(widths) if self.gaussian else widths / widths.mean()

    @cached_property
    def _shaping(self) -> np.ndarray:
        """Which parameters change the parts, ``(n_params,)``."""
        stems = ("period", "zero_delay", "jitter", "lifetime", "crosstalk_width")
        return np.array(
            [
                name.startswith(stems) or name.removeprefix("crosstalk_").isdigit()
                for name in self.names
            ]
        )

    def bounded(self, **bounds: tuple[float, float]) -> "CorrelationModel":
        """Return the model with other bounds of some parameters."""
        return replace(self, bounds={**self.bounds, **bounds})

    # -- curves --------------------------------------------------------------------------------

    def curves(self, values: np.ndarray) -> np.ndarray:
        """Return what is expected in each bin, ``(n, n_bins)``, of parameters ``(n, n_params)``."""
        return self._combine(self._coefficients(values), self._parts(values))

    def _combine(self, coefficients, parts):
        return np.matmul(coefficients[:, None], parts)[:, 0]

    def _parts(self, values):
        """Return the exposure, decays and humps, ``(n, n_parts, n_bins)``."""
        q = {name: values[:, number] for name, number in self.index.items()}
        lifetimes = values[:, self.lifetimes]
        light = {"zero_delay": q["zero_delay"], "jitter": q["jitter"], "lifetimes": lifetimes}
        flat = np.ones((len(values), 1, len(self.exposure)))
        if self.is_pulsed:
            light["jitter"] = np.minimum(q["jitter"], BLUR * q["period"])
            parts = [flat, *pulsed_parts(self.bins, period=q["period"], **light)]
        else:
            parts = [flat, continuous_parts(self.bins, **light)]
        for delay, _, width in self.humps:
            t = self.bins.edges - values[:, [delay]]
            parts.append(self.bins.averages(hump_integral(t, values[:, [width]]))[:, None])
        return np.concatenate(parts, axis=1) * self.exposure

    def _coefficients(self, values):
        """Return what the parts are multiplied with, ``(n, n_parts)``."""
        q = {name: values[:, number] for name, number in self.index.items()}
        one = np.ones(len(values))
        dip = 1.0 - q["g2_zero"]
        if self.is_pulsed:
            weights = [q["weight_1"], 1.0 - q["weight_1"]] if "weight_1" in q else [one]
            columns = [q["background"], *weights, *(-dip * weight for weight in weights)]
        else:
            share, bunching = np.square(q["signal"]), q.get("bunching", 0.0 * one)
            columns = [one, -share * (dip + bunching), share * bunching]
            columns = columns[: 1 + len(self.lifetimes)]
        columns += [values[:, height] for _, height, _ in self.humps]
        return q["amplitude"][:, None] * np.stack(columns, axis=1)

    def with_slopes(self, values: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the curves, and their derivatives by the free parameters, ``(n, n_free, n_bins)``."""
        coefficients, parts = self._coefficients(values), self._parts(values)
        scale, high = self.scale(values), self.limits[1]
        slopes = []
        for number in np.flatnonzero(free):
            step = np.maximum(_STEP * scale[:, number], _LEAST_STEP * np.abs(values[:, number]))
            step = np.where(values[:, number] + step > high[number], -step, step)
            moved = values.copy()
            moved[:, number] += step
            step = (moved[:, number] - values[:, number])[:, None]  # as it was rounded
            if self._shaping[number]:
                change = (self._parts(moved) - parts) / step[:, :, None]
                slopes.append(self._combine(coefficients, change))
            else:
                change = (self._coefficients(moved) - coefficients) / step
                slopes.append(self._combine(change, parts))
        curves = self._combine(coefficients, parts)
        return curves, np.stack(slopes, axis=1) if slopes else np.empty(
            (len(curves), 0, curves.shape[1])
        )

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Return what changes of the parameters are measured in, ``(n, n_params)``."""
        longest = values[:, self.lifetimes].max(axis=1)
        scale = np.ones_like(values)
        for name in ("zero_delay", "jitter"):
            scale[:, self.index[name]] = longest
        scale[:, self.lifetimes] = values[:, self.lifetimes]
        for delay, _, width in self.humps:
            scale[:, delay] = scale[:, width] = values[:, width]
        if self.is_pulsed:
            period = self.index["period"]
            cycles = np.ptp(self.bins.edges) / values[:, period]
            scale[:, period] = longest / np.maximum(1.0, cycles)
        scale[:, -1] = np.maximum(values[:, -1], 1e-300)
        return scale

    # -- what is said of them ------------------------------------------------------------------

    def peak_area(self, values: np.ndarray) -> np.ndarray:
        """Return the counts expected in a side peak, or of flat light over the width of the dip."""
        lifetimes = values[:, self.lifetimes]
        width = 2.0 * lifetimes[:, 0]
        if self.is_pulsed and len(self.lifetimes) == 2:
            weight = values[:, self.index["weight_1"]]
            width = 2.0 * (weight * lifetimes[:, 0] + (1.0 - weight) * lifetimes[:, 1])
        return values[:, -1] * width / self.bins.widths.mean()

    def centre(self, values: np.ndarray) -> np.ndarray:
        """Return what each bin counts of a peak at zero delay that is like the others, ``(n, n_bins)``.

        Of continuous light: of as much flat light as the dip is wide.
        """
        first = 1 + len(self.lifetimes) if self.is_pulsed else 1
        decays = self._parts(values)[:, first : first + len(self.lifetimes)]
        if self.is_pulsed and len(self.lifetimes) == 2:
            weight = values[:, self.index["weight_1"], None]
            return values[:, -1:] * (weight * decays[:, 0] + (1.0 - weight) * decays[:, 1])
        return values[:, -1:] * decays[:, 0]

    def counted(self, values: np.ndarray, g2_zero: np.ndarray) -> np.ndarray:
        """Return g²(0) as it is counted, background included, of a g²(0) without."""
        if not self.is_pulsed:
            return 1.0 + np.square(values[:, self.index["signal"]]) * (g2_zero - 1.0)
        unit = np.where(values[:, -1] > 0.0, values[:, -1], 1.0)
        area = self.peak_area(values) / unit * self.bins.widths.mean()
        floor = values[:, self.index["background"]] * values[:, self.index["period"]]
        return (g2_zero * area + floor) / (area + floor)
