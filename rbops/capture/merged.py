"""Frames that the capturing machine had merged (GRO, LRO) or not yet cut (GSO, TSO), as the segments on the wire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST", "Segments", "segments"]

Ints = npt.NDArray[np.int64]

LARGEST = 9018
"""The largest frame without FCS that Ethernet links are used with (a packet of 9,000 octets and a VLAN tag)."""
_ETHERNET, _MTU = 14, 1500
_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8)
_TCP, _UDP = 6, 17
_IPV6_HEADER, _UDP_HEADER, _TCP_HEADER = 40, 8, 20


@dataclass(frozen=True, slots=True)
class Segments:
    """Row -> how many frames it was on the wire, and how large they were: all ``full`` but the ``last``."""

    count: Ints
    full: Ints
    last: Ints


def segments(octets: npt.NDArray[np.uint8], ethertype: Ints, network: Ints, end: Ints, size: Ints) -> Segments | None:
    """None where no frame is larger than any link's; the arrays are those of ``Capture``.

    Where there is one, all TCP and UDP frames of more than 1,500 octets of IP are taken as merged, at segments that
    fill 1,500: their own size is not in the file.
    """
    if not len(size) or int(size.max()) <= LARGEST:
        return None
    ip, header, kind = _headers(octets, ethertype, network, end)
    link = _ETHERNET + ip - network  # with the VLAN tags
    payload = size - link - header
    room = _MTU - header
    merged = (size - link > _MTU) & (np.isin(kind, (_TCP, _UDP)) | (size > LARGEST)) & (payload > 0)
    count = np.where(merged, -(-payload // room), 1)
    full = np.where(merged, link + _MTU, size)
    last = np.where(merged, size - (count - 1) * room, size)
    return Segments(count, full, last)


def _headers(
    octets: npt.NDArray[np.uint8], ethertype: Ints, network: Ints, end: Ints
) -> tuple[Ints, Ints, npt.NDArray[np.int64]]:
    """Where each IP packet begins, the octets of its IP and transport headers, and its protocol (0: not seen)."""
    at, ip = ethertype.copy(), network.copy()
    for _ in range(2):
        tagged = (at >= 0) & np.isin(_word(octets, at), _TAGS)
        at, ip = np.where(tagged, ip + 2, at), ip + 4 * tagged
    version = octets[np.minimum(ip, len(octets) - 1)] >> 4
    kind = np.where(at >= 0, _word(octets, at), np.where(version == 4, _IPV4, _IPV6))  # noqa: PLR2004
    is4, is6 = (kind == _IPV4) & (ip + 20 <= end), (kind == _IPV6) & (ip + _IPV6_HEADER <= end)
    own = np.where(is6, _IPV6_HEADER, np.where(is4, np.maximum(20, (_byte(octets, ip) & 15) * 4), 20))
    protocol = np.where(is4, _byte(octets, ip + 9), np.where(is6, _byte(octets, ip + 6), 0))
    length = np.maximum(_TCP_HEADER, (_byte(octets, ip + own + 12) >> 4) * 4)
    tcp = np.where(ip + own + _TCP_HEADER <= end, length, _TCP_HEADER)
    return ip, own + np.where(protocol == _UDP, _UDP_HEADER, tcp), protocol


def _byte(octets: npt.NDArray[np.uint8], at: Ints) -> Ints:
    return octets[np.clip(at, 0, len(octets) - 1)].astype(np.int64)


def _word(octets: npt.NDArray[np.uint8], at: Ints) -> Ints:
    return _byte(octets, at) << 8 | _byte(octets, at + 1)
