"""What the tables of pulses share: the published network, rivals without training, limits, widths."""

import numpy as np
from scipy.optimize import brentq
from scipy.signal import find_peaks
from scipy.special import ndtr

PULSE_WIDTH = 0.02 * 99  # samples

#: as published: Adam, 0.01, 500 steps of 500 (504 here, a whole number of epochs)
REFERENCE = {
    "architecture": "reference",
    "optimizer": "adam",
    "lr": 0.01,
    "lr_schedule": "constant",
    "weight_decay": 0.0,
    "batch_size": 500,
    "max_epochs": 42,
    "permute_traces": False,
    "reverse_time": False,
}


class PeakCoincidence:
    """Peaks of every trace with scipy.signal.find_peaks; the triplet that lies closest together."""

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def predict(self, X):
        """Return the sample of each event."""
        return np.array([self._coincidence(event) for event in X])

    def _coincidence(self, event):
        peaks = [find_peaks(trace, prominence=1.0)[0] for trace in event]
        candidates = np.unique(np.concatenate(peaks))
        if len(candidates) == 0:
            return event.shape[1] // 2
        spread = sum(
            np.abs(candidates[:, None] - p).min(axis=1) if len(p) else np.full(len(candidates), 99)
            for p in peaks
        )
        best = candidates[spread == spread.min()]
        height = event[:, best].sum(axis=0)
        return best[height.argmax()]


def calibration_error(probability, correct, bins=15):
    """Expected calibration error (Naeini et al., 2015): |confidence − accuracy|, averaged over bins."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for k in np.unique(index):
        inside = index == k
        error += inside.mean() * abs(probability[inside].mean() - correct[inside].mean())
    return error


def half_width(values):
    """Half of the interval that holds the central 68.3 %."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return 0.5 * (high - low)


def gaussian(u, width=PULSE_WIDTH):
    """A pulse of unit height, and its slope, at times in samples."""
    height = np.exp(-0.5 * (u / width) ** 2)
    return height, -u / width**2 * height


def cramer_rao(
    snr, positions, *, n_traces=3, n_times=100, covariance=None, free=(), pulse=gaussian
):
    """Bound on the standard deviation of each position, ``(n,)``, at peak signal-to-noise ratios (n,).

    ``covariance`` is that of a trace's noise, of unit variance; ``free`` names what else varies from
    event to event: "height", the same in all traces, and "level", each trace's own.
    """
    t = np.arange(n_times)
    height, slope = pulse(t - np.asarray(positions)[:, None])
    whiten = np.eye(n_times)
    if covariance is not None:
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    height, slope = height @ whiten.T, slope @ whiten.T
    if "level" in free:
        level = whiten.sum(axis=1)
        level = level / np.linalg.norm(level)
        height, slope = (each - np.outer(each @ level, level) for each in (height, slope))
    information = (slope**2).sum(axis=1)
    if "height" in free:
        information = information - (slope * height).sum(axis=1) ** 2 / (height**2).sum(axis=1)
    return 1.0 / (np.asarray(snr) * np.sqrt(n_traces * information))


def width_of(sigmas):
    """Half of the central 68.3 % of errors that are normal, each with a standard deviation of its own."""
    return brentq(lambda w: ndtr(w / sigmas).mean() - 0.8413, sigmas.min() / 9, sigmas.max() * 9)


def pink_covariance(n_times=100):
    """Return the covariance of make_pulses' pink noise: power 1/f, cut from four times the length."""
    frequencies = np.arange(1, 2 * n_times + 1)
    power = np.where(frequencies == 2 * n_times, 0.5, 1.0) / frequencies
    lags = np.arange(n_times)
    of_lag = np.cos(np.pi * np.outer(lags, frequencies) / (2 * n_times)) @ power / power.sum()
    return of_lag[np.abs(lags[:, None] - lags)]


class MaximumLikelihood:
    """The position that fits best: one pulse of known shape and height in noise of known covariance."""

    def __init__(self, covariance=None, width=PULSE_WIDTH):
        self.covariance, self.width = covariance, width

    def fit(self, X, y=None):
        """Lay out the positions to try."""
        self.grid_ = np.arange(0, X.shape[2] - 1 + 1e-9, 0.01)
        t = np.arange(X.shape[2])
        shapes = gaussian(t - self.grid_[:, None], self.width)[0]
        precision = np.eye(X.shape[2])
        if self.covariance is not None:
            precision = np.linalg.inv(self.covariance)
        self.filters_ = shapes @ precision
        self.energy_ = (self.filters_ * shapes).sum(axis=1)
        return self

    def predict(self, X):
        """Return the position of each event."""
        K = X.shape[1]
        return np.concatenate([
            self.grid_[
                (5.0 * part.sum(axis=1) @ self.filters_.T - 12.5 * K * self.energy_).argmax(axis=1)
            ]
            for part in np.array_split(X, max(1, len(X) // 500))
        ])  # fmt: skip


class LeadingEdge:
    """find_peaks in the sum of the traces, and where the highest one rises through half its height."""

    def fit(self, X, y):
        """Learn how far behind that the maximum is."""
        self.offset_ = 0.0
        self.offset_ = np.median(y - self.predict(X))
        return self

    def predict(self, X):
        """Return the position of each event."""
        return np.array([self._edge(trace) for trace in X.mean(axis=1)]) + self.offset_

    def _edge(self, trace):
        trace = trace - np.median(trace)
        peaks = find_peaks(trace)[0]
        peak = peaks[trace[peaks].argmax()] if len(peaks) else int(trace.argmax())
        below = np.flatnonzero(trace[: peak + 1] < 0.5 * trace[peak])
        if not len(below):
            return float(peak)
        left = below[-1]
        return left + (0.5 * trace[peak] - trace[left]) / (trace[left + 1] - trace[left])


class TwoTemplates:
    """The least-squares fit of two pulses of known shape to all traces together; the higher one counts.

    Pairs of places on a grid of half samples, then Gauss–Newton steps. A second pulse is kept where χ²
    falls by more than 16, else one is fitted alone.
    """

    def fit(self, X, y=None):
        """Lay out the pairs, and measure the noise."""
        t, places = np.arange(X.shape[2]), np.arange(0, X.shape[2] - 0.5, 0.5)
        self.shapes_ = gaussian(t - places[:, None])[0]
        gram = self.shapes_ @ self.shapes_.T
        i, j = np.triu_indices(len(places), 4)  # two samples apart, or more
        near = places[j] - places[i] <= 8 * PULSE_WIDTH
        self.pairs_, self.places_ = (i[near], j[near]), places
        i, j = self.pairs_
        self.gram_ = gram[i, i], gram[i, j], gram[j, j]
        steps = np.diff(X, axis=2)
        self.sigma_ = np.median(np.abs(steps)) / 0.6745 / np.sqrt(2 * X.shape[1])
        return self

    def predict(self, X):
        """Return the position of each event."""
        return np.concatenate([self._fit(x) for x in np.array_split(X.mean(axis=1), len(X) // 100)])

    def _fit(self, x):
        (i, j), (a, b, c) = self.pairs_, self.gram_
        response, rows = x @ self.shapes_.T, np.arange(len(x))
        first, second = response[:, i], response[:, j]
        gain = (c * first**2 - 2 * b * first * second + a * second**2) / (a * c - b**2)
        best = gain.argmax(axis=1)
        places = np.stack([self.places_[i[best]], self.places_[j[best]]], axis=1)
        pair, heights, chi2_pair = self._refine(x, places)
        single, _, chi2 = self._refine(x, self.places_[response.argmax(axis=1)][:, None])
        needed = chi2 - chi2_pair > 16.0
        return np.where(needed, pair[rows, heights.argmax(axis=1)], single[:, 0])

    def _refine(self, x, places):
        """Return places (n, k), heights and χ² of the pulses that fit best near these places."""
        t, n_pulses = np.arange(x.shape[1]), places.shape[1]
        for _ in range(8):
            shape, slope = gaussian(t - places[:, :, None])  # (n, k, n_times)
            heights, residual = self._scaled(x, shape)
            jacobian = np.concatenate([shape, -heights[:, :, None] * slope], axis=1)
            normal = jacobian @ jacobian.transpose(0, 2, 1) + 1e-6 * np.eye(2 * n_pulses)
            move = np.linalg.solve(normal, jacobian @ residual[:, :, None])[:, n_pulses:, 0]
            places = places + np.clip(move, -0.5, 0.5)
        heights, residual = self._scaled(x, gaussian(t - places[:, :, None])[0])
        return places, heights, (residual**2).sum(axis=1) / self.sigma_**2

    @staticmethod
    def _scaled(x, shape):
        """Return the heights (n, k) that fit best, and what is left."""
        gram = shape @ shape.transpose(0, 2, 1) + 1e-9 * np.eye(shape.shape[1])
        heights = np.linalg.solve(gram, shape @ x[:, :, None])[:, :, 0]
        return heights, x - (heights[:, :, None] * shape).sum(axis=1)
