"""Energies of showers in MeV: converted, and refused where they look like another unit."""

from itertools import product

import numpy as np

_MEV = {"MeV": 1.0, "GeV": 1e3}

# Total over incident energy, between which a file may be what it is said to be. Calibrated showers have
# 0.3 to 1.3, and without a correction for the sampling fraction down to 0.005; units that are mixed up
# change this by 1000.
_LEAST_RATIO, _MOST_RATIO = 1.0 / 300.0, 30.0

# With fewer showers nothing is said: a pion may leave next to nothing.
_LEAST_SHOWERS = 10

# MeV; the least in the CaloChallenge. Where most showers have less, and more than this share of the lit
# voxels are below the threshold, GeV were taken for MeV.
_LEAST_ENERGY = 256.0
_MOST_BELOW = 0.1

# Showers that are summed at a time.
_ROWS = 4096


def resolve_unit(unit):
    """Return the units of incident energies and of voxels, or None where they do not matter.

    Raises
    ------
    ValueError
        If it is no unit, nor a pair of them.
    """
    if unit is None:
        return None
    pair = (unit, unit) if isinstance(unit, str) else tuple(unit)
    if len(pair) != 2 or not set(pair) <= set(_MEV):
        raise ValueError(
            f"unit={unit!r} must be 'MeV', 'GeV', a pair of these, of incident energies and of voxels, "
            "or None."
        )
    return pair


def to_mev(X, unit, *, threshold, where):
    """Convert showers in place, and refuse those that are implausible then.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel.
    unit : (str, str) or None
        Of both; None leaves the numbers as they are.
    threshold : float
        Of the voxels, in MeV.
    where : str
        What the showers are, for the error.

    Raises
    ------
    ValueError
        If the totals are far from the incident energies, or energies far below those of any shower.
    """
    if unit is None:
        return
    for columns, name in ((X[:, :1], unit[0]), (X[:, 1:], unit[1])):
        if name != "MeV":
            columns *= _MEV[name]
    incident = X[:, 0].astype(np.float64)
    totals = np.concatenate(
        [X[k : k + _ROWS, 1:].sum(axis=1, dtype=np.float64) for k in range(0, len(X), _ROWS)]
    )
    judged = (incident > 0.0) & (totals > 0.0)
    if judged.sum() < _LEAST_SHOWERS:
        return
    incident, totals = incident[judged], totals[judged]
    found, meant = _slip(X, incident, totals, unit, threshold)
    if found:
        as_of = " or ".join(map(_in_words, meant))
        remedy = f"unit={' or '.join(map(_as_argument, meant))} reads them as MeV"
        raise ValueError(
            f"{where} have {found}, as of {as_of or 'another unit'}. If so, "
            f"{remedy if meant else 'convert them'}; unit=None reads the numbers as they are."
        )


def _slip(X, incident, totals, unit, threshold):
    """Return what is odd about showers that were converted, and the units that would explain it."""
    ratios = np.median(totals / incident), totals.sum() / incident.sum()
    found = f"a median E_tot/E_inc of {ratios[0]:.3g}"
    if min(ratios) >= _MOST_RATIO or max(ratios) <= _LEAST_RATIO:
        return found, _explaining(ratios[0], unit)
    if unit == ("MeV", "MeV") and np.median(incident) < _LEAST_ENERGY:
        below = _share_below(X, threshold)
        if below > _MOST_BELOW:
            return (
                f"a median incident energy of {np.median(incident):.3g} MeV and {below:.0%} of the lit "
                f"voxels below the threshold of {threshold:g} MeV"
            ), [("GeV", "GeV")]
    return None, []


def _explaining(ratio, unit):
    """Return the pairs of units with which totals over incident energies would be around 1."""
    pairs = product(_MEV, repeat=2)
    ratios = {pair: ratio * _MEV[pair[1]] / _MEV[pair[0]] for pair in pairs}
    as_said = _MEV[unit[1]] / _MEV[unit[0]]
    return [pair for pair, other in ratios.items() if _LEAST_RATIO < other / as_said < _MOST_RATIO]


def _in_words(pair):
    same = pair[0] == pair[1]
    return (
        f"energies in {pair[0]}"
        if same
        else "incident energies in {} and voxels in {}".format(*pair)
    )


def _as_argument(pair):
    return repr(pair[0] if pair[0] == pair[1] else pair)


def _share_below(X, threshold):
    lit = below = 0
    for start in range(0, len(X), _ROWS):
        voxels = X[start : start + _ROWS, 1:]
        lit += np.count_nonzero(voxels)
        below += np.count_nonzero((voxels > 0.0) & (voxels < threshold))
    return below / lit
