"""``/etc/rbops/node.json``: one server's part of the plan, in the words of the kernel."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbops.errors import UsageError
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
    routes: Mapping[str, Any]
    files: Mapping[str, str]
    owners: tuple[int, ...]
    index: Mapping[str, int]
    port_servers: frozenset[int]
    peers: Mapping[int, Mapping[int, str]]


def cluster(plan: ClusterPlan, digest: str, routes: Mapping[str, Any], files: Mapping[str, str]) -> Cluster:
    """``routes`` and ``files`` are the values for the table and the data plane's files."""
    index = {server.name: server.index for server in plan.servers}
    owner = {port: server.index for server in plan.servers for port in server.external_ports}
    peers = {server.index: _peers(server, index) for server in plan.servers}
    role = frozenset(server.index for server in plan.servers if server.role == "port")
    return Cluster(plan, digest, routes, files, tuple(owner[port] for port in sorted(owner)), index, role, peers)


def node_json(server: Server, shared: Cluster, click: ClickFiles | None = None) -> bytes:
    """One server's file: a line for each part and each port, so that people can read and compare it.

    ``click``: what was rendered for the Click data plane.
    """
    ports = [_port(port, server, shared) for port in server.ports]
    head = {
        "schema_version": 1,
        "cluster": shared.plan.name,
        "digest": shared.digest,
        "server": server.name,
        "index": server.index,
        "cores": {"dataplane": list(server.cores.dataplane), "housekeeping": list(server.cores.housekeeping)},
    }
    host = None if click is None else _host(server)
    tail = {
        **server_settings(server),
        **kernel(server),
        "sysctl": sysctl(server, host["device"] if host else None, sockets=shared.plan.forwarding.on_sockets),
        "routes": shared.routes,
        **({"host": host} if host else {}),
        "dataplane": _dataplane(server, shared) | ({} if click is None else _click(server, shared, click)),
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(' "ports": [\n' + ",\n".join(f"  {json.dumps(port)}" for port in ports) + "\n ]")
    lines += [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in tail.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _port(port: Port, server: Server, shared: Cluster) -> dict[str, Any]:
    internal = port.kind == "internal"
    click = shared.plan.forwarding.dataplane == "click"
    own: dict[str, Any] = {"name": port.name, "kind": port.kind}
    if internal:
        own |= {"peer": port.peer, "peer_server": _peer(port, shared.index)}
    else:
        own |= {"id": port.id}
    return own | {
        "select": _select(port),
        "driver": port.driver,
        "mtu": port.mtu,
        "rate_bps": port.rate_bps,
        # Frames on internal links carry fabric MACs, which are no device's own.
        "promiscuous": internal or click,
        "arp": not internal and not click,
        # Click's host interface has them.
        "addresses": [] if click else list(port.addresses),
        "neighbors": [{"index": a.index, "address": a.address, "mac": a.mac} for a in port.adjacencies],
        "queues": [{"index": q.index, "rx_core": q.rx_core, "tx_core": q.tx_core} for q in port.queues],
        **device_settings(port, server),
        "rss": None if port.driver == "veth" or len(port.queues) == 1 else _spread(port, server),
        "steering": [{"mac": s.mac, "queue": s.queue} for s in server.steering if s.port == port.name],
        **({"closed": True} if click else {}),
    }


def _select(port: Port) -> dict[str, str]:
    selector = port.selector
    for kind, value in (("pci", selector.pci), ("mac", selector.mac), ("name", selector.name)):
        if value is not None:
            return {kind: value.lower() if kind != "name" else value}
    return {"name": port.name}


def _spread(port: Port, server: Server) -> int:
    """Over how many of the port's queues frames are spread: one a core, where transmit rings by CPU id make more."""
    cores = len({queue.rx_core for queue in port.queues})
    return min(cores, server.nic(port.driver).rss_queues or cores)


def intermediates(me: int, shared: Cluster) -> list[int]:
    """The servers of VLB's rotation, in order: port servers linked to ``me``, beginning behind it.

    Were the first the same for all, bursts that begin together would meet there (``rbops.vlb.model``).
    """
    linked = (index for index in shared.peers[me] if index in shared.port_servers)
    return sorted(linked, key=lambda index: (index < me, index))


def _host(server: Server) -> dict[str, Any]:
    """The interface between Click and this server's kernel, which has the router's addresses."""
    return {
        "device": HOST_DEVICE,
        "mac": HOST_MAC,
        "mtu": min(port.mtu for port in server.ports),
        "addresses": [f"{address.partition('/')[0]}/32" for port in server.ports for address in port.addresses],
    }


def _click(server: Server, shared: Cluster, click: ClickFiles) -> dict[str, Any]:
    """What rbops-node needs besides: how Click runs here, and what stands where in its configuration."""
    dialect = shared.plan.forwarding.click_dialect
    return {
        "dialect": dialect,
        "prefix": shared.plan.forwarding.click_prefix,
        "package": shared.plan.forwarding.click_package,
        "elements": list(click.elements),
        "ipsec_keys": list(click.key_files),
        "config": click.config,
        "config_sha256": click.sha256,
        "marker": click.marker,
        "unit": UNIT,
        "command": list(click.command),
        "control": CONTROL,
        "threads": [{"cpu": core.cpu, "thread": core.thread} for core in click.cores],
        "parameters": click.parameters,
        "defaults": click.defaults,
        "queues": {port.name: [cpu.rx_core for cpu in port.queues] for port in server.ports},
    }


def _dataplane(server: Server, shared: Cluster) -> dict[str, Any]:
    forwarding = shared.plan.forwarding
    me = server.index
    return {
        "kind": forwarding.dataplane,
        **shared.files,
        "server": me,
        "servers": len(shared.plan.servers),
        "cores": list(server.cores.dataplane),
        "routing": forwarding.routing,
        "flowlet_timeout_s": forwarding.flowlet_timeout_s,
        "direct_quota_bps": forwarding.direct_quota_bps,
        "ports": [_dataplane_port(port, shared) for port in server.ports],
        "owners": list(shared.owners),
        "next_hop": {str(owner): port for owner, port in sorted(next_hops(me, shared).items())},
        "intermediates": intermediates(me, shared),
        "adjacencies": [
            {"port": port.id, "index": near.index, "mac": near.mac}
            for port in server.ports
            for near in port.adjacencies
            if near.mac is not None
        ],
    }


def _dataplane_port(port: Port, shared: Cluster) -> dict[str, Any]:
    own: dict[str, Any] = {"name": port.name, "kind": port.kind}
    own |= {"id": port.id} if port.kind == "external" else {"peer_server": _peer(port, shared.index)}
    return own | {"rate_bps": port.rate_bps}


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
