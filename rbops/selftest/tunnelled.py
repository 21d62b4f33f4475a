"""Packets of the self-test inside tunnels: what is sent into one, what has to come out, and what did."""

from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rbops.selftest.esp import Association, Unopened
from rbops.selftest.raw import ESP_PORT, is_esp
from rbops.selftest.wire import mac_bytes

__all__ = ["Expected", "Heard", "Inside", "esp_frame", "inner", "judge"]

_ETH_IP = b"\x08\x00"
_ESP, _UDP, _TTL = 50, 17, 64
_IP = struct.Struct("!BBHHHBBH4s4s")
_MARKED = struct.Struct("!8sI")
_PAYLOAD = 28
"""Bytes of IPv4 and UDP headers."""


@dataclass(frozen=True, slots=True)
class Inside:
    """One packet: IPv4 with UDP, ``number`` in the run, ``size`` bytes; its content follows from seed and number."""

    mark: bytes
    number: int
    source: str
    destination: str
    size: int

    def packet(self, ttl: int = _TTL) -> bytes:
        """With a right header checksum; the UDP checksum is 0: none (RFC 768)."""
        choose = random.Random(self.number)  # noqa: S311  content, not a secret
        filler = choose.randbytes(self.size - _PAYLOAD - _MARKED.size)
        data = _MARKED.pack(self.mark, self.number) + filler
        udp = struct.pack("!HHHH", 40000 + self.number % 1024, 9, 8 + len(data), 0) + data
        return _header(self.size, self.number & 0xFFFF, ttl, _UDP, self.source, self.destination) + udp


def inner(mark: bytes, packet: bytes) -> int | None:
    """The number of a packet of this run, None for another."""
    if len(packet) < _PAYLOAD + _MARKED.size or packet[_PAYLOAD : _PAYLOAD + 8] != mark:
        return None
    return int(_MARKED.unpack_from(packet, _PAYLOAD)[1])


def _header(size: int, identity: int, ttl: int, protocol: int, source: str, destination: str) -> bytes:
    ends = (ipaddress.IPv4Address(address).packed for address in (source, destination))
    head = _IP.pack(0x45, 0, size, identity, 0, ttl, protocol, 0, *ends)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", total) + head[12:]


def esp_frame(to: str, own: str, ends: tuple[str, str], sealed: bytes, *, udp: bool = False) -> bytes:
    """A frame with an ESP packet between two IPv4 addresses, by itself or in UDP (RFC 3948, 2.1)."""
    if udp:
        sealed = ESP_PORT * 2 + struct.pack("!HH", 8 + len(sealed), 0) + sealed
    protocol = _UDP if udp else _ESP
    outer = _header(20 + len(sealed), random.randrange(1 << 16), _TTL, protocol, *ends)  # noqa: S311  an IP header's id
    return mac_bytes(to) + mac_bytes(own) + _ETH_IP + outer + sealed


@dataclass(frozen=True, slots=True)
class Expected:
    """Where a packet has to arrive and how: at the external ``port``, ``sealed`` with an association or in the clear.

    ``frame``: Ethernet header and, in the clear, the packet; sealed it is ``packet`` that is inside.
    """

    row: int
    port: int
    macs: bytes
    packet: bytes
    sealed: bool
    spi: int = 0


@dataclass(slots=True)
class Heard:
    """What became of the packets of one row."""

    received: set[int] = field(default_factory=set)
    duplicates: int = 0
    misdelivered: set[int] = field(default_factory=set)
    wrong: int = 0
    clear: int = 0
    reasons: list[str] = field(default_factory=list)


def judge(
    expected: dict[int, Expected],
    rows: int,
    frames: Iterable[tuple[int, bytes]],
    associations: dict[tuple[str, int], tuple[Association, int]],
    mark: bytes,
) -> tuple[list[Heard], list[str]]:
    """What became of each row's packets, and why ESP packets could not be opened.

    ``frames``: (port, frame) as heard; ``associations`` by (destination, SPI), each with the upper half of its
    sequence numbers.
    """
    found = [Heard() for _ in range(rows)]
    unopened: list[str] = []
    for port, frame, packet, spi in _opened(frames, associations, unopened):
        number = inner(mark, packet)
        if number is None or number not in expected:
            continue
        _place(found[expected[number].row], expected[number], number, (port, frame, packet, spi))
    return found, unopened


def _opened(
    frames: Iterable[tuple[int, bytes]],
    associations: dict[tuple[str, int], tuple[Association, int]],
    unopened: list[str],
) -> Iterator[tuple[int, bytes, bytes, int]]:
    """(port, frame, the packet in the clear, its SPI or 0)."""
    for port, frame in frames:
        head = 14 + (frame[14] & 15) * 4
        size = int.from_bytes(frame[16:18], "big")
        packet = frame[14 : 14 + size]
        if not is_esp(frame):
            yield port, frame, packet, 0
            continue
        head += 8 * (frame[23] == _UDP)
        destination, spi = str(ipaddress.IPv4Address(frame[30:34])), int.from_bytes(frame[head : head + 4], "big")
        known = associations.get((destination, spi))
        if known is None:
            continue
        association, high = known
        try:
            yield port, frame, association.open(packet[head - 14 :], high), spi
        except Unopened as error:
            unopened.append(f"port {port}: ESP with SPI {spi:#x}: {error}")


def _place(row: Heard, expected: Expected, number: int, arrived: tuple[int, bytes, bytes, int]) -> None:
    port, frame, packet, spi = arrived
    if expected.sealed and not spi:
        row.clear += 1
        row.reasons.append(f"packet {number} was seen in the clear on port {port}")
        return
    if port != expected.port:
        row.misdelivered.add(number)
        row.reasons.append(f"packet {number} left by port {port}")
        return
    if number in row.received:
        row.duplicates += 1
        return
    row.received.add(number)
    row.misdelivered.discard(number)
    if why := _differs(expected, frame, packet, spi):
        row.wrong += 1
        row.reasons.append(f"packet {number}: {why}")


def _differs(expected: Expected, frame: bytes, packet: bytes, spi: int) -> str | None:
    if spi != expected.spi:
        return f"it came with SPI {spi:#x}, expected {expected.spi:#x}"
    if frame[:12] != expected.macs:
        return f"its MAC addresses are {frame[:6].hex(':')} from {frame[6:12].hex(':')}"
    if packet == expected.packet:
        return None
    if packet[8] != expected.packet[8]:
        return f"its TTL is {packet[8]}, expected {expected.packet[8]}"
    at = next((at for at, (a, b) in enumerate(zip(packet, expected.packet, strict=False)) if a != b), len(packet))
    return f"it differs from byte {at} on, {len(packet)} bytes of {len(expected.packet)}"
