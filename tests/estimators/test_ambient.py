"""Settings of torch and NumPy that the program around has made change nothing."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ambient import SETTINGS
from fits import each
from fitted import LEARNERS, RECIPES, answers, fitted_of, learner
from sklearn.base import clone

import skae
import skae.datasets

# What networks of two epochs decode is out of range.
pytestmark = pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")

_OF_EACH_CLASS = ("jets", "spectra", "showers", "pulses", "pulses-time", "sequences")
_ALONE = [(name, "all at once") for name in _OF_EACH_CLASS]
_ALONE += [("jets-conv", setting) for setting in SETTINGS]  # its optimiser makes scalars of its own
each_case = pytest.mark.parametrize(
    ("name", "setting"),
    _ALONE
    + [
        pytest.param(name, setting, marks=pytest.mark.slow)
        for name in LEARNERS
        for setting in SETTINGS
        if (name, setting) not in _ALONE
    ],
)


def found_of(model, X, y, folder):
    """Return all that can be had of a fitted model."""
    found = answers(model, X)
    if hasattr(model, "score"):
        found["score"] = np.asarray(model.score(X, y))
    if hasattr(model, "predict_cdf"):
        found["predict_cdf"] = model.predict_cdf(X, y)
    if hasattr(model, "log_partition"):
        found["log_partition"] = np.stack(model.log_partition(X[:3, 0]))
    skae.save(model, folder / "model.skops", optimizer_state=True)
    copies = pickle.loads(pickle.dumps(model)), skae.load(folder / "model.skops")
    for copied, further in zip(("unpickled", "loaded"), copies, strict=True):
        further.partial_fit(X, y)
        found |= {f"{copied} {k}": v.numpy() for k, v in further.module_.state_dict().items()}
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value.dtype == expected[key].dtype, key
        np.testing.assert_array_equal(value, expected[key], key)


@each_case
def test_fits_and_all_that_is_asked_of_them_are_the_same_to_the_bit(name, setting, tmp_path):
    model, X, y = learner(name)
    model.fit(X, y)
    expected = found_of(model, X, y, tmp_path)
    with SETTINGS[setting]():
        assert_same(found_of(model, X, y, tmp_path), expected)
        assert_same(found_of(clone(model).fit(X, y), X, y, tmp_path), expected)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in LEARNERS])
def test_what_trains_no_network_minds_no_setting_of_numpy(name):
    model, X = fitted_of(name)
    expected = answers(model, X)
    with SETTINGS["errstate"]():
        assert_same(answers(fitted_of(name)[0], X), expected)


@pytest.mark.parametrize(
    "make",
    [
        skae.datasets.make_jets,
        skae.datasets.make_photon_correlations,
        skae.datasets.make_pulses,
        skae.datasets.make_showers,
        skae.datasets.make_spectra,
    ],
)
def test_generators_mind_no_setting_of_numpy(make):
    with SETTINGS["errstate"]():
        make(20, random_state=0)


def test_settings_are_left_as_they_were_and_the_process_never_sees_another():
    model, X, _ = learner("jets")
    dtypes = []
    look = each("on_epoch_end", lambda net: dtypes.append(torch.get_default_dtype()))
    with SETTINGS["all at once"]():
        clone(model).set_params(callbacks=[look]).fit(X).transform(X)
        made = torch.empty(0)
        assert (made.device.type, made.dtype) == ("meta", torch.float64)
        assert made.is_inference()
        assert torch.is_autocast_enabled("cpu")
        assert np.geterr()["under"] == "raise"
    assert dtypes == [torch.float64] * 2  # other threads may need it


def test_mixed_precision_learns_the_same_inside_of_another_autocast():
    model, X, _ = learner("jets")
    model.set_params(precision="bf16-mixed", max_epochs=4)
    expected = clone(model).fit(X).transform(X)
    with SETTINGS["autocast"]():
        found = clone(model).fit(X).transform(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_compiled_fits_are_the_same():
    model, X, _ = learner("jets")
    model.set_params(compile=True)
    expected = clone(model).fit(X).transform(X)
    with SETTINGS["all at once"]():
        found = clone(model).fit(X).transform(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["jets", pytest.param("pulses", marks=pytest.mark.slow)])
def test_graphs_are_the_same(name):
    model, X, y = learner(name)
    model.fit(X, y)
    method = "transform" if name == "jets" else "predict"
    expected = skae.export.to_onnx(model, method=method).SerializeToString()
    with SETTINGS["all at once"]():
        assert skae.export.to_onnx(model, method=method).SerializeToString() == expected


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_all_tests_of_estimators_pass(setting):
    tests = Path(__file__).parent
    others = [f"--ignore={Path(__file__)}", f"--ignore={tests / 'test_memory.py'}"]
    command = [sys.executable, "-m", "pytest", tests, *others, "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "SKAE_AMBIENT": setting}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout[-4000:]
