"""``/etc/rbops/node.json``: one server's part of the plan, in the words of the kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rbops.common.sysctls import tunnel_sysctls
from rbops.dataplane.base import Rendering
from rbops.errors import UsageError
from rbops.node.schema import (
    Adjacency,
    Fabric,
    FabricPort,
    Neighbor,
    NodeConfig,
    NodePort,
    Queue,
    RouteTable,
    Rule,
)
from rbops.node.schema.ipsec import TunnelConfig
from rbops.plan import Adjacency as PlannedAdjacency
from rbops.plan import ClusterPlan, Port, Server
from rbops.render.exporter import node_part as exporter_part
from rbops.render.files import File
from rbops.render.ipsec import node_part as tunnels_part
from rbops.render.kernel import kernel
from rbops.render.nic import rules, spread, userspace
from rbops.render.paths import neighbors
from rbops.render.sflow import node_part as sflow_part
from rbops.render.speaking import node_part
from rbops.render.sysctl import sysctl

__all__ = ["Cluster", "cluster", "intermediates", "next_hops", "server_files"]

_NODE = "/etc/rbops/node.json"
_ESP, _ESP_IN_UDP = "ip/50", "udp/4500"
_BY_IKE = (_ESP, _ESP_IN_UDP, "udp/500")
_DUMMY = "192.0.0.8"
"""The source of ICMP errors on a server without an address of the router (RFC 7600, 4.8)."""
_DUMMY6 = "100::1"
"""The same of IPv6: nothing answers there (RFC 6666)."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What every server's file says alike, computed once."""

    plan: ClusterPlan
    digest: str
    routes: RouteTable
    rendering: Rendering
    owners: tuple[int, ...]
    index: Mapping[str, int]
    port_servers: frozenset[int]
    peers: Mapping[int, Mapping[int, str]]
    towards: Mapping[int, Mapping[int, int]]
    """Of a fly: owner of ports -> every other server -> its neighbour on the way there."""


def cluster(plan: ClusterPlan, digest: str, routes: RouteTable, rendering: Rendering) -> Cluster:
    """``rendering`` is the data plane's."""
    index = {server.name: server.index for server in plan.servers}
    owner = {port: server.index for server in plan.servers for port in server.external_ports}
    peers = {server.index: _peers(server, index) for server in plan.servers}
    role = frozenset(server.index for server in plan.servers if server.role == "port")
    owners = tuple(owner[port] for port in sorted(owner))
    towards = _towards(plan, index, frozenset(owners))
    return Cluster(plan, digest, routes, rendering, owners, index, role, peers, towards)


def server_files(server: Server, shared: Cluster) -> tuple[File, ...]:
    """node.json of one server, and the data plane's own files there."""
    part = shared.rendering.server(server, _fabric(server, shared))
    steering, tunnels = rules(server), tunnels_part(shared.plan, server)
    config = NodeConfig(
        cluster=shared.plan.name,
        digest=shared.digest,
        server=server.name,
        index=server.index,
        cores=server.cores.dataplane,
        housekeeping=server.cores.housekeeping,
        ports=tuple(
            shared.rendering.port(server, _port(port, server, shared, steering.get(port.name, ())))
            for port in server.ports
        ),
        userspace=userspace(server),
        kernel=kernel(server),
        sysctl=sysctl(server, {**part.sysctl, **_tunnel_sysctls(tunnels)}, ipv6=shared.plan.ipv6 is not None),
        routes=shared.routes,
        host=part.host,
        separation=shared.plan.forwarding.separation,
        services=_services(shared.plan, tunnels),
        routing=node_part(shared.plan, server),
        exporter=exporter_part(shared.plan),
        sflow=sflow_part(shared.plan),
        ipsec=tunnels,
        dataplane=part.config,
    )
    return File(_NODE, config.to_text().encode()), *part.files


def _tunnel_sysctls(config: TunnelConfig | None) -> dict[str, str]:
    """As of ports: what comes out of a tunnel has its way back where it has it."""
    devices = [] if config is None else [tunnel.device for tunnel in config.tunnels if tunnel.encrypts]
    return {key: value for device in devices for key, value in tunnel_sysctls(device).items()}


def _services(plan: ClusterPlan, config: TunnelConfig | None) -> tuple[str, ...] | None:
    """Where there are tunnels ESP is one that listens, in UDP or by itself; IKE chooses between them."""
    allowed = plan.forwarding.services
    found: set[str] = set()
    for each in () if config is None else config.tunnels:
        found |= {_ESP_IN_UDP if each.udp else _ESP} if each.ike is None else set(_BY_IKE) if each.own else set()
    forms = sorted(found)
    return (*allowed, *(form for form in forms if form not in allowed))


def _port(port: Port, server: Server, shared: Cluster, steering: tuple[Rule, ...]) -> NodePort:
    internal = port.kind == "internal"
    return NodePort(
        name=port.name,
        kind=port.kind,
        id=port.id,
        peer=port.peer,
        peer_server=_peer(port, shared.index) if internal else None,
        select=_select(port),
        driver=port.driver,
        mtu=port.mtu,
        rate_bps=port.rate_bps,
        # Frames on internal links carry fabric MACs, which belong to no device.
        promiscuous=internal,
        arp=not internal,
        addresses=(*((_own_address(server),) if internal else port.addresses), *_addresses6(port, server, shared.plan)),
        neighbors=tuple(Neighbor(a.index, a.address, a.mac) for a in _adjacencies(port, shared.plan)),
        queues=tuple(Queue(q.index, q.rx_core, q.tx_core) for q in port.queues),
        nic=server.nic(port.driver),
        rss=spread(port, server),
        steering=steering,
    )


def _own_address(server: Server) -> str:
    """What internal ports have: without an address of the router the kernel's ICMP errors about packets that came over
    the fabric would carry the management's.
    """
    own = (address.partition("/")[0] for port in server.ports for address in port.addresses)
    return f"{next(own, _DUMMY)}/32"


def _addresses6(port: Port, server: Server, plan: ClusterPlan) -> tuple[str, ...]:
    """Internal ports have the server's first one, as of IPv4."""
    if plan.ipv6 is None:
        return ()
    if port.kind == "external":
        own = plan.ipv6.port(port.id)
        return () if own is None else (own.address,)
    first = next((found for number in server.external_ports if (found := plan.ipv6.port(number))), None)
    return (f"{_DUMMY6 if first is None else first.address.partition('/')[0]}/128",)


def _adjacencies(port: Port, plan: ClusterPlan) -> tuple[PlannedAdjacency, ...]:
    own = plan.ipv6.port(port.id) if plan.ipv6 is not None and port.id is not None else None
    return port.adjacencies if own is None else (*port.adjacencies, *own.adjacencies)


def _select(port: Port) -> tuple[str, str]:
    selector = port.selector
    for kind, value in (("pci", selector.pci), ("mac", selector.mac), ("name", selector.name)):
        if value is not None:
            return kind, value.lower() if kind != "name" else value
    return "name", port.name


def intermediates(me: int, shared: Cluster) -> list[int]:
    """The servers of VLB's rotation, in order: port servers linked to ``me``, beginning behind it.

    Where servers are more than one cable apart all that have ports. Were the first the same for all, bursts that begin
    together would meet there (``rbops.vlb.model``).
    """
    linked = [index for index in shared.peers[me] if index in shared.port_servers]
    others = set(shared.owners) - {me} if shared.towards else linked
    return sorted(others, key=lambda index: (index < me, index))


def _fabric(server: Server, shared: Cluster) -> Fabric:
    forwarding = shared.plan.forwarding
    me = server.index
    return Fabric(
        server=me,
        servers=len(shared.plan.servers),
        cores=server.cores.dataplane,
        routing=forwarding.routing,
        flowlet_timeout_s=forwarding.flowlet_timeout_s,
        direct_quota_bps=forwarding.direct_quota_bps,
        probe_interval_s=forwarding.probe_interval_s,
        probe_multiplier=forwarding.probe_multiplier,
        ports=tuple(_fabric_port(port, shared) for port in server.ports),
        owners=shared.owners,
        next_hop=dict(sorted(next_hops(me, shared).items())),
        intermediates=tuple(intermediates(me, shared)),
        adjacencies=tuple(
            Adjacency(port.id, near.index, near.mac)
            for port in server.ports
            for near in _adjacencies(port, shared.plan)
            if port.id is not None and near.mac is not None
        ),
        relays=bool(shared.towards),
    )


def _fabric_port(port: Port, shared: Cluster) -> FabricPort:
    peer = _peer(port, shared.index) if port.kind == "internal" else None
    return FabricPort(port.name, port.kind, port.rate_bps, port.id, peer)


def _peer(port: Port, index: Mapping[str, int]) -> int:
    name = (port.peer or "").partition(":")[0]
    if name not in index:
        raise UsageError(f"internal port {port.name} has no peer in the plan", code="render.no-peer")
    return index[name]


def _peers(server: Server, index: Mapping[str, int]) -> dict[int, str]:
    """Linked server -> own port; the first of parallel cables."""
    found: dict[int, str] = {}
    for port in server.ports:
        if port.kind == "internal":
            found.setdefault(_peer(port, index), port.name)
    return found


def next_hops(me: int, shared: Cluster) -> dict[int, str]:
    """Every server that owns ports -> own port on a shortest path to it; in a mesh the direct link."""
    wanted = sorted(set(shared.owners) - {me})
    direct = shared.peers[me]
    if not shared.towards:
        return {server: direct[server] for server in wanted}
    lost = [server for server in wanted if me not in shared.towards[server]]
    if lost:
        raise UsageError(f"the plan's links have no path from server {me} to server {lost[0]}", code="render.no-path")
    return {server: direct[shared.towards[server][me]] for server in wanted}


def _towards(plan: ClusterPlan, index: Mapping[str, int], owners: frozenset[int]) -> dict[int, dict[int, int]]:
    """Owner of ports -> every other server -> its neighbour on the way there; nothing where all are neighbours."""
    cables: dict[int, Counter[int]] = {
        server.index: Counter(_peer(port, index) for port in server.ports if port.kind == "internal")
        for server in plan.servers
    }
    if all(owners - {server} <= linked.keys() for server, linked in cables.items()):
        return {}
    return neighbors(cables, owners)
