"""Packet-size distributions. Rates count the packet's own bytes, not preamble and gap (paper 5.2)."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass

from rbops.errors import UsageError

__all__ = ["PacketMix", "capture_mix", "mix"]

_GLOBAL, _RECORD, _FCS = 24, 16, 4
_ETHERNET = 1
_SMALLEST = 64


@dataclass(frozen=True, slots=True)
class PacketMix:
    """``shares`` are (bytes, part of all packets), the parts adding up to 1."""

    name: str
    shares: tuple[tuple[int, float], ...]

    @property
    def mean_bytes(self) -> float:
        """The mean packet."""
        return sum(size * share for size, share in self.shares)

    def pps(self, bps: float) -> float:
        """Packets per second at ``bps``."""
        return bps / (8 * self.mean_bytes)

    def bps(self, pps: float) -> float:
        """Bits per second at ``pps``."""
        return pps * 8 * self.mean_bytes


def mix(packets: int | str) -> PacketMix:
    """A fixed size, ``imix`` or ``abilene``. KeyError for another name.

    ``imix`` is the simple IMIX, 7:4:1 of 64, 594 and 1518 bytes. ``abilene`` has the three peaks of
    the Abilene-I trace (acknowledgements, 576-byte and full packets) and a mean of 720 bytes; it is
    like the trace, not the trace.
    """
    if isinstance(packets, int):
        return PacketMix(f"{packets}B", ((packets, 1.0),))
    named = {
        "imix": PacketMix("imix", ((64, 7 / 12), (594, 4 / 12), (1518, 1 / 12))),
        "abilene": PacketMix("abilene", ((64, 0.40), (256, 0.08), (576, 0.10), (1024, 0.04), (1514, 0.38))),
    }
    return named[packets]


def capture_mix(data: bytes, name: str) -> PacketMix:
    """The distribution in a classic pcap file of Ethernet frames; ``name`` is the file's.

    Sizes are the frames' own with FCS, 64 at least. Raises UsageError for another kind of file.
    """
    orders = {0xA1B2C3D4, 0xA1B23C4D}
    order = next(
        (mark for mark in "<>" if len(data) >= _GLOBAL and struct.unpack_from(f"{mark}I", data)[0] in orders), None
    )
    if order is None:
        raise UsageError(f"{name} is no pcap file", hint="pcapng: convert it with `editcap -F pcap`")
    if struct.unpack_from(f"{order}I", data, 20)[0] != _ETHERNET:
        raise UsageError(f"{name} holds no Ethernet frames")
    sizes: Counter[int] = Counter()
    place = _GLOBAL
    record = struct.Struct(f"{order}IIII")
    while place + _RECORD <= len(data):
        _, _, captured, original = record.unpack_from(data, place)
        place += _RECORD + captured
        sizes[max(_SMALLEST, original + _FCS)] += 1
    total = sum(sizes.values())
    if total == 0:
        raise UsageError(f"{name} holds no packets")
    return PacketMix(name, tuple((size, count / total) for size, count in sorted(sizes.items())))
