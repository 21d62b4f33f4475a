"""How the kernel of one server reaches ports of others: next hops whose MAC is an output port.

A packet that the kernel sends (an ICMP error, a reply, one with options) enters the fabric with
the destination MAC ``02:52:PP:PP:AA:AA`` of its output port and adjacency, like one that the data
plane looked up. Each such MAC belongs to a made-up next hop that exists on one internal link only.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from rbops.common.fabric import fabric_mac
from rbops.common.limits import MAX_EXTERNAL_PORTS
from rbops.errors import Mismatch
from rbops.node.schema.dataplane import NextHop

__all__ = ["adjacency_of", "adjacency_of6", "next_hop", "next_hop6"]

_BYTE = 256
_ADJACENCIES = 65536


def next_hop(port: int, adjacency: int) -> NextHop:
    """The made-up next hop, at ``169.254.PORT.ADJACENCY``, or out of 240.0.0.0/4 where they do not fit.

    Raises Mismatch (3) beyond 4,096 ports or 65,536 adjacencies of a port.
    """
    if port < _BYTE and adjacency < _BYTE:
        address = IPv4Address((169 << 24) | (254 << 16) | (port << 8) | adjacency)
        return NextHop(address, fabric_mac(port, adjacency))
    if port >= MAX_EXTERNAL_PORTS or adjacency >= _ADJACENCIES:
        raise Mismatch(
            f"port {port}, adjacency {adjacency}: the kernel's slow path has next hops for 4096 x 65536",
            code="node.next-hops",
        )
    return NextHop(IPv4Address((0xF << 28) | (port << 16) | adjacency), fabric_mac(port, adjacency))


def next_hop6(port: int, adjacency: int) -> NextHop:
    """The made-up next hop of IPv6 routes, ``fe80::5252:PORT:ADJACENCY``."""
    return NextHop(
        IPv6Address((0xFE80 << 112) | (0x5252 << 32) | (port << 16) | adjacency), fabric_mac(port, adjacency)
    )


def adjacency_of(address: int) -> tuple[int, int] | None:
    """The port and adjacency of a made-up next hop, None for any other address.

    >>> adjacency_of(int(IPv4Address("169.254.3.1")))
    (3, 1)
    """
    if address >> 16 == (169 << 8 | 254):
        return address >> 8 & 0xFF, address & 0xFF
    return (address >> 16 & 0xFFF, address & 0xFFFF) if address >> 28 == 0xF else None  # noqa: PLR2004 - 240.0.0.0/4


def adjacency_of6(address: int) -> tuple[int, int] | None:
    """The same of IPv6's made-up next hops.

    >>> adjacency_of6(int(IPv6Address("fe80::5252:3:1")))
    (3, 1)
    """
    if address >> 32 != (0xFE80 << 80 | 0x5252):
        return None
    return address >> 16 & 0xFFFF, address & 0xFFFF
