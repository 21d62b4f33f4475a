"""Where a route of the kernel leads: port and adjacency, several of them, or an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from rbops.common.hops import BLACKHOLE, KERNEL, UNREACHABLE, Answer, Far, Hop, Near, Spread
from rbops.node.rtnetlink import KEY, Link, NextHopObject, Path, Route

__all__ = ["Ports", "Ways", "address_text", "text_of"]

_UNICAST, _LOCAL, _BROADCAST, _BLACKHOLE, _UNREACHABLE, _PROHIBIT, _THROW = 1, 2, 3, 6, 7, 8, 9
_ANSWERS = {_LOCAL: KERNEL, _BROADCAST: KERNEL, _THROW: UNREACHABLE}
_ANSWERS |= {_BLACKHOLE: BLACKHOLE, _UNREACHABLE: UNREACHABLE, _PROHIBIT: UNREACHABLE}
_HOST = 32
_DEEP = 4


@dataclass(frozen=True, slots=True)
class Ports:
    """The data ports by device name: ``external`` -> port of the router, ``internal``; and who owns which port.

    ``far`` reads a made-up next hop of an internal port: (port, adjacency), None for any other address.
    """

    external: Mapping[str, int]
    internal: frozenset[str]
    owners: tuple[int, ...]
    server: int
    far: Callable[[int], tuple[int, int] | None]
    ipv6: bool = False
    """Whether the router forwards IPv6."""
    unnamed: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """Ports with a neighbour that is known by its port alone -> link-local addresses of others there."""


class Ways:
    """Finds where routes lead. ``reasons``: what of a route is odd; ``recursive``: those that hang on other routes.

    ``links``, ``objects`` and ``routes`` are the :class:`rbops.node.rib.Rib`'s own.
    """

    def __init__(
        self,
        ports: Ports,
        links: Mapping[int, Link],
        objects: Mapping[int, NextHopObject],
        routes: Mapping[int, Route | tuple[Route, ...]],
        family: int = 4,
    ) -> None:
        self._bits, self._shift = KEY[family]
        self._ports, self._links, self._objects, self._routes = ports, links, objects, routes
        self.reasons: dict[Route, str] = {}
        self.recursive: set[Route] = set()

    def paths(self, route: Route) -> tuple[Path, ...]:
        """A route's paths, those of its next-hop object included."""
        if not route.next_hop:
            return route.paths
        return tuple(path for path, _ in self._members(route.next_hop, 0))

    def _members(self, number: int, depth: int) -> Iterator[tuple[Path, int]]:
        item = self._objects.get(number)
        if item is None or depth > _DEEP:
            return
        if item.path is not None:
            yield item.path, 1
        for member, weight in item.group:
            for path, _ in self._members(member, depth + 1):
                yield path, weight

    def resolve(self, route: Route) -> Hop | None:
        """Where it leads. None where the route is not the router's; the reason of what is odd is kept."""
        if route.kind != _UNICAST:
            return _ANSWERS[route.kind]
        if route.odd:
            self.reasons[route] = route.odd
            return None
        if not route.next_hop:
            return self._resolve_paths(route, [(path, path.weight) for path in route.paths])
        item = self._objects.get(route.next_hop)
        if item is None:
            return self._by_kernel(route, f"next-hop object {route.next_hop} is not known")
        if item.blackhole:
            return BLACKHOLE
        return self._resolve_paths(route, list(self._members(route.next_hop, 0)))

    def _resolve_paths(self, route: Route, paths: list[tuple[Path, int]]) -> Hop | None:
        found: dict[Near | Far | Answer, int] = {}
        down: set[Near | Far | Answer] = set()
        foreign = 0
        for path, weight in paths:
            link = self._links.get(path.device)
            if link is None or (link.name not in self._ports.external and link.name not in self._ports.internal):
                foreign += 1
                name = link.name if link else f"device {path.device}"
                self.reasons[route] = f"leads through {name}, which is no data port"
                continue
            hop = self._resolve_path(route, path, link)
            found[hop] = found.get(hop, 0) + weight
            if not link.carrier and isinstance(hop, Near):
                down.add(hop)
        if not found:
            if not foreign:
                return self._by_kernel(route, "has no next hop")
            return None
        if len(found) == 1:
            return next(iter(found))
        return Spread(
            tuple(sorted(found.items(), key=repr)), frozenset(down) if len(down) < len(found) else frozenset()
        )

    def _resolve_path(self, route: Route, path: Path, link: Link) -> Near | Far | Answer:
        other = path.gateway is not None and path.gateway >> 32 == 0 and self._bits != _HOST
        if path.odd or other:
            return self._by_kernel(route, path.odd or "next hop of another family")
        port = self._ports.external.get(link.name)
        if port is not None:
            return Answer("kernel", port) if path.gateway is None else Near(port, path.gateway)
        if path.gateway is None:
            return self._by_kernel(route, f"leads to {link.name} without a next hop")
        far = self._ports.far(path.gateway)
        if far is None:
            return self._recurse(route, path.gateway)
        if far[0] >= len(self._ports.owners) or self._ports.owners[far[0]] == self._ports.server:
            return self._by_kernel(route, f"leads to port {far[0]}, which is not another server's")
        return Far(*far)

    def _recurse(self, route: Route, gateway: int) -> Near | Far | Answer:
        """A gateway behind the fabric that is no made-up one: where the table says it is."""
        self.recursive.add(route)
        # A next hop of the other family is in the other table, which does not say what it hangs on.
        for length in range(self._bits, -1, -1) if gateway >> self._bits == 0 else ():
            rest = self._bits - length
            have = self._routes.get((gateway >> rest << rest) << self._shift | length)
            for other in (have if isinstance(have, tuple) else (have,)) if have is not None else ():
                far = self._ports.far(other.paths[0].gateway) if other.paths and other.paths[0].gateway else None
                if far is not None and far[0] < len(self._ports.owners):
                    return Far(*far)
        return self._by_kernel(route, f"next hop {address_text(gateway)} is behind no port")

    def _by_kernel(self, route: Route, reason: str) -> Answer:
        """A route that only the kernel can follow: it gets the packets."""
        self.reasons[route] = reason
        return KERNEL


def address_text(address: int) -> str:
    """``198.18.0.2`` or ``2001:db8::2``."""
    return str(IPv6Address(address) if address >> 32 else IPv4Address(address))


def text_of(hop: Hop | None) -> str:
    """A hop in words."""
    match hop:
        case None:
            return "no route"
        case Near(port, address):
            return f"port {port} to {address_text(address)}"
        case Far(port, adjacency):
            return f"port {port} adjacency {adjacency}"
        case Answer(kind, port):
            return kind if port is None else f"{kind}, for a neighbour on port {port}"
        case Spread(members, down):
            return "spread over " + ", ".join(
                f"{text_of(m)} x{w}" + (" (down)" if m in down else "") for m, w in members
            )
