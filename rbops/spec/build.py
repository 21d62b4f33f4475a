"""A validated document -> the ``Spec`` that the rest of rbops works with."""

from __future__ import annotations

from pathlib import Path

from rbops.spec import document, model
from rbops.spec.kernel_build import kernel
from rbops.spec.nic import tuning
from rbops.spec.source import Source

__all__ = ["build"]


def build(
    written: document.SpecDocument, *, name: str, base: Path, route_file: model.RouteFile | None, source: Source
) -> model.Spec:
    """The spec of ``written``; ``name`` is the router's when it has none, ``base`` where paths start."""
    return model.Spec(
        name=written.name or name,
        router=_router(written.router, base),
        servers=_servers(written.servers),
        interconnect=written.interconnect,
        batching=written.batching,
        dataplane=written.dataplane,
        click=model.Click(written.click.dialect, written.click.package, written.click.prefix),
        ipsec=tuple(
            model.Tunnel(str(each.peer), tuple(map(str, each.prefixes)), each.spi, (base / each.keys).absolute())
            for each in written.ipsec
        ),
        nic=tuning(written.nic),
        kernel=kernel(written.kernel),
        ports=tuple(_port(port) for port in written.ports),
        hosts=tuple(_host(name, host) for name, host in written.hosts.items()),
        routes=_routes(written, route_file),
        source=source,
    )


def _router(written: document.RouterSection, base: Path) -> model.Router:
    return model.Router(
        external_ports=written.external_ports,
        line_rate_bps=written.line_rate,
        application=written.application,
        traffic=written.traffic,
        packets=written.packets,
        guarantee=written.guarantee,
        allow=tuple(sorted(set(written.allow))),
        fragment=(base / written.fragment).absolute() if written.fragment else None,
    )


def _servers(written: document.ServersSection) -> model.Servers:
    if written.hardware:
        return model.Servers(profile=None, hardware=hardware(written.hardware), numa=written.numa)
    if written.profile:
        return model.Servers(profile=written.profile, numa=written.numa)
    return model.Servers(numa=written.numa)


def hardware(written: document.HardwareSection) -> model.Hardware:
    """One server's hardware, from the spec or a file of its own."""
    return model.Hardware(
        name=written.name,
        sockets=written.sockets,
        cores_per_socket=written.cores_per_socket,
        threads_per_core=written.threads_per_core,
        clock_hz=written.clock,
        numa_nodes=written.numa_nodes,
        l3_bytes_per_socket=written.l3_per_socket,
        cpus=tuple(model.Cpu(cpu.id, cpu.socket, cpu.core, cpu.numa_node) for cpu in written.cpus),
        housekeeping=written.housekeeping,
        offline=written.offline,
        slots=tuple(model.Slot(slot.name, slot.pcie, slot.lanes, slot.numa_node) for slot in written.slots),
        nics=tuple(_nic(nic) for nic in written.nics),
        bounds=model.Bounds(
            memory=_bound(written.bounds.memory),
            io=_bound(written.bounds.io),
            inter_socket=_bound(written.bounds.inter_socket),
            pcie=_bound(written.bounds.pcie),
        ),
        power_w=written.power,
        price_usd=written.price,
        rack_units=written.rack_units,
    )


def _nic(written: document.NicSection) -> model.Nic:
    return model.Nic(
        driver=written.driver,
        ports=written.ports,
        port_rate_bps=written.port_rate,
        queues=written.queues,
        slot=written.slot,
        numa_node=written.numa_node,
        achievable_bps=written.achievable,
        devices=tuple(model.Device(dev.name, dev.pci, dev.mac, dev.management) for dev in written.devices),
    )


def _bound(written: document.BoundSection | None) -> model.Bound | None:
    return model.Bound(written.nominal, written.empirical) if written else None


def _port(written: document.PortSection) -> model.PortSpec:
    neighbors = written.neighbors
    return model.PortSpec(
        id=written.id,
        server=written.server,
        address=written.address,
        neighbors=None if neighbors is None else tuple(model.Neighbor(item.address, item.mac) for item in neighbors),
    )


def _host(name: str, written: document.HostSection) -> model.Host:
    return model.Host(
        name=name,
        profile=written.profile,
        hardware=hardware(written.hardware) if written.hardware else None,
        ports=tuple(model.PortSelector(port, item.name, item.pci, item.mac) for port, item in written.ports.items()),
        nic=tuning(written.nic),
    )


def _routes(written: document.SpecDocument, route_file: model.RouteFile | None) -> model.Routes:
    if isinstance(written.routes, document.RouteFileSection):
        return model.Routes(file=route_file)
    return model.Routes(static=tuple(model.StaticRoute(route.prefix, route.via) for route in written.routes))
