"""Correlations of neighbouring voxels, which profiles, sums and widths of showers do not see."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from skae.metrics.shower_observables import check_showers
from skae.physics.calorimeter import CaloGeometry, resolve_geometry

# Energies that are compared at a time.
_NUMBERS = 2**20

#: what of a voxel is correlated with its neighbours: log(1 + E/threshold), and whether it is hit
QUANTITIES = ("log_energy", "hits")


def neighbour_correlations(
    X: ArrayLike, *, geometry: str | CaloGeometry = "dataset_2", threshold: float | None = None
) -> NDArray[np.float64]:
    r"""Compute how voxels of each shower are correlated with their neighbours, radius by radius.

    The mean of each ring, voxels of one layer and radius, is taken off a quantity, in each shower;
    what is left, d, is compared with that of neighbours, d':

    .. math:: \frac{\sum d\,d'}{\sqrt{\sum d^2 \sum d'^2}}

    with sums over all pairs of one radius. The quantities are log(1 + E/threshold), and hits, 1
    where there is energy and else 0. The neighbours are the next voxel around the circle, the one a
    layer deeper, and the one two layers deeper. Voxels that fluctuate independently around a ring's
    mean have :math:`-1/(n - 1)` on average around a circle of n, as the mean is taken off, and 0 in
    depth. It is 0 where nothing varies.

    Only rings that are divided in angle count, and in depth only pairs of layers with the same
    radial edges and number of angles. Where layers differ, radii are rings counted from the axis,
    and the sums are over all layers that have such a ring. A lag without any pair has no columns.
    Data set 2 has 2·3·9 = 54 columns and data set 3 has 108; the photons of data set 1 have 2·19,
    its pions 2·16, of the angle only.

    Parameters
    ----------
    X : array-like of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV.
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.
    threshold : float, default=None
        Voxels with less are set to zero first, in MeV; above 0. None takes the geometry's.

    Returns
    -------
    correlations : ndarray of shape (n_samples, n_correlations)
        From −1 to 1; see :func:`neighbour_correlation_names`.

    Raises
    ------
    ValueError
        If neither ``threshold`` nor the geometry's is above 0, or showers do not fit the geometry.

    See Also
    --------
    shower_features : What showers are usually compared by.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> from skae.metrics import neighbour_correlations
    >>> neighbour_correlations(make_showers(10, random_state=0)).shape
    (10, 54)
    """
    X, geometry = check_showers(X, geometry)
    threshold = geometry.threshold if threshold is None else threshold
    if not 0.0 < threshold < np.inf:
        raise ValueError(
            f"threshold={threshold!r} must be above 0, in MeV, for log(1 + E/threshold); give the energy "
            "below which voxels are not read out, threshold=0.01 say."
        )
    lags, rings = lags_of(geometry), _Rings(geometry)
    correlations = np.empty((len(X), len(QUANTITIES) * sum(lag.n_radii for lag in lags)))
    n_rows = max(1, _NUMBERS // geometry.n_voxels)
    for start in range(0, len(X), n_rows):
        energy = X[start : start + n_rows, 1:].T.astype(np.float64, order="C")
        energy[energy < threshold] = 0.0
        quantities = (np.log1p(energy / threshold), (energy > 0.0).astype(np.float64))
        deviations = map(rings.deviations, quantities)
        found = [lag.correlations(d, d**2) for d in deviations for lag in lags]
        none = energy[:0]  # without any lag
        correlations[start : start + n_rows] = np.concatenate([*found, none]).T
    return correlations


def neighbour_correlation_names(geometry: str | CaloGeometry = "dataset_2") -> NDArray[Any]:
    """Return the names of the columns of :func:`~skae.metrics.neighbour_correlations`.

    Parameters
    ----------
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.

    Returns
    -------
    names : ndarray of str
        Quantity, lag and radius, the radius fastest.

    Examples
    --------
    >>> from skae.metrics import neighbour_correlation_names
    >>> neighbour_correlation_names()[[0, 9, 53]].tolist()
    ['log_energy_angle_1_radius_0', 'log_energy_depth_1_radius_0', 'hits_depth_2_radius_8']
    """
    lags = lags_of(resolve_geometry(geometry))
    names = [
        f"{quantity}_{lag.name}_radius_{radius}"
        for quantity in QUANTITIES
        for lag in lags
        for radius in range(lag.n_radii)
    ]
    return np.array(names, dtype=object)


@dataclass(frozen=True, eq=False)
class Lag:
    """Pairs of voxels that lie in the same direction from each other.

    Parameters
    ----------
    name : str
        Of the direction.
    first, second, radius : ndarray of shape (n_pairs,)
        Indices of the voxels, and their ring, counted from the axis.
    n_voxels : int
        Voxels of a shower.
    """

    name: str
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    radius: NDArray[np.int64]
    n_voxels: int

    @cached_property
    def n_radii(self) -> int:
        """Number of radii, those of the layer that has most."""
        return int(self.radius.max()) + 1

    @cached_property
    def _sums(self) -> list[csr_array]:
        """Matrices that sum pairs, first and second voxels, radius by radius."""
        n_pairs = len(self.radius)
        return [
            csr_array((np.ones(n_pairs), (self.radius, columns)), shape=(self.n_radii, n_columns))
            for columns, n_columns in (
                (np.arange(n_pairs), n_pairs),
                (self.first, self.n_voxels),
                (self.second, self.n_voxels),
            )
        ]

    def correlations(
        self, deviations: NDArray[np.float64], squares: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return correlations (n_radii, n), given deviations (n_voxels, n) and their squares."""
        pairs, first, second = self._sums
        products = deviations[self.first]
        products *= deviations[self.second]
        scale = np.sqrt((first @ squares) * (second @ squares))
        return np.divide(pairs @ products, scale, out=np.zeros_like(scale), where=scale > 0.0)


def lags_of(geometry: CaloGeometry) -> list[Lag]:
    """Return the pairs of neighbours around the circle, one layer deeper and two layers deeper."""
    binning = list(zip(geometry.radial_edges, geometry.n_angles, strict=True))
    divided = [layer for layer, (_, parts) in enumerate(binning) if parts > 1]
    pairs = {"angle_1": [(layer, layer, 1) for layer in divided]}
    for step in (1, 2):
        pairs[f"depth_{step}"] = [
            (layer, layer + step, 0)
            for layer in divided
            if layer + step < len(binning) and binning[layer] == binning[layer + step]
        ]
    lags = []
    for name, of_layers in pairs.items():
        if of_layers:
            pairs_of_layers = [_pairs_of(geometry, *layers) for layers in of_layers]
            first, second, radius = np.concatenate(pairs_of_layers, axis=1)
            lags.append(Lag(name, first, second, radius, geometry.n_voxels))
    return lags


def _pairs_of(geometry: CaloGeometry, layer: int, deeper: int, turn: int) -> NDArray[np.int64]:
    """Return the pairs of a layer with a deeper one, or with itself turned: voxels and radius."""
    first, second = (_grid(geometry, which) for which in (layer, deeper))
    radius = np.broadcast_to(np.arange(first.shape[1]), first.shape)
    return np.stack([part.ravel() for part in (first, np.roll(second, -turn, axis=0), radius)])


def _grid(geometry: CaloGeometry, layer: int) -> NDArray[np.int64]:
    """Return the indices (n_angles, n_radii) of a layer's voxels."""
    where = geometry.layers[layer]
    return np.arange(where.start, where.stop).reshape(geometry.n_angles[layer], -1)


class _Rings:
    """The rings of a calorimeter, whose means are taken off."""

    def __init__(self, geometry: CaloGeometry):
        grids = [_grid(geometry, layer) for layer in range(geometry.n_layers)]
        ends = np.cumsum([grid.shape[1] for grid in grids])
        self.first = np.concatenate([grid[0] for grid in grids])
        self.ring = np.concatenate(  # of each voxel
            [
                np.tile(np.arange(end - grid.shape[1], end), len(grid))
                for grid, end in zip(grids, ends, strict=True)
            ]
        )
        shares = np.concatenate([np.full(grid.size, 1.0 / len(grid)) for grid in grids])
        where = (self.ring, np.arange(geometry.n_voxels))
        self.mean = csr_array((shares, where), shape=(ends[-1], geometry.n_voxels))

    def deviations(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the means of rings off values (n_voxels, n)."""
        # one voxel's value first, so that equal ones leave exactly 0, and not what rounding makes of it
        values -= values[self.first][self.ring]
        values -= (self.mean @ values)[self.ring]
        return values
