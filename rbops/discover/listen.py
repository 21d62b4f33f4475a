"""The protocol of the cabling check: every server listens, then all send, then each reports what it received."""

from __future__ import annotations

import json
import secrets
import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbops.deploy.node import RemoteNode
from rbops.deploy.ssh import Conversation, Session, each, raise_errors
from rbops.deploy.stop import Stop
from rbops.discover.servers import Servers
from rbops.errors import CheckFailed, RbopsError, StateUnknown

__all__ = ["CARRIER_S", "LISTEN_S", "End", "Received", "listen"]

CARRIER_S = 10.0
"""Seconds for links to come up, where ports were down."""

LISTEN_S = 1.5
"""Seconds that every server listens from ``go`` on; frames are sent in the first second."""

_LIFETIME_S = 90.0
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, order=True)
class End:
    """A device of a server: one end of a cable."""

    server: str
    device: str


@dataclass(frozen=True, slots=True)
class Received:
    """What a device reported: whether it has a carrier, and the ends whose frames it received.

    ``strangers`` counts frames of the same EtherType that are not of this check; ``error`` is the kernel's when
    sending failed.
    """

    carrier: bool
    origins: tuple[End, ...]
    strangers: int = 0
    error: str | None = None


def listen(
    servers: Servers,
    devices: Mapping[str, Sequence[str]],
    stop: Stop,
    *,
    carrier_s: float = CARRIER_S,
    listen_s: float = LISTEN_S,
) -> dict[End, Received]:
    """Send out of ``devices`` (by server) and return what each of them received.

    Ports that were down are up during the check and down again afterwards in any case: each server's process
    restores them when the connection ends. Raises CheckFailed (1) when ``stop`` was requested, and what rbops-node
    raised.
    """
    run = secrets.token_hex(16)
    wanted = {name: tuple(devices.get(name, ())) for name in servers.sessions}
    talks: dict[str, Conversation] = {}
    try:
        begun = each(
            ((name, servers.sessions[name]) for name, own in wanted.items() if own),
            lambda session: session.start(_command(session, servers), _LIFETIME_S),
        )
        talks = {name: talk for name, talk in begun.items() if isinstance(talk, Conversation)}
        raise_errors(begun)
        for name, talk in talks.items():
            request = {"run": run, "server": name, "devices": wanted[name]}
            talk.send(json.dumps({**request, "carrier_s": carrier_s, "listen_s": listen_s}))
        _receive_all(servers, talks, carrier_s + _PATIENCE_S, stop, "ready")
        for talk in talks.values():
            talk.send("go")
        reports = _receive_all(servers, talks, listen_s + _PATIENCE_S, stop, "ports")
    finally:
        lost = _finish(talks)
    if lost:
        raise StateUnknown(
            f"{', '.join(lost)} did not confirm that the ports were restored",
            code="discover.ports-not-restored",
            hint=f"they are restored within {_LIFETIME_S:.0f} s; check with `ip link`",
        )
    return {
        End(name, port["device"]): Received(
            port["carrier"],
            tuple(End(server, device) for server, device, _ in port["heard"]),
            port["strangers"],
            port["error"],
        )
        for name, ports in reports.items()
        for port in ports
    }


def _command(session: Session, servers: Servers) -> list[str]:
    """The agent; it removes what was staged itself, in case this program is gone by then."""
    program = shlex.join([session.target.python, servers.program, "cabling", "--json"])
    return ["sh", "-c", f"{program}; code=$?; rm -rf -- {shlex.quote(servers.folder)}; exit $code"]


def _receive_all(
    servers: Servers, talks: Mapping[str, Conversation], patience_s: float, stop: Stop, key: str
) -> dict[str, Any]:
    failed = threading.Event()

    def over() -> bool:
        return stop.requested or failed.is_set()

    def receive(name: str) -> Any:
        try:
            line = talks[name].receive(patience_s, over)
            if line is None and not over():
                done = talks[name].finish(_PATIENCE_S)
                raise RemoteNode(servers.sessions[name], servers.program).failure("cabling", done)
        except RbopsError:
            # After one failure the others need not wait for their links.
            failed.set()
            raise
        return None if line is None else json.loads(line)[key]

    found = each(((name, name) for name in talks), receive)
    if stop.requested:
        raise CheckFailed(f"interrupted by {stop.reason}, the ports were restored", code="discover.interrupted")
    raise_errors(found)
    return found


def _finish(talks: Mapping[str, Conversation]) -> list[str]:
    """End every process; the names of those whose end was not seen."""
    done = each(talks.items(), lambda talk: talk.finish(_PATIENCE_S))
    return [name for name, result in done.items() if isinstance(result, RbopsError)]
