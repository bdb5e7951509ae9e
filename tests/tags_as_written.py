"""Files of time tags and of histograms as PicoQuant's software writes them, bit by bit.

An event is (clock, delay, channel): the clock is a time in T2 mode, where there is no delay, and the
number of a sync in T3 mode. Channels count as load_time_tags does: 0 is the sync input, and -k a marker
of bits k.
"""

import struct

import numpy as np

#: number of each kind of record in a header, its layout, and ticks or syncs of an overflow
KINDS = {
    "PicoHarp T2": (0x00010203, "PT2", 210698240),
    "PicoHarp T3": (0x00010303, "PT3", 65536),
    "HydraHarp T2": (0x00010204, "HT2", 33552000),
    "HydraHarp T3": (0x00010304, "HT3", 1024),
    "HydraHarp 2 T2": (0x01010204, "HT2", 33554432),
    "HydraHarp 2 T3": (0x01010304, "HT3", 1024),
    "TimeHarp 260N T2": (0x00010205, "HT2", 33554432),
    "TimeHarp 260N T3": (0x00010305, "HT3", 1024),
    "TimeHarp 260P T2": (0x00010206, "HT2", 33554432),
    "TimeHarp 260P T3": (0x00010306, "HT3", 1024),
    "MultiHarp T2": (0x00010207, "HT2", 33554432),
    "MultiHarp T3": (0x00010307, "HT3", 1024),
}


def tag(name, value, index=-1):
    """A tag of a header."""
    if value is None:
        code, content = 0xFFFF0008, bytes(8)
    elif isinstance(value, float):
        code, content = 0x20000008, struct.pack("<d", value)
    elif isinstance(value, str):
        text = value.encode() + b"\0" * (8 - len(value) % 8)
        code, content = 0x4001FFFF, struct.pack("<q", len(text)) + text
    else:
        code, content = 0x10000008, struct.pack("<q", value)
    return struct.pack("<32siI", name.encode(), index, code) + content


def header(kind, tags):
    """The header of a file, "PQTTTR" or "PQHISTO"."""
    head = kind.encode().ljust(8, b"\0") + b"1.0.00".ljust(8, b"\0")
    return head + b"".join(tags) + tag("Header_End", None)


def records(kind, events):
    """Records of 32 bits, with those of overflows before an event that needs them."""
    _, layout, wrap = KINDS[kind]
    out, turns = [], 0
    for clock, delay, channel in events:
        out += _overflows(kind, layout, clock // wrap - turns)
        turns = clock // wrap
        out.append(_record(layout, clock % wrap, delay, channel))
    return np.array(out, dtype="<u4")


def _overflows(kind, layout, n):
    """Records of n overflows: one each in the first instruments, with their number in later ones."""
    special = 15 << 28 if layout.startswith("PT") else 1 << 31 | 63 << 25
    if layout.startswith("PT") or kind.startswith("HydraHarp T"):
        return [special] * n
    most = 2**25 - 1 if layout == "HT2" else 2**10 - 1
    return [special | most] * (n // most) + [special | n % most] * (n % most > 0)


def _record(layout, clock, delay, channel):
    is_marker = channel < 0
    if layout == "PT2":  # the lowest bits are those of the marker
        return 15 << 28 | clock & ~15 | -channel if is_marker else channel << 28 | clock
    if layout == "PT3":
        return (15 << 28 | -channel << 16 if is_marker else channel << 28 | delay << 16) | clock
    is_special = is_marker or channel == 0
    number = -channel if is_marker else max(channel - 1, 0)
    return is_special << 31 | number << 25 | delay << 10 | clock


def write_ptu(path, kind, events, *, resolution, sync_rate=None, stop_after=None, others=()):
    """Write a .ptu: ``resolution`` of T2's times, or of T3's delays, in seconds."""
    number, layout, _ = KINDS[kind]
    rows = records(kind, events)
    is_t3 = layout.endswith("3")
    tags = [
        tag("Measurement_Mode", 3 if is_t3 else 2),
        tag("Measurement_SubMode", 0),
        tag("MeasDesc_Resolution", resolution),
        tag("MeasDesc_GlobalResolution", 1.0 / sync_rate if is_t3 else resolution),
        tag("TTResultFormat_TTTRRecType", number),
        tag("TTResultFormat_BitsPerRecord", 32),
        tag("TTResult_NumberOfRecords", len(rows)),
        *([] if stop_after is None else [tag("TTResult_StopAfter", stop_after)]),
        *others,
    ]
    path.write_bytes(header("PQTTTR", tags) + rows.tobytes())


def write_pt3(path, events, *, resolution, sync_rate, stop_after=0):
    """Write a .pt3 of a PicoHarp 300, version 2.0."""
    rows = records("PicoHarp T3", events)
    head = struct.pack(
        "<16s6s18s12s18s2s256s", b"PicoHarp 300", b"2.0", b"PicoHarp", b"2.3", b"01/02/23 10:00:00",
        b"\r\n", b"",
    )  # fmt: skip
    head += struct.pack("<4i", 1, 32, 4, 1)
    head = head.ljust(328 + 18 * 4, b"\0")
    head += bytes(8 * 8 + 3 * 12 + 36)
    head += struct.pack("<16s8s6if2i", b"PicoHarp 300", b"2.0", *[0] * 6, resolution * 1e9, 0, 0)
    head += bytes(4 * 24)
    head += struct.pack("<9i", 0, 0, 0, sync_rate, 0, stop_after, 0, len(rows), 0)
    path.write_bytes(head + rows.tobytes())


def write_ht3(path, events, *, resolution, sync_rate, stop_after=0):
    """Write a .ht3 of a HydraHarp 400, version 1.0, with two channels."""
    rows = records("HydraHarp T3", events)
    head = struct.pack(
        "<16s6s18s12s18s2s256s", b"HydraHarp 400", b"1.0", b"HydraHarp", b"1.2", b"01/02/23 10:00:00",
        b"\r\n", b"",
    )  # fmt: skip
    head += struct.pack("<6id", 1, 32, 0, 3, 0, 0, resolution * 1e12)
    head = head.ljust(328 + 24 + 8 + 10 * 4, b"\0")
    head += bytes(8 * 8 + 3 * 12 + 36)
    head += struct.pack("<16s8s2i", b"HydraHarp 400", b"1.0", 0, 1) + bytes(80)
    head += struct.pack("<dQ8i", 1e-12, 3, 2, *[0] * 7) + bytes(2 * 20)
    head += struct.pack("<4iQ", sync_rate, stop_after, 0, 0, len(rows))
    path.write_bytes(head + rows.tobytes())


def write_phu(path, curves, *, resolutions):
    """Write a .phu: histograms, and the seconds in a bin of each."""
    curves = [np.asarray(curve, dtype="<u4") for curve in curves]

    def head(offset):
        tags = [
            tag("Measurement_Mode", 0),
            tag("Measurement_SubMode", 1),
            tag("HistoResult_NumberOfCurves", len(curves)),
        ]
        for i, curve in enumerate(curves):
            tags += [
                tag("HistResDscr_DataOffset", offset, i),
                tag("HistResDscr_HistogramBins", len(curve), i),
                tag("HistResDscr_MDescResolution", resolutions[i], i),
            ]
            offset += curve.nbytes
        return header("PQHISTO", tags)

    path.write_bytes(head(len(head(0))) + b"".join(curve.tobytes() for curve in curves))
