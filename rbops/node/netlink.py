"""The kernel's routes of one protocol over rtnetlink: 256K of them in well under a second.

``ip -json route`` would take several. The bytes of an unchanged table are the same at every dump,
so that a digest of them shows whether they were changed since.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rbops.errors import CheckFailed

__all__ = [
    "BROADCAST",
    "LOCAL",
    "UNICAST",
    "KernelRoute",
    "Routes",
    "attribute",
    "attributes",
    "dump_routes",
    "messages",
    "parse_routes",
]

UNICAST, LOCAL, BROADCAST = 1, 2, 3
"""Kinds of routes (RTN_UNICAST and so on)."""

_NETLINK_ROUTE = 0
_SOL_NETLINK, _GET_STRICT_CHK = 270, 12
_RTM_GETROUTE, _RTM_NEWROUTE = 26, 24
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST_DUMP = 0x301
_DUMP_INTERRUPTED = 0x10
_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_RTNH_F_ONLINK = 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_TABLE_ATTRIBUTE, _DESTINATION_ATTRIBUTE = _ATTRIBUTE.pack(8, _RTA_TABLE), _ATTRIBUTE.pack(8, _RTA_DST)
# A port id of our own choice: the kernel repeats it in every message, so it must be the same each time.
_PORT_ID = 0x52420052


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route as the kernel has it; addresses are numbers, ``device`` an interface index.

    ``kind`` is how packets are handled that follow it (RTN_..., linux/rtnetlink.h).
    """

    gateway: int | None
    device: int | None
    onlink: bool
    source: int | None
    metric: int
    kind: int = UNICAST


Routes = Mapping[tuple[int, int, int], KernelRoute]
"""By address, length and metric."""


def dump_routes(protocol: int, table: int, family: int = socket.AF_INET) -> bytes:
    """The raw messages of every route (IPv4) of ``protocol`` in ``table`` (below 256), in the kernel's order.

    Raises CheckFailed when the kernel refuses or the table keeps changing underneath.
    """
    for _ in range(5):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as link:
            link.settimeout(10)
            link.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
            try:
                link.bind((_PORT_ID, 0))
            except OSError:
                link.bind((0, 0))
            body = _RTMSG.pack(family, 0, 0, 0, table, protocol, 0, 0, 0)
            link.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _REQUEST_DUMP, 1, 0) + body)
            data = _receive(link)
        if data is not None:
            return data
    raise CheckFailed(
        "the kernel's routes changed while they were read, five times",
        code="node.routes-changing",
        hint="check whether a routing daemon is active",
    )


def _receive(link: socket.socket) -> bytes | None:
    parts: list[bytes] = []
    while True:
        data = link.recv(1 << 20)
        size = len(data)
        kind, flags = _HEADER.unpack_from(data)[1:3]
        if flags & _DUMP_INTERRUPTED:
            return None
        if kind == _NLMSG_ERROR:
            error = struct.unpack_from("=i", data, 16)[0]
            raise CheckFailed(f"the kernel refuses to list its routes: error {error}", code="node.netlink")
        last = _last(data)
        if last is not None:
            parts.append(data[:last])
            return b"".join(parts)
        parts.append(data[:size])


def _last(data: bytes) -> int | None:
    """Where the closing message of a dump starts in ``data``, or None when more is to come."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, offset)[:2]
        if kind == _NLMSG_DONE:
            return offset
        offset += max(_HEADER.size, (length + 3) & ~3)
    return None


def messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(kind, start of the body, end) of each message; CheckFailed for one whose length cannot be."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, offset)[:2]
        if length < _HEADER.size or offset + length > len(data):
            raise CheckFailed(f"netlink message of {length} octets at octet {offset}", code="node.netlink-message")
        yield kind, offset + _HEADER.size, offset + length
        offset += (length + 3) & ~3


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute between two offsets."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind, data[start + 4 : start + length]
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute as it is sent: length, type, value, and padding to 4 bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def parse_routes(data: bytes) -> dict[tuple[int, int, int], KernelRoute]:
    """(address, length, metric) -> route, from what :func:`dump_routes` returned.

    All but the destination is the same for thousands of routes, and parsed once for them.
    """
    found: dict[tuple[int, int, int], KernelRoute] = {}
    known: dict[bytes, KernelRoute] = {}
    for kind, start, end in messages(data):
        if kind != _RTM_NEWROUTE or end - start < _RTMSG.size:
            continue
        length, rest, address = data[start + 1], start + _RTMSG.size, 0
        # fib_dump_info() of the kernel puts the table first, then the destination.
        fast = data[start] == socket.AF_INET
        if fast and data[rest : rest + 4] == _TABLE_ATTRIBUTE and data[rest + 8 : rest + 12] == _DESTINATION_ATTRIBUTE:
            address = int.from_bytes(data[rest + 12 : rest + 16], "big")
            rest += 16
        elif length:
            address = _address(dict(attributes(data, rest, end)).get(_RTA_DST)) or 0
        key = data[start + 7 : start + 12] + (data[rest:end] if fast or not length else _rest(data, rest, end))
        route = known.get(key)
        if route is None:
            route = known[key] = _route(key)
        found[address, length, route.metric] = route
    return found


def _rest(data: bytes, start: int, end: int) -> bytes:
    """What a message of IPv6 says besides its destination, which stands first: without it routes are alike."""
    return b"".join(
        _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) % 4)
        for kind, value in attributes(data, start, end)
        if kind in (_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC)
    )


def _route(key: bytes) -> KernelRoute:
    """From the kind, the flags and the attributes of a message."""
    values = dict(attributes(key, 5, len(key)))
    return KernelRoute(
        gateway=_address(values.get(_RTA_GATEWAY)),
        device=_number(values.get(_RTA_OIF)),
        onlink=bool((_number(key[1:5]) or 0) & _RTNH_F_ONLINK),
        source=_address(values.get(_RTA_PREFSRC)),
        metric=_number(values.get(_RTA_PRIORITY)) or 0,
        kind=key[0],
    )


def _address(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, sys.byteorder)
