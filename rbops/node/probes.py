"""Probes of the internal cables as they are on the wire, whatever data plane answers them. Standard library only.

All servers of a router are of one byte order; ``rbops/dataplane/xdp/liveness.h`` has the same frame.
"""

from __future__ import annotations

import struct
from typing import Any

from rbops.node.reach import Said

__all__ = [
    "ANSWER_MAC",
    "CUT_BYTES",
    "FRAME",
    "PROBE_MAC",
    "PROTOCOL",
    "SAID",
    "cable_row",
    "cut_of",
    "probe_frame",
    "row_of",
    "said_in",
]

PROBE_MAC, ANSWER_MAC = b"\x02\x56\0\0\0\0", b"\x02\x56\0\0\0\1"
PROTOCOL = 0x88B6
"""IEEE 802: local experimental 2."""
CUT_BYTES = 32
_STATES = ("never answered", "alive", "dead")
"""By number, as rbops/node/liveness.py has them."""
FRAME = struct.Struct(f"<6s6s2sHIIQ{CUT_BYTES}s")
"""Destination, source, protocol, the asking server, sequence, the answer's generation, ns, what it cannot reach."""
SAID = struct.Struct(f"<IHH{CUT_BYTES}s")
"""Behind it, where servers are more than one cable apart: number of the statement, of which server, 0, its row."""


def probe_frame(server: int, mac: bytes, sequence: int, now_ns: int, cut: int, said: Said | None) -> bytes:
    """A probe of ``server`` that leaves by the device with that MAC. ``cut``: the servers that it cannot reach, a bit
    each, of the first 256.
    """
    frame = FRAME.pack(PROBE_MAC, mac, PROTOCOL.to_bytes(2, "big"), server, sequence, 0, now_ns, row_of(cut))
    return frame if said is None else frame + SAID.pack(said.number, said.server, 0, row_of(said.cut))


def cut_of(row: bytes) -> int:
    """The servers of a row, a bit each."""
    return int.from_bytes(row, "little")


def said_in(frame: bytes) -> Said | None:
    """What a probe says of any server; None: nothing."""
    if len(frame) < FRAME.size + SAID.size:
        return None
    number, server, _, row = SAID.unpack_from(frame, FRAME.size)
    return Said(server, number, cut_of(row)) if number else None


def row_of(cut: int) -> bytes:
    """The servers of a bit mask as a row, of the first 256."""
    return (cut & (1 << 8 * CUT_BYTES) - 1).to_bytes(CUT_BYTES, "little")


def cable_row(
    round_trip_ns: int, answers: int, asked: int, sent: int, missed: int, transitions: int, state: int
) -> dict[str, Any]:
    """What is known of an internal cable; ``round_trip_us`` None while nothing was answered."""
    return {
        "state": _STATES[state] if state < len(_STATES) else "unknown",
        "sent": sent,
        "answered": answers,
        "missed": missed,
        "asked": asked,
        "round_trip_us": round(round_trip_ns / 1000, 1) if answers else None,
        "transitions": transitions,
    }
