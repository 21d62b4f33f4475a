"""Every server as it was: told to revert where it answers, waited for where only its own timer can."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rbops.deploy.inventory import Target
from rbops.deploy.node import REVERT_WAIT_S, RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, probe
from rbops.deploy.report import Reporter
from rbops.deploy.ssh import Session, each, open_session
from rbops.deploy.stop import Stop
from rbops.errors import Locked, RbopsError, Unreachable

__all__ = ["PutBack"]

_RETRY_S = 2.0
_SNAPSHOT = "/var/lib/rbops/snapshot"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PutBack:
    """How to put the servers of one run back. ``deadline`` (monotonic): the timers have fired by then."""

    run_id: str
    folder: str
    program: bytes
    before: Mapping[str, Probe]
    deadline: float
    reporter: Reporter
    stop: Stop

    def all(self, targets: Sequence[Target]) -> dict[str, str]:
        """Put them back and look that they are as before; returns what is left, by server: empty when all is well."""
        results = each(((target.name, target) for target in targets), self._one)
        left = {name: str(result) if isinstance(result, RbopsError) else result for name, result in results.items()}
        return {name: text for name, text in left.items() if text}

    def _one(self, target: Target) -> str:
        told = False
        while True:
            try:
                return self._revert(target)
            except Unreachable as error:
                if time.monotonic() > self.deadline or self.stop.insisted:
                    return self._lost(error)
                if not told:
                    seconds = max(0, self.deadline - time.monotonic())
                    self.reporter.server(
                        target.name, f"does not answer; its own timer puts it back within {seconds:.0f} s"
                    )
                    told = True
                self.stop.sleep(_RETRY_S)

    def _revert(self, target: Target) -> str:
        with open_session(target) as session:
            stage(session, self.folder, {"rbops-node": self.program})
            node = RemoteNode(session, f"{self.folder}/rbops-node")
            try:
                node.call("revert", "--run", self.run_id, timeout=REVERT_WAIT_S)
                text = self._compare(session, node)
                node.call("unlock", "--run", self.run_id)
            except Locked as error:
                return f"another run has taken it over meanwhile: {error}"
            except Unreachable:
                raise
            except RbopsError as error:
                hint = error.hint or f"what was there before is in {_SNAPSHOT} on the server"
                return f"could not be put back: {error}; {hint}; its timer tries again unless it has fired"
            unstage(session, self.folder)
        self.reporter.server(target.name, text or "is as before")
        return text

    def _compare(self, session: Session, node: RemoteNode) -> str:
        """What differs from before, in rbops's files and in the kernel's state; empty when nothing does."""
        before, now = self.before[session.target.name].files, probe(session).files
        paths = sorted(path for path in {*before, *now} if before.get(path) != now.get(path))
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            return f"was put back, but not these files: {', '.join(paths[:_SHOWN])}{more}"
        if "/etc/rbops/node.json" not in before:
            return ""
        differences = node.diff()
        if differences:
            first = ", ".join("{subject} {setting}".format(**entry) for entry in differences[:_SHOWN])
            return f"has its old files back, but its kernel differs from them in: {first}"
        return ""

    def _lost(self, error: RbopsError) -> str:
        seconds = self.deadline - time.monotonic()
        when = f"fires in {seconds:.0f} s" if seconds > 0 else "must have fired by now"
        return (
            f"state unknown: {error}; its own revert timer (rbops-revert.timer) {when}; "
            f"what was there before is in {_SNAPSHOT} on it until then"
        )
