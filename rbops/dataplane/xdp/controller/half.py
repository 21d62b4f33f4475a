"""The XDP data plane as rbops asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.dataplane.base import Places, Rendering, ServerPart
from rbops.dataplane.xdp.config import XdpConfig
from rbops.errors import UsageError
from rbops.node.schema import Fabric, NodePort, PlannedFile
from rbops.plan import ClusterPlan, Server
from rbops.render.files import File
from rbops.render.routes import Table
from rbops.resources import bpf_object

__all__ = ["HALF"]

_OBJECT, _FIB = "/etc/rbops/xdp/router.bpf.o", "/etc/rbops/fib.bin"


@dataclass(frozen=True, slots=True)
class _Rendering:
    """All servers have the same program and the same table."""

    common: tuple[File, ...]
    program: PlannedFile
    fib: PlannedFile

    def server(self, _: Server, fabric: Fabric) -> ServerPart:
        return ServerPart(XdpConfig(fabric, self.program, self.fib))

    def port(self, _: Server, port: NodePort) -> NodePort:
        return port


class _Xdp:
    kind = "xdp"
    places = Places(own=("/etc/rbops/xdp", _FIB))

    def render(self, plan: ClusterPlan, _: str, routes: Table) -> Rendering:
        from rbops.dataplane.xdp.controller.fib import compile_fib

        if plan.forwarding.application == "ipsec":
            raise UsageError("the xdp data plane has no ipsec", hint="write `dataplane: click`")
        try:
            program = File(_OBJECT, bpf_object("dataplane/xdp", "router.bpf.o").read_bytes())
        except FileNotFoundError as error:
            raise UsageError(str(error)) from error
        fib = File(_FIB, compile_fib(routes.networks, routes.lengths, routes.values))
        return _Rendering((fib, program), PlannedFile(_OBJECT, program.sha256), PlannedFile(_FIB, fib.sha256))


HALF = _Xdp()
