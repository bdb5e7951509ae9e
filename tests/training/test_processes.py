"""Fits that several processes share: as in one process, with the same errors, and one checkpoint."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import skae
from skae.modules.losses import SquaredError
from skae.modules.seeded import SeededDropout
from skae.training.processes import AcceleratedProcesses
from skae.training.seeding import attach_generator
from skae.training.step import PROCESSES, Step

# Every estimator with what is random in it: noise, dropout, latents, bits, symmetries.
MODELS = """
import pickle
import numpy as np, skae
from skae.datasets import make_jets, make_pulses, make_spectra, make_photon_correlations, make_showers
from skae.datasets import CaloGeometry

rng = np.random.default_rng(0)
noise = skae.NoiseInjector("gaussian", sigma=0.01, random_state=0)
common = {"random_state": 0, "max_epochs": 3, "batch_size": 33}

jets = make_jets(200, random_state=0)
pulses, positions = make_pulses(100, n_times=20, random_state=0)
spectra, _ = make_spectra(100, n_bins=30, random_state=0)
correlations = make_photon_correlations(60, random_state=0, n_times=64)
geometry = CaloGeometry([(0, 5, 20, 40)] * 3, [4] * 3, 0.1, np.arange(4) * 25.0)
showers = make_showers(100, geometry=geometry, random_state=0)
showers = skae.LogRatioTransformer("log1p", reference=0).fit_transform(showers)

def fits():
    yield "jets", skae.JetAutoencoder(
        2, hidden_layer_sizes=(16, 8), dropout=0.1, noise=noise, early_stopping=True, **common
    ), (jets, None, rng.normal(1.0, 0.5, len(jets)))
    yield "pulses", skae.PulseLocator(n_channels=6, trace_channels=4, **common), (pulses, positions)
    yield "times", skae.PulseLocator(n_channels=6, trace_channels=4, **common), (
        pulses, positions + 0.25,
    )
    yield "spectra", skae.SpectraVAE(
        2, hidden_layer_sizes=(8,), likelihood="poisson", early_stopping=True, **common
    ), (spectra,)
    # the last minibatch has two rows
    yield "normed", skae.JetAutoencoder(2, hidden_layer_sizes=(8,), batch_norm=True, **common), (jets,)
    yield "correlations", skae.MultiResRNNRegressor(
        downsampling=(4, 4), hidden_size=8, **common
    ), (correlations.noisy, correlations.clean)
    yield "showers", skae.CaloShowerVAE(
        3, voxel_shape=(3, 4, 3), hidden_size=8, **common
    ), (showers,)
    yield "bits", skae.CaloShowerVAE(6, prior="rbm", hidden_size=8, **common), (showers,)
"""

SCRIPT = """\
import sys
from accelerate import Accelerator
import skae, torch
from skae.datasets import make_jets
torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
rank = accelerator.process_index
"""


def in_processes(code, *arguments, size=2):
    """Run a program in several processes that know of one another; return what each printed."""
    program = f"{SCRIPT}{textwrap.dedent(code)}\naccelerator.end_training()"
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    common = {
        "WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        results = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, results, strict=True):
        assert process.returncode == 0, errors
    return [SimpleNamespace(out=out, err=err) for out, err in results]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Fit every estimator in two processes; return the curves and weights of each process."""
    folder = tmp_path_factory.mktemp("shared")
    in_processes(
        MODELS
        + textwrap.dedent("""
        for name, model, data in fits():
            with skae.distribute(accelerator):
                model.fit(*data)
            pickle.dumps(model)
            assert not any("share" in vars(layer) for layer in model.module_.modules())
            held_out = [row["valid_loss"] for row in model.history_ if "valid_loss" in row]
            np.savez(f"{sys.argv[1]}/{name}-{rank}.npz", curve=model.loss_curve_, held_out=held_out,
                     **{k: v.numpy() for k, v in model.module_.state_dict().items()})
        """),
        folder,
    )
    return lambda name, rank: np.load(folder / f"{name}-{rank}.npz")


@pytest.fixture(scope="module")
def alone():
    """Fit the same estimators here."""
    scope = {}
    exec(MODELS, scope)
    return {name: model.fit(*data) for name, model, data in scope["fits"]()}


def assert_same(first, second):
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize(
    "name", ["jets", "pulses", "times", "spectra", "correlations", "showers", "bits"]
)
def test_two_processes_fit_as_one_does(name, shared, alone):
    first, second = shared(name, 0), shared(name, 1)
    model = alone[name]
    # a bit that rounding turns over moves a chain of the machine to another state
    rtol = 1e-2 if name == "bits" else 1e-4
    np.testing.assert_allclose(first["curve"], model.loss_curve_, rtol=rtol)
    held_out = [row["valid_loss"] for row in model.history_ if "valid_loss" in row]
    assert (len(held_out) > 0) == (name in {"jets", "spectra"})
    np.testing.assert_allclose(first["held_out"], held_out, rtol=rtol)
    assert_same(first, second)


def test_batch_normalisation_is_the_same_in_both(shared, alone):
    """Its moments are the shares', so losses are not those of one process."""
    first, second = shared("normed", 0), shared("normed", 1)
    assert_same(first, second)
    np.testing.assert_allclose(first["curve"], alone["normed"].loss_curve_, rtol=0.3)


def test_one_checkpoint_is_written_and_gone_on_with(tmp_path):
    code = """
        import json
        X = make_jets(200, random_state=0)
        with skae.distribute(accelerator):
            for epochs in (2, 4):
                model = skae.JetAutoencoder(2, hidden_layer_sizes=(8,), max_epochs=epochs, verbose=1,
                    lr_schedule="constant", random_state=0, checkpoint=sys.argv[1]).fit(X)
        print(json.dumps([model.loss_curve_, model.history_[:, "dur"][:2]]))
    """
    first, second = in_processes(code, tmp_path)
    assert first.out == second.out  # durations of the first two epochs, too: they are not run again
    assert "JetAutoencoder" in first.err
    assert "JetAutoencoder" not in second.err
    assert len(list(tmp_path.iterdir())) == 1
    X = skae.datasets.make_jets(200, random_state=0)
    model = skae.JetAutoencoder(
        2, hidden_layer_sizes=(8,), max_epochs=4, lr_schedule="constant", random_state=0,
        checkpoint=tmp_path,
    ).fit(X)  # fmt: skip
    assert model.loss_curve_ == json.loads(first.out)[0]


def test_errors_reach_every_process(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code = """
        from skae.exceptions import CheckpointError
        own = skae.JetAutoencoder(2, max_epochs=1, warm_start=True).fit(make_jets(50, random_state=0))
        with skae.distribute(accelerator):
            X = make_jets(50, random_state=0)
            for model, rows, kind in (
                (skae.JetAutoencoder(2), make_jets(50, random_state=rank), ValueError),
                (skae.JetAutoencoder(2, lr=1e-3 * (1 + rank)), X, ValueError),
                (own, X, ValueError),
                (skae.JetAutoencoder(2, checkpoint=sys.argv[1]), X, CheckpointError),
            ):
                try:
                    model.fit(rows)
                except kind as error:
                    print(error)
    """
    for process in in_processes(code, tmp_path / "file"):
        rows, rates, nets, unwritable = process.out.splitlines()
        for message in (rows, rates, nets):
            assert "process 1 has other data" in message
        assert "Choose a folder, not a file" in unwritable


@pytest.mark.slow
def test_the_main_process_draws_the_seed_and_decides_when_to_stop():
    code = """
        from skorch.callbacks import Callback
        class Stop(Callback):
            def on_epoch_end(self, net, **kwargs):
                if len(net.history) == 2 + rank:
                    net.stop_training = True
        class StopInEpoch(Callback):
            def on_batch_end(self, net, **kwargs):
                if rank == 0 and len(net.history) == 2:
                    net.stop_training = True
        X = make_jets(100, random_state=0)
        for callback in (Stop(), StopInEpoch()):
            with skae.distribute(accelerator):
                model = skae.JetAutoencoder(2, max_epochs=5, batch_size=20, callbacks=[callback]).fit(X)
            print(model.n_iter_, model.net_.random_streams.seed, model.loss_curve_[0])
    """
    first, second = in_processes(code)
    assert first.out == second.out
    assert [line.split()[0] for line in first.out.splitlines()] == ["2", "2"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks threads up in /proc")
def test_no_thread_is_left_that_could_abort_the_exit():
    code = """
        import contextlib, os
        def has_gloo_threads():
            names = []
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(OSError):  # it has just ended
                    names.append(open(f"/proc/self/task/{thread}/comm").read())
            return any("gloo" in name for name in names)
        with skae.distribute(accelerator):
            skae.JetAutoencoder(2, max_epochs=1).fit(make_jets(50, random_state=0))
        print(has_gloo_threads())
        accelerator.end_training()
        print(has_gloo_threads())
    """
    for process in in_processes(code):
        assert process.out.split() == ["True", "False"]


def accelerator(rank=0, size=1):
    """What Accelerate says to one of several processes; here they are played one after another."""
    return SimpleNamespace(
        num_processes=size,
        process_index=rank,
        device=torch.device("cpu"),
        reduce=lambda tensor, reduction: tensor,
    )


@given(n=st.integers(1, 20), size=st.integers(1, 6), weighted=st.booleans())
def test_shares_add_up_to_the_minibatch(n, size, weighted):
    torch_seed = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=torch_seed)
    weight = torch.randn(n, generator=torch_seed) if weighted else None
    module = nn.Sequential(nn.Linear(3, 4), SeededDropout(0.5), nn.Linear(4, 3))
    arguments = module, SquaredError(), torch.device("cpu"), "float32"

    def computed(step):
        attach_generator(module, torch.Generator().manual_seed(1), step.share)
        module.zero_grad(set_to_none=True)
        _, loss = step.gradient(x, x, weight)
        return [loss.detach(), *(p.grad.clone() for p in module.parameters())]

    whole = computed(Step(*arguments))
    teams = [AcceleratedProcesses(accelerator(rank, size)) for rank in range(size)]
    parts = [computed(team.step(*arguments)) for team in teams]
    for expected, *added in zip(whole, *parts, strict=True):
        torch.testing.assert_close(sum(added), expected, rtol=1e-5, atol=1e-6)


def test_a_team_is_there_inside_its_context_only():
    assert PROCESSES.get() is None
    with skae.distribute(accelerator()):
        assert PROCESSES.get().device == torch.device("cpu")
    assert PROCESSES.get() is None


def test_processes_that_the_accelerator_does_not_know_of_are_an_error(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match=r"2 processes were started.*Accelerator\(cpu=True\)"),
        skae.distribute(accelerator()),
    ):
        pass
