"""Captures written by the tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["pcap", "pcap_file", "pcap_head", "pcap_record"]


def pcap_head(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    """The header of a pcap file; ``link`` is the whole field, bits about the FCS included."""
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)


def pcap_record(
    octets: bytes, length: int | None = None, *, order: str = "<", seconds: int = 0, fraction: int = 0
) -> bytes:
    """A record with ``octets`` of a packet of ``length``."""
    size = len(octets) if length is None else length
    return struct.pack(f"{order}IIII", seconds, fraction, len(octets), size) + octets


def pcap(path: Path, packets: Iterable[tuple[float, bytes]], *, snap: int = 65535) -> Path:
    """A pcap file of Ethernet frames at times in seconds."""
    records = (
        pcap_record(octets[:snap], len(octets), seconds=int(time), fraction=round(time % 1 * 1e6))
        for time, octets in packets
    )
    path.write_bytes(pcap_head() + b"".join(records))
    return path


def pcap_file(path: Path, sizes: Sequence[int]) -> Path:
    """A pcap file of empty frames of ``sizes``."""
    return pcap(path, ((0.0, bytes(size)) for size in sizes), snap=20)
