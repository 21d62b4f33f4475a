"""Ethernet, IPv4 and IPv6 frames for the tests, and what a router makes of them; nothing of the code under test."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

SOURCE_MAC = bytes.fromhex("024e00000002")


def address(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


def checksum(header: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    destination: str,
    *,
    source: str = "198.18.0.2",
    ttl: int = 64,
    protocol: int = 17,
    payload: bytes = b"\x30\x39\x00\x09\x00\x1a\x00\x00" + bytes(18),
    options: bytes = b"",
    fragment: int = 0,
    identification: int = 0,
    version: int = 4,
    words: int | None = None,
    length: int | None = None,
    spoil: int = 0,
) -> bytes:
    """A datagram; ``words``, ``length`` and ``spoil`` falsify header length, total length and checksum."""
    count = 5 + len(options) // 4 if words is None else words
    total = 20 + len(options) + len(payload) if length is None else length
    fields = (version << 4 | count, 0, total, identification, fragment, ttl, protocol)
    head = struct.pack(">BBHHHBBH4s4s", *fields, 0, address(source), address(destination)) + options
    return head[:10] + struct.pack(">H", checksum(head) ^ spoil) + head[12:] + payload


def ipv6(
    destination: str,
    *,
    source: str = "2001:db8::2",
    hop_limit: int = 64,
    next_header: int = 17,
    payload: bytes = b"\x30\x39\x00\x09\x00\x1a\x00\x00" + bytes(18),
    label: int = 0,
    traffic_class: int = 0,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """A packet; ``length`` falsifies the payload's."""
    head = struct.pack(
        ">IHBB",
        version << 28 | traffic_class << 20 | label,
        len(payload) if length is None else length,
        next_header,
        hop_limit,
    )
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def ethernet(destination: bytes, content: bytes, *, source: bytes = SOURCE_MAC, protocol: int = 0x0800) -> bytes:
    return destination + source + struct.pack(">H", protocol) + content


def forwarded(frame: bytes, destination: bytes, source: bytes) -> bytes:
    """The frame one hop further: addresses rewritten, one less time to live, a checksum computed anew."""
    head = frame[14:22] + bytes([frame[22] - 1]) + frame[23:24] + b"\0\0" + frame[26:34]
    return destination + source + frame[12:14] + head[:10] + struct.pack(">H", checksum(head)) + head[12:] + frame[34:]


def fabric(port: int, adjacency: int) -> bytes:
    """02:52:PP:PP:AA:AA."""
    return struct.pack(">HHH", 0x0252, port, adjacency)


def forwarded6(frame: bytes, destination: bytes, source: bytes) -> bytes:
    """The IPv6 frame one hop further: nothing but the MACs and the hop limit."""
    return destination + source + frame[12:21] + bytes([frame[21] - 1]) + frame[22:]
