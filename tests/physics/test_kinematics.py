"""The kinematics of jets are one formula for NumPy and for torch."""

import numpy as np
import pytest
import torch

from skae.datasets import make_jets
from skae.physics.kinematics import (
    COORDINATES,
    energy_pt_eta_phi,
    features_of_momenta,
    momenta_of_features,
)


@pytest.mark.parametrize("names", COORDINATES)
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


@pytest.mark.parametrize("names", COORDINATES)
def test_energies_follow_from_any_coordinates_negative_masses_included(names):
    _, pt, eta, phi = make_jets(200, random_state=0).T
    for sign in (-1.0, 1.0):
        features = np.stack([np.log(pt), eta, phi, np.full(200, 0.1 * sign)])
        momenta = dict(zip(names, momenta_of_features(features, names, np.pi), strict=True))
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + sign * (0.1 * pt) ** 2)
        found = np.stack(energy_pt_eta_phi(momenta))
        np.testing.assert_allclose(found, np.stack([energy, pt, eta, phi]), rtol=1e-12)


def test_energies_of_large_momenta_do_not_overflow():
    momenta = {
        "m": np.array([1e200]),
        "pt": np.array([1e200]),
        "eta": np.zeros(1),
        "phi": np.zeros(1),
    }
    assert energy_pt_eta_phi(momenta)[0] == pytest.approx(np.sqrt(2.0) * 1e200)
