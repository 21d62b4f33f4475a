"""What the kernel says of routes, next hops, links, addresses and neighbours, as it changes: rtnetlink(7).

Only the router's table. A family is 4 or 6; as a number, an IPv6 address is never as small as an IPv4 one. What cannot
be read is skipped and counted, and the next message is read.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from rbops.node.netlink import attribute
from rbops.node.rtrows import Row, rows

__all__ = [
    "KEY",
    "Address",
    "Bulk",
    "Change",
    "Link",
    "Message",
    "Neighbor",
    "NextHopObject",
    "Path",
    "Reader",
    "Route",
]

_HEAD = 16
_REPLACE, _APPEND = 0x100, 0x800
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
_NEWNEIGH, _DELNEIGH, _NEWNEXTHOP, _DELNEXTHOP = 28, 29, 104, 105
_GROUP, _BLACKHOLE, _NH_OIF, _NH_GATEWAY, _NH_ENCAP = 2, 4, 5, 6, 8
_DST, _OIF, _GATEWAY, _PRIORITY, _MULTIPATH, _TABLE, _VIA, _ENCAP, _NH_ID = 1, 4, 5, 6, 9, 15, 18, 22, 30
_CACHEINFO = 12
_IPV6, _IPV6_BYTES = struct.pack("=H", socket.AF_INET6), 16
_TABLE_HEAD = struct.pack("=HH", 8, _TABLE)
KEY = {4: (32, 6), 6: (128, 8)}
"""By family: bits of an address, and of the prefix length below it in a key."""
_FAMILIES: dict[int, tuple[int, bytes]] = {
    socket.AF_INET: (4, struct.pack("=HH", 8, _DST)),
    socket.AF_INET6: (6, struct.pack("=HH", 20, _DST)),
}
"""By address family: ours, and the head of a destination."""
_DEAD, _ONLINK, _LINKDOWN = 1, 4, 16
_CLONED = 0x200
_VALID = 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80
"""States of a neighbour whose MAC can be used: reachable, stale, delay, probe, without ARP, permanent."""
_PERMANENT, _ETHERNET = 0x80, 6
_UP, _LOWER_UP = 0x1, 0x10000


@dataclass(frozen=True, slots=True)
class Path:
    """One next hop of a route: interface index, gateway (None: connected), weight; ``down``: its link has no carrier.

    An IPv4 route's gateway may be an IPv6 address (RFC 8950). ``odd`` says what of it is not understood.
    """

    device: int
    gateway: int | None
    weight: int = 1
    down: bool = False
    odd: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route without its destination, shared by all that are alike; ``kind`` is rtnetlink's type (1: unicast).

    ``rest`` are the attributes that stand for themselves, as the kernel wrote them: source address, metrics.
    """

    kind: int
    metric: int
    tos: int
    protocol: int
    scope: int
    paths: tuple[Path, ...]
    next_hop: int = 0
    rest: bytes = b""
    odd: str = ""
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        """Computed once: tables are searched by routes all the time."""
        values = (self.kind, self.metric, self.tos, self.protocol, self.scope, self.paths, self.next_hop, self.rest)
        object.__setattr__(self, "_hash", hash(values))

    def __hash__(self) -> int:
        return self._hash

    @property
    def place(self) -> tuple[int, int]:
        """What orders routes to one prefix: the kernel takes the first."""
        return -self.tos, self.metric

    def like(self, other: Route) -> bool:
        """Whether it is the same but for the state of its links."""
        mine, others = ([(path.device, path.gateway) for path in route.paths] for route in (self, other))
        same = (self.kind, self.metric, self.tos, self.protocol, self.next_hop)
        return same == (other.kind, other.metric, other.tos, other.protocol, other.next_hop) and mine == others


@dataclass(frozen=True, slots=True)
class Change:
    """A route message. ``key`` is address << 6 | length, of IPv6 << 8; ``how`` new, replaced, appended or gone."""

    how: str
    key: int
    route: Route
    family: int = 4


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a :class:`Change` each would say of several prefixes: ``keys``, none of them twice, all with ``route``."""

    how: str
    keys: list[int]
    route: Route
    family: int = 4


@dataclass(frozen=True, slots=True)
class NextHopObject:
    """A next-hop object: a path, a group of (id, weight), or a blackhole; ``gone``: deleted."""

    number: int
    path: Path | None
    group: tuple[tuple[int, int], ...] = ()
    blackhole: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A device; ``up``: set up, ``carrier``: frames can pass."""

    index: int
    name: str
    up: bool
    carrier: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address of this server's."""

    device: int
    address: int
    gone: bool = False
    family: int = 4


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A neighbour; ``mac`` None: not known at the moment. ``fixed``: by configuration, not found by the kernel."""

    device: int
    address: int
    mac: bytes | None
    fixed: bool = False
    family: int = 4


Message = Change | Bulk | NextHopObject | Link | Address | Neighbor


class Reader:
    """Turns datagrams into messages; ``skipped`` counts what it could not read, by reason. IPv6 where asked for."""

    def __init__(self, table: int, *, ipv6: bool = False) -> None:
        self._families = {family: _FAMILIES[family] for family in _FAMILIES if ipv6 or family == socket.AF_INET}
        self._table = struct.pack("=I", table)
        self._table_head = _TABLE_HEAD + self._table
        self._routes: dict[bytes, Route] = {}
        self._same: dict[Route, Route] = {}
        self.skipped: dict[str, int] = {}

    def read(self, data: bytes) -> Iterator[Message]:
        """The messages of one datagram that matter here."""
        offset, end = 0, len(data)
        while offset + _HEAD <= end:
            length, kind, flags = struct.unpack_from("=IHH", data, offset)
            if length < _HEAD or offset + length > end:
                self._skip("cut message")
                return
            found: Message | None
            try:
                if kind in (_NEWROUTE, _DELROUTE):
                    found = self._route(data, offset + 16, offset + length, kind, flags)
                else:
                    found = self._other(data, offset + 16, offset + length, kind)
            except (struct.error, IndexError, ValueError, UnicodeDecodeError):
                self._skip(f"malformed message of type {kind}")
                found = None
            if found is not None:
                yield found
            offset += (length + 3) & ~3

    def read_many(self, data: bytes) -> Iterator[Message]:
        """The same of many datagrams: routes whose messages have one length, and follow each other, in bulk."""
        for start, end, length in rows(data):
            try:
                found = self._bulks(data, start, end, length) if length else None
            except (struct.error, IndexError, ValueError):
                found = None
            yield from self.read(data[start:end]) if found is None else found

    def _bulks(self, data: bytes, start: int, end: int, length: int) -> list[Bulk] | None:
        """None where messages have to be looked at one by one."""
        kind, flags = struct.unpack_from("=HH", data, start + 4)
        family = self._families.get(data[start + 16])
        if kind not in (_NEWROUTE, _DELROUTE) or family is None:
            return None
        row = Row.of(data[start:end], length, KEY[family[0]], self._table_head + family[1])
        if row is None:
            return None
        found = []
        for (head, rest), keys in row.groups.items():
            route = self._routes.get(head + rest)
            if route is None:
                at = start + length * row.first[head, rest]
                route = self._keep(head + rest, data, at + 16, at + length - len(rest), at + length)
            if self._is_odd(route, head):
                self._skip(f"route of type {route.kind}", len(keys))
                continue
            found.append(Bulk(_how(kind, flags), keys, route, family[0]))
        return found

    def _skip(self, reason: str, count: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + count

    def _keep(self, text: bytes, data: bytes, start: int, rest: int, end: int) -> Route:
        route = self._parse(data, start, rest, end)
        route = self._same.setdefault(route, route)
        if len(self._routes) > 100_000:  # noqa: PLR2004 - flapping flags must not fill the memory
            self._routes.clear()
        self._routes[text] = route
        return route

    @staticmethod
    def _is_odd(route: Route, head: bytes) -> bool:
        """Whether the data plane cannot use it: its type, or a cache entry. ``head``: the message from rtm_tos on."""
        return route.kind not in (1, 2, 3, 6, 7, 8, 9) or bool(struct.unpack_from("=I", head, 5)[0] & _CLONED)

    def _route(self, data: bytes, start: int, end: int, kind: int, flags: int) -> Change | None:
        if data[start] not in self._families:
            return None
        family, head = self._families[data[start]]
        bits, shift = KEY[family]
        size = bits // 8
        rest, length = start + 12, data[start + 1]
        # fib_dump_info() of the kernel puts the table first, then the destination.
        if data[rest : rest + 4] != _TABLE_HEAD:
            self._skip("route without a table")
            return None
        if data[rest + 4 : rest + 8] != self._table:
            return None
        rest += 8
        address = 0
        if data[rest : rest + 4] == head:
            address = int.from_bytes(data[rest + 4 : rest + 4 + size], "big")
            rest += 4 + size
        elif length:
            self._skip("route without a destination")
            return None
        text = data[start + 3 : start + 12] + data[rest:end]
        route = self._routes.get(text)
        if route is None:
            route = self._keep(text, data, start, rest, end)
        if self._is_odd(route, text):
            self._skip(f"route of type {route.kind}")
            return None
        return Change(_how(kind, flags), address << shift | length, route, family)

    def _parse(self, data: bytes, start: int, rest: int, end: int) -> Route:
        tos, protocol, scope, kind = data[start + 3], *data[start + 5 : start + 8]
        flags = struct.unpack_from("=I", data, start + 8)[0]
        values = dict(_attributes(data, rest, end))
        number = _number(values.get(_NH_ID))
        odd = f"type of service {tos}" if tos else ""
        paths: tuple[Path, ...] = ()
        if not number and _MULTIPATH in values:
            paths = tuple(_multipath(values[_MULTIPATH]))
        elif not number and _OIF in values:
            paths = (_path(values, _number(values[_OIF]), flags, 1),)
        metric = _number(values.get(_PRIORITY))
        known = (_TABLE, _OIF, _GATEWAY, _VIA, _PRIORITY, _MULTIPATH, _NH_ID, _CACHEINFO)
        other = b"".join(attribute(kind, value) for kind, value in values.items() if kind not in known)
        return Route(kind, metric, tos, protocol, scope, paths, number, b"" if number else other, odd)

    def _other(self, data: bytes, start: int, end: int, kind: int) -> Message | None:
        if kind in (_NEWNEXTHOP, _DELNEXTHOP):
            return _next_hop(data, start, end, gone=kind == _DELNEXTHOP)
        if kind in (_NEWLINK, _DELLINK):
            return _link(data, start, end, gone=kind == _DELLINK and data[start] == socket.AF_UNSPEC)
        family = self._families.get(data[start])
        if family is not None and kind in (_NEWADDR, _DELADDR):
            return _address(data, start, end, family[0], gone=kind == _DELADDR)
        if family is not None and kind in (_NEWNEIGH, _DELNEIGH):
            return _neighbor(data, start, end, family[0], gone=kind == _DELNEIGH)
        return None


def _how(kind: int, flags: int) -> str:
    if kind == _DELROUTE:
        return "gone"
    if flags & (_REPLACE | _APPEND):
        return "replaced" if flags & _REPLACE else "appended"
    return "new"


def _link(data: bytes, start: int, end: int, *, gone: bool) -> Link:
    index, flags = struct.unpack_from("=iI", data, start + 4)
    name = dict(_attributes(data, start + 16, end)).get(3, b"").rstrip(b"\0").decode()
    up = bool(flags & _UP)
    return Link(index, name, up, up and bool(flags & _LOWER_UP), gone)


def _address(data: bytes, start: int, end: int, family: int, *, gone: bool) -> Address | None:
    device = struct.unpack_from("=I", data, start + 4)[0]
    values = dict(_attributes(data, start + 8, end))
    local = values.get(2) or values.get(1)
    return None if local is None else Address(device, int.from_bytes(local, "big"), gone, family)


def _neighbor(data: bytes, start: int, end: int, family: int, *, gone: bool) -> Neighbor | None:
    device, state = struct.unpack_from("=iH", data, start + 4)
    values = dict(_attributes(data, start + 12, end))
    if 1 not in values:
        return None
    known = not gone and state & _VALID and len(values.get(2, b"")) == _ETHERNET
    address = int.from_bytes(values[1], "big")
    return Neighbor(device, address, values[2] if known else None, bool(state & _PERMANENT), family)


def _attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while start + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4 or start + length > end:  # noqa: PLR2004 - the attribute's own header
            raise ValueError("attribute")
        yield kind & 0x3FFF, data[start + 4 : start + length]
        start += (length + 3) & ~3


def _path(values: dict[int, bytes], device: int, flags: int, weight: int) -> Path:
    gateway, via = values.get(_GATEWAY), values.get(_VIA)
    odd = "encapsulated" if _ENCAP in values else ""
    if via is not None:
        # struct rtvia: a family, then the address.
        gateway = via[2:] if via[:2] == _IPV6 and len(via) == 2 + _IPV6_BYTES else None
        odd = "next hop of another family" if gateway is None else odd
    down = bool(flags & (_DEAD | _LINKDOWN))
    return Path(device, None if gateway is None else int.from_bytes(gateway, "big"), weight, down, odd)


def _multipath(data: bytes) -> Iterator[Path]:
    offset = 0
    while offset + 8 <= len(data):
        length, flags, hops, device = struct.unpack_from("=HBBi", data, offset)
        if length < 8:  # noqa: PLR2004 - struct rtnexthop
            raise ValueError("next hop")
        yield _path(dict(_attributes(data, offset + 8, offset + length)), device, flags, hops + 1)
        offset += (length + 3) & ~3


def _next_hop(data: bytes, start: int, end: int, *, gone: bool) -> NextHopObject:
    values = dict(_attributes(data, start + 8, end))
    number, flags = _number(values.get(1)), struct.unpack_from("=I", data, start + 4)[0]
    if _GROUP in values:
        entries = struct.iter_unpack("=IBBH", values[_GROUP])
        members = tuple((hop, low + (high << 8) + 1) for hop, low, high, _ in entries)
        return NextHopObject(number, None, members, gone=gone)
    if _BLACKHOLE in values:
        return NextHopObject(number, None, blackhole=True, gone=gone)
    gateway = values.get(_NH_GATEWAY)
    odd = "encapsulated" if _NH_ENCAP in values else ""
    down = bool(flags & (_DEAD | _LINKDOWN))
    address = None if gateway is None else int.from_bytes(gateway, "big")
    return NextHopObject(number, Path(_number(values.get(_NH_OIF)), address, 1, down, odd), gone=gone)


def _number(value: bytes | None) -> int:
    return 0 if value is None else int.from_bytes(value, sys.byteorder)
