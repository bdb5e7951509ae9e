"""load_time_tags undoes what instruments do to times, exactly, and says what it cannot read."""

import gzip
import logging
import re
import sys
from fractions import Fraction

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tags_as_written import KINDS, header, tag, write_ht3, write_phu, write_pt3, write_ptu

from skae import PhotonCorrelationFit
from skae.datasets import _picoquant, correlate_tags, load_time_tags

T2, T3 = ([kind for kind in KINDS if mode in kind] for mode in ("T2", "T3"))

# Before and behind one overflow, behind many, and at each channel that all instruments have.
TIMES = [
    (5, 0, 0), (100, 0, 1), (100, 0, 0), (160, 0, -2), (33_552_001, 0, 1), (210_698_239, 0, 1),
    (210_698_240, 0, 0), (10**9 + 3, 0, 1), (10**9 + 16, 0, -15), (7 * 10**9, 0, 0),
]  # fmt: skip
SYNCS = [
    (0, 3, 1), (3, 50, 1), (3, 51, 2), (10, 0, 2), (1023, 9, 1), (1024, 9, 1), (70_000, 0, -4),
    (70_001, 7, 1), (70_001, 0, -1), (3_000_000, 4000, 4), (10**7, 1, 1),
]  # fmt: skip


def photons(events):
    return [event for event in events if event[2] >= 0]


# -- PicoQuant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3, 2**18])
@pytest.mark.parametrize("kind", T2)
def test_overflows_of_t2_records_are_undone(kind, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(_picoquant, "_RECORDS_AT_ONCE", at_once)
    path = tmp_path / "tags.ptu"
    write_ptu(path, kind, TIMES, resolution=4e-12, stop_after=60_000)
    tags = load_time_tags(path)
    assert tags.times.tolist() == [clock for clock, _, _ in photons(TIMES)]
    assert tags.channel.tolist() == [channel for _, _, channel in photons(TIMES)]
    assert (tags.times.dtype, tags.channel.dtype) == (np.int64, np.int32)
    assert (tags.resolution, tags.duration) == (4e-12, 15 * 10**12)


@pytest.mark.parametrize("at_once", [1, 3, 2**18])
@pytest.mark.parametrize("kind", T3)
def test_t3_records_are_syncs_and_delays(kind, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(_picoquant, "_RECORDS_AT_ONCE", at_once)
    path = tmp_path / "tags.ptu"
    write_ptu(path, kind, SYNCS, resolution=4e-12, sync_rate=20_000_000, stop_after=1000)
    tags = load_time_tags(path)
    period = 12_500  # 50 ns in ticks of 4 ps
    assert tags.times.tolist() == [clock * period + delay for clock, delay, _ in photons(SYNCS)]
    assert tags.channel.tolist() == [channel for _, _, channel in photons(SYNCS)]
    assert (tags.resolution, tags.duration) == (4e-12, 25 * 10**10)


@pytest.mark.parametrize(
    ("write", "layout"), [(write_pt3, "PicoHarp T3"), (write_ht3, "HydraHarp T3")]
)
def test_older_files_are_read_as_newer_ones(write, layout, tmp_path):
    options = {"resolution": 4e-12, "sync_rate": 19_999_997, "stop_after": 1000}
    old, new = tmp_path / f"tags.{write.__name__[-3:]}", tmp_path / "tags.ptu"
    for events in (SYNCS, SYNCS[:3], []):  # many overflows, and none
        write(old, events, **options)
        write_ptu(new, layout, events, **options)
        read, expected = load_time_tags(old), load_time_tags(new)
        np.testing.assert_array_equal(read.times, expected.times)
        np.testing.assert_array_equal(read.channel, expected.channel)
        assert (read.resolution, read.duration) == (expected.resolution, expected.duration)


@pytest.mark.parametrize("kind", KINDS)
def test_ptufile_decodes_the_same_photons(kind, tmp_path):
    """But for numbers of channels, and after 128 overflows in one record, which it takes modulo 2³²."""
    import ptufile

    path, events = tmp_path / "tags.ptu", TIMES[:-1] if kind in T2 else SYNCS
    write_ptu(path, kind, events, resolution=1e-12, sync_rate=10**12)  # a tick is a sync
    with ptufile.PtuFile(path) as file:
        decoded = file.decode_records()
    decoded = decoded[decoded["channel"] >= 0]
    delays = decoded["dtime"] if kind in T3 else 0
    times = np.sort(decoded["time"].astype(np.int64) + delays)
    np.testing.assert_array_equal(load_time_tags(path).times, times)


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 4000)), min_size=1, max_size=20),
    st.integers(1000, 80_000_000),
    st.sampled_from([4e-12, 25e-12, 80e-12, 1e-12, 250e-12]),
)
def test_syncs_that_fall_between_ticks_are_rounded_once(events, rate, resolution):
    clock, delay = (np.array(row, dtype=np.int64) for row in zip(*events, strict=True))
    tick = Fraction(repr(resolution))
    ratio = _picoquant.exact_period(1.0 / rate) / tick
    exact = [n * Fraction(1, rate) / tick for n in clock.tolist()]
    times = _picoquant.with_delays(clock, delay, ratio) - delay
    errors = [abs(time - one) for time, one in zip(times.tolist(), exact, strict=True)]
    assert max(errors) <= Fraction(1, 2) + Fraction(1, 10**5)
    if ratio.denominator < 2**30:
        assert max(errors) <= Fraction(1, 2)


def test_a_period_that_is_no_whole_rate_is_taken_as_it_is_written():
    assert _picoquant.exact_period(12.345e-9) == Fraction(12_345, 10**12)
    assert _picoquant.exact_period(1 / 19_999_997) == Fraction(1, 19_999_997)


def test_tags_of_overlapping_periods_are_sorted(tmp_path):
    path = tmp_path / "tags.ptu"
    write_ptu(path, "MultiHarp T3", [(0, 900, 1), (1, 5, 2)], resolution=1e-9, sync_rate=10**7)
    tags = load_time_tags(path)
    assert tags.times.tolist() == [105, 900]
    assert tags.channel.tolist() == [2, 1]
    assert tags.duration == 796


def test_a_planned_duration_stands_in_for_that_which_was_measured(tmp_path):
    path = tmp_path / "tags.ptu"
    planned = tag("MeasDesc_AcquisitionTime", 2000)
    write_ptu(path, "MultiHarp T2", TIMES, resolution=1e-12, others=[planned])
    assert load_time_tags(path).duration == 2 * 10**12
    write_ptu(path, "MultiHarp T2", TIMES, resolution=1e-12, stop_after=1)
    assert load_time_tags(path).duration == 7 * 10**9 - 5 + 1  # the header is wrong
    write_ptu(path, "MultiHarp T2", [], resolution=1e-12)
    assert load_time_tags(path).duration == 0


def test_a_file_that_was_never_finished_is_read_to_its_end(tmp_path, caplog):
    path = tmp_path / "tags.ptu"
    write_ptu(path, "MultiHarp T2", TIMES, resolution=1e-12)
    number = re.escape(b"TTResult_NumberOfRecords".ljust(32, b"\0")) + b".{8}"
    path.write_bytes(
        re.sub(b"(" + number + b").{8}", rb"\g<1>" + bytes(8), path.read_bytes(), flags=re.S)
    )
    with caplog.at_level(logging.ERROR):
        assert len(load_time_tags(path).times) == len(photons(TIMES))


@pytest.mark.parametrize("write", [write_ptu, write_pt3, write_ht3])
def test_a_file_that_was_cut_off_is_refused(write, tmp_path):
    path = tmp_path / f"tags.{write.__name__[-3:]}"
    kind = ["MultiHarp T3"] if write is write_ptu else []
    write(path, *kind, SYNCS, resolution=4e-12, sync_rate=20_000_000)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        ValueError, match=r"its header says \d+ records, and \d+ are there: it was cut off"
    ):
        load_time_tags(path)


def test_headers_without_what_makes_times_of_records_are_refused(tmp_path):
    path = tmp_path / "tags.ptu"
    write_ptu(path, "MultiHarp T3", SYNCS, resolution=0.0, sync_rate=20_000_000)
    with pytest.raises(ValueError, match="says no resolution"):
        load_time_tags(path)
    write_pt3(path.with_suffix(".pt3"), SYNCS, resolution=4e-12, sync_rate=0)
    with pytest.raises(ValueError, match="says no sync rate"):
        load_time_tags(path.with_suffix(".pt3"))
    path.write_bytes(header("PQTTTR", [tag("TTResultFormat_TTTRRecType", 0x77)]))
    with pytest.raises(
        ValueError, match="its records are of kind 0x00000077; known are 0x00010203"
    ):
        load_time_tags(path)
    path.write_bytes(b"no header")
    with pytest.raises(ValueError, match="cannot be read as time tags"):
        load_time_tags(path)
    write_ptu(path, "MultiHarp T3", [(2**40, 0, 1)][:0] + SYNCS, resolution=1e-30, sync_rate=1)
    with pytest.raises(ValueError, match=r"beyond 2\^62"):
        load_time_tags(path)


@pytest.mark.parametrize(("ending", "library"), [(".ptu", "ptufile"), (".pt3", "phconvert")])
def test_a_missing_library_is_named_with_its_extra(ending, library, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    path = tmp_path / f"tags{ending}"
    path.write_bytes(b"")
    with pytest.raises(
        ImportError, match=rf"needs {library}.* to be read; pip install skae\[tags\]"
    ):
        load_time_tags(path)


# -- tables ------------------------------------------------------------------------------------------

LARGE = 2**53 + 1  # no float64


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (f"1,{LARGE}\n-2,{LARGE + 2}\n", (1, 0)),
        (f"Channel;Timestamp (ps)\n1;{LARGE}\n-2;{LARGE + 2}\n", None),
        (f"# time_ps\tchannel\n{LARGE}\t1\n{LARGE + 2}\t-2\n", None),
        (f"start 24 November\nTime tag [ps], Ch\n{LARGE}, 1\n{LARGE + 2}, -2\n", None),
        (f"what,when,rate\n1,{LARGE},0.5\n-2,{LARGE + 2},1e9\n", ("when", "what")),
        (f'"what","when"\n"1","{LARGE}"\n"-2","{LARGE + 2}"\n', ["when", "what"]),
        (f"{LARGE} 1 # first\n{LARGE + 2} -2\n\n", (0, 1)),
        (f"{LARGE + 2},-2\n{LARGE},1\n", (0, 1)),
    ],
)  # fmt: skip
def test_whole_numbers_of_text_are_read_exactly(text, columns, tmp_path):
    path = tmp_path / "tags.txt"
    path.write_text(text)
    (tmp_path / "tags.csv.gz").write_bytes(gzip.compress(text.encode()))
    for file in (path, str(tmp_path / "tags.csv.gz")):
        tags = load_time_tags(file, columns=columns, resolution=1e-12)
        assert tags.times.tolist() == [LARGE, LARGE + 2]
        assert tags.channel.tolist() == [1, -2]
        assert (tags.resolution, tags.duration) == (1e-12, 3)


def test_a_single_column_holds_times(tmp_path):
    (tmp_path / "tags.csv").write_text("7\n9\n")
    np.save(tmp_path / "tags.npy", np.array([7, 9]))
    np.savez(tmp_path / "tags.npz", of_one_detector=np.array([7, 9], dtype=np.uint64))
    for ending in ("csv", "npy", "npz"):
        tags = load_time_tags(tmp_path / f"tags.{ending}", resolution=1e-9)
        assert tags.times.tolist() == [7, 9]
        assert tags.channel.tolist() == [0, 0]


def test_arrays_of_numpy(tmp_path):
    times, channel = np.array([LARGE, LARGE + 4]), np.array([3, 1])
    structured = np.zeros(2, dtype=[("channel", "u1"), ("time", "i8")])
    structured["time"], structured["channel"] = times, channel
    np.save(tmp_path / "a.npy", structured)
    np.save(tmp_path / "b.npy", np.stack([channel, times], axis=1))
    np.savez_compressed(tmp_path / "c.npz", other=np.zeros(5), timestamps=times, channels=channel)
    read = [
        load_time_tags(tmp_path / "a.npy", resolution=1.0),
        load_time_tags(tmp_path / "b.npy", resolution=1.0, columns=(1, 0)),
        load_time_tags(tmp_path / "c.npz", resolution=1.0),
        load_time_tags(tmp_path / "c.npz", resolution=1.0, columns=("timestamps", "channels")),
    ]
    for tags in read:
        np.testing.assert_array_equal(tags.times, times)
        np.testing.assert_array_equal(tags.channel, channel)
    alone = load_time_tags(tmp_path / "c.npz", resolution=1.0, columns="timestamps")
    assert alone.channel.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1,2\n", {}, r"\.csv does not say what a tick is; give resolution=, in seconds"),
        ("1,2\n", {"resolution": 1.0}, r"2 columns, without names; say .* columns=\(0, 1\)"),
        ("1,2\n", {"resolution": 1.0, "columns": ("time", "ch")}, "no column 'time', only columns"),
        ("1,2\n", {"resolution": 1.0, "columns": (0, 2)}, "no column 2; they count from 0 to 1"),
        ("1,2\n", {"resolution": 1.0, "columns": (0, 1, 1)}, "must name times, or times and channels"),
        ("1.5,2\n", {"resolution": 1.0, "columns": 0}, "'1.5' in column 0 of row 1 is no whole number"),
        ("1,2\n1000.0,2\n", {"resolution": 1.0, "columns": 0}, "'1000.0' in column 0 of row 2"),
        ("1,2\n1e3,2\n", {"resolution": 1.0, "columns": 0}, "'1e3' in column 0 of row 2"),
        ("1,2\n,2\n", {"resolution": 1.0, "columns": 0}, "'' in column 0 of row 2"),
        (f"{2**63},2\n", {"resolution": 1.0, "columns": 0}, "no whole number below"),
        (f"1,{2**40}\n", {"resolution": 1.0, "columns": (0, 1)}, "these are times: give columns="),
        ("tag words\n", {"resolution": 1.0}, "no line of numbers"),
        ("1\n", {"resolution": 1.0, "key": "a"}, "key= is for .h5"),
        ("1\n", {"resolution": -1.0}, "resolution"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_tags_is_refused(text, options, message, tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_time_tags(path, **options)


def test_arrays_that_are_no_tags_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", time=np.arange(3), channel=np.arange(2), seconds=np.array([0.5]))
    with pytest.raises(ValueError, match="it has 3 times and 2 channels"):
        load_time_tags(tmp_path / "a.npz", resolution=1.0)
    with pytest.raises(ValueError, match=r"times has 0.5.*numpy.rint\(times / resolution\)"):
        load_time_tags(tmp_path / "a.npz", resolution=1.0, columns="seconds")
    np.save(tmp_path / "b.npy", np.zeros((2, 2, 2), dtype=int))
    with pytest.raises(ValueError, match=r"its shape is \(2, 2, 2\)"):
        load_time_tags(tmp_path / "b.npy", resolution=1.0)


def test_files_for_other_readers_are_sent_there(tmp_path):
    write_phu(tmp_path / "a.phu", [[1, 2]], resolutions=[1e-12])
    with pytest.raises(
        ValueError, match="holds histograms, no tags: load_photon_correlations reads it"
    ):
        load_time_tags(tmp_path / "a.phu")
    with pytest.raises(ValueError, match=r"Swabian.*numpy\.savez"):
        load_time_tags(tmp_path / "a.ttbin")
    with pytest.raises(ValueError, match=r"of no known kind; known are \.ptu"):
        load_time_tags(tmp_path / "a.pt2")
    with pytest.raises(FileNotFoundError):
        load_time_tags(tmp_path / "none.ptu")
    with pytest.raises(ValueError, match=r"resolution= is for tables; a \.ptu says itself"):
        load_time_tags(tmp_path / "none.ptu", resolution=1e-12)


# -- Photon-HDF5 -------------------------------------------------------------------------------------


def write_photon_hdf5(path, *groups, duration=None, nanotimes=None, non_photons=None):
    with h5py.File(path, "w") as file:
        if duration is not None:
            file["acquisition_duration"] = duration
        for group in groups:
            file[f"{group}/timestamps"] = np.array([0, 3, 4, 9])
            file[f"{group}/detectors"] = np.array([0, 1, 127, 1], dtype=np.uint8)
            file[f"{group}/timestamps_specs/timestamps_unit"] = 50e-9
            if nanotimes is not None:
                file[f"{group}/nanotimes"] = np.array(nanotimes, dtype=np.uint16)
                file[f"{group}/nanotimes_specs/tcspc_unit"] = 4e-12
            if non_photons is not None:
                file[f"{group}/measurement_specs/detectors_specs/non_photon_id1"] = non_photons


def test_photon_hdf5_with_and_without_nanotimes(tmp_path):
    path = tmp_path / "photons.h5"
    write_photon_hdf5(path, "photon_data", duration=0.001)
    tags = load_time_tags(path)
    assert tags.times.tolist() == [0, 3, 4, 9]
    assert tags.channel.tolist() == [0, 1, 127, 1]
    assert (tags.resolution, tags.duration) == (50e-9, 20_000)
    write_photon_hdf5(path, "photon_data", nanotimes=[1, 2, 3, 4], non_photons=[127])
    tags = load_time_tags(path)
    assert tags.times.tolist() == [1, 3 * 12_500 + 2, 9 * 12_500 + 4]
    assert tags.channel.tolist() == [0, 1, 1]
    assert (tags.resolution, tags.duration) == (4e-12, 9 * 12_500 + 4)


def test_a_spot_of_several_is_named(tmp_path):
    path = tmp_path / "photons.hdf5"
    write_photon_hdf5(path, "photon_data0", "photon_data1")
    with pytest.raises(ValueError, match=r"several spots: set key= to one of \['photon_data0'"):
        load_time_tags(path)
    assert len(load_time_tags(path, key="photon_data1").times) == 4
    with pytest.raises(ValueError, match="it has no 'photon_data7'"):
        load_time_tags(path, key="photon_data7")
    with h5py.File(path, "w") as file:
        file["else"] = 1
    with pytest.raises(ValueError, match="no photon_data"):
        load_time_tags(path)


def test_a_single_detector_needs_no_channels(tmp_path):
    path = tmp_path / "photons.h5"
    with h5py.File(path, "w") as file:
        file["photon_data/timestamps"] = np.array([5, 8])
        file["photon_data/timestamps_specs/timestamps_unit"] = [1e-8]
    tags = load_time_tags(path)
    assert tags.channel.tolist() == [0, 0]
    assert tags.duration == 4


# -- from a file to g²(0) ----------------------------------------------------------------------------


def test_a_file_leads_to_the_g2_of_its_source(tmp_path):
    """Single photons behind a beam splitter, and stray light on both detectors: five million pulses."""
    rng, n_pulses, signal, stray = np.random.default_rng(0), 5_000_000, 0.04, 0.002
    events = []
    for number, channel in (
        (int(n_pulses * signal), None),
        *[(int(n_pulses * stray), c) for c in (1, 2)],
    ):
        pulses = rng.choice(n_pulses, number, replace=False)
        delays = rng.exponential(10.0, number).astype(int)  # ticks of 0.1 ns
        channels = rng.integers(1, 3, number) if channel is None else np.full(number, channel)
        events += zip(pulses.tolist(), delays.tolist(), channels.tolist(), strict=True)
    write_ptu(
        tmp_path / "hbt.ptu", "MultiHarp T3", sorted(events), resolution=1e-10, sync_rate=80_000_000
    )

    tags = load_time_tags(tmp_path / "hbt.ptu")
    first, second = (tags.times[tags.channel == number] for number in (1, 2))
    g2 = correlate_tags(first, second, edges=np.arange(-625, 626, 2))
    fit = PhotonCorrelationFit(period=(12.0, 13.0), times=1e9 * tags.resolution * g2.tau)
    values, interval = (f(g2.counts[np.newaxis]) for f in (fit.fit_transform, fit.interval))

    expected = (signal * stray + stray**2) / (signal / 2 + stray) ** 2  # 0.174
    low, high = interval[0]
    assert low < values[0, 0] < high
    assert high - low < 0.03
    assert abs(values[0, 0] - expected) < 2 * (high - low)
    assert values[0, 1] == pytest.approx(12.5, abs=0.01)
