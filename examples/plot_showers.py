"""
Calorimeter showers from a network
==================================

Simulating the showers of one collision, particle by particle, takes minutes. :class:`~skae.CaloShowerVAE`
learns what showers look like at which energy, and draws them in a millisecond each.
"""

# %%
# Two thousand showers
# --------------------
# Geant4's cannot be shipped, so these are *parametrised*: spots of energy along and around measured
# profiles, in the calorimeter of the CaloChallenge's data set 2, with 45 layers of 16 angles and 9 radii.
# ``load_calochallenge("dataset_2_1.hdf5")`` reads the challenge's own.

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt

import skae
from skae.datasets import make_showers
from skae.metrics import classifier_two_sample_test, shower_features
from skae.plotting import LearningCurveDisplay, ShowerDisplay

X = make_showers(2000, random_state=0)  # incident energy, then 6480 voxels, in MeV
print(f"{X[0, 0] / 1e3:.1f} GeV in {(X[0, 1:] > 0).sum()} of 6480 voxels")

# %%
# A Pipeline
# ----------
# Voxels span six orders of magnitude: the network sees log(1 + MeV), and comes back through the same
# step. Without ``max_epochs`` the fit would take as many epochs as make 6000 steps; a third will do here.

from sklearn.pipeline import make_pipeline

model = make_pipeline(
    skae.LogRatioTransformer("log1p", reference=0, threshold=0.01515),
    skae.CaloShowerVAE(geometry="dataset_2", max_epochs=30, batch_size=32, random_state=0),
)
model.fit(X)
LearningCurveDisplay.from_estimator(model[-1])
plt.show()

# %%
# New showers
# -----------
# At any energies, here those of showers that the network has not seen.

real = make_showers(2000, random_state=1)
drawn = skae.sample(model, real[:, 0], random_state=0)
display = ShowerDisplay.from_predictions(
    real, drawn, geometry="dataset_2", labels=("parametrised", "network")
)
plt.show()

# %%
# The ratios show what 2000 showers are too few for: the profile in depth to better than a tenth, and the
# faintest voxels. In one number: how well a classifier tells network and parametrisation apart, by 362
# features. 0.5 would be not at all.

auc, error = classifier_two_sample_test(
    shower_features(real), shower_features(drawn), random_state=0
)
print(f"AUC {auc:.2f} ± {error:.2f}")

# %%
# A few numbers for a shower
# --------------------------
# ``transform`` compresses: column 0 stays the incident energy, then come energies and hits of the layers,
# and what is peculiar about a shower beside these. ``score_samples`` finds showers that are unlike the
# others.

latent = model.transform(real)
print(f"6481 numbers in {latent.shape[1]}")
late = real.copy()
late[0, 1:] = late[0, 1:].reshape(45, 16, 9)[::-1].ravel()  # enters from the back
print(f"score of a shower back to front: {model.score_samples(late[:1])[0]:.0f}, of the same as it is: "
      f"{model.score_samples(real[:1])[0]:.0f}")  # fmt: skip
