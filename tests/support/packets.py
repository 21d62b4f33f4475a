"""Frames made for a purpose, byte by byte: what no well-behaved host sends, too."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address

__all__ = [
    "ARP",
    "DF",
    "EVERYONE",
    "ICMP",
    "IPV4",
    "TCP",
    "TESTER",
    "arp",
    "datagram",
    "echo",
    "listen",
    "said",
    "segment",
]

TESTER = bytes.fromhex("024e00000002")
EVERYONE = b"\xff" * 6
ICMP, TCP, UDP = 1, 6, 17
DF = 0x4000
ARP, IPV4 = 0x0806, 0x0800


def checksum(data: bytes) -> int:
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, flags: int = 0) -> bytes:
    ends = IPv4Address(source).packed + IPv4Address(target).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, flags, ttl, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def echo(source: str, target: str, *, ttl: int = 64, flags: int = 0, size: int = 8) -> bytes:
    body = struct.pack("!BBHHH", 8, 0, 0, 9, 9) + bytes(size)
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return packet(source, target, ICMP, body, ttl=ttl, flags=flags)


def segment(source: str, target: str, port: int, flags: int = 2) -> bytes:
    ends = IPv4Address(source).packed + IPv4Address(target).packed
    body = struct.pack("!HHIIBBHHH", 4321, port, 1, 0, 0x50, flags, 1000, 0, 0)
    said = checksum(ends + struct.pack("!HH", TCP, len(body)) + body)
    return packet(source, target, TCP, body[:16] + struct.pack("!H", said) + body[18:])


def datagram(source: str, target: str, port: int) -> bytes:
    return packet(source, target, UDP, struct.pack("!HHHH", 4321, port, 12, 0) + b"ping")


def arp(source: str, target: str) -> bytes:
    ends = TESTER + IPv4Address(source).packed + bytes(6) + IPv4Address(target).packed
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + ends


def said(frame: bytes) -> tuple[str, str, int, int]:
    """Source, destination, and the first two bytes of an ICMP message."""
    source, target = (str(IPv4Address(frame[at : at + 4])) for at in (26, 30))
    return source, target, frame[34], frame[35]


def listen(port: str) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((port, 3))
    link.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
    link.settimeout(10)
    return link
