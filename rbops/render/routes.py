"""``routes.csv``: connected, static and file routes in one order."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.errors import UsageError, Where
from rbops.plan import PUNT, ClusterPlan, Route

__all__ = ["Table", "table"]

HEADER = "prefix,port,adjacency,via"

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The cluster's routes: as text, and by columns, row i of each one route (``values``: port << 16 | adjacency).

    ``routes6``: IPv6's, each as network, length and value.
    """

    csv: bytes
    count: int
    networks: Array
    lengths: Array
    values: Array
    routes6: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Columns:
    """Row i of each is one route; ``hop`` counts into the distinct (port, adjacency, via)."""

    networks: Array
    lengths: Array
    hops: Array


def table(plan: ClusterPlan) -> Table:
    """Merge and sort by address, then length. A neighbour whose MAC only the owner's kernel can find is punted.

    Where a prefix is named twice, connected goes before static, static before the file.
    UsageError (2) when the route file changed since it was planned.
    """
    # A data plane that follows the kernel learns the MACs that are not planned.
    late = None if plan.routing is None else ""
    known = {
        (port.id, near.index): near.mac or late for s in plan.servers for port in s.ports for near in port.adjacencies
    }
    hops: dict[tuple[int, int, str], int] = {}
    own = _few((*plan.routes.connected, *plan.routes.static), known, hops)
    parts = [own] if plan.routes.file is None else [own, _from_file(plan, known, hops)]
    merged = _first_of_each(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("networks", "lengths", "hops"))
    )
    values = np.array([port << 16 | adjacency for port, adjacency, _ in hops], np.uint32)
    tails = [f",{port},{adjacency},{via}\n" for port, adjacency, via in hops]
    lines6, routes6 = _ipv6(plan)
    return Table(
        csv=_text(merged, tails) + lines6,
        count=len(merged.networks) + len(routes6),
        networks=merged.networks,
        lengths=merged.lengths,
        values=values[merged.hops],
        routes6=routes6,
    )


def _ipv6(plan: ClusterPlan) -> tuple[bytes, tuple[tuple[int, int, int], ...]]:
    """The lines of IPv6 routes, and the routes. As of IPv4, but few: each for itself."""
    if plan.ipv6 is None:
        return b"", ()
    late = None if plan.routing is None else ""
    known = {(port.port, near.index): near.mac or late for port in plan.ipv6.ports for near in port.adjacencies}
    found: dict[IPv6Network, Route] = {}
    for route in (*plan.ipv6.connected, *plan.ipv6.static):
        found.setdefault(IPv6Network(route.prefix), route)
    lines, routes = [], []
    for network, route in sorted(found.items()):
        adjacency = PUNT if known.get((route.port, route.adjacency)) is None else route.adjacency
        lines.append(f"{network},{route.port},{adjacency},{route.via or ''}\n")
        routes.append((int(network.network_address), network.prefixlen, route.port << 16 | adjacency))
    return "".join(lines).encode(), tuple(routes)


def _few(
    routes: tuple[Route, ...], known: dict[tuple[int | None, int], str | None], hops: dict[tuple[int, int, str], int]
) -> _Columns:
    networks = [IPv4Network(route.prefix) for route in routes]
    return _Columns(
        np.array([int(network.network_address) for network in networks], np.uint32),
        np.array([network.prefixlen for network in networks], np.uint8),
        np.array([_hop(route.port, route.adjacency, route.via or "", known, hops) for route in routes], np.int64),
    )


def _hop(
    port: int,
    adjacency: int,
    via: str,
    known: dict[tuple[int | None, int], str | None],
    hops: dict[tuple[int, int, str], int],
) -> int:
    if adjacency != PUNT and known.get((port, adjacency)) is None:
        adjacency = PUNT
    return hops.setdefault((port, adjacency, via), len(hops))


def _from_file(
    plan: ClusterPlan, known: dict[tuple[int | None, int], str | None], hops: dict[tuple[int, int, str], int]
) -> _Columns:
    from rbops.spec.routefile import read_route_file

    path = str(plan.routes.file)
    read, errors = read_route_file(Path(path), None)
    if read is None:
        raise UsageError("\n".join(error.render() for error in errors), code="render.route-file")
    if read.sha256 != plan.routes.file_digest:
        raise UsageError(
            "the file was changed since it was planned",
            hint="plan again",
            code="render.route-file-changed",
            where=Where(file=str(path)),
        )
    adjacencies = {
        near.address: (port.id, near.index) for s in plan.servers for port in s.ports for near in port.adjacencies
    }
    vias, positions = np.unique(np.frombuffer(read.columns.vias, np.uint32), return_inverse=True)
    numbers = []
    for number in vias:
        via = str(IPv4Address(int(number)))
        place = adjacencies.get(via)
        if place is None or place[0] is None:
            raise UsageError(
                f"next hop {via} is not a neighbour of any port",
                code="render.next-hop",
                where=Where(file=str(path)),
            )
        numbers.append(_hop(place[0], place[1], via, known, hops))
    return _Columns(
        np.frombuffer(read.columns.networks, np.uint32),
        np.frombuffer(read.columns.lengths, np.uint8),
        np.array(numbers, np.int64)[positions.reshape(-1)],
    )


def _first_of_each(networks: Array, lengths: Array, hops: Array) -> _Columns:
    key = networks.astype(np.int64) << 6 | lengths
    _, first = np.unique(key, return_index=True)
    return _Columns(networks[first], lengths[first], hops[first])


def _text(columns: _Columns, tails: list[str]) -> bytes:
    octets = [str(number) for number in range(256)]
    lines = [
        f"{octets[a]}.{octets[b]}.{octets[c]}.{octets[d]}/{length}{tails[hop]}"
        for a, b, c, d, length, hop in zip(
            *((columns.networks >> shift & 255).tolist() for shift in (24, 16, 8, 0)),
            columns.lengths.tolist(),
            columns.hops.tolist(),
            strict=True,
        )
    ]
    return (HEADER + "\n" + "".join(lines)).encode()
