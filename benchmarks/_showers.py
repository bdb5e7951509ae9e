"""What generated showers are judged by: columns of a table, and the judge that fills its rows."""

import statistics
import time
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

import skae
from skae.datasets import CaloGeometry
from skae.metrics import (
    ClassifierTwoSampleTest,
    classifier_two_sample_test,
    frechet_physics_distance,
    kernel_physics_distance,
    neighbour_correlations,
    separation_power,
    shower_features,
    shower_response,
)

GEOMETRY = CaloGeometry.named("dataset_2")

# Showers whose voxels a classifier sees: it has 6480 columns for each.
_N_VOXEL_ROWS = 5000

# What the CaloChallenge adds to the energy of a layer before its logarithm, in MeV.
_LEAST_ENERGY = 1e-8

_NAME_WIDTH = 34


class ShowerSample:
    """Showers of data set 2's geometry, and what figures are made of, each computed once.

    Parameters
    ----------
    showers : ndarray of shape (n, 1 + n_voxels)
        Incident energy and voxels, in MeV.
    milliseconds : float, default=nan
        What generating one of them takes.
    """

    def __init__(self, showers: np.ndarray, milliseconds: float = np.nan):
        self.showers, self.milliseconds = showers, milliseconds

    @property
    def energy(self) -> np.ndarray:
        """Incident energies."""
        return self.showers[:, 0]

    @cached_property
    def features(self) -> np.ndarray:
        """Features of the CaloChallenge."""
        return shower_features(self.showers)

    @cached_property
    def response(self) -> np.ndarray:
        """Total energies over the incident ones."""
        return shower_response(self.showers)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Correlations of neighbouring voxels."""
        return neighbour_correlations(self.showers)

    @cached_property
    def layers(self) -> np.ndarray:
        """Energy of each layer (n, n_layers), in MeV."""
        return layer_energies(self.showers)

    @property
    def layer_columns(self) -> np.ndarray:
        """Logarithms of the energies of layers and of the incident one."""
        logs = np.log10(self.layers + _LEAST_ENERGY)
        return np.column_stack([logs, np.log10(self.energy, dtype=np.float64)])

    @cached_property
    def hits(self) -> np.ndarray:
        """Number of lit voxels of each layer (n, n_layers)."""
        lit = self.showers[:, 1:] >= GEOMETRY.threshold
        return np.stack([lit[:, where].sum(axis=1) for where in GEOMETRY.layers], axis=1)

    @property
    def voxels(self) -> np.ndarray:
        """Voxels of the first showers over the incident energy."""
        first = self.showers[:_N_VOXEL_ROWS]
        return first[:, 1:] / first[:, :1]


def layer_energies(showers: np.ndarray) -> np.ndarray:
    """Return the energy of each layer (n, n_layers) in voxels that are read out, in MeV."""
    sums = []
    for where in GEOMETRY.layers:
        voxels = showers[:, 1:][:, where]
        read_out = np.where(voxels < GEOMETRY.threshold, 0.0, voxels)
        sums.append(read_out.sum(axis=1, dtype=np.float64))
    return np.stack(sums, axis=1)


class Column(NamedTuple):
    """A figure of generated showers beside real ones.

    Parameters
    ----------
    name : str
        Its heading.
    compute : callable
        Takes the real sample and the generated one, and returns a value, or value and error.
    width, digits : int
        How it is printed.
    unit : str
        What is printed behind it.
    """

    name: str
    compute: Callable[[ShowerSample, ShowerSample], float | tuple[float, float]]
    width: int = 16
    digits: int = 3
    unit: str = ""

    def cell(self, value: float, error: float | None = None) -> str:
        """Return a value as it is printed."""
        text = f"{value:.{self.digits}f}"
        if error is not None:
            text += f" ± {error:.{self.digits}f}"
        return (text + self.unit).rjust(self.width)


def frechet(**sizes: int) -> Column:
    """Return the column of the Fréchet distance, with batches of these sizes."""

    def compute(real, generated):
        return frechet_physics_distance(real.features, generated.features, **sizes)

    return Column("FPD", compute, width=18, digits=4)


def kernel(**sizes: int) -> Column:
    """Return the column of the kernel distance, with batches of these sizes."""

    def compute(real, generated):
        value, error = kernel_physics_distance(real.features, generated.features, **sizes)
        return 1e3 * value, 1e3 * error

    return Column("KPD × 10³", compute, width=18)


def _features_told_apart(real, generated):
    return classifier_two_sample_test(real.features, generated.features, random_state=0)


def _voxels_told_apart(real, generated):
    return classifier_two_sample_test(real.voxels, generated.voxels, random_state=0)


def told_apart_by_trees(real: np.ndarray, generated: np.ndarray) -> ClassifierTwoSampleTest:
    """Train trees with half of the rows to tell others apart."""
    trees = HistGradientBoostingClassifier(random_state=0)
    return classifier_two_sample_test(
        real, generated, classifier=trees, test_size=0.5, random_state=0
    )


def _neighbours_told_apart(real, generated):
    return told_apart_by_trees(real.neighbours, generated.neighbours)


def _layers_told_apart(real, generated):
    return told_apart_by_trees(real.layer_columns, generated.layer_columns)


def separation_of_counts(real: np.ndarray, generated: np.ndarray, most: int) -> float:
    """Return the mean over columns of the separation of whole numbers up to ``most``, a bin for each."""
    edges = np.arange(most + 2) - 0.5
    pairs = zip(real.T, generated.T, strict=True)
    return float(np.mean([separation_power(*pair, bins=edges) for pair in pairs]))


def _hits_separated(real, generated):
    most = max(where.stop - where.start for where in GEOMETRY.layers)
    return separation_of_counts(real.hits, generated.hits, most)


def _separation(real, generated):
    return separation_power(real.response, generated.response, range=(0.5, 1.5))


AUC_FEATURES = Column("AUC features", _features_told_apart)
AUC_VOXELS = Column("AUC voxels", _voxels_told_apart)
AUC_NEIGHBOURS = Column("AUC neighbours", _neighbours_told_apart)
AUC_LAYERS = Column("AUC layers", _layers_told_apart)
HITS = Column("of hits", _hits_separated, width=9, digits=4)
SEPARATION = Column("separation", _separation, width=12, digits=4)
MILLISECONDS = Column("ms a shower", lambda _, generated: generated.milliseconds, width=13)
LARGEST = Column(
    "largest voxel",
    lambda _, generated: float(generated.showers[:, 1:].max()),
    width=15,
    digits=0,
    unit=" MeV",
)


class Judge:
    """Real showers that no generator was fitted to, and a table of how near others come to them.

    Parameters
    ----------
    real : ShowerSample
        They.
    columns : sequence of Column
        What is computed of each row.
    """

    def __init__(self, real: ShowerSample, columns: list[Column]):
        self.real, self.columns = real, columns

    def head(self) -> None:
        """Print the headings."""
        print(" " * _NAME_WIDTH + "".join(c.name.rjust(c.width) for c in self.columns), flush=True)

    def row(self, name: str, generated: ShowerSample) -> dict[str, float]:
        """Print a row of the table, and return its figures."""
        cells, figures = [], {}
        for column in self.columns:
            value, *error = np.atleast_1d(column.compute(self.real, generated)).tolist()
            figures[column.name] = value
            cells.append(column.cell(value, *error))
        print(f"{name:{_NAME_WIDTH}s}" + "".join(cells), flush=True)
        return figures

    def medians(self, name: str, rows: list[dict[str, float]]) -> None:
        """Print the median of each figure over rows, seeds say."""
        middle = medians(rows)
        cells = [column.cell(middle[column.name]) for column in self.columns]
        print(f"{name:{_NAME_WIDTH}s}" + "".join(cells), flush=True)


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over rows."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def generated_by(model: object, energy: np.ndarray) -> ShowerSample:
    """Draw from a fitted Pipeline at these energies, and time it."""
    milliseconds = milliseconds_a_shower(
        lambda energy: skae.sample(model, energy, random_state=0), energy
    )
    return ShowerSample(skae.sample(model, energy, random_state=0), milliseconds)


def milliseconds_a_shower(draw: Callable[[np.ndarray], np.ndarray], energy: np.ndarray) -> float:
    """Return the median time of a shower, drawn a hundred at once, after a batch that is not counted."""
    times = []
    for start in range(0, 2100, 100):
        batch = energy.take(range(start, start + 100), mode="wrap")
        begin = time.perf_counter()
        draw(batch)
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times[1:]) / 100
