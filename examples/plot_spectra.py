"""
What 200 spectra hold
=====================

Each of 200 spectra has 500 bins of counts: a continuum, two lines of unknown flux, and Poisson noise.
:class:`~skae.SpectraVAE` finds, without being told, that two numbers describe them, says how well each is
known, draws new spectra, and marks those that fit no other.
"""

# %%
# Spectra
# -------
# Half of the fluxes are exactly zero. The fluxes are known here, and only used to look at the result.

# sphinx_gallery_thumbnail_number = 4
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict

from skae import SpectraVAE
from skae.datasets import make_spectra
from skae.metrics import latent_divergence
from skae.plotting import LatentDisplay, SpectrumDisplay

X, fluxes = make_spectra(200, random_state=0)
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(X[:4].T, lw=0.7)
ax.set(xlabel="bin", ylabel="counts", title="four of the spectra")

# %%
# Two numbers with their errors
# -----------------------------
# Counts have Poisson noise, which the likelihood knows: there is nothing to scale and no noise to guess.
# An ellipse is the posterior of one spectrum, one standard deviation; the dashed circles are the prior.
# Posteriors are a hundred times narrower: on the left points cover them, on the right a few are enlarged.

vae = SpectraVAE(likelihood="poisson", random_state=0).fit(X)
mean, std = vae.posterior(X)
print("posterior σ:", std.mean(axis=0).round(4))
print("nats that each coordinate tells:", latent_divergence(mean, std).mean(axis=0).round(2))

fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
LatentDisplay.from_estimator(vae, X, c=fluxes[:, 0], c_name="flux of the narrow line", ax=axes[0])
LatentDisplay.from_predictions(
    mean, std, c=fluxes[:, 0], c_name="flux of the narrow line", ax=axes[1]
)
centre, width = mean[fluxes.sum(axis=1) > 0][0], 8.0 * std.max()
axes[1].set_aspect("equal", adjustable="box")
axes[1].set(
    xlim=(centre[0] - width, centre[0] + width),
    ylim=(centre[1] - width, centre[1] + width),
    title="enlarged",
)

# %%
# They are the fluxes
# -------------------
# A straight line brings the latents to the fluxes, as well as counting statistics allow; the errors that
# the posterior gives cover the truth as often as they should.

fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for j, ax in enumerate(axes):
    predicted = cross_val_predict(LinearRegression(), mean, fluxes[:, j], cv=10)
    slope = LinearRegression().fit(mean, fluxes[:, j]).coef_
    error = np.sqrt(std**2 @ slope**2)
    inside = np.mean(np.abs(predicted - fluxes[:, j]) < error)
    ax.errorbar(fluxes[:, j], predicted - fluxes[:, j], error, fmt=".", ms=3, lw=0.6)
    ax.axhline(0.0, color="0.5", lw=0.8)
    ax.set(xlabel=f"true flux {j + 1}", ylabel="predicted − true")
    ax.set_title(
        f"σ {np.std(predicted - fluxes[:, j]):.2f} counts, {100 * inside:.0f} % within error"
    )

# %%
# Reconstructions with error bands
# --------------------------------
# Blue is the noise, orange what the posterior leaves open of the mean: with 500 bins, very little.

SpectrumDisplay.from_estimator(vae, X[:2], xlabel="bin", ylabel="counts")

# %%
# New spectra
# -----------
# A standard normal prior puts spectra where there are none: half of the fluxes are zero, and it has no
# such heap. With layers and ``prior="mixture"`` the heaps are learnt, from more than 200 spectra.

many, many_fluxes = make_spectra(4000, random_state=1)
plain = SpectraVAE(likelihood="poisson", max_epochs=30, random_state=0).fit(many)
mixture = SpectraVAE(
    likelihood="poisson", hidden_layer_sizes=(64, 64), prior="mixture", random_state=0
).fit(many)

design = np.c_[np.ones(len(many)), many_fluxes]
shapes = np.linalg.lstsq(design, many, rcond=None)[0]


def fluxes_of(spectra):
    """Least squares with the true shapes of continuum and lines."""
    return np.linalg.lstsq(shapes[1:].T, (spectra - shapes[0]).T, rcond=None)[0].T


fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained")
draws = {
    "real": many,
    "drawn, normal prior": plain.sample(4000, random_state=0),
    "drawn, mixture prior": mixture.sample(4000, random_state=0),
}
for ax, (title, spectra) in zip(axes, draws.items(), strict=True):
    ax.plot(*fluxes_of(spectra).T, ".", ms=2)
    ax.set(title=title, xlabel="flux 1")
axes[0].set_ylabel("flux 2")

# %%
# Spectra that fit no other
# -------------------------
# A line at another place is nothing that two fluxes explain: its ELBO is low. One hot bin is lost in the
# sum over 500, and stands out in the largest pull. PCA's squared error knows neither.

rng = np.random.default_rng(0)
test, _ = make_spectra(1000, random_state=2)
x = (np.arange(500) + 0.5) / 500
test[0] = rng.poisson(shapes[0] + 60.0 * np.exp(-0.5 * ((x - 0.42) / 0.05) ** 2))
test[1, 400] += 8.0 * np.sqrt(test[1, 400])
pca = PCA(2).fit(many)
scores = {
    "−ELBO (nats)": -plain.score_samples(test),
    "largest pull (σ)": np.abs(plain.pulls(test)).max(axis=1),
    "PCA: mean squared error": ((test - pca.inverse_transform(pca.transform(test))) ** 2).mean(
        axis=1
    ),
}
fig, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for ax, (name, score) in zip(axes, scores.items(), strict=True):
    ax.hist(score[2:], bins=40, color="0.7")
    ax.axvline(score[0], color="C3", label="line at another place")
    ax.axvline(score[1], color="C0", ls="--", label="one hot bin, 8σ")
    ax.set(xlabel=name, yscale="log")
axes[0].set_ylabel("spectra")
axes[0].legend(fontsize="small")

# %%
SpectrumDisplay.from_estimator(plain, test[:2], xlabel="bin", ylabel="counts")
plt.show()
