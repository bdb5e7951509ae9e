"""Where generated showers differ from real ones: in neighbours, depth, width, and groups of features."""

from itertools import pairwise

import numpy as np
from _showers import ShowerSample, told_apart_by_trees

from skae.metrics import neighbour_correlation_names, shower_feature_names

# Layers around which the longitudinal profile bends most, and the share of the incident energy that is
# added to theirs before the logarithm, so that dark layers do not outweigh all others.
_LAYERS = slice(2, 15)
_SHARE = 0.01

_LOW_AND_HIGH = ((0.0, 1e4), (1e4, np.inf))  # MeV

#: bounds of incident energies, in MeV, between which showers are compared
BANDS = tuple(pairwise((1e3, 3e3, 1e4, 3e4, 1e5)))

#: columns of features that are called by these names; energies of layers have a column of the table
GROUPS = ("centre_x", "centre_y", "centre_r", "width_x", "width_y", "width_r", "sparsity", "all")


def is_between(energy: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return which energies are from ``low`` to below ``high``."""
    return (low <= energy) & (energy < high)


def second_differences(energy: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Return how log10(E_l + 0.01 E_inc) bends in depth, at the layers of index 2 to 14: (n, 13)."""
    logs = np.log10(layers + _SHARE * energy[:, None].astype(np.float64))
    bends = np.diff(logs, n=2, axis=1)  # the first one is at layer 1
    return bends[:, _LAYERS.start - 1 : _LAYERS.stop - 1]


def ratio_of_bends(real: ShowerSample, generated: ShowerSample, low: float, high: float) -> float:
    """Return the spread of second differences, generated over real: the median over layers.

    Of showers with incident energies from ``low`` to ``high``.
    """
    spreads = []
    for sample in (real, generated):
        rows = is_between(sample.energy, low, high)
        spreads.append(second_differences(sample.energy[rows], sample.layers[rows]).std(axis=0))
    return float(np.median(spreads[1] / spreads[0]))


def ratio_of_widths(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """Return the standard deviation of a quantity, generated over real, and the ratio's error.

    A standard deviation of n numbers with kurtosis k is known to a share of √((k − 1) / 4n), for large n.
    """
    ratio = float(np.std(generated) / np.std(real))
    variance = sum((_kurtosis(part) - 1.0) / (4.0 * len(part)) for part in (real, generated))
    return ratio, ratio * float(np.sqrt(variance))


def _kurtosis(values: np.ndarray) -> float:
    squares = (values - values.mean()) ** 2
    return float((squares**2).mean() / squares.mean() ** 2)


def beyond_limits(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return which mean correlations (…, n_radii) of neighbours are too far from the real ones.

    At the two innermost radii by more than 20 %, elsewhere by more than 0.01.
    """
    limits = np.full(real.shape, 0.01)
    limits[..., :2] = 0.2 * np.abs(real[..., :2])
    return np.abs(generated - real) > limits


def auc_by_group(real: ShowerSample, generated: ShowerSample) -> dict[str, float]:
    """Return how well trees tell showers apart by one group of features each, and by all.

    The incident energy is in every group.
    """
    names = shower_feature_names()
    areas = {}
    for group in GROUPS:
        columns = [
            group == "all" or name == "log10_E_inc" or name.startswith(f"{group}_")
            for name in names
        ]
        areas[group] = told_apart_by_trees(
            real.features[:, columns], generated.features[:, columns]
        ).auc
    return areas


def details_of(
    real: ShowerSample, generated: ShowerSample, more_responses: np.ndarray
) -> dict[object, float]:
    """Return all figures of a row by name, those of a band of energies by name and band.

    Parameters
    ----------
    real, generated : ShowerSample
        The two.
    more_responses : ndarray of shape (n_draws, n)
        E_tot/E_inc of further showers that were generated at the same energies.
    """
    correlations = generated.neighbours.mean(axis=0).tolist()
    details = dict(zip(neighbour_correlation_names(), correlations, strict=True))
    for band in _LOW_AND_HIGH:
        details["bends", band] = ratio_of_bends(real, generated, *band)
    energy = np.tile(generated.energy, 1 + len(more_responses))
    response = np.concatenate([generated.response, *more_responses])
    for band in BANDS:
        details["width", band], details["error", band] = ratio_of_widths(
            real.response[is_between(real.energy, *band)], response[is_between(energy, *band)]
        )
    return details | auc_by_group(real, generated)


def print_details(real: ShowerSample, rows: dict[str, dict[object, float]]) -> None:
    """Print tables of the details of rows."""
    _print_neighbours(real, rows)
    _print_bends_and_widths(rows)
    _print_groups(rows)


def _print_neighbours(real, rows):
    print("\nMean correlations of neighbours, radius by radius; * is beyond 20 % at the two innermost, "
          "beyond 0.01 at others.\nThe farthest of either are in front.")  # fmt: skip
    names = neighbour_correlation_names().reshape(-1, 9)
    means = real.neighbours.mean(axis=0).reshape(names.shape)
    found = {
        label: np.array([[details[name] for name in line] for line in names])
        for label, details in rows.items()
    }
    for i, line in enumerate(names):
        print(f"{line[0].removesuffix('_radius_0')}")
        print(f"  {'the simulation':48s}" + " ".join(f"{mean:8.3f}" for mean in means[i]))
        for label, values in found.items():
            print(f"  {label:32s}" + _neighbours_line(means[i], values[i]))
    for label, values in found.items():
        n_within = np.count_nonzero(~beyond_limits(means, values))
        print(f"{label:34s}{n_within} of {values.size} within", flush=True)


def _neighbours_line(real, generated):
    off = np.abs(generated - real)
    inner, outer = 100.0 * (off[:2] / np.abs(real[:2])).max(), off[2:].max()
    marks = np.where(beyond_limits(real, generated), "*", " ")
    cells = [f"{value:8.3f}{mark}" for value, mark in zip(generated, marks, strict=True)]
    return f"{inner:6.1f} %{outer:7.3f} " + "".join(cells)


def _print_bends_and_widths(rows):
    print("\nGenerated over real: spread of second differences in depth of log10(E_l + 0.01 E_inc), the "
          "median over layers of\nindex 2 to 14, under 10 GeV and from there on; width of E_tot/E_inc "
          "by GeV, a model's of several draws")  # fmt: skip
    heads = [f"{low / 1e3:.0f} to {high / 1e3:.0f}" for low, high in BANDS]
    print(f"{'':34s}{'bends, low':>12s}{'high':>8s}" + "".join(f"{h:>16s}" for h in heads))
    for label, details in rows.items():
        low, high = (details["bends", band] for band in _LOW_AND_HIGH)
        widths = [f"{details['width', band]:.3f} ± {details['error', band]:.3f}" for band in BANDS]
        cells = "".join(f"{width:>16s}" for width in widths)
        print(f"{label:34s}{low:12.3f}{high:8.3f}{cells}", flush=True)


def _print_groups(rows):
    print("\nAUC of trees that see the incident energy and one group of features")
    print(f"{'':34s}" + "".join(f"{group:>10s}" for group in GROUPS))
    for label, details in rows.items():
        cells = "".join(f"{details[group]:10.3f}" for group in GROUPS)
        print(f"{label:34s}{cells}", flush=True)
