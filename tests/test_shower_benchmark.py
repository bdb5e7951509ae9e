"""What benchmarks/bench_geant4.py measures showers by has the values that can be known beforehand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from scripts import imported
from sklearn.pipeline import make_pipeline

from skae import CaloShowerVAE, LogRatioTransformer, sample
from skae.datasets import CaloGeometry, make_showers
from skae.exceptions import PoorFitWarning
from skae.metrics import shower_features

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import a file of the benchmarks, where it finds those beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: imported(BENCHMARKS / f"{name}.py")


@pytest.fixture
def showers():
    return make_showers(60, random_state=0)


# -- rivals ------------------------------------------------------------------------------------


def test_each_energy_has_its_own_nearest_shower(module):
    others = np.array([1.0, 10.0, 100.0, 1000.0])
    chosen = module("_shower_rivals").nearest_unused(np.array([900.0, 12.0, 0.5]), others)
    assert chosen.tolist() == [3, 1, 0]


def test_energies_share_no_shower(module, rng):
    rivals = module("_shower_rivals")
    energy, others = rng.lognormal(size=50), rng.lognormal(size=60)
    chosen = rivals.nearest_unused(energy, others)
    assert len(set(chosen.tolist())) == 50
    assert sorted(rivals.nearest_unused(others, others).tolist()) == list(range(60))
    with pytest.raises(ValueError, match="60 energies cannot"):
        rivals.nearest_unused(others, energy)


def test_nearest_of_sorted_is_the_nearest(module, rng):
    values = np.sort(rng.normal(size=20))
    for target in rng.normal(size=50):
        found = module("_shower_rivals").nearest_of_sorted(values.tolist(), target)
        assert found == np.argmin(np.abs(values - target))


def test_rescaled_showers_are_read_out_anew(module):
    showers = np.array([[10.0, 4.0, 1.0, 0.0]])
    rescaled = module("_shower_rivals").rescaled(showers, np.array([5.0]), 1.0)
    np.testing.assert_array_equal(rescaled, [[5.0, 2.0, 0.0, 0.0]])


def test_energies_are_spread_over_the_voxels_that_are_read_out(module):
    voxels = np.array([[6.0, 3.0, 1.0], [6.0, 3.0, 1.0], [0.0, 2.0, 2.0], [3.0, 2.0, 0.0]])
    energy = np.array([20.0, 5.0, 0.0, 1.1])
    spread = module("_shower_rivals").spread_over(voxels, energy, threshold=1.0)
    expected = [[12.0, 6.0, 2.0], [10 / 3, 5 / 3, 0.0], [0.0, 0.0, 0.0], [1.1, 0.0, 0.0]]
    np.testing.assert_allclose(spread, expected)


def test_layers_are_put_onto_a_training_shower_and_where_it_is_dark_onto_the_next(module):
    geometry = CaloGeometry([(0, 1)] * 3, [2] * 3)
    train = np.array(
        [
            [10.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0],
            [20.0, 1.0, 0.0, 0.0, 5.0, 0.0, 0.0],
            [99.0, 1.0, 0.0, 7.0, 0.0, 0.0, 0.0],
        ]
    )
    layers = np.array([[8.0, 2.0, 4.0], [0.0, 6.0, 0.0]])
    drawn = module("_shower_rivals").on_voxels_of(
        train, np.array([0, 2]), np.array([11.0, 98.0]), layers, geometry
    )
    # no training shower has the last layer lit
    expected = [[11.0, 2.0, 6.0, 0.0, 2.0, 0.0, 0.0], [98.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0]]
    np.testing.assert_allclose(drawn, expected)


# -- columns of the table ----------------------------------------------------------------------


def test_a_sample_has_the_sums_and_hits_of_its_layers(module, showers):
    sample = module("_showers").ShowerSample(showers)
    grid = showers[:, 1:].reshape(-1, 45, 144)
    np.testing.assert_allclose(sample.layers, grid.sum(axis=2, dtype=np.float64))
    np.testing.assert_array_equal(sample.hits, (grid > 0.0).sum(axis=2))
    features = shower_features(showers)
    expected = np.column_stack([features[:, 1:46], features[:, 0]])
    np.testing.assert_allclose(sample.layer_columns, expected)


def test_counts_are_separated_number_by_number(module):
    real = np.array([[0, 5], [1, 5]])
    generated = np.array([[0, 4], [0, 4]])
    # of the first column ½ ((½ − 1)² / 1.5 + ½² / ½); the second one has nothing in common
    value = module("_showers").separation_of_counts(real, generated, 5)
    assert value == pytest.approx((1 / 3 + 1.0) / 2)


def test_trees_tell_shifted_rows_apart_and_equal_ones_not(module, rng):
    told_apart = module("_showers").told_apart_by_trees
    real, same = rng.normal(size=(2, 1000, 2))
    assert abs(told_apart(real, same).auc - 0.5) < 4 * told_apart(real, same).error
    assert told_apart(real, same + 5.0).auc > 0.99


def test_a_row_prints_its_figures_and_medians_are_those_of_rows(module, showers, capsys):
    bench = module("_showers")
    judge = bench.Judge(bench.ShowerSample(showers), [bench.SEPARATION, bench.MILLISECONDS])
    rows = [
        judge.row("one", bench.ShowerSample(showers, milliseconds)) for milliseconds in (1, 2, 9)
    ]
    assert rows[0] == {"separation": 0.0, "ms a shower": 1.0}
    judge.medians("middle", rows)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["middle", "0.0000", "2.000"]


# -- details -----------------------------------------------------------------------------------


def test_a_parabola_in_depth_bends_everywhere_alike(module):
    energy = np.array([100.0, 2000.0])
    depth = np.arange(45)
    layers = 10.0 ** (-0.0005 * depth**2) * energy[:, None] - 0.01 * energy[:, None]
    bends = module("_shower_details").second_differences(energy, layers)
    np.testing.assert_allclose(bends, np.full((2, 13), -0.001), rtol=1e-9)


def test_second_differences_are_those_of_layers_2_to_14(module):
    layers = np.ones((1, 45))
    for layer, is_seen in ((0, False), (1, True), (15, True), (16, False)):
        bent = layers.copy()
        bent[0, layer] = 2.0
        bends = module("_shower_details").second_differences(np.array([1.0]), bent)
        assert bends.any() == is_seen, layer
        assert bends.shape == (1, 13)


def test_bends_compare_spreads_of_the_band(module, rng):
    bench, details = module("_showers"), module("_shower_details")
    samples = []
    for scale in (1.0, 3.0):
        sample = bench.ShowerSample(np.repeat([[5.0], [50.0]], 4000, axis=0))
        noise = np.where(sample.energy > 10.0, scale, 1.0)[:, None] * rng.normal(size=(8000, 45))
        sample.__dict__["layers"] = sample.energy[:, None] * (10.0 ** (0.1 * noise) - 0.01)
        samples.append(sample)
    assert details.ratio_of_bends(*samples, 0.0, 10.0) == pytest.approx(1.0, abs=0.03)
    assert details.ratio_of_bends(*samples, 10.0, np.inf) == pytest.approx(3.0, abs=0.09)


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_the_error_of_a_ratio_of_widths_is_how_far_it_varies(module, rng, draw):
    ratio_of_widths = module("_shower_details").ratio_of_widths
    found = [
        ratio_of_widths(getattr(rng, draw)(size=400), 2.0 * getattr(rng, draw)(size=200))
        for _ in range(2000)
    ]
    ratios, errors = np.transpose(found)
    assert np.mean(ratios) == pytest.approx(2.0, abs=0.05)
    assert np.median(errors) == pytest.approx(np.std(ratios), rel=0.15)


def test_limits_are_a_share_at_the_axis_and_a_number_elsewhere(module):
    real = np.array([[0.5, -0.1, 0.2, 0.2]])
    generated = np.array([[0.41, -0.13, 0.209, 0.211]])
    far = module("_shower_details").beyond_limits(real, generated)
    assert far.tolist() == [[False, True, False, True]]


def test_trees_find_the_group_that_differs(module):
    bench = module("_showers")
    real, generated = (bench.ShowerSample(make_showers(200, random_state=i)) for i in (0, 1))
    generated.features[:, 226] += 1e3  # centres, widths, log10_E_tot, then the sparsity of layers
    generated.features[:, 227:272] += 1.0
    areas = module("_shower_details").auc_by_group(real, generated)
    assert {name for name, area in areas.items() if area > 0.9} == {"sparsity", "all"}


# -- copies ------------------------------------------------------------------------------------


def test_the_nearest_training_shower_is_found_among_those_of_similar_energy(module, rng):
    energy, voxels = rng.uniform(1.0, 2.0, 400), rng.exponential(size=(400, 5))
    X = np.column_stack([energy, voxels])
    showers, train = X[:250], X[250:]
    found = module("_shower_copies").distances_to_nearest(showers, train, n_near=20)
    ordered = train[np.argsort(train[:, 0])]
    for distance, shower in zip(found, showers, strict=True):
        n_below = np.count_nonzero(ordered[:, 0] < shower[0])
        start = min(max(n_below - 10, 0), 130)
        near = np.log1p(ordered[start : start + 20, 1:])
        expected = np.linalg.norm(near - np.log1p(shower[1:]), axis=1).min()
        assert distance == pytest.approx(expected)


def test_copies_are_caught_and_other_showers_are_not(module):
    copies = module("_shower_copies")
    train, held_out, others = (make_showers(300, random_state=seed) for seed in range(3))
    distances = copies.distances_to_nearest(held_out, train)
    handed_out = train[::2].copy()
    handed_out[:, 1:] *= 1.01  # nearly as they are
    for showers, low, high in ((handed_out, 0.95, 1.0), (others, 0.0, 0.04)):
        share = copies.share_of_copies(copies.distances_to_nearest(showers, train), distances)
        assert low <= share <= high


def test_equal_showers_count_once(module):
    showers = np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]])
    assert module("_shower_copies").n_distinct(showers) == 2


# -- parts taken away --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    geometry = CaloGeometry([(0, 10, 20, 30)] * 6, [8] * 6, layer_edges=np.arange(7) * 20.0)
    X = make_showers(400, energy=(1e3, 1e4), geometry=geometry, random_state=0)
    vae = CaloShowerVAE(2, geometry=geometry, hidden_size=8, max_epochs=2, random_state=0)
    with warnings.catch_warnings(action="ignore", category=PoorFitWarning):
        return make_pipeline(LogRatioTransformer("log1p", reference=0, threshold=0.1), vae).fit(
            X
        ), X


def test_without_a_part_showers_differ_and_afterwards_they_are_as_before(module, small):
    model, X = small
    usual = sample(model, X[:, 0], random_state=0)
    drawn = {}
    for name, without in module("_shower_parts").PARTS.items():
        with without(model, X):
            drawn[name] = sample(model, X[:, 0], random_state=0)
        np.testing.assert_array_equal(sample(model, X[:, 0], random_state=0), usual, name)
    equal = {name for name, showers in drawn.items() if np.array_equal(showers, usual)}
    assert equal == {"as it is"}
    hits = {name: np.count_nonzero(showers[:, 1:25], axis=1) for name, showers in drawn.items()}
    differing = {name for name in hits if (hits[name] != hits["as it is"]).any()}
    assert differing == {"hits by their chances alone"}


def test_strengths_are_none_or_one(module, small):
    parts, (model, X) = module("_shower_parts"), small
    strength = model[-1].module_.field.blocks[0].strength
    with parts.independent_voxels(model, X):
        assert not strength.any()
    with parts.one_strength(model, X):
        assert (strength == 1.0).all()
    with parts.energies_as_hits(model, X):
        assert (strength[1] == 1.0).all()
        assert strength[0].min() < 0.9
    assert 0.05 <= strength[1].min() < strength[1].max() <= 1.0


# -- the command -------------------------------------------------------------------------------


class _Stub:
    """A model that puts what a layer has into its first voxel."""

    def sample(self, incident_energy, *, layer_energies=None, random_state=None):
        showers = np.zeros((len(incident_energy), 6481))
        showers[:, 0] = incident_energy
        showers[:, 1::144] = layer_energies
        return showers


def test_models_are_given_the_energies_of_layers(module, showers):
    bench = module("bench_geant4")
    model = make_pipeline(_Stub())
    drawn = bench.voxels_for(model, showers)
    np.testing.assert_array_equal(drawn[:, 0], showers[:, 0])
    given = showers[:, 1:].reshape(-1, 45, 144).sum(axis=2, dtype=np.float64)
    np.testing.assert_allclose(drawn[:, 1::144], given)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skae.exceptions.PoorFitWarning")
def test_the_command_prints_all_that_is_asked_for(module, tmp_path, capsys, rng):
    energy = np.exp(rng.uniform(np.log(1e3), np.log(1e5), 600))
    energy[::3] = rng.uniform(8e3, 1.2e4, 200)
    X = make_showers(600, energy=energy, random_state=0)
    rows, indices = np.nonzero(X[:, 1:])
    np.savez(
        tmp_path / "showers.npz",
        energy=X[:, 0],
        indices=indices.astype(np.uint16),
        values=X[rows, 1 + indices],
        indptr=np.searchsorted(rows, np.arange(601)),
        n_voxels=6480,
    )
    module("bench_geant4").main(
        ["--data", str(tmp_path / "showers.npz"), "--train", "400", "--epochs", "1", "--seeds", "1",
         "--threads", "1", "--only", "floor", "model", "layers", "--copying",
         "--pictures", str(tmp_path / "pictures")]
    )  # fmt: skip
    printed = capsys.readouterr().out
    for row in ("floor", "model, median", "its layers, median", "the full fit"):
        assert f"\n{row}  " in printed
    assert " of 54 within" in printed
    assert "its voxels: left out" not in printed
    assert "5000 of 5000 showers of exactly 10 GeV are distinct" in printed
    pictures = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert pictures == ["geant4-neighbours.png", "geant4-showers.png"]
