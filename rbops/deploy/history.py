"""The configurations that were confirmed last, as the servers themselves keep them. Changes nothing on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rbops.deploy.inventory import Inventory
from rbops.deploy.node import RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, probe
from rbops.deploy.runs import run_id
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.errors import RbopsError
from rbops.render.program import node_program

__all__ = ["Generation", "ServerHistory", "history", "read_history"]


@dataclass(frozen=True, slots=True)
class Generation:
    """One confirmed configuration of a server: ``confirmed`` in seconds since the epoch, ``holder`` user@machine."""

    number: int
    run: str
    cluster: str
    server: str
    digest: str
    holder: str
    confirmed: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ServerHistory:
    """One server's: its present plan (None: not configured) and its generations, newest first."""

    name: str
    digest: str | None
    generations: tuple[Generation, ...]

    @property
    def earlier(self) -> tuple[Generation, ...]:
        """Those before the present plan; all, where the present one could not be kept."""
        present = self.generations and self.generations[0].digest == self.digest
        return self.generations[1:] if present else self.generations


def history(inventory: Inventory) -> list[ServerHistory]:
    """The history of every server of the inventory. Raises Unreachable (4) or Mismatch (3) as apply does."""
    folder = f"/run/rbops-{run_id('history')}"
    program = node_program()

    def ask(name: str) -> ServerHistory:
        with open_session(inventory.server(name)) as session:
            try:
                stage(session, folder, {"rbops-node": program})
                return read_history(session, RemoteNode(session, f"{folder}/rbops-node"), probe(session))
            finally:
                unstage(session, folder)

    results = each(((target.name, target.name) for target in inventory.servers), ask)
    raise_errors(results)
    return [result for result in results.values() if not isinstance(result, RbopsError)]


def read_history(session: Session, node: RemoteNode, found: Probe) -> ServerHistory:
    """One server's history by the node program ``node`` on it."""
    answer: Mapping[str, Sequence[Mapping[str, Any]]] = node.call("history")
    generations = tuple(Generation(**entry) for entry in reversed(answer["generations"]))
    return ServerHistory(session.target.name, found.digest, generations)
