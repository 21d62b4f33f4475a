"""Rolls the servers of a failed run back: by ``rbops-node revert`` where they answer, else by their own timers.

Servers that the run drained are used again when all are back: one that was to leave the cluster would else send to
servers that do not know it yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rbops.deploy.inventory import Target
from rbops.deploy.node import REVERT_WAIT_S, RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, probe
from rbops.deploy.report import Reporter
from rbops.deploy.ssh import Session, each, open_session
from rbops.deploy.stop import Stop
from rbops.errors import Locked, RbopsError, Unreachable

__all__ = ["Revert"]

_RETRY_S = 2.0
_SNAPSHOT = "/var/lib/rbops/snapshot"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Revert:
    """The rollback of one run's servers. ``deadline`` (monotonic): the timers have fired by then."""

    run_id: str
    folder: str
    program: bytes
    before: Mapping[str, Probe]
    deadline: float
    reporter: Reporter
    stop: Stop

    def all(self, targets: Sequence[Target]) -> dict[str, str]:
        """Roll all back and compare with before; returns what is left by server, empty when nothing is."""
        named = {target.name: target for target in targets}
        results = each(named.items(), lambda target: self._until_it_answers(target, self._revert))
        left = {name: result.message if isinstance(result, RbopsError) else result for name, result in results.items()}
        back = [(name, named[name]) for name, text in left.items() if text is None]
        ends = each(back, lambda target: self._until_it_answers(target, self._give_back))
        left |= {name: end.message if isinstance(end, RbopsError) else end for name, end in ends.items()}
        return {name: text for name, text in left.items() if text}

    def _until_it_answers(self, target: Target, action: Callable[[Target], str | None]) -> str | None:
        reported = False
        while True:
            try:
                return action(target)
            except Unreachable as error:
                if time.monotonic() > self.deadline or self.stop.insisted:
                    return self._lost(error)
                if not reported:
                    seconds = max(0, self.deadline - time.monotonic())
                    self.reporter.server(
                        target.name, f"does not answer; its own timer rolls it back within {seconds:.0f} s"
                    )
                    reported = True
                self.stop.sleep(_RETRY_S)

    def _revert(self, target: Target) -> str | None:
        """None: it is as before. It stays locked then."""
        with open_session(target) as session:
            stage(session, self.folder, {"rbops-node": self.program})
            node = self._node(session)
            try:
                node.call("revert", "--run", self.run_id, "--keep-drained", timeout=REVERT_WAIT_S)
                text = self._compare(session, node)
            except Locked as error:
                return f"another run has locked it since: {error.message}"
            except Unreachable:
                raise
            except RbopsError as error:
                hint = error.hint or f"the state before is in {_SNAPSHOT} on the server"
                return f"the rollback failed: {error.message}; {hint}; its timer tries again unless it has fired"
            if text:
                self._unlock(node)
                unstage(session, self.folder)
        self.reporter.server(target.name, text or "is as before")
        return text or None

    def _give_back(self, target: Target) -> str | None:
        with open_session(target) as session:
            try:
                self._unlock(self._node(session))
            except Unreachable:
                raise
            except RbopsError as error:
                return f"was rolled back, but is still locked: {error.message}"
            unstage(session, self.folder)
        return None

    def _node(self, session: Session) -> RemoteNode:
        """The run's own program, as it was staged there."""
        return RemoteNode(session, f"{self.folder}/rbops-node")

    def _unlock(self, node: RemoteNode) -> None:
        node.call("unlock", "--run", self.run_id, "--undrain")

    def _compare(self, session: Session, node: RemoteNode) -> str:
        """What differs from before, in rbops's files and in the kernel's state; empty when nothing does."""
        before, now = self.before[session.target.name].files, probe(session).files
        paths = sorted(path for path in {*before, *now} if before.get(path) != now.get(path))
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            return f"was rolled back, but not these files: {', '.join(paths[:_SHOWN])}{more}"
        if "/etc/rbops/node.json" not in before:
            return ""
        differences = node.diff()
        if differences:
            first = ", ".join("{subject} {setting}".format(**entry) for entry in differences[:_SHOWN])
            return f"its files were rolled back, but its kernel differs from them in: {first}"
        return ""

    def _lost(self, error: RbopsError) -> str:
        seconds = self.deadline - time.monotonic()
        when = f"fires in {seconds:.0f} s" if seconds > 0 else "must have fired by now"
        return (
            f"state unknown: {error.message}; its own revert timer (rbops-revert.timer) {when}; "
            f"the state before is in {_SNAPSHOT} on it until then"
        )
