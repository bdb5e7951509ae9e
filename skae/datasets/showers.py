"""Calorimeter showers, parametrised: spots of energy along measured shapes, not a simulation."""

import numpy as np
from sklearn.utils import check_array, check_random_state

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, arguments
from skae._sklearn import Options, StrOptions
from skae.datasets._shower_profiles import (
    LEAST_ALPHA,
    CaloMaterial,
    draw_profiles,
    longitudinal_moments,
    radial_shape,
    shares_of_layers,
    shares_of_rings,
)
from skae.physics.calorimeter import CALOCHALLENGE, resolve_geometry
from skae.physics.calorimeter import CaloGeometry as CaloGeometry  # public, in skae.datasets

# Showers that are computed at a time. Each such part has random numbers of its own.
_ROWS = 512

# Depths that are mm of lead and liquid argon.
_OF_LEAD_ARGON = {
    CALOCHALLENGE[name]["layer_edges"] for name in ("dataset_1_photons", "dataset_1_pions")
}


@arguments(
    n_samples=COUNT,
    energy=[POSITIVE, "array-like"],
    geometry=[str, CaloGeometry],
    material=[CaloMaterial, None],
    threshold=[NOT_NEGATIVE, None],
    dtype=[StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64})],
    random_state="random_state",
)
@np.errstate(under="ignore")
def make_showers(
    n_samples=1000,
    *,
    energy=(1e3, 1e6),
    geometry="dataset_2",
    material=None,
    threshold=None,
    dtype="float32",
    random_state=None,
):
    r"""Generate electromagnetic showers in a calorimeter from the parametrisation of GFLASH.

    A shower's energy lies along its axis as a Gamma profile, whose T and α fluctuate together, and around
    it in a core and a tail that widen with depth. It is deposited in spots: Poisson numbers of them fall
    into the voxels, each with an exponentially distributed energy, so that n of them have a Gamma(n) one.
    What leaves the calorimeter at its back or its sides is lost, and so are voxels under the threshold.

    These showers are *parametrised*: they have the look, the fluctuations and the sparsity of those
    that Geant4 tracks particle by particle, and differ from them in detail. Use them for tests, examples
    and comparisons of models; never call them Geant4's. All are showers of electrons. Photons begin where
    they convert, about a radiation length deeper; of pions, "dataset_1_pions" has the voxels alone.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of showers.
    energy : float, (float, float) or array-like of shape (n_samples,), default=(1e3, 1e6)
        Incident energies in MeV: one for all, as a tuple a range from which they are drawn
        log-uniformly, or as a list or an array each one's own.
    geometry : str or CaloGeometry, default="dataset_2"
        Voxels, with known depths of the layers: "dataset_1_photons", "dataset_1_pions", "dataset_2" or
        "dataset_3" of the CaloChallenge, or one's own. Those of data set 1 are approximate, see
        :meth:`CaloGeometry.named`; what a shower leaves in front of the first layer is lost.
    material : CaloMaterial, default=None
        What the shower meets. None is lead and liquid argon for the ``layer_edges`` of data set 1, and
        tungsten and silicon for all others.
    threshold : float, default=None
        Voxels with less are set to zero, in MeV. None takes the geometry's.
    dtype : {"float32", "float64"}, default="float32"
        Type of the result.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    X : ndarray of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.

    References
    ----------
    G. Grindhammer and S. Peters, "The parameterized simulation of electromagnetic showers in homogeneous
    and sampling calorimeters", 2000, hep-ex/0001020.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> X = make_showers(100, random_state=0)
    >>> X.shape, bool((X[:, 1:].sum(axis=1) < 2 * X[:, 0]).all())
    ((100, 6481), True)
    """
    rng = check_random_state(random_state)
    geometry = resolve_geometry(geometry)
    if geometry.layer_edges is None:
        raise ValueError(
            "geometry has no layer_edges, the depths of its layers in mm, which a shower needs: give "
            "CaloGeometry(…, layer_edges=…), or geometry='dataset_2'."
        )
    if material is None:
        argon = geometry.layer_edges in _OF_LEAD_ARGON
        material = CaloMaterial.named("lead_argon" if argon else "tungsten_silicon")
    threshold = geometry.threshold if threshold is None else threshold
    energies = _incident_energies(energy, n_samples, rng)
    X = np.zeros((n_samples, 1 + geometry.n_voxels), dtype=dtype)
    X[:, 0] = energies
    parts = range(0, n_samples, _ROWS)
    for start, seed in zip(parts, rng.randint(2**31, size=(len(parts), 4)), strict=True):
        rows = slice(start, start + _ROWS)
        _fill(X[rows, 1:], energies[rows], geometry, material, np.random.default_rng(seed))
    voxels = X[:, 1:]
    voxels[voxels < threshold] = 0.0
    return X


def _incident_energies(energy, n_samples, rng):
    is_range = isinstance(energy, tuple) and len(energy) == 2
    energies = check_array(
        np.atleast_1d(energy), ensure_2d=False, dtype=np.float64, input_name="energy"
    )
    allowed = {2} if is_range else {1, n_samples}
    if energies.ndim != 1 or len(energies) not in allowed or not (energies > 0.0).all():
        raise ValueError(
            "energy must be a positive number, a tuple (low, high) of them, or one for each of the "
            f"n_samples={n_samples} showers, in MeV; got shape {energies.shape}, min {energies.min():g}."
        )
    if is_range:
        low, high = energies
        if low > high:
            raise ValueError(f"energy={energy!r} must be a range with the lower energy first.")
        return np.exp(rng.uniform(np.log(low), np.log(high), n_samples))
    return np.broadcast_to(energies, n_samples)


def _fill(voxels, energies, geometry, material, rng):
    """Deposit showers of some energies (MeV) in ``voxels``, of shape (n, n_voxels) and zero."""
    energy = energies / 1e3  # GeV, as in the formulas
    profiles = draw_profiles(energy, material, rng)
    depths = np.asarray(geometry.layer_edges) / material.radiation_length
    energy_of = energies[:, None] * shares_of_layers(profiles.t, profiles.alpha, depths)
    spots_in = material.n_spots(energy)[:, None] * shares_of_layers(
        profiles.t_spots, profiles.alpha_spots, depths
    )
    tau = _relative_depths(depths, profiles, energy, material)
    shape = radial_shape(energy[:, None], tau, material)
    for layer, where in enumerate(geometry.layers):
        edges = np.asarray(geometry.radial_edges[layer]) / material.moliere_radius
        rings = shares_of_rings(*(part[:, layer] for part in shape), edges)  # (n, n_radii)
        expected = spots_in[:, layer]
        counts = _throw(expected[:, None] * rings, geometry.n_angles[layer], rng)
        row, voxel = np.nonzero(counts)
        each = np.divide(
            energy_of[:, layer], expected, where=expected > 0.0, out=np.zeros_like(expected)
        )
        lit = rng.standard_gamma(counts[row, voxel].astype(np.float32), dtype=np.float32)
        voxels[row, where.start + voxel] = lit * each[row]


def _relative_depths(depths, profiles, energy, material):
    """Return the middles of the layers in units of each shower's centre of gravity."""
    sampling = material.sampling_frequency is not None
    mean_alpha = np.exp(longitudinal_moments(energy, material, sampling=sampling).log_alpha)
    mean_alpha = np.maximum(mean_alpha, LEAST_ALPHA)
    scale = (profiles.alpha - 1.0) / profiles.alpha * mean_alpha / (mean_alpha - 1.0) / profiles.t
    return 0.5 * (depths[:-1] + depths[1:]) * scale[:, None]


def _throw(expected, n_angles, rng):
    """Return Poisson numbers of spots, of shape (n, n_angles × n_radii), even in the angle.

    Each spot's angle is drawn: showers have fewer spots than voxels would take random numbers.
    """
    n, n_radii = expected.shape
    spots = rng.poisson(expected)
    row, ring = np.indices(spots.shape)
    first = (row * n_angles * n_radii + ring).ravel()
    angle = rng.integers(n_angles, size=spots.sum(), dtype=np.int32)
    voxel = np.repeat(first, spots.ravel()) + angle * np.int64(n_radii)
    return np.bincount(voxel, minlength=n * n_angles * n_radii).reshape(n, -1)
