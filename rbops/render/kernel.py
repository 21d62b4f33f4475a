"""The part of node.json about the kernel beyond its NICs: only what the spec asks for."""

from __future__ import annotations

from typing import Any

from rbops.plan import Server

__all__ = ["kernel"]


def kernel(server: Server) -> dict[str, Any]:
    """``{"kernel": {...}}``, or nothing where nothing is asked; CPU lists are the server's data-plane cores."""
    wanted = server.kernel
    found: dict[str, Any] = {}
    if wanted.boot:
        found["boot"] = [[name, value] for name, value in wanted.boot]
    if wanted.governor:
        found["governor"] = wanted.governor
    if wanted.irqbalance != "keep":
        found["irqbalance"] = wanted.irqbalance
    if wanted.modules:
        found["modules"] = {module.name: dict(module.parameters) for module in wanted.modules}
    return {"kernel": found} if found else {}
