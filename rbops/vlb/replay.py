"""The IPv4 packets of a capture as a trace of the router, VLAN tags or not.

Flows are given to pairs of ports in proportion to a traffic matrix, by their hash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbops.capture import Capture
from rbops.capture.flows import ip_headers, word
from rbops.vlb.matrix import Floats
from rbops.vlb.queues import Line, serve
from rbops.vlb.sums import sums
from rbops.vlb.trace import WIRE_OVERHEAD, Trace

__all__ = ["Packets", "packets_of", "replay"]

Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_SMALLEST, _LARGEST = 60, 9018
_WITH_PORTS = (6, 17, 33, 132, 136)


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """IPv4 packets in order of time: ``time`` in ns from the first, ``size`` of the frame without FCS.

    ``key`` is the flow's hash as of ``rbops.vlb.model``; ``skipped``: frames that were not IPv4 or cut too short;
    ``portless``: packets of TCP, UDP and the like that were captured without their ports.
    """

    time: Ints
    size: Ints
    key: npt.NDArray[np.uint64]
    skipped: int
    portless: int = 0


def packets_of(capture: Capture, name: str) -> Packets:
    """The IPv4 packets of a capture; ``name`` is its file's. Raises UsageError when there is none."""
    header, usable = ip_headers(capture, name)
    key, portless = _keys(capture.octets, header[usable], capture.end[usable])
    size = np.clip(capture.size[usable], _SMALLEST, _LARGEST)
    by_time = np.argsort(capture.time[usable], kind="stable")
    time = capture.time[usable][by_time]
    return Packets(time - time[0], size[by_time], key[by_time], int((~usable).sum()), portless)


def _keys(octets: Octets, header: Ints, ends: Ints) -> tuple[npt.NDArray[np.uint64], int]:
    """``rbops.vlb.model.flow_hash`` of each packet, and how many had ports that were not captured."""
    protocol = octets[header + 9]
    transport = header + (octets[header].astype(np.int64) & 15) * 4
    fragment = word(octets, header + 6, 2) & np.uint64(0x3FFF)
    wanted = np.isin(protocol, _WITH_PORTS) & (fragment == 0)
    ports = wanted & (transport + 4 <= ends)
    value = word(octets, header + 12, 8, little=True) * np.uint64(0x9E3779B97F4A7C15)
    value ^= value >> np.uint64(32)
    rest = np.where(ports, word(octets, transport, 4, little=True), np.uint64(0))
    value = (value ^ (rest | protocol.astype(np.uint64) << np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(29)
    value = value * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ value >> np.uint64(32), dtype=np.uint64), int((wanted & ~ports).sum())


def replay(capture: Packets, matrix: Floats, line_rate_bps: int, load: float | None = None) -> Trace:
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
