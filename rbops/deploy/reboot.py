"""Rolling reboot: the next server only when the previous one forwards again.

A server is drained before: nothing goes through it when it goes down. While it is down Direct VLB avoids it: the
others' watches exclude its links. So at most one is down at a time,
and a server that does not come back ends the rolling reboot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from rbops.deploy.drain import drained_meanwhile
from rbops.deploy.inventory import Inventory, Target
from rbops.deploy.node import RemoteNode
from rbops.deploy.probe import probe
from rbops.deploy.report import Reporter
from rbops.deploy.runs import Run
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.deploy.stop import Stop
from rbops.deploy.transaction import holder
from rbops.errors import CheckFailed, RbopsError, StateUnknown, Unreachable
from rbops.plan import ClusterPlan

__all__ = ["REBOOT_TIMEOUT_S", "Reboots", "Waiting", "waiting_of", "waiting_of_all"]

REBOOT_TIMEOUT_S = 600
"""How long a server may take from the command to forwarding again; some test their memory for minutes."""

_COMMAND_S = 20.0
_RETRY_S = 1.0
_PINGS = 3
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """A planned setting that takes effect with the next reboot: it is ``have`` and will be ``want``."""

    subject: str
    setting: str
    have: str
    want: str

    def __str__(self) -> str:
        return f"{self.subject} {self.setting}: {self.have} -> {self.want}"


def waiting_of(status: Mapping[str, Any]) -> tuple[Waiting, ...]:
    """The entries in rbops-node's status."""
    return tuple(Waiting(e["subject"], e["setting"], e["have"], e["want"]) for e in status.get("reboot", ()))


def waiting_of_all(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Waiting, ...]]:
    """Server -> what waits for its reboot, of those where something does."""
    found = {name: waiting_of(answer) for name, answer in answers.items()}
    return {name: waiting for name, waiting in found.items() if waiting}


@dataclass(frozen=True, slots=True)
class Reboots:
    """The reboots of one run. ``timeout_s`` is for each server."""

    run: Run
    plan: ClusterPlan
    inventory: Inventory
    reporter: Reporter
    stop: Stop
    timeout_s: int = REBOOT_TIMEOUT_S

    def all(self, names: Sequence[str]) -> dict[str, float]:
        """Reboot the named servers, those without external ports first; server -> seconds until it forwarded again.

        Raises Locked (7) before the first, StateUnknown (6) naming the first that does not come back, and
        CheckFailed (1) for one that comes back without what it was rebooted for, or when it is interrupted
        between two servers.
        """
        ordered = sorted(names, key=lambda name: (self.plan.server(name).role == "port", self.plan.server(name).index))
        done: dict[str, float] = {}
        with self._locked():
            for number, name in enumerate(ordered, 1):
                if self.stop.requested:
                    raise CheckFailed(
                        f"interrupted by {self.stop.reason}: {_progress(done, ordered)}", code="reboot.interrupted"
                    )
                self.reporter.step(f"rebooting {name}, {number} of {len(ordered)}")
                try:
                    done[name] = self._one(self.inventory.server(name))
                except RbopsError as error:
                    self.run.note("reboot failed", server=name, reason=str(error))
                    kind = StateUnknown if isinstance(error, Unreachable) else type(error)
                    message = f"{error.message}\n{_progress(done, ordered)}"
                    raise kind(message, code=error.code, where=error.where, hint=error.hint) from error
                self.run.note("rebooted", server=name, seconds=done[name])
                self.reporter.server(name, f"forwards again after {done[name]:.0f} s")
        return done

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No other run pushes while one of the servers is down."""
        identity = ("--run", self.run.id, "--holder", holder())
        self._on_all("lock", *identity)
        try:
            yield
        finally:
            self._on_all("unlock", "--run", self.run.id, quiet=True)

    def _on_all(self, verb: str, *arguments: str, quiet: bool = False) -> None:
        def call(target: Target) -> None:
            with open_session(target) as session:
                RemoteNode(session).call(verb, *arguments)

        results = each(((target.name, target) for target in self.inventory.servers), call)
        if not quiet:
            raise_errors(results)
        for name, error in results.items():
            if isinstance(error, RbopsError):
                self.run.note(f"no {verb}", server=name, reason=str(error))

    def _one(self, target: Target) -> float:
        with self._drained(target.name):
            return self._rebooted(target)

    def _drained(self, name: str) -> AbstractContextManager[None]:
        """Nothing goes through the server while it is away, where the others can do without it."""

        def stays(error: RbopsError) -> None:
            self.run.note("still drained", server=name, reason=str(error))
            self.reporter.step(f"{name} is still drained: {error.message}; `rbops undrain`")

        return drained_meanwhile(
            self.plan,
            self.inventory,
            name,
            self.run.id,
            refused=lambda error: self.run.note("not drained", server=name, reason=str(error)),
            stays=stays,
        )

    def _rebooted(self, target: Target) -> float:
        start = time.monotonic()
        with open_session(target) as session:
            before = probe(session).boot_id
            self._send_reboot(session)
        session = self._back(target, before, start + self.timeout_s)
        with session:
            self._booted(session, start + self.timeout_s)
            self._forwarding(session, start + self.timeout_s)
            left = waiting_of(RemoteNode(session).call("status"))
        if left:
            text = "; ".join(str(entry) for entry in left[:_SHOWN])
            raise CheckFailed(
                f"was rebooted and forwards, but settings did not take effect: {text}",
                code="reboot.no-effect",
                where=target.where,
                hint=f"compare its boot loader's configuration with /proc/cmdline on {target.name}",
            )
        return round(time.monotonic() - start, 1)

    def _send_reboot(self, session: Session) -> None:
        try:
            done = session.run(["systemctl", "reboot"], _COMMAND_S)
        except RbopsError:
            # The connection may break before the answer arrives.
            return
        if done.returncode:
            raise StateUnknown(
                f"`systemctl reboot` failed: {done.reason}", code="reboot.refused", where=session.target.where
            )

    def _back(self, target: Target, before: str | None, deadline: float) -> Session:
        """A connection to the server after its boot."""
        reason = "it did not go down"
        while True:
            try:
                session = open_session(target)
            except RbopsError as error:
                reason = str(error)
            else:
                try:
                    if probe(session).boot_id != before:
                        return session
                    reason = "it did not go down"
                except RbopsError as error:
                    reason = str(error)
                session.close()
            self._wait(target, f"did not come back: {reason}", deadline)

    def _booted(self, session: Session, deadline: float) -> None:
        """Wait until rbops.service has activated the configuration."""
        target = session.target
        while True:
            asked = ["systemctl", "show", "--value", "--property=ActiveState,SubState", "rbops.service"]
            state, sub = [*session.run(asked, _COMMAND_S).stdout.split(), "", ""][:2]
            if state == "active":
                return
            # systemd tries it again; the next server is not rebooted on that hope.
            if state == "failed" or sub == "auto-restart":
                raise StateUnknown(
                    "is back, but rbops.service failed: its configuration is not active",
                    code="reboot.service",
                    where=target.where,
                    hint=f"see `journalctl -b -u rbops.service` on {target.name}",
                )
            self._wait(target, f"is back, but rbops.service is {state or 'unknown'}", deadline)

    def _forwarding(self, session: Session, deadline: float) -> None:
        """Wait until the kernel is as planned and every other server with ports answers over the fabric."""
        while True:
            reason = self._not_forwarding(session)
            if not reason:
                return
            self._wait(session.target, f"is back, but does not forward: {reason}", deadline)

    def _not_forwarding(self, session: Session) -> str:
        node = RemoteNode(session)
        try:
            differences = node.diff()
            if differences:
                return "; ".join("{subject}: {setting} is {have}".format(**entry) for entry in differences[:_SHOWN])
            # A server without external ports has no address to ping from: it forwards what others send.
            asked = self._peers(session) if self.plan.server(session.target.name).external_ports else {}
            before = _received(node)
            silent = [name for name, address in asked.items() if not _answers(session, address)]
            if silent:
                return f"no answer over the fabric from {', '.join(silent)}"
            if asked and _received(node) <= before:
                return "its data plane counts nothing"
        except RbopsError as error:
            return str(error)
        return ""

    def _peers(self, session: Session) -> dict[str, str]:
        """Every other server in the inventory that has external ports -> its first address there."""
        found = {}
        chosen = {target.name for target in self.inventory.servers} - {session.target.name}
        for server in self.plan.servers:
            addresses = [address for port in server.ports for address in port.addresses]
            if server.name in chosen and addresses:
                found[server.name] = addresses[0].partition("/")[0]
        return found

    def _wait(self, target: Target, what: str, deadline: float) -> None:
        if self.stop.insisted:
            raise StateUnknown(
                f"{what}; interrupted by {self.stop.reason} before it forwarded again",
                code="reboot.abandoned",
                where=target.where,
            )
        if time.monotonic() > deadline:
            raise StateUnknown(
                f"{what} (waited {self.timeout_s} s)",
                code="reboot.timeout",
                where=target.where,
                hint="see its console; `rbops status` and `rbops verify` when it answers; no other was rebooted",
            )
        self.stop.sleep(_RETRY_S)


def _answers(session: Session, address: str) -> bool:
    ping = ["ping", "-n", "-q", "-i", "0.05", "-W", "1", "-c", str(_PINGS), address]
    return session.run(ping, _COMMAND_S).returncode == 0


def _received(node: RemoteNode) -> int:
    return int(node.call("counters")["total"]["received"]["internal"])


def _progress(done: Mapping[str, float], ordered: Sequence[str]) -> str:
    left = [name for name in ordered if name not in done]
    rebooted = ", ".join(done) or "none"
    return f"the change is confirmed; rebooted: {rebooted}; not rebooted or not back: {', '.join(left)}"
