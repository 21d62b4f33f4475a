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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rbops.deploy.compiled import files_for
from rbops.deploy.inventory import Target
from rbops.deploy.node import REVERT_WAIT_S, RemoteNode, unstage
from rbops.deploy.probe import Probe, check_identities, probe
from rbops.deploy.report import Reporter
from rbops.deploy.revert import Revert
from rbops.deploy.runs import Run
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.deploy.stop import Stop
from rbops.errors import ApplyFailed, CheckFailed, Locked, RbopsError, StateUnknown, UsageError

__all__ = ["Transaction", "connected", "look"]

_Result = TypeVar("_Result")
_RETRY_S = 1.0
_MARGIN_S = 5.0
_BEAT = 1 / 3
_SWEEP_TIMEOUT_S = 20.0
_ROLLED_BACK = "node.no-change"


@dataclass(slots=True)
class Transaction:
    """One run's change of all its servers.

    ``before`` is what each looked like at the start, ``confirmed`` what rbops-node answered to the confirmation.
    """

    run: Run
    targets: Sequence[Target]
    sessions: Mapping[str, Session]
    before: Mapping[str, Probe]
    program: bytes
    timeout_s: int
    reporter: Reporter
    stop: Stop
    reason: str = ""
    begun: bool = field(default=False, init=False)
    confirmed: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False)
    _expires: float = field(default=0.0, init=False)

    @property
    def folder(self) -> str:
        """The folder of this run's node program on the servers: in memory, gone with a reboot."""
        return f"/run/rbops-{self.run.id}"

    def carry_out(
        self, planned: Callable[[str], bytes | str | None], work: Callable[[], _Result], *, break_lock: bool
    ) -> _Result:
        """:meth:`open`, then ``work``, which ends with :meth:`confirm`; rolls every server back when it fails.

        Raises what :meth:`open` and :meth:`fail` do.
        """
        self.reporter.step("locking, snapshot, revert timers")
        self.open(planned, break_lock=break_lock)
        try:
            return work()
        except RbopsError as error:
            if not self.begun:
                raise
            raise self.fail(error) from error
        except BaseException as error:
            # A bug of rbops must not leave servers to their timers either.
            self.fail(RbopsError(f"unexpected {type(error).__name__}", code="apply.bug"))
            raise

    def open(self, planned: Callable[[str], bytes | str | None], *, break_lock: bool) -> None:
        """Lock all servers, let each check that it can be as planned, snapshot and arm the timers.

        ``planned`` is a server's node.json, or its path there; None: nothing is checked.
        On any failure none is left locked or begun. Raises Locked (7) with holder, age and run, Mismatch (3) when
        a server cannot carry out what is planned or a timer cannot be armed: nothing was changed then.
        """
        identity = ("--run", self.run.id, "--holder", holder(), "--timeout", str(self.timeout_s))
        takeover = ("--takeover",) if break_lock else ()

        code = files_for(self.before, self.program)

        def begin(session: Session) -> None:
            node = planned(session.target.name)
            files = {"rbops-node": self.program, **code.get(session.target.name, {})}
            if isinstance(node, bytes):
                files["node.json"], node = node, f"{self.folder}/node.json"
            check = ("--planned", node) if node else ()
            self.node(session).call_staged(self.folder, files, "open", *identity, *takeover, *check)

        try:
            self._all(begin)
            # Counted from the answer: no timer fires later than this.
            self._expires = time.monotonic() + self.timeout_s
            self._all(self._sweep)
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
                    self._rearm(self.sessions)
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

    def confirm_unless_stopped(self) -> None:
        """The last step of every change: :meth:`confirm`, unless a stop was requested (CheckFailed, 1)."""
        self.stop.end_if_requested("everything was pushed, nothing confirmed")
        self.reporter.step("confirming over new connections")
        self.confirm()

    def confirm(self) -> None:
        """Keep the change on all servers, each over a new connection.

        First every server must answer on a new connection and still have this change open; only then is
        the first one confirmed. A server lost in between is tried until its timer is about to fire.
        Raises the reason, with nothing confirmed, in the first half; StateUnknown (6) in the second.
        """
        fresh = each(((target.name, target) for target in self.targets), open_session)
        try:
            raise_errors(fresh)
            sessions = {name: session for name, session in fresh.items() if isinstance(session, Session)}
            self._rearm(sessions)
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

    def _rearm(self, sessions: Mapping[str, Session]) -> None:
        """Start the timers anew; ApplyFailed when the change is not open any more."""

        def rearm(session: Session) -> None:
            try:
                self.node(session).call("rearm", "--run", self.run.id, "--timeout", str(self.timeout_s))
            except CheckFailed as error:
                raise ApplyFailed(
                    "the commit timer expired before the confirmation, the server rolled itself back",
                    code="apply.timer",
                    where=session.target.where,
                ) from error

        raise_errors(each(sessions.items(), rearm))
        self._expires = time.monotonic() + self.timeout_s

    def _sweep(self, session: Session) -> None:
        """Remove what killed runs left in memory; this run holds the lock, so no other is active."""
        old = " ".join(f"/run/rbops-*-{verb}-*" for verb in ("apply", "rollback", "remove"))
        script = f'for f in {old}; do [ "$f" = "$0" ] || rm -rf -- "$f"; done'
        session.run(["sh", "-c", script, self.folder], _SWEEP_TIMEOUT_S)

    def node(self, session: Session) -> RemoteNode:
        """The node program of this run on a server."""
        return RemoteNode(session, f"{self.folder}/rbops-node")

    def _all(self, action: Callable[[Session], _Result]) -> dict[str, _Result]:
        results = each(self.sessions.items(), action)
        raise_errors(results)
        return {name: result for name, result in results.items() if not isinstance(result, RbopsError)}

    def _confirm_one(self, session: Session) -> None:
        while True:
            try:
                arguments = ("--run", self.run.id, "--reason", self.reason, "--unlock")
                done = self.node(session).call("confirm", *arguments, timeout=REVERT_WAIT_S)
            except RbopsError as error:
                # A server that has rolled itself back says so for ever, and one whose configuration cannot be read.
                final = error.code == _ROLLED_BACK or isinstance(error, UsageError)
                if final or self.expires_in() < _MARGIN_S:
                    raise
                time.sleep(_RETRY_S)
                session = self._again(session)
            else:
                self.run.note("confirmed", server=session.target.name)
                self.confirmed[session.target.name] = done
                if "left" in done:
                    self.reporter.warn(f"{session.target.name}: confirmed, but not unlocked: {done['left']}")
                if "stays" in done:
                    self.reporter.warn(
                        f"{session.target.name}: confirmed, but these files could not be removed: "
                        f"{', '.join(done['stays'])}; they do nothing, and the next change removes them"
                    )
                if "not_kept" in done:
                    self.reporter.warn(
                        f"{session.target.name}: confirmed, but not kept for a rollback: {done['not_kept']}"
                    )
                return

    def _again(self, session: Session) -> Session:
        """A new connection to the same server, or the broken one while there is none.

        CheckFailed (1) when it has rebooted since: it has booted what it had before, and can confirm nothing.
        """
        try:
            fresh = open_session(session.target)
        except RbopsError:
            return session
        try:
            boot_id = probe(fresh).boot_id
        except RbopsError:
            fresh.close()
            return session
        before = self.before.get(session.target.name)
        if before is not None and boot_id != before.boot_id:
            fresh.close()
            raise CheckFailed(
                "it rebooted before the confirmation and boots the configuration before the change",
                code="apply.rebooted",
                where=session.target.where,
            )
        return fresh

    def _half_confirmed(self, lost: Mapping[str, RbopsError]) -> str:
        kept = [target.name for target in self.targets if target.name not in lost]
        lines = [f"{name}: not confirmed, its timer rolls it back: {error.message}" for name, error in lost.items()]
        return "\n".join([f"confirmed, with the new configuration: {', '.join(kept) or 'none'}", *lines])

    def _abandon(self) -> None:
        """After a failed open: revert and unlock; as nothing was pushed this changes nothing."""

        def leave(session: Session) -> None:
            node = self.node(session)
            try:
                node.call("revert", "--run", self.run.id)
                node.call("unlock", "--run", self.run.id)
            except Locked:
                return  # another run has it: there is nothing of this one
            finally:
                unstage(session, self.folder)

        self._noted("not cleaned up", each(self.sessions.items(), leave))

    def _leave(self, sessions: Mapping[str, Session]) -> None:
        """After a confirmed change: remove this run's files."""
        self._noted("not cleaned up", each(sessions.items(), lambda session: unstage(session, self.folder)))

    def _noted(self, what: str, results: Mapping[str, object]) -> None:
        for name, error in results.items():
            if isinstance(error, RbopsError):
                self.run.note(what, server=name, reason=str(error))
                self.reporter.warn(f"{what}: {error}")


def holder() -> str:
    """``user@machine`` of whoever runs this, for other operators."""
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    return f"{user}@{socket.gethostname()}"


@contextmanager
def connected(
    targets: Sequence[Target], cluster: str | None, reporter: Reporter
) -> Iterator[tuple[dict[str, Session], dict[str, Probe]]]:
    """Sessions with all servers, and what each looks like; they are those of ``cluster`` where one is given.

    Raises Unreachable (4) or Mismatch (3) naming every server concerned.
    """
    reporter.step(f"reaching {len(targets)} servers")
    with ExitStack() as stack:
        opened = each(((target.name, target) for target in targets), open_session)
        sessions = {name: session for name, session in opened.items() if isinstance(session, Session)}
        for session in sessions.values():
            stack.callback(session.close)
        raise_errors(opened)
        before = look(sessions)
        if cluster is not None:
            check_identities(before.values(), cluster)
        yield sessions, before


def look(sessions: Mapping[str, Session]) -> dict[str, Probe]:
    """Probe all servers at once; raises what went wrong on any."""
    results = each(sessions.items(), probe)
    raise_errors(results)
    return {name: found for name, found in results.items() if isinstance(found, Probe)}
