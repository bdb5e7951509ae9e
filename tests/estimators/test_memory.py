"""How much memory large data take, measured in processes of their own."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of a process"),
]

MEASURE = """
    import sys, threading
    import numpy as np, torch
    from pathlib import Path
    from skae import JetAutoencoder

    def resident(field):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024  # MiB
"""

TRANSFORM = """
    X = np.random.default_rng(0).standard_normal((5_000_000, 4), dtype=np.float32)
    model = JetAutoencoder(activation="tanh", max_epochs=1, device="cpu").fit(X[:10_000])
    model.transform(X[:10_000])
    for use in (model.transform, model.score_samples):
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        result = use(X)
        print(resident("VmHWM") - before - result.nbytes / 2**20)
"""

FIT = """
    X = np.load(sys.argv[1], mmap_mode="r")
    model = JetAutoencoder(
        hidden_layer_sizes=(16,), max_epochs=1, batch_size=4096, device="cpu", random_state=0,
        early_stopping=True,
    )
    peak, ended = 0.0, threading.Event()

    def watch():
        global peak
        while not ended.wait(0.01):
            peak = max(peak, resident("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    model.fit(X)
    ended.set()
    watcher.join()
    print(peak)
    print(model.loss_curve_[0])
"""


def run(script, *arguments):
    source = textwrap.dedent(MEASURE) + textwrap.dedent(script)
    output = subprocess.check_output([sys.executable, "-c", source, *arguments], text=True)
    return [float(line) for line in output.splitlines()]


def test_transform_of_five_million_rows_needs_little_but_its_output():
    for peak in run(TRANSFORM):
        print(f"peak above input and output: {peak:.0f} MiB")
        assert peak < 300


def test_a_fit_on_four_gigabytes_of_a_file_stays_under_one(tmp_path):
    path = tmp_path / "X.npy"
    shape = (1_000_000, 1024)
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(0)
    for start in range(0, len(X), 50_000):
        X[start : start + 50_000] = rng.standard_normal((50_000, 1024), dtype=np.float32)
    X.flush()
    del X
    try:
        assert path.stat().st_size > 4e9
        peak, loss = run(FIT, str(path))
    finally:
        path.unlink()
    print(f"anonymous memory: {peak:.0f} MiB")
    assert peak < 1000
    assert 0.9 < loss < 1.1
