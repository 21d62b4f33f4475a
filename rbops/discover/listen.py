"""The cabling check's conversation: every server listens, then all send, then each says what it heard."""

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

__all__ = ["CARRIER_S", "LISTEN_S", "End", "Heard", "listen"]

CARRIER_S = 10.0
"""How long links get to come up, where ports were down."""

LISTEN_S = 1.5
"""How long every server listens from the go on; frames are sent in the first second."""

_LIFETIME_S = 90.0
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, order=True)
class End:
    """A device of a server: one end of a cable."""

    server: str
    device: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What a device told: whether it has a carrier, and the ends whose frames came in.

    ``strangers`` counts frames of the same EtherType that are not of this check; ``error`` is what the
    kernel said when it would not send.
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
) -> dict[End, Heard]:
    """Send out of ``devices`` (by server) and tell what came in at each of them.

    Ports that were down are up meanwhile and down again afterwards, whatever happens: each server's
    process puts them back when it hears no more from here. Raises CheckFailed (1) when ``stop`` was asked
    for, and what rbops-node raised.
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
        _hear_all(servers, talks, carrier_s + _PATIENCE_S, stop, "ready")
        for talk in talks.values():
            talk.send("go")
        told = _hear_all(servers, talks, listen_s + _PATIENCE_S, stop, "ports")
    finally:
        lost = _finish(talks)
    if lost:
        raise StateUnknown(
            f"{', '.join(lost)} did not say that the ports are as they were",
            hint=f"they are put back within {_LIFETIME_S:.0f} s; look with `ip link`",
        )
    return {
        End(name, port["device"]): Heard(
            port["carrier"],
            tuple(End(server, device) for server, device, _ in port["heard"]),
            port["strangers"],
            port["error"],
        )
        for name, ports in told.items()
        for port in ports
    }


def _command(session: Session, servers: Servers) -> list[str]:
    """The agent; what was staged goes with it when nobody here is left to take it away."""
    program = shlex.join([session.target.python, servers.program, "cabling", "--json"])
    return ["sh", "-c", f"{program}; code=$?; rm -rf -- {shlex.quote(servers.folder)}; exit $code"]


def _hear_all(
    servers: Servers, talks: Mapping[str, Conversation], patience_s: float, stop: Stop, key: str
) -> dict[str, Any]:
    failed = threading.Event()

    def over() -> bool:
        return stop.requested or failed.is_set()

    def hear(name: str) -> Any:
        try:
            line = talks[name].receive(patience_s, over)
            if line is None and not over():
                done = talks[name].finish(_PATIENCE_S)
                raise RemoteNode(servers.sessions[name], servers.program).failure("cabling", done)
        except RbopsError:
            # One that fails is enough: the others need not wait for their links.
            failed.set()
            raise
        return None if line is None else json.loads(line)[key]

    found = each(((name, name) for name in talks), hear)
    if stop.requested:
        raise CheckFailed(f"interrupted by {stop.reason}; the ports are as they were")
    raise_errors(found)
    return found


def _finish(talks: Mapping[str, Conversation]) -> list[str]:
    """End every process; the names of those whose end was not seen."""
    done = each(talks.items(), lambda talk: talk.finish(_PATIENCE_S))
    return [name for name, result in done.items() if isinstance(result, RbopsError)]
