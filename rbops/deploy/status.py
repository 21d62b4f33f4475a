"""The state of the servers, and how it differs from a plan. Changes nothing on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbops.dataplane import registry
from rbops.dataplane.base import NOT_LOADED
from rbops.deploy.effect import Effect, effect
from rbops.deploy.inventory import Inventory
from rbops.deploy.keys import Keys, keys_of_plan
from rbops.deploy.node import INSTALLED, RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, check_identities, probe
from rbops.deploy.reboot import Waiting, waiting_of
from rbops.deploy.runs import run_id
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.errors import RbopsError
from rbops.plan import ClusterPlan
from rbops.render import File, Rendered, render, unplanned

__all__ = ["Change", "ServerDiff", "ServerStatus", "diff_servers", "status_servers"]

_SHORT = 12
_NODE = "/etc/rbops/node.json"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing apply would do: ``setting`` of ``subject`` from ``have`` to ``want``."""

    subject: str
    setting: str
    have: str
    want: str

    @property
    def effect(self) -> Effect:
        """What making it does to packets."""
        return effect(self.subject, self.setting)

    def to_dict(self) -> dict[str, str]:
        """The form for JSON."""
        return {**dataclasses.asdict(self), "effect": str(self.effect)}


@dataclass(frozen=True, slots=True)
class ServerDiff:
    """How one server differs from the plan; ``waiting`` is what takes effect with a reboot only."""

    name: str
    changes: tuple[Change, ...]
    waiting: tuple[Waiting, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether apply would change nothing."""
        return not self.changes


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server now. ``error`` says why it could not be read, ``error_code`` is its code; all else is empty then."""

    name: str
    error: str | None = None
    error_code: str | None = None
    digest: str | None = None
    dataplane: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    uptime_s: float | None = None
    kernel: str | None = None
    transaction: str | None = None
    lock: str | None = None
    waiting: tuple[Waiting, ...] = ()
    node: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON: ``node`` is the status of rbops-node."""
        return dataclasses.asdict(self)


def diff_servers(plan: ClusterPlan, inventory: Inventory) -> list[ServerDiff]:
    """Compare every server with the plan: rbops's files, and the kernel's state.

    The node program of this rbops does it, from the server's memory; nothing is installed. Raises
    Unreachable (4) or Mismatch (3) as apply does.
    """
    targets = inventory.matching(plan).servers
    rendered = render(plan)
    keys = keys_of_plan(plan)
    folder = f"/run/rbops-{run_id('diff')}"

    def compare(session: Session) -> tuple[Probe, ServerDiff]:
        found = probe(session)
        own = keys[found.name]
        planned = {*(each.path for each in own), *(file.path for file in rendered.files_of(found.name))}
        gone = unplanned(plan.forwarding.dataplane, planned, found.files)
        others = (
            *(Change("file", path, found.files[path][1][:_SHORT], "absent") for path in gone),
            *_keys(found, own),
        )
        return found, _difference(session, found, rendered, others, folder)

    opened = each(((target.name, target) for target in targets), open_session)
    sessions = {name: session for name, session in opened.items() if isinstance(session, Session)}
    try:
        raise_errors(opened)
        results = each(sessions.items(), compare)
    finally:
        for session in sessions.values():
            session.close()
    raise_errors(results)
    done = [result for result in results.values() if not isinstance(result, RbopsError)]
    check_identities((found for found, _ in done), plan.name)
    return [difference for _, difference in done]


def _difference(
    session: Session, found: Probe, rendered: Rendered, others: Sequence[Change], folder: str
) -> ServerDiff:
    """``others``: differences in files that are not rendered."""
    files = {file.path: file for file in rendered.files_of(found.name)}
    changed = (_file(found, file) for file in files.values())
    stale = (*(change for change in changed if change is not None), *others)
    try:
        stage(session, folder, {"rbops-node": files[INSTALLED].content, "node.json": files[_NODE].content})
        node = RemoteNode(session, f"{folder}/rbops-node")
        entries = node.diff("--config", f"{folder}/node.json")
        waiting = waiting_of(node.call("status", "--config", f"{folder}/node.json"))
    except RbopsError as error:
        if found.digest is not None:
            raise
        # A fresh server lacks packages too: apply installs them before it looks.
        plan = Change("server", "configuration", "none", f"plan {rendered.digest[:_SHORT]} ({error})")
        return ServerDiff(found.name, (*stale, plan))
    finally:
        unstage(session, folder)
    settings = (Change(e["subject"], e["setting"], str(e["have"]), str(e["want"])) for e in entries)
    known = {f"file {change.setting}" for change in stale}
    return ServerDiff(found.name, (*stale, *(one for one in settings if one.subject not in known)), waiting)


def _file(found: Probe, file: File) -> Change | None:
    have = found.files.get(file.path, ("", "absent"))
    want = (oct(file.mode), file.sha256)
    if have == want:
        return None
    if have[1] == want[1]:
        return Change("file", file.path, have[0], want[0])
    return Change("file", file.path, have[1][:_SHORT], want[1][:_SHORT])


def _keys(found: Probe, keys: Sequence[Keys]) -> tuple[Change, ...]:
    """Shows no digest: it would confirm a guess of the keys."""
    stale = ((each.path, each.difference(found.files)) for each in keys)
    return tuple(Change("file", path, *how) for path, how in stale if how)


def status_servers(plan: ClusterPlan, inventory: Inventory) -> list[ServerStatus]:
    """Read every server; one that does not answer has its ``error`` set instead of raising."""
    targets = inventory.matching(plan).servers

    def ask(name: str) -> ServerStatus:
        with open_session(inventory.server(name)) as session:
            return _status(session)

    results = each(((target.name, target.name) for target in targets), ask)
    return [
        ServerStatus(name, error=str(result), error_code=result.code) if isinstance(result, RbopsError) else result
        for name, result in results.items()
    ]


def _status(session: Session) -> ServerStatus:
    found = probe(session)
    node: Mapping[str, Any] = RemoteNode(session).call("status") if INSTALLED in found.files else {}
    plane = node.get("dataplane")
    return ServerStatus(
        name=found.name,
        digest=found.digest,
        dataplane=_dataplane(plane) if isinstance(plane, Mapping) else None,
        services=node.get("services", {}),
        uptime_s=found.uptime_s,
        kernel=found.kernel,
        transaction=_transaction(node.get("transaction")),
        lock=_lock(node.get("lock")),
        waiting=waiting_of(node),
        node=node,
    )


def _transaction(change: Mapping[str, Any] | None) -> str | None:
    if not change:
        return None
    timer = f"reverts in {change['left_s']} s" if change["timer_armed"] else "its timer does not run"
    return f"run {change['run']} by {change['holder']}, {timer}"


def _lock(lock: Mapping[str, Any] | None) -> str | None:
    return f"{lock['holder']} for {lock['age_s']} s (run {lock['run']})" if lock else None


def _dataplane(plane: Mapping[str, Any]) -> str:
    kind = plane.get("kind")
    return registry.controller(kind).status_line(plane) if kind in registry.KINDS else NOT_LOADED
