"""Many fits and predictions at once: the same answers as one by one, and no more threads than cores."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from fits import each, global_states, small, weights_of
from sklearn.model_selection import GridSearchCV

from skae import BoxCoxTransformer, _workers


@pytest.fixture
def two_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@contextlib.contextmanager
def in_backend(name):
    """Run joblib's work in loky, threading, or dask with worker threads or worker processes."""
    if not name.startswith("dask"):
        with joblib.parallel_config(backend=name):
            yield
        return
    from distributed import Client, LocalCluster

    workers = {
        "dask threads": {"processes": False, "n_workers": 1, "threads_per_worker": 2},
        "dask workers": {"processes": False, "n_workers": 2, "threads_per_worker": 1},
        "dask processes": {"processes": True, "n_workers": 2, "threads_per_worker": 1},
    }[name]
    with (
        LocalCluster(dashboard_address=None, **workers) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


# processes of dask are tested by the example, too
BACKENDS = [
    *("loky", "threading", "dask threads", "dask workers"),
    pytest.param("dask processes", marks=pytest.mark.slow),
]


def record_threads(net):
    net.history.record("threads", torch.get_num_threads())


# -- searches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_search_in_parallel_gives_the_serial_result_on_its_share_of_threads(
    backend, standard_jets, two_torch_threads
):
    def scores(model, X, y=None):
        return {"mse": model.score(X), "threads": max(model.history_[:, "threads"])}

    def search(n_jobs):
        grid = {"n_components": [1, 3], "hidden_layer_sizes": [(8,), (16, 8)]}
        model = small(callbacks=[each("on_epoch_end", record_threads)])
        options = {"scoring": scores, "refit": False, "error_score": "raise"}
        return GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, **options).fit(standard_jets)

    serial = search(1)
    assert set(serial.cv_results_["mean_test_threads"]) == {2}
    with in_backend(backend):
        parallel = search(2)
    np.testing.assert_allclose(
        parallel.cv_results_["mean_test_mse"], serial.cv_results_["mean_test_mse"], rtol=1e-5
    )
    # two at a time; on more cores than two the process backends may give each more than one
    threads = max(parallel.cv_results_["mean_test_threads"])
    assert threads == 1 or 2 * threads <= joblib.cpu_count()


def test_a_dask_worker_that_is_alone_keeps_its_threads(standard_jets, two_torch_threads):
    from distributed import Client, LocalCluster

    def fit():
        model = small(callbacks=[each("on_epoch_end", record_threads)]).fit(standard_jets)
        return model.history_[:, "threads"]

    workers = {"processes": False, "n_workers": 1, "threads_per_worker": 1}
    with LocalCluster(dashboard_address=None, **workers) as cluster, Client(cluster) as client:
        assert client.submit(fit).result() == [2, 2, 2]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_transformers_use_their_share_of_threads_too(backend, rng, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert _workers.usable_threads() == joblib.cpu_count()
    seen = joblib.Parallel(2, backend=backend)(
        joblib.delayed(_workers.usable_threads)() for _ in range(4)
    )
    assert all(n == 1 or 2 * n <= joblib.cpu_count() for n in seen)
    X = rng.lognormal(size=(2000, 3))
    serial = BoxCoxTransformer().fit(X).lambdas_
    for model in joblib.Parallel(2, backend=backend)(
        joblib.delayed(BoxCoxTransformer().fit)(X) for _ in range(2)
    ):
        np.testing.assert_array_equal(model.lambdas_, serial)


def test_worker_threads_of_joblib_use_one_torch_thread_each(standard_jets, two_torch_threads):
    seen = []
    keep = each("on_epoch_end", lambda net: seen.append(torch.get_num_threads()))
    joblib.Parallel(2, backend="threading")(
        joblib.delayed(small(callbacks=[keep]).fit)(standard_jets) for _ in range(4)
    )
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    small(callbacks=[keep]).fit(standard_jets)
    assert seen[-1] == 2
    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(torch.get_num_threads).result() == 2


# -- seeds -------------------------------------------------------------------------------------


def test_two_fits_in_two_threads_are_as_in_one(standard_jets):
    serial = [small(dropout=0.3, random_state=s, max_epochs=8).fit(standard_jets) for s in (0, 1)]
    parallel = [small(dropout=0.3, random_state=s, max_epochs=8) for s in (0, 1)]
    before = global_states()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda model: model.fit(standard_jets), parallel))
    assert global_states() == before
    for a, b in zip(serial, parallel, strict=True):
        assert torch.equal(weights_of(a), weights_of(b))


def test_a_fit_in_a_worker_process_is_bit_for_bit_the_same(standard_jets):
    model = small(dropout=0.3, early_stopping=True)

    def fit():
        torch.rand(3), np.random.rand(3), random.random()  # states of a worker are its own
        before = global_states()
        fitted = model.fit(standard_jets)
        fitted.transform(standard_jets)
        return weights_of(fitted), global_states() == before

    here, untouched = fit()
    assert untouched
    for there, untouched in joblib.Parallel(2, backend="loky")(joblib.delayed(fit)() for _ in "ab"):
        assert torch.equal(here, there)
        assert untouched


# -- predictions -------------------------------------------------------------------------------


def test_sixteen_threads_get_the_serial_answers(rng, two_torch_threads):
    X = rng.normal(size=(700, 4)).astype(np.float32)
    model = small(batch_norm=True, dropout=0.2).fit(X)
    uses = (model.transform, model.score_samples, lambda rows: model.inverse_transform(rows[:, :3]))
    parts = [X[k * 7 : k * 7 + 300] for k in range(50)]
    expected = [[use(part) for use in uses] for part in parts]
    start = threading.Barrier(16)

    def predict(shift):
        start.wait()
        order = [(k + 3 * shift) % 50 for k in range(50)]
        return {k: [use(parts[k]) for use in uses] for k in order}

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(predict, range(16)))
    assert len(answers) == 16
    for answer in answers:
        for k, values in answer.items():
            for value, serial in zip(values, expected[k], strict=True):
                np.testing.assert_array_equal(value, serial)


# -- interrupts --------------------------------------------------------------------------------

INTERRUPTED = """
    import os
    import sys
    import numpy as np
    from sklearn.model_selection import GridSearchCV
    from skorch.callbacks import Callback
    from skae import JetAutoencoder

    class Ready(Callback):
        def on_train_begin(self, net, **kwargs):
            os.write(1, b"begin\\n")  # whole, whoever else writes

    if __name__ == "__main__":
        X = np.random.default_rng(0).normal(size=(500, 4))
        model = JetAutoencoder(max_epochs=10**6, device="cpu", callbacks=[Ready()])
        search = GridSearchCV(model, {"n_components": [1, 2, 3]}, cv=3, n_jobs=int(sys.argv[1]))
        try:
            search.fit(X)
        except KeyboardInterrupt:
            print("ended", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process group")
@pytest.mark.parametrize("n_jobs", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupt_ends_a_whole_search(n_jobs, tmp_path):
    script = tmp_path / "search.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    with subprocess.Popen(
        [sys.executable, str(script), str(n_jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout.readline() == "begin\n"
            os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
            output, _ = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    lines = output.splitlines()
    assert lines[-1] == "ended"
    assert lines.count("begin") <= n_jobs - 1, "no further fit began"
