"""The same on a CUDA device. Skipped where there is none."""

import pickle
from functools import partial

import fits
import numpy as np
import pytest
import torch
import torch._dynamo.utils as dynamo
from fits import CrashError, at_epoch
from scripts import printed_by
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skae import (
    BoxCoxTransformer,
    CaloShowerVAE,
    KinematicsTransformer,
    LogRatioTransformer,
    MultiResRNNRegressor,
    NoiseInjector,
    PulseLocator,
    SpectraVAE,
)
from skae.datasets import (
    CaloGeometry,
    make_jets,
    make_photon_correlations,
    make_pulses,
    make_showers,
    make_spectra,
)
from skae.training import batches, hardware

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


small = partial(fits.small, max_epochs=10)


def test_auto_takes_the_gpu_and_agrees_with_the_cpu(standard_jets):
    gpu, cpu = small().fit(standard_jets), small(device="cpu").fit(standard_jets)
    assert gpu.device_.type == "cuda"
    np.testing.assert_allclose(gpu.loss_curve_, cpu.loss_curve_, rtol=1e-3)
    np.testing.assert_allclose(
        gpu.transform(standard_jets), cpu.transform(standard_jets), atol=1e-2
    )


@pytest.mark.parametrize("sub_bin", [False, True])
def test_pulses_are_augmented_and_found_on_the_device(sub_bin):
    X, y = make_pulses(500, n_times=40, random_state=0)
    before = torch.cuda.get_rng_state()
    locator = PulseLocator(
        trace_channels=4, n_channels=8, max_epochs=5, sub_bin=sub_bin, random_state=0
    ).fit(X, y)
    assert locator.device_.type == "cuda"
    assert locator.permute_traces_
    assert torch.equal(torch.cuda.get_rng_state(), before)
    here = locator.predict_distribution(X)
    below = locator.predict_cdf(X, y)
    locator.net_.to(torch.device("cpu"))
    np.testing.assert_allclose(locator.predict_distribution(X), here, atol=1e-2)
    np.testing.assert_allclose(locator.predict_cdf(X, y), below, atol=1e-2)


@pytest.mark.parametrize("prior", ["gaussian", "rbm"])
def test_showers_are_learnt_and_drawn_on_the_device(prior):
    geometry = CaloGeometry([(0, 5, 20)] * 6, [8] * 6, 0.1, np.arange(7) * 20.0)
    X = make_showers(500, geometry=geometry, random_state=0)
    X[:, 1:] = np.log1p(X[:, 1:])
    before = torch.cuda.get_rng_state()
    model = CaloShowerVAE(
        6, geometry=geometry, prior=prior, hidden_size=16, max_epochs=6, early_stopping=True,
        random_state=0,
    ).fit(X)  # fmt: skip
    assert model.device_.type == "cuda"
    assert torch.equal(torch.cuda.get_rng_state(), before)
    drawn = model.sample(X[:, 0], random_state=0)
    np.testing.assert_array_equal(drawn, model.sample(X[:, 0], random_state=0))
    np.testing.assert_array_equal(drawn[:, 0], X[:, 0])
    here = model.score_samples(X)
    model.net_.to(torch.device("cpu"))
    if prior == "gaussian":  # random numbers of annealing differ
        np.testing.assert_allclose(model.score_samples(X), here, rtol=1e-2)


@pytest.mark.parametrize(
    "transformer",
    [
        KinematicsTransformer(scale=True), StandardScaler(), PCA(3), BoxCoxTransformer(),
        LogRatioTransformer("log1p"),
    ],
    ids=str,
)  # fmt: skip
def test_a_transformer_follows_the_network_to_the_device(transformer):
    X = make_jets(300, random_state=0)
    if isinstance(transformer, LogRatioTransformer):
        X = np.abs(X)
    model = small(transformer=transformer, metric="standardised").fit(X)
    assert model.device_.type == "cuda"
    here = model.transform(X), model.inverse_transform(model.transform(X))
    model.net_.to(torch.device("cpu"))
    np.testing.assert_allclose(model.transform(X), here[0], rtol=1e-3, atol=1e-3)
    back = model.inverse_transform(here[0])
    assert (np.abs(back - here[1]) < 1e-3 * X.std(axis=0)).all()


@pytest.mark.parametrize("options", [{}, {"cell": "lstm"}, {"loss": "poisson"}], ids=str)
def test_sequences_are_learnt_on_the_device(options):
    g2 = make_photon_correlations(200, n_times=256, random_state=0)
    before = torch.cuda.get_rng_state()
    noise = NoiseInjector(counts=(1, 1000))
    model = MultiResRNNRegressor(**options, noise=noise, max_epochs=3, random_state=0)
    model.fit(g2.clean, g2.clean)
    assert model.device_.type == "cuda"
    assert torch.equal(torch.cuda.get_rng_state(), before)
    here = model.predict_resolutions(g2.noisy)
    model.net_.to(torch.device("cpu"))
    for level, other in zip(here, model.predict_resolutions(g2.noisy), strict=True):
        np.testing.assert_allclose(level, other, atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": "poisson", "hidden_layer_sizes": (8,), "prior": "mixture"},
        {"noise_sigma": 18.0, "missing": "mask"},
        {"decoder": "lstm", "hidden_size": 8},
        {"decoder": "multires", "hidden_size": 8},
        {"likelihood": "poisson", "compile": True},
    ],
    ids=str,
)
def test_spectra_are_encoded_and_drawn_on_the_device(options):
    X, _ = make_spectra(300, n_bins=40, random_state=0)
    if "missing" in options:
        X[:, 5:10] = np.where(np.arange(300)[:, None] % 2, np.nan, X[:, 5:10])
    before = torch.cuda.get_rng_state()
    vae = SpectraVAE(**options, max_epochs=3, random_state=0).fit(X)
    assert vae.device_.type == "cuda"
    assert torch.equal(torch.cuda.get_rng_state(), before)
    here = (*vae.posterior(X), vae.score_samples(X), vae.reconstruct(X))
    drawn = vae.sample(50, noise=False, random_state=0)
    vae.net_.to(torch.device("cpu"))
    there = (*vae.posterior(X), vae.score_samples(X), vae.reconstruct(X))
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(vae.sample(50, noise=False, random_state=0), drawn, rtol=1e-3)


def add_noise(batch, generator):
    return batch + 0.1 * torch.randn(batch.shape, generator=generator, device=batch.device)


@pytest.mark.parametrize(
    "noise",
    [
        add_noise,
        NoiseInjector("gaussian"),
        NoiseInjector(
            {"poisson": 0.5, "gaussian": 0.5}, counts=(1.0, 100.0), bin_widths=[1, 2, 1, 1]
        ),
    ],
    ids=["callable", "gaussian", "mixture"],
)
def test_dropout_and_noise_draw_on_the_device_and_leave_its_state_alone(standard_jets, noise):
    X = standard_jets - standard_jets.min(axis=0)
    before = torch.cuda.get_rng_state()
    first, second = (small(dropout=0.2, noise=noise).fit(X) for _ in range(2))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    np.testing.assert_allclose(first.loss_curve_, second.loss_curve_, rtol=1e-6)


def test_an_estimator_fitted_on_the_gpu_loads_where_there_is_none(standard_jets, tmp_path):
    model = small(dropout=0.2).fit(standard_jets)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", standard_jets)
    script = """
        import os, pickle, sys, numpy as np, torch
        os.chdir(sys.argv[1])
        assert not torch.cuda.is_available()
        model = pickle.load(open("model.pickle", "rb"))
        X = np.load("X.npy")
        np.save("Z.npy", model.transform(X))
        assert model.device_.type == "cpu"
        model.partial_fit(X)
    """
    printed_by(script, tmp_path, CUDA_VISIBLE_DEVICES="")
    np.testing.assert_allclose(
        np.load(tmp_path / "Z.npy"), model.transform(standard_jets), atol=1e-4
    )


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True}, {"precision": "bf16-mixed"}, {"dropout": 0.2}], ids=str
)
def test_a_compiled_fit_replays_graphs_and_is_the_same_fit(standard_jets, options):
    plain = small(**options).fit(standard_jets)
    torch.compiler.reset()
    dynamo.counters.clear()
    compiled = small(**options, compile=True).fit(standard_jets)
    assert dynamo.counters["frames"]["ok"] >= 1
    assert dynamo.counters["inductor"]["cudagraph_skips"] == 0
    rtol = 5e-2 if options.keys() & {"precision", "dropout"} else 1e-3
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=rtol)


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_killed_fit_goes_on_on_another_device(standard_jets, tmp_path, save_always, devices):
    first, second = devices
    expected = small(device="cpu").fit(standard_jets)
    end = at_epoch(3, moment="on_batch_end")
    with pytest.raises(CrashError):
        small(device=first, checkpoint=tmp_path, callbacks=[end]).fit(standard_jets)
    model = small(device=second, checkpoint=tmp_path).fit(standard_jets)
    assert model.device_.type == second
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-3)


def test_rows_that_are_too_many_for_the_gpu_stay_outside(standard_jets, monkeypatch):
    expected = small().fit(standard_jets)
    monkeypatch.setattr(batches, "BUFFER_NUMBERS", 400)
    inside = small().fit(standard_jets)
    monkeypatch.setattr(hardware, "SHARE_OF_DEVICE", 0.0)
    outside = small().fit(standard_jets)
    assert outside.score(standard_jets) == inside.score(standard_jets)
    assert outside.score(standard_jets) == pytest.approx(expected.score(standard_jets), rel=0.15)


def test_an_estimator_fitted_on_the_cpu_goes_on_on_the_gpu(standard_jets):
    model = small(device="cpu").fit(standard_jets).set_params(device="cuda")
    model.partial_fit(standard_jets)
    assert model.device_.type == "cuda"
