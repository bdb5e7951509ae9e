"""The maximum-likelihood fit of one correlation histogram, as :class:`PhotonCorrelationFit` makes it."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.fft import next_fast_len
from scipy.optimize import least_squares, nnls

from skae.physics.correlations import pulsed_correlation

# Relative step of derivatives, and of lifetimes that are tried at first.
_STEP = 1e-6
_FIRST_LIFETIMES = 6

# Periods looked at for each cycle that fits into the histogram, and starts that are followed.
_PERIODS_A_CYCLE = 8
_STARTS = 3

# Numbers in the waves that a histogram is compared with at a time.
_WAVE_NUMBERS = 2**20

# Evaluations of the curve in one fit.
_MOST_STEPS = 200

# Rates are no smaller, in units of the largest.
_SMALLEST_RATE = 1e-9

Bounds = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class PulseTrain:
    """The model of a histogram: ``amplitude · g(τ)``, each parameter between bounds, or fixed.

    Poisson counts grow with the widths of the bins, of which ``amplitude`` means one of mean width;
    what has Gaussian noise does not.

    Attributes
    ----------
    tau : ndarray of shape (n_times,)
        Delays.
    bounds : dict
        Lowest and highest value of each parameter by its name, ``amplitude`` left out. There are one
        or two lifetimes; of two, ``weight_1`` is what the first contributes.
    gaussian : bool
        Whether noise is Gaussian and everywhere the same, and not Poisson.
    """

    tau: np.ndarray
    bounds: Bounds
    gaussian: bool

    @property
    def names(self) -> list[str]:
        """Names of the parameters, ``amplitude`` the last."""
        return [*self.bounds, "amplitude"]

    @property
    def lifetimes(self) -> list[str]:
        """Names of the lifetimes, one or two."""
        return [name for name in self.bounds if name.startswith("lifetime")]

    @property
    def limits(self) -> np.ndarray:
        """Lowest and highest value of each parameter, ``(2, n_params)``."""
        return np.array([*self.bounds.values(), (0.0, np.inf)]).T

    @property
    def _widths(self) -> np.ndarray | float:
        """Widths of the bins in units of their mean."""
        if self.gaussian or len(self.tau) == 1:
            return 1.0
        widths = np.gradient(self.tau)
        return widths / widths.mean()

    @property
    def _is_underdetermined(self) -> bool:
        """Whether many curves go through all of a histogram, or nearly."""
        low, high = self.limits
        return bool(len(self.tau) < 3 * np.count_nonzero(low < high))

    def curve(self, values: np.ndarray) -> np.ndarray:
        """Return what is expected in each bin, ``(n_times,)``."""
        q = {name: np.array([value]) for name, value in zip(self.names, values, strict=True)}
        weights = [q["weight_1"], 1.0 - q["weight_1"]] if "weight_1" in q else [np.ones(1)]
        shape = pulsed_correlation(
            self.tau,
            lifetimes=np.stack([q[name] for name in self.lifetimes], axis=1),
            weights=np.stack(weights, axis=1),
            **{name: q[name] for name in _OTHERS},
        )
        return values[-1] * self._widths * shape[0]

    def fixed_at(self, name: str, value: float) -> "PulseTrain":
        """Return the model with one parameter fixed."""
        return replace(self, bounds={**self.bounds, name: (value, value)})

    # -- fitting -------------------------------------------------------------------------------

    def fit(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the most likely parameters of a histogram, and its deviance."""
        if not x.max() > 0.0:  # nothing was counted: nothing is known but that
            return np.array([*(low for low, _ in self.bounds.values()), 0.0]), 0.0
        starts = self._starts(x)
        if self._is_underdetermined:
            starts = starts[:1]
        fits = [self.improve(x, start) for start in starts]
        return min(fits, key=lambda fit: fit[1])

    def improve(self, x: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the most likely parameters near a start, and the deviance."""
        low, high = self.limits
        free = low < high
        scale = self._scale(start)
        unit = 1.0 if self.gaussian else np.sqrt(x.mean())  # deviances of order one

        def whole(values):
            q = start.copy()
            q[free] = values
            return q

        def residuals(values):
            return self._residuals(x, self.curve(whole(values)))[0] / unit

        def slopes(values):
            q = whole(values)
            mean = self.curve(q)
            by_mean = self._residuals(x, mean)[1]
            return by_mean[:, None] * self._derivatives(q, mean, free, scale, high) / unit

        inside = np.clip(start[free], low[free], high[free])
        try:
            fit = least_squares(
                residuals,
                inside,
                slopes,
                bounds=(low[free], high[free]),
                x_scale=scale[free],
                method="trf",
                max_nfev=10 if self._is_underdetermined else _MOST_STEPS,
            )
        except np.linalg.LinAlgError:  # a histogram that says nothing of what it was fitted for
            return start, float(np.square(residuals(inside)).sum()) * unit**2
        return whole(fit.x), 2.0 * fit.cost * unit**2

    def information(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the Fisher information of all parameters, ``(n_params, n_params)``, zero where fixed."""
        low, high = self.limits
        free = low < high
        mean = self.curve(values)
        if not mean.max() > 0.0:
            return np.zeros((len(values), len(values)))
        slopes = self._derivatives(values, mean, free, self._scale(values), high)
        if self.gaussian:
            variance = np.full(len(x), max(np.square(x - mean).mean(), 1e-300))
        else:
            variance = np.maximum(mean, _SMALLEST_RATE * mean.max())
        information = np.zeros((len(values), len(values)))
        information[np.ix_(free, free)] = (slopes / variance[:, None]).T @ slopes
        return information

    def _residuals(self, x, mean):
        """Return residuals whose squares add up to the deviance, and their derivatives by the mean."""
        if self.gaussian:
            return mean - x, np.ones_like(mean)
        mean = np.maximum(mean, _SMALLEST_RATE * x.max())
        counted = x > 0.0
        ratio = np.where(counted, mean / np.where(counted, x, 1.0), 1.0)
        # 2 (µ − x − x ln(µ/x)), near its zero by its series
        offset = ratio - 1.0
        exact = 2.0 * x * (offset - np.log(ratio))
        near = x * offset**2 * (1.0 - offset * (2.0 / 3.0 - 0.5 * offset))
        deviance = np.where(counted, np.where(np.abs(offset) < 1e-4, near, exact), 2.0 * mean)
        root = np.sign(mean - x) * np.sqrt(np.maximum(deviance, 0.0))
        steep = np.abs(root) > 1e-9 * np.sqrt(x.max())
        slope = np.where(steep, (1.0 - x / mean) / np.where(steep, root, 1.0), 1.0 / np.sqrt(mean))
        return root, slope

    def _derivatives(self, values, mean, free, scale, high):
        """Return the curve's derivatives by the free parameters, ``(n_times, n_free)``."""
        columns = []
        for index in np.flatnonzero(free):
            if index == len(values) - 1:
                columns.append(
                    mean / values[-1] if values[-1] > 0 else self.curve(_at(values, -1, 1.0))
                )
                continue
            step = _STEP * scale[index]
            if values[index] + step > high[index]:
                step = -step
            moved = _at(values, index, values[index] + step)
            columns.append((self.curve(moved) - mean) / step)
        return np.stack(columns, axis=1)

    def _scale(self, values):
        """Return what changes of the parameters are measured in."""
        q = dict(zip(self.names, values, strict=True))
        longest = max(q[name] for name in self.lifetimes)
        scale = dict.fromkeys(("zero_delay", "jitter", *self.lifetimes), longest)
        scale["period"] = longest / max(1.0, np.ptp(self.tau) / q["period"])
        scale["amplitude"] = max(q["amplitude"], 1e-300)
        return np.array([scale.get(name, 1.0) for name in self.names])

    # -- where to begin ------------------------------------------------------------------------

    def _starts(self, x):
        """Return parameters to begin at: of the likeliest trains, by linear fits of their heights."""
        bounds = self.bounds
        ranges = [
            np.geomspace(low, high, _FIRST_LIFETIMES) if low < high else [low]
            for low, high in (bounds[name] for name in self.lifetimes)
        ]
        starts = []
        for period, zero_delay in self._combs(x):
            for lifetimes in product(*ranges):
                q = {name: 0.5 * sum(limits) for name, limits in bounds.items()}
                q.update(period=period, zero_delay=zero_delay, background=0.0, amplitude=1.0)
                q.update(zip(self.lifetimes, lifetimes, strict=True))
                guesses = {"jitter": 0.3 * min(lifetimes), "background": 0.1, "g2_zero": 0.7}
                for name, guess in guesses.items():
                    low, high = bounds[name]
                    q[name] = min(max(guess, low), high)
                q = self._heights(x, q)
                values = np.array([q[name] for name in self.names])
                deviance = np.square(self._residuals(x, self.curve(values))[0]).sum()
                starts.append((deviance, values))
        starts.sort(key=lambda start: start[0])
        return [values for _, values in starts[:_STARTS]]

    def _heights(self, x, q):
        """Fit the heights of background and decays, which are linear, by least squares."""
        bounds = self.bounds
        basis = [np.ones(len(x)) * self._widths]
        for weight in (1.0, 0.0)[: len(self.lifetimes)]:  # of one lifetime, then of the other
            part = {**q, "background": 0.0, "weight_1": weight}
            basis.append(self.curve(np.array([part[name] for name in self.names])))
        heights, _ = nnls(np.stack(basis, axis=1), np.maximum(x, 0.0))
        total = heights[1:].sum()
        amplitude = total if total > 0.0 else max(x.mean(), 1e-300)
        q = {**q, "amplitude": amplitude}
        q["background"] = float(np.clip(heights[0] / amplitude, *bounds["background"]))
        if "weight_1" in bounds:
            share = heights[1] / total if total > 0.0 else 0.5
            q["weight_1"] = float(np.clip(np.clip(share, 0.05, 0.95), *bounds["weight_1"]))
        return q

    def _combs(self, x):
        """Return the likeliest pairs of period and zero delay: the histogram folded at the period."""
        tau = self.tau
        excess = x - x.sum() / np.sum(np.ones(len(x)) * self._widths) * self._widths
        first, last = self.bounds["zero_delay"]
        periods, waves = self._spectrum(excess)
        if first == last:  # the train's place is known
            along = (waves * np.exp(2j * np.pi * first / periods)).real
            return [(period, first) for period in periods[np.argsort(-along)[:2]]]
        combs = []
        for best in np.argsort(-np.abs(waves))[:2]:
            period = periods[best]
            place = -np.angle(waves[best]) / (2.0 * np.pi) * period
            peaks = place + period * np.arange(
                np.ceil((first - place) / period), np.floor((last - place) / period) + 1
            )
            peaks = peaks if len(peaks) else np.array([0.5 * (first + last)])
            near = np.abs(tau - peaks[:, None]) < period / 2.0
            whole = near.sum(axis=1) >= 0.9 * np.median(near.sum(axis=1))
            areas = np.where(whole, near @ x, np.inf)
            combs += [(period, peaks[i]) for i in np.argsort(areas)[:2]]
        return combs

    def _spectrum(self, excess):
        """Return periods within their bounds, and the histogram's wave of each."""
        tau = self.tau
        low, high = self.bounds["period"]
        span = max(np.ptp(tau), 1e-300)
        n = int(np.ceil(_PERIODS_A_CYCLE * span * (1.0 / low - 1.0 / high)))
        frequencies = np.linspace(1.0 / high, 1.0 / low, n + 2 if low < high else 1)
        steps = np.diff(tau)
        if n * len(tau) > _WAVE_NUMBERS and np.ptp(steps) < 1e-6 * steps.mean():
            # many of equal steps: those of a fast Fourier transform that lie in between
            size = next_fast_len(_PERIODS_A_CYCLE * len(tau), real=True)
            known = np.arange(size // 2 + 1) / (size * steps.mean())
            inside = (frequencies[0] <= known) & (known <= frequencies[-1])
            waves = np.fft.rfft(excess, size)[inside] * np.exp(-2j * np.pi * tau[0] * known[inside])
            return 1.0 / known[inside], waves
        at_once = max(1, _WAVE_NUMBERS // len(tau))
        waves = [
            np.exp(-2j * np.pi * frequencies[start : start + at_once, None] * tau) @ excess
            for start in range(0, len(frequencies), at_once)
        ]
        return 1.0 / frequencies, np.concatenate(waves)


_OTHERS = ("g2_zero", "period", "zero_delay", "jitter", "background")


def _at(values, index, value):
    moved = values.copy()
    moved[index] = value
    return moved
