"""From a server of the plan to the values of its Click configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rbops.common.fabric import fabric_mac
from rbops.dataplane.click.controller.hops import Outputs
from rbops.dataplane.click.controller.model import (
    Adjacent,
    Association,
    Batching,
    Core,
    Device,
    Hop,
    Router,
    Thread,
    UserClass,
)
from rbops.errors import UsageError
from rbops.node.schema import Fabric
from rbops.plan import PUNT, ClusterPlan, Fragment, Port, Server

__all__ = ["HOST_DEVICE", "HOST_MAC", "first_cpu", "router"]

HOST_DEVICE = "rbops0"
HOST_MAC, _HOST_PEER = "02:53:ff:ff:ff:01", "02:53:ff:ff:ff:00"
USER_CLASS = "Fragment"
_DESCRIPTORS, _QUEUE = 1024, 1024
_SPI_SERVERS = 256
_HALVES = ("0.0.0.0/1", "128.0.0.0/1")
_DPDK = ("dpdk", "fastclick")


def router(plan: ClusterPlan, server: Server, numbers: Outputs, fabric: Fabric) -> Router:
    """The configuration of ``server``, whose ``fabric`` says how others are reached."""
    dialect = plan.forwarding.click_dialect
    cores = _cores(server, dialect)
    ports = tuple(_device(port, number, server, cores, dialect) for number, port in enumerate(server.ports))
    known = dict(zip((port.name for port in server.ports), ports, strict=True))
    links = tuple(known[port.name] for port in server.ports if port.kind == "internal")
    owner = {port: holder.index for port, holder in plan.port_owner.items()}
    external = tuple(known[port.name] for port in server.ports if port.kind == "external")
    return Router(
        cluster=plan.name,
        server=server.name,
        index=server.index,
        application=plan.forwarding.application,
        dialect=dialect,
        cores=cores,
        ports=ports,
        externals=external,
        links=links,
        hops=tuple(_hops(plan, server, numbers, known)),
        adjacencies=tuple(
            Adjacent(port.id or 0, near.index, near.mac) for port in server.ports for near in port.adjacencies
        ),
        threads=tuple(_threads(ports, cores, dialect, plan.forwarding.fragment)),
        batching=_batching(server),
        address=next((device.arp for device in external if device.arp), "0.0.0.0"),  # noqa: S104 - no address at all
        owners=" ".join(str(owner[port]) for port in sorted(owner)),
        via=" ".join(":".join(map(str, (to, *outputs))) for to, outputs in sorted(_ways(fabric).items())),
        intermediates=" ".join(map(str, fabric.intermediates)),
        relays=fabric.relays,
        routing=plan.forwarding.routing,
        quota_bps=plan.forwarding.direct_quota_bps,
        flowlet_ms=round(plan.forwarding.flowlet_timeout_s * 1000),
        host_device=HOST_DEVICE,
        host_mac=HOST_MAC,
        host_peer=_HOST_PEER,
        fragment=_fragment(plan.forwarding.fragment),
        associations=_associations(plan, server),
        own_addresses=tuple(_own_addresses(plan)) if plan.forwarding.application == "ipsec" else (),
    )


def first_cpu(server: Server) -> int:
    """The CPU of Click's thread 0, where threads are counted by CPU: thread i runs on this one plus i."""
    return min(server.cores.dataplane)


def _cores(server: Server, dialect: str) -> tuple[Core, ...]:
    """With DPDK threads count the given CPUs; without, thread i is on CPU FIRST + i, and those in gaps idle."""
    first = first_cpu(server)
    return tuple(
        Core(number, cpu, number if dialect in _DPDK else cpu - first)
        for number, cpu in enumerate(server.cores.dataplane)
    )


def _device(port: Port, number: int, server: Server, cores: tuple[Core, ...], dialect: str) -> Device:
    parameter = "$" + re.sub(r"[^A-Z0-9]", "_", port.name.upper())
    if dialect in _DPDK:
        # Promiscuous ports may have any address: a planned one, since no kernel tells theirs.
        mac = f"02:53:{server.index >> 8:02x}:{server.index & 255:02x}:{number >> 8:02x}:{number & 255:02x}"
        default = (port.selector.pci or str(number)).lower()
    else:
        mac, default = f"{parameter}:eth", port.selector.name or port.name
    numbers = {core.cpu: core.k for core in cores}
    strangers = [queue.index for queue in port.queues if queue.rx_core not in numbers]
    if strangers:
        raise UsageError(
            f"{server.name}: {port.name}: queue {strangers[0]} is not polled by any core of the data plane",
            code="click.unpolled-queue",
        )
    return Device(
        name=port.name,
        device=parameter,
        default=default,
        id=port.id,
        mac=mac,
        arp=port.addresses[0].partition("/")[0] if port.addresses else None,
        mtu=port.mtu,
        rate_bps=port.rate_bps,
        tx_cpu=port.queues[0].tx_core,
        receives={numbers[queue.rx_core]: queue.index for queue in port.queues},
    )


def _ways(fabric: Fabric) -> dict[int, tuple[int, ...]]:
    """Server -> DirectVLB's outputs towards it: of neighbours, whether or not they own ports, and of owners."""
    internal = [port for port in fabric.ports if port.kind == "internal"]
    place = {port.name: number for number, port in enumerate(internal)}
    first: dict[int, str] = {}
    for port in internal:
        if port.peer_server is not None:
            first.setdefault(port.peer_server, port.name)
    return {to: tuple(place[name] for name in fabric.bundle(port)) for to, port in {**fabric.next_hop, **first}.items()}


def _hops(plan: ClusterPlan, server: Server, numbers: Outputs, known: Mapping[str, Device]) -> list[Hop]:
    macs = {(p.id, near.index): near.mac for s in plan.servers for p in s.ports for near in p.adjacencies}
    own = {port.id: known[port.name] for port in server.ports if port.kind == "external"}
    inside = min((port.mtu for port in server.ports if port.kind == "internal"), default=1500)
    found = []
    for (port, adjacency), output in numbers.numbers.items():
        device = own.get(port)
        if device is None:
            mac = fabric_mac(port, adjacency) if adjacency == PUNT or macs[port, adjacency] else None
            # DirectVLB writes the source address of the link that it chooses.
            found.append(Hop(output, port, adjacency, False, "", "", inside, "0:0:0:0:0:0", mac))  # noqa: FBT003
        else:
            mac = None if adjacency == PUNT else macs[port, adjacency]
            found.append(
                Hop(output, port, adjacency, True, device.name, device.arp or "", device.mtu, device.mac, mac)  # noqa: FBT003
            )
    return found


def _associations(plan: ClusterPlan, server: Server) -> tuple[Association, ...]:
    """Every server and core has an SPI of its own, since each counts its packets by itself (RFC 4303, 3.3.3)."""
    if plan.forwarding.application != "ipsec":
        return ()
    if server.index >= _SPI_SERVERS or len(server.cores.dataplane) > _SPI_SERVERS:
        raise UsageError(
            f"{server.name}: expected at most {_SPI_SERVERS} servers of {_SPI_SERVERS} cores, for distinct SPIs",
            code="click.spi",
        )
    # The longest prefix counts: a half that stands in a tunnel of its own is that one's.
    written = {prefix for tunnel in plan.forwarding.tunnels for prefix in tunnel.prefixes}
    halves = tuple(half for half in _HALVES if half not in written)
    return tuple(
        Association(prefix, tunnel.peer, tunnel.spi << 16 | server.index << 8, number)
        for number, tunnel in enumerate(plan.forwarding.tunnels)
        for text in tunnel.prefixes
        for prefix in (halves if text == "0.0.0.0/0" else (text,))
    )


def _own_addresses(plan: ClusterPlan) -> Iterator[str]:
    for server in plan.servers:
        for port in server.ports:
            if port.id is not None:
                yield from (address.partition("/")[0] for address in port.addresses)


def _fragment(own: Fragment | None) -> UserClass | None:
    """The user's class under our name. The planner has parsed it: it opens and closes nothing of ours."""
    if own is None:
        return None
    text = own.text if own.text.endswith("\n") else f"{own.text}\n"
    if not own.name:
        text = f"elementclass {USER_CLASS} {{\n{text}}}\n"
    elif own.name != USER_CLASS:
        text += f"elementclass {USER_CLASS} {own.name};\n"
    return UserClass(text, own.outputs)


def _threads(
    ports: tuple[Device, ...], cores: tuple[Core, ...], dialect: str, fragment: Fragment | None
) -> list[Thread]:
    """Sources by queue; what runs by itself in a fragment; in the socket dialect what pulls from transmit queues."""
    found = [Thread(f"from_{port.name}_c{k}", cores[k].thread) for port in ports for k in sorted(port.receives)]
    found += [
        Thread(f"own_{port.name}_c{k}/{task}", cores[k].thread)
        for port in ports
        for k in sorted(port.receives)
        for task in (fragment.tasks if fragment and port.id is not None else ())
    ]
    if dialect == "socket":
        by_cpu = {core.cpu: core.thread for core in cores}
        found += [Thread(f"send_{port.name}", by_cpu[port.tx_cpu]) for port in ports]
    return found


def _batching(server: Server) -> Batching:
    batching = server.batching
    return Batching(batching.poll, batching.nic, _DESCRIPTORS, _QUEUE, round(batching.timeout_s * 1000))
