"""What an operator asks of the router's table: how many routes, and which are not in the data plane as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rbops.node.rib import Rib
from rbops.node.rtnetlink import Route
from rbops.node.ways import address_text

__all__ = ["Unresolved", "described", "distinct", "route_text", "unresolved"]

_WORDS = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw", 2: "local", 3: "broadcast"}


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A route that the data plane does not have as it is: what it does with the packets, and why."""

    prefix: str
    route: str
    reason: str


def distinct(rib: Rib) -> Iterator[tuple[Route, int]]:
    """Every route that prefixes have, and how many have it; a route may come several times."""
    have = rib.routes.values()
    # By identity: a million routes are few objects, and comparing them takes long.
    objects = dict(zip(map(id, have), have, strict=True))
    for number, count in Counter(map(id, have)).items():
        found = objects[number]
        for route in found if isinstance(found, tuple) else (found,):
            yield route, count


def unresolved(rib: Rib, most: int = 100) -> tuple[int, list[Unresolved]]:
    """How many routes the data plane has not as they are, and the first of them."""
    reasons = rib.ways.reasons
    count = sum(count for route, count in distinct(rib) if route in reasons) if reasons else 0
    found: list[Unresolved] = []
    for key, have in rib.routes.items():
        if len(found) >= min(count, most):
            break
        for route in have if isinstance(have, tuple) else (have,):
            if route in reasons and len(found) < most:
                found.append(Unresolved(rib.prefix(key), described(rib, route), reasons[route]))
    return count, found


def described(rib: Rib, route: Route) -> str:
    """A route as ``ip route`` has it, about."""
    parts = [_WORDS[route.kind]] if route.kind in _WORDS else []
    if route.next_hop:
        parts.append(f"nhid {route.next_hop}")
    for path in rib.ways.paths(route):
        other = "inet6 " if path.gateway is not None and path.gateway >> 32 and rib.family == 4 else ""  # noqa: PLR2004
        via = "" if path.gateway is None else f"via {other}{address_text(path.gateway)} "
        link = rib.links.get(path.device)
        parts.append(
            f"{via}dev {link.name if link else path.device}"
            + (f" weight {path.weight}" if len(route.paths) > 1 else "")
        )
    parts.append(f"proto {route.protocol}")
    if route.metric:
        parts.append(f"metric {route.metric}")
    return " ".join(parts)


def route_text(rib: Rib, key: int) -> str | None:
    """The kernel's routes to a prefix, the one that counts first."""
    have = rib.routes.get(key)
    if have is None:
        return "neighbour in a connected network" if rib.is_host(key) else "this server's own address"
    return "; ".join(described(rib, route) for route in (have if isinstance(have, tuple) else (have,)))
