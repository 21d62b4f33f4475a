"""The route of the router's table that a sampled packet's addresses match, asked of the kernel one by one.

The question is put from one of the router's own addresses, which the policy rules lead to the router's table
(``rules.py``); with RTM_F_FIB_MATCH the kernel answers with the route itself. Source: rtnetlink(7), linux/rtnetlink.h.
Standard library only.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from rbops.node.devices import TABLE
from rbops.node.fabric import adjacency_of, adjacency_of6
from rbops.node.netlink import attribute, attributes
from rbops.node.sflow import Router

__all__ = ["Match", "Matcher", "neighbors"]

_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_GETROUTE, _NEWROUTE, _REQUEST = 26, 24, 1
_ITSELF = 0x2000 | 0x1000
"""RTM_F_FIB_MATCH, and RTM_F_LOOKUP_TABLE: the answer has the route's table."""
_DST, _SRC, _GATEWAY, _VIA = 1, 2, 5, 18
_ANSWER_S, _FRESH_S, _MOST = 1.0, 1.0, 4096
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_PLACES = {_IPV4: (4, 26, 30, 34), _IPV6: (6, 22, 38, 54)}
"""EtherType -> family, and where source and destination begin and end in a frame."""


@dataclass(frozen=True, slots=True)
class Match:
    """A route: the ``length`` of its prefix; its next hop's address, None without one, and where there are several."""

    length: int
    gateway: bytes | None


class Matcher:
    """``own``: family -> one of the router's addresses on this server; other families are not asked for.

    ``planned``: (port, adjacency) -> address of a neighbour, by which made-up next hops of the fabric are read.
    """

    def __init__(self, own: Mapping[int, str], planned: Callable[[], Mapping[tuple[int, int], bytes]]) -> None:
        self._own = {family: ip_address(address).packed for family, address in own.items()}
        self._planned, self._number = planned, 0
        self._known: dict[bytes, Match | None] = {}
        self._since = 0.0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._socket.settimeout(_ANSWER_S)

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def router(self, frame: bytes) -> Router | None:
        """What forwarded the packet that ``frame`` begins; None for a frame that no route forwards."""
        family, first, second, end = _PLACES.get(frame[12:14], (0, 0, 0, 0))
        if family not in self._own or len(frame) < end:
            return None
        to = self.match(frame[second:end])
        if to is None:
            return None
        source = self.match(frame[first:second])
        hop = bytes(end - second) if to.gateway is None else self._named(to.gateway)
        return Router(hop, 0 if source is None else source.length, to.length)

    def match(self, address: bytes) -> Match | None:
        """The route that counts for an address of 4 or 16 bytes, not older than a second; None without one."""
        now = time.monotonic()
        if now - self._since > _FRESH_S or len(self._known) > _MOST:
            self._known.clear()
            self._since = now
        if address not in self._known:
            self._known[address] = self._ask(address)
        return self._known[address]

    def _named(self, gateway: bytes) -> bytes:
        """The neighbour's own address for a made-up next hop; zeros where it is not planned."""
        number = int.from_bytes(gateway, "big")
        far = (adjacency_of if len(gateway) == 4 else adjacency_of6)(number)  # noqa: PLR2004 - bytes of IPv4
        return gateway if far is None else self._planned().get(far, bytes(len(gateway)))

    def _ask(self, address: bytes) -> Match | None:
        family, bits = (4, 32) if len(address) == 4 else (6, 128)  # noqa: PLR2004 - bytes of IPv4
        code = socket.AF_INET if family == 4 else socket.AF_INET6  # noqa: PLR2004
        self._number += 1
        body = _RTMSG.pack(code, bits, bits, 0, 0, 0, 0, 0, _ITSELF)
        body += attribute(_DST, address) + attribute(_SRC, self._own[family])
        head = _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, self._number & 0xFFFFFFFF, 0)
        try:
            self._socket.send(head + body)
            while True:
                data = self._socket.recv(1 << 16)
                length, kind, _, number, _ = _HEADER.unpack_from(data)
                if number == self._number & 0xFFFFFFFF:  # or else the late answer to an earlier question
                    return _read(data[:length]) if kind == _NEWROUTE else None
        except OSError:  # none in time
            return None


def _read(data: bytes) -> Match | None:
    """None for a route of another table, which is not the router's."""
    fields = _RTMSG.unpack_from(data, _HEADER.size)
    if fields[4] != TABLE:
        return None
    values = dict(attributes(data, _HEADER.size + _RTMSG.size, len(data)))
    gateway = values.get(_GATEWAY)
    if gateway is None and _VIA in values:  # RFC 8950: a next hop of the other family
        gateway = values[_VIA][2:]
    return Match(fields[1], gateway)


def neighbors(path: Path) -> Callable[[], Mapping[tuple[int, int], bytes]]:
    """(port, adjacency) -> address by the lines of ``routes.csv``, which is read again when it is another file.

    A neighbour has a line of its own: its address alone, without a next hop.
    """
    read: tuple[int, int] | None = None
    found: dict[tuple[int, int], bytes] = {}

    def now() -> Mapping[tuple[int, int], bytes]:
        nonlocal read
        try:
            state = path.stat()
            if (state.st_mtime_ns, state.st_ino) != read:
                read = state.st_mtime_ns, state.st_ino
                found.clear()
                found.update(_neighbors(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # rbops-node apply says what is wrong with it
            found.clear()
        return found

    return now


def _neighbors(text: str) -> dict[tuple[int, int], bytes]:
    tails: dict[str, str] = {}
    found: dict[tuple[int, int], bytes] = {}
    for line in text.splitlines()[1:]:
        prefix, _, tail = line.partition(",")
        address, _, length = prefix.partition("/")
        if tail.endswith(",") and length == ("128" if ":" in address else "32"):
            port, adjacency, _ = tail.split(",")
            if adjacency != "0":
                found.setdefault((int(port), int(adjacency)), ip_address(address).packed)
        else:
            tails.setdefault(tail, address)
    for tail in tails:
        port, adjacency, via = tail.split(",")
        if via:
            found[int(port), int(adjacency)] = ip_address(via).packed
    return found
