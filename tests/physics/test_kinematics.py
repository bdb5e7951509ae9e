"""The kinematics of jets are one formula for NumPy and for torch."""

import numpy as np
import pytest
import torch

from skae.datasets import make_jets
from skae.physics.kinematics import features_of_momenta, momenta_of_features

COLUMNS = [("E", "pt", "eta", "phi"), ("m", "pt", "eta", "phi"), ("px", "py", "pz", "E")]


@pytest.mark.parametrize("names", COLUMNS)
def test_any_namespace_gives_the_same_to_rounding(names):
    energy, pt, eta, phi = make_jets(200, random_state=0).T
    masses = features_of_momenta({"E": energy, "pt": pt, "eta": eta, "phi": phi})[3]
    features = np.stack([np.log(pt), eta, phi + 2.0 * np.pi, masses])
    momenta = momenta_of_features(features, names, np.pi)
    of_torch = momenta_of_features(torch.from_numpy(features), names, np.pi, torch)
    np.testing.assert_allclose(np.stack(of_torch), momenta, rtol=1e-12, atol=1e-12)
    tensors = dict(zip(names, map(torch.from_numpy, momenta), strict=True))
    back = np.stack(features_of_momenta(tensors, torch))
    expected = features_of_momenta(dict(zip(names, momenta, strict=True)))
    np.testing.assert_allclose(back, expected, rtol=1e-9, atol=1e-9)
