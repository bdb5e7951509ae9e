"""Fixtures that all tests share. SCIPY_ARRAY_API must be set before SciPy is imported."""

import os
import pickle
import shutil
import signal
import subprocess
import sys

os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

import ambient
import fits
import numpy as np
import pytest
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

from skae.datasets import make_jets

settings.register_profile("skae", deadline=None, print_blob=True)
settings.load_profile("skae")

SEED = 0

if setting := os.environ.get("SKAE_AMBIENT"):
    ambient.surround(setting)

# A shell that puts pytest into the background lets it ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Networks this small are faster on one thread, and tests that count threads set them themselves. Trees of
# two workers, each on all cores, wait for one another: a second becomes twenty.
torch.set_num_threads(1)
threadpool_limits(1)


def pytest_collection_modifyitems(items):
    """Let examples train for long enough: what they show must be no poor fit."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.filterwarnings("error::skae.exceptions.PoorFitWarning"))


@pytest.fixture
def rng():
    """One generator, one seed."""
    return np.random.default_rng(SEED)


@pytest.fixture
def save_always(monkeypatch):
    """Write checkpoints behind every step."""
    fits.save_always(monkeypatch.setattr)


@pytest.fixture
def no_pickles(monkeypatch):
    """Refuse to read any."""

    def refuse(*_, **__):
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)


@pytest.fixture(scope="session")
def jets():
    """A few hundred jets: E, pT (GeV), η, φ."""
    return make_jets(400, random_state=SEED)


@pytest.fixture(scope="session")
def standard_jets(jets):
    """The same, each column with zero mean and unit variance."""
    return (jets - jets.mean(axis=0)) / jets.std(axis=0)


def _mount(folder, options):
    """Mount a small file system of its own; return the reason where that cannot be."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        return "mounting needs Linux"
    command = ["mount", "-t", "tmpfs", "-o", options, "skae-test", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stderr.strip() if result.returncode else None


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB: file modes do not stop root, a mount and its size do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    reason = _mount(folder, "size=256k")
    if reason is not None:
        pytest.skip(f"no file system can be mounted here: {reason}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def close_figures():
    """Close what a test draws."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")
