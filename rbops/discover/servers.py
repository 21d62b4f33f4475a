"""Connections to the servers of an inventory, and their facts. Changes nothing on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rbops.deploy.inventory import Target
from rbops.deploy.node import RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, check_identities, probe
from rbops.deploy.runs import run_id
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.errors import RbopsError, StateUnknown, Where
from rbops.node.facts import Facts, from_json
from rbops.render.program import node_program

__all__ = ["Servers", "facts_of", "reached"]

_PROGRAM = "rbops-node"


@dataclass(frozen=True, slots=True)
class Servers:
    """Open connections by name, with this rbops's node program in a folder of each server's memory."""

    sessions: Mapping[str, Session]
    folder: str

    @property
    def program(self) -> str:
        """The path of the program on each server."""
        return f"{self.folder}/{_PROGRAM}"


@contextmanager
def reached(targets: Iterable[Target], cluster: str) -> Iterator[Servers]:
    """Connect to all servers; removes its files from them at the end.

    Raises Unreachable (4) when one cannot be logged in to or has no Python, Mismatch (3) when two
    names are the same machine, or one is another server of ``cluster``.
    """
    opened = each(((target.name, target) for target in targets), open_session)
    sessions = {name: session for name, session in opened.items() if isinstance(session, Session)}
    servers = Servers(sessions, f"/run/rbops-{run_id('discover')}")
    try:
        raise_errors(opened)
        probes = each(sessions.items(), probe)
        raise_errors(probes)
        check_identities((found for found in probes.values() if isinstance(found, Probe)), cluster)
        program = node_program()
        raise_errors(each(sessions.items(), lambda session: stage(session, servers.folder, {_PROGRAM: program})))
        yield servers
    finally:
        each(sessions.items(), lambda session: unstage(session, servers.folder))
        for session in sessions.values():
            session.close()


def facts_of(servers: Servers) -> dict[str, Facts]:
    """Every server's facts, by name; raises what rbops-node raised, naming the server."""
    found = each(servers.sessions.items(), lambda session: RemoteNode(session, servers.program).call("facts"))
    raise_errors(found)
    return {name: _read(name, value) for name, value in found.items() if not isinstance(value, RbopsError)}


def _read(name: str, value: Mapping[str, object]) -> Facts:
    try:
        return from_json(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateUnknown(
            f"the facts of rbops-node are not valid: {error!r}", code="discover.facts", where=Where(server=name)
        ) from error
