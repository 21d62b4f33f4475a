"""Taking a server out of all others' choices of an intermediate, and back: before it is worked on, or rebooted.

Its own ports go on: packets for them, and from them, take the direct cables and other intermediates. The order is: is
there another path for all that would go through it, told to every other server, confirmed by their counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rbops.dataplane import registry
from rbops.deploy.inventory import Inventory
from rbops.deploy.node import RemoteNode
from rbops.deploy.ssh import Session, each, open_session, raise_errors
from rbops.errors import CheckFailed, Mismatch, RbopsError, UsageError, Where
from rbops.plan import ClusterPlan

__all__ = ["Drained", "State", "cut_off", "drain", "drained_meanwhile", "states_of", "still"]

_LOOK_S, _QUIET_S = 0.25, 5.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class State:
    """What a server says of the others, by index: those without a live cable, those that it drained."""

    dead: frozenset[int] = frozenset()
    drained: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Drained:
    """``told`` are the servers that were. ``before``: packets a second that they sent through it, while it was used.

    ``already``: all of them had it so.
    """

    server: str
    drained: bool
    told: tuple[str, ...]
    already: bool
    before: int
    seconds: float


def drain(plan: ClusterPlan, inventory: Inventory, name: str, *, drained: bool, run: str | None = None) -> Drained:
    """Drain the server, or use it again, and confirm it by counters. Can be repeated.

    ``run``: for as long as that run has the servers' locks; who takes one over uses the server again.

    Raises UsageError (2) for a server that is not in the plan, Mismatch (3) where the data plane cannot or where it
    would cut servers off, both before anything changes; Unreachable (4); CheckFailed (1) when the counters still move.
    """
    started = time.monotonic()
    names = [server.name for server in plan.servers]
    if name not in names:
        raise UsageError(f"no server {name!r} in the plan", code="drain.server", hint=f"one of {', '.join(names)}")
    if not registry.controller(plan.forwarding.dataplane).drains:
        raise Mismatch(
            f"the {plan.forwarding.dataplane} data plane cannot leave a server out as an intermediate",
            code="drain.data-plane",
        )
    targets = [target for target in inventory.matching(plan).servers if target.name != name]
    missing = sorted(set(names) - {name} - {target.name for target in targets})
    if missing:
        raise UsageError(
            f"every other server must be told: {', '.join(missing)} not chosen", code="drain.limit", hint="no --limit"
        )
    with ExitStack() as stack:
        opened = each(((target.name, target) for target in targets), open_session)
        sessions = {
            server: stack.enter_context(found) for server, found in opened.items() if isinstance(found, Session)
        }
        raise_errors(opened)
        index, states = plan.server(name).index, states_of(sessions)
        already = all((index in state.drained) is drained for state in states.values())
        if drained:
            _check(plan, name, states)
        before = _rate(sessions, index) if drained else 0.0
        _tell(sessions, index, drained=drained, run=run)
        if drained:
            still(sessions, name, index)
    return Drained(name, drained, tuple(sessions), already, round(before), round(time.monotonic() - started, 2))


@contextmanager
def drained_meanwhile(
    plan: ClusterPlan,
    inventory: Inventory,
    name: str,
    run: str,
    *,
    refused: Callable[[RbopsError], object],
    stays: Callable[[RbopsError], object],
) -> Iterator[None]:
    """Keep the server drained during the block; where it cannot be drained, ``refused`` is called with the reason.

    A server that was drained before stays drained. ``stays`` is called with the reason why it could not be undrained.
    """
    try:
        mine = not drain(plan, inventory, name, drained=True, run=run).already
    except RbopsError as error:
        refused(error)
        mine = False
    try:
        yield
    finally:
        if mine:
            try:
                drain(plan, inventory, name, drained=False)
            except RbopsError as error:
                stays(error)


def cut_off(plan: ClusterPlan, name: str, states: Mapping[str, State]) -> list[tuple[str, str]]:
    """The pairs of servers with external ports between which no path is left without ``name`` as an intermediate."""
    index = {server.name: server.index for server in plan.servers}
    if plan.topology.kind == "fly":
        # One cabled to none of them reaches them all the same, over servers that are no intermediates.
        ends_of_paths = {server.name for server in plan.servers if server.external_ports}
        near = dict.fromkeys(index, ends_of_paths)
    else:
        near = {
            server.name: {port.peer.partition(":")[0] for port in server.ports if port.peer is not None}
            for server in plan.servers
        }

    def works(one: str, other: str) -> bool:
        return other in near[one] and index[other] not in states.get(one, State()).dead

    def leads(one: str, via: str, other: str) -> bool:
        left_out = states.get(one, State()).drained
        return via not in (one, other, name) and index[via] not in left_out and works(one, via) and works(via, other)

    ends = [server.name for server in plan.servers if server.external_ports and server.name != name]
    return [
        (one, other)
        for one in ends
        for other in ends
        if one != other and not works(one, other) and not any(leads(one, via, other) for via in index)
    ]


def states_of(sessions: Mapping[str, Session]) -> dict[str, State]:
    """What each server says; raises the errors of those that do not answer."""
    planes = {server: status.get("dataplane") or {} for server, status in _all(sessions, "status").items()}
    return {
        server: State(frozenset(plane.get("dead", ())), frozenset(plane.get("drained", ())))
        for server, plane in planes.items()
    }


def _check(plan: ClusterPlan, name: str, states: Mapping[str, State]) -> None:
    if not plan.server(name).external_ports:
        raise Mismatch(
            f"{name} has no external ports: nobody chooses it, packets pass it on the only path that they have",
            code="drain.on-the-way",
            where=Where(server=name),
            hint="work on it while the router is not needed",
        )
    lost = cut_off(plan, name, states)
    if lost:
        pairs = ", ".join(f"{one} to {other}" for one, other in lost[:_SHOWN])
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise Mismatch(
            f"without {name} no path is left from {pairs}{more}",
            code="drain.cuts-off",
            where=Where(server=name),
            hint="see `rbops status`: which cables do not answer, which servers are drained",
        )


def _tell(sessions: Mapping[str, Session], index: int, *, drained: bool, run: str | None) -> None:
    """Tell all servers or none: when one fails, those already told to drain are told to undrain."""
    words = ["drain" if drained else "undrain", str(index), *(["--run", run] if run and drained else [])]
    answers = each(sessions.items(), lambda session: RemoteNode(session).call(*words))
    try:
        raise_errors(answers)
    except RbopsError:
        if drained:
            for server, answer in answers.items():
                if not isinstance(answer, RbopsError):
                    with suppress(RbopsError):
                        RemoteNode(sessions[server]).call("undrain", str(index))
        raise


def still(sessions: Mapping[str, Session], name: str, index: int) -> None:
    """Until nobody has sent a packet through it for a while."""
    deadline = time.monotonic() + _QUIET_S
    while rate := _rate(sessions, index):
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"{name} is drained, but {rate:,.0f} packets a second still go through it",
                code="drain.not-quiet",
                where=Where(server=name),
            )


def _rate(sessions: Mapping[str, Session], index: int) -> float:
    """Packets a second through the server, from two readings of the others' counters."""
    start = time.monotonic()
    first = _through(sessions, index)
    time.sleep(_LOOK_S)
    moved = _through(sessions, index) - first
    return moved / (time.monotonic() - start)


def _through(sessions: Mapping[str, Session], index: int) -> int:
    paths = (path for counted in _all(sessions, "counters").values() for path in _paths(counted))
    return sum(path["packets"] for path in paths if path["via"] == index)


def _paths(counted: Any) -> Iterator[Mapping[str, int]]:
    yield from counted.get("paths", ())


def _all(sessions: Mapping[str, Session], verb: str) -> dict[str, Any]:
    answers = each(sessions.items(), lambda session: RemoteNode(session).call(verb))
    raise_errors(answers)
    return dict(answers)
