"""Distances between real and generated samples: Fréchet and kernel, as published for jets and showers."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvalsh
from scipy.optimize import nnls
from sklearn.utils import check_random_state

from skae._parameters import COUNT, arguments
from skae._sklearn import Interval
from skae._workers import map_in_threads, one_blas_thread
from skae.metrics._kernels import unbiased_mmd
from skae.metrics._pairs import Sample, make_pair

# Rows of a covariance matrix that are summed at a time.
_ROWS = 1000

# Random splits whose distances tell how much chance there is in one, and their rows for kernels.
_N_SPLITS, _SPLIT_ROWS = 20, 2000

_COMMON = {
    "real": ["array-like"],
    "generated": ["array-like"],
    "normalise": ["boolean"],
    "sample_weight": ["array-like", tuple, None],
    "return_floor": ["boolean"],
    "random_state": ["random_state"],
}


class PhysicsDistance(NamedTuple):
    """A distance between two samples.

    Parameters
    ----------
    value : float
        The distance.
    error : float
        Its error, as published: of the batches, not of the samples that these are drawn from.

    Examples
    --------
    >>> from skae.metrics import PhysicsDistance
    >>> value, error = PhysicsDistance(0.34, 0.01)
    """

    value: float
    error: float


class PhysicsDistanceAndFloor(NamedTuple):
    """A distance between two samples, and what two real samples have at the same size.

    Parameters
    ----------
    value, error : float
        The distance, and its standard error, that of samples of finite size included.
    floor, floor_error : float
        The same between two halves of the real sample.

    Examples
    --------
    >>> from skae.metrics import PhysicsDistanceAndFloor
    >>> print(PhysicsDistanceAndFloor(0.02, 0.01, 0.018, 0.01))
    0.02 ± 0.01, at the floor of 0.018 ± 0.01
    """

    value: float
    error: float
    floor: float
    floor_error: float

    @property
    def at_floor(self) -> bool:
        """Whether the samples differ by no more than two real ones do, within two standard errors."""
        return bool(self.value - self.floor <= 2.0 * np.hypot(self.error, self.floor_error))

    def __str__(self) -> str:
        where = "at the" if self.at_floor else "above the"
        return (
            f"{self.value:.3g} ± {self.error:.2g}, {where} floor of {self.floor:.3g} ± "
            f"{self.floor_error:.2g}"
        )


@arguments(
    **_COMMON,
    min_samples=Interval(Integral, 2, None, closed="left"),
    max_samples=Interval(Integral, 2, None, closed="left"),
    n_points=Interval(Integral, 3, None, closed="left"),
    n_batches=COUNT,
)
def frechet_physics_distance(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    n_points: int = 10,
    n_batches: int = 20,
    normalise: bool = True,
    sample_weight: tuple[Any, Any] | None = None,
    return_floor: bool = False,
    random_state: Any = 42,
) -> PhysicsDistance | PhysicsDistanceAndFloor:
    r"""Return the Fréchet distance of two samples of features, extrapolated to infinite size.

    For Gaussians with the samples' means and covariances it is

    .. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    Batches of several sizes N are drawn with replacement; the mean over the batches of each size is
    fitted with a + b/N, a and b not negative, and a is returned. Of samples of finite size it is not 0
    even if both are of one distribution, as batches are drawn from what there is: ``return_floor``
    tells.

    This fit is exact, so the distance of features in other units is that times the unit's square. JetNet
    fits by iterations, which stop early where distances are far from 1: with the default sizes it gives
    some 30 % too much for a value of 1e-3, 3e-5 for all that are less, up to 75 % too much above 1e4, and
    next to nothing above 1e9.

    Parameters
    ----------
    real, generated : array-like of shape (n_samples, n_features)
        Features, such as :func:`shower_features`. The numbers of rows may differ.
    min_samples, max_samples : int, default=20000 and 50000
        Smallest and largest batch. The CaloChallenge takes 10,000 for the smallest.
    n_points : int, default=10
        Number of sizes, equally spaced in 1/N.
    n_batches : int, default=20
        Batches of each size.
    normalise : bool, default=True
        Divide each feature by the largest absolute value that it has among the real ones.
    sample_weight : (array-like or None, array-like or None), default=None
        Weights of the real rows and of the generated ones, not negative: batches are drawn with
        probabilities in proportion.
    return_floor : bool, default=False
        Split ``real`` into halves at random, and return also the distance between these. All of the
        three samples then have equally many rows, chosen at random, half of ``real``'s or all of
        ``generated``'s, whichever is less. Errors then hold, beside those of the batches, what other
        halves would have given.
    random_state : int, RandomState instance or None, default=42
        Seed of the batches; that of the published code.

    Returns
    -------
    distance : PhysicsDistance or PhysicsDistanceAndFloor
        Named tuple of value and error, and with ``return_floor`` of floor and floor_error.

    References
    ----------
    R. Kansal et al., "Evaluating generative models in high energy physics", Phys. Rev. D 107, 076017
    (2023), arXiv:2211.10295; algorithm and defaults are those of JetNet, but for the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.metrics import frechet_physics_distance
    >>> rng = np.random.default_rng(0)
    >>> real, generated = rng.normal(size=(4000, 3)), rng.normal(0.5, size=(2000, 3))
    >>> distance = frechet_physics_distance(
    ...     real, generated, min_samples=1000, max_samples=2000, normalise=False, return_floor=True
    ... )
    >>> bool(abs(distance.value - 3 * 0.5**2) < 0.1), distance.at_floor
    (True, False)
    """
    inverse = np.linspace(1.0 / min_samples, 1.0 / max_samples, n_points)
    sizes = (1.0 / inverse).astype(np.int32)
    if sizes[-1] <= sizes[0]:
        raise ValueError(
            f"max_samples={max_samples} must be well above min_samples={min_samples}: what batches of "
            "one size give cannot be extrapolated."
        )
    seed = _seed(random_state)

    def distance(*pair: Sample) -> PhysicsDistance:
        rng, means = np.random.default_rng(seed), []
        centre = pair[0].rows.mean(axis=0)
        centred = [part._replace(rows=part.rows - centre) for part in pair]

        def of_one(batch: Any) -> float:
            first, second = (
                moments(part.rows, counts) for part, counts in zip(centred, batch, strict=True)
            )
            return gaussian_frechet_distance(*first, *second)

        for size in sizes.tolist():
            batches = [tuple(part.counts(rng, size) for part in centred) for _ in range(n_batches)]
            with one_blas_thread():  # batches share the cores better than products do
                means.append(np.mean(map_in_threads(of_one, batches)))
        return at_infinite_size(sizes, np.array(means))

    pair = make_pair(real, generated, sample_weight, normalise)
    if return_floor:
        return _with_floor(distance, _plain_frechet_distance, max_samples, seed, *pair)
    return distance(*pair)


@arguments(
    **_COMMON,
    n_batches=COUNT,
    batch_size=Interval(Integral, 2, None, closed="left"),
)
def kernel_physics_distance(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    n_batches: int = 10,
    batch_size: int = 5000,
    normalise: bool = True,
    sample_weight: tuple[Any, Any] | None = None,
    return_floor: bool = False,
    random_state: Any = 42,
) -> PhysicsDistance | PhysicsDistanceAndFloor:
    r"""Return the squared maximum mean discrepancy of two samples of features, with a polynomial kernel.

    The unbiased estimate with :math:`k(x, y) = (x \cdot y / d + 1)^4` for d features; the median over
    batches drawn with replacement, and half of the range from the 16th to the 84th percentile.

    Parameters
    ----------
    real, generated : array-like of shape (n_samples, n_features)
        Features, such as :func:`shower_features`. The numbers of rows may differ.
    n_batches : int, default=10
        Number of batches.
    batch_size : int, default=5000
        Rows of a batch. The CaloChallenge takes 10,000.
    normalise : bool, default=True
        Divide each feature by the largest absolute value that it has among the real ones.
    sample_weight : (array-like or None, array-like or None), default=None
        Weights of the real rows and of the generated ones, not negative: batches are drawn with
        probabilities in proportion.
    return_floor : bool, default=False
        See :func:`frechet_physics_distance`.
    random_state : int, RandomState instance or None, default=42
        Seed of the batches; that of the published code.

    Returns
    -------
    distance : PhysicsDistance or PhysicsDistanceAndFloor
        Named tuple of value and error, and with ``return_floor`` of floor and floor_error. Values below
        0 are noise.

    References
    ----------
    R. Kansal et al., "Evaluating generative models in high energy physics", Phys. Rev. D 107, 076017
    (2023), arXiv:2211.10295; the algorithm and defaults are those of JetNet.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.metrics import kernel_physics_distance
    >>> rng = np.random.default_rng(0)
    >>> real, generated = rng.normal(size=(4000, 3)), rng.normal(size=(2000, 3))
    >>> kernel_physics_distance(real, generated, batch_size=500, return_floor=True).at_floor
    True
    """
    seed = _seed(random_state)

    def distance(*pair: Sample) -> PhysicsDistance:
        values = []
        for batch in range(n_batches):
            rng = np.random.default_rng(seed + 1000 * batch)
            rows = [part.rows[part.indices(rng, batch_size)] for part in pair]
            values.append(unbiased_mmd(*rows))
        low, middle, high = np.percentile(values, [16.275, 50.0, 83.725])
        return PhysicsDistance(float(middle), float(high - low) / 2.0)

    pair = make_pair(real, generated, sample_weight, normalise)
    if return_floor:
        return _with_floor(distance, unbiased_mmd, _SPLIT_ROWS, seed, *pair)
    return distance(*pair)


def _seed(random_state):
    """Return the seed itself where one is given, as the published code has it."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def _with_floor(distance, plain, most, seed, real, generated):
    """Return a distance and its floor; ``plain`` is that of all rows of two arrays."""
    size = min(len(real.rows) // 2, len(generated.rows))
    if size < 2:
        raise ValueError(
            f"real has {len(real.rows)} rows; return_floor=True compares two halves of it, and "
            "needs at least 4."
        )
    rng = np.random.default_rng(seed)  # rows may come in an order that means something
    order, others = (rng.permutation(len(part.rows)) for part in (real, generated))
    first, second = (real.part(order[start : start + size]) for start in (0, size))
    between = distance(first, generated.part(others[:size]))
    floor = distance(first, second)
    spread = _spread_between_halves(plain, real, size, most, rng)
    return PhysicsDistanceAndFloor(
        between.value,
        float(np.hypot(between.error, spread)),
        floor.value,
        float(np.hypot(floor.error, spread)),
    )


def _spread_between_halves(plain, sample, size, most, rng):
    """Return by how much a distance differs from one split into halves of ``size`` rows to another.

    It is in proportion to 1/n for samples of n rows of one distribution, so ``most`` rows are enough.
    """
    n, values = min(size, most), []
    for _ in range(_N_SPLITS):
        order = rng.permutation(len(sample.rows))
        halves = (sample.part(order[start : start + n]) for start in (0, n))
        values.append(
            plain(*(half.rows[half.indices(rng, n)] if half.probability is not None else half.rows
                    for half in halves))
        )  # fmt: skip
    return np.std(values, ddof=1) * n / size


def at_infinite_size(sizes: NDArray[Any], distances: NDArray[np.float64]) -> PhysicsDistance:
    """Fit a + b/N, a and b not negative, to distances of samples of N rows; return a and its error."""
    unit = np.abs(distances).max()
    if unit == 0.0:
        return PhysicsDistance(0.0, 0.0)
    # in units in which both terms are of order one: what the solver takes for zero is an absolute number
    terms = np.stack([np.ones(len(sizes)), sizes.min() / sizes], axis=1)
    (value, _), residual = nnls(terms, distances / unit)
    share = np.linalg.inv(terms.T @ terms)[0, 0] / (len(sizes) - 2)  # of the squares that are left
    return PhysicsDistance(float(value * unit), float(residual * np.sqrt(share) * unit))


def _plain_frechet_distance(x, y):
    centre, once = x.mean(axis=0), np.ones(len(x), dtype=np.int64)
    return gaussian_frechet_distance(*moments(x - centre, once), *moments(y - centre, once))


def moments(
    rows: NDArray[np.float64], counts: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of a batch that has each row ``counts`` times.

    One pass over blocks that stay in the cache; rows whose mean is near 0 lose no digits.
    """
    used = np.flatnonzero(counts)
    roots = np.sqrt(counts[used])[:, None]
    sums, products = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
    block = np.empty((min(_ROWS, len(used)), rows.shape[1]))
    for start in range(0, len(used), _ROWS):
        part = block[: len(used) - start]
        root = roots[start : start + _ROWS]
        np.take(rows, used[start : start + _ROWS], axis=0, out=part)
        part *= root
        sums += root[:, 0] @ part
        products += part.T @ part
    n = counts.sum()
    return sums / n, (products - np.outer(sums, sums) / n) / (n - 1)


def gaussian_frechet_distance(
    mean_1: NDArray[np.float64],
    covariance_1: NDArray[np.float64],
    mean_2: NDArray[np.float64],
    covariance_2: NDArray[np.float64],
) -> float:
    """Return the squared Wasserstein-2 distance of two Gaussians."""
    values, vectors = eigh(covariance_1)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    # the eigenvalues of Σ₁ Σ₂, from a symmetric matrix: much faster than a root of the product
    product = np.maximum(eigvalsh(root.T @ covariance_2 @ root), 0.0)
    traces = np.trace(covariance_1) + np.trace(covariance_2)
    return float(np.square(mean_1 - mean_2).sum() + traces - 2.0 * np.sqrt(product).sum())
