"""
Anomalies among the jets that one trains on
===========================================

An autoencoder that is trained on data has seen their anomalies, too. Here 5 % of the jets are those of a
W boson, and the question is whether scores still tell them from the others. ``loss="trimmed"`` leaves
rows out that lie off the principal axes of the rest.
"""

# %%
# Jets, and jets of a W: masses of 80.4 ± 8 GeV, pT of 100 to 200 GeV. Their m/pT is 0.4 to 0.8, that of
# the others 0.13 on average and below 0.45.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline

from skae import JetAutoencoder, KinematicsTransformer
from skae.datasets import make_jets

rng = np.random.default_rng(0)


def w_jets(n):
    pt, eta = rng.uniform(100.0, 200.0, n), rng.uniform(-2.0, 2.0, n)
    energy = np.hypot(pt * np.cosh(eta), rng.normal(80.4, 8.0, n))
    return np.column_stack([energy, pt, eta, rng.uniform(-np.pi, np.pi, n)])


train = np.vstack([make_jets(10_000, random_state=1), w_jets(500)])
test = np.vstack([make_jets(5_000, random_state=2), w_jets(2_000)])
is_w = np.arange(len(test)) >= 5_000

# %%
# Three of four features are kept, scaled so that m/pT counts as much as the others. The score of a row is
# minus its squared error, so unusual jets score low.

models = {
    "squared errors": JetAutoencoder(3, angles=[2], max_epochs=30, random_state=0),
    "trimmed": JetAutoencoder(3, angles=[2], loss="trimmed", max_epochs=30, random_state=0),
    "PCA": PCA(3),
}
errors = {}
for name, model in models.items():
    kinematics = KinematicsTransformer(scale=True)
    pipeline = make_pipeline(kinematics, model).fit(train)
    features = kinematics.transform(test)
    back = model.inverse_transform(model.transform(features))
    errors[name] = np.square(features - back).mean(axis=1)
    print(f"{name:15s} AUC {roc_auc_score(is_w, errors[name]):.3f}")

trimmed = models["trimmed"].trimmed_
print(
    f"left out: {trimmed[10_000:].mean():.1%} of W jets, {trimmed[:10_000].mean():.1%} of the others"
)

# %%
# With squared errors the network learns the W jets, a dense corner of the data, better than rare jets:
# their errors are *small*. PCA is too stiff for that. With a trimmed loss the network finds as many as
# PCA does, and loses a quarter as much of ordinary jets, which matters where the code is for more than
# screening.

ordinary = {name: error[:5_000].mean() for name, error in errors.items()}
for name, error in ordinary.items():
    print(f"{name:15s} mean squared error of ordinary jets {error:.3f}")

colours = {"squared errors": "C1", "trimmed": "C0", "PCA": "C2"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
bins = np.geomspace(1e-5, 30.0, 50)
for name in ("squared errors", "trimmed"):
    for part, filled in ((errors[name][~is_w], False), (errors[name][is_w], True)):
        left.hist(
            part, bins, weights=np.full(len(part), 100.0 / len(part)), color=colours[name],
            label=f"{name}, {'W jets' if filled else 'ordinary jets'}",
            **({"alpha": 0.4} if filled else {"histtype": "step", "linewidth": 1.5}),
        )  # fmt: skip
left.set(xscale="log", xlabel="squared error of a jet", ylabel="% of these jets", title="Errors")
left.set_ylim(0.0, 25.0)
left.legend(fontsize="small", loc="upper left")
for name, error in errors.items():
    passing, found, _ = roc_curve(is_w, error)
    label = f"{name}, AUC {roc_auc_score(is_w, error):.3f}"
    right.plot(passing, found, color=colours[name], label=label)
right.set(
    xscale="log", xlim=(1e-3, 1.0), xlabel="share of ordinary jets that pass",
    ylabel="share of W jets found", title="Trained with 5 % of W jets",
)  # fmt: skip
right.legend(fontsize="small", loc=(0.4, 0.15))
plt.show()
