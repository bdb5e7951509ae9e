"""Calorimeters of the CaloChallenge, built in and read."""

from pathlib import Path

import numpy as np
import pytest

from skae.datasets import CaloGeometry, make_showers

BINNINGS = Path(__file__).parents[3] / "shared" / "data" / "calochallenge"
NAMES = {"dataset_1_photons": 368, "dataset_1_pions": 533, "dataset_2": 6480, "dataset_3": 40500}

XML = """<Bins>
  <Bin pid="22" etaMin="0" etaMax="130" name="photon">
    <Layer id="0" r_edges="0,5,10.5" n_bin_alpha="1" />
    <Layer id="1" r_edges="0,2" n_bin_alpha="10" />
    <Layer id="4" r_edges="0" n_bin_alpha="1" />
    <Layer id="12" r_edges="0,100,200,400" n_bin_alpha="2" />
  </Bin>
</Bins>
"""


@pytest.mark.parametrize("name", NAMES)
def test_calorimeters_have_the_voxels_of_the_challenge(name):
    geometry = CaloGeometry.named(name)
    assert geometry.n_voxels == NAMES[name] == len(geometry.r) == len(geometry.angle)
    assert sum(where.stop - where.start for where in geometry.layers) == geometry.n_voxels
    assert geometry.threshold == (1.0 if "dataset_1" in name else 0.01515)


@pytest.mark.skipif(
    not BINNINGS.exists(), reason="the challenge's files are not beside this checkout"
)
@pytest.mark.parametrize("name", NAMES)
def test_built_in_calorimeters_are_those_of_the_files(name):
    built_in = CaloGeometry.named(name)
    read = CaloGeometry.from_xml(
        BINNINGS / f"binning_{name}.xml",
        threshold=built_in.threshold,
        layer_edges=built_in.layer_edges,
    )
    assert read == built_in
    assert hash(read) == hash(built_in)


def test_layers_of_data_set_1_lie_at_the_published_depths():
    """In radiation lengths, and interaction lengths of iron and scintillator of 9.2 of these."""
    edges = np.array(CaloGeometry.named("dataset_1_pions").layer_edges) / 18.9
    tiles = np.diff(edges)[4:] / 9.2
    np.testing.assert_allclose(edges[:5], [1.9, 2.3, 6.6, 22.6, 24.6], atol=1e-3)
    np.testing.assert_allclose(tiles, [1.5, 4.1, 1.8], atol=1e-3)
    photons = CaloGeometry.named("dataset_1_photons")
    np.testing.assert_allclose(np.array(photons.layer_edges) / 18.9, edges[:6])


def test_binning_is_read(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(XML)
    geometry = CaloGeometry.from_xml(path, threshold=1.0)
    assert geometry.radial_edges == ((0.0, 5.0, 10.5), (0.0, 2.0), (0.0, 100.0, 200.0, 400.0))
    assert geometry.n_angles == (1, 10, 2)
    assert geometry.layer_names == ("0", "1", "12")
    assert geometry.layers == [slice(0, 2), slice(2, 12), slice(12, 18)]
    assert geometry.voxel_shape is None


def test_radius_is_fastest_then_the_angle():
    geometry = CaloGeometry([(0, 2, 6)] * 2, [4] * 2)
    assert geometry.voxel_shape == (2, 4, 2)
    np.testing.assert_allclose(geometry.r[:4], [1, 4, 1, 4])
    quarter = np.pi / 4
    np.testing.assert_allclose(
        geometry.angle[:8:2], [-3 * quarter, -quarter, quarter, 3 * quarter], rtol=1e-12
    )
    np.testing.assert_allclose(geometry.x, geometry.r * np.cos(geometry.angle))
    np.testing.assert_allclose(geometry.y**2 + geometry.x**2, geometry.r**2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (XML[:150], "cannot be read as a binning"),
        (XML.replace("n_bin_alpha", "angles"), "'n_bin_alpha'"),
        (XML.replace("5,10.5", "5,broad"), "could not convert"),
        (XML.replace("<Bins>", "<Bins><Bin/>"), "2 particles"),
        ('<Bins><Bin><Layer r_edges="0"/></Bin></Bins>', "none of its layers"),
    ],
)
def test_binning_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "binning.xml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        CaloGeometry.from_xml(path)
    with pytest.raises(FileNotFoundError, match="not a file"):
        CaloGeometry.from_xml(tmp_path / "elsewhere.xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_angles": [4]}, "2 layers and n_angles 1"),
        ({"radial_edges": [(0, 5), (5, 5)]}, r"radial_edges\[1\] must be two or more numbers that"),
        ({"radial_edges": [(0, 5), (-1, 5)]}, "below 0"),
        ({"n_angles": [4, 0]}, "must be 1 or more"),
        ({"threshold": -1.0}, "0 or more"),
        ({"layer_edges": (0, 1)}, "2 layers have 3 edges"),
        ({"layer_edges": (0, 2, 1)}, "layer_edges must be two or more"),
        ({"layer_edges": (-1, 2, 3)}, "layer_edges begin at -1"),
        ({"n_angles": [4, 1.9]}, "must be whole numbers"),
        ({"layer_names": ["a"]}, "1 names for 2 layers"),
    ],
)
def test_geometry_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CaloGeometry(**{"radial_edges": [(0, 5)] * 2, "n_angles": [4, 4], **arguments})
    with pytest.raises(ValueError, match="'dataset_4' is none of 'dataset_1_photons'"):
        make_showers(2, geometry="dataset_4")


def test_blocks_are_neighbouring_layers_that_are_divided_alike():
    assert CaloGeometry.named("dataset_2").blocks == [(45, 16, 9)]
    photons = CaloGeometry.named("dataset_1_photons")
    assert photons.blocks == [(1, 1, 8), (1, 10, 16), (1, 10, 19), (1, 1, 5), (1, 1, 5)]
    alike = CaloGeometry([(0, 1, 2)] * 2 + [(0, 1, 3)] + [(0, 1, 2)], [4, 4, 4, 4])
    assert alike.blocks == [(2, 4, 2), (1, 4, 2), (1, 4, 2)]
