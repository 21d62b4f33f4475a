"""Which IPv6 route of the kernel decides about an address, what it means, and what the data plane does.

The same answer as ``fib.trace`` gives for IPv4. IPv6 routes are static: they are read when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from rbops.dataplane.base import RouteTable
from rbops.errors import CheckFailed
from rbops.node.devices import TABLE
from rbops.node.fabric import adjacency_of6
from rbops.node.system import System
from rbops.node.ways import Ports

__all__ = ["longest", "meaning", "trace6"]

_SHOW = ("ip", "-6", "-json", "-N", "route", "show", "table", str(TABLE))


def trace6(table: RouteTable, address: int, system: System) -> dict[str, Any]:
    """CheckFailed (1) where the kernel's routes cannot be listed."""
    done = system.run(_SHOW)
    if done.returncode:
        raise CheckFailed(f"ip route show: {done.stderr.strip()}", code="node.ip")
    found = longest(json.loads(done.stdout or "[]"), IPv6Address(address))
    result: dict[str, Any] = {"address": str(IPv6Address(address)), "prefix": None, "route": None, "hop": "no route"}
    if found is not None:
        network, route = found
        result |= {"prefix": str(network), "route": _text(route), "hop": meaning(route, table.ports)}
    return {**result, "data_plane": table.get6(address)}


def longest(routes: Iterable[dict[str, Any]], address: IPv6Address) -> tuple[IPv6Network, dict[str, Any]] | None:
    """The route with the longest prefix, of equals the one with the lowest metric."""
    best: tuple[tuple[int, int], IPv6Network, dict[str, Any]] | None = None
    for route in routes:
        text = str(route.get("dst", ""))
        network = IPv6Network("::/0" if text == "default" else text)
        rank = (network.prefixlen, -int(route.get("metric", 0)))
        if address in network and (best is None or rank > best[0]):
            best = rank, network, route
    return None if best is None else (best[1], best[2])


def _text(route: dict[str, Any]) -> str:
    """As ``ip route`` has it, without the prefix."""
    words = [str(route["type"])] if route.get("type", "unicast") not in ("unicast", "1", 1) else []
    words += [
        f"{word} {route[key]}"
        for word, key in (("via", "gateway"), ("dev", "dev"), ("src", "prefsrc"))
        if route.get(key)
    ]
    return " ".join(words)


def meaning(route: dict[str, Any], ports: Ports) -> str:
    """What a route means for the router."""
    if str(route.get("type", "unicast")) in ("local", "2"):
        return "this server's kernel"
    device, gateway = str(route.get("dev", "")), route.get("gateway")
    if device in ports.external:
        where = f"port {ports.external[device]}"
        return f"{where}, neighbour {gateway}" if gateway else f"{where}, found by the kernel"
    far = adjacency_of6(int(IPv6Address(gateway))) if gateway and device in ports.internal else None
    if far is None:
        return "not the router's"
    port, adjacency = far
    owner = f"server {ports.owners[port]}, port {port}"
    return f"{owner}, adjacency {adjacency}" if adjacency else f"{owner}, its kernel"
