"""examples/jets_from_pythia.py: columns of jets made by hand have their known values; no Pythia runs."""

import argparse
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from scripts import imported

from skae.datasets import load_jets

EXAMPLE = imported(Path(__file__).parents[1] / "examples" / "jets_from_pythia.py")
PION, PHOTON, MUON = 211, 22, 13
CHARGES = {PION: 1.0, PHOTON: 0.0, MUON: -1.0}


def jet(pt, rapidity, azimuth, kinds=None):
    """Return a jet of massless constituents."""
    pt, rapidity, azimuth = np.broadcast_arrays(np.asarray(pt, float), rapidity, azimuth)
    kinds = [PHOTON] * len(pt) if kinds is None else kinds
    return [
        {"px": t * np.cos(a), "py": t * np.sin(a), "pz": t * np.sinh(y), "E": t * np.cosh(y),
         "id": k, "charge": CHARGES[k]}
        for t, y, a, k in zip(pt, rapidity, azimuth, kinds, strict=True)
    ]  # fmt: skip


def table(*jets):
    return ak.Array(list(jets), with_name="Momentum4D")


TWO = jet([100.0, 100.0], 0.0, [-0.2, 0.2], [PION, PHOTON])
UNEQUAL = jet([60.0, 20.0, 20.0], 0.0, [0.0, 0.0, 0.0], [PION, MUON, PHOTON])
ANGLES = np.array([0.0, 2.0, 4.0]) * np.pi / 3
EQUILATERAL = jet([100.0] * 3, 0.3 * np.cos(ANGLES), 0.3 * np.sin(ANGLES))


def test_shapes_of_two_equal_prongs():
    found = {name: values[0] for name, values in EXAMPLE.shapes(table(TWO)).items()}
    assert found == pytest.approx(
        {
            "mass": 100.0 * np.sqrt(2.0 - 2.0 * np.cos(0.4)),
            "girth": 0.2,
            "lha": np.sqrt(0.2),
            "width": 0.04,
            "n_constituents": 2,
            "n_charged": 1,
            "charged_fraction": 0.5,
            "em_fraction": 0.5,
            "muon_fraction": 0.0,
            "pt_dispersion": np.sqrt(0.5),
            "leading_fraction": 0.5,
            "charge": np.sqrt(0.5),
        }
    )


def test_fractions_and_charge_of_unequal_shares():
    found = EXAMPLE.shapes(table(TWO, UNEQUAL))
    assert found["charged_fraction"][1] == pytest.approx(0.8)
    assert found["muon_fraction"][1] == pytest.approx(0.2)
    assert found["em_fraction"][1] == pytest.approx(0.2)
    assert found["charge"][1] == pytest.approx(np.sqrt(0.6) - np.sqrt(0.2))
    assert found["pt_dispersion"][1] == pytest.approx(np.sqrt(0.36 + 0.04 + 0.04))
    np.testing.assert_allclose(found["girth"], [0.2, 0.0], atol=1e-12)
    assert found["n_constituents"].dtype.kind == "i"


def test_shapes_do_not_change_when_a_jet_is_turned_or_boosted():
    """Across the cut at π, and along the beam, where neither pT nor distances change."""
    rng = np.random.default_rng(0)
    pt, rapidity, azimuth = rng.uniform(1.0, 9.0, 30), *rng.uniform(-0.5, 0.5, (2, 30))
    here = EXAMPLE.shapes(table(jet(pt, rapidity, azimuth)))
    there = EXAMPLE.shapes(table(jet(pt, rapidity + 1.2, azimuth + np.pi)))
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=1e-9, err_msg=name)


def test_four_momenta_are_those_that_load_jets_reads(tmp_path):
    jets = table(TWO, EQUILATERAL)
    named = EXAMPLE.four_momenta(*EXAMPLE.add_up(jets))
    assert named["pt"][0] == pytest.approx(200.0 * np.cos(0.2))
    assert named["eta"][0] == pytest.approx(0.0)
    rows = np.rec.fromarrays(list(named.values()), names=list(named))
    np.save(tmp_path / "jets.npy", rows)
    np.testing.assert_array_equal(
        load_jets(tmp_path / "jets.npy"), np.column_stack(list(named.values()))
    )


def test_zero_over_zero_is_zero():
    np.testing.assert_array_equal(
        EXAMPLE.ratio(np.array([0.0, 3.0]), np.array([0.0, 2.0])), [0.0, 1.5]
    )


# -- what FastJet brings -------------------------------------------------------------------------


@pytest.fixture
def fastjet():
    return pytest.importorskip("fastjet", reason="the extra hep is not installed")


@pytest.mark.usefixtures("fastjet")
def test_substructure_of_two_equal_prongs():
    """A second axis leaves nothing; there is no third prong, so that C2 and D2 vanish."""
    found = EXAMPLE.substructure(table(TWO))
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {
            "n_subjets": 2,
            "tau1": 0.2,
            "tau21": 0.0,
            "tau32": 0.0,
            "C2": 0.0,
            "D2": 0.0,
            "soft_drop_mass": 100.0 * np.sqrt(2.0 - 2.0 * np.cos(0.4)),
            "zg": 0.5,
            "rg": 0.4,
        },
        abs=1e-6,
    )


@pytest.mark.usefixtures("fastjet")
def test_correlators_of_three_equal_prongs():
    """Sides d and shares 1/3: e2 = d/3 and e3 = d³/27, so C2 = d/3 and D2 = 1."""
    found = EXAMPLE.substructure(table(TWO, EQUILATERAL))
    side = 0.3 * np.sqrt(3.0)
    assert found["C2"][1] == pytest.approx(side / 3.0, rel=1e-6)
    assert found["D2"][1] == pytest.approx(1.0, rel=1e-6)
    assert found["n_subjets"][1] == 3
    assert found["tau32"][1] == pytest.approx(0.0, abs=1e-6)
    assert found["tau21"][1] > 0.1


@pytest.mark.usefixtures("fastjet")
def test_a_soft_third_particle_is_groomed_away():
    wide = jet([100.0, 100.0, 10.0], 0.0, [-0.1, 0.1, 0.8])
    found = EXAMPLE.columns_of(table(wide, TWO))
    assert list(found) == EXAMPLE.COLUMNS
    assert len(found) == 25
    assert found["soft_drop_mass"][0] == pytest.approx(100.0 * np.sqrt(2.0 - 2.0 * np.cos(0.2)))
    assert found["mass"][0] > found["soft_drop_mass"][0] + 10.0
    assert found["rg"][0] == pytest.approx(0.2)


@pytest.mark.usefixtures("fastjet")
def test_a_single_particle_has_zeros():
    found = EXAMPLE.columns_of(table(jet([100.0], 0.0, 0.0), TWO))
    for name in ("girth", "width", "tau1", "tau21", "C2", "D2", "zg", "rg"):
        assert found[name][0] == pytest.approx(0.0, abs=1e-9), name
    assert found["leading_fraction"][0] == 1.0


@pytest.mark.usefixtures("fastjet")
def test_the_two_leading_jets_of_triggered_events_are_kept():
    """The harder first; events whose leading jet is too soft are left out, and stay numbered."""
    hard = jet([1300.0, 50.0, 1000.0], 0.0, [0.0, 1.5, 3.0])
    soft = jet([1100.0, 900.0], 0.0, [0.0, 3.0])
    back = jet([500.0, 1250.0], 0.0, [0.0, 3.0])
    options = argparse.Namespace(radius=1.0, min_pt=1200.0)
    jets, events = EXAMPLE.leading_two(table(hard, soft, back), options)
    np.testing.assert_array_equal(events, [0, 0, 2, 2])
    px, py, _, _ = EXAMPLE.add_up(jets)
    np.testing.assert_allclose(np.hypot(px, py), [1300.0, 1000.0, 1250.0, 500.0])
