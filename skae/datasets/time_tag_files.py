"""Readers of time tags: PicoQuant's records, Photon-HDF5, and tables that other time taggers write."""

import math
import re
import zipfile
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skae._parameters import POSITIVE, arguments
from skae.datasets._binary import entry_of, map_npy, npz_array
from skae.datasets._files import kind_of, reading
from skae.datasets._picoquant import exact_period, read_ht3, read_pt3, read_ptu, with_delays
from skae.datasets._text import read_integers
from skae.datasets._ticks import as_ticks

_TEXTS = (".csv", ".tsv", ".txt", ".dat")

_OF_TIMES = {"t", "time", "times", "tag", "tags", "timetag", "timetags", "timestamp", "timestamps"}
_OF_CHANNELS = {"ch", "chan", "channel", "channels", "detector", "detectors", "input", "inputs"}

_UNITS = {"as", "fs", "ps", "ns", "us", "ticks"}

# Files that are read by something else.
_ELSEWHERE = {
    ".phu": "it holds histograms, no tags: load_photon_correlations reads it",
    ".ttbin": "Swabian's library reads it; save what its FileReader returns with numpy.savez",
}


@arguments(
    path=[str, Path],
    columns=[list, tuple, str, Integral, None],
    resolution=[POSITIVE, None],
    key=[str, None],
)
def load_time_tags(path, *, columns=None, resolution=None, key=None):
    r"""Read time tags, the moments at which photons were detected, as absolute times.

    Parameters
    ----------
    path : str or Path
        By its ending:

        - .ptu of PicoHarp, HydraHarp, TimeHarp and MultiHarp in T2 and T3 mode, .pt3, and .ht3 of
          software 1 (``pip install skae[tags]``);
        - .h5, .hdf5: Photon-HDF5 (``pip install skae[calo]``);
        - .csv, .tsv, .txt, .dat, also packed (.gz, .bz2, .xz), .npy and .npz: columns of whole numbers,
          as the software of Swabian and qutools exports them. They are read exactly, also beyond 2⁵³.
    columns : (str, str), (int, int), str or int, default=None
        Of tables: the columns of times and of channels, or of times alone, by names or counted from 0.
        Of an .npz, names of arrays. None finds names such as "time", "Timestamp (ps)" and "channel"; a
        single column holds times.
    resolution : float, default=None
        Of tables, which do not say it: seconds in a tick, 1e-12 for ps.
    key : str, default=None
        Of Photon-HDF5 with several spots, the group to read: "photon_data0".

    Returns
    -------
    tags : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        times : ndarray of shape (n_tags,)
            Times in ticks, in order, int64.
        channel : ndarray of shape (n_tags,)
            Detectors, int32. Of PicoQuant's instruments 0 is the sync input, or channel 0 of a PicoHarp,
            and the others count from 1, as on their fronts. 0 where a file has none.
        resolution : float
            Seconds in a tick.
        duration : int
            How long the measurement took, in ticks, as its header has it. Where that has nothing, or
            less, from the first tag to the last: last - first + 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a library is missing; the message says how to install it.
    ValueError
        If it is no such file, is cut off, or ``columns`` or ``resolution`` are missing.

    See Also
    --------
    correlate_tags : Counts pairs of tags by their delays.

    Notes
    -----
    Overflows of the instrument's clock are undone. Markers, and what Photon-HDF5 declares to be no
    photons, are left out. In T3 mode, and where Photon-HDF5 has nanotimes, a tick is that of the delays,
    and

    .. math:: t = \operatorname{round}(n P / \Delta) + d,

    with the number n of the sync pulse, their period P, a tick Δ and the delay d in ticks. P is the
    inverse of the sync rate in the header, which the instrument counted before the measurement: delays of
    many pulses have its error, but no further one, for :math:`n P / \Delta` is rounded once, in integers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skae.datasets import load_time_tags
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "tags.csv")
    ...     _ = file.write_text("Channel,Timestamp (ps)\n1,100\n2,105\n1,230\n")
    ...     tags = load_time_tags(file, resolution=1e-12)
    >>> tags.times[tags.channel == 1], tags.duration
    (array([100, 230]), 131)
    """
    path = Path(path)
    for ending, remedy in _ELSEWHERE.items():
        if path.name.lower().endswith(ending):
            raise ValueError(f"path={str(path)!r} is not read here: {remedy}.")
    kind = kind_of(path, _READERS, packed=_TEXTS)
    is_table = _READERS[kind] in (_text, _npz, _npy)
    _check_options(kind, is_table, columns=columns, resolution=resolution, key=key)
    with reading(path, "time tags"):
        if is_table:
            times, channel = _READERS[kind](path, columns)
            tags = Bunch(times=times, channel=channel, resolution=float(resolution), duration=None)
        else:
            tags = _READERS[kind](path) if kind not in _HDF5 else _photon_hdf5(path, key)
        return _in_order(tags)


def _check_options(kind, is_table, *, columns, resolution, key):
    if is_table and resolution is None:
        raise ValueError(
            f"{kind} does not say what a tick is; give resolution=, in seconds: 1e-12 for ps"
        )
    given = {"columns": columns, "resolution": resolution}
    for name, value in given.items():
        if value is not None and not is_table:
            raise ValueError(f"{name}= is for tables; a {kind} says itself what it holds")
    if key is not None and kind not in _HDF5:
        raise ValueError(f"key= is for {' and '.join(_HDF5)}, not for {kind}")


def _in_order(tags):
    """Sort tags, where need be, and say how long they were taken."""
    times = tags.times
    if len(times) and (times[1:] < times[:-1]).any():
        places = np.argsort(times, kind="stable")
        tags.times, tags.channel = times[places], tags.channel[places]
    span = int(tags.times[-1]) - int(tags.times[0]) + 1 if len(times) else 0
    tags.duration = max(math.ceil(tags.duration or 0), span)
    return tags


def _text(path: Path, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    return _pair(read_integers(path, lambda names, width: _places(names, width, columns)))


def _npy(path: Path, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    array = map_npy(path)
    names = list(array.dtype.names) if array.dtype.names else None
    if names is None and array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != (1 if names else 2):
        raise ValueError(f"its shape is {array.shape}, not (n,) or (n, n_columns)")
    places = _places(names, len(names) if names else array.shape[1], columns)
    return _pair([array[names[place]] if names else array[:, place] for place in places])


def _npz(path: Path, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        chosen = [names[place] for place in _places(names, len(names), columns)]
        for name in chosen:
            with npz_array(archive, name):
                pass  # is as long as it declares
    with np.load(path, allow_pickle=False) as arrays:
        return _pair([arrays[name] for name in chosen])


def _pair(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return times and channels as whole numbers, and as many of each."""
    times = np.array(as_ticks(columns[0], "times"))  # no longer mapped
    if len(columns) == 1:
        return times, np.zeros(len(times), dtype=np.int32)
    channel = as_ticks(columns[1], "channels")
    if len(channel) != len(times):
        raise ValueError(f"it has {len(times)} times and {len(channel)} channels")
    if len(channel) and max(abs(int(channel.min())), abs(int(channel.max()))) >= 2**31:
        raise ValueError(
            f"its channels reach {channel.max()}; these are times: give columns=, times first"
        )
    return times, channel.astype(np.int32)


def _places(names: list[str] | None, width: int, columns: Any) -> list[int]:
    """Return the places of the columns of times, and of channels."""
    if columns is not None:
        asked = list(columns) if isinstance(columns, (list, tuple)) else [columns]
        if len(asked) not in (1, 2):
            raise ValueError(f"columns={columns!r} must name times, or times and channels")
        return [_place(column, names, width) for column in asked]
    if width == 1:
        return [0]
    parts = [re.findall("[a-z]+", name.lower()) for name in names or []]
    words = ["".join(part for part in each if part not in _UNITS) for each in parts]
    found = [
        [place for place, word in enumerate(words) if word in known]
        for known in (_OF_TIMES, _OF_CHANNELS)
    ]
    if len(found[0]) != 1 or len(found[1]) > 1:
        raise ValueError(
            f"it has {width} columns, {names if names else 'without names'}; say which hold times and "
            "channels: columns=(0, 1), say, or their names"
        )
    return found[0] + found[1]


def _place(column: Any, names: list[str] | None, width: int) -> int:
    if isinstance(column, str):
        if column not in (names or []):
            raise ValueError(
                f"it has no column {column!r}, only {names or 'columns without names'}"
            )
        return names.index(column)
    if not isinstance(column, Integral) or not 0 <= column < width:
        raise ValueError(f"it has no column {column!r}; they count from 0 to {width - 1}")
    return int(column)


def _photon_hdf5(path: Path, key: str | None) -> Bunch:
    import h5py

    with h5py.File(path) as file:
        spots = [name for name in file if re.fullmatch(r"photon_data\d*", name)]
        if key is None and len(spots) != 1:
            found = f"several spots: set key= to one of {spots}" if spots else "no photon_data"
            raise ValueError(f"it is Photon-HDF5 with {found}")
        group = entry_of(file, spots[0] if key is None else key)
        clock = np.array(as_ticks(entry_of(group, "timestamps")[...], "timestamps"))
        tick = _number(group, "timestamps_specs/timestamps_unit")
        channel = np.zeros(len(clock), dtype=np.int32)
        if "detectors" in list(group):
            channel = entry_of(group, "detectors")[...].astype(np.int32)
        if "nanotimes" in list(group):
            period = exact_period(tick)
            tick = _number(group, "nanotimes_specs/tcspc_unit")
            delays = as_ticks(entry_of(group, "nanotimes")[...], "nanotimes")
            clock = with_delays(clock, delays, period / Fraction(repr(tick)))
        is_photon = ~np.isin(channel, _no_photons(group))
        is_timed = "acquisition_duration" in list(file)
        seconds = _number(file, "acquisition_duration") if is_timed else 0.0
    duration = Fraction(repr(seconds)) / Fraction(repr(tick)) if seconds > 0.0 else None
    return Bunch(
        times=clock[is_photon], channel=channel[is_photon], resolution=tick, duration=duration
    )


def _no_photons(group: Any) -> list[int]:
    """Return the detectors that stand for markers and overflows."""
    for name in ("measurement_specs", "detectors_specs"):
        if name not in list(group):
            return []
        group = entry_of(group, name)
    names = [name for name in group if name.startswith("non_photon_id")]
    return [int(one) for name in names for one in np.ravel(entry_of(group, name)[()])]


def _number(group: Any, path: str) -> float:
    return float(np.ravel(entry_of(group, path)[()])[0])


_HDF5 = (".h5", ".hdf5")
_READERS = {
    ".ptu": read_ptu,
    ".pt3": read_pt3,
    ".ht3": read_ht3,
    **dict.fromkeys(_HDF5, _photon_hdf5),
    **dict.fromkeys(_TEXTS, _text),
    ".npz": _npz,
    ".npy": _npy,
}
