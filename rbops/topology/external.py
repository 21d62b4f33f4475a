"""External ports: addresses, neighbours and the routes that leave through them.

What the spec leaves out comes from ``rbops.spec.addressing``. Networks never overlap: a generated
one that would lie in a network of the user's moves to the next free place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import numpy as np

from rbops.errors import Diagnostic, SpecError
from rbops.plan import PUNT, Adjacency, Route, Routes
from rbops.spec.addressing import GENERATED_SPACE, generated_mac, generated_networks
from rbops.spec.document import Spec
from rbops.spec.ports import Neighbor, PortSpec
from rbops.spec.source import Path
from rbops.spec.words6 import is_ipv6

__all__ = ["External", "externals", "routes", "shadowed"]

_HOST = 32
_LENGTH_BITS, _LENGTH_MASK = 6, 63


@dataclass(frozen=True, slots=True)
class External:
    """An external port's addresses: ``address`` is the router's own, with the network's length."""

    id: int
    address: IPv4Interface
    adjacencies: tuple[Adjacency, ...]


def externals(spec: Spec) -> tuple[External, ...]:
    """All external ports in order, with the neighbours that only routes and sessions name added (their MAC unknown).

    Raises SpecError when networks overlap, or a route's next hop is on none of them.
    """
    count = spec.router.external_ports
    given = {port.id: (index, port) for index, port in enumerate(spec.ports)}
    generated = generated_networks(count, _given_networks(spec))
    ports: list[External] = []
    for port in range(count):
        index, wish = given.get(port, (-1, PortSpec(port)))
        if wish.address is not None:
            ports.append(External(port, IPv4Interface(wish.address), _adjacencies(wish.neighbors or ())))
            continue
        if port not in generated:
            text = f"all of {GENERATED_SPACE} is taken by the given networks, none is left to generate"
            wrong = spec.source.mistake(("ports", max(index, 0)), text, code="plan.no-free-network")
            raise SpecError([wrong])
        network = generated[port]
        own = IPv4Interface((int(network.network_address) + 1, network.prefixlen))
        ports.append(
            External(port, own, _adjacencies(_generated(port, network) if wish.neighbors is None else wish.neighbors))
        )
    return _with_next_hops(spec, ports)


def routes(spec: Spec, ports: Sequence[External]) -> Routes:
    """Connected, local and static routes; those of a file by its path and digest.

    Every port has its network and its own address (both to the owner's kernel) and a host route
    per neighbour with a known MAC, which spares those packets the kernel. Where the data plane follows the kernel,
    it learns the other MACs too.
    """
    connected: list[Route] = []
    for port in ports:
        if port.address.network.prefixlen < _HOST:
            connected.append(Route(str(port.address.network), port.id, PUNT, None))
        connected.append(Route(f"{port.address.ip}/32", port.id, PUNT, None))
        connected += [
            Route(f"{near.address}/32", port.id, near.index, None)
            for near in port.adjacencies
            if near.mac or spec.routing
        ]
    hops = _hops(ports)
    own = {route.prefix for route in connected}
    static = tuple(
        Route(route.prefix, *hops[int(IPv4Address(route.via))], route.via)
        for route in spec.static_routes.values()
        if route.prefix not in own
    )
    file = spec.route_file
    count = len(connected) + len(static) + (len(file.columns) - len(shadowed(spec, ports)) if file else 0)
    return Routes(tuple(connected), static, file.path if file else None, file.sha256 if file else None, count)


def shadowed(spec: Spec, ports: Sequence[External]) -> dict[str, int]:
    """Prefix -> port of the user's routes that are not used, since a port's own network or address is the same."""
    own = {_packed(port.address.network): port.id for port in ports}
    own |= {_packed(IPv4Network(port.address.ip)): port.id for port in ports}
    own |= {_packed(IPv4Network(near.address)): port.id for port in ports for near in port.adjacencies if near.mac}
    if spec.route_file is None:
        found = [_packed(IPv4Network(route.prefix)) for route in spec.static_routes.values()]
        same = sorted(set(found) & own.keys())
    else:
        columns = spec.route_file.columns
        networks = np.frombuffer(columns.networks, dtype=np.uint32).astype(np.int64)
        packed = networks << _LENGTH_BITS | np.frombuffer(columns.lengths, dtype=np.uint8)
        same = np.intersect1d(packed, np.fromiter(own, np.int64, len(own))).tolist()
    return {str(IPv4Network((key >> _LENGTH_BITS, key & _LENGTH_MASK))): own[key] for key in same}


def _packed(network: IPv4Network) -> int:
    return int(network.network_address) << _LENGTH_BITS | network.prefixlen


def _given_networks(spec: Spec) -> dict[int, IPv4Network]:
    found: dict[int, IPv4Network] = {}
    wrong: list[Diagnostic] = []
    for index, port in enumerate(spec.ports):
        if port.address is None:
            continue
        network = IPv4Interface(port.address).network
        if _overlaps(network, found.values()):
            wrong.append(
                spec.source.mistake(
                    ("ports", index, "address"),
                    f"{network} overlaps another port's network",
                    "give every port a network of its own",
                    code="plan.overlapping-networks",
                )
            )
        found[port.id] = network
    if wrong:
        raise SpecError(wrong)
    return found


def _overlaps(network: IPv4Network, others: Iterable[IPv4Network]) -> bool:
    return any(network.overlaps(other) for other in others)


def _generated(port: int, network: IPv4Network) -> tuple[Neighbor, ...]:
    return (Neighbor(str(network.network_address + 2), generated_mac(port)),)


def _adjacencies(neighbors: Iterable[Neighbor]) -> tuple[Adjacency, ...]:
    return tuple(Adjacency(index, near.address, near.mac) for index, near in enumerate(neighbors, 1))


def _hops(ports: Iterable[External]) -> dict[int, tuple[int, int]]:
    """Next hop's address -> (port, adjacency)."""
    return {int(IPv4Address(near.address)): (port.id, near.index) for port in ports for near in port.adjacencies}


def _with_next_hops(spec: Spec, ports: list[External]) -> tuple[External, ...]:
    known = _hops(ports)
    own = {int(port.address.ip) for port in ports}
    lookup = _Networks(ports)
    added: dict[int, list[int]] = {}
    wrong: list[Diagnostic] = []
    for path, via, what in _vias(spec):
        if via in known:
            continue
        port = lookup.port_of(via)
        if port is None or via in own:
            problem = "is the router's own address" if via in own else "is not in the network of any external port"
            text = f"{what} {IPv4Address(via)} {problem}"
            wrong.append(spec.source.mistake(path, text, lookup.hint(), code="plan.next-hop"))
            continue
        known[via] = (port, 0)
        added.setdefault(port, []).append(via)
    if wrong:
        raise SpecError(wrong)
    return tuple(_extended(port, added.get(port.id, [])) for port in ports)


def _extended(port: External, vias: list[int]) -> External:
    if not vias:
        return port
    more = tuple(
        Adjacency(index, str(IPv4Address(via)), None) for index, via in enumerate(vias, len(port.adjacencies) + 1)
    )
    return External(port.id, port.address, port.adjacencies + more)


def _vias(spec: Spec) -> Iterable[tuple[Path, int, str]]:
    for index, near in enumerate(spec.routing.neighbors if spec.routing else ()):
        if near.address is None or is_ipv6(near.address):
            continue
        yield ("routing", "neighbors", index, "address"), int(IPv4Address(near.address)), "neighbour"
    for index, route in spec.static_routes.items():
        yield ("routes", index, "via"), int(IPv4Address(route.via)), "next hop"
    if spec.route_file is not None:
        for via in np.unique(np.frombuffer(spec.route_file.columns.vias, dtype=np.uint32)):
            yield ("routes", "file"), int(via), "next hop"


class _Networks:
    """Finds the port whose network holds an address."""

    __slots__ = ("_lengths", "_ports", "_sample")

    def __init__(self, ports: Sequence[External]) -> None:
        self._ports = {
            (int(port.address.network.network_address), port.address.network.prefixlen): port.id for port in ports
        }
        self._lengths = sorted({length for _, length in self._ports}, reverse=True)
        self._sample = ports[0]

    def port_of(self, address: int) -> int | None:
        for length in self._lengths:
            mask = (1 << _HOST) - (1 << (_HOST - length))
            port = self._ports.get((address & mask, length))
            if port is not None:
                return port
        return None

    def hint(self) -> str:
        near = self._sample.adjacencies
        example = near[0].address if near else str(self._sample.address.ip + 1)
        return f"write a neighbour's address, as {example} on port {self._sample.id}"
