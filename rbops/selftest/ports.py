"""The plan's external ports as testers use them: what is sent from each of them to which addresses."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rbops.dataplane import registry
from rbops.errors import Mismatch, Where
from rbops.plan import PUNT, Adjacency, ClusterPlan, Port, Route, Tunnel

__all__ = [
    "AttachedTester",
    "Destination",
    "PortUnderTest",
    "behind_tunnel",
    "ports_under_test",
    "ports_under_test6",
    "targets",
    "way_to",
]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRIES = 100
PER_PORT = 16
"""The highest number of destination addresses behind a port."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination address behind a port, and the MAC its packets must leave with."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class PortUnderTest:
    """An external port as planned, of one family; the tester is its first neighbour with a known MAC."""

    port: int
    server: str
    router_address: str
    address: str
    targets: tuple[Destination, ...]
    queues: int
    rate_bps: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version


@dataclass(frozen=True, slots=True)
class AttachedTester:
    """A tester on its port, with its own MAC, and the router's MAC by ARP.

    ``hops``: server -> by how much a packet's TTL is less when it leaves there, where that is not one. ``clock``: times
    of testers with the same one can be compared. ``native``: its device takes frames of XDP.
    """

    index: int
    at: PortUnderTest
    mac: str
    router_mac: str
    hops: Mapping[str, int] = field(default_factory=dict)
    clock: str = ""
    native: bool = True

    def hops_to(self, port: PortUnderTest) -> int:
        """By how much the TTL of a packet from here is less when it leaves by ``port``."""
        return self.hops.get(port.server, 1)


def ports_under_test(
    plan: ClusterPlan, *, seed: int, routes: Iterable[Route] = (), only: Collection[int] | None = None
) -> tuple[PortUnderTest, ...]:
    """Every external port that has a neighbour with a known MAC, by port id; not those with a /32, which have none.

    ``routes`` are those of the plan's route file, if it has one; ``only``: of these ports. Raises Mismatch when a port
    has no such neighbour, as no tester can take its place then.
    """
    every = [*plan.routes.connected, *plan.routes.static, *routes]
    found = targets(plan, every, seed=seed)
    ports = [
        _port_under_test(server.name, port, port.id, found[port.id])
        for server in plan.servers
        for port in server.ports
        if port.kind == "external" and port.id is not None and not _is_alone(port)
        if only is None or port.id in only
    ]
    return tuple(sorted(ports, key=lambda port: port.port))


def _is_alone(port: Port) -> bool:
    """Whether no IPv4 neighbour can be on it: a tester has no address there to send from."""
    lengths = [address.partition("/")[2] for address in port.addresses]
    return bool(lengths) and all(length == "32" for length in lengths)


def _port_under_test(server: str, port: Port, number: int, reachable: tuple[Destination, ...]) -> PortUnderTest:
    neighbour = _first(port.adjacencies)
    if neighbour is None or not port.addresses:
        raise Mismatch(
            f"external port {number} has no neighbour with a MAC in the plan",
            code="selftest.no-neighbour",
            where=Where(server=server, device=port.name),
            hint="give it `neighbors: [{address: ..., mac: ...}]` in the spec, the tester's own",
        )
    router = next((address for address in port.addresses if _inside(neighbour.address, address)), port.addresses[0])
    return _made(server, port, number, router, neighbour.address, reachable)


def ports_under_test6(plan: ClusterPlan, *, seed: int) -> tuple[PortUnderTest, ...]:
    """The external ports whose IPv6 has a neighbour with a known MAC, by port id; none without IPv6 in the plan."""
    if plan.ipv6 is None:
        return ()
    neighbours = {(port.port, near.index): near for port in plan.ipv6.ports for near in port.adjacencies}
    found = _targets(neighbours, _Table([*plan.ipv6.connected, *plan.ipv6.static]), seed)
    ports = [
        _made(server.name, port, own.port, own.address, near.address, found[own.port])
        for server in plan.servers
        for port in server.ports
        if port.kind == "external"
        and (own := plan.ipv6.port(port.id)) is not None
        and (near := _first(own.adjacencies)) is not None
    ]
    return tuple(sorted(ports, key=lambda port: port.port))


def _first(adjacencies: Iterable[Adjacency]) -> Adjacency | None:
    """The neighbour that the tester is."""
    return next((near for near in adjacencies if near.mac), None)


def _made(
    server: str, port: Port, number: int, router: str, address: str, reachable: tuple[Destination, ...]
) -> PortUnderTest:
    return PortUnderTest(
        port=number,
        server=server,
        router_address=router.partition("/")[0],
        address=address,
        targets=reachable,
        queues=max(1, len(port.queues)),
        rate_bps=port.rate_bps,
    )


def _inside(address: str, interface: str) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Interface(interface).network


def targets(plan: ClusterPlan, routes: Iterable[Route], *, seed: int) -> dict[int, tuple[Destination, ...]]:
    """Addresses to send to behind each port: every neighbour, and addresses within a sample of its routes.

    An address represents a route only if that route is its longest match. Addresses behind a tunnel are excluded: those
    are the phase ``tunnels``'. Raises Mismatch (3) when a port has no other.
    """
    neighbours = _neighbours(plan)
    longer = registry.controller(plan.forwarding.dataplane).kernel_ipsec
    return _targets(neighbours, _Table(routes, plan.forwarding.tunnels, longer=longer), seed, plan.port_owner)


def way_to(plan: ClusterPlan, address: str) -> tuple[int, str] | None:
    """(external port, MAC of the neighbour) that packets to ``address`` leave by, without routes of a file."""
    table = _Table([*plan.routes.connected, *plan.routes.static])
    found = table.longest_match(ipaddress.IPv4Address(address))
    near = _neighbours(plan).get(found) if found else None
    return None if found is None or near is None or near.mac is None else (found[0], near.mac)


def behind_tunnel(plan: ClusterPlan, tunnel: Tunnel, choose: random.Random) -> str:
    """An address that this tunnel is for, and no longer route or tunnel; the first one of a prefix where none fits."""
    table = _Table([*plan.routes.connected, *plan.routes.static], plan.forwarding.tunnels, longer=True)
    own = [ipaddress.IPv4Network(prefix) for prefix in tunnel.prefixes]
    others = [ipaddress.IPv4Network(prefix) for each in plan.forwarding.tunnels for prefix in each.prefixes]
    for _ in range(_TRIES):
        network = choose.choice(own)
        for address in _candidates(network, choose):
            longest = max((net for net in others if address in net), key=lambda net: net.prefixlen)
            if longest in own and table.tunnelled(address) and not _special(address):
                return str(address)
    return str(own[0].network_address + 1)


def _special(address: _Address) -> bool:
    return address.is_multicast or address.is_loopback or address.is_link_local or address.is_reserved


def _neighbours(plan: ClusterPlan) -> dict[tuple[int, int], Adjacency]:
    """By external port and index."""
    return {
        (port.id, adjacency.index): adjacency
        for server in plan.servers
        for port in server.ports
        if port.id is not None
        for adjacency in port.adjacencies
    }


def _targets(
    neighbours: Mapping[tuple[int, int], Adjacency], table: _Table, seed: int, ports: Iterable[int] = ()
) -> dict[int, tuple[Destination, ...]]:
    choose = random.Random(seed)  # noqa: S311  a repeatable sample, no secret
    out: dict[int, tuple[Destination, ...]] = {}
    for number in {port for port, _ in neighbours} | set(ports):
        known = [
            Destination(a.address, a.mac) for (port, _), a in sorted(neighbours.items()) if port == number and a.mac
        ]
        own = [target for target in known if not table.tunnelled(ipaddress.ip_address(target.address))]
        behind = table.of_port(number)
        choose.shuffle(behind)
        out[number] = tuple(_with_routes(own, behind, table, neighbours, choose))
        if known and not out[number]:
            raise Mismatch(
                f"all addresses behind external port {number} are in tunnels: nothing of it can be tested in the clear",
                code="selftest.only-tunnels",
                hint="exclude a neighbour of the port from the tunnels' `prefixes`",
            )
    return out


def _with_routes(
    own: list[Destination],
    behind: list[Route],
    table: _Table,
    neighbours: Mapping[tuple[int, int], Adjacency],
    choose: random.Random,
) -> list[Destination]:
    found = own[:PER_PORT]
    for route in behind:
        if len(found) >= PER_PORT:
            break
        neighbour = neighbours.get((route.port, route.adjacency))
        network = ipaddress.ip_network(route.prefix)
        if neighbour is None or neighbour.mac is None or not _sendable(network):
            continue
        for address in _candidates(network, choose):
            target = Destination(str(address), neighbour.mac)
            fits = table.longest_match(address) == (route.port, route.adjacency) and not table.tunnelled(address)
            if target not in found and fits:
                found.append(target)
                break
    return found


def _sendable(network: _Network) -> bool:
    return not (network.is_multicast or network.is_loopback or network.is_link_local)


def _candidates(network: _Network, choose: random.Random) -> list[_Address]:
    size = network.num_addresses
    offsets = [choose.randrange(size), size - 1, 0] if size <= 2 else [choose.randrange(1, size - 1), size - 2, 1]  # noqa: PLR2004
    return [network.network_address + offset for offset in dict.fromkeys(offsets)]


class _Table:
    """Longest-prefix match by length over the planned routes, independent of the data plane's table."""

    def __init__(self, routes: Iterable[Route], tunnels: Iterable[Tunnel] = (), *, longer: bool = False) -> None:
        """``longer``: a route that is longer than a tunnel's prefix stands before it."""
        self._longer = longer
        self._tunnelled = [ipaddress.IPv4Network(prefix) for tunnel in tunnels for prefix in tunnel.prefixes]
        self._lengths: dict[int, dict[int, tuple[int, int]]] = {}
        self._ports: dict[int, list[Route]] = {}
        for route in routes:
            address, _, length = route.prefix.partition("/")
            base = ipaddress.IPv6Address(address) if ":" in address else ipaddress.IPv4Address(address)
            place = self._lengths.setdefault(int(length or base.max_prefixlen), {})
            place[int(base)] = (route.port, route.adjacency)
            if route.adjacency != PUNT:
                self._ports.setdefault(route.port, []).append(route)

    def of_port(self, port: int) -> list[Route]:
        """The routes out of a port, in the order given."""
        return list(self._ports.get(port, ()))

    def tunnelled(self, address: _Address) -> bool:
        """Whether packets to ``address`` are encrypted at their input port."""
        inside = max((network.prefixlen for network in self._tunnelled if address in network), default=-1)
        return inside >= (self._longest(address)[0] if self._longer and inside >= 0 else 0)

    def longest_match(self, address: _Address) -> tuple[int, int] | None:
        """(port, adjacency) of the longest prefix that holds ``address``."""
        return self._longest(address)[1]

    def _longest(self, address: _Address) -> tuple[int, tuple[int, int] | None]:
        """With its length; 0 where there is none."""
        value = int(address)
        for length in sorted(self._lengths, reverse=True):
            mask = ((1 << length) - 1) << (address.max_prefixlen - length)
            found = self._lengths[length].get(value & mask)
            if found is not None:
                return length, found
        return 0, None
