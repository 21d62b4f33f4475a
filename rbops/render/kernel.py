"""The part of node.json about the kernel beyond its NICs."""

from __future__ import annotations

from rbops.node.schema import KernelConfig
from rbops.plan import Server

__all__ = ["kernel"]


def kernel(server: Server) -> KernelConfig:
    """Only what the spec asks for."""
    wanted = server.kernel
    modules = {module.name: dict(module.parameters) for module in wanted.modules}
    return KernelConfig(wanted.boot, wanted.governor, wanted.irqbalance, modules)
