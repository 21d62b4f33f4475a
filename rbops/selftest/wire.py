"""The self-test's frame and the BPF maps of generator and sink, as bytes; ``frame.h`` is the other side.

Sizes of frames are given with the FCS (64 to 1518 bytes, RFC 2544; those of IPv6 from 84), lengths without it. A family
is 4 or 6.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "FCS_BYTES",
    "LARGEST_SIZE",
    "SMALLEST_SIZE",
    "UDP_PORT",
    "Epoch",
    "FlowHeaders",
    "FrameFault",
    "Ident",
    "digest",
    "header_bytes",
    "headers",
    "internet_checksum",
    "mac_bytes",
    "mac_text",
    "smallest_size",
]

FCS_BYTES = 4
SMALLEST_SIZE, LARGEST_SIZE = 64, 1518
_HEADER_BYTES = {4: 42, 6: 62}

UDP_PORT = 7
"""The UDP destination port of test frames: echo, as RFC 2544 appendix C.2.6.4 has it."""

FIRST_SOURCE_PORT = 49152
_MASK = (1 << 64) - 1
_IDENT = struct.Struct("<IHHIHI")
_HEADERS = struct.Struct("<60sHH")
_LABEL_STEP = 0x10DCD
"""Flow labels of a source are this far apart: odd, so that 2^20 flows have different ones (RFC 6437)."""


class FrameFault(IntEnum):
    """The kinds of fault that the sink counts by source, in the order of its enum."""

    DUPLICATE = 0
    LATE = 1
    REORDERED = 2
    MANGLED = 3
    CORRUPT = 4
    HEADER = 5
    TTL = 6
    CHECKSUM = 7
    DESTINATION_MAC = 8
    SOURCE_MAC = 9
    MISDELIVERED = 10
    """Kept apart by planned destination; the number is that of its sample."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One phase on the wire: frames of another epoch are not counted.

    ``magic``: the run in the upper 20 bits, the epoch in the lower 12. ``keys``: two 64-bit words
    of the digest's key. ``length`` without FCS, the largest where they are
    ``mixed``. ``flows`` per pair of testers. ``room``: of so many packets of a flow, one in 1 << ``shift``, the times
    are noted.
    """

    magic: int
    keys: tuple[int, int]
    length: int
    flows: int
    shift: int = 0
    room: int = 0
    family: int = 4
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class FlowHeaders:
    """The header fields of one flow: MACs as six bytes, addresses as text."""

    destination_mac: bytes
    source_mac: bytes
    source: str
    destination: str
    ttl: int
    flow: int


@dataclass(frozen=True, slots=True)
class Ident:
    """The 18 bytes behind the UDP header."""

    magic: int
    source: int
    destination: int
    sequence: int
    flow: int

    @classmethod
    def of_frame(cls, frame: bytes, family: int = 4) -> Ident:
        """The identity that a frame carries, unchecked."""
        return cls(*_IDENT.unpack_from(frame, header_bytes(family))[:5])

    def pack(self, epoch: Epoch) -> bytes:
        """Its bytes, with the digest."""
        return _IDENT.pack(
            self.magic, self.source, self.destination, self.sequence, self.flow, digest(self, epoch) & 0xFFFFFFFF
        )


def digest(ident: Ident, epoch: Epoch) -> int:
    """The 64-bit keyed digest of ``ident``; its lower half is on the wire, all of it seeds the body."""
    a = ident.magic | ident.source << 32 | ident.destination << 48
    b = ident.sequence | ident.flow << 32 | epoch.length << 48
    a = (a ^ epoch.keys[0]) * 0xBF58476D1CE4E5B9 & _MASK
    a ^= a >> 32
    a = (a + (b ^ epoch.keys[1])) * 0x94D049BB133111EB & _MASK
    a ^= a >> 29
    a = a * 0xBF58476D1CE4E5B9 & _MASK
    return a ^ (a >> 32)


def header_bytes(family: int) -> int:
    """Bytes of Ethernet, IP and UDP headers."""
    return _HEADER_BYTES[family]


def smallest_size(family: int) -> int:
    """The smallest frame that holds headers and identity, with FCS."""
    return header_bytes(family) + _IDENT.size + FCS_BYTES


def internet_checksum(data: bytes) -> int:
    """RFC 1071 over an even number of bytes; 0 for a header whose checksum is right."""
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def headers(flow: FlowHeaders, length: int) -> bytes:
    """Ethernet, IP and UDP headers of a frame of ``length`` bytes without FCS: 42 bytes, of IPv6 62."""
    source, destination = ipaddress.ip_address(flow.source), ipaddress.ip_address(flow.destination)
    addresses = source.packed + destination.packed
    macs = flow.destination_mac + flow.source_mac
    if source.version == 6:  # noqa: PLR2004  the family
        label = (flow.flow + 1) * _LABEL_STEP & 0xFFFFF
        ip = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28 | label, length - 54, 17, flow.ttl) + addresses
    else:
        fields = (0x45, 0, length - 14, flow.flow + 1, 0x4000, flow.ttl, 17)
        without = struct.pack("!BBHHHBBH", *fields, 0) + addresses
        ip = b"\x08\x00" + struct.pack("!BBHHHBBH", *fields, internet_checksum(without)) + addresses
    udp_length = length - header_bytes(source.version) + 8
    return macs + ip + struct.pack("!HHHH", FIRST_SOURCE_PORT + flow.flow, UDP_PORT, udp_length, 0)


def pack_headers(header: bytes, destination: int, flow: int) -> bytes:
    """An entry of the generator's ``flows`` and the sink's ``expected`` map (struct headers)."""
    return _HEADERS.pack(header[:-2], destination, flow)


def mac_bytes(text: str) -> bytes:
    """``02:4e:00:00:00:02`` as six bytes; raises ValueError for anything else."""
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(raw) != 6:  # noqa: PLR2004  a MAC address has six bytes
        raise ValueError(f"{text!r} is not a valid MAC address")
    return raw


def mac_text(raw: bytes) -> str:
    """Six bytes as ``02:4e:00:00:00:02``."""
    return raw.hex(":")
