"""The XDP data plane's files."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.dataplane.base import ServerPart
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.guard import PUNTED, Guard
from rbops.errors import UsageError
from rbops.node.schema import Fabric, NodePort, PlannedFile
from rbops.plan import ClusterPlan, Punts, Server
from rbops.render.files import File
from rbops.render.routes import Table
from rbops.resources import bpf_object

__all__ = ["FIB", "XdpRendering", "rendering"]

_OBJECT, FIB = "/etc/rbops/xdp/router.bpf.o", "/etc/rbops/fib.bin"


@dataclass(frozen=True, slots=True)
class XdpRendering:
    """All servers have the same program and the same table."""

    common: tuple[File, ...]
    program: PlannedFile
    fib: PlannedFile
    punts: Punts
    addresses: tuple[str, ...]

    def server(self, server: Server, fabric: Fabric) -> ServerPart:
        """No files of its own."""
        urpf = {port.name: port.urpf for port in server.ports if port.urpf != "off"}
        punts = {reason: getattr(self.punts, reason) for reason in PUNTED}
        return ServerPart(XdpConfig(fabric, self.program, self.fib, Guard(punts, self.addresses, urpf)))

    def port(self, _: Server, port: NodePort) -> NodePort:
        """As it is."""
        return port


def rendering(plan: ClusterPlan, routes: Table) -> XdpRendering:
    """UsageError (2) where the program is not compiled."""
    try:
        program = File(_OBJECT, bpf_object("dataplane/xdp", "router.bpf.o").read_bytes())
    except FileNotFoundError as error:
        raise UsageError(str(error), code="xdp.not-compiled", hint="make bpf") from error
    fib = File(FIB, compile_fib(routes.networks, routes.lengths, routes.values))
    own = tuple(
        address.partition("/")[0] for server in plan.servers for port in server.ports for address in port.addresses
    )
    files = PlannedFile(_OBJECT, program.sha256), PlannedFile(FIB, fib.sha256)
    return XdpRendering((fib, program), *files, plan.forwarding.punts, own)
