"""What an FRR of the user's own needs on a server to find next hops on other servers' ports.

FRR 8.4 looks next hops up in the main table and in those of VRFs. Where the data ports are in no VRF, its staticd gets
the host routes that rbops has in the router's table, and routes go there by a route map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from rbops.node.devices import TABLE, VRF
from rbops.node.schema import NodeConfig
from rbops.node.table import Row, hops

__all__ = ["MAP", "lines"]

MAP = "rbops"
"""The route map that puts routes into the router's table."""


def lines(config: NodeConfig, table: list[Row], devices: Mapping[str, str], *, in_vrf: bool) -> Iterator[str]:
    """Lines for frr.conf; ``devices``: planned port -> device."""
    yield f"! rbops, server {config.server}, plan {config.digest}"
    if in_vrf:
        yield f"! The ports are in the VRF {VRF}, whose table FRR reads by itself: write `router bgp ASN vrf {VRF}`."
        return
    # Before the route map, which staticd does not know: it would read what is after `exit` no more.
    yield "! Where other servers' ports and their neighbours are."
    known = [row for row in table if not row[1].via]
    internal = {devices[port.name] for port in config.kernel_ports if port.kind == "internal" and port.name in devices}
    for ipv6, bits in ((False, 32), (True, 128)):
        for (address, length), hop in sorted(hops(known, config, devices, ipv6=ipv6).items()):
            if length != bits or hop.gateway is None or hop.device not in internal:
                continue
            if ipv6:
                yield f"ipv6 route {IPv6Address(address)}/{bits} {IPv6Address(hop.gateway)} {hop.device}"
            else:
                yield f"ip route {IPv4Address(address)}/{bits} {IPv4Address(hop.gateway)} {hop.device} onlink"
    yield f"! For each neighbour and family: neighbor ADDRESS route-map {MAP} in"
    yield f"route-map {MAP} permit 10"
    yield f" set table {TABLE}"
