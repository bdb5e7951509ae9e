"""Two samples that are compared: rows of the same features, and how often each is to be drawn."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from skae.metrics._weights import check_sum, check_weight


class Sample(NamedTuple):
    """Rows of features, and the probabilities to draw each."""

    rows: NDArray[np.float64]
    probability: NDArray[np.float64] | None

    def indices(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw the rows of a batch, with replacement."""
        return rng.choice(len(self.rows), size=size, p=self.probability)

    def counts(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Return how often a batch has each row."""
        return np.bincount(self.indices(rng, size), minlength=len(self.rows))

    def part(self, chosen: Any) -> "Sample":
        """Return some of the rows."""
        if self.probability is None:
            return Sample(self.rows[chosen], None)
        probability = self.probability[chosen]
        return Sample(self.rows[chosen], probability / probability.sum())


def make_pair(real, generated, sample_weight, normalise):
    """Return two samples, checked, and where asked for in units of the largest real values."""
    parts = check_pair(real, generated)
    weights = check_pair_of_weights(sample_weight, *parts)
    if normalise:
        counted = slice(None) if weights[0] is None else weights[0] > 0.0
        largest = np.abs(parts[0][counted]).max(axis=0)
        largest[largest == 0.0] = 1.0
        parts = tuple(part / largest for part in parts)
    return [
        Sample(rows, None if weight is None else weight / weight.sum())
        for rows, weight in zip(parts, weights, strict=True)
    ]


def check_pair(real, generated, dtype=np.float64):
    """Return two samples of the same features, checked."""
    real, generated = (
        check_array(part, dtype=dtype, ensure_min_samples=2, input_name=name)
        for part, name in ((real, "real"), (generated, "generated"))
    )
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real has {real.shape[1]} features and generated {generated.shape[1]}; they must have "
            "the same."
        )
    return real, generated


def check_pair_of_weights(sample_weight, first, second):
    """Return the weights of two samples, each None or checked to be usable as probabilities."""
    if sample_weight is None:
        return None, None
    if len(sample_weight) != 2:
        raise ValueError(
            "sample_weight must be a pair, the weights of the real rows and of the generated ones; "
            f"either may be None. Got {len(sample_weight)} entries."
        )
    weights = []
    for name, weight, rows in zip(
        ("real", "generated"), sample_weight, (first, second), strict=True
    ):
        if weight is not None:
            weight = check_weight(weight, rows, positive=False)
            if (weight < 0.0).any():
                raise ValueError(
                    f"{(weight < 0.0).sum()} weights of the {name} rows are negative; rows are drawn "
                    "with probabilities in proportion to them."
                )
            check_sum(weight)
        weights.append(weight)
    return tuple(weights)
