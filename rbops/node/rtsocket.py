"""Asking the kernel of routes and next hops, hearing of changes, and having it change some: rtnetlink(7)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from rbops.errors import CheckFailed
from rbops.node.netlink import attribute
from rbops.node.rtmany import Many
from rbops.node.rtnetlink import KEY, Path, Route

__all__ = ["Socket", "dump", "neighbor_message", "no_neighbor_message", "route_message", "touch_neighbor"]

_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_SOL_NETLINK, _GET_STRICT_CHK, _ADD_MEMBERSHIP = 270, 12, 1
_SO_RCVBUFFORCE = 33
_LEAST_BUFFER, _MOST_BUFFER, _MEMORY_SHARE = 64 << 20, 512 << 20, 16
_NLMSG_ERROR, _NLMSG_DONE, _HEAD = 2, 3, 16
_REQUEST, _REPLACE, _DUMP, _CREATE = 0x1, 0x100, 0x300, 0x400
_GETLINK, _GETADDR, _NEWROUTE, _GETROUTE, _NEWNEIGH, _DELNEIGH, _GETNEIGH, _GETNEXTHOP = 18, 22, 24, 26, 28, 29, 30, 106
_GROUPS = (1, 3, 5, 7, 32)
"""Links, neighbours, IPv4 addresses, IPv4 routes, next hops."""
_GROUPS6 = (9, 11)
"""IPv6 addresses and routes."""
_DST, _OIF, _GATEWAY, _PRIORITY, _MULTIPATH, _TABLE, _VIA = 1, 4, 5, 6, 9, 15, 18
_ONLINK, _PERMANENT, _USE = 4, 0x80, 1
_BYTE = 256
_RECEIVED = 1 << 20
"""Bytes after which what came is taken over before more is read."""


class Socket:
    """Hears of every change from its making on; of IPv6 too where asked."""

    def __init__(self, *, ipv6: bool = False) -> None:
        self._link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        room = _buffer()
        try:
            self._link.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room)
        except OSError:
            self._link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self._link.bind((0, 0))
        self._many = Many()
        for group in (*_GROUPS, *(_GROUPS6 if ipv6 else ())):
            self._link.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """For select(2)."""
        return self._link.fileno()

    def receive(self, *, limit: int = _RECEIVED) -> bytes | None:
        """What is there by now, up to about ``limit`` bytes, without waiting; None: some was lost (ENOBUFS)."""
        parts, size = [], 0
        while size < limit:
            try:
                data = self._many.receive(self._link.fileno())
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            if not data:
                break
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Hear nothing any more."""
        self._link.close()


def _buffer() -> int:
    """Half of the bytes that messages may take in the kernel until they are read, each a little less than 1 KiB.

    At most 1 GiB, which a million routes fit in, and an eighth of the memory.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(_LEAST_BUFFER, min(_MOST_BUFFER, memory // _MEMORY_SHARE))


_DUMPS = (
    (_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)),
    (_GETADDR, struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, 0)),
    (_GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_INET, 0, 0, 0, 0)),
    (_GETNEXTHOP, struct.pack("=BBBBI", 0, 0, 0, 0, 0)),
)
_DUMPS6 = (
    (_GETADDR, struct.pack("=BBBBi", socket.AF_INET6, 0, 0, 0, 0)),
    (_GETNEIGH, struct.pack("=BxxxiHBB", socket.AF_INET6, 0, 0, 0, 0)),
)


def dump(table: int, *, ipv6: bool = False) -> Iterator[bytes]:
    """Datagrams with all links, addresses, neighbours, next hops, then the routes of ``table``; of IPv6 where asked.

    A dump that changed underneath is given as it is: what changed comes as messages too. Raises CheckFailed when the
    kernel refuses.
    """
    requests = [*_DUMPS, *(_DUMPS6 if ipv6 else ())]
    families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
    number = table if table < _BYTE else 0
    requests += ((_GETROUTE, _RTMSG.pack(family, 0, 0, 0, number, 0, 0, 0, 0)) for family in families)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.settimeout(30)
        link.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        link.bind((0, 0))
        for kind, body in requests:
            link.send(_HEADER.pack(16 + len(body), kind, _REQUEST | _DUMP, 1, 0) + body)
            yield from _dumped(link, kind)


def _dumped(link: socket.socket, asked: int) -> Iterator[bytes]:
    while True:
        data = link.recv(1 << 20)
        yield data
        offset = 0
        while offset + _HEAD <= len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                error = -struct.unpack_from("=i", data, offset + 16)[0]
                if error == errno.ENOENT:
                    return  # a table without routes
                raise CheckFailed(
                    f"the kernel refuses to list (request {asked}): {errno.errorcode.get(error, error)}",
                    code="node.netlink",
                )
            offset += (max(length, _HEAD) + 3) & ~3


def route_message(key: int, route: Route, table: int, family: int = 4) -> bytes:
    """A request that makes the kernel have ``route`` to ``key``, in the place of one with the same metric."""
    flags = 0
    bits, shift = KEY[family]
    code = socket.AF_INET if family == 4 else socket.AF_INET6  # noqa: PLR2004
    body = attribute(_DST, (key >> shift).to_bytes(bits // 8, "big")) + attribute(_TABLE, struct.pack("=I", table))
    body += route.rest
    if route.metric:
        body += attribute(_PRIORITY, struct.pack("=I", route.metric))
    if len(route.paths) == 1:
        (path,) = route.paths
        body += attribute(_OIF, struct.pack("=i", path.device))
        if path.gateway is not None:
            flags, gateway = _gateway(path.gateway, family)
            body += gateway
    elif route.paths:
        body += attribute(_MULTIPATH, b"".join(_hop_message(path, family) for path in route.paths))
    head = (
        code,
        key & ((1 << shift) - 1),
        0,
        route.tos,
        table if table < _BYTE else 0,
        route.protocol,
        route.scope,
        route.kind,
    )
    body = _RTMSG.pack(*head, flags) + body
    return _HEADER.pack(16 + len(body), _NEWROUTE, _REQUEST | _CREATE | _REPLACE, 0, 0) + body


def _gateway(address: int, family: int) -> tuple[int, bytes]:
    """Flags and attribute of a next hop of a route of ``family``."""
    if _family(address) == socket.AF_INET:
        return _ONLINK, attribute(_GATEWAY, _packed(address))
    if family == 4:  # noqa: PLR2004
        return 0, attribute(_VIA, struct.pack("=H", socket.AF_INET6) + _packed(address))
    return 0, attribute(_GATEWAY, _packed(address))


def _hop_message(path: Path, family: int) -> bytes:
    flags, gateway = (0, b"") if path.gateway is None else _gateway(path.gateway, family)
    return struct.pack("=HBBi", 8 + len(gateway), flags, path.weight - 1, path.device) + gateway


def neighbor_message(device: int, address: int, mac: bytes) -> bytes:
    """A request for a permanent neighbour."""
    body = struct.pack("=BxxxiHBB", _family(address), device, _PERMANENT, 0, 0)
    body += attribute(1, _packed(address)) + attribute(2, mac)
    return _HEADER.pack(16 + len(body), _NEWNEIGH, _REQUEST | _CREATE | _REPLACE, 0, 0) + body


def no_neighbor_message(device: int, address: int) -> bytes:
    """A request that a neighbour be forgotten."""
    body = struct.pack("=BxxxiHBB", _family(address), device, 0, 0, 0) + attribute(1, _packed(address))
    return _HEADER.pack(16 + len(body), _DELNEIGH, _REQUEST, 0, 0) + body


def touch_neighbor(link: socket.socket, device: int, address: int) -> None:
    """Have the kernel find, or confirm, a neighbour's MAC (NTF_USE): what the data plane sends it does not see.

    Not of a permanent neighbour: the kernel would take it for one that it has found.
    """
    body = struct.pack("=BxxxiHBB", _family(address), device, 0, _USE, 0)
    body += attribute(1, _packed(address))
    message = _HEADER.pack(16 + len(body), _NEWNEIGH, _REQUEST | _CREATE, 0, 0) + body
    link.send(message)


def _packed(address: int) -> bytes:
    return address.to_bytes(4 if _family(address) == socket.AF_INET else 16, "big")


def _family(address: int) -> int:
    return socket.AF_INET if address >> 32 == 0 else socket.AF_INET6
