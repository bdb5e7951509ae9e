"""What released versions have saved is loaded by this one, and says what it said then."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from fitted import answers
from sklearn.exceptions import InconsistentVersionWarning

import skae

FILES = sorted((Path(__file__).parent / "released").glob("*/*.npz"))


def test_models_of_a_version_are_kept():
    assert len(FILES) >= 7


@pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("way", ["pickle", "safetensors"])
def test_a_released_model_says_what_it_said(path, way):
    with warnings.catch_warnings():
        # scikit-learn has moved on since; skae is asked here
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        if way == "pickle":
            model = pickle.loads(path.with_suffix(".pickle").read_bytes())
        else:
            model = skae.load(path.with_suffix(".safetensors"))
    with np.load(path) as kept:
        expected = dict(kept)
    X = expected.pop("X")
    for method, answer in answers(model, X).items():
        scale = np.abs(expected[method]).max()
        np.testing.assert_allclose(answer, expected[method], rtol=1e-5, atol=1e-5 * scale)
