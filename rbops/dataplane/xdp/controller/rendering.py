"""The XDP data plane's files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import ip_address

from rbops.common.limits import MAX_XDP_BUNDLE, MAX_XDP_DEVICES, MAX_XDP_SERVERS
from rbops.dataplane.base import ServerPart
from rbops.dataplane.xdp.config import Follow, XdpConfig
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.controller.tunnels import with_tunnels
from rbops.dataplane.xdp.guard import PUNTED, Guard
from rbops.errors import UsageError
from rbops.node.schema import Adjacency, Fabric, NodePort, PlannedFile
from rbops.plan import ClusterPlan, Port6, Punts, Server
from rbops.render.files import File
from rbops.render.routes import Table
from rbops.resources import bpf_object

__all__ = ["FIB", "XdpRendering", "rendering"]

NO_MAC = "00:00:00:00:00:00"
"""A neighbour whose MAC the kernel finds."""
_OBJECT, FIB = "/etc/rbops/xdp/router.bpf.o", "/etc/rbops/fib.bin"


@dataclass(frozen=True, slots=True)
class XdpRendering:
    """All servers have the same program and the same table; ``routes``: how many it has memory for if it follows."""

    common: tuple[File, ...]
    program: PlannedFile
    fib: PlannedFile
    punts: Punts
    addresses: tuple[str, ...]
    routes: int | None = None
    ports6: tuple[Port6, ...] = ()
    ipsec: bool = False

    def server(self, server: Server, fabric: Fabric) -> ServerPart:
        """No files of its own. Where it follows the kernel's table, neighbours without a MAC have a place too."""
        urpf = {port.name: port.urpf for port in server.ports if port.urpf != "off"}
        punts = {reason: getattr(self.punts, reason) for reason in PUNTED}
        # Without tunnels ESP is local delivery as anything else: rates are how the programs know.
        punts["ipsec"] = punts["ipsec"] if self.ipsec else 0
        own = {
            port.name: port.addresses[0].partition("/")[0]
            for port in server.ports
            if port.id is not None and port.addresses
        }
        names = {port.id: port.name for port in server.ports}
        own6 = {names[port.port]: port.address.partition("/")[0] for port in self.ports6 if port.port in names}
        guard = Guard(punts, self.addresses, urpf, own, own6)
        if self.routes is None:
            return ServerPart(XdpConfig(fabric, self.program, self.fib, guard))
        near = [(port.id, near) for port in server.ports if port.id is not None for near in port.adjacencies]
        near += [
            (port.port, near) for port in self.ports6 if port.port in server.external_ports for near in port.adjacencies
        ]
        adjacencies = tuple(Adjacency(port, each.index, each.mac or NO_MAC) for port, each in near)
        follow = Follow(self.routes, tuple((port, each.index, int(ip_address(each.address))) for port, each in near))
        return ServerPart(XdpConfig(replace(fabric, adjacencies=adjacencies), self.program, self.fib, guard, follow))

    def port(self, _: Server, port: NodePort) -> NodePort:
        """As it is."""
        return port


def _check(plan: ClusterPlan) -> None:
    """UsageError for a plan that is more than the programs' tables hold."""
    cables = Counter(
        tuple(sorted((link.a.partition(":")[0], link.b.partition(":")[0]))) for link in plan.links
    ).values()
    for what, count, most in (
        ("servers", len(plan.servers), MAX_XDP_SERVERS),
        ("ports on one server", max(len(server.ports) for server in plan.servers), MAX_XDP_DEVICES),
        ("cables between two servers", max(cables, default=0), MAX_XDP_BUNDLE),
    ):
        if count > most:
            raise UsageError(
                f"{count} {what}: the XDP data plane holds {most}",
                hint="plan fewer servers with more external ports each",
                code="xdp.too-large",
            )


def rendering(plan: ClusterPlan, routes: Table) -> XdpRendering:
    """UsageError (2) where the program is not compiled, or the plan is more than it holds."""
    _check(plan)
    try:
        program = File(_OBJECT, bpf_object("dataplane/xdp", "router.bpf.o").read_bytes())
    except FileNotFoundError as error:
        raise UsageError(str(error), code="xdp.not-compiled", hint="make bpf") from error
    table = with_tunnels(plan, routes)
    fib = File(FIB, compile_fib(table.networks, table.lengths, table.values, table.routes6))
    own = tuple(
        address.partition("/")[0] for server in plan.servers for port in server.ports for address in port.addresses
    )
    own += tuple(port.address.partition("/")[0] for port in plan.ports6)
    files = PlannedFile(_OBJECT, program.sha256), PlannedFile(FIB, fib.sha256)
    routes_to_come = None if plan.routing is None else plan.routing.routes
    ipsec = bool(plan.forwarding.tunnels)
    return XdpRendering((fib, program), *files, plan.forwarding.punts, own, routes_to_come, plan.ports6, ipsec)
