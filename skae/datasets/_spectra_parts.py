"""Spectra of one grid, as readers make them: errors, flags and gaps; several of them as one table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from skae.datasets._binary import real_numbers

# Names under which files keep what is needed, in lower case, the most likely first.
FLUX = ("flux", "flux_density", "counts", "intensity", "spec", "spectrum", "sci", "data")
LOG_GRID = ("loglam", "loglambda", "log_wave", "logwave")
GRID = (
    "wavelength", "wave", "lambda", "lam", "wavelengths", *LOG_GRID, "wl", "energy", "frequency",
    "freq", "wavenumber", "wavenumbers", "raman", "time", "tau",
)  # fmt: skip
INVERSE_VARIANCE = ("ivar", "invvar", "inverse_variance")
VARIANCE = ("var", "variance", "stat")
ERROR = (
    "error", "err", "sigma", "flux_error", "flux_err", "uncertainty", "uncert", "stddev", "std", "noise",
    *INVERSE_VARIANCE, *VARIANCE,
)  # fmt: skip
FLAGS = (
    "and_mask",
    "andmask",
    "mask",
    "dq",
    "flags",
    "flag",
    "quality",
    "qual",
    "pixelmask",
    "pixmask",
)

# What there is one of for each spectrum, and what a table has once.
_OF_ROWS = ("data", "errors", "flags", "ids", "redshifts", "files", "rows")
_OF_TABLE = ("wavelengths", "medium", "unit", "wavelength_unit")

# Grids are the same where no pixel is off by more than this share of the narrowest one.
SAME_PIXEL = 1e-2


class Reading(NamedTuple):
    """What a caller says of a file; see ``load_spectra``."""

    orient: str | None = None
    grid: bool | None = None
    names: Sequence[str] | None = None
    column: str | None = None
    hdu: Any = None
    decimal: str | None = None
    mask: int | bool | None = None


def spectra_of(
    data: Any,
    wavelengths: Any = None,
    errors: Any = None,
    flags: Any = None,
    *,
    kind: str = "error",
    mask: int | bool | None = None,
    unused: Sequence[str] = (),
    **said: Any,
) -> Bunch:
    """Make spectra of what a file holds.

    Parameters
    ----------
    data : array-like of shape (n_samples, n_bins)
        Fluxes.
    wavelengths : array-like of shape (n_bins,) or (n_samples, n_bins), default=None
        Their grid; one that is the same for all rows is kept once.
    errors : array-like of shape (n_samples, n_bins), default=None
        Standard deviations, variances or inverse variances, as ``kind`` says.
    flags : array-like of shape (n_samples, n_bins), default=None
        Bits of a mask.
    kind : str, default="error"
        "error", "variance" or "ivar".
    mask : int or bool, default=None
        Which bits say that a pixel was not seen.
    unused : sequence of str, default=()
        What the file has besides.
    **said
        ids, redshifts, medium, unit, wavelength_unit.

    Raises
    ------
    ValueError
        If shapes do not fit, or there are no flags to apply.
    """
    data = np.atleast_2d(_floats(data))
    if data.ndim != 2 or data.size == 0:
        raise ValueError(f"its shape is {data.shape}, not (n_samples, n_bins)")
    unused = list(unused)
    if errors is not None:
        errors = _standard_deviations(kind, _like(data, real_numbers(errors), "errors"))
        if errors is None:
            unused.append("errors that are 0 or NaN in all pixels")
    if flags is not None:
        flags = _like(data, np.asarray(flags).astype(np.int64), "flags")
    if mask is not None and mask is not False:
        _apply(mask, data, errors, flags)
    if errors is not None:
        data[np.isnan(errors)] = np.nan
    spectra = Bunch(data=data, wavelengths=_one_grid(data, wavelengths), errors=errors, flags=flags)
    spectra.update(dict.fromkeys(("ids", "redshifts", "medium", "unit", "wavelength_unit")))
    for name in ("ids", "redshifts"):
        if said.get(name) is not None:
            said[name] = np.atleast_1d(said[name])
    spectra.update(said, unused=unused)
    return spectra


def _floats(values: Any) -> np.ndarray:
    return np.array(real_numbers(values), dtype=np.float64)


def _like(data: np.ndarray, values: Any, what: str) -> np.ndarray:
    values = np.atleast_2d(np.array(values))
    if values.shape != data.shape:
        raise ValueError(f"its {what} have shape {values.shape}, its fluxes {data.shape}")
    return values


def _standard_deviations(kind: str, values: np.ndarray) -> np.ndarray | None:
    """Return errors, NaN where nothing is known; None if that is everywhere and no weight says so."""
    values = values.astype(np.float64)
    known = np.isfinite(values) & (values > 0)
    values[~known] = np.nan
    if kind == "ivar":
        return 1.0 / np.sqrt(values)
    if not known.any():
        return None
    return np.sqrt(values) if kind == "variance" else values


def _apply(mask: int, data: np.ndarray, errors: Any, flags: np.ndarray | None) -> None:
    if flags is None:
        raise ValueError(f"mask={mask!r} has nothing to apply: it has no flags; leave mask=None")
    is_masked = flags != 0 if mask is True else (flags & mask) != 0
    data[is_masked] = np.nan
    if errors is not None:
        errors[is_masked] = np.nan


def _one_grid(data: np.ndarray, wavelengths: Any) -> np.ndarray | None:
    if wavelengths is None:
        return None
    grid = _floats(wavelengths)
    if grid.ndim == 2 and np.array_equal(grid, np.broadcast_to(grid[:1], grid.shape), True):
        grid = grid[0]
    if grid.shape not in (data.shape, data.shape[1:]):
        raise ValueError(f"its grid has shape {grid.shape}, its fluxes {data.shape}")
    return grid


def kind_of_errors(name: str) -> str:
    """Return what errors of this name are: "error", "variance", or "ivar", as those of "flux_ivar"."""
    words = name, name.rsplit("_", 1)[-1]
    if any(word in INVERSE_VARIANCE for word in words):
        return "ivar"
    return "variance" if any(word in VARIANCE for word in words) else "error"


def is_log(name: str) -> bool:
    """Whether a name is that of decadic logarithms of wavelengths."""
    return name.lower() in LOG_GRID


def linear(name: str, grid: Any) -> np.ndarray:
    """Return wavelengths from what a file calls its grid."""
    grid = _floats(grid)
    return 10.0**grid if is_log(name) else grid


# -- several spectra ---------------------------------------------------------------------------------


def rows_of(spectra: Bunch, rows: Any) -> Bunch:
    """Return some of the spectra."""
    taken = Bunch(**spectra)
    for name in _OF_ROWS:
        if spectra.get(name) is not None:
            taken[name] = spectra[name][rows]
    if np.ndim(spectra.wavelengths) == 2:
        taken.wavelengths = spectra.wavelengths[rows]
    return taken


def apart(spectra: Bunch) -> list[Bunch]:
    """Return spectra of which each part has one grid."""
    if np.ndim(spectra.wavelengths) != 2:
        return [spectra]
    parts = [rows_of(spectra, [j]) for j in range(len(spectra.data))]
    for part in parts:
        part.wavelengths = part.wavelengths[0]
    return parts


def joined(parts: Sequence[Bunch]) -> Bunch:
    """Put spectra of one grid into one table.

    Raises
    ------
    ValueError
        If some have errors and others none, or units or media differ.
    """
    if len(parts) == 1:
        return parts[0]
    has_errors = [part.errors is not None for part in parts]
    if any(has_errors) and not all(has_errors):
        without = parts[has_errors.index(False)]
        raise ValueError(
            f"{_name(without)} has no errors and others have; load them apart, or give it some"
        )
    table = Bunch(**{name: agreed(parts, name) for name in _OF_TABLE[1:]})
    table.wavelengths = parts[0].wavelengths
    for name in _OF_ROWS:
        values = [part.get(name) for part in parts]
        if name == "redshifts" and any(one is not None for one in values):
            values = [
                np.full(len(part.data), np.nan) if one is None else one
                for one, part in zip(values, parts, strict=True)
            ]
        table[name] = None if any(one is None for one in values) else np.concatenate(values)
    return table


def agreed(parts: Sequence[Bunch], name: str) -> str | None:
    """Return what all parts say, or None if one says nothing.

    Raises
    ------
    ValueError
        If they say different things.
    """
    said = {part.get(name) for part in parts}
    if len(said - {None}) > 1:
        raise ValueError(
            f"spectra have different {_PLURALS[name]}: {sorted(said - {None})}; bring them to one first, "
            "or load them apart"
        )
    return None if None in said else said.pop()


_PLURALS = {"medium": "media", "unit": "units", "wavelength_unit": "units of wavelength"}


def is_same_grid(first: Bunch, second: Bunch) -> bool:
    """Whether the grids of two parts are the same, up to rounding."""
    if first.data.shape[1] != second.data.shape[1]:
        return False
    one, other = first.wavelengths, second.wavelengths
    if one is None or other is None:
        return one is other
    narrowest = np.nanmin(np.abs(np.diff(one))) if len(one) > 1 else np.abs(one[0])
    return bool(np.allclose(one, other, rtol=0.0, atol=1e-6 * narrowest, equal_nan=True))


def _name(spectra: Bunch) -> str:
    return repr(str(spectra.files[0])) if spectra.get("files") is not None else "one of them"


def join_arms(arms: Sequence[Bunch]) -> Bunch:
    """Join the arms of a spectrograph, by inverse variance where they overlap on pixels of one grid.

    Raises
    ------
    ValueError
        If overlapping pixels lie at other places, or have no errors.
    """
    if len(arms) == 1:
        return arms[0]
    has_errors = all(arm.errors is not None for arm in arms)
    grid, places = _grid_of_arms(arms, has_errors)
    shape = (len(arms[0].data), len(grid))
    total, weight = np.zeros((2, *shape))
    flags, of_unseen = np.zeros((2, *shape), dtype=np.int64)
    for arm, columns in zip(arms, places, strict=True):
        seen = ~np.isnan(arm.data)
        arm_weight = np.where(seen, arm.errors**-2.0 if has_errors else 1.0, 0.0)
        total[:, columns] += arm_weight * np.where(seen, arm.data, 0.0)
        weight[:, columns] += arm_weight
        bits = np.zeros_like(flags[:, columns]) if arm.flags is None else arm.flags
        flags[:, columns] |= np.where(seen, bits, 0)
        of_unseen[:, columns] |= bits
    weight[weight == 0] = np.nan
    whole = Bunch(**arms[0])
    whole.update({name: agreed(arms, name) for name in _OF_TABLE[1:]})
    whole.update(data=total / weight, wavelengths=grid)
    whole.errors = 1.0 / np.sqrt(weight) if has_errors else None
    has_flags = any(arm.flags is not None for arm in arms)
    whole.flags = np.where(np.isnan(weight), of_unseen, flags) if has_flags else None
    whole.unused = [entry for arm in arms for entry in arm.unused]
    return whole


def _grid_of_arms(arms: Sequence[Bunch], has_errors: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the grid that arms have together, and the places of each one's pixels in it."""
    if len({len(arm.data) for arm in arms}) > 1 or any(np.ndim(a.wavelengths) != 1 for a in arms):
        raise ValueError(
            "its arms have other numbers of spectra, or no common wavelengths; name one with hdu="
        )
    narrowest = min(np.abs(np.diff(arm.wavelengths)).min() for arm in arms)
    every = np.sort(np.concatenate([arm.wavelengths for arm in arms]))
    grid = every[np.r_[True, np.diff(every) > SAME_PIXEL * narrowest]]
    if (len(grid) < len(every) and not has_errors) or np.diff(grid).min() < 0.9 * narrowest:
        raise ValueError(
            "its arms overlap, and their pixels cannot be averaged: they lie at other places, or have no "
            "errors; name one arm with hdu="
        )
    return grid, [np.searchsorted(grid, arm.wavelengths - 0.5 * narrowest) for arm in arms]
