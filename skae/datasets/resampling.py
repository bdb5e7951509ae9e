"""Spectra of different grids on one, with their errors: flux-conserving, NaN where nothing was seen."""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils import Bunch

from skae._parameters import arguments
from skae._sklearn import Interval, StrOptions
from skae._warn import warn
from skae.datasets._spectra_parts import SAME_PIXEL, joined
from skae.exceptions import UnusedDataWarning

# Spectra that are resampled together, so that memory stays small.
_ROWS_AT_ONCE = 512

# A step so many times as long as the one before, or behind, is a gap between pixels.
_GAP = 3.0

# Units in which a redshift multiplies.
_OF_FREQUENCY = ("hz", "ev", "cm-1", "1/cm", "cm^-1", "cm**-1")


@arguments(
    spectra=[dict, list, tuple],
    wavelengths=["array-like"],
    redshifts=["array-like", StrOptions({"file"}), None],
    min_seen=Interval(Real, 0, 1, closed="right"),
)
def resample_spectra(spectra, wavelengths, *, redshifts=None, min_seen=0.5):
    r"""Bring spectra, and their errors, to one grid.

    A pixel counts photons over its width. So a new pixel is the mean of those that it overlaps, weighted
    by the width of the overlap, and the flux under a spectrum stays what it was.

    Parameters
    ----------
    spectra : Bunch, dict or list of them
        Spectra as :func:`load_spectra` returns them, with ``as_list=True`` where grids differ:
        ``data`` of shape (n, n_bins), ``wavelengths`` of shape (n_bins,), or (n, n_bins) for rows with
        grids of their own, and ``errors``, which may be None. NaN, an error of 0 or an infinite one mark
        pixels that were not seen.
    wavelengths : array-like of shape (n_pixels,)
        Centres of the new pixels, in order, in the unit of the spectra. Pixels, old and new, end half-way
        to the next; a step three times as long as its neighbour is a gap, in which there is nothing.
    redshifts : array-like of shape (n_samples,) or "file", default=None
        Brings spectra to their rest frame: a pixel seen at λ goes to λ / (1 + z). "file" takes those that
        were read. Fluxes stay as they were observed.
    min_seen : float, default=0.5
        Least share of a new pixel that must be covered by pixels that were seen. Less makes it NaN, as
        does reaching beyond the first or the last pixel that was seen in its row.

    Returns
    -------
    spectra : :class:`~sklearn.utils.Bunch`
        data, errors : ndarray of shape (n_samples, n_pixels)
            Resampled spectra and standard deviations, NaN where nothing was seen; ``errors`` may be None.
        wavelengths : ndarray of shape (n_pixels,)
            The new grid.

        And ids, redshifts, files, rows, medium, unit, wavelength_unit, as they were read. Flags are not
        resampled: ask :func:`load_spectra` for ``mask=``.

    Raises
    ------
    ValueError
        If a grid is not in order, a redshift is missing, or spectra of different units, or with and
        without errors, meet.

    Warns
    -----
    UnusedDataWarning
        If a spectrum does not reach these wavelengths: its row is NaN.

    See Also
    --------
    load_spectra : Reads spectra from files.

    Notes
    -----
    With overlaps :math:`w_{kj}` of the new pixel k and the pixels j that were seen, as in [1]_,

    .. math::

        f'_k = \frac{\sum_j w_{kj} f_j}{\sum_j w_{kj}}, \qquad
        \sigma'_k = \frac{\sqrt{\sum_j w_{kj}^2 \sigma_j^2}}{\sum_j w_{kj}}.

    New pixels that share an old one are correlated, and ``errors`` are only the diagonal of their
    covariance: on a finer grid neighbours have the same noise, which a χ² counts more than once. Take new
    pixels that are as wide as the old ones, or wider.

    References
    ----------
    .. [1] A. C. Carnall,
       "SpectRes: a fast spectral resampling tool in Python" (2017), arXiv:1705.05165.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.datasets import resample_spectra
    >>> first = {"data": [[1.0, 2.0, 3.0, 4.0]], "wavelengths": [1, 2, 3, 4], "errors": [[0.1] * 4]}
    >>> second = {"data": [[4.0, 8.0]], "wavelengths": [2, 4], "errors": [[0.1, 0.2]]}
    >>> spectra = resample_spectra([first, second], [1.5, 3.5, 5.5])
    >>> spectra.data
    array([[1.5, 3.5, nan],
           [nan, 7. , nan]])
    >>> spectra.errors.round(3)
    array([[0.071, 0.071,   nan],
           [  nan, 0.152,   nan]])
    """
    parts = [_checked(one) for one in ([spectra] if isinstance(spectra, Mapping) else spectra)]
    if not parts:
        raise ValueError("spectra is an empty list; give it some")
    grid = np.array(wavelengths, dtype=np.float64)
    if grid.ndim != 1 or not np.isfinite(grid).all():
        raise ValueError(
            f"wavelengths has shape {grid.shape}, or NaN; give finite ones, (n_pixels,)"
        )
    new = _pixels(grid, "wavelengths")
    counts = [len(part.data) for part in parts]
    shifts = _stretches(parts, redshifts)
    stretches = np.split(shifts, np.cumsum(counts)[:-1])
    for part, stretch in zip(parts, stretches, strict=True):
        data, errors = np.full((2, len(part.data), len(grid)), np.nan)
        for rows, old, factor in _alike(part, stretch):
            here, there = np.ix_(rows, old.column), np.ix_(rows, new.column)
            seen_at = _Pixels(new.low * factor, new.high * factor, new.column)
            data[there], errors[there] = _resampled(
                part.data[here], None if part.errors is None else part.errors[here],
                old, seen_at, min_seen,
            )  # fmt: skip
        part.update(
            data=data, errors=None if part.errors is None else errors, flags=None, wavelengths=grid
        )
    table = joined(parts)
    n_empty = int(np.isnan(table.data).all(axis=1).sum())
    if n_empty:
        warn(
            f"{n_empty} of {len(table.data)} spectra do not reach these wavelengths: their rows are NaN.",
            UnusedDataWarning,
        )
    return table


def _checked(spectra: Mapping) -> Bunch:
    """Return spectra as floats, NaN where nothing was seen."""
    part = Bunch(**spectra)
    missing = [name for name in ("data", "wavelengths") if part.get(name) is None]
    if missing:
        raise ValueError(f"spectra have no {missing[0]!r}; they are needed to resample them")
    part.data = np.atleast_2d(np.array(part.data, dtype=np.float64))
    part.wavelengths = np.asarray(part.wavelengths, dtype=np.float64)
    shape = part.data.shape
    if part.data.ndim != 2 or part.wavelengths.shape not in (shape, shape[1:]):
        raise ValueError(
            f"data has shape {shape} and wavelengths {part.wavelengths.shape}; they must be "
            "(n_samples, n_bins) and (n_bins,) or (n_samples, n_bins)"
        )
    part.setdefault("errors", None)
    is_seen = np.isfinite(part.data)
    if part.errors is not None:
        part.errors = np.array(np.broadcast_to(part.errors, shape), dtype=np.float64)
        is_seen &= np.isfinite(part.errors) & (part.errors > 0)
        part.errors[~is_seen] = np.nan
    part.data[~is_seen] = np.nan
    return part


def _stretches(parts: Sequence[Bunch], redshifts: Any) -> np.ndarray:
    """Return by what wavelengths of the rest frame are to be multiplied, for each spectrum."""
    n = sum(len(part.data) for part in parts)
    if redshifts is None:
        return np.ones(n)
    unit = next((u for part in parts if (u := part.get("wavelength_unit"))), "")
    if unit.lower().replace(" ", "").endswith(_OF_FREQUENCY):
        raise ValueError(f"redshifts are for wavelengths, and the grid is in {unit!r}; convert it")
    if isinstance(redshifts, str):
        read = [part.get("redshifts") for part in parts]
        if any(one is None for one in read):
            raise ValueError("redshifts='file', but not all files have some; give an array")
        redshifts = np.concatenate(read)
    redshifts = np.asarray(redshifts, dtype=np.float64)
    if redshifts.shape != (n,):
        raise ValueError(f"redshifts has shape {redshifts.shape}; there are {n} spectra")
    wrong = ~(np.isfinite(redshifts) & (redshifts > -1.0))
    if wrong.any():
        raise ValueError(
            f"{wrong.sum()} redshifts are NaN, or not above -1, the first of row {wrong.argmax()}; leave "
            "these spectra out"
        )
    return 1.0 + redshifts


class _Pixels(NamedTuple):
    """Pixels along an axis, in rising order: where each begins and ends, and which column it is."""

    low: np.ndarray
    high: np.ndarray
    column: np.ndarray


def _pixels(centres: np.ndarray, name: str) -> _Pixels:
    """Return pixels around centres, which end half-way to the next; those at NaN are left out."""
    column = np.flatnonzero(np.isfinite(centres))
    if len(column) > 1 and centres[column[0]] > centres[column[-1]]:
        column = column[::-1]
    places = centres[column]
    steps = np.diff(places)
    if len(places) < 2 or not (steps > 0).all():
        raise ValueError(
            f"{name} must be at least two numbers, all rising or all falling: sort them, each once"
        )
    before, behind = np.r_[steps[0], steps], np.r_[steps, steps[-1]]
    narrow = np.minimum(before, behind)
    middle = places[:-1] + 0.5 * steps
    low = np.r_[places[0] - 0.5 * steps[0], middle]
    high = np.r_[middle, places[-1] + 0.5 * steps[-1]]
    low = np.where(before > _GAP * narrow, places - 0.5 * narrow, low)
    high = np.where(behind > _GAP * narrow, places + 0.5 * narrow, high)
    return _Pixels(low, high, column)


def _alike(part: Bunch, stretches: np.ndarray) -> Iterator[tuple[np.ndarray, _Pixels, float]]:
    """Yield rows of one grid and one redshift: which, their pixels, and what stretches the new ones."""
    if part.wavelengths.ndim == 2:
        for row, grid in enumerate(part.wavelengths):
            yield np.array([row]), _pixels(grid, "a grid of spectra"), stretches[row]
        return
    pixels = _pixels(part.wavelengths, "a grid of spectra")
    values, members = np.unique(stretches, return_inverse=True)
    sequence = np.argsort(members, kind="stable")
    ends = np.cumsum(np.bincount(members))
    for stretch, rows in zip(values, np.split(sequence, ends[:-1]), strict=True):
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            yield rows[start : start + _ROWS_AT_ONCE], pixels, stretch


def _resampled(
    data: np.ndarray, errors: np.ndarray | None, old: _Pixels, new: _Pixels, min_seen: float
) -> tuple[np.ndarray, Any]:
    """Resample rows from old pixels to new ones; errors of None come back as NaN."""
    overlap, width = _overlaps(old, new), new.high - new.low
    seen = ~np.isnan(data)
    covered = (overlap @ seen.T.astype(np.float64)).T
    first, last = seen.argmax(axis=1), seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    slack = SAME_PIXEL * width
    is_inside = (new.low >= old.low[first, np.newaxis] - slack) & (
        new.high <= old.high[last, np.newaxis] + slack
    )
    is_known = is_inside & (covered >= (min_seen - SAME_PIXEL) * width) & (covered > 0)
    covered = np.where(is_known, covered, np.nan)
    mean = (overlap @ np.where(seen, data, 0.0).T).T / covered
    if errors is None:
        return mean, np.nan
    variance = (overlap.multiply(overlap).tocsr() @ np.where(seen, errors, 0.0).T ** 2).T
    return mean, np.sqrt(variance) / covered


def _overlaps(old: _Pixels, new: _Pixels) -> csr_matrix:
    """Return the widths that new pixels (rows) share with old ones (columns)."""
    first = np.searchsorted(old.high, new.low, side="right")
    last = np.searchsorted(old.low, new.high, side="left")
    counts = np.maximum(last - first, 0)
    ends = np.cumsum(counts)
    row = np.repeat(np.arange(len(new.low)), counts)
    column = np.arange(ends[-1]) - np.repeat(ends - counts - first, counts)
    widths = np.minimum(old.high[column], new.high[row])
    widths -= np.maximum(old.low[column], new.low[row])
    return csr_matrix((widths, column, np.r_[0, ends]), shape=(len(new.low), len(old.low)))
