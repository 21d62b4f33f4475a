"""``routes.csv``: every route of the cluster, and what this server's kernel makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, ip_address, ip_interface
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

from rbops.errors import Mismatch, Where
from rbops.node.fabric import next_hop6
from rbops.node.netlink import BROADCAST, LOCAL, UNICAST
from rbops.node.schema import NodeConfig, NodePort
from rbops.node.schema.dataplane import NextHop

__all__ = ["Hop", "RouteTarget", "Row", "has_ipv6", "hops", "load", "neighbors", "rows"]

_HOST = 32
_HEADER = "prefix,port,adjacency,via"


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """Where routes leave the router: ``port``, ``adjacency`` of it; ``via`` is empty for connected prefixes."""

    port: int
    adjacency: int
    via: str


Row = tuple[str, RouteTarget]
"""A line: prefix, and the target that it shares with many others."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Where the kernel sends a prefix: gateway (None: connected), device, own source; addresses as numbers.

    ``kind``: also LOCAL, an address of this server's, or BROADCAST.
    """

    gateway: int | None
    device: str
    onlink: bool
    source: int | None
    kind: int = UNICAST


def load(config: NodeConfig) -> bytes:
    """The file's bytes. Mismatch (3) when it cannot be read."""
    path = Path(config.routes.file)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Mismatch(
            str(error.strerror),
            code="node.no-routes",
            where=Where(server=config.server, file=str(path)),
            hint="`rbops apply` installs it",
        ) from error


def rows(data: bytes) -> list[Row]:
    """The lines of the file. Mismatch (3) naming the line that is wrong."""
    lines = data.decode("ascii", errors="replace").splitlines()
    if not lines or lines[0] != _HEADER:
        raise Mismatch(
            f"not a valid first line, expected {_HEADER}", code="node.route", where=Where(file="routes.csv", line=1)
        )
    targets: dict[str, RouteTarget] = {}
    found: list[Row] = []
    try:
        for line in lines[1:]:
            prefix, _, tail = line.partition(",")
            target = targets.get(tail)
            if target is None:
                port, adjacency, via = tail.split(",")
                target = targets[tail] = RouteTarget(int(port), int(adjacency), via)
            found.append((prefix, target))
    except ValueError as error:
        place = Where(file="routes.csv", line=len(found) + 2)
        raise Mismatch(str(error), code="node.route", where=place) from error
    return found


def has_ipv6(config: NodeConfig) -> bool:
    """Whether the router forwards IPv6."""
    return any(port.addresses6 for port in config.ports)


def hops(
    table: Sequence[Row], config: NodeConfig, devices: Mapping[str, str], *, ipv6: bool = False
) -> dict[tuple[int, int], Hop]:
    """(address, length) -> next hop: the own addresses and networks, and what leaves by others or via neighbours.

    Of IPv4, or of ``ipv6``.
    """
    table = [row for row in table if (":" in row[0]) == ipv6]
    if config.host is not None:
        source = int(IPv4Interface(config.host.addresses[0]).ip) if config.host.addresses else None
        behind = Hop(None, config.host.device, onlink=False, source=source)
        by_target: dict[int, Hop | None] = {id(target): behind for target in _targets(table)}
        found = {}
    else:
        by_target = {id(target): _hop(target, config, devices, ipv6=ipv6) for target in _targets(table)}
        found = _connected(config, devices, ipv6=ipv6)
    family = AF_INET6 if ipv6 else AF_INET
    try:
        for prefix, target in table:
            hop = by_target[id(target)]
            if hop is not None:
                address, _, length = prefix.partition("/")
                found[int.from_bytes(inet_pton(family, address), "big"), int(length)] = hop
    except (OSError, ValueError) as error:
        raise Mismatch(f"{prefix} is not a valid prefix", code="node.route", where=Where(file="routes.csv")) from error
    if not ipv6:
        found |= _tunnels(config, devices)
    return found | _own(config, devices, ipv6=ipv6)


def _addresses(port: NodePort, *, ipv6: bool) -> tuple[str, ...]:
    return port.addresses6 if ipv6 else port.addresses4


def _own(config: NodeConfig, devices: Mapping[str, str], *, ipv6: bool) -> dict[tuple[int, int], Hop]:
    """The router's addresses on this server and the broadcasts of their networks, which the local table has too.

    External ports come first: internal ones have an address of theirs.
    """
    ports = sorted(config.kernel_ports, key=lambda port: port.kind != "external")
    places = [(devices[port.name], address) for port in ports for address in _addresses(port, ipv6=ipv6)]
    if config.host is not None:
        places += [(config.host.device, address) for address in config.host.addresses if (":" in address) == ipv6]
    found: dict[tuple[int, int], Hop] = {}
    for device, address in ((device, ip_interface(address)) for device, address in places):
        own = int(address.ip)
        found.setdefault((own, address.max_prefixlen), Hop(None, device, onlink=False, source=own, kind=LOCAL))
        if isinstance(address, IPv4Interface) and address.network.prefixlen < _HOST - 1:
            last = int(address.network.broadcast_address)
            found.setdefault((last, _HOST), Hop(None, device, onlink=False, source=own, kind=BROADCAST))
    return found


def _tunnels(config: NodeConfig, devices: Mapping[str, str]) -> dict[tuple[int, int], Hop]:
    """What is behind tunnels: by their interfaces, or to the kernel of the server that encrypts."""
    found: dict[tuple[int, int], Hop] = {}
    for tunnel in config.tunnels:
        hop: Hop | None = Hop(None, tunnel.device, onlink=False, source=None)
        if not tunnel.encrypts and tunnel.ike is not None:
            hop = _hop(RouteTarget(tunnel.ike.port, 0, ""), config, devices, ipv6=False)
        if hop is not None:
            found |= {(int(net.network_address), net.prefixlen): hop for net in map(IPv4Network, tunnel.prefixes)}
    return found


def _connected(config: NodeConfig, devices: Mapping[str, str], *, ipv6: bool) -> dict[tuple[int, int], Hop]:
    found: dict[tuple[int, int], Hop] = {}
    for port in (port for port in config.kernel_ports if port.kind == "external"):
        for address in map(ip_interface, _addresses(port, ipv6=ipv6)):
            hop = Hop(None, devices[port.name], onlink=False, source=int(address.ip))
            found[int(address.network.network_address), address.network.prefixlen] = hop
    return found


def _next_hop(config: NodeConfig, target: RouteTarget, *, ipv6: bool) -> NextHop:
    if ipv6:
        return next_hop6(target.port, target.adjacency)
    return config.dataplane.next_hop(target.port, target.adjacency)


def _targets(table: Sequence[Row]) -> list[RouteTarget]:
    """The distinct targets; the lines share their objects."""
    return list({id(target): target for _, target in table}.values())


def neighbors(table: Sequence[Row], config: NodeConfig, devices: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(device, address) -> MAC of every permanent neighbour: made-up next hops and planned neighbours.

    None where a data plane has the ports for itself: it knows them, and the kernel sends to it.
    """
    found: dict[tuple[str, str], str] = {}
    if config.host is not None:
        return found
    for ipv6 in (False, True):
        targets = {(t.port, t.adjacency): t for t in _targets([row for row in table if (":" in row[0]) == ipv6])}
        if not ipv6:
            elsewhere = (each.ike.port for each in config.tunnels if each.ike is not None and not each.encrypts)
            targets |= {(port, 0): RouteTarget(port, 0, "") for port in elsewhere if (port, 0) not in targets}
        for (port, _), target in sorted(targets.items()):
            device = _fabric_device(port, config, devices)
            if device is not None:
                hop = _next_hop(config, target, ipv6=ipv6)
                if hop.mac is not None:
                    found[device, str(hop.address)] = hop.mac
    for planned in config.kernel_ports:
        for neighbor in planned.neighbors:
            if neighbor.mac is not None:
                found[devices[planned.name], neighbor.address] = neighbor.mac
    return found


def _hop(target: RouteTarget, config: NodeConfig, devices: Mapping[str, str], *, ipv6: bool) -> Hop | None:
    device = _fabric_device(target.port, config, devices)
    if device is not None:
        external = (port for port in config.ports if port.kind == "external")
        source = next((a for port in external for a in _addresses(port, ipv6=ipv6)), None)
        number = None if source is None else int(ip_interface(source).ip)
        # A link-local next hop is on the link by what it is.
        return Hop(int(_next_hop(config, target, ipv6=ipv6).address), device, onlink=not ipv6, source=number)
    if not target.via or config.dataplane.fabric.owners[target.port] != config.dataplane.fabric.server:
        return None
    own = next((port.name for port in config.ports if port.id == target.port), None)
    if own is None:
        raise Mismatch(
            f"port {target.port} is this server's, but not in node.json",
            code="node.route-port",
            where=Where(server=config.server, file="routes.csv"),
        )
    if own not in devices:
        return None
    return Hop(int(ip_address(target.via)), devices[own], onlink=False, source=None)


def _fabric_device(port: int, config: NodeConfig, devices: Mapping[str, str]) -> str | None:
    """The internal device towards the owner of an external port; None for an own port, or with a userspace driver."""
    owners = config.dataplane.fabric.owners
    if not 0 <= port < len(owners):
        raise Mismatch(
            f"the router has no port {port}",
            code="node.route-port",
            where=Where(server=config.server, file="routes.csv"),
        )
    owner = owners[port]
    if owner == config.dataplane.fabric.server:
        return None
    name = config.dataplane.fabric.next_hop.get(owner)
    if name is None:
        raise Mismatch(
            f"node.json has no path to server {owner}, which owns port {port}",
            code="node.no-path",
            where=Where(server=config.server),
        )
    return devices.get(name)
