"""Whether generated showers are copies of those that a model was trained with."""

import numpy as np
from scipy.spatial.distance import cdist

# Showers of similar energy whose distances are computed at once.
_ROWS = 100


def distances_to_nearest(showers: np.ndarray, train: np.ndarray, n_near: int = 200) -> np.ndarray:
    """Return each shower's distance to the training shower nearest to it.

    Parameters
    ----------
    showers, train : ndarray of shape (n, 1 + n_voxels)
        Incident energy and voxels, in MeV.
    n_near : int, default=200
        Training showers that count, half of them of energies below, half above; at the ends of their
        range those next to the end.

    Returns
    -------
    distances : ndarray of shape (n,)
        Euclid's, of log(1 + voxel / MeV).
    """
    train = train[np.argsort(train[:, 0])]
    n_near = min(n_near, len(train))
    places = np.searchsorted(train[:, 0], showers[:, 0]) - n_near // 2
    starts = np.clip(places, 0, len(train) - n_near)
    distances = np.empty(len(showers))
    order = np.argsort(starts)
    for rows in np.split(order, range(_ROWS, len(order), _ROWS)):
        first, end = starts[rows[0]], starts[rows[-1]] + n_near
        pairs = cdist(np.log1p(showers[rows, 1:]), np.log1p(train[first:end, 1:]))
        index = np.arange(first, end) - starts[rows, None]
        pairs[(index < 0) | (index >= n_near)] = np.inf
        distances[rows] = pairs.min(axis=1)
    return distances


def share_of_copies(distances: np.ndarray, held_out: np.ndarray, quantile: float = 0.01) -> float:
    """Return the share of distances below a quantile of those of held-out showers.

    It is about the quantile for showers that know as little of the training ones as held-out ones do,
    and 1 for copies.
    """
    return float(np.mean(distances < np.quantile(held_out, quantile)))


def n_distinct(showers: np.ndarray) -> int:
    """Return how many showers are left when of equal ones only one counts."""
    return len({shower.tobytes() for shower in np.ascontiguousarray(showers)})
