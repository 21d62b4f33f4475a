"""The cluster as the simulator sees it: servers, directed links, and the links of each pair's route.

VLB runs over the logical full mesh of port servers. In a mesh each logical link is a cable (or some in
parallel); in a fly it is one round through the intermediate servers, and each pair of servers has
one route, chosen once, forwards or backwards, so that links have equally many (``rbops.topology.wiring``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rbops.plan import ClusterPlan

__all__ = ["Forwarder", "Network", "fly", "mesh", "network_of"]

Ints = npt.NDArray[np.int64]

_PATHS = 64
"""Ways through a fly, each direction, that are weighed for a pair of servers."""

_ATTEMPTS = 3

Routing = Literal["direct-vlb", "vlb"]


@dataclass(frozen=True, slots=True)
class Forwarder:
    """How servers forward: VLB's settings, cores, and what a server adds to the latency.

    ``server_s`` is the paper's four DMA transfers and the CPU (6.2); a frame also waits for ``batch``
    frames of its link, or for ``batch_timeout_s``. ``buffer_s`` is the longest queue of a link.
    """

    routing: Routing = "direct-vlb"
    direct_quota_bps: int = 0
    flowlet_timeout_s: float = 0.1
    cores: int = 1
    batch: int = 16
    batch_timeout_s: float = 12.8e-6
    server_s: float = 4 * 2.56e-6 + 0.8e-6
    buffer_s: float = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """``ends[l]`` the servers link l leads from and to; ``routes[a * M + b]`` its links from a to b, -1 for a == b.

    ``owners[p]`` is the server of external port p; port servers are 0 to M-1.
    """

    kind: Literal["mesh", "fly"]
    names: tuple[str, ...]
    owners: Ints
    line_rate_bps: int
    ends: Ints
    link_bps: Ints
    routes: Ints
    required_bps: int
    forwarder: Forwarder

    @property
    def port_servers(self) -> int:
        """M."""
        return int(self.owners.max()) + 1

    @property
    def ports(self) -> int:
        """N."""
        return len(self.owners)

    @property
    def quota_share(self) -> float:
        """The direct quota as a part of what the server with most ports takes in."""
        most = int(np.bincount(self.owners).max())
        return min(1.0, self.forwarder.direct_quota_bps / (most * self.line_rate_bps))

    def link_name(self, link: int) -> str:
        """``n0>n1``."""
        a, b = self.ends[link]
        return f"{self.names[a]}>{self.names[b]}"

    def with_forwarder(self, **changes: Any) -> Network:
        """The same network with other settings."""
        return replace(self, forwarder=replace(self.forwarder, **changes))


def mesh(
    servers: int, *, line_rate_bps: int, ports: int = 1, link_bps: int | None = None, forwarder: Forwarder | None = None
) -> Network:
    """A full mesh of ``servers`` with ``ports`` external ports each; links have the required rate unless given."""
    owners = np.repeat(np.arange(servers), ports)
    ends, routes = _mesh_routes(servers)
    required = -(-2 * ports * line_rate_bps // servers)
    rates = np.full(len(ends), required if link_bps is None else link_bps, dtype=np.int64)
    quota = ports * line_rate_bps // servers
    return Network(
        "mesh",
        tuple(f"n{index}" for index in range(servers)),
        owners,
        line_rate_bps,
        ends,
        rates,
        routes,
        required,
        forwarder or Forwarder(direct_quota_bps=quota),
    )


def fly(
    servers: int, fanouts: tuple[int, ...], *, line_rate_bps: int, link_bps: int, forwarder: Forwarder | None = None
) -> Network:
    """A fly of ``servers`` port servers, one external port each; see ``rbops.topology.wiring``."""
    ends, routes = _fly_routes(servers, fanouts)
    names = tuple(f"n{index}" for index in range(servers * len(fanouts)))
    quota = line_rate_bps // servers
    return Network(
        "fly",
        names,
        np.arange(servers),
        line_rate_bps,
        ends,
        np.full(len(ends), link_bps, dtype=np.int64),
        routes,
        link_bps,
        forwarder or Forwarder(direct_quota_bps=quota),
    )


def network_of(plan: ClusterPlan) -> Network:
    """The network of a plan; parallel cables between two servers of a mesh are one link of their summed rate."""
    servers = sorted(plan.servers, key=lambda server: server.index)
    index = {server.name: server.index for server in servers}
    owner = plan.port_owner
    owners = np.array([owner[port].index for port in sorted(owner)], dtype=np.int64)
    line_rate = max(port.rate_bps for server in servers for port in server.ports if port.kind == "external")
    count = plan.topology.port_servers
    cables: dict[tuple[int, int], int] = {}
    for link in plan.links:
        a, b = (index[end.partition(":")[0]] for end in (link.a, link.b))
        for pair in ((a, b), (b, a)):
            cables[pair] = cables.get(pair, 0) + link.rate_bps
    if plan.topology.kind == "mesh":
        ends, routes = _mesh_routes(count)
        rates = np.array([cables[a, b] for a, b in ends.tolist()], dtype=np.int64)
    else:
        fanouts = _fanouts(plan, index)
        ends, routes = _fly_routes(count, fanouts)
        rates = np.full(len(ends), min(link.rate_bps for link in plan.links), dtype=np.int64)
    forwarder = Forwarder(
        routing=plan.forwarding.routing,
        direct_quota_bps=plan.forwarding.direct_quota_bps,
        flowlet_timeout_s=plan.forwarding.flowlet_timeout_s,
        cores=max(1, min(len(server.cores.dataplane) for server in servers)),
        batch=servers[0].batching.nic,
        batch_timeout_s=servers[0].batching.timeout_s,
    )
    names = tuple(server.name for server in servers)
    required = plan.topology.internal_link.required_bps
    return Network(plan.topology.kind, names, owners, line_rate, ends, rates, routes, required, forwarder)


def _mesh_routes(servers: int) -> tuple[Ints, Ints]:
    ends = np.array([(a, b) for a in range(servers) for b in range(servers) if a != b], dtype=np.int64).reshape(-1, 2)
    routes = np.full((servers * servers, 1), -1, dtype=np.int64)
    routes[ends[:, 0] * servers + ends[:, 1], 0] = np.arange(len(ends))
    return ends, routes


def _fanouts(plan: ClusterPlan, index: dict[str, int]) -> tuple[int, ...]:
    """Cables per server between each column and the next, counted from the plan's cables."""
    count, columns = plan.topology.port_servers, plan.topology.stages + 1
    between = [0] * columns
    for link in plan.links:
        low, high = sorted(index[end.partition(":")[0]] // count for end in (link.a, link.b))
        between[columns - 1 if low == 0 and high == columns - 1 else low] += 1
    if columns == 2:  # noqa: PLR2004  both transitions join the same two columns, the wider one first
        total = sum(between) // count
        return total - total // 2, total // 2
    return tuple(cables // count for cables in between)


def _fly_routes(servers: int, fanouts: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Links (all cables forwards, then the same backwards) and one route for each pair of port servers.

    Routes are chosen one after the other so that the busiest link on the path has the fewest, and once more
    when all are there: with one route a pair that comes near the even spread that the links are made for.
    """
    columns = len(fanouts)
    first = np.concatenate(([0], np.cumsum(fanouts))) * servers
    total = int(first[-1])
    ends = np.empty((2 * total, 2), dtype=np.int64)
    for column, fanout in enumerate(fanouts):
        here = np.arange(servers * fanout)
        target = (column + 1) % columns * servers + here % servers
        ends[first[column] : first[column + 1]] = np.stack((column * servers + here // fanout, target), axis=1)
    ends[total:] = ends[:total, ::-1]
    routes = np.full((servers * servers, columns), -1, dtype=np.int64)
    load = np.zeros(2 * total, dtype=np.int64)
    source = np.arange(servers)
    for attempt in range(_ATTEMPTS):
        for distance in range(1, servers):
            target = (source + distance) % servers
            row = source * servers + target
            if attempt:
                np.subtract.at(load, routes[row], 1)
            ways = _paths(servers, fanouts, source, target)
            back = _paths(servers, fanouts, target, source)[:, :, ::-1] + total
            ways = np.concatenate((ways, back), axis=1)
            # Of equally good ways each server prefers another one.
            taste = (np.arange(ways.shape[1]) + source[:, None]) % ways.shape[1]
            busiest = np.sort(load[ways], axis=2)[:, :, ::-1].astype(np.float64)
            cost = busiest @ (float(servers * servers) ** -np.arange(columns)) + taste * 1e-12
            routes[row] = ways[source, np.argmin(cost, axis=1)]
            np.add.at(load, routes[row], 1)
    return ends, routes


def _paths(servers: int, fanouts: tuple[int, ...], source: Ints, target: Ints) -> Ints:
    """Forward links of some paths from each source to its target: [pair, path, column].

    A path is a number x below the product of the fan-outs with source * product + x = target modulo M;
    its digits are the ports to take (``rbops.topology.wiring``).
    """
    product = int(np.prod(fanouts))
    number = max(1, product // servers)
    count = min(number, _PATHS)
    x = ((target - source * product) % servers)[:, None] + np.arange(count) * number // count * servers
    links = np.empty((len(source), count, len(fanouts)), dtype=np.int64)
    node, begin = np.repeat(source[:, None], count, axis=1), 0
    for column, fanout in enumerate(fanouts):
        product //= fanout
        port = x // product % fanout
        links[:, :, column] = begin + node * fanout + port
        node = (fanout * node + port) % servers
        begin += servers * fanout
    return links
