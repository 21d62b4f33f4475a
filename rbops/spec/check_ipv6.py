"""What must hold between the ports' IPv6 subnets, their neighbours, and the IPv6 routes that use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from rbops.errors import Diagnostic
from rbops.spec.foreign_routes import ECMP
from rbops.spec.ports import PortIpv6
from rbops.spec.routes import StaticRoute
from rbops.spec.source import Path
from rbops.spec.validate import Parts, located
from rbops.spec.words6 import is_ipv6, is_link_local

__all__ = ["check_ipv6", "port_of_link_local", "refused_ipv6"]

_POINT_TO_POINT = 127
_SHOWN = 4


def check_ipv6(parts: Parts) -> Iterator[Diagnostic]:
    """Subnets apart, neighbours inside theirs, nothing given twice, every route by way of a neighbour."""
    ports = [(index, port.id, port.ipv6) for index, port in parts.ports.items() if port.ipv6 is not None]
    yield from _overlaps(parts, ports)
    first: dict[str, int] = {}
    for index, _, ipv6 in ports:
        own = IPv6Interface(ipv6.address)
        for at, near in enumerate(ipv6.neighbors):
            path: Path = ("ports", index, "ipv6", "neighbors", at, "address")
            wrong = _neighbor_mistake(IPv6Address(near.address), own)
            if wrong:
                yield located(parts.root, path, *wrong, code="spec.neighbor-address")
            if near.address in first:
                message = f"{near.address} is a duplicate of line {first[near.address]}"
                yield located(parts.root, path, message, "each neighbour has its own", code="spec.duplicate")
            first.setdefault(near.address, parts.line(path))
    yield from _routes(parts, {near.address: port for _, port, ipv6 in ports for near in ipv6.neighbors}, ports)


def refused_ipv6(parts: Parts, message: str, hint: str) -> Iterator[Diagnostic]:
    """Every place where the spec has IPv6, with that message."""
    for index, port in parts.ports.items():
        if port.ipv6 is not None:
            yield located(parts.root, ("ports", index, "ipv6"), message, hint, key=True, code="spec.unsupported")
    for index, route in parts.routes.items():
        if is_ipv6(route.prefix):
            yield located(parts.root, ("routes", index, "prefix"), message, hint, code="spec.unsupported")


def port_of_link_local(parts: Parts, path: Path, port: int) -> Iterator[Diagnostic]:
    """``port`` is named beside a link-local address: it is one of the router's, and has IPv6."""
    if parts.external_ports is not None and port >= parts.external_ports:
        message = f"port {port} of a router with {parts.external_ports} external ports"
        yield located(parts.root, path, message, code="spec.range")
    elif parts.ports_complete and all(each.ipv6 is None for each in parts.ports.values() if each.id == port):
        message, hint = f"port {port} has no IPv6", f"give it one: {{id: {port}, ipv6: {{address: ...}}}}"
        yield located(parts.root, path, message, hint, code="spec.neighbor-address")


def _overlaps(parts: Parts, ports: Sequence[tuple[int, int, PortIpv6]]) -> Iterator[Diagnostic]:
    subnets = sorted((IPv6Interface(ipv6.address).network, index, port) for index, port, ipv6 in ports)
    widest: tuple[IPv6Network, int, int] | None = None
    for each in subnets:
        if widest is not None and each[0].overlaps(widest[0]):
            other, one = sorted((widest, each), key=lambda item: item[1])
            line = parts.line(("ports", other[1], "ipv6", "address"))
            what = "is also the subnet" if one[0] == other[0] else f"overlaps {other[0]}"
            message = f"{one[0]} {what} of port {other[2]} on line {line}"
            yield located(parts.root, ("ports", one[1], "ipv6", "address"), message, code="spec.overlap")
        if widest is None or each[0].broadcast_address > widest[0].broadcast_address:
            widest = each


def _neighbor_mistake(address: IPv6Address, own: IPv6Interface) -> tuple[str, str] | None:
    network = own.network
    if network.prefixlen > _POINT_TO_POINT:
        hint = "a /128 has none: neighbours speak BGP by link-local addresses (`routing.neighbors[].port`)"
    elif network.prefixlen < _POINT_TO_POINT:
        hint = f"hosts are {network[1]} to {network[-1]}"
    else:
        hint = f"its two addresses are {network[0]} and {network[1]}"
    if address not in network:
        return f"{address} is not in the port's subnet {network}", hint
    if address == own.ip:
        return f"{address} is the router's own address on this port", hint
    if network.prefixlen < _POINT_TO_POINT and address == network.network_address:
        return f"{address} is the anycast address of the subnet's routers", hint
    return None


def _routes(parts: Parts, hops: dict[str, int], ports: Sequence[tuple[int, int, PortIpv6]]) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, route in parts.routes.items():
        path: Path = ("routes", index)
        yield from _link_local(parts, path, route)
        if is_ipv6(route.prefix) != is_ipv6(route.via):
            message = f"{route.prefix} by way of {route.via}: prefix and next hop are of two families"
            yield located(parts.root, (*path, "via"), message, code="spec.unsupported")
            continue
        if not is_ipv6(route.prefix):
            continue
        if route.prefix in first:
            there = first[route.prefix]
            line = parts.line(("routes", there, "prefix"))
            message, hint, code = f"{route.prefix} has another next hop on line {line}", ECMP, "spec.unsupported"
            if (parts.routes[there].via, parts.routes[there].port) == (route.via, route.port):
                message, hint, code = f"{route.prefix} is a duplicate of line {line}", "", "spec.duplicate"
            yield located(parts.root, (*path, "prefix"), message, hint or None, code=code)
        first.setdefault(route.prefix, index)
        if route.via not in hops and not is_link_local(route.via) and parts.ports_complete:
            message, hint = f"{route.via} is not a neighbour on any port", _via_hint(route.via, hops, ports)
            yield located(parts.root, (*path, "via"), message, hint, code="spec.next-hop")


def _link_local(parts: Parts, path: Path, route: StaticRoute) -> Iterator[Diagnostic]:
    """A link-local next hop is one on each link, and any other says by itself which port it is on."""
    if not is_link_local(route.via):
        if route.port is not None:
            message = f"port is for link-local next hops: {route.via} is on the port whose subnet has it"
            yield located(parts.root, (*path, "port"), message, key=True, code="spec.conflict")
    elif route.port is None:
        message, hint = f"{route.via} is on every link", "name the port that it is on, for example port: 0"
        yield located(parts.root, (*path, "via"), message, hint, code="spec.missing")
    else:
        yield from port_of_link_local(parts, (*path, "port"), route.port)


def _via_hint(via: str, hops: dict[str, int], ports: Sequence[tuple[int, int, PortIpv6]]) -> str:
    for index, port, ipv6 in ports:
        own = IPv6Interface(ipv6.address)
        if IPv6Address(via) == own.ip:
            return f"it is the router's own address on port {port}"
        if IPv6Address(via) in own.network:
            return f"add it to ports[{index}].ipv6.neighbors, whose subnet it is in"
    some = [f"{address} (port {port})" for address, port in hops.items()]
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    return f"IPv6 neighbours are {', '.join(some[:_SHOWN])}{more}" if some else "no port has an IPv6 neighbour"
