"""Several routes to one prefix, in the kernel's order: how a message changes them."""

from __future__ import annotations

from dataclasses import replace

from rbops.node.rtnetlink import Route

__all__ = ["insert", "joined", "without"]


def insert(several: list[Route], route: Route, how: str) -> None:
    """In the kernel's order: by type of service and metric, of equals the last added first, or last if appended."""
    equal = [at for at, other in enumerate(several) if other.place == route.place]
    if how == "replaced" and equal:
        several[equal[0]] = route
        return
    if how == "appended":
        at = next((at for at, other in enumerate(several) if other.place > route.place), len(several))
    else:
        at = next((at for at, other in enumerate(several) if other.place >= route.place), len(several))
    several.insert(at, route)


def joined(several: list[Route], route: Route) -> bool:
    """Put an IPv6 route in the place of the one of which it is all paths now: the kernel says them all each time."""
    if route.next_hop or not route.paths or any(path.gateway is None for path in route.paths):
        return False
    for at, other in enumerate(several):
        if other.place == route.place and other.kind == route.kind and not other.next_hop:
            several[at] = route
            return True
    return False


def without(several: list[Route], route: Route) -> bool:
    """Take paths out of an IPv6 multipath route: of one that is deleted the kernel says that one alone."""
    gone = {(path.device, path.gateway) for path in route.paths}
    for at, other in enumerate(several):
        have = {(path.device, path.gateway) for path in other.paths}
        if other.place != route.place or not gone <= have:
            continue
        left = tuple(path for path in other.paths if (path.device, path.gateway) not in gone)
        if left:
            several[at] = replace(other, paths=left)
        else:
            del several[at]
        return True
    return False
