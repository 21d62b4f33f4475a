"""A push that changes the number of servers: under traffic between those that stay no packet is lost.

Newcomers come first: they are complete before the others know them. The others hold them: nothing is sent through a
newcomer while some do not know it yet. When all are read back, it is used. Servers that go are drained before the
others forget them. All of that is within one change of all servers: whatever fails, it is undone with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbops.dataplane import registry
from rbops.deploy.drain import cut_off, states_of, still
from rbops.deploy.node import RemoteNode
from rbops.deploy.probe import Probe
from rbops.deploy.ssh import Session, each, raise_errors
from rbops.errors import Mismatch, RbopsError
from rbops.plan import ClusterPlan

if TYPE_CHECKING:
    from rbops.deploy.report import Reporter
    from rbops.deploy.transaction import Transaction

__all__ = ["Resize", "left_behind", "resize"]

_ANSWER_S, _AGAIN_S = 10.0, 0.2
_BACK_S = 3.0
"""A cable is used again when it has answered for a second: as after an apply that has just ended."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Resize:
    """``newcomers`` have nothing of this cluster yet, ``others`` have and stay; ``gone``: name -> index of who goes."""

    plan: ClusterPlan
    newcomers: tuple[str, ...]
    others: tuple[str, ...]
    gone: Mapping[str, int]

    @property
    def drains(self) -> bool:
        """Whether the data plane can leave servers out."""
        return registry.controller(self.plan.forwarding.dataplane).drains

    def refuse(self, sessions: Mapping[str, Session]) -> None:
        """Mismatch (3) where those that stay need one that goes: then no path is left between two of them."""
        if not self.gone or not self.drains:
            return
        deadline = time.monotonic() + _BACK_S
        while lost := cut_off(self.plan, "", states_of({name: sessions[name] for name in self.others})):
            if time.monotonic() > deadline:
                pairs = ", ".join(f"{one} to {other}" for one, other in lost[:_SHOWN])
                raise Mismatch(
                    f"without {', '.join(self.gone)} no path is left from {pairs}",
                    code="apply.cuts-off",
                    hint="see `rbops status`: which cables do not answer, which servers are drained",
                )
            time.sleep(_AGAIN_S)

    def prepare(self, change: Transaction, reporter: Reporter) -> None:
        """Before anything is pushed: nothing goes through those that go, nothing will through newcomers."""
        if not self.drains:
            return
        stay = {name: change.sessions[name] for name in self.others}
        if self.gone:
            reporter.step(f"draining {', '.join(self.gone)}")
        newcomers = [str(self.plan.server(name).index) for name in self.newcomers]
        run = ("--run", change.run.id)
        servers = str(len(self.plan.servers))
        with change.kept_open():
            _called(stay, change.node, "hold", *run, "--servers", servers, *newcomers)
            for index in self.gone.values():
                _called(stay, change.node, "drain", *run, str(index))
            for name, index in self.gone.items():
                still(stay, name, index)

    @contextmanager
    def opened(self, change: Transaction, reporter: Reporter) -> Iterator[None]:
        """Newcomers are used in the block; where it fails, not any more before the rollback begins."""
        if not self.newcomers or not self.drains:
            yield
            return
        reporter.step(f"opening the links to {', '.join(self.newcomers)}")
        with change.kept_open():
            silent = self._silent(change)
        if silent:
            reporter.warn(f"{', '.join(silent)}: cables that do not answer are left out, see `rbops status`")
        try:
            self._tell(change, "undrain")
            yield
        except BaseException:
            with suppress(RbopsError):
                self._tell(change, "drain", "--run", change.run.id)
            raise

    def _tell(self, change: Transaction, verb: str, *arguments: str) -> None:
        for name in self.newcomers:
            others = {one: session for one, session in change.sessions.items() if one != name}
            _called(others, change.node, verb, *arguments, str(self.plan.server(name).index))

    def _silent(self, change: Transaction) -> list[str]:
        """The newcomers with cables that do not answer after a while."""
        deadline = time.monotonic() + _ANSWER_S
        sessions = {name: change.sessions[name] for name in self.newcomers}
        while True:
            found = _called(sessions, change.node, "status")
            dead = [name for name, answer in found.items() if (answer.get("dataplane") or {}).get("dead")]
            if not dead or time.monotonic() > deadline:
                return dead
            time.sleep(_AGAIN_S)


def resize(plan: ClusterPlan, before: Mapping[str, Probe], reporter: Reporter) -> Resize | None:
    """What becomes another number of servers; None for anything else, a first push among it.

    ``before``: the servers that are pushed to. Where those that stay are renumbered, as in a fly, there is no order in
    which nothing is lost: a warning says so.
    """
    there = {name: found for name, found in before.items() if found.cluster == plan.name and found.index is not None}
    planned = {server.name: server.index for server in plan.servers}
    newcomers = tuple(name for name in planned if name in before and name not in there)
    gone = {name: index for found in there.values() for name, index in found.peers.items() if name not in planned}
    if not there or not (newcomers or gone):
        return None
    if any(found.index != planned[name] for name, found in there.items()):
        reporter.warn("the servers get other numbers: packets are lost until all have the new plan")
        return None
    if any(name not in before for name in planned):
        reporter.warn("the number of servers changes, but --limit leaves some out: packets may be lost")
        return None
    return Resize(plan, newcomers, tuple(there), gone)


def _called(
    sessions: Mapping[str, Session], node: Callable[[Session], RemoteNode], verb: str, *arguments: str
) -> dict[str, Any]:
    """What a verb of rbops-node answers on each server."""
    answers = each(sessions.items(), lambda session: node(session).call(verb, *arguments))
    raise_errors(answers)
    return dict(answers)


def left_behind(gone: Sequence[str]) -> str:
    """What is said of servers that are not in the plan any more."""
    names = ", ".join(gone)
    return (
        f"{names}: not in the plan any more. What is there stays as it is, and its ports lead nowhere: "
        f"`rbops remove -i INVENTORY --limit {','.join(gone)}` takes rbops off"
    )
