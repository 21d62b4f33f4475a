"""Who sends to whom in a capture: its IPv4 packets with hosts and flows by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbops.capture.reader import Capture
from rbops.errors import UsageError, Where

__all__ = ["Flows", "flows_of", "ip_headers", "word"]

Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_IPV4_HEADER = 20
_ETHERTYPE_IPV4, _VERSION = 0x0800, 4
_WITH_PORTS = (6, 17, 33, 132, 136)


@dataclass(frozen=True, slots=True)
class Flows:
    """Packets in the order of the file: (source host, destination host, flow, size of the frame without FCS).

    Hosts and flows are numbered as they come first, from 0; a flow is one direction of addresses, protocol and ports.
    ``skipped``: frames that were not IPv4, or cut too short.
    """

    packets: tuple[tuple[int, int, int, int], ...]
    skipped: int


def flows_of(capture: Capture, name: str, most: int) -> Flows:
    """The first ``most`` IPv4 packets of a capture; ``name`` is its file's. UsageError (2) where there is none."""
    header, usable = ip_headers(capture, name)
    octets, at = capture.octets, header[usable][:most]
    ends, sizes = capture.end[usable][:most], capture.size[usable][:most]
    source, destination = (word(octets, at + place, 4).tolist() for place in (12, 16))
    protocol = octets[at + 9]
    transport = at + (octets[at].astype(np.int64) & 15) * 4
    fragment = word(octets, at + 6, 2) & np.uint64(0x3FFF)
    ports = np.isin(protocol, _WITH_PORTS) & (fragment == 0) & (transport + 4 <= ends)
    rest = np.where(ports, word(octets, transport, 4), np.uint64(0)).tolist()
    hosts: dict[int, int] = {}
    flows: dict[tuple[int, int, int, int], int] = {}
    found = []
    for one, other, kind, port, size in zip(source, destination, protocol.tolist(), rest, sizes.tolist(), strict=True):
        near, far = hosts.setdefault(one, len(hosts)), hosts.setdefault(other, len(hosts))
        found.append((near, far, flows.setdefault((one, other, kind, port), len(flows)), size))
    return Flows(tuple(found), int((~usable).sum()))


def ip_headers(capture: Capture, name: str) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where each frame's IP header begins, and whether it is IPv4 and wholly there; VLAN tags or not.

    UsageError (2) naming the file ``name`` where none is.
    """
    octets = capture.octets
    at, header = capture.ethertype, capture.network
    typed = at >= 0
    for _ in range(2):
        tagged = typed & np.isin(word(octets, at, 2), (0x8100, 0x88A8))
        # A tag takes four octets, and the EtherType is its last two.
        at, header = np.where(tagged, header + 2, at), header + 4 * tagged
    there = header + _IPV4_HEADER <= capture.end
    header = np.where(there, header, 0)
    is_ip = ~typed | (word(octets, np.where(there, at, 0), 2) == _ETHERTYPE_IPV4)
    usable = there & is_ip & (octets[header] >> 4 == _VERSION)
    if not usable.any():
        raise UsageError("no IPv4 packet in the file", code="capture.no-ipv4", where=Where(file=name))
    return header, usable


def word(octets: Octets, at: Ints, count: int, *, little: bool = False) -> npt.NDArray[np.uint64]:
    """The numbers of ``count`` octets at these places."""
    value = np.zeros(len(at), dtype=np.uint64)
    for index in range(count):
        shift = index if little else count - 1 - index
        value |= octets[np.clip(at + index, 0, len(octets) - 1)].astype(np.uint64) << np.uint64(8 * shift)
    return value
