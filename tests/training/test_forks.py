"""Forked children use what their parent fitted, though torch's threads stay behind."""

import os

import pytest
from scripts import printed_by

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")

# Large enough for torch to share the work among two threads, which both have run before the fork.
BEFORE = """
import multiprocessing, os, signal, threading, warnings
import joblib
import numpy as np
import torch
from sklearn.base import clone
from skae import JetAutoencoder

warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks with threads
torch.set_num_threads(2)
X = np.random.default_rng(0).normal(size=(4096, 8))
model = JetAutoencoder(hidden_layer_sizes=(256,), max_epochs=2, batch_size=2048, random_state=0)
model.fit(X)
expected = model.transform(X)

def use(_=None):
    assert np.array_equal(model.transform(X), expected)
    again = clone(model).fit(X)
    np.testing.assert_allclose(again.transform(X), expected, rtol=0.0, atol=1e-4)
    assert torch.get_num_threads() == 1
    return True

def in_a_fork(act, seconds=60):
    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join(seconds)
    hangs = child.is_alive()
    child.kill()
    assert not hangs and child.exitcode == 0, child.exitcode
"""

FORKS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    code = 1
    try:
        use()
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
""",
    "multiprocessing": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(use, range(2)).get(60) == [True, True]
""",
    "joblib": """
multiprocessing.set_start_method("fork")
with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
    assert joblib.Parallel(timeout=60)(joblib.delayed(use)() for _ in range(2)) == [True, True]
""",
    "a thread of the child": """
def in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(use()), daemon=True)
    thread.start()
    thread.join(50)
    assert found == [True]

in_a_fork(in_a_thread)
""",
}


@pytest.fixture(scope="module")
def passed():
    """Which of them a process has gone through, one after the other."""
    each = "".join(f"{code}print({how!r}, flush=True)\n" for how, code in FORKS.items())
    end = "assert torch.get_num_threads() == 2\n"
    return printed_by(BEFORE + each + end, OMP_NUM_THREADS="2").splitlines()


@pytest.mark.parametrize("how", FORKS)
def test_a_forked_child_predicts_and_fits_as_its_parent_does(how, passed):
    assert how in passed


LOCKED = """
from skae import _workers
from skae.training import hardware, seeding, step

LOCKS = hardware._LOCK, step._COMPILING, _workers._LOCK
held, ready = threading.Event(), threading.Event()

def hold():
    with LOCKS[0], LOCKS[1], LOCKS[2]:
        with seeding.seeded_initialisation(7):
            ready.set()
            held.wait(1.0)
        held.wait(60.0)

def check():
    assert not any(lock.locked() for lock in LOCKS)
    assert torch.initial_seed() != 7
    use()

thread = threading.Thread(target=hold)
thread.start()
ready.wait()
in_a_fork(check)
held.set()
thread.join()
"""


def test_locks_that_threads_hold_do_not_hold_up_a_child():
    inside = "with seeding.seeded_initialisation(7):\n    in_a_fork(use)\nprint('free')"
    assert printed_by(BEFORE + LOCKED + inside, OMP_NUM_THREADS="2") == "free\n"
