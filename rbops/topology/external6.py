"""IPv6 of the external ports: what the spec gives them, and the routes that leave through them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Interface

from rbops.plan import PUNT, Adjacency, Ipv6, Port6, Route
from rbops.spec.addressing import stand_in
from rbops.spec.document import Spec
from rbops.spec.ports import PortIpv6
from rbops.spec.words6 import is_ipv6, is_link_local
from rbops.topology.external import External

__all__ = ["ipv6"]

_HOST = 128


def ipv6(spec: Spec, ports: Sequence[External]) -> Ipv6 | None:
    """The plan's section; None where no port has IPv6.

    Neighbours are numbered behind the port's IPv4 ones. Connected routes are as those of IPv4: the port's network and
    its own address lead to the owner's kernel, neighbours with a known MAC have a host route: link-local ones have it
    by the address that stands in for them on other servers.
    """
    found = []
    for wish in spec.ports:
        if wish.ipv6 is None:
            continue
        first = len(ports[wish.id].adjacencies) + 1
        known = [(each.address, each.mac) for each in wish.ipv6.neighbors] + _named(spec, wish.id, wish.ipv6)
        near = tuple(Adjacency(index, address, mac) for index, (address, mac) in enumerate(known, first))
        found.append(Port6(wish.id, wish.ipv6.address, near))
    if not found:
        return None
    made = tuple(sorted(found, key=lambda port: port.port))
    # Where routes come and go, what the kernel finds is a next hop too.
    follows = spec.routing is not None
    connected = tuple(route for port in made for route in _connected(port, unknown=follows))
    hops: dict[tuple[str, int | None], tuple[int, int]] = {}
    for port in made:
        for hop in port.adjacencies:
            hops[hop.address, port.port if is_link_local(hop.address) else None] = port.port, hop.index
    own = {route.prefix for route in connected}
    static = tuple(
        Route(route.prefix, *hops[route.via, route.port], route.via)
        for route in spec.static_routes6
        if route.prefix not in own
    )
    return Ipv6(made, connected, static)


def _named(spec: Spec, number: int, port: PortIpv6) -> list[tuple[str, str | None]]:
    """Neighbours of a port that only sessions name, in its subnet or link-local, and routes' link-local next hops.

    Their MAC is found by the kernel.
    """
    own = {each.address for each in port.neighbors}
    network = IPv6Interface(port.address).network
    named = [each for each in (spec.routing.neighbors if spec.routing else ()) if is_ipv6(each.at)]
    there = [each.at for each in named if each.port == number or IPv6Address(each.at) in network]
    there += [
        address
        for each in (spec.routing.ospf if spec.routing else ())
        if each.port == number
        for address in each.routers
    ]
    there += [route.via for route in spec.static_routes6 if route.port == number]
    return [(address, None) for address in dict.fromkeys(there) if address not in own]


def _connected(port: Port6, *, unknown: bool) -> list[Route]:
    own = IPv6Interface(port.address)
    found = [Route(f"{own.ip}/128", port.port, PUNT, None)]
    if own.network.prefixlen < _HOST:
        found.insert(0, Route(str(own.network), port.port, PUNT, None))
    for near in port.adjacencies:
        address = stand_in(port.port, near.index) if is_link_local(near.address) else near.address
        if near.mac or unknown:
            found.append(Route(f"{address}/128", port.port, near.index, None))
    return found
