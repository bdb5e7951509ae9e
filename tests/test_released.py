"""What released versions have saved is loaded by this one, and says what it said then."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from fitted import answers
from scripts import imported
from sklearn.exceptions import InconsistentVersionWarning

import skae
from skae.exceptions import VersionWarning

RELEASED = Path(__file__).parent / "released"
KEPT = sorted(RELEASED.glob("*/*.npz"))


def test_models_of_each_released_version_are_kept():
    """From 0.1.0 on; before it there is none."""
    versions = {path.parent.name for path in KEPT}
    assert versions or ".dev" in skae.__version__
    for version in versions:
        assert sum(path.parent.name == version for path in KEPT) >= 7


@pytest.fixture(scope="module")
def of_this_version(tmp_path_factory):
    """Models of this version, made as those of a release are."""
    make = imported(RELEASED / "make.py")
    folder = tmp_path_factory.mktemp("released") / skae.__version__
    make.keep(folder)
    return folder


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
def test_what_a_release_will_keep_says_what_it_said(of_this_version):
    paths = sorted(of_this_version.glob("*.npz"))
    assert len(paths) >= 7
    for path in paths:
        _check(path, "pickle")
        _check(path, "skops")


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("way", ["pickle", "skops"])
def test_a_released_model_says_what_it_said(path, way):
    with warnings.catch_warnings():
        # both have moved on since; that they say so is tested elsewhere
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        warnings.simplefilter("ignore", VersionWarning)
        _check(path, way)


def _check(path, way):
    """Load a model in one way, and compare what it says with what was written down."""
    file = path.with_suffix(f".{way}")
    model = pickle.loads(file.read_bytes()) if way == "pickle" else skae.load(file)
    with np.load(path) as kept:
        expected = dict(kept)
    X = expected.pop("X")
    found = answers(model, X)
    assert set(found) == set(expected)
    for method, answer in found.items():
        scale = np.abs(expected[method]).max()
        np.testing.assert_allclose(answer, expected[method], rtol=1e-5, atol=1e-5 * scale)
