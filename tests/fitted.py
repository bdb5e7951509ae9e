"""A small fitted one of everything, and what can be asked of it: for tests of what outlives a process."""

import json
from zipfile import ZIP_STORED, ZipFile

import numpy as np
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


def _jets():
    return make_jets(N, random_state=0)


def _table():
    return np.random.default_rng(0).gamma(2.0, size=(N, 6))


def _showers():
    rng = np.random.default_rng(1)
    energy = rng.uniform(10.0, 100.0, size=(N, 1))
    voxels = energy * rng.dirichlet(np.ones(12), size=N) * (rng.uniform(size=(N, 12)) > 0.2)
    return np.hstack([energy, voxels])


def _traces():
    return np.random.default_rng(2).normal(size=(N, 2, 16)), np.arange(N) % 16


def _waves():
    return np.random.default_rng(3).normal(size=(N, 24))


def _jet_autoencoder(**options):
    shape = {"n_components": 2, "hidden_layer_sizes": (6, 5), "max_epochs": 2, "random_state": 0}
    return lambda: (
        make_pipeline(StandardScaler(), skae.JetAutoencoder(**{**shape, **options})).fit(_jets()),
        _jets(),
    )


def _vae(X, **options):
    shape = {"max_epochs": 2, "random_state": 0}
    return lambda: (skae.SpectraVAE(**{**shape, **options}).fit(X()), X())


def _shower_vae(**options):
    shape = {"n_components": 8, "hidden_size": 8, "max_epochs": 2, "random_state": 0}

    def fit():
        model = make_pipeline(
            skae.LogRatioTransformer("log1p", reference=0),
            skae.CaloShowerVAE(**{**shape, **options}),
        )
        return model.fit(_showers()), _showers()

    return fit


def _fractional_locator():
    X, y = _traces()
    model = skae.PulseLocator(max_epochs=2, n_channels=6, trace_channels=4, random_state=0)
    return model.fit(X, np.clip(y + 0.25, 0, 15)), X


def _integer_locator(**options):
    X, y = _traces()
    shape = {"max_epochs": 2, "n_channels": 6, "trace_channels": 4, "random_state": 0}
    return lambda: (skae.PulseLocator(**shape, **options).fit(X, y), X)


def _regressor(y, **options):
    shape = {"downsampling": (2, 2), "hidden_size": 4, "max_epochs": 2, "random_state": 0}
    X = _waves()
    return lambda: (skae.MultiResRNNRegressor(**{**shape, **options}).fit(X, y(X)), X)


def _matched_filter():
    X, _ = _traces()
    return skae.MatchedFilterLocator().fit(X), X


def _photon_fit():
    data = make_photon_correlations(4, random_state=0)
    return skae.PhotonCorrelationFit(times=data.tau).fit(data.noisy), data.noisy


def _every_transformer():
    X = _showers()
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0),
        skae.NoiseInjector("gaussian", sigma=0.01, random_state=0),
        skae.BoxCoxTransformer(),
        StandardScaler(),
    )
    return model.fit(X), X


def _of_scikit_learn():
    X = _table()
    model = make_pipeline(
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
    return model.fit(X), X


def _scaled_target():
    X = _waves()
    regressor = skae.MultiResRNNRegressor(
        downsampling=(2,), hidden_size=4, max_epochs=2, random_state=0
    )
    model = TransformedTargetRegressor(regressor=regressor, transformer=StandardScaler())
    return model.fit(X, X[:, :2]), X


def _kinematics():
    return skae.KinematicsTransformer().fit(_jets()), _jets()


#: how each is made; called, it returns a fitted model and rows for it
FITTED = {
    "jets": _jet_autoencoder(),
    "jets-residual": _jet_autoencoder(block="residual", batch_norm=True, dropout=0.2),
    "jets-conv": _jet_autoencoder(block="conv", activation="prelu", optimizer="nadam"),
    "jets-linear": _jet_autoencoder(linear_path=True, angles=[3], winding=1.0),
    "jets-noise": _jet_autoencoder(
        noise=skae.NoiseInjector("gaussian", sigma=0.1), early_stopping=True
    ),
    "spectra": _vae(_table),
    "spectra-poisson": _vae(
        lambda: np.round(10 * _table()),
        likelihood="poisson",
        prior="mixture",
        n_mixture=3,
        hidden_layer_sizes=(5,),
    ),
    "spectra-laplace": _vae(_table, likelihood="laplace", hidden_layer_sizes=(5,)),
    "spectra-lstm": _vae(_waves, decoder="lstm", hidden_size=4, init="random", noise_sigma=0.5),
    "spectra-multires": _vae(
        _waves, decoder="multires", hidden_size=4, downsampling=(2,), init="random"
    ),
    "spectra-mask": _vae(
        lambda: np.where(_waves() > 1.5, np.nan, _waves()), missing="mask", lr_schedule="cosine"
    ),
    "showers": _shower_vae(),
    "showers-grid": _shower_vae(voxel_shape=(2, 3, 2)),
    "showers-bits": _shower_vae(prior="rbm", n_components=12, gibbs_steps=3),
    "showers-graph": _shower_vae(
        prior="rbm", n_components=12, rbm_topology="zephyr", gibbs_steps=3
    ),
    "pulses": _integer_locator(),
    "pulses-time": _fractional_locator,
    "pulses-reference": _integer_locator(architecture="reference"),
    "sequences": _regressor(lambda X: X + 1.0),
    "sequences-poisson": _regressor(
        lambda X: np.exp(X), loss="poisson", cell="lstm", times=np.arange(24.0) ** 1.1
    ),
    "sequences-vector": _regressor(lambda X: X[:, :3], optimizer="sgd"),
    "matched-filter": _matched_filter,
    "photons": _photon_fit,
    "kinematics": _kinematics,
    "every-transformer": _every_transformer,
    "of-scikit-learn": _of_scikit_learn,
    "scaled-target": _scaled_target,
}


def last_of(model):
    """Return an estimator, or the last one of a Pipeline."""
    return model[-1] if hasattr(model, "steps") else model


def answers(model, X):
    """Return everything that a model says of these rows, by the name of the method."""
    found = {}
    for method in (
        "transform", "predict", "predict_distribution", "posterior", "reconstruct",
        "predict_resolutions", "score_samples",
    ):  # fmt: skip
        is_vector = getattr(model, "output_", None) == "vector"
        if hasattr(model, method) and not (is_vector and method == "predict_resolutions"):
            result = getattr(model, method)(X)
            parts = result if isinstance(result, list | tuple) else [result]
            found |= {f"{method} {i}": np.asarray(part) for i, part in enumerate(parts)}
    if hasattr(model, "inverse_transform"):
        found["inverse_transform"] = model.inverse_transform(found["transform 0"])
    last = last_of(model)
    if isinstance(last, skae.CaloShowerVAE):
        found["sample"] = skae.sample(model, X[:5, 0], random_state=0)
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
