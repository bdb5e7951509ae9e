"""Simple generators of showers that stand beside the networks."""

from bisect import bisect_left

import numpy as np
from sklearn.decomposition import PCA

from skae.datasets import CaloGeometry


def mean_of_neighbours(train: np.ndarray, energy: np.ndarray, n: int = 50) -> np.ndarray:
    """Return for each energy the mean of the training showers nearest to it in ln E, scaled to it."""
    order = np.argsort(train[:, 0])
    logs = np.log(train[order, 0])
    sums = np.cumsum(train[order, 1:] / train[order, :1], axis=0, dtype=np.float64)
    start = np.clip(np.searchsorted(logs, np.log(energy)) - n // 2, 0, len(logs) - n - 1)
    mean = (sums[start + n] - sums[start]) / n
    return np.column_stack([energy, mean * energy[:, None]]).astype(np.float32)


class PrincipalGaussians:
    """Principal components of ln(1 + MeV), and for slices of ln E a Gaussian around a line in each.

    Parameters
    ----------
    train : ndarray of shape (n, 1 + n_voxels)
        Showers, in MeV.
    n_components, n_slices : int
        Components that are kept, and slices with equally many showers.
    """

    def __init__(self, train: np.ndarray, n_components: int = 48, n_slices: int = 20):
        self.pca = PCA(n_components, random_state=0)
        z = self.pca.fit_transform(np.log1p(train[:, 1:]))
        logs = np.log(train[:, 0])
        self.edges = np.quantile(logs, np.linspace(0, 1, n_slices + 1))[1:-1]
        which = np.searchsorted(self.edges, logs)
        self.lines, self.roots = [], []
        for i in range(n_slices):
            inside = np.column_stack([np.ones((which == i).sum()), logs[which == i]])
            line, *_ = np.linalg.lstsq(inside, z[which == i], rcond=None)
            rest = z[which == i] - inside @ line
            self.lines.append(line)
            self.roots.append(np.linalg.cholesky(np.cov(rest.T) + 1e-9 * np.eye(n_components)))

    def sample(self, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw showers at these energies."""
        logs = np.log(energy)
        which = np.searchsorted(self.edges, logs)
        z = rng.standard_normal((len(energy), self.pca.n_components_))
        for i, (line, root) in enumerate(zip(self.lines, self.roots, strict=True)):
            inside = which == i
            z[inside] = (
                z[inside] @ root.T + np.column_stack([np.ones(inside.sum()), logs[inside]]) @ line
            )
        voxels = np.expm1(np.clip(self.pca.inverse_transform(z), 0.0, 20.0))
        voxels[voxels < 0.01515] = 0.0
        return np.column_stack([energy, voxels]).astype(np.float32)


def nearest_unused(energy: np.ndarray, others: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Return for each energy the index of one of ``others`` near it in ln E, none of them twice.

    Energies choose in random order, each the nearest that is left.
    """
    if len(energy) > len(others):
        raise ValueError(f"{len(energy)} energies cannot each have their own of {len(others)}.")
    order = np.argsort(others)
    left, logs = order.tolist(), np.log(others[order]).tolist()
    chosen = np.empty(len(energy), dtype=np.int64)
    for row in np.random.default_rng(random_state).permutation(len(energy)):
        place = nearest_of_sorted(logs, float(np.log(energy[row])))
        chosen[row] = left.pop(place)
        logs.pop(place)
    return chosen


def nearest_of_sorted(values: list[float], target: float) -> int:
    """Return the index of the value nearest to the target."""
    place = bisect_left(values, target)
    if place == 0:
        return 0
    is_below = place == len(values) or target - values[place - 1] < values[place] - target
    return place - is_below


def rescaled(showers: np.ndarray, energy: np.ndarray, threshold: float) -> np.ndarray:
    """Return showers scaled to other incident energies, and read out anew."""
    voxels = showers[:, 1:] * (energy / showers[:, 0])[:, None]
    voxels[voxels < threshold] = 0.0
    return np.column_stack([energy, voxels]).astype(np.float32)


def on_voxels_of(
    train: np.ndarray,
    chosen: np.ndarray,
    energy: np.ndarray,
    layers: np.ndarray,
    geometry: CaloGeometry,
) -> np.ndarray:
    """Put energies of layers onto the voxels of training showers.

    Parameters
    ----------
    train : ndarray of shape (n_train, 1 + n_voxels)
        Showers.
    chosen : ndarray of shape (n,)
        The training shower for each. Where a layer of it is dark that shall not be, the layer is that of
        the shower next to it in ln E of those where it is lit.
    energy, layers : ndarray of shape (n,) and (n, n_layers)
        Incident energies, and energies that layers shall have.
    geometry : CaloGeometry
        Where layers are.

    Returns
    -------
    showers : ndarray of shape (n, 1 + n_voxels)
        A layer that no training shower has lit stays dark.
    """
    logs = np.log(train[:, 0])
    showers = np.zeros((len(energy), train.shape[1]), dtype=np.float32)
    showers[:, 0] = energy
    for where, wanted in zip(geometry.layers, layers.T, strict=True):
        voxels = train[:, 1:][:, where]
        is_lit = voxels.any(axis=1)
        lit = np.flatnonzero(is_lit)
        lit = lit[np.argsort(logs[lit], kind="stable")]
        if not len(lit):
            continue
        sorted_logs = logs[lit].tolist()
        sources = chosen.copy()
        for row in np.flatnonzero((wanted > 0.0) & ~is_lit[chosen]):
            sources[row] = lit[nearest_of_sorted(sorted_logs, logs[chosen[row]])]
        showers[:, 1:][:, where] = spread_over(voxels[sources], wanted, geometry.threshold)
    return showers


def spread_over(voxels: np.ndarray, energy: np.ndarray, threshold: float) -> np.ndarray:
    """Return voxels (n, n_voxels) scaled to total energies (n,), those lit that are read out.

    What voxels below the threshold have goes to the others, or to the brightest one if there are none.
    """
    scaled = _scaled(voxels.astype(np.float64), energy)
    is_dark = scaled < threshold
    is_dark[np.arange(len(scaled)), scaled.argmax(axis=1)] = False
    scaled[is_dark] = 0.0
    return _scaled(scaled, energy)


def _scaled(voxels: np.ndarray, energy: np.ndarray) -> np.ndarray:
    total = voxels.sum(axis=1)
    factor = np.divide(energy, total, out=np.zeros_like(total), where=total > 0.0)
    return voxels * factor[:, None]
