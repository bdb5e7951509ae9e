"""CaloShowerVAE: energies kept, showers drawn, bounds counted, bits and their machine, bad input."""

import copy
import os
import warnings

import ambient
import numpy as np
import pandas as pd
import pytest
import torch
from dwave.samplers import SimulatedAnnealingSampler
from fits import Steps, each, global_states, interrupted, mapped, weights_of
from scipy.special import log_expit
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import skae
from skae import CaloShowerVAE, LogRatioTransformer, NoiseInjector
from skae.datasets import CaloGeometry, make_showers
from skae.estimators import _shower_callbacks
from skae.estimators._shower_data import incident_energies, scale_of_voxels
from skae.exceptions import ClippingWarning, ExtrapolationWarning
from skae.metrics import separation_power
from skae.metrics.distances import moments
from skae.modules.showers.layers import Layers
from skae.modules.showers.likelihood import Voxels, freedom, misfit
from skae.modules.showers.scales import EnergyScale, NoiseShape, lit_moments
from skae.modules.showers.vae import ShowerAutoencoder
from skae.training.streaming import ArrayRows

GEOMETRY = CaloGeometry([(0, 8, 60)] * 4, [4] * 4, 0.1, np.arange(5) * 30.0)
SMALL = {"batch_size": 128, "geometry": GEOMETRY, "hidden_size": 24, "random_state": 0}
PRIORS = {
    "gaussian": {"n_components": 4},
    "rbm": {"n_components": 9, "prior": "rbm", "gibbs_steps": 10},
}
priors = pytest.mark.parametrize("prior", PRIORS)

#: the file that warnings point at: this one, or that of the wrapper that makes a setting
CALLER = ambient.__file__ if os.environ.get("SKAE_AMBIENT") else __file__


@pytest.fixture(scope="module")
def showers():
    return make_showers(600, geometry=GEOMETRY, random_state=0)


@pytest.fixture(scope="module")
def scaled(showers):
    return LogRatioTransformer("log1p", reference=0).fit_transform(showers)


@pytest.fixture(scope="module")
def fitted(scaled):
    return {
        name: CaloShowerVAE(**PRIORS[name], **SMALL, max_epochs=8, lr=5e-3).fit(scaled)
        for name in PRIORS
    }


@priors
def test_shapes_and_energies_are_kept(fitted, scaled, prior):
    model, n = fitted[prior], PRIORS[prior]["n_components"]
    latent = model.transform(scaled)
    assert latent.shape == (600, 1 + 8 + n)
    decoded, drawn = model.inverse_transform(latent), model.sample(scaled[:, 0], random_state=0)
    again = model.reconstruct(scaled, random_state=0)
    for result in (decoded, drawn, again):
        assert result.shape == scaled.shape
        assert (result >= 0.0).all()
        np.testing.assert_array_equal(result[:, 0], scaled[:, 0])
    odd = np.array([12345.678901234, 54321.0123456789])
    np.testing.assert_array_equal(model.sample(odd)[:, 0], odd)
    doubled = model.transform(scaled.astype(np.float64))
    np.testing.assert_allclose(doubled, latent, rtol=1e-5, atol=1e-6)
    layers = [f"{what}_layer_{k}" for what in ("E", "hits") for k in range(4)]
    names = [f"caloshowervae{k}" for k in range(n)]
    assert list(model.get_feature_names_out()) == ["E_inc", *layers, *names]
    if prior == "rbm":
        assert set(np.unique(latent[:, 9:])) <= {0.0, 1.0}


def test_the_incident_energy_keeps_its_name(scaled):
    model = CaloShowerVAE(2, hidden_size=8, max_epochs=1, random_state=0)
    frame = pd.DataFrame(scaled[:50]).add_prefix("voxel_").rename(columns={"voxel_0": "E"})
    named = ["E", "E_layer_0", "hits_layer_0", "caloshowervae0", "caloshowervae1"]
    assert list(model.fit(frame).get_feature_names_out()) == named
    latent = clone(model).set_output(transform="pandas").fit_transform(frame)
    assert list(latent.columns) == named
    pd.testing.assert_series_equal(latent["E"], frame["E"])
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        model.get_feature_names_out([*frame.columns[:-1], "other"])
    plain = clone(model).set_output(transform="pandas")
    assert list(plain.fit_transform(scaled[:50]).columns) == ["E_inc", *named[1:]]
    log = LogRatioTransformer("log1p", reference="E")
    pipeline = make_pipeline(log, model).fit(frame)
    assert list(pipeline.get_feature_names_out()) == named


@pytest.mark.parametrize("prior", ["gaussian", pytest.param("rbm", marks=pytest.mark.slow)])
def test_drawn_showers_are_like_those_in_training(scaled, prior):
    """Energies, hits and their fluctuations, at energies that were held out."""
    X = make_showers(3000, geometry=GEOMETRY, random_state=1)
    log = LogRatioTransformer("log1p", reference=0)
    options = {**PRIORS[prior], **SMALL, "hidden_size": 48, "lr": 5e-3}
    model = make_pipeline(log, CaloShowerVAE(**options, max_epochs=20)).fit(X)
    real = make_showers(2000, geometry=GEOMETRY, energy=(1.1e3, 9e5), random_state=2)
    drawn = skae.sample(model, real[:, 0], random_state=0)
    response = [part[:, 1:].sum(axis=1) / part[:, 0] for part in (real, drawn)]
    floor = 99 / (2 * 2000)
    most = {"gaussian": 0.05, "rbm": 0.15}[prior]  # nine bits are few
    assert separation_power(*response, range=(0.0, 1.5)) < most + floor
    lit = [(part[:, 1:] > 0.0).mean(axis=0) for part in (real, drawn)]
    assert np.abs(lit[0] - lit[1]).max() < 0.06
    high = real[:, 0] > 1e5
    rings = [part[high, 1:].reshape(-1, 4, 4, 2).mean(axis=(0, 2)) for part in (real, drawn)]
    np.testing.assert_allclose(rings[1], rings[0], rtol=0.25)
    # a mean shower has no dark voxels, and less variance
    mean = model[-1].sample(real[:, 0], noise=False, random_state=0)
    assert (mean[:, 1:] > 0.0).all()
    assert mean[:, 1:].var() < model[-1].sample(real[:, 0], random_state=0)[:, 1:].var()


@priors
def test_seeds(fitted, scaled, prior):
    model, energy = fitted[prior], scaled[:20, 0]
    before = global_states()
    first = model.sample(energy, random_state=3)
    np.testing.assert_array_equal(first, model.sample(energy, random_state=3))
    assert (first != model.sample(energy, random_state=4)).any()
    again = model.reconstruct(scaled[:20], random_state=3)
    np.testing.assert_array_equal(again, model.reconstruct(scaled[:20], random_state=3))
    assert global_states() == before
    assert (model.sample(energy) != model.sample(energy)).any()


@priors
def test_scores_are_means_of_rows_and_lower_for_strange_ones(fitted, scaled, prior):
    model, scaled = fitted[prior], scaled[:160]
    scores = model.score_samples(scaled)
    assert model.score(scaled) == pytest.approx(scores.astype(np.float64).mean(), rel=1e-6)
    strange = scaled[:50].copy()
    strange[:, 1:] = strange[:, :0:-1]  # back to front
    assert model.score(strange) < model.score(scaled[:50]) - 10.0


def test_the_bound_is_the_elbo_of_hits_and_lit_voxels(fitted, scaled):
    """By hand, from what the module says of voxels."""
    model = fitted["gaussian"]
    module, x = model.module_, torch.from_numpy(scaled[:5].copy())
    x[:, 1:] /= model.scale_
    noise = module.latents.fixed_draws(16, 4)
    expected, layers = np.zeros(5), module.layers_of(x)
    hits = energies_and_hits(scaled[:5])[1]
    free = np.repeat(np.maximum(hits - 1, 0) / np.maximum(hits, 1), 8, axis=1)  # one is known
    with torch.no_grad():
        of_layers = module.layers.log_prob(layers, x[:, 0]).numpy()
        for draw in noise:
            parameters, z = module.posterior(x, draw.expand(5, 4))
            logit, activation, log_std = (
                part.double().numpy() for part in module.decode_voxels(z, x[:, 0], layers)
            )
            mean, log_width = parameters.double().numpy().transpose(2, 0, 1)
            voxels = scaled[:5, 1:] / model.scale_
            lit = voxels > 0.0
            density = -0.5 * ((voxels - activation) / np.exp(log_std)) ** 2
            density -= log_std + np.log(model.scale_)
            density -= 0.5 * np.log(2 * np.pi)
            density *= free
            expected += np.where(lit, log_expit(logit) + density, log_expit(-logit)).sum(axis=1)
            expected -= 0.5 * (mean**2 + np.exp(2 * log_width) - 2 * log_width - 1).sum(axis=1)
    found = model.score_samples(scaled[:5])
    np.testing.assert_allclose(found, of_layers + expected / 16, rtol=1e-5, atol=2e-5)


def test_the_bound_of_bits_takes_off_the_partition_function(fitted, scaled):
    """By enumeration of nine bits: with more draws the ELBO stays below the likelihood."""
    model = fitted["rbm"]
    module, x = model.module_, torch.from_numpy(scaled[:6].copy())
    x[:, 1:] /= model.scale_
    machine, code = module.latents.machine, module.latents.code(x[:, 0])
    bits = torch.tensor(np.array(np.meshgrid(*[[0.0, 1.0]] * 9)).reshape(9, -1).T).float()
    states = torch.cat([code[:, None].expand(-1, 512, -1), bits.expand(6, -1, -1)], dim=2)
    with torch.no_grad():
        energy = machine.energy(states.flatten(0, 1)).view(6, 512)
        log_z = torch.logsumexp(-energy, dim=1)
        value, error = model.log_partition(scaled[:6, 0])
        assert np.abs(error).max() < 0.1
        np.testing.assert_allclose(value, log_z, atol=5 * np.abs(error).max() + 1e-4)
        layers = module.layers_of(x)

        def log_prob(row):
            voxels = module.decode_voxels(row.expand(6, -1), x[:, 0], layers)
            return -misfit(voxels, x[:, 1:], np.log(model.scale_), freedom(layers, module.shapes))

        given_layers = torch.stack([log_prob(row) for row in bits], dim=1)
        likelihood = torch.logsumexp(given_layers - energy, dim=1) - log_z
        likelihood += module.layers.log_prob(layers, x[:, 0])
    bound = model.score_samples(scaled[:6], n_draws=200)
    assert (bound <= likelihood.numpy() + 0.3).all()
    assert (bound >= likelihood.numpy() - 8.0).all()


@pytest.mark.parametrize("kind", ["log1p", "logit"])
def test_pipelines_come_back_in_mev(showers, kind):
    model = make_pipeline(
        LogRatioTransformer(kind, reference=0, threshold=0.1),
        CaloShowerVAE(n_components=2, **SMALL, max_epochs=3),
    ).fit(showers)
    drawn = skae.sample(model, showers[:300, 0], random_state=0)
    decoded = model.inverse_transform(model.transform(showers[:300]))
    for result in (drawn, decoded):
        np.testing.assert_allclose(result[:, 0], showers[:300, 0], rtol=1e-6)
        lit = result[:, 1:][result[:, 1:] > 0.0]
        assert lit.min() >= 0.1 * (1 - 1e-6)
        if kind == "log1p":  # the logit bounds shares of the energy
            assert lit.max() <= showers[:, 1:].max() * (1 + 1e-5)
    assert (drawn[:, 1:] == 0.0).mean() == pytest.approx((showers[:300, 1:] == 0.0).mean(), abs=0.1)


def test_unbounded_voxels_may_exceed_those_in_training(scaled):
    bounded = CaloShowerVAE(n_components=2, **SMALL, max_epochs=2).fit(scaled)
    most = scaled[:, 1:].max()
    assert bounded.sample(scaled[:, 0], random_state=0)[:, 1:].max() <= most * (1 + 1e-6)
    free = CaloShowerVAE(n_components=2, bounded=False, **SMALL, max_epochs=2).fit(scaled)
    with torch.no_grad():
        head, most = free.module_.voxels, most / free.scale_
        assert head.activation(torch.tensor(1e3)) > 2.0 * most
        written = head.written(torch.tensor([0.5, 3.0, 9.0]))
        np.testing.assert_allclose(head.activation(written), [0.5, 3.0, 9.0], rtol=1e-5)
        head = bounded.module_.voxels
        np.testing.assert_allclose(head.activation(head.written(most / 2)), most / 2, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"a": 0.7, "b": 0.2}, {"energy_weight": True}, {"attention": False}, {"geometry": None}],
)
def test_variants_learn(scaled, options):
    model = CaloShowerVAE(**{**SMALL, "n_components": 2, "max_epochs": 6, "lr": 5e-3, **options})
    model.fit(scaled)
    assert model.loss_curve_[-1] < model.loss_curve_[0] - 5.0
    assert np.isfinite(model.score(scaled))


def test_histories_have_distances_where_showers_are_held_out(scaled):
    for prior in PRIORS:
        options = {**PRIORS[prior], **SMALL, "early_stopping": True, "validation_fraction": 0.5}
        model = CaloShowerVAE(**options, max_epochs=12, lr=5e-3).fit(scaled)
        history = model.history_
        for distance in ("fpd", "kpd"):
            reconstructed = history[:, f"reconstruction_{distance}"]
            drawn = history[:, f"sample_{distance}"]
            assert len(reconstructed) == len(drawn) == len(model.loss_curve_)
            assert reconstructed[-1] < reconstructed[0]
            assert min(drawn) < 0.8 * drawn[0]
    plain = CaloShowerVAE(n_components=2, **SMALL, max_epochs=1).fit(scaled)
    assert not {"sample_fpd", "sample_kpd"} & set(plain.history_[-1])


@pytest.mark.parametrize("weighted", [False, True])
def test_kernel_distances_are_of_all_showers_held_out(scaled, weighted, rng, monkeypatch):
    seen = []

    def spied(features, weight):
        seen.append((features, weight))
        return moments(features, weight)

    monkeypatch.setattr(_shower_callbacks, "moments", spied)
    weight = rng.exponential(size=len(scaled)) if weighted else None
    options = {**SMALL, "n_components": 2, "early_stopping": True, "max_epochs": 1}
    model = CaloShowerVAE(**options).fit(scaled, sample_weight=weight)
    (real, weight), *drawn = seen
    assert np.abs(real).max(axis=0) == pytest.approx(1.0, abs=1e-9)  # or no shower has any
    assert (np.ptp(weight) > 0.0) == weighted
    pairs = np.outer(weight, weight)
    different = pairs * (1.0 - np.eye(len(weight)))

    def mean(x, y, of):
        return ((x @ y.T / x.shape[1] + 1.0) ** 4 * of).sum() / of.sum()

    assert len(drawn) == 2
    for name, (features, its) in zip(("reconstruction", "sample"), drawn, strict=True):
        np.testing.assert_array_equal(its, weight)
        within = mean(real, real, different) + mean(features, features, different)
        expected = within - 2.0 * mean(real, features, pairs)
        assert model.history_[-1][f"{name}_kpd"] == pytest.approx(expected, rel=1e-6)


def weights_of_epochs():
    """Weights as they are at the end of each epoch, and the callback that keeps them."""
    kept = []
    return kept, each(
        "on_epoch_end", lambda net: kept.append(copy.deepcopy(net.module_.state_dict()))
    )


@pytest.mark.parametrize("held_out", [True, False])
def test_the_second_stage_trains_the_prior_alone(scaled, held_out):
    kept, keep = weights_of_epochs()
    options = {**PRIORS["rbm"], **SMALL, "early_stopping": held_out, "callbacks": [keep]}
    model = CaloShowerVAE(**options, max_epochs=6, prior_epochs=3, lr=5e-3).fit(scaled)
    ours = [name for name, _ in model.module_.named_parameters() if not name.startswith("latents.")]
    first = [weights[ours[0]] for weights in kept[:3]]
    assert not torch.equal(first[0], first[1])
    best = 2
    if held_out:
        best = int(np.argmin(model.history_[:3, "reconstruction_fpd"]))
    for weights in kept[3:]:
        for name in ours:  # what draws the layers has nothing to do with reconstructed showers
            first = kept[2 if name.startswith("layers.") else best]
            assert torch.equal(weights[name], first[name])
    machine = "latents.machine.weight"
    assert not torch.equal(kept[3][machine], kept[5][machine])
    assert all(p.requires_grad for p in model.module_.parameters())
    if held_out:
        best = 3 + int(np.argmin(model.history_[3:, "sample_fpd"]))
        assert torch.equal(model.module_.state_dict()[machine], kept[best][machine])


def test_the_machine_alone_learns_faster(scaled):
    rates = []
    keep = each("on_batch_begin", lambda net: rates.append(net.optimizer_.param_groups[0]["lr"]))
    options = {**PRIORS["rbm"], **SMALL, "callbacks": [keep]}
    CaloShowerVAE(**options, max_epochs=4, prior_epochs=2, lr=2e-3).fit(scaled)
    first, second = np.split(np.array(rates), 2)
    assert first.max() == pytest.approx(2e-3, rel=0.05)
    np.testing.assert_allclose(second, 10.0 * first)


def test_other_samplers_draw_what_gibbs_sampling_does(fitted, scaled):
    model = copy.deepcopy(fitted["rbm"])
    energy = np.full(3000, 5e4)
    gibbs = model.module_.latents
    direct = gibbs.sample(torch.from_numpy(energy).float(), 9, torch.Generator().manual_seed(0))
    model.set_params(
        sampler=SimulatedAnnealingSampler(),
        sampler_arguments={"beta_range": (0.1, 1.0), "num_sweeps": 200},
    )
    annealed = model._draw_bits(energy, 0)
    error = np.sqrt(0.25 * 2 / 3000)
    assert np.abs(direct.numpy().mean(axis=0) - annealed.mean(axis=0)).max() < 5 * error
    drawn = model.sample(scaled[:20, 0], random_state=0)
    np.testing.assert_array_equal(drawn, model.sample(scaled[:20, 0], random_state=0))
    assert drawn.shape == (20, 33)


def test_energies_beyond_those_in_training_give_a_warning(fitted):
    model = fitted["gaussian"]
    with pytest.warns(ExtrapolationWarning, match="2 of 3 incident energies are outside") as said:
        model.sample([1.0, 1e4, 1e8], random_state=0)
    with pytest.warns(ExtrapolationWarning) as decoded:
        model.inverse_transform(np.array([[1e8, *np.zeros(12)]]))
    assert said[0].filename == decoded[0].filename == CALLER
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.sample(list(model.energy_range_), random_state=0)


@priors
def test_a_zero_energy_is_accepted(scaled, prior):
    X = scaled[:60].copy()
    X[3] = 0.0
    model = CaloShowerVAE(**PRIORS[prior], **SMALL, max_epochs=2).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample([0.0], random_state=0)).all()


@priors
@pytest.mark.parametrize("n_components", [1, 2])
def test_few_components(scaled, prior, n_components):
    options = {**PRIORS[prior], "n_components": n_components}
    model = CaloShowerVAE(**options, **SMALL, max_epochs=2).fit(scaled[:50])
    assert model.transform(scaled).shape == (600, 1 + 8 + n_components)
    assert model.sample([1e4, 1e5]).shape == (2, 33)


def test_dark_showers_and_single_rows():
    X = np.zeros((4, 33))
    X[:, 0] = 1e4
    model = CaloShowerVAE(n_components=2, **SMALL, max_epochs=1).fit(X)
    assert np.isfinite(model.sample([1e4], random_state=0)).all()
    CaloShowerVAE(n_components=2, **SMALL, max_epochs=1).fit(X[:1])


# five steps an epoch; the second stage begins behind the twentieth
@pytest.mark.parametrize(
    "step", [13, 20, *(pytest.param(step, marks=pytest.mark.slow) for step in (22, 27))]
)
def test_an_interrupted_fit_of_bits_goes_on_bit_for_bit(scaled, step, tmp_path, save_always):
    options = {**PRIORS["rbm"], **SMALL, "max_epochs": 6, "prior_epochs": 2, "early_stopping": True}
    whole = CaloShowerVAE(**options, callbacks=[Steps()]).fit(scaled)
    interrupted(CaloShowerVAE(**options, checkpoint=tmp_path), scaled, step)
    rest = Steps()
    # a geometry that something was asked of is the same as a new one
    fresh = CaloGeometry(GEOMETRY.radial_edges, GEOMETRY.n_angles, 0.1, GEOMETRY.layer_edges)
    resumed = CaloShowerVAE(**options, checkpoint=tmp_path, callbacks=[rest])
    resumed.set_params(geometry=fresh).fit(scaled)
    assert rest.count == 30 - (step - 1)  # the step that crashed was not saved yet
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_fits_of_other_lengths_have_checkpoints_of_their_own(scaled, tmp_path):
    """The warm-up, the bits' sharpness and the second stage depend on the number of epochs."""
    options = {**PRIORS["rbm"], **SMALL, "lr_schedule": "constant"}
    CaloShowerVAE(**options, max_epochs=4, checkpoint=tmp_path).fit(scaled)
    longer = CaloShowerVAE(**options, max_epochs=8, checkpoint=tmp_path).fit(scaled)
    plain = CaloShowerVAE(**options, max_epochs=8).fit(scaled)
    assert torch.equal(weights_of(longer), weights_of(plain))


def test_samplers_and_steps_of_sampling_are_no_part_of_a_checkpoint(scaled, tmp_path):
    options = {**PRIORS["rbm"], **SMALL, "max_epochs": 2, "checkpoint": tmp_path}
    CaloShowerVAE(**options).fit(scaled)
    options.update(gibbs_steps=3, sampler=SimulatedAnnealingSampler())
    CaloShowerVAE(**options).fit(scaled)
    assert len(list(tmp_path.iterdir())) == 1


def test_showers_of_weight_zero_are_not_there(scaled):
    """Scales, ranges, chains, distances and noise are those of the showers that count."""
    strange = scaled[:200].copy()
    strange[:, 1:] *= 3.0
    strange[:, 0] *= 100.0
    X = np.concatenate([scaled, strange])
    weight = np.r_[np.full(600, 0.5), np.zeros(200)]
    for prior in PRIORS:
        options = {**PRIORS[prior], **SMALL, "max_epochs": 2, "early_stopping": True}
        model = CaloShowerVAE(**options).fit(X, sample_weight=weight)
        assert model.energy_range_[1] <= scaled[:, 0].max()
        assert model.module_.voxels.most.item() <= scaled[:, 1:].max()
        assert model.sample(scaled[:, 0], random_state=0)[:, 1:].max() <= scaled[:, 1:].max()
        assert np.isfinite(model.history_[-1]["sample_fpd"])
        assert np.isfinite(model.history_[-1]["sample_kpd"])


def test_weights_stand_for_rows_where_scales_are_taken(scaled):
    rows, weight = torch.from_numpy(scaled), torch.ones(600)
    weight[:100] = 3.0
    weighted = lit_moments(rows, weight)
    repeated = lit_moments(torch.cat([rows, rows[:100], rows[:100]]))
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    energy = rows[:, 0]
    repeated = EnergyScale(torch.cat([energy, energy[:100], energy[:100]]))
    torch.testing.assert_close(EnergyScale(energy, weight)(energy), repeated(energy))


@pytest.mark.parametrize("noise", [NoiseInjector("gaussian", sigma=0.1), lambda x, g: x - 1.0])
def test_noise_is_on_voxels_alone(scaled, noise):
    seen = []

    def watch(net):
        net.module_.register_forward_pre_hook(lambda _, x: seen.append(x[0]))

    options = {**SMALL, "batch_size": 600, "callbacks": [each("on_train_begin", watch)]}
    model = CaloShowerVAE(n_components=2, noise=noise, max_epochs=1, **options).fit(scaled)
    noisy = seen[0].numpy()
    noisy, clean = (rows[np.argsort(rows[:, 0], kind="stable")] for rows in (noisy, scaled))
    np.testing.assert_array_equal(noisy[:, 0], clean[:, 0])
    assert (noisy[:, 1:] != clean[:, 1:]).any()
    assert noisy.min() >= 0.0
    assert (noisy[clean == 0.0] == 0.0).all()
    assert np.isfinite(model.score(scaled))


def test_chunks_widen_the_range_of_energies_and_may_be_too_bright(scaled):
    order = np.argsort(scaled[:, 0])
    low, high = scaled[order[:300]], scaled[order[300:]]
    model = CaloShowerVAE(**PRIORS["rbm"], **SMALL).partial_fit(low)
    assert model.module_.latents.sharpness.item() == 5.0  # the last one: none are known to follow
    with pytest.warns(ClippingWarning, match="above the largest one of the first fit") as said:
        model.partial_fit(high)
    assert said[0].filename == CALLER
    np.testing.assert_allclose(model.energy_range_, [scaled[:, 0].min(), scaled[:, 0].max()])


def test_incident_energies_are_read_from_files(scaled, tmp_path):
    rows = ArrayRows(mapped(scaled, tmp_path), np.array([[0, 600]]), "X")
    np.testing.assert_allclose(incident_energies(rows), scaled[:, 0])


def test_chains_are_drawn_in_single_precision_beside_bfloat16(scaled):
    options = {**PRIORS["rbm"], **SMALL, "precision": "bf16-mixed"}
    model = CaloShowerVAE(**options, max_epochs=2).fit(scaled)
    latents = model.module_.latents.train()
    dtypes = []
    sigmoid = torch.sigmoid

    def watched(x):
        dtypes.append(x.dtype)
        return sigmoid(x)

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(torch, "sigmoid", watched)
        with torch.no_grad():
            model.module_.train()(torch.from_numpy(scaled[:70]))
        assert latents.training
    n_gibbs = 3 * 5  # partitions that are free, and steps
    assert dtypes[:n_gibbs] == [torch.float32] * n_gibbs


def test_steps_of_sampling_may_change_after_a_fit(fitted, scaled):
    model = copy.deepcopy(fitted["rbm"])
    first = model.sample(scaled[:50, 0], random_state=0)
    model.set_params(gibbs_steps=11)
    assert (first != model.sample(scaled[:50, 0], random_state=0)).any()
    model.set_params(warm_start=True).fit(scaled[:200])


def test_early_stopping_passes_over_the_warm_up(scaled):
    options = {**SMALL, "n_components": 2, "max_epochs": 6, "early_stopping": True}
    kept, keep = weights_of_epochs()
    model = CaloShowerVAE(**options, beta_warm_up=0.7, callbacks=[keep]).fit(scaled)
    settled = 4  # epochs until the share of 0.7 is behind
    best = settled + int(np.argmin(model.history_[settled:, "sample_fpd"]))
    weight = "decoder.body.0.weight"
    assert torch.equal(model.module_.state_dict()[weight], kept[best][weight])


def test_one_shower_held_out_is_too_few(scaled):
    with pytest.raises(ValueError, match="holds out 1 of n_samples=12 showers"):
        CaloShowerVAE(n_components=2, **SMALL, early_stopping=True).fit(scaled[:12])


def test_energies_in_gev_have_no_published_weight(scaled):
    X = scaled.copy()
    X[:, 0] = 1.0 + X[:, 0] * 1e-4
    with pytest.raises(ValueError, match="no incident energy is above 403"):
        CaloShowerVAE(n_components=2, **SMALL, energy_weight=True).fit(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_shape": (6, 4)}, "three integers"),
        ({"voxel_shape": (6, 4, 4), "geometry": None}, r"96 voxels, but X has 32"),
        ({"geometry": "dataset_2"}, "geometry has 6480 voxels, but X has 32"),
        ({"voxel_shape": (2, 4, 4)}, r"not that of geometry, \(4, 4, 2\)"),
        ({"sharpness": (5, 1)}, "two positive numbers"),
        ({"prior": "rbm", "prior_epochs": 20, "max_epochs": 20}, "leaves none of max_epochs=20"),
        ({"prior": "rbm", "rbm_topology": "chimera"}, "rbm_topology"),
        ({"sampler": object()}, "is no sampler of dimod"),
        ({"sampler": SimulatedAnnealingSampler}, "is no sampler of dimod"),
        ({"n_components": 0}, "n_components"),
    ],
)
def test_bad_parameters_are_named(scaled, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        CaloShowerVAE(**{**SMALL, **options}).fit(scaled)


def test_a_sampler_belongs_to_bits(fitted, scaled):
    model = copy.deepcopy(fitted["gaussian"]).set_params(sampler=SimulatedAnnealingSampler())
    with pytest.raises(ValueError, match="belongs to a fit with prior='rbm'"):
        model.sample([1e4])
    with pytest.raises(ValueError, match="belongs to prior='rbm'"):
        CaloShowerVAE(**SMALL, sampler=SimulatedAnnealingSampler()).fit(scaled)


def test_bad_showers_are_refused_and_an_earlier_fit_is_kept(fitted, scaled):
    model = copy.deepcopy(fitted["gaussian"])
    negative, missing, unlit = scaled.copy(), scaled.copy(), scaled.copy()
    negative[3, 4], missing[3, 4], unlit[:, 0] = -1.0, np.nan, 0.0
    for X, message in (
        (negative, "Negative values in data passed to CaloShowerVAE, the lowest is -1"),
        (missing, "contains NaN"),
        (unlit, "Column 0 is the incident energy, and zero in all rows"),
        (scaled[:, :1], r"Found array with 1 feature\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X)
        assert model.n_features_in_ == 33
    for X, message in (
        (negative, "Negative values"),
        (missing, "NaN"),
        (scaled[:, :5], "5 features"),
    ):
        for method in (model.transform, model.score_samples, model.reconstruct):
            with pytest.raises(ValueError, match=message):
                method(X)
    with pytest.raises(
        ValueError, match="X has 3 columns, but CaloShowerVAE was fitted with n_comp"
    ):
        model.inverse_transform(np.ones((2, 3)))
    for energy, message in (
        (-1.0, "1 incident energies are negative"),
        (np.nan, "NaN"),
        (np.ones((2, 2)), "one for each shower"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(energy)
    with pytest.raises(ValueError, match="n_draws=0"):
        model.score_samples(scaled, n_draws=0)


def energies_and_hits(X):
    """Return energies (MeV) and hits of the four layers of showers in MeV."""
    voxels = X[:, 1:].reshape(len(X), 4, 8)
    return voxels.sum(axis=2, dtype=np.float64), (voxels > 0.0).sum(axis=2)


@pytest.mark.parametrize("kind", ["log1p", "logit", None])
def test_drawn_layers_hold_what_was_drawn_or_asked_for(showers, kind):
    """To single precision, on every scale: a lit layer is hit, a dark one is not."""
    model = CaloShowerVAE(n_components=2, bounded=False, **{**SMALL, "max_epochs": 2})
    if kind is not None:
        model = make_pipeline(LogRatioTransformer(kind, reference=0), model)
    model.fit(showers)
    last = model if kind is None else model[-1]
    assert last.voxel_scale_ == (kind or "energy")
    asked, hits = energies_and_hits(showers)
    again = skae.sample(model, showers[:, 0], layer_energies=asked, random_state=0)
    found, drawn_hits = energies_and_hits(again)
    np.testing.assert_allclose(found, asked, rtol=2e-5)
    np.testing.assert_array_equal(drawn_hits > 0, hits > 0)
    assert (drawn_hits != hits).any()
    # one incident energy for all, and other hits from another seed
    shares = asked[:3] / showers[:3, :1] * 1e5
    same = skae.sample(model, 1e5, layer_energies=shares, random_state=1)
    np.testing.assert_allclose(energies_and_hits(same)[0], shares, rtol=2e-5)
    seen = showers if kind is None else model[0].transform(showers)
    latent = last.transform(seen)
    np.testing.assert_allclose(latent[:, 1:5], asked, rtol=2e-5)
    np.testing.assert_array_equal(latent[:, 5:9], hits)
    rebuilt = last.reconstruct(seen, random_state=0)
    np.testing.assert_array_equal((rebuilt[:, 1:].reshape(-1, 4, 8) > 0.0).sum(2), hits)


def test_hits_hold_and_fluctuate_by_as_much_as_is_said_of_them(fitted):
    """In layers with 1, 2, 6 hits and with all 8, voxels that are alike but for their chances.

    How near a hit was to none says nothing of its energy, and what is said of fluctuations holds once
    layers are scaled.
    """
    module = copy.deepcopy(fitted["gaussian"].module_)
    module.field.load_state_dict(
        {k: torch.zeros_like(v) for k, v in module.field.state_dict().items()}
    )
    module.noise_shape = NoiseShape()  # a standard normal one
    n, hits = 4000, torch.tensor([1.0, 2.0, 6.0, 8.0])
    logit = torch.linspace(4.0, -4.0, 8).repeat(4).expand(n, -1)
    alike = torch.full_like(logit, 3.0 * float(module.voxels.std))
    voxels = Voxels(logit, alike, torch.full_like(logit, 0.2 * float(module.voxels.std)).log())
    energy, layers = torch.full((n,), 1e4), Layers(1e3 * hits.expand(n, -1), hits.expand(n, -1))
    x = module.observe(voxels, energy, layers, torch.Generator().manual_seed(0))
    held = module.voxel_energy.of(x, energy).double().numpy().reshape(n, 4, 8)
    for layer, wanted in enumerate(hits.int().tolist()):
        of_layer = held[:, layer]
        assert ((of_layer > 0.0).sum(axis=1) == wanted).all()
        for voxel in of_layer.T:
            lit = voxel[voxel > 0.0]
            if len(lit) > 50:
                assert lit.mean() == pytest.approx(1e3, abs=5.0 * lit.std() / len(lit) ** 0.5 + 1.0)
            if wanted > 1 and len(lit) > 1000:
                spread = np.log1p(lit).std() / module.voxel_energy.unit
                assert spread == pytest.approx(float(voxels.log_std[0, 0].exp()), rel=0.06)


def test_layers_of_another_unit_give_a_warning(fitted, showers):
    asked, _ = energies_and_hits(showers[:3])
    model, energy = fitted["gaussian"], showers[:3, 0]
    with pytest.warns(ExtrapolationWarning, match="of 3 of 3 showers add up to") as said:
        model.sample(energy, layer_energies=asked / 1e3, random_state=0)
    assert said[0].filename == CALLER
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.sample(energy, layer_energies=asked, random_state=0)


def test_another_fit_finds_anew_what_neighbours_share(scaled, monkeypatch):
    """Whatever there was before; a chunk alone begins with it."""
    seen = []
    find = ShowerAutoencoder.learn_field

    def watched(module, *parts, afresh):
        seen.append(afresh)
        find(module, *parts, afresh=afresh)

    monkeypatch.setattr(ShowerAutoencoder, "learn_field", watched)
    model = CaloShowerVAE(n_components=2, **SMALL, max_epochs=2, warm_start=True).fit(scaled)
    model.fit(scaled).partial_fit(scaled)
    assert seen == [True, True, False]


@pytest.mark.parametrize("name", ["dataset_1_photons", "dataset_1_pions"])
def test_layers_may_be_divided_in_their_own_ways(name):
    geometry = CaloGeometry.named(name)
    X = make_showers(300, geometry=geometry, energy=(1e3, 1e5), random_state=0)
    model = make_pipeline(
        LogRatioTransformer("log1p", reference=0, threshold=geometry.threshold),
        CaloShowerVAE(2, **{**SMALL, "geometry": name, "max_epochs": 4}),
    ).fit(X)
    layers = np.stack([X[:, 1:][:, where].sum(axis=1) for where in geometry.layers], axis=1)
    drawn = skae.sample(model, X[:, 0], layer_energies=layers, random_state=0)
    found = np.stack([drawn[:, 1:][:, where].sum(axis=1) for where in geometry.layers], axis=1)
    dim = drawn[:, 1:].max(axis=1) < X[:, 1:].max() * 0.99  # not at the bound
    np.testing.assert_allclose(found[dim], layers[dim], rtol=1e-3, atol=1e-3)
    names = [f"{what}_layer_{k}" for what in ("E", "hits") for k in geometry.layer_names]
    assert list(model[-1].get_feature_names_out())[1:-2] == names


@pytest.mark.parametrize("kind", ["log1p", "logit", None])
@pytest.mark.parametrize("calibration", [0.3, 1.0, 2.5])
def test_the_scale_of_voxels_is_that_on_which_they_add_up(showers, kind, calibration):
    X = showers.copy()
    X[:, 0] /= calibration
    X = X[(X[:, 1:].max(axis=1) < X[:, 0])]  # a logit ends at the whole
    if kind is not None:
        X = LogRatioTransformer(kind, reference=0).fit_transform(X)
    assert scale_of_voxels(X) == (kind or "energy")


def test_what_neighbours_share_is_refined_by_chunks(scaled):
    """The first chunk finds it, the others move it a little."""
    model = CaloShowerVAE(n_components=2, **SMALL).partial_fit(scaled[:400])
    first = model.module_.field.fields[0].covariance.clone()
    assert (first[0, 1].diagonal() != 0.0).all()
    model.partial_fit(scaled[:400])
    second = model.module_.field.fields[0].covariance
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 0.5


@pytest.mark.parametrize(
    ("energies", "message"),
    [
        (np.ones((3, 5)), r"shape \(3, 5\); give one row for each of 3 incident energies"),
        (np.ones((2, 4)), r"shape \(2, 4\)"),
        (-np.ones((3, 4)), "12 of layer_energies are negative, the lowest is -1"),
        (np.full((3, 4), np.nan), "layer_energies contains NaN"),
    ],
)
def test_layer_energies_that_cannot_be_are_refused(fitted, energies, message):
    with pytest.raises(ValueError, match=message):
        fitted["gaussian"].sample([1e4, 2e4, 3e4], layer_energies=energies)


def test_epochs_follow_the_number_of_showers(scaled):
    """As many as 6000 steps take; what is spread over them follows."""
    seen = []
    watch = each("on_epoch_begin", lambda net: seen.append(float(net.module_.beta)))
    options = {**SMALL, "n_components": 2, "batch_size": 1, "callbacks": [watch]}
    model = CaloShowerVAE(**options, beta_warm_up=0.5)
    assert model.max_epochs is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skae.estimators.calo_shower_vae._STEPS", 96)
        model.fit(scaled[:8])
        assert model.n_iter_ == len(model.loss_curve_) == 12
        assert seen[:7] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0, 1.0])
        # a longer sample takes fewer, but ten at least, and a short one no more than forty
        model = clone(model).set_params(callbacks=None)
        assert model.fit(scaled[:24]).n_iter_ == 10
        assert model.fit(scaled[:2]).n_iter_ == 40
