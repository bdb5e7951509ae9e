"""
g²(0) from a tenth of the measurement
=====================================

A single-photon source is judged by the peak at zero delay of its photon correlations, and laboratories
count for hours to see it. :class:`~skae.MultiResRNNRegressor` learns from simulated histograms what such
correlations look like, at several resolutions, and reads them from a tenth of the snapshots.
"""

# %%
# A measurement
# -------------
# Coincidences of a quantum dot that a laser excites every 12.5 ns. Name a folder with such tables in the
# variable ``SKAE_G2_DATA`` to see a measured one; without, a simulated dot takes its place.

# sphinx_gallery_thumbnail_number = 2
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skae import MultiResRNNRegressor, NoiseInjector, PhotonCorrelationFit
from skae.datasets import load_photon_correlations, make_photon_correlations
from skae.plotting import ResolutionDisplay

folder = Path(os.environ.get("SKAE_G2_DATA", "."))
file = folder / "hbt_20uW_7000cps.txt.gz"
if file.exists():
    g2 = load_photon_correlations(file, drop_last=2)
    tau, cut = g2.tau, len(g2.counts) // 10
    first, rest = g2.counts[:cut].sum(axis=0), g2.counts[cut:].sum(axis=0)
else:
    tau = np.arange(1954) * 0.256
    dot = {"g2_zero": 0.5, "period": 12.5, "zero_delay": 61.0, "lifetimes": (1.0,), "jitter": 0.5}
    dot.update(background=0.12, gaussian_fraction=0.0)
    first, rest = (
        make_photon_correlations(1, tau=tau, counts=n, random_state=seed, **dot).noisy[0] * n
        for seed, n in enumerate((9.0, 80.0))
    )
print(f"{first.sum():.0f} coincidences in the first tenth, {rest.sum():.0f} in the rest")

# %%
# Learning from simulations
# -------------------------
# What is known beforehand: a laser of about 80 MHz, an emitter that lives some nanoseconds, detectors
# with jitter, and cables that put zero delay at 61 ns, give or take three. (Were it not known, the
# network would have to find the peak, too, and predict g²(0) larger than it is.) Noise is drawn afresh
# for each minibatch.

known = {"period": (12.0, 13.0), "lifetimes": ((0.3, 4.0),), "jitter": (0.1, 0.8)}
simulated = make_photon_correlations(
    1200,
    tau=tau,
    zero_delay=(58.0, 64.0),
    background=(0.0, 0.3),
    gaussian_fraction=0.0,
    random_state=0,
    **known,
).clean
simulated /= simulated.mean(axis=1, keepdims=True)
model = MultiResRNNRegressor(
    loss="poisson",
    noise=NoiseInjector(counts=(0.3, 10.0), relative_to=None),
    times=tau,
    max_epochs=7,
    random_state=0,
).fit(simulated, simulated)

# %%
# Coarse to fine
# --------------
# The coarsest of the levels has four steps, the next one 31. Each is compared with the measurement that
# followed, ten times as long, and averaged in the same way.

x = first / first.mean()
display = ResolutionDisplay.from_estimator(
    model, x, rest / rest.mean(), xlabel="delay (ns)", ylabel="coincidences / mean"
)
display.ax_[-1].set_xlim(20, 110)

# %%
# The peak at zero delay
# ----------------------
# Its area over that of the others, as it was counted in the first tenth, as it is predicted from that,
# and as it turned out.

fit = PhotonCorrelationFit(period=(12.0, 13.0), zero_delay=(58.0, 64.0), jitter=None, times=tau)
values = fit.fit_transform((first + rest)[None])[0]
place = dict(zip(fit.param_names_, values, strict=True))
number = np.rint((tau - place["zero_delay"]) / place["period"])


def area_ratio(curve):
    """Area of the peak at zero delay in units of the whole side peaks'."""
    sides = [curve[number == k].sum() for k in range(-3, 34) if k != 0]
    return curve[number == 0].sum() / np.mean(sides)


predicted = model.predict(x[None])[0]
parametric = fit.inverse_transform(fit.transform(first[None]))[0]
for name, curve in {
    "counted in the first tenth": first,
    "predicted from it": predicted,
    "fitted to it (PhotonCorrelationFit)": parametric,
    "counted in the rest": rest,
}.items():
    print(f"{name:38s} {area_ratio(curve):.3f}")

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
scale = rest.sum() / predicted.sum()
ax.plot(tau, rest, ".", ms=3, color="0.6", label="the rest")
ax.plot(tau, first * rest.sum() / first.sum(), color="C1", lw=0.6, label="the first tenth, scaled")
ax.plot(tau, predicted * scale, color="C0", label="predicted from the first tenth")
ax.set(xlabel="delay (ns)", ylabel="coincidences", xlim=(35, 90))
ax.legend(fontsize="small")

# %%
# Delays that grow by orders of magnitude
# ---------------------------------------
# Slower correlations are counted in bins that are ever wider, from 100 ns to 100 s: ``times=`` tells the
# network, and averages are weighted by the widths of the bins. These curves rise in a few steps, whose
# noise falls with the width. With ``pcfs_dot4.npz`` in the folder the last picture is measured.

rng = np.random.default_rng(0)
pcfs = folder / "pcfs_dot4.npz"
delays = np.load(pcfs)["tau"] * 1e-12 if pcfs.exists() else np.geomspace(1.1e-7, 100.0, 239)
ends = np.log([1e-7, 3.0])
times = np.exp(rng.uniform(*ends, size=(1500, 4, 1)))
depths = rng.dirichlet(np.ones(5), size=1500)[:, :4, None] * rng.uniform(0.1, 1.0, (1500, 1, 1))
slow = 1.0 - (depths * np.exp(-delays / times)).sum(axis=1)  # (1500, 239)
sigma = np.sqrt(np.gradient(delays)[0] / np.gradient(delays)) * np.exp(
    rng.uniform(-2.0, 2.0, (1500, 1))
)
noisy = slow + sigma * rng.standard_normal(slow.shape)
# the first bins are so noisy that they would outweigh all the others
denoiser = MultiResRNNRegressor(times=delays, max_epochs=8, downsampling=(8,), random_state=0)
denoiser.fit(np.clip(noisy, -1.0, 3.0), slow)
if pcfs.exists():
    measured, truth = np.load(pcfs)["g2"][31], None
else:
    measured, truth = noisy[0], slow[0]
ResolutionDisplay.from_estimator(
    denoiser, np.clip(measured, -1.0, 3.0), truth, xlabel="delay (s)", ylabel="g²"
)
plt.show()
