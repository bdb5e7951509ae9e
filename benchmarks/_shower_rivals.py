"""Simple generators of showers that stand beside the networks."""

import numpy as np
from sklearn.decomposition import PCA


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
