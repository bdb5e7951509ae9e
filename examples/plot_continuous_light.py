"""
g²(0) of continuous light, and what a fit says when its formula is wrong
=========================================================================

An emitter under continuous excitation shows a dip at zero delay, which leaves g²(0). Detectors show
something else as well: when one of them counts it flashes, and the other one sees it, which makes a hump
nearby. :class:`~skae.PhotonCorrelationFit` finds the dip, says how well it knows it, and warns of humps.
"""

# %%
# What was counted
# ----------------
# Delays of 256 ps, an emitter that lives 1.5 ns, a tenth of background, zero delay at 61 ns from the
# cables. Name a file with such a table in the variable ``SKAE_G2_FILE`` to see your own.

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np

from skae import PhotonCorrelationFit
from skae.datasets import load_photon_correlations, make_photon_correlations
from skae.plotting import CorrelationDisplay

file = os.environ.get("SKAE_G2_FILE")
if file:
    g2 = load_photon_correlations(file)
    tau, histogram = g2.tau, g2.counts.sum(axis=0, keepdims=True)
else:
    tau = np.arange(782) * 0.256
    light = make_photon_correlations(
        1, kind="continuous", tau=tau, g2_zero=0.15, lifetimes=(1.5,), signal=0.9, zero_delay=61.0,
        crosstalk=(70.0,), crosstalk_height=0.35, crosstalk_width=2.5, counts=60.0,
        gaussian_fraction=0.0, random_state=0,
    )  # fmt: skip
    histogram = (60.0 * light.noisy).round()
print(f"{histogram.sum():.0f} coincidences")

# %%
# The formula of an emitter
# -------------------------
# A histogram does not tell background from a larger g²(0): ``signal=0.9`` is known from the count rates.
# The hump is no part of the formula, and a warning says where the counts are not as fitted.

plain = PhotonCorrelationFit(kind="continuous", signal=0.9, zero_delay=(58.0, 64.0), times=tau)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    CorrelationDisplay.from_estimator(plain.fit(histogram), histogram, xlabel="delay (ns)")
print(caught[0].message)

# %%
# The hump described, or left out
# -------------------------------
# ``crosstalk=`` adds a Gaussian whose place lies in a range, and NaN leaves bins out. Both give the same
# g²(0), and no warning.

described = plain.set_params(crosstalk=((66.0, 76.0),)).fit(histogram)
CorrelationDisplay.from_estimator(described, histogram, confidence=0.95, xlabel="delay (ns)")

masked = np.where((tau > 64.5) & (tau < 79.0), np.nan, histogram)
left_out = PhotonCorrelationFit(
    kind="continuous", signal=0.9, zero_delay=(58.0, 64.0), times=tau, missing="mask"
).fit(masked)
for name, fit, X in (("described", described, histogram), ("left out", left_out, masked)):
    low, high = fit.interval(X, 0.95)[0]
    raw = fit.interval(X, 0.95, quantity="g2_counted")[0]
    print(f"hump {name:9s}  g²(0) {fit.transform(X)[0, 0]:.3f}, 95 % between {low:.3f} and {high:.3f};"
          f"  as counted {raw[0]:.3f} to {raw[1]:.3f}")  # fmt: skip

# %%
# What it takes to know g²(0)
# ---------------------------
# Fewer coincidences give wider intervals, and at last none: where no dip stands out from what so many
# bins have by chance, zero delay has to be known.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
rng = np.random.default_rng(0)
expected = described.inverse_transform(described.transform(histogram))[0]
shares = np.array([1.0, 0.5, 0.25, 0.125, 0.06])
few = rng.poisson(expected * shares[:, None]).astype(float)
few[:, (tau > 64.5) & (tau < 79.0)] = np.nan
for zero_delay, color in ((61.0, "C0"), (None, "C1")):
    fit = PhotonCorrelationFit(
        kind="continuous", signal=0.9, zero_delay=zero_delay, times=tau, missing="mask"
    ).fit(few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends = np.minimum(fit.interval(few, 0.95), 5.0)
    name = "zero delay known" if zero_delay else "zero delay free"
    place = shares * expected.sum() * (1.0 if zero_delay else 1.05)
    ax.vlines(place, ends[:, 0], ends[:, 1], color=color, lw=3, label=name)
ax.axhline(0.15, color="0.5", lw=0.8, ls="--", label="truth")
ax.set(xscale="log", xlabel="coincidences", ylabel="g²(0), 95 %", ylim=(0.0, 5.0))
ax.legend(fontsize="small")
plt.show()
