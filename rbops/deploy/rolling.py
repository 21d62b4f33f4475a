"""A rolling push: some servers at a time, each drained before and used again after; the first failure ends it.

Each step is a transaction of its own servers: they have the new configuration or their old one. Those before it keep
the new one, those behind it the old one, and the error names both. All servers stay locked: who takes a killed run's
locks over uses again what it drained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rbops.dataplane import registry
from rbops.deploy.drain import drained_meanwhile
from rbops.deploy.growth import resize
from rbops.deploy.inventory import Target
from rbops.deploy.node import RemoteNode
from rbops.deploy.probe import Probe
from rbops.deploy.report import Reporter
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.deploy.stop import Stop
from rbops.deploy.transaction import connected, holder
from rbops.errors import RbopsError, StateUnknown, Unreachable, UsageError

if TYPE_CHECKING:
    from rbops.deploy.apply import Applied, Push

__all__ = ["Rolling"]


@dataclass(frozen=True, slots=True)
class Rolling:
    """``serial`` servers at a time, in the plan's order."""

    what: Push
    serial: int
    reporter: Reporter
    stop: Stop
    break_lock: bool = False

    def all(self, one: Callable[[Push], Applied]) -> Applied:
        """Push to all by ``one``, which is given the push to some. What it raises, while nothing has the new plan.

        StateUnknown (6) naming who has which plan, when a later step fails or is interrupted. UsageError (2) where
        the number of servers changes. Before the first step all servers must answer, and none be another run's.
        """
        inventory, done = self.what.inventory, list[Target]()
        steps = [inventory.servers[at : at + self.serial] for at in range(0, len(inventory.servers), self.serial)]
        found: list[Applied] = []
        with connected(inventory.servers, self.what.plan.name, self.reporter) as (sessions, before):
            if resize(self.what.plan, before, self.reporter) is not None:
                raise UsageError(
                    "--serial: the number of servers changes",
                    code="apply.serial-size",
                    hint="without --serial newcomers come first, and servers that go are drained before",
                )
            known = {name: sessions[name] for name in before if before[name].cluster == self.what.plan.name}
            with self._locked(known):
                for number, step in enumerate(steps, 1):
                    try:
                        self.stop.end_if_requested(f"step {number} of {len(steps)} was not begun")
                        self.reporter.step(f"{_names(step)}: step {number} of {len(steps)}")
                        self._lock({target.name: known[target.name] for target in done if target.name in known})
                        with self._drained(step, before):
                            found.append(one(replace(self.what, inventory=replace(inventory, servers=step))))
                    except RbopsError as error:
                        if not done:
                            raise
                        raise self._mixed(error, done, inventory.servers[len(done) :]) from error
                    done += step
        return _together(found)

    def _mixed(self, error: RbopsError, done: Sequence[Target], rest: Sequence[Target]) -> StateUnknown:
        named = f"with the new plan: {_names(done)}\nwith what they had before, unless said otherwise: {_names(rest)}"
        return StateUnknown(
            f"{error}\n{named}",
            code="apply.mixed",
            hint=f"`rbops apply --serial {self.serial}` goes on; "
            f"`rbops rollback -i INVENTORY --limit {','.join(target.name for target in done)}` goes back",
            causes=(error,),
        )

    @contextmanager
    def _locked(self, sessions: Mapping[str, Session]) -> Iterator[None]:
        """No other run pushes meanwhile."""
        try:
            self._lock(sessions, *(("--takeover",) if self.break_lock else ()))
            yield
        finally:
            left = each(sessions.items(), self._unlock)
            for name, error in left.items():
                if isinstance(error, Unreachable):
                    self._unlock_again(name)
                elif isinstance(error, RbopsError):
                    self.what.run.note("no unlock", server=name, reason=str(error))

    def _unlock(self, session: Session) -> object:
        return RemoteNode(session).call("unlock", "--run", self.what.run.id)

    def _unlock_again(self, name: str) -> None:
        """Over a new connection: the one from before the push broke."""
        try:
            with open_session(self.what.inventory.server(name)) as session:
                self._unlock(session)
        except RbopsError as error:
            self.what.run.note("no unlock", server=name, reason=str(error))
            self.reporter.warn(f"{name} stays locked: {error.message}; `rbops apply --break-lock` takes it over")

    def _lock(self, sessions: Mapping[str, Session], *options: str) -> None:
        """Also again: a server's own step gives it back."""
        taken = ("--run", self.what.run.id, "--holder", holder(), *options)
        raise_errors(each(sessions.items(), lambda session: RemoteNode(session).call("lock", *taken)))

    @contextmanager
    def _drained(self, step: Sequence[Target], before: Mapping[str, Probe]) -> Iterator[None]:
        """Where all servers forward already and can: a first push has nothing to drain."""
        plan = self.what.plan
        able = registry.controller(plan.forwarding.dataplane).drains and len(before) == len(plan.servers)
        with ExitStack() as stack:
            if able and all(found.cluster == plan.name for found in before.values()):
                for name in (target.name for target in step):
                    stack.enter_context(self._left_out(name))
            yield

    def _left_out(self, name: str) -> AbstractContextManager[None]:
        warn = self.reporter.warn
        return drained_meanwhile(
            self.what.plan,
            self.what.inventory,
            name,
            self.what.run.id,
            refused=lambda error: warn(f"{name} is not drained: {error.message}"),
            stays=lambda error: warn(f"{name} is still drained: {error.message}; `rbops undrain`"),
        )


def _names(targets: Sequence[Target]) -> str:
    return ", ".join(target.name for target in targets)


def _together(found: Sequence[Applied]) -> Applied:
    """The whole of several steps."""
    return replace(
        found[-1],
        changed={name: count for one in found for name, count in one.changed.items()},
        played=any(one.played for one in found),
        seconds=round(sum(one.seconds for one in found), 3),
        waiting={name: entries for one in found for name, entries in one.waiting.items()},
        unsupported={name: notes for one in found for name, notes in one.unsupported.items()},
    )
