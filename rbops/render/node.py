"""``/etc/rbops/node.json``: one server's part of the plan, in the words of the kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from rbops.dataplane.click.config import ClickConfig, Thread
from rbops.dataplane.xdp.config import XdpConfig
from rbops.errors import UsageError
from rbops.node.schema import (
    Adjacency,
    Fabric,
    FabricPort,
    HostInterface,
    Neighbor,
    NodeConfig,
    NodePort,
    PlannedFile,
    Queue,
    RouteTable,
)
from rbops.plan import ClusterPlan, Port, Server
from rbops.render.click.command import CONTROL
from rbops.render.click.files import UNIT, ClickFiles
from rbops.render.click.router import HOST_DEVICE, HOST_MAC
from rbops.render.kernel import kernel
from rbops.render.nic import device_settings, server_settings
from rbops.render.sysctl import sysctl

__all__ = ["Cluster", "cluster", "intermediates", "next_hops", "node_json"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What every server's file says alike, computed once."""

    plan: ClusterPlan
    digest: str
    routes: RouteTable
    files: Mapping[str, PlannedFile]
    owners: tuple[int, ...]
    index: Mapping[str, int]
    port_servers: frozenset[int]
    peers: Mapping[int, Mapping[int, str]]


def cluster(plan: ClusterPlan, digest: str, routes: RouteTable, files: Mapping[str, PlannedFile]) -> Cluster:
    """``routes`` and ``files`` are the values for the table and the data plane's files."""
    index = {server.name: server.index for server in plan.servers}
    owner = {port: server.index for server in plan.servers for port in server.external_ports}
    peers = {server.index: _peers(server, index) for server in plan.servers}
    role = frozenset(server.index for server in plan.servers if server.role == "port")
    return Cluster(plan, digest, routes, files, tuple(owner[port] for port in sorted(owner)), index, role, peers)


def node_json(server: Server, shared: Cluster, click: ClickFiles | None = None) -> bytes:
    """One server's file; ``click``: what was rendered for the Click data plane."""
    host = None if click is None else _host(server)
    config = NodeConfig(
        cluster=shared.plan.name,
        digest=shared.digest,
        server=server.name,
        index=server.index,
        cores=server.cores.dataplane,
        housekeeping=server.cores.housekeeping,
        ports=tuple(_port(port, server, shared) for port in server.ports),
        userspace=server_settings(server),
        kernel=kernel(server),
        sysctl=sysctl(server, host.device if host else None, sockets=shared.plan.forwarding.on_sockets),
        routes=shared.routes,
        host=host,
        dataplane=_xdp(server, shared) if click is None else _click(server, shared, click),
    )
    return config.to_text().encode()


def _port(port: Port, server: Server, shared: Cluster) -> NodePort:
    internal = port.kind == "internal"
    click = shared.plan.forwarding.dataplane == "click"
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
        # Frames on internal links carry fabric MACs, which are no device's own.
        promiscuous=internal or click,
        arp=not internal and not click,
        # Click's host interface has them.
        addresses=() if click else port.addresses,
        neighbors=tuple(Neighbor(a.index, a.address, a.mac) for a in port.adjacencies),
        queues=tuple(Queue(q.index, q.rx_core, q.tx_core) for q in port.queues),
        nic=device_settings(port, server),
        closed=click,
    )


def _select(port: Port) -> tuple[str, str]:
    selector = port.selector
    for kind, value in (("pci", selector.pci), ("mac", selector.mac), ("name", selector.name)):
        if value is not None:
            return kind, value.lower() if kind != "name" else value
    return "name", port.name


def intermediates(me: int, shared: Cluster) -> list[int]:
    """The servers of VLB's rotation, in order: port servers linked to ``me``, beginning behind it.

    Were the first the same for all, bursts that begin together would meet there (``rbops.vlb.model``).
    """
    linked = (index for index in shared.peers[me] if index in shared.port_servers)
    return sorted(linked, key=lambda index: (index < me, index))


def _host(server: Server) -> HostInterface:
    """The interface between Click and this server's kernel, which has the router's addresses."""
    return HostInterface(
        HOST_DEVICE,
        HOST_MAC,
        min(port.mtu for port in server.ports),
        tuple(f"{address.partition('/')[0]}/32" for port in server.ports for address in port.addresses),
    )


def _xdp(server: Server, shared: Cluster) -> XdpConfig:
    return XdpConfig(_fabric(server, shared), shared.files["object"], shared.files["fib"])


def _click(server: Server, shared: Cluster, click: ClickFiles) -> ClickConfig:
    """What rbops-node needs besides: how Click runs here, and what stands where in its configuration."""
    forwarding = shared.plan.forwarding
    return ClickConfig(
        fabric=_fabric(server, shared),
        library=shared.files["library"],
        dialect=forwarding.click_dialect,
        prefix=forwarding.click_prefix,
        package=forwarding.click_package,
        elements=click.elements,
        ipsec_keys=click.key_files,
        config=PlannedFile(click.config, click.sha256),
        marker=click.marker,
        unit=UNIT,
        command=click.command,
        control=CONTROL,
        threads=tuple(Thread(core.cpu, core.thread) for core in click.cores),
        parameters=click.parameters,
        defaults=click.defaults,
        queues={port.name: tuple(cpu.rx_core for cpu in port.queues) for port in server.ports},
    )


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
        ports=tuple(_fabric_port(port, shared) for port in server.ports),
        owners=shared.owners,
        next_hop=dict(sorted(next_hops(me, shared).items())),
        intermediates=tuple(intermediates(me, shared)),
        adjacencies=tuple(
            Adjacency(port.id, near.index, near.mac)
            for port in server.ports
            for near in port.adjacencies
            if port.id is not None and near.mac is not None
        ),
    )


def _fabric_port(port: Port, shared: Cluster) -> FabricPort:
    peer = _peer(port, shared.index) if port.kind == "internal" else None
    return FabricPort(port.name, port.kind, port.rate_bps, port.id, peer)


def _peer(port: Port, index: Mapping[str, int]) -> int:
    name = (port.peer or "").partition(":")[0]
    if name not in index:
        raise UsageError(f"internal port {port.name} has no peer in the plan")
    return index[name]


def _peers(server: Server, index: Mapping[str, int]) -> dict[int, str]:
    """Linked server -> own port; the first of parallel cables."""
    found: dict[int, str] = {}
    for port in server.ports:
        if port.kind == "internal":
            found.setdefault(_peer(port, index), port.name)
    return found


def next_hops(me: int, shared: Cluster) -> dict[int, str]:
    """Every server that owns ports -> own port on a shortest way to it; in a mesh the direct link."""
    wanted = set(shared.owners) - {me}
    found = {server: port for server, port in shared.peers[me].items() if server in wanted}
    if len(found) == len(wanted):
        return found
    first = dict(shared.peers[me])
    queue = deque(sorted(first))
    while queue:
        here = queue.popleft()
        for there in sorted(shared.peers[here]):
            if there not in first and there != me:
                first[there] = first[here]
                queue.append(there)
    lost = sorted(wanted - first.keys())
    if lost:
        raise UsageError(f"the plan's links give server {me} no way to server {lost[0]}")
    return {server: first[server] for server in wanted}
