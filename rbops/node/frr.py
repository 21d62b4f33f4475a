"""What an FRR on a server needs to find next hops on other servers' ports.

FRR 8.4 looks next hops up in the main table and in those of VRFs. Where the data ports are in no VRF, its staticd gets
the host routes that rbops has in the router's table, and routes go there by a route map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from rbops.common.frrfile import TABLE_LINE
from rbops.node.devices import VRF
from rbops.node.schema import NodeConfig
from rbops.node.table import Row, hops

__all__ = ["MAP", "host_routes", "lines"]

MAP = "rbops"
"""The route map that puts routes into the router's table."""
_DETOURS = 2
_DISTANCE = 10
"""Of the first detour; that of a static route is 1."""


def lines(config: NodeConfig, table: list[Row], devices: Mapping[str, str], *, in_vrf: bool) -> Iterator[str]:
    """Lines for the frr.conf of a user's own FRR; ``devices``: planned port -> device."""
    yield f"! rbops, server {config.server}, plan {config.digest}"
    if in_vrf:
        yield f"! The ports are in the VRF {VRF}, whose table FRR reads by itself: write `router bgp ASN vrf {VRF}`."
        return
    # Before the route map, which staticd does not know: it would read what is after `exit` no more.
    yield "! Where other servers' ports and their neighbours are, and the ways there when a cable is cut."
    yield from host_routes(config, table, devices)
    yield f"! For each neighbour and family: neighbor ADDRESS route-map {MAP} in"
    yield f"route-map {MAP} permit 10"
    yield TABLE_LINE


def host_routes(config: NodeConfig, table: list[Row], devices: Mapping[str, str]) -> Iterator[str]:
    """A static route to each address of other servers' ports and to each neighbour there.

    Over the cable that leads there, and with a longer distance over two others: every server forwards a frame for the
    port that its MAC names.
    """
    known = [row for row in table if not row[1].via]
    internal = [devices[port.name] for port in config.kernel_ports if port.kind == "internal" and port.name in devices]
    for ipv6, bits in ((False, 32), (True, 128)):
        for (address, length), hop in sorted(hops(known, config, devices, ipv6=ipv6).items()):
            if length != bits or hop.gateway is None or hop.device not in internal:
                continue
            after = internal.index(hop.device) + 1
            others = [*internal[after:], *internal[: after - 1]][:_DETOURS]
            for number, device in enumerate((hop.device, *others)):
                distance = f" {_DISTANCE + number}" if number else ""
                if ipv6:
                    yield f"ipv6 route {IPv6Address(address)}/{bits} {IPv6Address(hop.gateway)} {device}{distance}"
                else:
                    yield f"ip route {IPv4Address(address)}/{bits} {IPv4Address(hop.gateway)} {device}{distance} onlink"
