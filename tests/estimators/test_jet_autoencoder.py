"""JetAutoencoder: its networks, its angles, and what it reaches."""

from functools import partial

import fits
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from skae import (
    BoxCoxTransformer,
    JetAutoencoder,
    KinematicsTransformer,
    NoiseInjector,
    SpectraVAE,
)
from skae.datasets import make_jets
from skae.exceptions import ClippingWarning
from skae.metrics import scaled_mean_squared_error
from skae.modules.blocks import activation_names

small = partial(fits.small, hidden_layer_sizes=(16, 8))


def test_the_default_sizes_with_tanh_are_the_published_network(standard_jets):
    model = JetAutoencoder(activation="tanh", max_epochs=1).fit(standard_jets)
    assert sum(p.numel() for p in model.module_.parameters()) == 52_607
    layers = list(model.module_.modules())
    widths = [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [200, 100, 50, 3, 50, 100, 200, 4]
    assert sum(isinstance(layer, torch.nn.Tanh) for layer in layers) == 6


@pytest.mark.parametrize("block", ["dense", "residual", "conv"])
@pytest.mark.parametrize("n_features", [4, 25, 27])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_norm": True, "dropout": 0.1}, {"linear_path": True}],
    ids=["plain", "regularised", "linear path"],
)
def test_every_block_fits_jets_of_every_width(block, n_features, options, rng):
    factors = rng.normal(size=(300, 3))
    X = factors @ rng.normal(size=(3, n_features)) + 0.1 * rng.normal(size=(300, n_features))
    X /= X.std(axis=0)
    model = small(block=block, max_epochs=30, lr=0.01, **options).fit(X)
    Z = model.transform(X)
    assert Z.shape == (300, 3)
    assert model.inverse_transform(Z).shape == X.shape
    assert model.score(X) > -0.8 * X.var(), "no better than the mean"


@pytest.mark.parametrize("name", [*activation_names(), "SiLU", "leaky_relu", "Tanh"])
def test_any_activation_of_torch_by_name(name, standard_jets):
    model = small(activation=name, max_epochs=1).fit(standard_jets)
    assert np.isfinite(model.score(standard_jets))


def test_a_linear_autoencoder_reaches_pca(rng):
    X = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
    pca = PCA(2).fit(X)
    exact = np.mean((X - pca.inverse_transform(pca.transform(X))) ** 2)
    model = small(n_components=2, hidden_layer_sizes=(), max_epochs=300, lr=0.02).fit(X)
    assert -model.score(X) == pytest.approx(exact, rel=1e-3)
    assert -model.score(X) >= exact * (1 - 1e-5), "no linear map is better than PCA"


@pytest.mark.parametrize("block", ["dense", "residual", "conv"])
def test_the_linear_path_starts_at_pca(block, rng):
    X = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 3.0
    pca = PCA(2).fit(X)
    exact = np.mean((X - pca.inverse_transform(pca.transform(X))) ** 2)
    model = small(n_components=2, block=block, linear_path=True, max_epochs=1, lr=1e-9).fit(X)
    assert -model.score(X) == pytest.approx(exact, rel=0.05)


@pytest.mark.filterwarnings("ignore::skae.exceptions.OvercompleteWarning")
@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_the_linear_path_leaves_out_what_does_not_vary(n_components, rng):
    """A flag that never rose in training, three columns of rank two: no axis, so no explosion."""
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 3))
    X = np.column_stack([X, np.zeros(300), np.full(300, 5.0)])
    model = small(n_components=n_components, linear_path=True).fit(X)
    raised = X.copy()
    raised[0, 3] = 1.0
    assert model.score_samples(raised)[0] > -10.0
    few = small(n_components=n_components, linear_path=True).fit(X[:2])
    assert few.score(X) > -100.0


def test_a_first_chunk_with_a_constant_column_does_not_spoil_the_next(rng):
    X = rng.normal(size=(200, 4))
    first = X.copy()
    first[:, 0] = 0.0
    model = small(linear_path=True).partial_fit(first).partial_fit(X).partial_fit(X)
    assert max(model.loss_curve_) < 10.0


def test_units_of_the_columns_do_not_matter_to_the_network(standard_jets):
    """A column that dominates the loss by its units is still learnt, and learnt alone."""
    X = standard_jets * [1e3, 1.0, 1.0, 1.0] + [5e3, 0.0, 0.0, 0.0]
    model = small(n_components=1, max_epochs=100, lr=0.01).fit(X)
    residual = (X - model.inverse_transform(model.transform(X))).std(axis=0) / X.std(axis=0)
    assert residual[0] < 0.1


# -- angles ------------------------------------------------------------------------------------


@pytest.fixture
def shifted(rng):
    """A linear autoencoder of one angle whose decoder shifts it by 2e-4 − 2π: across the cut."""

    def build(**parameters):
        X = rng.uniform(-np.pi, np.pi, size=(300, 1))
        model = small(n_components=1, hidden_layer_sizes=(), max_epochs=1, **parameters).fit(X)
        encoder, decoder = model.module_.encoder[-1], model.module_.decoder[-1]
        shift = (2e-4 - 2 * np.pi) / model.scale_ / model.module_.scale.item()
        with torch.no_grad():
            for layer, bias in ((encoder, 0.0), (decoder, shift)):
                layer.weight.fill_(1.0)
                layer.bias.fill_(bias)
        return model

    return build


@pytest.mark.filterwarnings("ignore::skae.exceptions.OvercompleteWarning")
def test_a_jet_across_the_cut_costs_its_distance_around_the_circle(shifted):
    """φ = π − 1e-4 comes back as −π + 1e-4: off by 2e-4, in the loss, score and score_samples."""
    X = np.array([[np.pi - 1e-4]])
    for parameters, distance in (({"angles": [0]}, 2e-4), ({}, 2 * np.pi - 2e-4)):
        model = shifted(**parameters)
        decoded = model.inverse_transform(model.transform(X))
        np.testing.assert_allclose(decoded, -X, atol=1e-6)
        true, output = torch.tensor(X / model.scale_), torch.tensor(decoded / model.scale_)
        loss = model.net_.criterion_(output, true).item() * model.scale_**2
        for error in (loss, -model.score(X), -model.score_samples(X)[0]):
            assert error == pytest.approx(distance**2, rel=1e-2)


def test_angles_by_name(standard_jets):
    X = pd.DataFrame(standard_jets, columns=["E", "pt", "eta", "phi"])
    assert small(angles=["phi"]).fit(X).angles_ == (3,)


@pytest.mark.parametrize("block", ["dense", "residual", "conv"])
def test_winding_returns_the_angle_exactly_and_steps_in_the_rest(block, jets):
    features = KinematicsTransformer().fit_transform(jets)
    model = small(angles=[2], winding=16.0, block=block, max_epochs=40, lr=0.01).fit(features)
    Z = model.transform(features)
    assert Z.shape == (400, 3)
    turns = (Z[:, 2] - features[:, 2]) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-5)
    decoded = model.inverse_transform(Z)
    difference = np.angle(np.exp(1j * (decoded[:, 2] - features[:, 2])))
    np.testing.assert_allclose(difference, 0.0, atol=1e-5)


def test_winding_keeps_what_the_bottleneck_would_lose(jets):
    features = KinematicsTransformer().fit_transform(jets)
    options = {"angles": [2], "linear_path": True, "max_epochs": 40}
    plain = small(**options).fit(features)
    wound = small(winding=16.0, **options).fit(features)
    assert wound.score(features) > 0.1 * plain.score(features)


# -- in a Pipeline -----------------------------------------------------------------------------


def test_grid_search_over_a_pipeline_and_the_way_back(jets):
    pipeline = make_pipeline(KinematicsTransformer(), small(angles=[2], lr=0.01))
    grid = {"jetautoencoder__n_components": [1, 3], "jetautoencoder__activation": ["silu", "tanh"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(jets)
    assert search.best_params_["jetautoencoder__n_components"] == 3
    decoded = search.best_estimator_.inverse_transform(search.transform(jets))
    assert decoded.shape == jets.shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter of JetAutoencoder must be an int"),
        (
            {"hidden_layer_sizes": (8, 0)},
            r"hidden_layer_sizes=\[8, 0\] must hold integers of 1 or more",
        ),
        ({"hidden_layer_sizes": 8.5}, "'hidden_layer_sizes' parameter of JetAutoencoder"),
        ({"block": "conv", "hidden_layer_sizes": ()}, "block='conv' needs at least one layer"),
        ({"activation": "sinc"}, "activation='sinc' is unknown; use one of .*gelu.*tanh"),
        ({"block": "dens"}, "'block' parameter of JetAutoencoder must be a str among"),
        ({"dropout": 1.0}, "'dropout' parameter of JetAutoencoder"),
        ({"angles": [4]}, "angles has 4, but X has 4 columns: use 0 to 3"),
        ({"angles": [-1]}, "angles has -1, but X has 4 columns"),
        (
            {"angles": ["phi"]},
            "angles names column 'phi', but X has no column names; use its index",
        ),
        ({"angles": [3, 3]}, "names a column twice"),
        ({"angles": [False, True]}, "angles has False, but X has 4 columns"),
        ({"winding": 8.0}, "winding=8.0 needs angles to wind around"),
        ({"winding": 8.0, "angles": [2, 3], "n_components": 1}, "winding=8.0 needs angles"),
    ],
)
def test_unusable_parameters_are_errors_before_training(parameters, message, standard_jets):
    model = small(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(standard_jets)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize("make", [small, SpectraVAE])
def test_one_hidden_layer_may_be_given_as_a_number(make, standard_jets):
    X, options = standard_jets, {"max_epochs": 1, "random_state": 0, "n_components": 2}
    number = make(hidden_layer_sizes=5, **options).fit(X)
    sequence = make(hidden_layer_sizes=(5,), **options).fit(X)
    assert torch.equal(fits.weights_of(number), fits.weights_of(sequence))
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        make(hidden_layer_sizes=0, **options).fit(X)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\[5, 2.5\] must hold integers"):
        make(hidden_layer_sizes=(5, 2.5), **options).fit(X)


def test_an_unknown_column_name_lists_those_there_are(standard_jets):
    X = pd.DataFrame(standard_jets, columns=["E", "pt", "eta", "phi"])
    message = r"angles names column 'azimuth', but X has columns \['E', 'pt'"
    with pytest.raises(ValueError, match=message):
        small(angles=["azimuth"]).fit(X)


# -- a transformer inside, and what errors count ---------------------------------------------------

momenta = partial(small, n_components=3, angles=[3], transformer=KinematicsTransformer())


@pytest.fixture(scope="module")
def four_momenta():
    return make_jets(600, random_state=0)


def squared_errors(X, back):
    difference = back - X
    difference[:, 3] = np.angle(np.exp(1j * difference[:, 3]))
    return difference**2


@pytest.mark.parametrize("transformer", [KinematicsTransformer(), None])
@pytest.mark.parametrize("metric", [None, "standardised", "relative"])
def test_the_loss_is_the_error_of_x_in_the_metric(metric, transformer, four_momenta):
    X = four_momenta
    model = momenta(metric=metric, transformer=transformer, early_stopping=True)
    model.set_params(n_iter_no_change=np.inf, validation_fraction=0.99).fit(X)
    held_out = torch.randperm(600, generator=torch.Generator().manual_seed(0))[:594]
    rows = X[held_out]
    squares = squared_errors(rows, model.inverse_transform(model.transform(rows)))
    divisor = {
        None: np.ones(4),
        "standardised": X.std(axis=0),
        "relative": rows * [1, 1, 0, 0] + [0, 0, 1, 1],
    }[metric]
    loss = min(row["valid_loss"] for row in model.history_)
    assert loss == pytest.approx(np.mean(squares / divisor**2), rel=1e-3)
    # scores are in the units of X, whatever is trained on
    np.testing.assert_allclose(
        model.score_samples(rows), -squares.mean(axis=1), rtol=1e-3, atol=1e-6 * squares.mean()
    )


def test_a_transformer_inside_follows_names_and_units(four_momenta):
    X = four_momenta
    model = momenta(metric="standardised").fit(X)
    named = pd.DataFrame(X, columns=["E", "pt", "eta", "phi"])[["pt", "eta", "phi", "E"]]
    other = momenta(metric="standardised", angles=["phi"]).fit(named)
    back = other.inverse_transform(other.transform(named))
    expected = model.inverse_transform(model.transform(X))[:, [1, 2, 3, 0]]
    np.testing.assert_allclose(back, expected, rtol=1e-3, atol=1e-3)
    mev = momenta(metric="standardised").fit(X * [1e3, 1e3, 1, 1])
    back = mev.inverse_transform(mev.transform(X * [1e3, 1e3, 1, 1]))
    difference = back / [1e3, 1e3, 1, 1] - expected[:, [3, 0, 1, 2]]
    # float32 fixes a mass to rounding times the energy, which is far from the axis a large part of it
    assert (np.abs(difference) < [0.01, 3e-3, 3e-3, 3e-3] * X.std(axis=0)).all()
    assert (np.abs(difference).mean(axis=0) < 1e-3 * X.std(axis=0)).all()


def test_what_a_transformer_refuses_is_refused(four_momenta):
    model = momenta().fit(four_momenta)
    bad = four_momenta[:5].copy()
    bad[3, 1] = -1.0
    for use in (model.transform, model.score_samples, model.partial_fit, model.fit):
        with pytest.raises(ValueError, match="pt must be positive"):
            use(bad)
    with pytest.raises(ValueError, match="'fit', 'transform' and 'inverse_transform'"):
        momenta(transformer=NoiseInjector("gaussian", sigma=0.1)).fit(four_momenta)
    with pytest.raises(TypeError, match="not known as a function of tensors"):
        momenta(transformer=PowerTransformer()).fit(four_momenta)
    with pytest.raises(ValueError, match="put the transformer in front"):
        momenta(winding=2.0).fit(four_momenta)


@pytest.mark.parametrize(
    "changed",
    [{"transformer": None}, {"transformer__scale": True}, {"transformer": PCA(3)}],
    ids=str,
)
def test_a_network_keeps_the_transformer_it_was_built_with(changed, four_momenta):
    model = clone(momenta(warm_start=True)).fit(four_momenta)
    model.fit(four_momenta)
    before = model.transform(four_momenta)
    model.set_params(**changed)
    for further in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="further was built with KinematicsTransformer"):
            further(four_momenta)
    np.testing.assert_array_equal(model.transform(four_momenta), before)


def test_what_a_transformer_warns_of_is_warned_of(four_momenta):
    """Far outside of the training data's code, where lines take the place of powers."""
    X = np.abs(four_momenta)
    model = small(n_components=2, transformer=BoxCoxTransformer(), metric="standardised").fit(X)
    with pytest.warns(ClippingWarning) as warned:
        back = model.inverse_transform(20.0 * model.transform(X))
    assert warned[0].filename == __file__
    assert back.shape == X.shape


def test_a_transformer_may_make_other_columns(four_momenta):
    model = small(transformer=PCA(2, random_state=0), n_components=1).fit(four_momenta)
    assert model.transform(four_momenta).shape == (600, 1)
    assert model.inverse_transform(model.transform(four_momenta)).shape == (600, 4)
    assert model.get_params()["transformer__n_components"] == 2
    assert not hasattr(model.transformer, "components_")  # it is the copy that is fitted


def test_four_momenta_come_back_better_than_by_a_cubic():
    train, test = train_test_split(make_jets(4000, random_state=0), random_state=0)
    model = JetAutoencoder(
        3, hidden_layer_sizes=(64, 32), angles=[3], transformer=KinematicsTransformer(),
        metric="standardised", max_epochs=40, batch_size=64, random_state=0,
    ).fit(train)  # fmt: skip
    log_pt, _, _, mass = KinematicsTransformer().fit_transform(train).T
    cubic = np.polyval(np.polyfit(log_pt, mass, 3), np.log(test[:, 1]))
    energy = test[:, 1] * np.sqrt(np.cosh(test[:, 2]) ** 2 + cubic**2)
    error, of_cubic = (
        scaled_mean_squared_error(test, back, scale=train.std(axis=0), angles=[3])
        for back in (
            model.inverse_transform(model.transform(test)),
            np.column_stack([energy, test[:, 1:]]),
        )
    )
    assert error < 0.8 * of_cubic  # 0.45 of 12,000 jets in 100 epochs


# -- what it reaches ---------------------------------------------------------------------------


@pytest.mark.slow
def test_it_beats_the_massless_formula_on_generated_jets():
    train, test = train_test_split(make_jets(20_000, random_state=0), test_size=0.2, random_state=0)
    scale = train.std(axis=0)
    energy = test[:, 1] * np.cosh(test[:, 2])
    massless = scaled_mean_squared_error(test, np.column_stack([energy, test[:, 1:]]), scale=scale)
    smooth = make_pipeline(StandardScaler(), JetAutoencoder(random_state=0)).fit(train)
    wound = make_pipeline(
        KinematicsTransformer(),
        JetAutoencoder(angles=[2], linear_path=True, winding=32, random_state=0),
    ).fit(train)
    error = {
        name: scaled_mean_squared_error(
            test, m.inverse_transform(m.transform(test)), scale=scale, angles=[3]
        )
        for name, m in {"smooth": smooth, "wound": wound}.items()
    }
    assert error["smooth"] < massless
    assert error["wound"] < 0.1 * massless
