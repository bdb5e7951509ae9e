"""Records of PicoQuant's time taggers, as absolute times.

A record has 32 bits. Its clock overflows every so often, and records of another kind say when. In T3 mode
the clock counts synchronisation pulses (syncs), and a record also has the delay since the last of them.

ptufile and phconvert read headers. Records are decoded here: in T2 mode ptufile 2026.2.6 gives the sync
input of a HydraHarp the number of its first input, and adds up overflows of one record in 32 bits;
phconvert 0.10.2 takes markers of a .pt3 for overflows.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

# Records that are decoded together.
_RECORDS_AT_ONCE = 2**18

# Denominators up to here leave room in int64, and no error of a tick within centuries.
_LARGEST_DENOMINATOR = 2**30


class Layout(NamedTuple):
    """What the bits of a record are.

    Attributes
    ----------
    clock_bits, delay_bits : int
        Bits of the clock, the lowest, and of the delay, above them; none in T2 mode.
    wrap : int
        What an overflow adds to the clock.
    is_picoharp : bool
        Whether four bits of channel follow, all set for what is no photon; else six, and a bit for that.
    turns_are_counted : bool
        Whether a record can stand for several overflows.
    """

    clock_bits: int
    delay_bits: int
    wrap: int
    is_picoharp: bool
    turns_are_counted: bool = False


_PICOHARP_T2 = Layout(28, 0, 210_698_240, is_picoharp=True)
_PICOHARP_T3 = Layout(16, 12, 65_536, is_picoharp=True)
_HYDRAHARP_T2 = Layout(25, 0, 33_552_000, is_picoharp=False)
_HYDRAHARP_T3 = Layout(10, 15, 1024, is_picoharp=False)
_LATER_T2 = Layout(25, 0, 33_554_432, is_picoharp=False, turns_are_counted=True)
_LATER_T3 = Layout(10, 15, 1024, is_picoharp=False, turns_are_counted=True)

# By the number in a header: PicoHarp 300, HydraHarp 400 of software 1 and 2, TimeHarp 260 N and P, and
# MultiHarp, which a PicoHarp 330 shares.
_LAYOUTS = {
    0x00010203: _PICOHARP_T2,
    0x00010303: _PICOHARP_T3,
    0x00010204: _HYDRAHARP_T2,
    0x00010304: _HYDRAHARP_T3,
    **dict.fromkeys((0x01010204, 0x00010205, 0x00010206, 0x00010207), _LATER_T2),
    **dict.fromkeys((0x01010304, 0x00010305, 0x00010306, 0x00010307), _LATER_T3),
}


def read_ptu(path: Path) -> Bunch:
    """Read a .ptu, of any instrument, in T2 or T3 mode."""
    from ptufile import PtuFile

    with PtuFile(path) as file:
        tags, offset = file.tags, file.record_offset
    number = tags["TTResultFormat_TTTRRecType"]
    if number not in _LAYOUTS:
        known = ", ".join(f"{one:#010x}" for one in _LAYOUTS)
        raise ValueError(f"its records are of kind {number:#010x}; known are {known}")
    n_stored = (path.stat().st_size - offset) // 4
    n = tags.get("TTResult_NumberOfRecords", 0) or n_stored
    records = _records_in(path, offset, n, n_stored)
    tick, period = tags.get("MeasDesc_Resolution", 0.0), tags["MeasDesc_GlobalResolution"]
    milliseconds = tags.get("TTResult_StopAfter", 0) or tags.get("MeasDesc_AcquisitionTime", 0)
    if not _LAYOUTS[number].delay_bits:
        return _tags_of(records, _LAYOUTS[number], Fraction(repr(period)), None, milliseconds)
    return _tags_of(
        records, _LAYOUTS[number], Fraction(repr(tick)), exact_period(period), milliseconds
    )


def _records_in(path: Path, offset: int, n: int, n_stored: int) -> np.ndarray:
    if n > n_stored:
        raise ValueError(f"its header says {n} records, and {n_stored} are there: it was cut off")
    return np.memmap(path, "<u4", "r", offset, (n,)) if n else np.empty(0, dtype="<u4")


def read_pt3(path: Path) -> Bunch:
    """Read a .pt3, of a PicoHarp 300."""
    from phconvert.pqreader import pt3_reader

    with np.errstate(divide="ignore"):
        records, _, _, header = pt3_reader(str(path))
    _check_complete(records, header)
    resolution = (
        Fraction(str(header["hardware"]["Resolution"][0])) / 10**9
    )  # a decimal float32, in ns
    rate = int(header["ttmode"]["InpRate0"][0])
    return _tags_of(records, _PICOHARP_T3, resolution, _period(rate), _elapsed(header))


def read_ht3(path: Path) -> Bunch:
    """Read a .ht3, of a HydraHarp 400 with software 1."""
    from phconvert.pqreader import ht3_reader

    with np.errstate(divide="ignore"):
        records, _, _, header = ht3_reader(str(path))
    _check_complete(records, header)
    resolution = Fraction(repr(float(header["header"]["Resolution"][0]))) / 10**12
    rate = int(header["ttmode"]["SyncRate"][0])
    return _tags_of(records, _HYDRAHARP_T3, resolution, _period(rate), _elapsed(header))


def _check_complete(records: np.ndarray, header: dict[str, Any]) -> None:
    n = int(header["ttmode"]["nRecords"][0])
    if len(records) != n:
        raise ValueError(
            f"its header says {n} records, and {len(records)} are there: it was cut off"
        )


def _elapsed(header: dict[str, Any]) -> int:
    return int(header["ttmode"]["StopAfter"][0])


def _period(rate: int) -> Fraction:
    if rate <= 0:
        raise ValueError("its header says no sync rate, without which syncs are no times")
    return Fraction(1, rate)


def exact_period(seconds: float) -> Fraction:
    """Return a period exactly: of a rate in Hz that is whole, where the period was computed from one."""
    rate = round(1.0 / seconds) if seconds > 0.0 else 0
    return Fraction(1, rate) if rate and 1.0 / rate == seconds else Fraction(repr(float(seconds)))


def _tags_of(
    records: np.ndarray,
    layout: Layout,
    tick: Fraction,
    period: Fraction | None,
    milliseconds: float,
) -> Bunch:
    if not tick > 0:
        raise ValueError("its header says no resolution, without which there are no times")
    clock, delay, channel = _decoded(records, layout)
    times = clock if period is None else with_delays(clock, delay, period / tick)
    duration = Fraction(milliseconds) / 1000 / tick if milliseconds > 0 else None
    return Bunch(times=times, channel=channel, resolution=float(tick), duration=duration)


def with_delays(clock: np.ndarray, delay: np.ndarray | None, ratio: Fraction) -> np.ndarray:
    """Return times of syncs, a ratio of ticks apart, rounded to whole ticks, plus delays in ticks.

    Raises
    ------
    ValueError
        If they do not fit into int64.
    """
    ratio = ratio.limit_denominator(_LARGEST_DENOMINATOR)
    last = int(clock.max(initial=0))
    if last * ratio > 2**62:
        raise ValueError(f"sync {last} is {float(last * ratio):.3g} ticks late, beyond 2^62")
    parts = ratio.denominator
    whole, rest = divmod(ratio.numerator, parts)
    for start in range(0, len(clock), _RECORDS_AT_ONCE):
        here = slice(start, start + _RECORDS_AT_ONCE)
        rounds, left = np.divmod(clock[here], parts)
        clock[here] *= whole
        clock[here] += rounds * rest + (2 * left * rest + parts) // (2 * parts)
        if delay is not None:
            clock[here] += delay[here]
    return clock


def _decoded(
    records: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return the clock, delay and channel of each photon; 0 is the sync input, inputs follow."""
    clock = np.empty(len(records), dtype=np.int64)  # rows that stay unwritten take no memory
    channel = np.empty(len(records), dtype=np.int32)
    delay = np.empty(len(records), dtype=np.uint16) if layout.delay_bits else None
    n, turns = 0, 0
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        part = np.asarray(records[start : start + _RECORDS_AT_ONCE]).astype(np.int64)
        ticks = part & (1 << layout.clock_bits) - 1
        late = part >> layout.clock_bits & (1 << layout.delay_bits) - 1
        read = _picoharp if layout.is_picoharp else _hydraharp
        is_photon, is_overflow, number = read(part, ticks, late, layout)
        added = np.where(is_overflow, 1, 0)
        if layout.turns_are_counted:
            added *= np.maximum(ticks, 1)
        passed = turns + np.cumsum(added)
        turns = int(passed[-1])
        until = n + int(np.count_nonzero(is_photon))
        clock[n:until] = (ticks + passed * layout.wrap)[is_photon]
        channel[n:until] = number[is_photon]
        if delay is not None:
            delay[n:until] = late[is_photon]
        n = until
    return clock[:n], None if delay is None else delay[:n], channel[:n]


def _picoharp(
    records: np.ndarray, ticks: np.ndarray, late: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which records are photons, and which overflows, of a PicoHarp 300, and channels."""
    channel = records >> 28
    is_photon = channel != 15
    markers = late if layout.delay_bits else ticks & 15
    return is_photon, ~is_photon & (markers == 0), channel


def _hydraharp(
    records: np.ndarray, ticks: np.ndarray, late: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same of all later instruments, whose channels count from 0 behind the sync input."""
    channel, is_special = records >> 25 & 63, records >> 31 == 1
    is_sync = is_special & (channel == 0) if not layout.delay_bits else np.zeros_like(is_special)
    return ~is_special | is_sync, is_special & (channel == 63), np.where(is_sync, 0, channel + 1)
