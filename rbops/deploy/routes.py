"""Where packets for an address go, asked of every server. Changes nothing on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rbops.deploy.inventory import Inventory
from rbops.deploy.node import RemoteNode
from rbops.deploy.ssh import each, open_session
from rbops.errors import RbopsError, Unreachable
from rbops.plan import ClusterPlan

__all__ = ["ServerRoute", "trace"]


@dataclass(frozen=True, slots=True)
class ServerRoute:
    """One server's answer, as ``rbops-node fib get`` gives it; ``error``: it could not be asked."""

    name: str
    answer: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def trace(plan: ClusterPlan, inventory: Inventory, address: str) -> list[ServerRoute]:
    """What each server of the plan does with ``address``. Raises Mismatch (3) where one has no such table."""

    def ask(name: str) -> ServerRoute:
        with open_session(inventory.server(name)) as session:
            return ServerRoute(name, RemoteNode(session).call("fib", "get", address))

    targets = inventory.matching(plan).servers
    results = each(((target.name, target.name) for target in targets), ask)
    found = []
    for name, result in results.items():
        if isinstance(result, Unreachable):
            found.append(ServerRoute(name, error=str(result)))
        elif isinstance(result, RbopsError):
            raise result
        else:
            found.append(result)
    return found
