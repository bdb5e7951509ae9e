"""Measured histograms of quantum dots: networks trained on simulation, the fit, and folding."""

import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _correlations import fit_within
from bench_correlations import first_and_rest
from scipy.ndimage import gaussian_filter1d

from skae import MultiResRNNRegressor, NoiseInjector, PhotonCorrelationFit
from skae.datasets import load_photon_correlations, make_photon_correlations

#: what is known of a measurement beforehand: a laser of about 80 MHz, an emitter, detectors
SIMULATION = {
    "period": (12.0, 13.0),
    "lifetimes": ((0.3, 4.0),),
    "jitter": (0.1, 0.8),
    "background": (0.0, 0.3),
    "gaussian_fraction": 0.0,
}
PERIODS = np.arange(12.4, 12.6, 0.002)
#: where zero delay may lie, in ns; cables and electronics put it at about 61 in these files of 500 ns
ZERO_DELAYS = {
    "zero delay anywhere": (20.0, 480.0),
    "zero delay known to 3 ns": (58.0, 64.0),
}


class Measurement(NamedTuple):
    """Delays (ns), and a histogram for each tenth of the snapshots."""

    tau: np.ndarray
    tenths: np.ndarray

    @property
    def first(self):
        return self.tenths[0]

    @property
    def rest(self):
        return self.tenths[1:].sum(axis=0)


class Peaks(NamedTuple):
    """Where the peaks of a histogram lie."""

    tau: np.ndarray
    period: float
    zero_delay: float

    def g2_zero(self, curve):
        """Return the area at zero delay over the mean of the whole side peaks, and its Poisson error."""
        number = np.rint((self.tau - self.zero_delay) / self.period).astype(int)
        whole = range(number[0] + 1, number[-1])
        centre = curve[number == 0].sum()
        sides = np.array([curve[number == k].sum() for k in whole if k != 0])
        ratio = centre / sides.mean()
        return ratio, ratio * np.sqrt(1.0 / centre + 1.0 / sides.sum())


def pulsed_files(folder):
    """Return the files of pulsed light with 10,000 coincidences or more; say which are left out."""
    files = []
    for file in sorted(Path(folder).glob("hbt_*.txt.gz")):
        tau, first, rest, _ = first_and_rest(file)
        histogram = (first + rest)[np.newaxis]
        is_pulsed = PhotonCorrelationFit(times=tau).fit(histogram).kind_ == "pulsed"
        if is_pulsed and histogram.sum() >= 10_000:
            files.append(file)
        else:
            reason = "too few coincidences" if is_pulsed else "no pulses are seen"
            print(f"left out: {file.name}, {reason}")
    return files


def read(file):
    g2 = load_photon_correlations(file, drop_last=2)
    edges = np.rint(np.linspace(0, len(g2.counts), 11)).astype(int)
    return Measurement(g2.tau, np.add.reduceat(g2.counts, edges[:-1], axis=0))


def train(tau, zero_delay, seed, budget):
    """Train on simulated histograms of quantum dots."""
    curves = make_photon_correlations(
        6000, tau=tau, zero_delay=zero_delay, random_state=seed, **SIMULATION
    ).clean
    curves /= curves.mean(axis=1, keepdims=True)
    noise = NoiseInjector(counts=(0.3, 10.0), relative_to=None)
    model = MultiResRNNRegressor(loss="poisson", noise=noise, batch_size=32, random_state=seed)
    return fit_within(model, curves, curves, budget)[0]


def formula(tau, zero_delay):
    """Return the fit of the right formula, within the same bounds."""
    return PhotonCorrelationFit(
        period=SIMULATION["period"], zero_delay=zero_delay, jitter=None, times=tau
    )


def deviance(counts, mean):
    """Return the Poisson deviance per bin, the mean scaled to the total of the counts."""
    mean = mean * counts.sum() / mean.sum()
    return 2.0 * (mean - counts + counts * np.log(np.where(counts > 0, counts, 1.0) / mean)).mean()


def folded(counts, tau, period):
    """Return the histogram averaged over the periods, in bins as wide as its own."""
    phase = np.floor(tau / period % 1.0 * round(period / (tau[1] - tau[0]))).astype(int)
    return (np.bincount(phase, counts) / np.bincount(phase))[phase]


def print_deviances(measured, predicted):
    """Print how far the rest is from what each contender makes of the first tenth."""
    tau, first, rest = measured.tau, measured.first, measured.rest
    smooth = [gaussian_filter1d(first, s, mode="nearest") + 1e-3 for s in (1, 1.5, 2, 3, 4, 6)]
    rows = {
        "mean": [np.ones_like(rest)],
        "Gaussian smoothing (best width)": smooth,
        "folded at 12.49 ns": [folded(first, tau, 12.49)],
        "folded at the best period": [folded(first, tau, period) for period in PERIODS],
        "the rest, folded onto itself": [folded(rest, tau, period) for period in PERIODS],
    }
    for name, curves in rows.items():
        print(f"    {name:46s} {min(deviance(rest, curve) for curve in curves):6.3f}")
    for name, models in predicted.items():
        each = [deviance(rest, curves[0]) for curves in models]
        seeds = f"   ({', '.join(f'{value:.3f}' for value in each)})" if len(each) > 1 else ""
        print(f"    {name:46s} {statistics.median(each):6.3f}{seeds}")


def print_g2_zero(measured, predicted):
    """Print g2(0) of the first tenth, how far off it is, and how far in all ten of them.

    A tenth is a part of all snapshots, so that errors of ten are a little smaller than of a tenth and
    the rest.
    """
    whole = measured.tenths.sum(axis=0)
    fit = formula(measured.tau, ZERO_DELAYS["zero delay known to 3 ns"])
    fitted = fit.fit_transform(whole[None])[0]
    values = dict(zip(fit.param_names_, fitted, strict=True))
    peaks = Peaks(measured.tau, values["period"], values["zero_delay"])
    value, error = peaks.g2_zero(whole)
    own_error = peaks.g2_zero(measured.first)[1]
    print(f"    g2(0) of all snapshots {value:.3f} ± {error:.3f}, of the first tenth ± {own_error:.3f}; "
          "of ten tenths: mean error, rms, within 2 σ of all")  # fmt: skip
    for name, models in ({"counted": [measured.tenths]} | predicted).items():
        found = np.array([[peaks.g2_zero(curve)[0] for curve in curves] for curves in models])
        seeds = ", ".join(f"{each:.3f}" for each in found[:, 0])
        off = found - value
        rms = np.sqrt(np.square(off).mean())
        first, within = np.median(off[:, 0]), (np.abs(off) <= 2.0 * error).mean()
        print(f"      {name:46s} {seeds:19s} {first / error:+5.1f} σ of all {first / own_error:+5.1f} "
              f"of own   {off.mean():+.3f} {rms:.3f} {within:4.0%}")  # fmt: skip


def bench_real(options, seeds):
    """Print deviances and g2(0) of each file."""
    files = pulsed_files(options.data) if options.data else []
    if not files:
        print("\nmeasured histograms are left out: --data names no folder with hbt_*.txt.gz")
        return
    print(f"\nmeasured histograms: from a tenth of the snapshots the rest, {options.budget} s for each "
          "network; Poisson deviance per bin, all scaled to the total of the rest")  # fmt: skip
    data = {file.name: read(file) for file in files}
    tau = next(iter(data.values())).tau
    networks = {
        where: [train(tau, zero_delay, seed, options.budget) for seed in seeds]
        for where, zero_delay in ZERO_DELAYS.items()
    }
    for name, measured in data.items():
        tenths = measured.tenths
        scaled = tenths / tenths.mean(axis=1, keepdims=True)
        predicted = {}
        for where, zero_delay in ZERO_DELAYS.items():
            fit = formula(tau, zero_delay)
            predicted[f"PhotonCorrelationFit, {where}"] = [
                fit.inverse_transform(fit.fit_transform(tenths))
            ]
        for where, models in networks.items():
            predicted[f"MultiResRNNRegressor, {where}"] = [
                model.predict(scaled) for model in models
            ]
        print(f"  {name}: {measured.first.sum():.0f} coincidences, then {measured.rest.sum():.0f}")
        print_deviances(measured, predicted)
        print_g2_zero(measured, predicted)
