"""
Odd spectra in a folder
=======================

A folder holds the spectra of 1500 stars, a file each: wavelength, flux and the error of each pixel. Some
have an emission line that stars have not. :class:`~skae.SpectraVAE` learns what the stars have in common,
with the errors of each pixel, and so which pixel of which file is not like the others.
"""

# %%
# The folder
# ----------
# The stars are generated, so that the odd ones are known; a folder of SDSS's ``spec-lite`` files, or of
# text of your own, is read by the same line.

# sphinx_gallery_thumbnail_number = 3
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import load_spectra, make_stellar_spectra
from skae.plotting import LatentDisplay, SpectrumDisplay

stars = make_stellar_spectra(1500, anomalies=0.02, anomaly_strength=150.0, random_state=0)
folder = Path(tempfile.mkdtemp())
for i, (flux, errors) in enumerate(zip(stars.flux, stars.errors, strict=True)):
    table = np.column_stack([stars.wavelengths, flux, errors])
    np.savetxt(folder / f"star-{i:04d}.txt", table, header="wavelength flux error", fmt="%.7g")

spectra = load_spectra(folder)
print(
    spectra.data.shape, "fluxes,", f"{np.isnan(spectra.errors).mean():.1%} of the pixels not seen"
)

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for row in range(3):
    ax.plot(spectra.wavelengths, spectra.data[row], lw=0.7)
ax.set(xlabel="wavelength / Å", ylabel="flux", yscale="log", title="three of the stars")

# %%
# What they have in common
# ------------------------
# Stars are as bright as they are near: each row, and its errors, is divided by its brightness. Twelve
# components are enough here; the guide says how to find out.

X = skae.with_errors(spectra.data, spectra.errors)  # fluxes, then errors
model = make_pipeline(
    skae.SpectrumScaler(error_columns=True),
    skae.SpectraVAE(12, error_columns=True, random_state=0),
).fit(X)
print("passes over the rows:", model[-1].n_iter_)

fig, ax = plt.subplots(figsize=(5, 4.4), layout="constrained")
LatentDisplay.from_estimator(
    model, X[::10], c=stars.temperature[::10] / 1e3, c_name="temperature / 1000 K", ax=ax
)

# %%
# What is odd
# -----------
# A line is a few pixels of 400: in the likelihood of a row it drowns, in the largest pull it stands out.

vae, scaled = model[-1], model[:-1].transform(X)
largest = np.nanmax(np.abs(vae.pulls(scaled)), axis=1)
for name, score in (
    ("largest pull", largest),
    ("minus log-likelihood", -vae.score_samples(scaled)),
):
    print(f"AUC by {name}: {roc_auc_score(stars.is_anomaly, score):.3f}")

odd = np.argsort(-largest)[:3]
print("odd files:", ", ".join(Path(spectra.files[row]).name for row in odd))
print("which are odd indeed:", stars.is_anomaly[odd])
SpectrumDisplay.from_estimator(
    model, X[odd], grid=spectra.wavelengths, xlabel="wavelength / Å", ylabel="flux / median"
)
plt.show()
