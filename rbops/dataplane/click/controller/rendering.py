"""The Click data plane's files, and its part of node.json."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rbops.dataplane.base import ServerPart
from rbops.dataplane.click import kernel_mode
from rbops.dataplane.click.config import ClickConfig, Thread
from rbops.dataplane.click.controller.command import CONTROL
from rbops.dataplane.click.controller.files import UNIT, click_files, element_files, library_file
from rbops.dataplane.click.controller.router import HOST_DEVICE, HOST_MAC
from rbops.errors import UsageError, Where
from rbops.node.schema import Fabric, HostInterface, NodePort, PlannedFile
from rbops.plan import ClusterPlan, Forwarding, Server
from rbops.render.files import File
from rbops.render.routes import Table

__all__ = ["ClickRendering", "rendering"]

# Click's FromDevice leaves its socket's buffer as it is, and a frame counts with the memory that it lies in, up to a
# page and more: the kernel's 212,992 bytes hold 51 frames (socket(7); net/packet/af_packet.c), these some 2,000.
_SOCKETS = {"net.core.rmem_default": str(8 << 20)}


@dataclass(frozen=True, slots=True)
class ClickRendering:
    """All servers have the same routes and the same elements; each has a configuration of its own."""

    plan: ClusterPlan
    digest: str
    common: tuple[File, ...]
    library: PlannedFile

    def server(self, server: Server, fabric: Fabric) -> ServerPart:
        """Configuration, unit, and how Click runs there."""
        forwarding = self.plan.forwarding
        click = click_files(self.plan, self.digest, server, fabric)
        config = ClickConfig(
            fabric=fabric,
            library=self.library,
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
        return ServerPart(config, click.files, _host(server), _sysctl(forwarding))

    def port(self, _: Server, port: NodePort) -> NodePort:
        """Click reads all frames, and its host interface has the addresses."""
        return replace(port, promiscuous=True, arp=False, addresses=(), closed=True)


def rendering(plan: ClusterPlan, digest: str, routes: Table) -> ClickRendering:
    """UsageError (2) for routes and tunnels that Click cannot have."""
    _check_tunnels(plan.forwarding)
    library = library_file(plan, routes)
    return ClickRendering(plan, digest, (library, *element_files()), PlannedFile(library.path, library.sha256))


def _check_tunnels(forwarding: Forwarding) -> None:
    if forwarding.application == "ipsec" and not forwarding.tunnels:
        raise UsageError(
            "application ipsec without a tunnel, expected one or more",
            hint="write a section `ipsec:`",
            code="click.no-tunnel",
            where=Where(field="ipsec"),
        )
    if forwarding.application == "ipsec" and forwarding.click_dialect == kernel_mode.DIALECT:
        raise UsageError(
            kernel_mode.NO_IPSEC,
            hint="write `click: {dialect: dpdk}` or socket",
            code="click.kernel-ipsec",
            where=Where(field="click.dialect"),
        )


def _host(server: Server) -> HostInterface:
    """The interface between Click and this server's kernel, which has the router's addresses."""
    return HostInterface(
        HOST_DEVICE,
        HOST_MAC,
        min(port.mtu for port in server.ports),
        tuple(f"{address.partition('/')[0]}/32" for port in server.ports for address in port.addresses),
    )


def _sysctl(forwarding: Forwarding) -> dict[str, str]:
    """All forwarding is done behind the host interface: the kernel forwards nothing."""
    return {
        **(_SOCKETS if forwarding.click_dialect == "socket" else {}),
        "net.ipv4.ip_forward": "0",
        f"net.ipv4.conf.{HOST_DEVICE}.rp_filter": "0",
        f"net.ipv6.conf.{HOST_DEVICE}.disable_ipv6": "1",
    }
