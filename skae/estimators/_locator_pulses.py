"""All pulses of records of any length: how many are expected in each bin, and which bins are one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skae._parameters import SHARE, arguments
from skae.estimators._data import check_finite_rows, to_host
from skae.estimators._sequences import refuse_ragged
from skae.training.hardware import own_settings
from skae.training.inference import apply_to_rows

# Samples of a record that are looked at together, and how far from its middle a pulse may spread.
_PART, _SPREAD = 2**15, 64

# Expected pulses in a bin, and the share of the threshold, under which a bin is between pulses.
_GAP, _GAP_SHARE = 1e-3, 1e-2

# Two maxima in a row of bins are two pulses if what is between falls to this share of the lower one.
_VALLEY = 0.1


class PulsesMixin:
    """How PulseLocator finds several pulses in a record."""

    @own_settings()
    @arguments(self="no_validation", X="no_validation", threshold=SHARE)
    def predict_pulses(self, X, *, threshold=0.5):
        """Find all pulses of records, which may be of any length.

        Only with ``absent="learn"``. Records are looked at in overlapping parts; memory-mapped ones are
        read as they are needed. What is found does not depend on where parts begin, nor on where records
        do, but near their ends. Where events were labelled with one pulse each, a second one is not told
        from a stronger one that is closer than ``footprint_`` samples; to tell pulses that overlap, label
        all that are in an event, as :func:`skae.datasets.cut_pulse_windows` does.

        Parameters
        ----------
        X : array-like of shape (n_records, n_traces, n_times) or (n_records, n_times)
            Records of as many traces as in :meth:`fit`, of any number of samples.
        threshold : float, default=0.5
            Least probability of a pulse.

        Returns
        -------
        pulses : Bunch
            The pulses of all records in flat arrays, in order: ``event``, the number of the record,
            ``position`` and its standard deviation ``std`` in samples, and ``presence``, the probability
            of the pulse.

        Examples
        --------
        >>> from skae import PulseLocator
        >>> from skae.datasets import cut_pulse_windows, make_pulse_records
        >>> records = make_pulse_records(20, n_times=2000, amplitude=8, random_state=0)
        >>> X, y = cut_pulse_windows(
        ...     records.X, records.event, records.position, n_times=64, random_state=0)
        >>> locator = PulseLocator(absent="learn", max_epochs=10, random_state=0).fit(X, y)
        >>> pulses = locator.predict_pulses(records.X)
        >>> sorted(pulses)
        ['event', 'position', 'presence', 'std']
        """
        X = self._validate_records(X)
        found: list[tuple[float, ...]] = []
        for first, start, stop, begin, bins in self._parts_of(X):
            for record, position, std, presence in _pulses_in(*bins, threshold):
                position += begin
                # one near the end of a part is found in two of them, and taken from one
                if start <= position < stop:
                    found.append((first + record, position, std, presence))
        event, position, std, presence = np.array(sorted(found)).reshape(-1, 4).T
        position = np.clip(position, 0.0, X.shape[-1] - 1.0)
        return Bunch(event=event.astype(np.int64), position=position, std=std, presence=presence)

    def _validate_records(self, X: Any) -> np.ndarray:
        """Check records but for their length and their numbers, which are checked as they are read."""
        check_is_fitted(self, "net_")
        if not self._knows_absent:
            raise ValueError(
                "This PulseLocator was fitted with absent='raise', so it finds one pulse everywhere. Fit "
                "it with absent='learn' to windows of which some have no pulse: see cut_pulse_windows."
            )
        refuse_ragged(X)
        X = to_host(X)
        X = X if isinstance(X, np.ndarray) else np.asarray(X)
        shape = self.trace_shape_
        axes = (
            "n_records, n_times" if len(shape) == 1 else f"n_records, n_traces={shape[0]}, n_times"
        )
        if X.ndim != len(shape) + 1 or X.shape[1:-1] != shape[:-1] or 0 in X.shape:
            hint = " If X is a single record, pass X[np.newaxis]." if X.ndim == len(shape) else ""
            raise ValueError(f"X has shape {X.shape}; it must be ({axes}), of any n_times.{hint}")
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X has dtype {X.dtype}; records are numbers.")
        return X

    def _parts_of(
        self, X: np.ndarray
    ) -> Iterator[tuple[int, float, float, int, tuple[np.ndarray, ...]]]:
        """Go through records in parts.

        Yields the first record of a part, the positions from which and up to which its pulses are taken,
        its first sample, and its bins.
        """
        n_times = X.shape[-1]
        n_records = max(1, _PART // n_times)
        grid = getattr(self.module_, "step", 1)
        spread = max(_SPREAD, 2 * self.footprint_)
        beside = -(-(getattr(self.module_, "reach", _SPREAD) + spread) // grid) * grid
        for first in range(0, len(X), n_records):
            for start in range(0, n_times, _PART):
                begin, end = max(0, start - beside), start + _PART + beside
                rows = X[first : first + n_records, ..., begin:end]

                def name_of(row: int, *place: int, first=first, begin=begin) -> str:
                    return f"record {first + row}, sample {begin + place[-1]}"

                # a part may lie in a gap as a whole
                checked = np.where(np.isnan(rows), 0.0, rows) if self._takes_gaps else rows
                check_finite_rows(checked, name_of)
                numbers = rows[0].size
                bins = apply_to_rows(
                    self._tensor_bins,
                    rows,
                    self.device_,
                    takes=self._units,
                    chunk_rows=max(1, _PART // numbers),
                    fewest_rows=1,
                )
                is_last = start + _PART >= n_times
                yield (
                    first, start - 0.5 if start else -np.inf,
                    np.inf if is_last else start + _PART - 0.5, begin, bins,
                )  # fmt: skip

    def _tensor_bins(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return expected pulses of each bin, and sums of their places and squares within it.

        Each is ``(n, n_times)``. Opinions from all places at which steps may begin are joined, so that it
        does not matter where they do.
        """
        n_times = x.shape[-1]
        x = x.unsqueeze(1) if x.ndim == 2 else x
        output = torch.cat(
            [
                self.module_(nn.functional.pad(x, (shift, 0), mode="replicate"))[..., shift:]
                for shift in range(getattr(self.module_, "step", 1))
            ],
            dim=1,
        )
        rate, centre, variance = self.net_.criterion_.rates(output, self.trace_shape_[-1])
        place = centre.round().clamp(0, n_times - 1)
        within, index = centre - place, place.long()
        sums = [
            rate.new_zeros(len(x), n_times).scatter_add(1, index, part)
            for part in (rate, rate * within, rate * (within**2 + variance))
        ]
        if not self.several_pulses_:
            # of all places where a pulse would look like this one, one has it, or none
            width = 2 * self.footprint_ + 1
            around = nn.functional.avg_pool1d(
                sums[0][:, None], width, stride=1, padding=self.footprint_
            )[:, 0]
            sums = [part / (1.0 + width * around) for part in sums]
        return sums[0], sums[1], sums[2]


def _pulses_in(
    expected: np.ndarray, place: np.ndarray, square: np.ndarray, threshold: float
) -> Iterator[tuple[int, float, float, float]]:
    """Go through pulses: number of the record, position, standard deviation and presence."""
    lit = expected > min(_GAP, _GAP_SHARE * threshold)
    edges = np.diff(np.pad(lit, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    records, firsts = np.nonzero(edges == 1)
    behinds = np.nonzero(edges == -1)[1]
    for record, first, behind in zip(records, firsts, behinds, strict=True):
        for start, stop in _apart(expected[record, first:behind]):
            bins = slice(first + start, first + stop)
            weight = expected[record, bins].astype(np.float64)
            total = weight.sum()
            if total < threshold or total == 0.0:
                continue
            i = np.arange(len(weight))
            mean = (weight @ i + place[record, bins].sum()) / total
            moment = weight @ i**2 + 2.0 * (i @ place[record, bins]) + square[record, bins].sum()
            std = np.sqrt(max(moment / total - mean**2, 0.0))
            yield int(record), float(bins.start + mean), float(std), min(float(total), 1.0)


def _apart(expected: np.ndarray) -> Iterator[tuple[int, int]]:
    """Split neighbouring bins where there is a valley between maxima: first bin, and the one behind."""
    start, peak, least, at = 0, expected[0], np.inf, 0
    for i, number in enumerate(expected.tolist()):
        if least < _VALLEY * peak and least < _VALLEY * number:
            yield start, at
            start, peak, least = at, number, np.inf
        elif number >= peak:
            peak, least = number, np.inf
        elif number < least:
            least, at = number, i
    yield start, len(expected)
