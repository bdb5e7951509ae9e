"""make_showers follows the parametrisation: along the axis, around it, in its sums and its spots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import gamma

from skae.datasets import CaloGeometry, CaloMaterial, make_showers
from skae.datasets._shower_profiles import draw_profiles, longitudinal_moments, radial_shape
from skae.physics.calorimeter import resolve_geometry

TUNGSTEN = CaloMaterial()
HOMOGENEOUS = CaloMaterial(sampling_frequency=None)
LEAD_ARGON = CaloMaterial.named("lead_argon")
DATA_SET_1 = ("dataset_1_photons", "dataset_1_pions")

# So deep and wide that nothing leaves it, in layers of half a radiation length, and without rings.
DEEP = CaloGeometry(
    radial_edges=[(0, 1e6)] * 120, n_angles=[1] * 120, layer_edges=np.arange(121) * 2.1
)


def published(energy, material):
    """Means, spreads and correlation of ln T and ln α as the paper has them, for one energy (GeV)."""
    log_y = np.log(1e3 * energy / material.critical_energy)
    t, alpha = log_y - 0.812, 0.81 + (0.458 + 2.26 / material.z) * log_y
    if material.sampling_frequency is None:
        spreads = 1 / (-1.4 + 1.26 * log_y), 1 / (-0.58 + 0.86 * log_y)
        return np.log(t), np.log(alpha), *spreads, 0.705 - 0.023 * log_y
    frequency, e_hat = material.sampling_frequency, material.e_over_mip
    t += -0.55 / frequency - 0.69 * (1 - e_hat)
    alpha += -0.476 / frequency
    spreads = 1 / (-2.5 + 1.25 * log_y), 1 / (-0.82 + 0.79 * log_y)
    return np.log(t), np.log(alpha), *spreads, 0.784 - 0.023 * log_y


@pytest.mark.parametrize("energy", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("material", [TUNGSTEN, HOMOGENEOUS, LEAD_ARGON])
def test_shapes_along_the_axis_have_the_published_moments(energy, material):
    n = 40_000
    profiles = draw_profiles(np.full(n, energy), material, np.random.default_rng(0))
    log_t, log_alpha, sigma_t, sigma_alpha, rho = published(energy, material)
    drawn = np.log(profiles.t), np.log(profiles.alpha)
    assert drawn[0].mean() == pytest.approx(log_t, abs=4 * sigma_t / np.sqrt(n))
    assert drawn[1].mean() == pytest.approx(log_alpha, abs=4 * sigma_alpha / np.sqrt(n))
    assert drawn[0].std() == pytest.approx(sigma_t, rel=4 / np.sqrt(2 * n))
    assert drawn[1].std() == pytest.approx(sigma_alpha, rel=4 / np.sqrt(2 * n))
    assert np.corrcoef(*drawn)[0, 1] == pytest.approx(rho, abs=4 * (1 - rho**2) / np.sqrt(n))


@pytest.mark.parametrize("material", [TUNGSTEN, HOMOGENEOUS])
def test_showers_have_these_shapes(material):
    """T and α of each shower, from the mean and the variance of its depth."""
    n, energy = 2000, 1e6
    X = make_showers(n, energy=energy, geometry=DEEP, material=material, random_state=0)
    weights = X[:, 1:] / X[:, 1:].sum(axis=1, keepdims=True)
    depth = (np.arange(120) + 0.5) * 2.1 / material.radiation_length
    mean = weights @ depth
    variance = weights @ depth**2 - mean**2
    log_alpha, log_t = np.log(mean**2 / variance), np.log(mean - variance / mean)
    expected_t, expected_alpha, sigma_t, sigma_alpha, _ = published(energy / 1e3, material)
    # a few in a thousand for spots and the width of layers, which add to the variance
    assert log_t.mean() == pytest.approx(expected_t, abs=4 * sigma_t / np.sqrt(n) + 0.003)
    error = 4 * sigma_alpha / np.sqrt(n) + 0.004
    assert log_alpha.mean() == pytest.approx(expected_alpha, abs=error)


@pytest.mark.parametrize(("energy", "material"), [(1e6, TUNGSTEN), (3e4, HOMOGENEOUS)])
def test_energy_within_a_radius_is_the_published(energy, material):
    """The share within each ring of each layer, averaged over shapes of their own."""
    edges = (0.0, 3.0, 10.0, 40.0, 1e6)
    depths = np.arange(0.0, 121.0, 20.0)
    geometry = CaloGeometry([edges] * 6, [1] * 6, layer_edges=depths)
    n = 1500
    X = make_showers(n, energy=energy, geometry=geometry, material=material, random_state=0)
    voxels = X[:, 1:].reshape(n, 6, 4) / energy
    found, error = voxels.mean(axis=0), voxels.std(axis=0) / np.sqrt(n)

    gev, in_x0 = np.full(20_000, energy / 1e3), depths / material.radiation_length
    profiles = draw_profiles(gev, material, np.random.default_rng(1))
    sampling = material.sampling_frequency is not None
    mean_alpha = np.exp(longitudinal_moments(gev, material, sampling=sampling).log_alpha)
    expected = np.empty((6, 4))
    for layer in range(6):
        t = 0.5 * (in_x0[layer] + in_x0[layer + 1])
        tau = t / profiles.t * (profiles.alpha - 1) / profiles.alpha * mean_alpha / (mean_alpha - 1)
        core, tail, p = radial_shape(gev, tau, material)
        r2 = (np.asarray(edges)[:, None] / material.moliere_radius) ** 2
        within = p * r2 / (r2 + core**2) + (1 - p) * r2 / (r2 + tail**2)
        fine = np.linspace(in_x0[layer], in_x0[layer + 1], 41)
        beta = (profiles.alpha - 1) / profiles.t
        log_density = (profiles.alpha - 1) * np.log(np.maximum(beta * fine[:, None], 1e-300))
        density = beta * np.exp(log_density - beta * fine[:, None] - gammaln(profiles.alpha))
        share = np.trapezoid(density, fine, axis=0)
        expected[layer] = (np.diff(within, axis=0) * share).mean(axis=1)
    np.testing.assert_array_less(np.abs(found - expected), 4 * error + 0.01 * expected)


def test_radial_shape_is_the_published_formula():
    """At one energy and depth, worked out by hand."""
    core, tail, p = radial_shape(np.array([10.0]), np.array([1.0]), HOMOGENEOUS)
    log_e, z = np.log(10.0), 72.5
    assert core[0] == pytest.approx(0.0251 + 0.00319 * log_e + (0.1162 - 0.000381 * z))
    k4 = 0.3585 + 0.0412 * log_e
    k1 = 0.659 - 0.00309 * z
    assert tail[0] == pytest.approx(k1 * (np.exp(-2.59 * 0.355) + np.exp(k4 * 0.355)))
    q = (0.401 + 0.00187 * z - 1.0) / (1.313 - 0.0686 * log_e)
    assert p[0] == pytest.approx((2.632 - 0.00094 * z) * np.exp(q - np.exp(q)))


# Of the Particle Data Group: thickness (mm), density, Z, X₀ (g/cm²) and critical energy (MeV).
PB, LAR = (1.53, 11.35, 82, 6.37, 7.43), (4.2, 1.396, 18, 19.55, 32.84)
W, SI = (1.4, 19.3, 74, 6.76, 7.97), (0.3, 2.329, 14, 21.82, 40.19)


@pytest.mark.parametrize(
    ("name", "media"),
    [("lead_argon", (PB, LAR)), ("tungsten_silicon", (W, SI))],
)
def test_named_materials_are_weighted_means_of_their_media(name, media):
    """Section 2 of the paper; X₀ in mm, the Molière radius from a scale energy of 21.2 MeV."""
    thickness, density, z, length, critical = np.array(media).T
    weight = thickness * density / (thickness @ density)
    mean_length = 1.0 / np.sum(weight / length)
    in_mm = 10.0 * mean_length * thickness.sum() / (thickness @ density)
    mean_critical = mean_length * np.sum(weight * critical / length)
    material = CaloMaterial.named(name)
    assert material.z == pytest.approx(weight @ z, rel=2e-3)
    assert material.radiation_length == pytest.approx(in_mm, rel=6e-3)
    assert material.critical_energy == pytest.approx(mean_critical, rel=4e-3)
    assert material.moliere_radius == pytest.approx(in_mm * 21.2 / mean_critical, rel=3e-3)
    assert material.sampling_frequency == pytest.approx(in_mm / thickness.sum(), rel=6e-3)
    assert material.e_over_mip == pytest.approx(1.0 / (1.0 + 0.007 * (z[0] - z[1])), rel=1e-3)


@pytest.mark.parametrize("name", DATA_SET_1)
@pytest.mark.parametrize("energy", [1e3, 1e5])
def test_layers_of_data_set_1_hold_the_published_shares(name, energy):
    """Those between the published depths; without rings, so that nothing leaves at the sides."""
    n = 3000
    edges = CaloGeometry.named(name).layer_edges
    n_layers = len(edges) - 1
    geometry = CaloGeometry([(0, 1e6)] * n_layers, [1] * n_layers, layer_edges=edges)
    X = make_showers(n, energy=energy, geometry=geometry, random_state=0)  # no material is given
    voxels = X[:, 1:] / energy
    found, error = voxels.mean(axis=0), voxels.std(axis=0) / np.sqrt(n)

    log_t, log_alpha, sigma_t, sigma_alpha, rho = published(energy / 1e3, LEAD_ARGON)
    covariance = rho * sigma_t * sigma_alpha
    drawn = np.random.default_rng(1).multivariate_normal(
        (log_t, log_alpha), [[sigma_t**2, covariance], [covariance, sigma_alpha**2]], 100_000
    )
    t, alpha = np.exp(drawn.T)
    t, alpha = np.maximum(t, 0.5)[:, None], np.maximum(alpha, 1.1)[:, None]
    in_x0 = np.array((1.9, 2.3, 6.6, 22.6, 24.6, 38.4, 76.12, 92.68)[: len(edges)])
    within = gamma.cdf(in_x0, alpha, scale=t / (alpha - 1.0))
    expected = np.diff(within, axis=1).mean(axis=0)
    np.testing.assert_array_less(np.abs(found - expected), 5 * error + 0.005 * expected + 1e-5)


@pytest.mark.parametrize("name", DATA_SET_1)
@pytest.mark.parametrize("energy", [256.0, 16_384.0, 4_194_304.0])
def test_showers_of_data_set_1_are_sane_at_all_its_energies(name, energy):
    geometry = CaloGeometry.named(name)
    X = make_showers(60, energy=energy, geometry=name, random_state=0)
    assert X.shape == (60, 1 + geometry.n_voxels)
    voxels = X[:, 1:]
    assert voxels[voxels > 0.0].min() >= 1.0
    response = (voxels.sum(axis=1, dtype=np.float64) / energy).mean()
    lost_in_front = {256.0: 0.22, 16_384.0: 0.016, 4_194_304.0: 0.0}[energy]
    assert response == pytest.approx(1.0 - lost_in_front, abs=0.1 if energy == 256.0 else 0.015)
    in_layers = [voxels[:, where].sum(dtype=np.float64) for where in geometry.layers]
    assert np.argmax(in_layers) == (1 if energy == 256.0 else 2)  # strips, or the middle layer
    assert (in_layers[2] > 0.5 * voxels.sum(dtype=np.float64)) == (energy > 1e4)


@pytest.mark.parametrize("energy", [1e3, 3e4, 1e6])
def test_energy_sums_fluctuate_with_the_number_of_spots(energy):
    n = 4000
    X = make_showers(n, energy=energy, geometry=DEEP, material=HOMOGENEOUS, random_state=0)
    response = X[:, 1:].sum(axis=1, dtype=np.float64) / energy
    spots = HOMOGENEOUS.n_spots(energy / 1e3)
    # layers at the ends have fewer spots than their share, whose energies fluctuate more
    least = np.sqrt(2.0 / spots)
    assert response.mean() == pytest.approx(1.0, abs=4 * response.std() / np.sqrt(n))
    assert 0.95 * least < response.std() < 1.6 * least


def test_a_voxel_holds_a_gamma_distributed_energy_for_each_of_its_spots():
    one = CaloGeometry([(0, 1e9)], [1], layer_edges=(0, 1e5))
    X = make_showers(40_000, energy=1e3, geometry=one, random_state=0)
    n = TUNGSTEN.n_spots(1.0)  # all in one voxel
    relative = X[:, 1] / 1e3
    assert relative.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / n / 40_000))
    assert relative.var() == pytest.approx(2.0 / n, rel=0.05)
    # n · E[e³] of exponentials
    assert np.mean((relative - 1) ** 3) == pytest.approx(6.0 / n**2, rel=0.3)


def test_showers_are_even_in_the_angle():
    X = make_showers(2000, energy=1e5, random_state=0)[:, 1:].reshape(2000, 45, 16, 9)
    by_angle = X.sum(axis=(1, 3), dtype=np.float64)
    mean, error = by_angle.mean(axis=0), by_angle.std(axis=0) / np.sqrt(2000)
    np.testing.assert_array_less(np.abs(mean - mean.mean()), 4 * error)


def test_data_set_3_has_its_voxels():
    assert make_showers(2, geometry="dataset_3", random_state=0).shape == (2, 1 + 40_500)


def test_default_showers_look_like_those_of_data_set_2():
    X = make_showers(1000, random_state=0)
    assert X.shape == (1000, 6481)
    assert X.dtype == np.float32
    assert np.isfinite(X).all()
    lit = X[:, 1:][X[:, 1:] > 0.0]
    assert lit.min() >= 0.01515
    logs = np.log(X[:, 0])
    middle, width = 0.5 * np.log(1e9), np.log(1e3)
    assert np.log(1e3) <= logs.min() <= logs.max() <= np.log(1e6)
    assert logs.mean() == pytest.approx(middle, abs=4 * width / np.sqrt(12 * 1000))


@settings(max_examples=40, deadline=None)
@given(
    log_energy=st.floats(0.0, np.log(1e6)),
    n_layers=st.integers(1, 5),
    n_angles=st.integers(1, 6),
    sampling=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_energy_and_geometry_gives_finite_showers(
    log_energy, n_layers, n_angles, sampling, seed
):
    rng = np.random.default_rng(seed)
    geometry = CaloGeometry(
        [np.cumsum(rng.uniform(0.1, 50, rng.integers(2, 6))) for _ in range(n_layers)],
        [n_angles] * n_layers,
        layer_edges=np.cumsum(rng.uniform(0.1, 100, n_layers + 1)),
    )
    material = TUNGSTEN if sampling else HOMOGENEOUS
    options = {"geometry": geometry, "material": material, "random_state": seed}
    X = make_showers(7, energy=np.exp(log_energy), **options)
    assert np.isfinite(X).all()
    assert (X >= 0.0).all()


def test_seeds_and_energies():
    first = make_showers(50, random_state=3)
    np.testing.assert_array_equal(first, make_showers(50, random_state=3))
    assert (first != make_showers(50, random_state=4)).any()
    given_each = make_showers(3, energy=[1e3, 1e4, 1e5], dtype="float64", random_state=0)
    np.testing.assert_array_equal(given_each[:, 0], [1e3, 1e4, 1e5])
    assert given_each.dtype == np.float64
    np.testing.assert_array_equal(make_showers(3, energy=500.0, random_state=0)[:, 0], 500.0)
    voxels = make_showers(20, threshold=5.0, random_state=0)[:, 1:]
    assert voxels[voxels > 0.0].min() >= 5.0
    plain = make_showers(20, threshold=0.0, random_state=0)[:, 1:]
    np.testing.assert_array_equal(voxels, np.where(plain < 5.0, 0.0, plain))
    two = make_showers(2, energy=[1e5, 1e4], random_state=0)  # a list is no range
    np.testing.assert_array_equal(two[:, 0], [1e5, 1e4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"geometry": CaloGeometry([(0, 5)], [1])}, "no layer_edges"),
        ({"energy": [1.0, 2.0, 3.0]}, "one for each of the n_samples=5"),
        ({"energy": (-1.0, 2.0)}, "positive"),
        ({"energy": [1.0, 2.0]}, "one for each of the n_samples=5"),
        ({"energy": (2.0, 1.0)}, "lower energy first"),
        ({"n_samples": 0}, "n_samples"),
        ({"threshold": -1.0}, "threshold"),
        ({"dtype": int}, "dtype"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_showers(**{"n_samples": 5, **arguments})


def test_materials_are_positive():
    with pytest.raises(ValueError, match="z=-1 must be a positive"):
        CaloMaterial(z=-1)
    with pytest.raises(ValueError, match="name='iron' is none of 'tungsten_silicon', 'lead_argon'"):
        CaloMaterial.named("iron")
    assert CaloMaterial.named("tungsten_silicon") == CaloMaterial()
    with pytest.raises(TypeError, match="must be a CaloGeometry"):
        resolve_geometry(3)
