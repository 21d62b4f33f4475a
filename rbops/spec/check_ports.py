"""What must hold between the external ports: ids, subnets, neighbours, and the routes that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import accumulate

from rbops.errors import Diagnostic
from rbops.spec.addressing import generated_networks
from rbops.spec.foreign_routes import ECMP
from rbops.spec.ports import PortSpec
from rbops.spec.routes import StaticRoute
from rbops.spec.source import Path
from rbops.spec.validate import Parts, located
from rbops.spec.words6 import is_ipv6

__all__ = ["check_ports", "check_routes", "neighbors"]

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class _Subnet:
    """A port's own subnet; ``index`` is its place in ``ports``."""

    network: IPv4Network
    port: int
    index: int


def check_ports(parts: Parts) -> Iterator[Diagnostic]:
    """Ids within the router and unique, subnets apart, neighbours inside theirs, nothing given twice."""
    yield from _ids(parts)
    yield from _overlaps(parts)
    yield from _neighbor_places(parts)
    yield from _twice(parts)


def check_routes(parts: Parts) -> Iterator[Diagnostic]:
    """Every prefix once, every next hop a neighbour."""
    first: dict[str, int] = {}
    hops = neighbors(parts)
    for index, route in _routes4(parts):
        path: Path = ("routes", index)
        if route.prefix in first:
            line = parts.line(("routes", first[route.prefix], "prefix"))
            if parts.routes[first[route.prefix]].via == route.via:
                message, hint, code = f"{route.prefix} is a duplicate of line {line}", None, "spec.duplicate"
            else:
                message, hint, code = f"{route.prefix} has another next hop on line {line}", ECMP, "spec.unsupported"
            yield located(parts.root, (*path, "prefix"), message, hint, code=code)
        first.setdefault(route.prefix, index)
        if hops is not None and route.via not in hops:
            yield located(
                parts.root,
                (*path, "via"),
                *_no_neighbor(parts, route.via, hops),
                code="spec.next-hop",
            )


def _routes4(parts: Parts) -> Iterator[tuple[int, StaticRoute]]:
    """Those of IPv4 (``check_ipv6`` has the others), by their place."""
    return ((at, route) for at, route in parts.routes.items() if not is_ipv6(route.prefix) and not is_ipv6(route.via))


def neighbors(parts: Parts) -> dict[str, int] | None:
    """Address -> port id of every neighbour, generated ones too; None where the spec's mistakes hide some."""
    if parts.external_ports is None or not parts.ports_complete:
        return None
    found = {str(network.network_address + 2): port for port, network in _generated(parts).items()}
    for port in parts.ports.values():
        if port.address is not None or port.neighbors is not None:
            found = {address: owner for address, owner in found.items() if owner != port.id}
    for port in parts.ports.values():
        found |= {neighbor.address: port.id for neighbor in port.neighbors or ()}
    return found


def _ids(parts: Parts) -> Iterator[Diagnostic]:
    first: dict[int, int] = {}
    for index, port in parts.port_ids.items():
        path: Path = ("ports", index, "id")
        if port in first:
            line = parts.line(("ports", first[port], "id"))
            yield located(parts.root, path, f"port {port} is a duplicate of line {line}", code="spec.duplicate")
        first.setdefault(port, index)
        if parts.external_ports is not None and port >= parts.external_ports:
            last = parts.external_ports - 1
            hint = f"ids are 0 to {last}" if last else "the only id is 0"
            message = f"port {port} of a router with {last + 1} external port{'s' if last else ''}"
            yield located(parts.root, path, message, hint, code="spec.range")


def _generated(parts: Parts) -> dict[int, IPv4Network]:
    """The subnets of the ports that have none of the user's, by port."""
    given = {port.id: IPv4Interface(port.address).network for port in parts.ports.values() if port.address}
    return generated_networks(parts.external_ports or 0, given)


def _overlaps(parts: Parts) -> Iterator[Diagnostic]:
    """Sorted by address, a subnet can only overlap the widest one before it. Generated ones move out of the way."""
    # Networks sort by address, then the wider first.
    subnets = sorted(
        (
            _Subnet(IPv4Interface(port.address).network, port.id, index)
            for index, port in parts.ports.items()
            if port.address
        ),
        key=lambda item: (item.network, item.port),
    )
    # The one that reaches furthest of those before each.
    for widest, subnet in zip(accumulate(subnets, _further), subnets[1:], strict=False):
        if subnet.network.overlaps(widest.network):
            other, one = sorted((widest, subnet), key=lambda item: item.index)
            yield _overlap(parts, other, one)


def _further(one: _Subnet, other: _Subnet) -> _Subnet:
    return max(one, other, key=lambda item: item.network.broadcast_address)


def _overlap(parts: Parts, other: _Subnet, one: _Subnet) -> Diagnostic:
    line = parts.line(("ports", other.index, "address"))
    message = f"{one.network} overlaps {other.network} of port {other.port} on line {line}"
    if one.network == other.network:
        message = f"{one.network} is also the subnet of port {other.port} on line {line}"
    return located(parts.root, ("ports", one.index, "address"), message, code="spec.overlap")


def _neighbor_places(parts: Parts) -> Iterator[Diagnostic]:
    generated = _generated(parts)
    for index, port in parts.ports.items():
        interface = _interface(port, generated)
        if interface is None:
            continue
        for at, neighbor in enumerate(port.neighbors or ()):
            path: Path = ("ports", index, "neighbors", at, "address")
            address, network = IPv4Address(neighbor.address), interface.network
            wrong = None
            if address not in network:
                wrong = f"{address} is not in the port's subnet {network}"
            elif address == interface.ip:
                wrong = f"{address} is the router's own address on this port"
            elif network.num_addresses > 2 and address in {network[0], network[-1]}:  # noqa: PLR2004  RFC 3021
                wrong = f"{address} is the network or broadcast address of {network}"
            if wrong:
                yield located(parts.root, path, wrong, _hosts(network), code="spec.neighbor-address")


def _hosts(network: IPv4Network) -> str:
    if network.num_addresses == 1:
        return "a /32 has none: neighbours speak BGP by IPv6 link-local addresses (`routing.neighbors[].port`)"
    if network.num_addresses == 2:  # noqa: PLR2004  a point-to-point link, RFC 3021
        return f"its two addresses are {network[0]} and {network[1]}"
    return f"hosts are {network[1]} to {network[-2]}"


def _interface(port: PortSpec, generated: Mapping[int, IPv4Network]) -> IPv4Interface | None:
    if port.address:
        return IPv4Interface(port.address)
    network = generated.get(port.id)
    return IPv4Interface((network[1], network.prefixlen)) if network else None


def _twice(parts: Parts) -> Iterator[Diagnostic]:
    """The same neighbour's address twice. MACs may be the same: a virtual router's, or one machine's addresses."""
    first: dict[str, int] = {}
    for index, port in parts.ports.items():
        for at, neighbor in enumerate(port.neighbors or ()):
            path: Path = ("ports", index, "neighbors", at, "address")
            address = neighbor.address
            if address in first:
                message = f"{address} is a duplicate of line {first[address]}"
                yield located(parts.root, path, message, "each neighbour has its own", code="spec.duplicate")
            first.setdefault(address, parts.line(path))


def _no_neighbor(parts: Parts, via: str, hops: dict[str, int]) -> tuple[str, str]:
    """What is said of a next hop that is on no port; one that another route leads to is named as that."""
    address = IPv4Address(via)
    over = max(
        (
            (network.prefixlen, index)
            for index, route in _routes4(parts)
            if address in (network := IPv4Network(route.prefix)) and network.prefixlen
        ),
        default=None,
    )
    if over is None or any(address in network for network in _networks(parts)):
        return f"{via} is not a neighbour on any port", _via_hint(parts, via, hops)
    route = parts.routes[over[1]]
    line = parts.line(("routes", over[1], "prefix"))
    message = f"{via} is found by the route {route.prefix} on line {line}: rbops has no recursive next hops"
    return message, f"write the neighbour itself, {route.via}"


def _networks(parts: Parts) -> list[IPv4Network]:
    given = [IPv4Interface(port.address).network for port in parts.ports.values() if port.address]
    return [*given, *_generated(parts).values()]


def _via_hint(parts: Parts, via: str, hops: dict[str, int]) -> str:
    for index, port in parts.ports.items():
        if port.address and IPv4Address(via) in IPv4Interface(port.address).network:
            if str(IPv4Interface(port.address).ip) == via:
                return f"it is the router's own address on port {port.id}"
            return f"add it to ports[{index}].neighbors, whose subnet it is in"
    for number, network in _generated(parts).items():
        if str(network[1]) == via:
            return f"it is the router's own address on port {number}"
    some = [f"{address} (port {port})" for address, port in sorted(hops.items(), key=lambda item: item[1])]
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    return f"neighbours are {', '.join(some[:_SHOWN])}{more}" if some else "no port has a neighbour"
