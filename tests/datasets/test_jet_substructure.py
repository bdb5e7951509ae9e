"""make_jets(n_features=…): columns of the inside of jets agree with one another as real ones do."""

import numpy as np
import pytest
from scipy.stats import skew

from skae.datasets import make_jets


@pytest.fixture(scope="module")
def jets():
    return make_jets(5000, n_features=25, random_state=0, as_frame=True)


def test_further_columns_change_no_earlier_ones(jets):
    for n_features in (4, 5, 14, 25):
        X = make_jets(5000, n_features=n_features, random_state=0)
        np.testing.assert_array_equal(X, jets.to_numpy()[:, :n_features])
    np.testing.assert_array_equal(make_jets(5000, random_state=0), jets.to_numpy()[:, :4])


@pytest.mark.parametrize("n_features", [3, 26])
def test_a_number_of_columns_that_there_is_not_is_refused(n_features):
    with pytest.raises(ValueError, match="n_features"):
        make_jets(10, n_features=n_features)


def test_a_frame_names_its_columns():
    frame = make_jets(10, n_features=6, random_state=0, as_frame=True)
    assert list(frame.columns) == ["E", "pt", "eta", "phi", "mass", "girth"]


def test_kinematics_hang_together(jets):
    """m² = E² − p² of the jet, and z (1 − z) R² pT² of the splitting that grooming finds."""
    momentum = jets.pt * np.cosh(jets.eta)
    np.testing.assert_allclose(jets.mass**2 + momentum**2, jets.E**2, rtol=1e-12)
    splitting = jets.pt * jets.rg * np.sqrt(jets.zg * (1.0 - jets.zg))
    np.testing.assert_allclose(splitting, jets.soft_drop_mass, rtol=1e-12)
    assert (jets.soft_drop_mass <= jets.mass).all()


def test_shares_and_shapes_keep_their_bounds(jets):
    """Σ z² ≤ max z ≤ √Σ z², and Σ z Δ ≤ √(Σ z Δ²) up to the scatter of the width."""
    assert (jets.leading_fraction <= jets.pt_dispersion).all()
    assert (jets.leading_fraction >= jets.pt_dispersion**2).all()
    assert (jets.pt_dispersion >= jets.n_constituents**-0.5 - 1e-12).all()
    assert (jets.girth <= np.sqrt(jets.width)).all()
    assert (jets.lha <= np.sqrt(jets.girth)).all()
    assert (jets.charged_fraction + jets.em_fraction <= 1.0).all()
    assert (jets.muon_fraction <= jets.charged_fraction).all()
    assert (jets.n_charged <= jets.n_constituents).all()
    for name in ("tau21", "tau32", "zg"):
        assert jets[name].between(0.0, 1.0).all(), name


def test_there_are_skewed_integer_and_often_empty_columns(jets):
    assert (skew(jets[["mass", "D2", "soft_drop_mass"]]) > 1.5).all()
    counts = jets[["n_constituents", "n_charged", "n_subjets"]].to_numpy()
    np.testing.assert_array_equal(counts, np.rint(counts))
    assert 0.92 < (jets.muon_fraction == 0.0).mean() < 0.96
    assert 0.03 < (jets.zg == 0.0).mean() < 0.07


def test_a_hard_splitting_makes_two_prongs(jets):
    share = (jets.soft_drop_mass / jets.mass) ** 2
    kept = jets.zg > 0.0
    assert np.corrcoef(share[kept], jets.tau21[kept])[0, 1] < -0.8
