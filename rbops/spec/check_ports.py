"""What must hold between the external ports: ids, subnets, neighbours, and the routes that use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from rbops.errors import Diagnostic
from rbops.spec.addressing import generated_neighbor, generated_network
from rbops.spec.ports import PortSpec
from rbops.spec.source import Path
from rbops.spec.validate import Parts, located

__all__ = ["check_ports", "check_routes", "neighbors"]

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class _Subnet:
    """A port's subnet; ``index`` is its place in ``ports``, None for a generated one."""

    network: IPv4Network
    port: int
    index: int | None


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
    for index, route in parts.routes.items():
        path: Path = ("routes", index)
        if route.prefix in first:
            line = parts.line(("routes", first[route.prefix], "prefix"))
            yield located(
                parts.root, (*path, "prefix"), f"{route.prefix} is a duplicate of line {line}", code="spec.duplicate"
            )
        first.setdefault(route.prefix, index)
        if hops is not None and route.via not in hops:
            yield located(
                parts.root,
                (*path, "via"),
                f"{route.via} is not a neighbour on any port",
                _via_hint(parts, route.via, hops),
                code="spec.next-hop",
            )


def neighbors(parts: Parts) -> dict[str, int] | None:
    """Address -> port id of every neighbour, generated ones too; None where the spec's mistakes hide some."""
    if parts.external_ports is None or not parts.ports_complete:
        return None
    ports = parts.external_ports
    found = {generated_neighbor(port, ports)[0]: port for port in range(ports)}
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


def _subnets(parts: Parts) -> list[_Subnet]:
    given = {port.id for port in parts.ports.values() if port.address}
    found = [
        _Subnet(IPv4Interface(port.address).network, port.id, index)
        for index, port in parts.ports.items()
        if port.address
    ]
    if parts.external_ports is not None and parts.ports_complete:
        ports = parts.external_ports
        found += [_Subnet(generated_network(port, ports), port, None) for port in range(ports) if port not in given]
    return found


def _overlaps(parts: Parts) -> Iterator[Diagnostic]:
    """Sorted by address, a subnet can only overlap the widest one before it."""
    if not any(port.address for port in parts.ports.values()):
        return
    # Networks sort by address, then the wider first.
    subnets = sorted(_subnets(parts), key=lambda item: (item.network, item.port))
    widest = subnets[0]
    for subnet in subnets[1:]:
        if subnet.network.overlaps(widest.network):
            yield from _overlap(parts, subnet, widest)
        if subnet.network.broadcast_address > widest.network.broadcast_address:
            widest = subnet


def _overlap(parts: Parts, one: _Subnet, other: _Subnet) -> Iterator[Diagnostic]:
    if one.index is None or (other.index is not None and other.index > one.index):
        one, other = other, one
    if one.index is None:
        return
    whose = f"{other.network} of port {other.port}"
    if other.index is None:
        place = f"generated for port {other.port}"
        message, hint = f"{one.network} overlaps {other.network}, {place}", f"give port {other.port} an address too"
    elif one.network == other.network:
        line = parts.line(("ports", other.index, "address"))
        message, hint = f"{one.network} is also the subnet of port {other.port} on line {line}", None
    else:
        line = parts.line(("ports", other.index, "address"))
        message, hint = f"{one.network} overlaps {whose} on line {line}", None
    yield located(parts.root, ("ports", one.index, "address"), message, hint, code="spec.overlap")


def _neighbor_places(parts: Parts) -> Iterator[Diagnostic]:
    for index, port in parts.ports.items():
        interface = _interface(parts, port)
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
    if network.num_addresses == 2:  # noqa: PLR2004  a point-to-point link, RFC 3021
        return f"its two addresses are {network[0]} and {network[1]}"
    return f"hosts are {network[1]} to {network[-2]}"


def _interface(parts: Parts, port: PortSpec) -> IPv4Interface | None:
    if port.address:
        return IPv4Interface(port.address)
    if parts.external_ports is None or port.id >= parts.external_ports:
        return None
    network = generated_network(port.id, parts.external_ports)
    return IPv4Interface((network[1], network.prefixlen))


def _twice(parts: Parts) -> Iterator[Diagnostic]:
    """The same neighbour address or MAC twice, and an address that the router itself has."""
    first: dict[str, int] = {}
    for index, port in parts.ports.items():
        for at, neighbor in enumerate(port.neighbors or ()):
            for field, value in (("address", neighbor.address), ("mac", neighbor.mac)):
                path: Path = ("ports", index, "neighbors", at, field)
                if value is None:
                    continue
                if value in first:
                    message = f"{value} is a duplicate of line {first[value]}"
                    yield located(parts.root, path, message, "each neighbour has its own", code="spec.duplicate")
                first.setdefault(value, parts.line(path))


def _via_hint(parts: Parts, via: str, hops: dict[str, int]) -> str:
    for index, port in parts.ports.items():
        if port.address and IPv4Address(via) in IPv4Interface(port.address).network:
            if str(IPv4Interface(port.address).ip) == via:
                return f"it is the router's own address on port {port.id}"
            return f"add it to ports[{index}].neighbors, whose subnet it is in"
    some = [f"{address} (port {port})" for address, port in sorted(hops.items(), key=lambda item: item[1])]
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    return f"neighbours are {', '.join(some[:_SHOWN])}{more}" if some else "no port has a neighbour"
