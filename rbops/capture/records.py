"""The records of pcap and pcapng files (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Cut", "Damaged", "Record", "records"]

_PCAP = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"""Magic numbers, and nanoseconds per unit of a time's fraction."""

_PCAP_HEADER, _PCAP_RECORD = 24, 16
_FCS_PRESENT, _FCS_SHIFT, _LINK_TYPE = 0x04000000, 28, 0xFFFF

_SECTION, _BYTE_ORDER = 0x0A0D0D0A, 0x1A2B3C4D
_INTERFACE, _SIMPLE, _ENHANCED = 1, 3, 6
_BLOCK = 12
"""The least block: type, length, and length again."""

_LARGEST = 1 << 20
"""Twice the largest that Linux merges (BIG TCP)."""

_OPTION_TIME_UNIT, _OPTION_FCS = 9, 13
_LATEST = (1 << 62) - 1
"""In ns, the year 2116: later times are a damaged clock's."""


class Record(NamedTuple):
    """One packet: where its octets ``begin``, how many were ``captured`` and how many there were (without FCS).

    ``time`` in ns (0 where the file has none); ``link`` the link type (tcpdump.org/linktypes.html).
    """

    begin: int
    captured: int
    length: int
    time: int
    link: int


class Damaged(ValueError):
    """The data is not of a kind known here, or breaks its rules."""


_OTHERS = {
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\3\4": "a zip archive",
    b"\x34\xcd\xb2\xa1": "pcap with longer records, of old Linux kernels: `editcap -F pcap` makes the usual one",
    b"snoop\0": "snoop's: `editcap -F pcap` makes the usual one",
}
"""The first bytes of files that people take for captures."""


class Cut(EOFError):
    """The data ends within a record: a capture that was stopped while it wrote, or copied in part."""


def records(data: bytes) -> Iterator[Record]:
    """All records of ``data`` in order. Raises Damaged, and Cut after the last whole record of a file cut short."""
    for order in "<>":
        magic = struct.unpack_from(f"{order}I", data)[0] if len(data) >= _PCAP_HEADER else 0
        if magic in _PCAP:
            return _pcap(data, order, _PCAP[magic])
        if magic == _SECTION:
            return _pcapng(data)
    other = next((f": it is {what}" for magic, what in _OTHERS.items() if data.startswith(magic)), "")
    raise Damaged(f"not a pcap or pcapng file{other}")


def _pcap(data: bytes, order: str, unit: int) -> Iterator[Record]:
    network = struct.unpack_from(f"{order}I", data, 20)[0]
    # The link type is the low half; above it the header may say that frames end in an FCS, in units of 16 bits.
    fcs = 2 * (network >> _FCS_SHIFT) if network & _FCS_PRESENT else 0
    head = struct.Struct(f"{order}IIII")
    place = _PCAP_HEADER
    while place < len(data):
        begin = place + _PCAP_RECORD
        if begin > len(data):
            raise Cut(f"ends within a record, at octet {place}")
        seconds, fraction, captured, length = head.unpack_from(data, place)
        if captured > length:
            raise Damaged(f"the record at octet {place} has more octets than its packet")
        if begin + captured > len(data):
            raise Cut(f"ends within a record, at octet {place}")
        yield _record(begin, captured, length, seconds * 10**9 + fraction * unit, network & _LINK_TYPE, fcs)
        place = begin + captured


def _record(begin: int, captured: int, length: int, time: int, link: int, fcs: int) -> Record:
    if length > _LARGEST:
        raise Damaged(f"a packet of {length:,} octets at octet {begin}, more than any machine makes")
    real = max(0, length - fcs)
    return Record(begin, min(captured, real), real, time, link)


@dataclass(frozen=True, slots=True)
class _Interface:
    """``units``: of a time, in a second; ``snap``: the most octets captured of a packet (0: all)."""

    link: int
    units: int
    fcs: int
    snap: int


def _pcapng(data: bytes) -> Iterator[Record]:
    order = "<"
    interfaces: list[_Interface] = []
    place = 0
    while place < len(data):
        if place + _BLOCK > len(data):
            raise Cut(f"ends within a block, at octet {place}")
        if struct.unpack_from("<I", data, place)[0] == _SECTION:  # reads the same in both byte orders
            order = _section_order(data, place)
            interfaces = []
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if size < _BLOCK or size % 4:
            raise Damaged(f"the block at octet {place} has a length of {size}")
        if place + size > len(data):
            raise Cut(f"ends within a block, at octet {place}")
        if kind == _INTERFACE:
            interfaces.append(_interface(data, order, place, size))
        elif kind == _ENHANCED:
            yield _enhanced(data, order, place, size, interfaces)
        elif kind == _SIMPLE:
            yield _simple(data, order, place, size, interfaces)
        place += size


def _section_order(data: bytes, place: int) -> str:
    for order in "<>":
        if struct.unpack_from(f"{order}I", data, place + 8)[0] == _BYTE_ORDER:
            return order
    raise Damaged(f"the section at octet {place} has no byte order")


def _interface(data: bytes, order: str, place: int, size: int) -> _Interface:
    if size < _BLOCK + 8:
        raise Damaged(f"the interface at octet {place} is too short")
    link, _, snap = struct.unpack_from(f"{order}HHI", data, place + 8)
    units, fcs = 10**6, 0
    at, end = place + 16, place + size - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(f"{order}HH", data, at)
        if code == 0 or at + 4 + length > end:
            break
        if code == _OPTION_TIME_UNIT and length == 1:
            exponent = data[at + 4]
            # With the high bit set the unit is a power of two of a second, otherwise of ten.
            units = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
        elif code == _OPTION_FCS and length == 1:
            fcs = data[at + 4]
        at += 4 + (length + 3) // 4 * 4
    return _Interface(link, units, fcs, snap)


def _of(interfaces: list[_Interface], number: int, place: int) -> _Interface:
    if number >= len(interfaces):
        raise Damaged(f"the packet at octet {place} is of interface {number}, and there are {len(interfaces)}")
    return interfaces[number]


def _enhanced(data: bytes, order: str, place: int, size: int, interfaces: list[_Interface]) -> Record:
    if size < _BLOCK + 20:
        raise Damaged(f"the packet at octet {place} is too short")
    number, high, low, captured, length = struct.unpack_from(f"{order}IIIII", data, place + 8)
    own = _of(interfaces, number, place)
    if captured > length or 28 + captured + 4 > size:
        raise Damaged(f"the packet at octet {place} has more octets than its block")
    time = min((high << 32 | low) * 10**9 // own.units, _LATEST)
    return _record(place + 28, captured, length, time, own.link, own.fcs)


def _simple(data: bytes, order: str, place: int, size: int, interfaces: list[_Interface]) -> Record:
    if size < _BLOCK + 4:
        raise Damaged(f"the packet at octet {place} is too short")
    own = _of(interfaces, 0, place)
    length = struct.unpack_from(f"{order}I", data, place + 8)[0]
    captured = min(length, size - _BLOCK - 4, own.snap or length)
    return _record(place + 12, captured, length, 0, own.link, own.fcs)
