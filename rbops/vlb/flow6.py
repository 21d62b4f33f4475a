"""An IPv6 packet's flow and its hash: the reference of ``flow_hash6`` in ip6.h, as ``model.flow_hash`` is of IPv4's."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Flow6", "flow_hash6"]

_MASK64 = (1 << 64) - 1
_FIRST, _SECOND, _THIRD = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True, slots=True)
class Flow6:
    """Addresses as 128-bit numbers. ``label`` is the flow label; with one, ``protocol`` and ports do not count.

    ``protocol``: the next header. Ports are 0 for those that have none, and where extension headers come first.
    """

    source: int
    destination: int
    label: int = 0
    protocol: int = 17
    source_port: int = 0
    destination_port: int = 0


def flow_hash6(flow: Flow6) -> int:
    """The 64-bit hash of a flow; words are what a little-endian machine loads from the packet."""
    raw = flow.source.to_bytes(16, "big") + flow.destination.to_bytes(16, "big")
    value = 0
    for at, (factor, shift) in zip(range(0, 32, 8), ((_FIRST, 32), (_SECOND, 29)) * 2, strict=True):
        value = (value ^ int.from_bytes(raw[at : at + 8], "little")) * factor & _MASK64
        value ^= value >> shift
    ports = int.from_bytes(flow.source_port.to_bytes(2, "big") + flow.destination_port.to_bytes(2, "big"), "little")
    rest = flow.label or (ports | flow.protocol << 32)
    value = (value ^ rest) * _THIRD & _MASK64
    return value ^ value >> 32
