"""What generated showers are judged by, and simple generators that stand beside the networks."""

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA

import skae
from skae.datasets import make_showers
from skae.metrics import (
    classifier_two_sample_test,
    frechet_physics_distance,
    kernel_physics_distance,
    separation_power,
    shower_features,
    shower_response,
)

# Showers whose voxels a classifier sees: it has 6480 columns for each.
_N_VOXEL_ROWS = 5000

HEAD = (
    f"{'':34s}{'FPD':>18s}{'KPD × 10³':>18s}{'AUC features':>16s}{'AUC voxels':>16s}{'separation':>12s}"
    f"{'ms, 100':>9s}{'largest voxel':>15s}"
)


class Judge:
    """Held-out showers, and what others are found to be beside them.

    Parameters
    ----------
    n_showers : int
        Real ones, and as many generated ones at the energies of others.
    random_state : int
        Their seed, and the next one.
    """

    def __init__(self, n_showers: int, random_state: int = 1000):
        self.real = make_showers(n_showers, random_state=random_state)
        self.others = make_showers(n_showers, random_state=random_state + 1)
        self.energy = self.others[:, 0]
        self.features = shower_features(self.real)
        self.response = shower_response(self.real)

    def row(self, name: str, showers: np.ndarray, milliseconds: float = np.nan) -> dict[str, float]:
        """Print a row of the table, and return its figures."""
        features = shower_features(showers)
        frechet = frechet_physics_distance(self.features, features, min_samples=10_000)
        kernel = kernel_physics_distance(self.features, features, batch_size=10_000)
        auc = classifier_two_sample_test(self.features, features, random_state=0)
        voxels = [
            part[:_N_VOXEL_ROWS, 1:] / part[:_N_VOXEL_ROWS, :1] for part in (self.real, showers)
        ]
        voxel_auc = classifier_two_sample_test(*voxels, random_state=0)
        power = separation_power(self.response, shower_response(showers), range=(0.5, 1.5))
        largest = float(showers[:, 1:].max())
        print(
            f"{name:34s}"
            + f"{frechet.value:.4f} ± {frechet.error:.4f}".rjust(18)
            + f"{1e3 * kernel.value:.3f} ± {1e3 * kernel.error:.3f}".rjust(18)
            + f"{auc.auc:.3f} ± {auc.error:.3f}".rjust(16)
            + f"{voxel_auc.auc:.3f} ± {voxel_auc.error:.3f}".rjust(16)
            + f"{power:12.4f}{milliseconds:9.3f}{largest:11.0f} MeV",
            flush=True,
        )
        return {
            "FPD": frechet.value,
            "KPD × 10³": 1e3 * kernel.value,
            "AUC": auc.auc,
            "AUC voxels": voxel_auc.auc,
            "separation": power,
            "ms a shower": milliseconds,
        }

    def floor(self) -> None:
        """Print what showers of the same generator are found to be."""
        self.row("other showers of the generator", self.others)

    def model(self, name: str, model: object, random_state: int = 0) -> dict[str, float]:
        """Print the row of a fitted Pipeline."""
        drawn = skae.sample(model, self.energy, random_state=random_state)
        seconds = milliseconds_a_shower(
            lambda energy: skae.sample(model, energy, random_state=0), self.energy
        )
        return self.row(name, drawn, seconds)


def milliseconds_a_shower(draw: Callable[[np.ndarray], np.ndarray], energy: np.ndarray) -> float:
    """Return the median time of a shower, drawn a hundred at once, after a batch that is not counted."""
    times = []
    for start in range(0, 2100, 100):
        begin = time.perf_counter()
        draw(energy[start : start + 100])
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times[1:]) / 100


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
