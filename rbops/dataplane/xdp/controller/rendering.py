"""The XDP data plane's files."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.dataplane.base import ServerPart
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.errors import UsageError
from rbops.node.schema import Fabric, NodePort, PlannedFile
from rbops.plan import Server
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

    def server(self, _: Server, fabric: Fabric) -> ServerPart:
        """No files of its own."""
        return ServerPart(XdpConfig(fabric, self.program, self.fib))

    def port(self, _: Server, port: NodePort) -> NodePort:
        """As it is."""
        return port


def rendering(routes: Table) -> XdpRendering:
    """UsageError (2) where the program is not compiled."""
    try:
        program = File(_OBJECT, bpf_object("dataplane/xdp", "router.bpf.o").read_bytes())
    except FileNotFoundError as error:
        raise UsageError(str(error), code="xdp.not-compiled", hint="make bpf") from error
    fib = File(FIB, compile_fib(routes.networks, routes.lengths, routes.values))
    return XdpRendering((fib, program), PlannedFile(_OBJECT, program.sha256), PlannedFile(FIB, fib.sha256))
