"""The kernel's routes behind the fabric outlive a cable: they go by another internal port while theirs is dead.

The kernel drops every IPv4 route through a device that goes down, without a word, though the fabric has other paths.
Any other server forwards a frame for the port that its destination MAC names, so the route is put back through the
first internal port that has a carrier; when the cable is back, so is the route. A cable that only loses its carrier
takes no route away, but whoever follows one loses his packets: such routes are moved too, and those that somebody
writes over that port later.
"""

from __future__ import annotations

import socket
from dataclasses import replace

from rbops.common.fabric import fabric_mac
from rbops.node.devices import TABLE
from rbops.node.rib import Rib
from rbops.node.rtnetlink import Path, Route
from rbops.node.rtsocket import neighbor_message, no_neighbor_message, route_message
from rbops.node.ways import Ports

__all__ = ["Detour"]


class Detour:
    """Remembers which routes were moved, and where they come from."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._home: dict[int, dict[Route, Route]] = {}
        self._internal: frozenset[int] = frozenset()
        self._dead: frozenset[int] = frozenset()
        self._made: set[tuple[int, int]] = set()
        self._state: tuple[tuple[int, bool], ...] = ()

    def is_behind_fabric(self, paths: tuple[Path, ...]) -> bool:
        """Whether all of a route's paths lead over internal ports."""
        return bool(paths) and all(path.device in self._internal for path in paths)

    def move(self, rib: Rib) -> int:
        """Have the kernel move routes off dead internal ports, and back; returns how many."""
        state = tuple(
            sorted((link.index, link.carrier) for link in rib.links.values() if link.name in self._ports.internal)
        )
        if state == self._state:
            return 0
        self._dead = frozenset(index for index, carrier in state if not carrier)
        self._internal = frozenset(index for index, _ in state)
        first, self._state = not self._state, state
        requests: list[bytes] = []
        moved = self._away(rib, list(rib.routes), requests)
        if not first:
            moved += self._back(rib, set(self._internal - self._dead), requests)
        _send(requests)
        return moved

    def move_changed(self, rib: Rib) -> int:
        """Of what changed, have the kernel move what leads over dead internal ports; returns how many."""
        requests: list[bytes] = []
        moved = self._away(rib, list(rib.changed), requests) if self._dead else 0
        _send(requests)
        return moved

    def _away(self, rib: Rib, keys: list[int], requests: list[bytes]) -> int:
        alive = self._internal - self._dead
        if not self._dead or not alive:
            return 0
        dead, other, count = self._dead, min(alive), 0
        for key in keys:
            have = rib.routes.get(key, ())
            for route in have if isinstance(have, tuple) else (have,):
                if not self.is_behind_fabric(route.paths) or not any(path.device in dead for path in route.paths):
                    continue
                paths = tuple(replace(path, device=other) if path.device in dead else path for path in route.paths)
                new = replace(route, paths=tuple(replace(path, down=False) for path in paths))
                self._made |= {(other, path.gateway) for path in route.paths if path.device in dead and path.gateway}
                for path in paths:
                    self._neighbor(path, requests)
                requests.append(route_message(key, new, TABLE, rib.family))
                self._home.setdefault(key, {}).setdefault(new, route)
                count += 1
        return count

    def _back(self, rib: Rib, alive: set[int], requests: list[bytes]) -> int:
        count = 0
        for key, homes in list(self._home.items()):
            for new, route in list(homes.items()):
                if not all(path.device in alive for path in route.paths):
                    continue
                del homes[new]
                have = rib.routes.get(key, ())
                for path in route.paths:
                    self._neighbor(path, requests)
                if any(other.like(new) for other in (have if isinstance(have, tuple) else (have,))):
                    requests.append(
                        route_message(
                            key,
                            replace(route, paths=tuple(replace(p, down=False) for p in route.paths)),
                            TABLE,
                            rib.family,
                        )
                    )
                    count += 1
            if not homes:
                del self._home[key]
        if not self._home:
            requests += [no_neighbor_message(device, address) for device, address in self._made]
            self._made.clear()
        return count

    def _neighbor(self, path: Path, requests: list[bytes]) -> None:
        """The made-up next hop, on the port that stands in."""
        far = None if path.gateway is None else self._ports.far(path.gateway)
        if far is not None and path.gateway is not None:
            mac = bytes.fromhex(fabric_mac(*far).replace(":", ""))
            message = neighbor_message(path.device, path.gateway, mac)
            if message not in requests[-1:]:
                requests.append(message)


def _send(requests: list[bytes]) -> None:
    """Without waiting for answers: what the kernel did of it, it says to all."""
    if not requests:
        return
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        for request in requests:
            link.send(request)
