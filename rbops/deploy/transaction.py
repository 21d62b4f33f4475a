"""Commit-confirmed over all servers: lock, snapshot and commit timer, confirm; or roll back all of them.

Each server can roll itself back: ``rbops-node begin`` takes a snapshot and arms a systemd timer that reverts unless
``confirm`` comes, even when this program is gone. This module drives all servers at once; in the end all are
confirmed, or all are as before.
"""

from __future__ import annotations

import os
import pwd
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rbops.deploy.inventory import Target
from rbops.deploy.node import REVERT_WAIT_S, RemoteNode, stage, unstage
from rbops.deploy.probe import Probe, probe
from rbops.deploy.report import Reporter
from rbops.deploy.revert import Revert
from rbops.deploy.runs import Run
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.deploy.stop import Stop
from rbops.errors import ApplyFailed, RbopsError, StateUnknown

__all__ = ["Transaction"]

_Result = TypeVar("_Result")
_RETRY_S = 1.0
_MARGIN_S = 5.0
_BEAT = 1 / 3
_SWEEP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Transaction:
    """One run's change of all its servers. ``before`` is what each looked like at the start."""

    run: Run
    targets: Sequence[Target]
    sessions: Mapping[str, Session]
    before: Mapping[str, Probe]
    program: bytes
    timeout_s: int
    reporter: Reporter
    stop: Stop
    begun: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)
    _expires: float = field(default=0.0, init=False)

    @property
    def folder(self) -> str:
        """The folder of this run's node program on the servers: in memory, gone with a reboot."""
        return f"/run/rbops-{self.run.id}"

    def open(self, *, break_lock: bool) -> None:
        """Lock all servers, let each validate what is planned for it, then begin on all.

        On any failure none is left locked or begun. Raises Locked (7) with holder, age and run, Mismatch (3) when
        a server cannot carry out what is planned or a timer cannot be armed: nothing was changed then.
        """
        takeover = ("--takeover",) if break_lock else ()
        try:
            self._all(lambda session: stage(session, self.folder, {"rbops-node": self.program}))
            identity = ("--run", self.run.id, "--holder", holder())
            self._all(lambda session: self._node(session).call("lock", *identity, *takeover))
            self._all(self._sweep)
            self._all(self._validate)
            self._begin()
        except RbopsError:
            self._abandon()
            raise
        self.begun = True

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Re-arm the timers while the block runs, however long: they fire only when this program is gone."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self.timeout_s * _BEAT):
                try:
                    self._begin()
                except RbopsError as error:
                    self.run.note("timer not re-armed", reason=str(error))

        thread = threading.Thread(target=beat, name="rbops-timers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def call(self, action: Callable[[Session], _Result]) -> dict[str, _Result]:
        """Do something on every server at once; raises what went wrong on any."""
        return self._all(action)

    def confirm(self) -> None:
        """Keep the change on all servers, each over a new connection.

        First every server must answer on a new connection and still have this change open; only then is
        the first one confirmed. A server lost in between is tried until its timer is about to fire.
        Raises the reason, with nothing confirmed, in the first half; StateUnknown (6) in the second.
        """
        self._begin()
        fresh = each(((target.name, target) for target in self.targets), open_session)
        try:
            raise_errors(fresh)
            sessions = {name: session for name, session in fresh.items() if isinstance(session, Session)}
            raise_errors(each(sessions.items(), self._still_open))
            results = each(sessions.items(), self._confirm_one)
            lost = {name: error for name, error in results.items() if isinstance(error, RbopsError)}
            # From here on a revert on all servers could not restore the state before.
            self.begun = False
            if lost:
                raise StateUnknown(
                    self._half_confirmed(lost),
                    code="apply.half-confirmed",
                    hint="when they answer again: rbops status, rbops apply",
                    causes=tuple(lost.values()),
                )
            self._leave(sessions)
        finally:
            for session in fresh.values():
                if isinstance(session, Session):
                    session.close()

    def fail(self, reason: RbopsError) -> ApplyFailed | StateUnknown:
        """Roll every server back; returns the error to raise: 5 when all are as before, else 6."""
        self.reporter.step("rolling every server back")
        self.run.note("roll back", reason=str(reason))
        work = Revert(
            self.run.id,
            self.folder,
            self.program,
            self.before,
            max(self._expires, time.monotonic()) + 3 * _MARGIN_S,
            self.reporter,
            self.stop,
        )
        left = work.all(self.targets)
        self.begun = False
        self.run.note("rolled back", left=left)
        names = ", ".join(target.name for target in self.targets)
        journal = f"the run's journal: {self.run.folder}"
        if not left:
            return ApplyFailed(
                f"{reason}\nrolled back and checked: {names}", code="apply.rolled-back", hint=journal, causes=(reason,)
            )
        lines = [f"{reason}", *(f"{name}: {text}" for name, text in left.items())]
        back = [target.name for target in self.targets if target.name not in left]
        lines += [f"rolled back and checked: {', '.join(back)}"] if back else []
        return StateUnknown(
            "\n".join(lines),
            code="apply.rollback-failed",
            hint=f"look at each server named; {journal}",
            causes=(reason,),
        )

    def expires_in(self) -> float:
        """Seconds until the servers' timers fire, from the last begin."""
        return self._expires - time.monotonic()

    def _begin(self) -> None:
        arguments = ("--run", self.run.id, "--holder", holder(), "--timeout", str(self.timeout_s))
        self._begun = True
        self._all(lambda session: self._node(session).call("begin", *arguments))
        # Counted from the answer: no timer fires later than this.
        self._expires = time.monotonic() + self.timeout_s

    def _validate(self, session: Session) -> None:
        """rbops-node checks that the server can be as planned: CPUs, devices, modules, boot loader."""
        planned = self.run.project / "hosts" / session.target.name / "etc" / "rbops" / "node.json"
        stage(session, self.folder, {"node.json": planned.read_bytes()})
        self._node(session).call("validate", "--config", f"{self.folder}/node.json")

    def _sweep(self, session: Session) -> None:
        """Remove what killed runs left in memory; this run holds the lock, so no other is active."""
        script = 'for f in /run/rbops-*-apply-* /run/rbops-*-rollback-*; do [ "$f" = "$0" ] || rm -rf -- "$f"; done'
        session.run(["sh", "-c", script, self.folder], _SWEEP_TIMEOUT_S)

    def _node(self, session: Session) -> RemoteNode:
        return RemoteNode(session, f"{self.folder}/rbops-node")

    def _all(self, action: Callable[[Session], _Result]) -> dict[str, _Result]:
        results = each(self.sessions.items(), action)
        raise_errors(results)
        return {name: result for name, result in results.items() if not isinstance(result, RbopsError)}

    def _still_open(self, session: Session) -> None:
        found = self._node(session).call("status")["transaction"]
        if not found or found["run"] != self.run.id or not found["timer_armed"] or found["left_s"] < _MARGIN_S:
            raise ApplyFailed(
                "the commit timer expired before the confirmation, the server rolled itself back",
                code="apply.timer",
                where=session.target.where,
            )

    def _confirm_one(self, session: Session) -> None:
        while True:
            try:
                self._node(session).call("confirm", "--run", self.run.id, timeout=REVERT_WAIT_S)
            except RbopsError:
                if self.expires_in() < _MARGIN_S:
                    raise
                time.sleep(_RETRY_S)
                session = self._again(session)
            else:
                self.run.note("confirmed", server=session.target.name)
                return

    def _again(self, session: Session) -> Session:
        """A new connection to the same server, or the broken one while there is none."""
        try:
            return open_session(session.target)
        except RbopsError:
            return session

    def _half_confirmed(self, lost: Mapping[str, RbopsError]) -> str:
        kept = [target.name for target in self.targets if target.name not in lost]
        lines = [f"{name}: not confirmed, its timer rolls it back: {error.message}" for name, error in lost.items()]
        return "\n".join([f"confirmed, with the new configuration: {', '.join(kept) or 'none'}", *lines])

    def _abandon(self) -> None:
        """After a failed open: revert and unlock; as nothing was pushed this changes nothing."""

        def leave(session: Session) -> None:
            node = self._node(session)
            try:
                if self._begun:
                    node.call("revert", "--run", self.run.id)
                node.call("unlock", "--run", self.run.id)
            finally:
                unstage(session, self.folder)

        self._noted("not cleaned up", each(self.sessions.items(), leave))

    def _leave(self, sessions: Mapping[str, Session]) -> None:
        """After a confirmed change: unlock, and remove this run's files."""

        def leave(session: Session) -> None:
            self._node(session).call("unlock", "--run", self.run.id)
            unstage(session, self.folder)

        self._noted("not unlocked", each(sessions.items(), leave))

    def _noted(self, what: str, results: Mapping[str, object]) -> None:
        for name, error in results.items():
            if isinstance(error, RbopsError):
                self.run.note(what, server=name, reason=str(error))
                self.reporter.warn(f"{what}: {error}")


def holder() -> str:
    """``user@machine`` of whoever runs this, for other operators."""
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    return f"{user}@{socket.gethostname()}"


def look(sessions: Mapping[str, Session]) -> dict[str, Probe]:
    """Probe all servers at once; raises what went wrong on any."""
    results = each(sessions.items(), probe)
    raise_errors(results)
    return {name: found for name, found in results.items() if isinstance(found, Probe)}
