"""
From a digitiser's record to pulses, and to "nothing here"
==========================================================

A digitiser writes one long record of integer counts. Most of it is noise on a pedestal, pulses come at
random and now and then overlap, and the highest ones are cut off.
:meth:`~skae.PulseLocator.predict_pulses` finds them, each with its time, the error of that, and the
probability that there is a pulse.
"""

# %%
# Records
# -------
# Twelve bits, pulses of a CR-RC shaper with heights that vary, on a pedestal that is another one in each
# record. Simulated records come with the truth.

import matplotlib.pyplot as plt
import numpy as np

from skae import PulseLocator
from skae.datasets import cut_pulse_windows, make_pulse_records

options = {
    "rate": 0.006, "shape": "crrc", "width": 3.0, "amplitude": (150.0, 900.0), "noise_sigma": 20.0,
    "pedestal": (400.0, 30.0), "saturation": 1100.0, "digitised": 12,
}  # fmt: skip
records = make_pulse_records(25, n_times=4000, random_state=0, **options)
print(records.X.shape, records.X.dtype, len(records.event), "pulses")

# %%
# Windows to train on
# -------------------
# Windows are cut at random places, and labelled with all of their pulses. Many have none.

X, y = cut_pulse_windows(records.X, records.event, records.position, n_times=80, random_state=0)
print(f"{len(X)} windows, of which {np.isnan(y).all(axis=1).mean():.0%} are empty")
locator = PulseLocator(absent="learn", max_epochs=15, random_state=0).fit(X, y)
print(f"samples are cut off at {locator.saturation_:.0f}; pulses are {locator.polarity_}")

# %%
# All pulses of a new record
# --------------------------
# Records may have any length, and may be memory-mapped files. What is found does not depend on where they
# begin.

new = make_pulse_records(10, n_times=20_000, random_state=1, **options)
pulses = locator.predict_pulses(new.X)
print(f"{len(pulses.event)} found of {len(new.event)}")

shown, record = slice(0, 1000), new.X[0, 0]
figure, (above, below) = plt.subplots(
    2, 1, figsize=(9, 4.5), sharex=True, height_ratios=[3, 1], layout="constrained"
)
above.plot(np.arange(1000), record[shown], linewidth=0.8, color="grey")
for found, marker, label in ((new, "|", "truth"), (pulses, "v", "found")):
    times = found.position[(found.event == 0) & (found.position < 1000)]
    height = 1200 if label == "found" else 1260
    above.plot(times, np.full(len(times), height), marker, label=label)
above.set(ylabel="counts")
above.legend(loc="upper right", fontsize="small", ncols=2)
first = pulses.event == 0
below.vlines(pulses.position[first], 0.0, pulses.presence[first], color="C1")
below.set(xlabel="sample", ylabel="presence", xlim=(0, 1000), ylim=(0, 1.05))

# %%
# How well
# --------
# Each true pulse with the nearest one that was found. Pulls, errors in units of the predicted standard
# deviation, would have a width of 1 if that were just right.

line = 10 * new.X.shape[-1]  # records further apart than any pulses
truth, found = (each.event * line + each.position for each in (new, pulses))
nearest = np.abs(truth[:, np.newaxis] - found).argmin(axis=1)
error = found[nearest] - truth
near = np.abs(error) < 3.0
print(f"found within 3 samples: {near.mean():.1%}")
is_false = np.abs(found[:, np.newaxis] - truth).min(axis=1) > 3.0
print(f"false: {is_false.sum()} in {new.X.size} samples")
pull = error[near] / pulses.std[nearest[near]]
print(f"half of the central 68 % of errors: {np.quantile(np.abs(error[near]), 0.683):.3f} samples")
print(f"half of the central 68 % of pulls: {np.quantile(np.abs(pull), 0.683):.2f}")

# %%
# Nothing here
# ------------
# Empty windows get a small probability, whatever their pedestal.

quiet = make_pulse_records(1, n_times=8000, random_state=2, **{**options, "rate": 0.0}).X
windows = quiet[0, 0].reshape(100, 1, 80)
print(f"presence in noise: median {np.median(locator.predict_presence(windows)):.1e}")
print(f"pulses found in {quiet.size} samples of noise: {len(locator.predict_pulses(quiet).event)}")
plt.show()
