"""A small fitted one of everything, and what can be asked of it: for tests of what outlives a process."""

import json
from functools import partial
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

import skae
from skae.datasets import make_jets, make_photon_correlations
from skae.training import packing

N = 40


# -- rows, and targets where they are needed ---------------------------------------------------


def _jets():
    return make_jets(N, random_state=0), None


def _table():
    return np.random.default_rng(0).gamma(2.0, size=(N, 6)), None


def _counts():
    return np.round(10 * _table()[0]), None


def _showers():
    rng = np.random.default_rng(1)
    energy = rng.uniform(10.0, 100.0, size=(N, 1))
    voxels = energy * rng.dirichlet(np.ones(12), size=N) * (rng.uniform(size=(N, 12)) > 0.2)
    return np.hstack([energy, voxels]), None


def _traces():
    return np.random.default_rng(2).normal(size=(N, 2, 16)), np.arange(N) % 16


def _fractions():
    X, y = _traces()
    return X, np.clip(y + 0.25, 0, 15)


def _waves(target=lambda X: None):
    X = np.random.default_rng(3).normal(size=(N, 24))
    return X, target(X)


def _waves_with_gaps():
    X, _ = _waves()
    return np.where(X > 1.5, np.nan, X), None


def _channels():
    X, _ = _traces()
    return X, X.mean(axis=1)


def _correlations():
    options = {"counts": 100.0, "gaussian_fraction": 0.0, "g2_zero": 0.3, "lifetimes": (0.05,)}
    return (100.0 * make_photon_correlations(4, random_state=0, **options).noisy).round(), None


# -- what learns from them ---------------------------------------------------------------------

_SMALL = {
    skae.JetAutoencoder: {"n_components": 2, "hidden_layer_sizes": (6, 5)},
    skae.SpectraVAE: {},
    skae.CaloShowerVAE: {"n_components": 8, "hidden_size": 8},
    skae.PulseLocator: {"n_channels": 6, "trace_channels": 4},
    skae.MultiResRNNRegressor: {"downsampling": (2, 2), "hidden_size": 4},
}
_BEFORE = {
    skae.JetAutoencoder: StandardScaler(),
    skae.CaloShowerVAE: skae.LogRatioTransformer("log1p", reference=0),
}


def _small(kind, **options):
    """Return an estimator that is trained in a blink, behind what it is used behind."""
    model = kind(**{"max_epochs": 2, "random_state": 0, **_SMALL[kind], **options})
    return make_pipeline(_BEFORE[kind], model) if kind in _BEFORE else model


_jet_autoencoder = partial(_small, skae.JetAutoencoder)
_vae = partial(_small, skae.SpectraVAE)
_shower_vae = partial(_small, skae.CaloShowerVAE)
_locator = partial(_small, skae.PulseLocator)
_regressor = partial(_small, skae.MultiResRNNRegressor)


def _every_transformer():
    return make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0),
        skae.NoiseInjector("gaussian", sigma=0.01, random_state=0),
        skae.BoxCoxTransformer(),
        StandardScaler(),
    )


def _of_scikit_learn():
    return make_pipeline(
        FunctionTransformer(np.log1p, np.expm1),
        ColumnTransformer(
            [("a", RobustScaler(), [0, 1]), ("b", PowerTransformer(), slice(2, 4))],
            remainder="passthrough",
        ),
        FeatureUnion(
            [
                ("pca", PCA(2)),
                ("quantiles", QuantileTransformer(n_quantiles=5)),
                ("range", MinMaxScaler()),
            ]
        ),
    )


_NOISE = skae.NoiseInjector("gaussian", sigma=0.1)
_MIXTURE = {"prior": "mixture", "n_mixture": 3, "hidden_layer_sizes": (5,)}
_BITS = {"prior": "rbm", "n_components": 12, "gibbs_steps": 3}

#: each as it is made, not fitted, and a function that returns rows and targets for it
RECIPES = {
    "jets": (_jet_autoencoder(), _jets),
    "jets-residual": (_jet_autoencoder(block="residual", batch_norm=True, dropout=0.2), _jets),
    "jets-conv": (_jet_autoencoder(block="conv", activation="prelu", optimizer="nadam"), _jets),
    "jets-linear": (_jet_autoencoder(linear_path=True, angles=[3], winding=1.0), _jets),
    "jets-noise": (_jet_autoencoder(noise=_NOISE, early_stopping=True), _jets),
    "jets-kinematics": (
        skae.JetAutoencoder(
            2,
            hidden_layer_sizes=(6, 5),
            max_epochs=2,
            random_state=0,
            angles=[3],
            transformer=skae.KinematicsTransformer(),
            metric="relative",
        ),
        _jets,
    ),
    "spectra": (_vae(), _table),
    "spectra-poisson": (_vae(**_MIXTURE, likelihood="poisson", beta_warm_up=0.5), _counts),
    "spectra-laplace": (_vae(likelihood="laplace", hidden_layer_sizes=(5,)), _table),
    "spectra-lstm": (_vae(decoder="lstm", hidden_size=4, init="random", noise_sigma=0.5), _waves),
    "spectra-multires": (
        _vae(decoder="multires", hidden_size=4, downsampling=(2,), init="random"),
        _waves,
    ),
    "spectra-mask": (_vae(missing="mask", lr_schedule="cosine"), _waves_with_gaps),
    "showers": (_shower_vae(), _showers),
    "showers-grid": (_shower_vae(voxel_shape=(2, 3, 2), early_stopping=True), _showers),
    "showers-bits": (_shower_vae(**_BITS), _showers),
    "showers-graph": (
        _shower_vae(**_BITS, rbm_topology="zephyr", voxel_shape=(2, 3, 2)),
        _showers,
    ),
    "pulses": (_locator(), _traces),
    "pulses-time": (_locator(permute_traces=True, reverse_time=True), _fractions),
    "pulses-residual": (_locator(architecture="residual"), _traces),
    "pulses-masked": (
        _locator(missing="mask", saturation=2.0, remove_baseline=False),
        _traces,
    ),
    "pulses-reference": (
        _locator(architecture="reference", n_channels=None, trace_channels=None),
        _traces,
    ),
    "sequences": (_regressor(), partial(_waves, lambda X: X + 1.0)),
    "sequences-poisson": (
        _regressor(loss="poisson", cell="lstm", times=np.arange(24.0) ** 1.1),
        partial(_waves, np.exp),
    ),
    "sequences-vector": (_regressor(optimizer="sgd"), partial(_waves, lambda X: X[:, :3])),
    "sequences-channels": (_regressor(noise=_NOISE), _channels),
    "matched-filter": (skae.MatchedFilterLocator(), _traces),
    "photons": (
        skae.PhotonCorrelationFit(times=make_photon_correlations(1, random_state=0).tau),
        _correlations,
    ),
    "kinematics": (skae.KinematicsTransformer(scale=True), _jets),
    "every-transformer": (_every_transformer(), _showers),
    "of-scikit-learn": (_of_scikit_learn(), _table),
    "scaled-target": (
        TransformedTargetRegressor(
            regressor=_regressor(downsampling=(2,)), transformer=StandardScaler()
        ),
        partial(_waves, lambda X: X[:, :2]),
    ),
}


def fitted_of(name):
    """Return a fitted model, and rows for it."""
    model, rows = RECIPES[name]
    X, y = rows()
    return clone(model).fit(X, y), X


#: how each is fitted; called, it returns a fitted model and rows for it
FITTED = {name: partial(fitted_of, name) for name in RECIPES}

#: those that train a network
LEARNERS = [
    name
    for name in RECIPES
    if name.startswith(("jets", "spectra", "showers", "pulses", "sequences"))
]


def learner(name):
    """Return an unfitted estimator that trains in several batches, and its own rows and targets."""
    model, rows = RECIPES[name]
    X, y = rows()
    if hasattr(model, "steps"):
        X = clone(model[:-1]).fit_transform(X)
    return clone(last_of(model)).set_params(batch_size=16), X, y


def last_of(model):
    """Return an estimator, or the last one of a Pipeline."""
    return model[-1] if hasattr(model, "steps") else model


def answers(model, X):
    """Return everything that a model says of these rows, by the name of the method."""
    found = {}
    for method in (
        "transform", "predict", "predict_distribution", "posterior", "reconstruct",
        "pulls", "predict_resolutions", "score_samples",
    ):  # fmt: skip
        is_vector = getattr(model, "output_", None) == "vector"
        if hasattr(model, method) and not (is_vector and method == "predict_resolutions"):
            drawn = method == "reconstruct" and isinstance(model, skae.CaloShowerVAE)
            result = getattr(model, method)(X, **{"random_state": 0} if drawn else {})
            parts = result if isinstance(result, list | tuple) else [result]
            found |= {f"{method} {i}": np.asarray(part) for i, part in enumerate(parts)}
    if hasattr(model, "inverse_transform"):
        found["inverse_transform"] = model.inverse_transform(found["transform 0"])
    last = last_of(model)
    if isinstance(last, skae.CaloShowerVAE):
        found["sample"] = skae.sample(model, found["transform 0"][:5, 0], random_state=0)
    elif hasattr(last, "sample"):
        found["sample"] = skae.sample(model, 5, random_state=0)
    return found


def dictionaries(schema):
    """Go through all dictionaries in a schema, from the outside in."""
    level = [schema]
    for value in level:  # which grows
        if isinstance(value, dict):
            yield value
        if isinstance(value, dict | list):
            level += value.values() if isinstance(value, dict) else value


def members_of(path):
    """Return what a saved file holds, by name."""
    with ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path, members, compression=ZIP_STORED):
    """Write a file that holds them."""
    with ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def rewrite(path, change):
    """Change the schema of a saved file; ``change`` may change its members, a dictionary, as well."""
    members = members_of(path)
    schema = json.loads(members.pop("schema.json"))
    schema = change(schema, members) or schema
    write(path, {**members, "schema.json": json.dumps(schema)})


def rewrite_member(path, ending, change):
    """Change the one member of a saved file whose name ends so."""

    def rewritten(schema, members):
        (name,) = (name for name in members if name.endswith(ending))
        members[name] = change(members[name])

    rewrite(path, rewritten)


def rewrite_net(path, change):
    """Change the parts of the net in a saved file, and give it the digest that belongs to it."""

    def changed(content):
        parts = packing.from_bytes(content)
        return packing.to_bytes(change(parts) or parts)

    rewrite_member(path, ".bin", changed)
