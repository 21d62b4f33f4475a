"""rbops-node on a booted server, killed in the middle of each of its verbs: it ends in the old or the new state.

A verb is a row of calls of functions; it is killed at one after the other of some that lie evenly apart. What follows
is what follows in life: the timer fires. For a revert, which may be that timer, it is the next revert.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rbops.node.installed import PATHS
from tests.deploy.serverstate import inside
from tests.faults.arena import Arena
from tests.faults.test_cluster import prepared

pytestmark = [pytest.mark.lab, pytest.mark.root]

_CUT = Path(__file__).with_name("cut.py").read_text(encoding="utf-8")
_SERVER = "n1"
_RUN = ("--run", "20260101T000000-apply-000001")
_KEEP = f"rm -rf /run/kept/$0; mkdir -p /run/kept/$0; cd /; tar -cf - etc/rbops {' '.join(PATHS)} 2>/dev/null"
_KEEP += " | tar -xf - -C /run/kept/$0"
# Files in place one by one, and what is not planned any more is gone, as the roles do it.
_PUSH = "cp -a /run/kept/$0/. /; systemctl daemon-reload"


@dataclass
class Server:
    """The second server of the lab, between two configurations whose files it keeps in memory."""

    arena: Arena
    calls: dict[str, int] = field(default_factory=dict)

    def sh(self, script: str, *arguments: str) -> str:
        """A shell script there."""
        return inside(self.arena.lab, _SERVER, "sh", "-euc", script, *arguments)

    def node(self, *arguments: str) -> None:
        """A verb of the program of a run."""
        inside(self.arena.lab, _SERVER, "python3", "/run/kept/rbops-node", *arguments)

    def killed(self, at: int, *arguments: str) -> None:
        """The verb, killed; with 0 it runs to its end and is counted."""
        script = f'python3 - {at} /run/kept/rbops-node "$@" || echo $?'
        ended = inside(self.arena.lab, _SERVER, "sh", "-c", script, "sh", *arguments, stdin=_CUT)
        if at:
            assert ended.split()[-1:] == [_KILLED], ended
        else:
            self.calls[arguments[0]] = int(self.sh("cat /run/calls; rm /run/calls"))

    def state(self) -> dict[str, Any]:
        """Without what belongs to these tests and a run that was killed."""
        found = self.arena.shown(_SERVER)
        return {key: value for key, value in found.items() if key not in {"run", "lock"}}

    def is_in(self, name: str) -> bool:
        """Whether the server is as the clean configuration."""
        known = self.arena.known[name][_SERVER]
        return self.state() == {key: value for key, value in known.items() if key not in {"run", "lock"}}

    def open(self) -> None:
        """A change, with the files of the new configuration pushed."""
        self.node("open", *_RUN, "--holder", "ann", "--timeout", "600", "--takeover")

    def pushed(self) -> None:
        """The same, and the new files are there."""
        self.open()
        self.sh(_PUSH, "new")

    def applied(self) -> None:
        """The same, and the kernel is as they say."""
        self.pushed()
        self.node("apply")


@pytest.fixture(scope="module")
def server(arena: Arena) -> Server:
    prepared(arena)
    made = Server(arena)
    for name in ("new", "old"):
        arena.settle(name)
        made.sh(_KEEP, name)
    made.sh("cp -p /usr/sbin/rbops-node /run/kept/rbops-node")
    return made


@dataclass(frozen=True)
class Step:
    """A verb with its arguments after ``ready``. ``ends``: the new configuration may be what results."""

    ready: Callable[[Server], None]
    arguments: tuple[str, ...]
    ends: bool = False


def _nothing(_: Server) -> None:
    """A server that is as it was confirmed."""


STEPS = {
    "open": Step(_nothing, ("open", *_RUN, "--holder", "ann", "--timeout", "600", "--takeover")),
    "apply": Step(Server.pushed, ("apply",)),
    "confirm": Step(Server.applied, ("confirm", *_RUN), ends=True),
    "revert": Step(Server.applied, ("revert", *_RUN)),
    "restore": Step(Server.open, ("restore", *_RUN, "--generation", "LAST")),
    "remove": Step(Server.open, ("remove", *_RUN)),
}
POINTS = 40
_KILLED = str(128 + signal.SIGKILL)
_SAMPLE = frozenset({15, 30})


def _marks(*, sampled: bool) -> list[pytest.MarkDecorator]:
    return [] if sampled else [pytest.mark.faults]


def _parameters() -> list[object]:
    return [
        pytest.param(verb, number, id=f"{verb}-{number}", marks=_marks(sampled=number in _SAMPLE))
        for verb in STEPS
        for number in range(1, POINTS)
    ]


def arguments(server: Server, step: Step) -> tuple[str, ...]:
    """With the number of the newest generation but one, which is the other configuration."""
    if "LAST" not in step.arguments:
        return step.arguments
    kept = server.sh("ls /var/lib/rbops/generations").split()
    return tuple(str(int(kept[-2])) if word == "LAST" else word for word in step.arguments)


def back(server: Server) -> None:
    """What follows a kill, and the old configuration again where the change was complete."""
    server.arena.fire_timers()
    if server.is_in("new"):
        server.open()
        server.sh(_PUSH, "old")
        server.node("apply")
        server.node("confirm", *_RUN)
        server.sh("systemctl restart rbops-watch.service")
    server.node("unlock", *_RUN)


@pytest.mark.parametrize(("verb", "number"), _parameters())
def test_kill(server: Server, verb: str, number: int) -> None:
    step = STEPS[verb]
    if verb not in server.calls:
        step.ready(server)
        server.killed(0, *arguments(server, step))
        back(server)
        assert server.is_in("old"), "without a fault"
    step.ready(server)
    server.killed(max(1, server.calls[verb] * number // POINTS), *arguments(server, step))
    server.arena.fire_timers()
    found = server.arena.verdict(_SERVER, server.arena.shown(_SERVER), ("old", "new"), frozenset({"run", "lock"}))
    assert found == "old" or (step.ends and found == "new"), found
    back(server)
    assert server.is_in("old")
