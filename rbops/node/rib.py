"""The router's table as the kernel has it, and where each route of it leads.

The kernel says nothing of many changes: IPv4 routes vanish with their link or next-hop object, without a message of
their own. So messages about links, next hops, addresses and neighbours count like those about routes, and all that
hangs on them is derived again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from rbops.common.hops import KERNEL, Hop, Near, Spread
from rbops.node.rtnetlink import KEY, Address, Bulk, Change, Link, Message, Neighbor, NextHopObject, Path, Route
from rbops.node.several import insert, joined, without
from rbops.node.ways import Ports, Ways

__all__ = ["Rib"]

_HOST = 32


class Rib:
    """The kernel's table, kept by :meth:`take`. ``changed`` are keys to look at again, ``doubts`` what did not fit.

    ``ways`` says where a route leads, and what is odd about it.
    """

    def __init__(self, ports: Ports, family: int = 4) -> None:
        self.family = family
        self._host, self._shift = KEY[family]
        self._ports = ports
        self.routes: dict[int, Route | tuple[Route, ...]] = {}
        self.objects: dict[int, NextHopObject] = {}
        self.links: dict[int, Link] = {}
        self.neighbors: dict[tuple[int, int], bytes] = {}
        self.fixed: set[tuple[int, int]] = set()
        self.addresses: set[tuple[int, int]] = set()
        self.changed: set[int] = set()
        self.lost_links: set[int] = set()
        self.doubts = 0
        self._stale = False
        self._hops: dict[Route, Hop | None] = {}
        self.ways = Ways(ports, self.links, self.objects, self.routes, family)
        self._hosts: dict[int, Near] = {}
        self._own: set[int] = set()
        self._near: set[int] = set()

    # What the kernel says.

    def take(self, message: Message, *, dumped: bool = False) -> None:
        """Let the table be as it is after ``message``; of a dump, routes come in the kernel's order.

        What is of the other family does nothing.
        """
        if isinstance(message, Change | Bulk | Address | Neighbor) and message.family != self.family:
            return
        match message:
            case Change():
                self._take_route(message.key, message.route, "appended" if dumped else message.how)
            case Bulk():
                self._take_routes(message.keys, message.route, "appended" if dumped else message.how)
            case Link():
                self._take_link(message)
            case NextHopObject():
                self._take_object(message)
            case Address() if not _is_link_local(message.address):
                item = (message.device, message.address)
                if message.gone:
                    self.addresses.discard(item)
                else:
                    self.addresses.add(item)
                self._stale = True
            case Neighbor():
                place = message.device, message.address
                if message.mac is None:
                    self.neighbors.pop(place, None)
                else:
                    self.neighbors[place] = message.mac
                (self.fixed.add if message.fixed and message.mac else self.fixed.discard)(place)
                self._stale = self._stale or self._external(message.device) is not None

    def _take_routes(self, keys: list[int], route: Route, how: str) -> None:
        """The same of many prefixes: most are new, or have that one route."""
        routes = self.routes
        if how != "gone" and routes.keys().isdisjoint(keys):
            routes.update(dict.fromkeys(keys, route))
            self.changed.update(keys)
            return
        for key in keys:
            have = routes.get(key)
            if how == "gone" and have is route:
                del routes[key]
                self.changed.add(key)
            elif how == "replaced" and isinstance(have, Route) and have.place == route.place:
                routes[key] = route
                self.changed.add(key)
            else:
                self._take_route(key, route, how)

    def _take_route(self, key: int, route: Route, how: str) -> None:
        self.changed.add(key)
        have = self.routes.get(key)
        if have is None:
            if how != "gone":
                self.routes[key] = route
            elif self.family == 4 or not all(self._is_down(path.device) for path in route.paths):  # noqa: PLR2004
                # IPv6 routes have a message each when their link goes down; that was taken by the link's.
                self.doubts += 1
            return
        several = list(have) if isinstance(have, tuple) else [have]
        if how == "gone":
            gone = next((at for at, other in enumerate(several) if other.like(route)), None)
            if gone is None and (self.family == 4 or not without(several, route)):  # noqa: PLR2004
                self.doubts += 1
                return
            if gone is not None:
                del several[gone]
        elif self.family == 4 or not joined(several, route):  # noqa: PLR2004
            insert(several, route, how)
        self._put(key, several)

    def _put(self, key: int, several: list[Route]) -> None:
        if len(several) > 1:
            self.routes[key] = tuple(several)
        elif several:
            self.routes[key] = several[0]
        else:
            self.routes.pop(key, None)

    def _take_link(self, link: Link) -> None:
        before = self.links.get(link.index)
        if link.gone:
            self.links.pop(link.index, None)
        else:
            self.links[link.index] = link
        if before is not None and before.up and (link.gone or not link.up):
            self.lost_links.add(link.index)
        self._stale = self._stale or link != before

    def _take_object(self, item: NextHopObject) -> None:
        if item.gone:
            self._forget(item.number)
            self._drop(partial(_uses, item.number))
        else:
            self.objects[item.number] = item
        self._stale = True

    def _forget(self, gone: int) -> None:
        """A next-hop object is no more; groups go on without it, and end with their last."""
        self.objects.pop(gone, None)
        for number, other in list(self.objects.items()):
            if any(member == gone for member, _ in other.group):
                left = tuple(entry for entry in other.group if entry[0] != gone)
                self.objects[number] = replace(other, group=left)
                if not left:
                    self._forget(number)
                    self._drop(partial(_uses, number))

    @property
    def pending(self) -> bool:
        """Whether :meth:`derive` has something to say."""
        return self._stale or bool(self.changed)

    def drop_lost(self, *, keep: Callable[[tuple[Path, ...]], bool]) -> set[int]:
        """Forget the routes that the kernel dropped with a link that went down; returns the keys of those to ``keep``.

        They are not in ``changed``: what the data plane has of them stays until something is said of them.
        """
        if not self.lost_links:
            return set()
        lost, before = self.lost_links, set(self.changed)

        def vanished(route: Route) -> bool:
            paths = self.ways.paths(route)
            return bool(paths) and all(path.device in lost or self._is_down(path.device) for path in paths)

        held = self._drop(lambda route: vanished(route) and keep(self.ways.paths(route)))
        self.changed.difference_update(held - before)
        self._drop(vanished)
        for number, item in list(self.objects.items()):
            if item.path is not None and item.path.device in lost:
                self._forget(number)
        self.lost_links = set()
        return held

    def _is_down(self, device: int) -> bool:
        link = self.links.get(device)
        return link is None or not link.up

    def _drop(self, which: Callable[[Route], bool]) -> set[int]:
        """Take routes out; returns their keys, which are in ``changed`` then."""
        distinct = {route for have in self.routes.values() for route in (have if isinstance(have, tuple) else (have,))}
        chosen = {route for route in distinct if which(route)}
        if not chosen:
            return set()
        found = set()
        for key, have in list(self.routes.items()):
            several = have if isinstance(have, tuple) else (have,)
            if any(route in chosen for route in several):
                self._put(key, [route for route in several if route not in chosen])
                found.add(key)
        self.changed |= found
        return found

    # Where it leads.

    def derive(self) -> list[tuple[Hop | None, list[int]]]:
        """The prefixes that may have changed since the last call, by where they lead; None: nowhere."""
        if self._stale or (self.ways.recursive and self.changed):
            self._derive_again()
        if self._stale or self._concerns_hosts():
            self._find_hosts()
        self._stale = False
        keys, self.changed = self.changed, set()
        return self.by_hop(keys)

    def by_hop(self, keys: set[int]) -> list[tuple[Hop | None, list[int]]]:
        """Prefixes by where they lead; a route that many have is looked at once."""
        own = {self.key(address, self._host) for address in self._own}
        special = keys & (own | self._hosts.keys())
        groups: dict[int, list[int]] = {}
        rest = keys - special if special else keys
        for key, have in zip(rest, map(self.routes.get, rest), strict=True):
            group = groups.get(id(have))
            if group is None:
                groups[id(have)] = [key]
            else:
                group.append(key)
        found: dict[Hop | None, list[int]] = {}
        for some in (*groups.values(), *([key] for key in special)):
            found.setdefault(self.hop(some[0]), []).extend(some)
        return list(found.items())

    def _concerns_hosts(self) -> bool:
        """Whether a prefix that changed may cover a neighbour: of IPv6 they are few, and looked for each time."""
        if self.family != 4:  # noqa: PLR2004
            return bool(self.changed and self._near)
        near = any(key >> 22 in self._near for key in self.changed) if len(self.changed) < 10_000 else bool(self._near)  # noqa: PLR2004 - longer than to do it
        return near or any(key & 63 <= 16 for key in self.changed)  # noqa: PLR2004 - covers many /16s

    def settle(self) -> None:
        """Derive everything, where nobody wants to know what changed."""
        self.derive()

    def hop(self, key: int) -> Hop | None:
        """Where packets for a prefix go; None where it is not in the table."""
        if key >> self._shift in self._own and self.length(key) == self._host:
            return KERNEL
        have = self.routes.get(key)
        if have is None:
            return self._hosts.get(key)
        for route in have if isinstance(have, tuple) else (have,):
            found = self._hops.get(route, self)
            if found is self:
                found = self._hops[route] = self.ways.resolve(route)
            if found is not None:
                return found  # type: ignore[return-value]
        return self._hosts.get(key)

    def _derive_again(self) -> None:
        """Every distinct route once more; the prefixes of those that lead elsewhere now have changed."""
        self.ways.recursive.clear()
        moved = set()
        for route, before in list(self._hops.items()):
            self.ways.reasons.pop(route, None)
            now = self._hops[route] = self.ways.resolve(route)
            if now != before:
                moved.add(route)
        if not moved:
            return
        for key, have in self.routes.items():
            if have in moved if not isinstance(have, tuple) else any(route in moved for route in have):
                self.changed.add(key)

    def _find_hosts(self) -> None:
        """The server's own addresses, and neighbours in connected networks: entries besides the table's."""
        own = {address for _, address in self.addresses}
        hosts: dict[int, Near] = {}
        for device, address in self.neighbors:
            port = self._external(device)
            if port is None or address in own or _is_link_local(address):
                continue
            covering = self._covering(address)
            if covering is not None and any(path.device == device and path.gateway is None for path in covering.paths):
                hosts[self.key(address, self._host)] = Near(port, address)
        mine = {address for device, address in self.addresses if self._external(device) is not None}
        self.changed |= {self.key(address, self._host) for address in mine ^ self._own}
        self.changed |= hosts.keys() ^ self._hosts.keys()
        self._hosts, self._own = hosts, mine
        self._near = {key >> self._shift >> 16 for key in hosts} | {
            address >> 16 for device, address in self.neighbors if self._external(device) is not None
        }

    def _covering(self, address: int) -> Route | None:
        for length in range(self._host - 1, -1, -1):
            have = self.routes.get(self.key(address, length))
            if have is not None:
                return have[0] if isinstance(have, tuple) else have
        return None

    def _external(self, device: int) -> int | None:
        link = self.links.get(device)
        return None if link is None else self._ports.external.get(link.name)

    def is_host(self, key: int) -> bool:
        """Whether a prefix is a neighbour in a connected network, found besides the table's."""
        return key in self._hosts

    def near_hops(self) -> set[Near]:
        """Every neighbour that routes lead to."""
        found: set[Near] = set()
        for hop in self._hops.values():
            found |= (
                {member for member, _ in hop.members if isinstance(member, Near)}
                if isinstance(hop, Spread)
                else {hop}
                if isinstance(hop, Near)
                else set()
            )
        return found

    def longest(self, address: int) -> tuple[int, Hop] | None:
        """(key, hop) that decides about an address."""
        for length in range(self._host, -1, -1):
            key = self.key(address, length)
            hop = self.hop(key)
            if hop is not None:
                return key, hop
        return None

    def key(self, address: int, length: int) -> int:
        """A prefix that holds ``address``, as one number."""
        rest = self._host - length
        return (address >> rest << rest) << self._shift | length

    def length(self, key: int) -> int:
        """A prefix' length."""
        return key & ((1 << self._shift) - 1)

    def network(self, key: int) -> int:
        """A prefix' address."""
        return key >> self._shift

    def prefix(self, key: int) -> str:
        """``198.18.0.0/24``."""
        address = IPv4Address(self.network(key)) if self._host == _HOST else IPv6Address(self.network(key))
        return f"{address}/{self.length(key)}"

    def all(self) -> set[int]:
        """Every key that may lead somewhere."""
        return {*self.routes, *self._hosts, *(self.key(address, self._host) for address in self._own)}


def _uses(number: int, route: Route) -> bool:
    return route.next_hop == number


def _is_link_local(address: int) -> bool:
    """fe80::/10: on each link for itself, in no table."""
    return address >> 118 == 0x3FA  # noqa: PLR2004
