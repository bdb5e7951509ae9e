"""KinematicsTransformer: exact both ways, for every set of columns and every kind of mass."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skae import JetAutoencoder, KinematicsTransformer
from skae.datasets import make_jets
from skae.exceptions import UnitsWarning
from skae.physics.kinematics import momenta_of_features


@st.composite
def jets(draw, masses=st.floats(0.0, 10.0)):
    """(pt, eta, phi, m / pt) of one to ten jets, over twelve orders of magnitude in pT."""
    n = draw(st.integers(1, 10))
    columns = [
        draw(st.lists(st.floats(-6, 6), min_size=n, max_size=n)),
        draw(st.lists(st.floats(-5, 5), min_size=n, max_size=n)),
        draw(st.lists(st.floats(-np.pi, np.nextafter(np.pi, 0)), min_size=n, max_size=n)),
        draw(st.lists(masses, min_size=n, max_size=n)),
    ]
    log_pt, eta, phi, mass = np.array(columns)
    return 10.0**log_pt, eta, phi, mass * 10.0**log_pt


@given(jets())
def test_energies_come_back(jet):
    pt, eta, phi, mass = jet
    X = np.column_stack([np.hypot(pt * np.cosh(eta), mass), pt, eta, phi])
    kinematics = KinematicsTransformer().fit(X)
    np.testing.assert_allclose(kinematics.inverse_transform(kinematics.transform(X)), X, rtol=1e-12)


@given(jets(st.floats(-10.0, 10.0)))
def test_masses_come_back_with_their_sign(jet):
    pt, eta, phi, mass = jet
    X = np.column_stack([mass, pt, eta, phi])
    kinematics = KinematicsTransformer(columns=("m", "pt", "eta", "phi")).fit(X)
    np.testing.assert_allclose(kinematics.inverse_transform(kinematics.transform(X)), X, rtol=1e-12)


@given(jets())
def test_momenta_come_back(jet):
    pt, eta, phi, mass = jet
    X = np.column_stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(pt * np.cosh(eta), mass)]
    )
    kinematics = KinematicsTransformer(columns=("px", "py", "pz", "E")).fit(X)
    back = kinematics.inverse_transform(kinematics.transform(X))
    scale = np.column_stack([pt, pt, np.hypot(pt, X[:, 2]), X[:, 3]])
    assert (np.abs(back - X) <= 1e-12 * scale).all()


@given(jets())
def test_every_set_of_columns_gives_the_same_features(jet):
    pt, eta, phi, mass = jet
    energy = np.hypot(pt * np.cosh(eta), mass)
    momenta = {
        ("E", "pt", "eta", "phi"): [energy, pt, eta, phi],
        ("phi", "E", "eta", "pt"): [phi, energy, eta, pt],
        ("m", "pt", "eta", "phi"): [mass, pt, eta, phi],
        ("px", "py", "pz", "E"): [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy],
        ("m", "py", "pz", "px"): [mass, pt * np.sin(phi), pt * np.sinh(eta), pt * np.cos(phi)],
    }
    expected = np.column_stack([np.log(pt), eta, phi])
    for columns, values in momenta.items():
        features = KinematicsTransformer(columns=columns).fit_transform(np.column_stack(values))
        np.testing.assert_allclose(features[:, :3], expected, rtol=1e-9, atol=1e-9)
        # an energy in float64 fixes m² to a few 1e-16 of E²
        atol = 1e-6 * energy / pt
        assert (np.abs(features[:, 3] - mass / pt) <= atol).all()


def test_negative_squared_masses_survive(rng):
    X = make_jets(1000, random_state=0)
    X[:, 0] = X[:, 1] * np.cosh(X[:, 2]) * (1.0 - 1e-6 * rng.uniform(size=1000))
    features = KinematicsTransformer().fit_transform(X)
    assert (features[:, 3] < 0).all()
    back = KinematicsTransformer().fit(X).inverse_transform(features)
    np.testing.assert_allclose(back, X, rtol=1e-14)
    assert (back[:, 0] < back[:, 1] * np.cosh(back[:, 2])).all()


def test_float32_stays_float32_and_comes_back():
    X = make_jets(1000, random_state=0).astype(np.float32)
    kinematics = KinematicsTransformer().fit(X)
    features = kinematics.transform(X)
    assert features.dtype == np.float32
    np.testing.assert_allclose(kinematics.inverse_transform(features), X, rtol=2e-6)


def test_further_columns_pass_through(rng):
    X = np.column_stack([make_jets(50, random_state=0), rng.normal(size=(50, 23))])
    kinematics = KinematicsTransformer().fit(X)
    features = kinematics.transform(X)
    np.testing.assert_array_equal(features[:, 4:], X[:, 4:])
    np.testing.assert_allclose(kinematics.inverse_transform(features), X, rtol=1e-12)


def test_angles_are_wrapped_on_the_way_back():
    kinematics = KinematicsTransformer().fit(make_jets(5, random_state=0))
    features = np.array([[4.0, 0.0, np.pi + 0.1, 0.1], [4.0, 0.0, -7 * np.pi, 0.1]])
    np.testing.assert_allclose(kinematics.inverse_transform(features)[:, 3], [-np.pi + 0.1, -np.pi])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pi_itself_stays(dtype):
    X = np.array([[120.0, 100.0, 0.5, np.pi], [120.0, 100.0, 0.5, -np.pi]], dtype=dtype)
    kinematics = KinematicsTransformer().fit(X)
    np.testing.assert_array_equal(
        kinematics.inverse_transform(kinematics.transform(X))[:, 3], X[:, 3]
    )


def test_an_impossible_mass_term_gives_no_energy_rather_than_nan():
    kinematics = KinematicsTransformer().fit(make_jets(5, random_state=0))
    assert kinematics.inverse_transform([[4.0, 0.0, 0.0, -2.0]])[0, 0] == 0.0


def test_subset_order_pickle_and_clone_change_nothing():
    X = make_jets(100, random_state=0)
    kinematics = KinematicsTransformer().fit(X)
    features = kinematics.transform(X)
    np.testing.assert_array_equal(kinematics.transform(X[::-1]), features[::-1])
    np.testing.assert_array_equal(kinematics.transform(X[3:4]), features[3:4])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kinematics)).transform(X), features)
    with pytest.raises(NotFittedError):
        clone(kinematics).transform(X)


def test_pandas_in_and_pandas_out():
    X = make_jets(10, random_state=0, as_frame=True).assign(tracks=7.0)
    kinematics = KinematicsTransformer().set_output(transform="pandas").fit(X)
    names = ["log_pt", "eta", "phi", "mass_over_pt", "tracks"]
    assert list(kinematics.transform(X).columns) == names
    assert list(kinematics.get_feature_names_out()) == names


# -- columns by name ---------------------------------------------------------------------------

NAMES = ["E", "pt", "eta", "phi"]


@given(st.permutations([*NAMES, "tracks"]))
def test_columns_of_a_frame_are_found_by_name_and_come_back_in_its_order(order):
    X = make_jets(10, random_state=0, as_frame=True).assign(tracks=7.0)
    kinematics = KinematicsTransformer().fit(X[order])
    features = kinematics.transform(X[order])
    np.testing.assert_array_equal(features, KinematicsTransformer().fit_transform(X))
    np.testing.assert_allclose(kinematics.inverse_transform(features), X[order], rtol=1e-12)
    assert list(kinematics.get_feature_names_out())[4:] == ["tracks"]


@pytest.mark.parametrize(
    "names",
    [
        ["energy", "pT", "Eta", "PHI"],
        ["jet_e", "jet_p_T", "jet_eta", "jet_phi"],
        ["Jet.E", "Jet.PT", "Jet.Eta", "Jet.Phi"],
        ["fjetE", "fjetPt", "fjetEta", "fjetPhi"],
        ["E_1", "pt_1", "eta_1", "phi_1"],
        ["E_lead", "pt_lead", "eta_lead", "phi_lead"],
        ["E [GeV]", "pt [GeV]", "η", "φ [rad]"],
        ["E_GeV", "pt_GeV", "eta", "phi"],
        ["$E$", "$p_{T}$", r"$\eta$", r"$\phi$"],
    ],
)
def test_common_names_are_known(names):
    X = make_jets(10, random_state=0)
    frame = pd.DataFrame(X, columns=names)[names[::-1]]
    found = KinematicsTransformer().fit_transform(frame)
    np.testing.assert_array_equal(found, KinematicsTransformer().fit_transform(X))


def test_exact_names_come_before_aliases_and_other_objects_are_further_columns():
    X = make_jets(10, random_state=0, as_frame=True)
    both = pd.concat([X.iloc[::-1].reset_index(drop=True).add_prefix("jet2_"), X], axis=1)
    features = KinematicsTransformer().fit_transform(both)
    np.testing.assert_array_equal(features[:, :4], KinematicsTransformer().fit_transform(X))


def test_polars_frames_are_read_by_name_too():
    X = make_jets(10, random_state=0, as_frame=True)
    frame = pl.from_pandas(X[["pt", "eta", "phi", "E"]])
    features = KinematicsTransformer().fit_transform(frame)
    np.testing.assert_array_equal(features, KinematicsTransformer().fit_transform(X))


def test_columns_named_by_columns_stand_anywhere():
    momenta = pd.DataFrame({"E": [6.0], "n": [2.0], "pz": [5.0], "px": [1.0], "py": [2.0]})
    kinematics = KinematicsTransformer(columns=("px", "py", "pz", "E")).fit(momenta)
    features = kinematics.transform(momenta)
    assert features[0, [0, 4]] == pytest.approx([0.5 * np.log(5.0), 2.0])
    np.testing.assert_allclose(kinematics.inverse_transform(features), momenta, rtol=1e-12)


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["x0", "x1", "x2", "x3"], [0, 1, 2, 3]])
def test_names_of_which_none_is_known_are_taken_in_order(names):
    X = make_jets(10, random_state=0)
    found = KinematicsTransformer().fit_transform(pd.DataFrame(X, columns=names))
    np.testing.assert_array_equal(found, KinematicsTransformer().fit_transform(X))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["et", "pt", "eta", "phi"],
            "name no E. Rename its columns, set columns=, or pass on X.to_num",
        ),
        (["px", "py", "p", "E"], "name no pz"),
        (["E", "pt", "eta", "phi_deg"], "name no single set of E, pt, eta, phi"),
        (["jet1_E", "pt", "eta", "phi"], "name no pt, eta, phi"),
        (["a", "pt", "c", "d"], "name no E, eta, phi"),
        (
            [
                "jet1_E",
                "jet1_pt",
                "jet1_eta",
                "jet1_phi",
                "jet2_E",
                "jet2_pt",
                "jet2_eta",
                "jet2_phi",
            ],
            r"name several four-momenta: \['jet1_E', 'jet2_E'\]",
        ),
        (["energy", "e", "pT", "eta", "phi"], "name no single set"),
    ],
)
def test_names_that_are_known_in_part_are_refused(names, message):
    X = np.abs(np.tile(make_jets(5, random_state=0), 2)[:, : len(names)])
    with pytest.raises(ValueError, match=message):
        KinematicsTransformer().fit(pd.DataFrame(X, columns=names))


@pytest.mark.parametrize(
    "columns",
    [
        ("m", "pt", "eta", "phi"),
        ("px", "py", "pz", "E"),
        ("px", "py", "pz", "m"),
        ("phi", "m", "pt", "eta"),
    ],
)
def test_what_columns_are_is_found_by_their_names(columns):
    X = make_jets(50, random_state=0)
    features = KinematicsTransformer().fit_transform(X).T
    momenta = momenta_of_features(features, columns, np.pi)
    frame = pd.DataFrame(dict(zip((f"Jet_{name}" for name in columns), momenta, strict=True)))
    kinematics = KinematicsTransformer().fit(frame)
    assert set(kinematics.columns_) == set(columns)
    np.testing.assert_allclose(kinematics.transform(frame), features.T, atol=1e-9)
    found = KinematicsTransformer(columns=columns).fit(frame.to_numpy())
    np.testing.assert_array_equal(kinematics.transform(frame), found.transform(frame.to_numpy()))
    back = kinematics.inverse_transform(kinematics.transform(frame))
    np.testing.assert_allclose(back, frame, rtol=1e-9, atol=1e-9)


def test_of_several_objects_the_jet_is_meant_and_of_several_sets_the_first():
    X = make_jets(10, random_state=0, as_frame=True)
    mass = KinematicsTransformer().fit_transform(X)[:, 3] * X["pt"]
    jets = X.assign(mass=mass).add_prefix("Jet_")
    both = pd.concat([X.iloc[::-1].reset_index(drop=True).add_prefix("FatJet_"), jets], axis=1)
    kinematics = KinematicsTransformer().fit(both)
    assert kinematics.columns_ == ("E", "pt", "eta", "phi")
    assert list(both.columns[kinematics.column_order_[:4]]) == list(jets.columns[:4])


# -- what is implausible -----------------------------------------------------------------------


def test_energies_may_lie_below_momenta_by_rounding_alone():
    X = make_jets(20, random_state=0)
    X[:, 0] = X[:, 1] * np.cosh(X[:, 2])
    X[3, 0] *= 1.0 - 0.9e-4
    KinematicsTransformer().fit(X)
    X[3, 0] *= 1.0 - 0.2e-4
    with pytest.raises(
        ValueError, match=r"1 rows whose E is below the momentum .* the first is row 3"
    ):
        KinematicsTransformer().fit(X)
    with pytest.raises(ValueError, match="whose E is below the momentum"):
        KinematicsTransformer().fit(X[:3]).transform(X)
    momenta = [[3.0, 4.0, 12.0, 13.0 * (1.0 - 1.1e-4)]]
    with pytest.raises(ValueError, match="whose E is below the momentum"):
        KinematicsTransformer(columns=("px", "py", "pz", "E")).fit(momenta)


def test_an_array_in_another_order_is_refused():
    X = make_jets(100, random_state=0)
    for order in ([1, 0, 2, 3], [1, 2, 3, 0], [3, 2, 1, 0], [0, 2, 3, 1]):
        with pytest.raises(ValueError, match="check that columns="):
            KinematicsTransformer().fit(X[:, order])


def test_angles_in_degrees_are_told():
    X = make_jets(100, random_state=0)
    X[:, 3] = np.rad2deg(X[:, 3])
    with pytest.warns(UnitsWarning, match="phi reaches 17.*, beyond 2π: in degrees"):
        kinematics = KinematicsTransformer().fit(X)
    with pytest.warns(UnitsWarning, match="beyond 2π") as caught:
        kinematics.transform(X)
    assert caught[0].filename == __file__
    by_mass = np.column_stack([X[:, 1], X[:, 1], np.linspace(0.0, 180.0, 100), np.deg2rad(X[:, 3])])
    with pytest.warns(UnitsWarning, match="eta reaches 180, as no particle's does"):
        KinematicsTransformer(columns=("m", "pt", "eta", "phi")).fit(by_mass)


def test_angles_from_zero_to_a_full_turn_and_any_unit_of_energy_are_no_matter():
    X = make_jets(100, random_state=0)
    X[:, 3] %= 2.0 * np.pi
    for unit in (1e-6, 1.0, 1e9):
        KinematicsTransformer().fit(X * [unit, unit, 1.0, 1.0])


# -- features of like spread -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_features_have_spread_one_but_for_phi_and_come_back(dtype, rng):
    X = np.column_stack(
        [make_jets(500, random_state=0), 1e3 * rng.normal(size=500), np.full(500, 3.0)]
    )
    X = X.astype(dtype)
    plain, scaled = KinematicsTransformer().fit(X), KinematicsTransformer(scale=True).fit(X)
    features = scaled.transform(X)
    assert features.dtype == dtype
    assert plain.scale_ is None
    np.testing.assert_array_equal(features[:, 2], X[:, 3])
    np.testing.assert_allclose(features[:, [0, 1, 3, 4]].std(axis=0), 1.0, rtol=1e-5)
    assert scaled.scale_[[2, 5]].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(features * scaled.scale_, plain.transform(X), rtol=2e-7)
    rtol = {np.float32: 3e-6, np.float64: 1e-12}[dtype]
    np.testing.assert_allclose(scaled.inverse_transform(features), X, rtol=rtol)
    assert list(scaled.get_feature_names_out()) == list(plain.get_feature_names_out())


def test_scale_is_that_of_training_and_one_row_has_none():
    X = make_jets(500, random_state=0)
    scaled = KinematicsTransformer(scale=True).fit(X)
    np.testing.assert_array_equal(scaled.transform(X[:7]), scaled.transform(X)[:7])
    assert (KinematicsTransformer(scale=True).fit(X[:1]).scale_ == 1.0).all()


def test_a_scaled_autoencoder_learns_the_mass_term():
    X = make_jets(2000, random_state=0, as_frame=True)[["pt", "eta", "phi", "E"]]

    def explained(scale):
        autoencoder = JetAutoencoder(
            3, hidden_layer_sizes=(32,), angles=[2], linear_path=True, max_epochs=8, random_state=0
        )
        model = make_pipeline(KinematicsTransformer(scale=scale), autoencoder).fit(X)
        features = model[0].transform(X)[:, 3]
        back = pd.DataFrame(model.inverse_transform(model.transform(X)), columns=X.columns)
        back = model[0].transform(back)[:, 3]
        return 1.0 - np.var(features - back) / np.var(features)

    assert explained(True) > explained(False) + 0.1


# -- errors ------------------------------------------------------------------------------------


def test_errors_are_clear_for_an_array_of_columns_too():
    with pytest.raises(ValueError, match="rows with pt <= 0 in column 1"):
        KinematicsTransformer(np.array(["E", "pt", "eta", "phi"])).fit(
            -make_jets(3, random_state=0)
        )


def test_columns_must_be_a_sequence():
    with pytest.raises(ValueError, match="'columns' parameter of KinematicsTransformer"):
        KinematicsTransformer(columns=3).fit(make_jets(3, random_state=0))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({(0, 1): -5.0}, r"X has 1 rows with pt <= 0 in column 1 \(min -5\); pt must be positive"),
        ({(0, 1): 0.0, (1, 1): 0.0}, "X has 2 rows with pt <= 0"),
        ({(0, 0): -1.0}, "X has 1 rows with E <= 0 in column 0"),
        ({(0, 2): np.nan}, "Input X contains NaN"),
    ],
)
def test_unphysical_momenta_are_errors(edit, message):
    X = make_jets(5, random_state=0)
    for index, value in edit.items():
        X[index] = value
    with pytest.raises(ValueError, match=message):
        KinematicsTransformer().fit(X)


def test_momenta_along_the_beam_are_an_error():
    with pytest.raises(ValueError, match="X has 1 rows with px = py = 0"):
        KinematicsTransformer(columns=("px", "py", "pz", "E")).fit([[0.0, 0.0, 5.0, 6.0]])


@pytest.mark.parametrize(
    "columns", [("E", "pt"), ("E", "m", "eta", "phi"), ("E", "pt", "pt", "phi")]
)
def test_columns_that_do_not_fix_a_four_momentum_are_an_error(columns):
    with pytest.raises(ValueError, match="does not fix a four-momentum; use one of "):
        KinematicsTransformer(columns=columns).fit(make_jets(5, random_state=0))


def test_wrong_widths_are_errors():
    X = make_jets(5, random_state=0)
    with pytest.raises(ValueError, match="X has 3 columns; the first four must be"):
        KinematicsTransformer().fit(X[:, :3])
    kinematics = KinematicsTransformer().fit(X)
    with pytest.raises(
        ValueError, match="X has 3 features, but KinematicsTransformer is expecting 4"
    ):
        kinematics.transform(X[:, :3])
    with pytest.raises(ValueError, match="X has 3 columns, but transform returns 4"):
        kinematics.inverse_transform(X[:, :3])


def test_names_in_several_units_are_refused(jets):
    frame = pd.DataFrame(jets * [1.0, 1e3, 1.0, 1.0], columns=["E [GeV]", "pt [MeV]", "eta", "phi"])
    with pytest.raises(ValueError, match="are in several units; bring them to one"):
        KinematicsTransformer().fit(frame)
