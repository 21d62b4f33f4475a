"""Packets of a classic pcap file as a trace of the router.

Reads libpcap's format (both byte orders, micro- and nanoseconds, Ethernet, one or two VLAN tags);
only IPv4 counts.
Flows are given to pairs of ports in proportion to a traffic matrix, by their hash.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rbops.errors import UsageError
from rbops.vlb.matrix import Floats
from rbops.vlb.queues import Line, serve
from rbops.vlb.sums import sums
from rbops.vlb.trace import WIRE_OVERHEAD, Trace

__all__ = ["Capture", "read_pcap", "replay"]

Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_GLOBAL, _RECORD, _IPV4_HEADER = 24, 16, 20
_ETHERNET = 1
_ETHERTYPE_IPV4, _VERSION = 0x0800, 4
_NANO = 0xA1B23C4D
_MAGIC = {0xA1B2C3D4: 1000, _NANO: 1}
_SMALLEST, _LARGEST = 60, 9018
_WITH_PORTS = (6, 17, 33, 132, 136)


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """IPv4 packets in order of time: ``time`` in ns from the first, ``size`` of the frame without FCS.

    ``key`` is the flow's hash as of ``rbops.vlb.model``; ``skipped``: frames that were not IPv4 or cut too short.
    """

    time: Ints
    size: Ints
    key: npt.NDArray[np.uint64]
    skipped: int


def read_pcap(path: Path) -> Capture:
    """Read a capture. Raises UsageError for another kind of file, a damaged one, or one without IPv4."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    order, unit = _kind(path, data)
    records = _records(path, data, order)
    starts, times, captured, lengths = records.T
    octets = np.frombuffer(data + bytes(64), dtype=np.uint8)
    header, usable = _ip_headers(octets, starts, captured)
    if not usable.any():
        raise UsageError(f"{path} holds no IPv4 packets")
    key = _keys(octets, header[usable], (starts + captured)[usable])
    time = (times // 10**9 * 10**9 + times % 10**9 * unit)[usable]
    size = np.clip(lengths[usable], _SMALLEST, _LARGEST)
    by_time = np.argsort(time, kind="stable")
    time = time[by_time]
    return Capture(time - time[0], size[by_time], key[by_time], int((~usable).sum()))


def _kind(path: Path, data: bytes) -> tuple[str, int]:
    """The byte order's mark, and nanoseconds per unit of the fraction."""
    for order in "<>":
        if len(data) >= _GLOBAL and (magic := struct.unpack_from(f"{order}I", data)[0]) in _MAGIC:
            if struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF != _ETHERNET:
                raise UsageError(f"{path} holds no Ethernet frames")
            return order, _MAGIC[magic]
    raise UsageError(f"{path} is no pcap file", hint="pcapng: convert it with `editcap -F pcap`")


def _records(path: Path, data: bytes, order: str) -> Ints:
    """Per record: where its frame begins, seconds * 10^9 + fraction, octets captured, octets on the wire."""
    record = struct.Struct(f"{order}IIII")
    found: list[tuple[int, int, int, int]] = []
    place = _GLOBAL
    while place < len(data):
        begin = place + _RECORD
        if begin > len(data):
            raise UsageError(f"{path} ends inside a record, at octet {place}")
        seconds, fraction, captured, length = record.unpack_from(data, place)
        if begin + captured > len(data) or captured > length:
            raise UsageError(f"{path}: the record at octet {place} is damaged or cut")
        found.append((begin, seconds * 10**9 + fraction, captured, length))
        place = begin + captured
    if not found:
        raise UsageError(f"{path} holds no packets")
    return np.array(found, dtype=np.int64)


def _ip_headers(octets: Octets, starts: Ints, captured: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where each frame's IP header begins, and whether it is IPv4 and wholly there."""
    at = starts + 12
    for _ in range(2):
        tagged = np.isin(_word(octets, at, 2), (0x8100, 0x88A8))
        at = at + 4 * tagged
    header = at + 2
    there = header + _IPV4_HEADER <= starts + captured
    header = np.where(there, header, 0)
    is_ip = _word(octets, np.where(there, at, 0), 2) == _ETHERTYPE_IPV4
    return header, there & is_ip & (octets[header] >> 4 == _VERSION)


def _word(octets: Octets, at: Ints, count: int, *, little: bool = False) -> npt.NDArray[np.uint64]:
    value = np.zeros(len(at), dtype=np.uint64)
    for index in range(count):
        shift = index if little else count - 1 - index
        value |= octets[np.minimum(at + index, len(octets) - 1)].astype(np.uint64) << np.uint64(8 * shift)
    return value


def _keys(octets: Octets, header: Ints, ends: Ints) -> npt.NDArray[np.uint64]:
    """``rbops.vlb.model.flow_hash`` of each packet."""
    protocol = octets[header + 9]
    transport = header + (octets[header].astype(np.int64) & 15) * 4
    fragment = _word(octets, header + 6, 2) & np.uint64(0x3FFF)
    ports = np.isin(protocol, _WITH_PORTS) & (fragment == 0) & (transport + 4 <= ends)
    value = _word(octets, header + 12, 8, little=True) * np.uint64(0x9E3779B97F4A7C15)
    value ^= value >> np.uint64(32)
    rest = np.where(ports, _word(octets, transport, 4, little=True), np.uint64(0))
    value = (value ^ (rest | protocol.astype(np.uint64) << np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(29)
    value = value * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ value >> np.uint64(32), dtype=np.uint64)


def replay(capture: Capture, matrix: Floats, line_rate_bps: int, load: float | None = None) -> Trace:
    """The capture as traffic of the router: flows spread over the pairs of ``matrix`` in proportion.

    ``load`` stretches or compresses time so that the busiest input has this part of its line rate; None
    leaves the time as captured, unless that is more than a line carries.
    """
    keys, flow = np.unique(capture.key, return_inverse=True)
    flow = flow.reshape(-1)
    pairs = np.flatnonzero(matrix.reshape(-1))
    shares = np.cumsum(matrix.reshape(-1)[pairs])
    place = (keys >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    pair = pairs[np.minimum(np.searchsorted(shares / shares[-1], place, side="right"), len(pairs) - 1)]
    source = pair // len(matrix)
    wire = ((capture.size + WIRE_OVERHEAD) * (8e9 / line_rate_bps)).astype(np.int64)
    busiest = float(sums(source[flow], wire, len(matrix)).max())
    span = max(1.0, float(capture.time[-1]))
    factor = busiest / span / load if load is not None else max(1.0, busiest / span)
    ports = np.zeros(len(matrix), dtype=np.int64)
    line = Line(1, 0, 1 << 62)
    # A line carries one frame at a time.
    time = serve(source[flow], (capture.time * factor).astype(np.int64), wire, ports, line).left
    order = np.argsort(time, kind="stable")
    return Trace(
        time[order],
        flow[order].astype(np.int32),
        capture.size[order].astype(np.int32),
        source,
        pair % len(matrix),
        keys,
        int(time.max()) + 1,
    )
