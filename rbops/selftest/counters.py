"""The servers' own counters around a phase: how traffic spread, and where packets went missing.

Read with ``rbops-node counters --json``; a difference of two readings is what a phase did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbops.plan import ClusterPlan
from rbops.selftest.result import PathCount

__all__ = [
    "Readings",
    "ServerCounters",
    "Suspicion",
    "black_holes",
    "difference",
    "parse",
    "spread",
    "suspicions",
    "unresponsive",
]

_HOLE, _HOLE_PACKETS = 0.95, 100
"""A path that loses this share of its packets is not overloaded but broken; judged from this many packets on."""

ReadCounters = Callable[[], Mapping[str, Mapping[str, Any]]]
"""Server name -> the JSON of ``rbops-node counters``, or ``{"error": text}`` when it had none to give."""


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Packets on one server.

    ``paths`` by (destination server's index, via server's index or None); ``ports`` by name: (rx, tx); ``cores``: what
    each received, ``entered_at`` those of external ports. ``busy`` by core: (seconds not idle, of these in
    softirqs) by the kernel's account, of ``elapsed_s`` by the server's clock; empty where rbops-node gave none.
    """

    received: Mapping[str, int] = field(default_factory=dict)
    forwarded: Mapping[str, int] = field(default_factory=dict)
    punted: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[tuple[int, int | None], int] = field(default_factory=dict)
    ports: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cores: Mapping[int, int] = field(default_factory=dict)
    entered_at: Mapping[int, int] = field(default_factory=dict)
    busy: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    elapsed_s: float = 0.0
    error: str | None = None

    @property
    def entered(self) -> int:
        """Packets that came in at external ports and were forwarded."""
        return sum(self.forwarded.get(kind, 0) for kind in ("local", "direct", "phase1"))


Readings = Mapping[str, ServerCounters]


def parse(raw: Mapping[str, Any]) -> ServerCounters:
    """One server's JSON as values."""
    if "error" in raw:
        return ServerCounters(error=str(raw["error"]))
    total = raw["total"]
    return ServerCounters(
        received=dict(total["received"]),
        forwarded=dict(total["forwarded"]),
        punted=dict(total["punted"]),
        dropped=dict(total["dropped"]),
        paths={(path["to"], path["via"]): path["packets"] for path in raw["paths"]},
        ports={name: (port["rx_packets"], port["tx_packets"]) for name, port in raw["ports"].items()},
        cores={int(core): sum(each["received"].values()) for core, each in raw["cores"].items()},
        entered_at={int(core): each["received"].get("external", 0) for core, each in raw["cores"].items()},
        busy={int(core): (each["busy_s"], each["softirq_s"]) for core, each in raw.get("cpus", {}).items()},
        elapsed_s=raw.get("at_s", 0.0),
    )


def difference(before: ServerCounters, after: ServerCounters) -> ServerCounters:
    """What was counted in between; an error of either stays an error."""
    if before.error or after.error:
        return ServerCounters(error=after.error or before.error)
    return ServerCounters(
        received=_less(before.received, after.received),
        forwarded=_less(before.forwarded, after.forwarded),
        punted=_less(before.punted, after.punted),
        dropped=_less(before.dropped, after.dropped),
        paths={key: count - before.paths.get(key, 0) for key, count in after.paths.items()},
        ports={
            name: (rx - before.ports.get(name, (0, 0))[0], tx - before.ports.get(name, (0, 0))[1])
            for name, (rx, tx) in after.ports.items()
        },
        cores={core: count - before.cores.get(core, 0) for core, count in after.cores.items()},
        entered_at={core: count - before.entered_at.get(core, 0) for core, count in after.entered_at.items()},
        busy={
            core: (busy - before.busy[core][0], softirq - before.busy[core][1])
            for core, (busy, softirq) in after.busy.items()
            if core in before.busy
        },
        elapsed_s=after.elapsed_s - before.elapsed_s,
    )


def _less(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {key: count - before.get(key, 0) for key, count in after.items()}


def spread(plan: ClusterPlan, phase: Readings) -> tuple[PathCount, ...]:
    """How every input server's packets went to every output server, without paths that carried none."""
    names = {server.index: server.name for server in plan.servers}
    out = []
    for server in plan.servers:
        counted = phase.get(server.name, ServerCounters())
        local = counted.forwarded.get("local", 0)
        if local:
            out.append(PathCount(server.name, server.name, None, local))
        for (to, via), packets in sorted(counted.paths.items(), key=lambda item: (item[0][0], item[0][1] or -1)):
            if packets:
                out.append(PathCount(server.name, names[to], None if via is None else names[via], packets))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Where ``packets`` are missing by the counters: ``server`` is the one to look at, ``text`` says why.

    ``sender`` is the server at the other end, where they went missing on a cable.
    """

    server: str
    packets: int
    text: str
    sender: str | None = None
    share: float = 1.0
    """Of what was put on the cable."""


def suspicions(plan: ClusterPlan, phase: Readings, handed: Mapping[str, int]) -> tuple[Suspicion, ...]:
    """Servers and cables whose counters do not add up: silent servers first, then the most packets.

    ``handed``: server -> packets that its testers gave it. Sources: every input server forwards what it
    was given, every cable brings what was put on it, no packet of the test is dropped.
    """
    found: list[Suspicion] = []
    for server in plan.servers:
        counted = phase.get(server.name)
        if counted is None:
            continue
        if counted.error:
            found.append(Suspicion(server.name, 0, f"{server.name} gave no counters: {counted.error}"))
            continue
        for reason, count in counted.dropped.items():
            if count > 0:
                found.append(Suspicion(server.name, count, f"{server.name} dropped {count:,}: {reason}"))
        given, got = handed.get(server.name, 0), counted.received.get("external", 0)
        if got < given:
            text = f"{server.name} counted {got:,} of the {given:,} packets put on its external ports"
            found.append(Suspicion(server.name, given - got, text))
    found += _cables(plan, phase)
    down = unresponsive(phase, handed)
    return tuple(sorted(found, key=lambda item: (item.server not in down, -item.packets)))


def black_holes(plan: ClusterPlan, phase: Readings, lost: int) -> tuple[Suspicion, ...]:
    """Where everything of a path was lost: overload loses a part everywhere, this is a fault at any rate.

    Told by the far end of a cable; where that was not read (``--limit``), by the input servers: what they sent over one
    intermediate server, or over all of them, is what was ``lost``; in a fly first what they sent to one neighbour.
    """
    cables = [one for one in _cables(plan, phase) if one.packets >= _HOLE_PACKETS and one.share >= _HOLE]
    if cables:
        return tuple(sorted(cables, key=lambda one: -one.packets))
    if near := [one for one in _unread_neighbors(plan, phase) if _alike(one.packets, lost)]:
        return tuple(near)
    over: dict[str, int] = {}
    for path in spread(plan, phase):
        if path.via is not None:
            over[path.via] = over.get(path.via, 0) + path.packets
    found = [name for name, packets in over.items() if _alike(packets, lost)]
    if not found and _alike(sum(over.values()), lost):
        found = list(over)
    where = ", there or on the way" if plan.topology.kind == "fly" else ""
    return tuple(
        Suspicion(name, over[name], f"all of the {over[name]:,} packets sent over {name} were lost{where}")
        for name in found
    )


def _unread_neighbors(plan: ClusterPlan, phase: Readings) -> Iterator[Suspicion]:
    """Of a fly: the servers between those with ports that were not read, and what was sent to each."""
    sent: dict[str, int] = {}
    for link in plan.links if plan.topology.kind == "fly" else ():
        for near, far in ((link.a, link.b), (link.b, link.a)):
            (sender, out), receiver = near.split(":", 1), far.partition(":")[0]
            counted = phase.get(sender, ServerCounters()).ports.get(out)
            if counted and receiver not in phase and not plan.server(receiver).external_ports:
                sent[receiver] = sent.get(receiver, 0) + counted[1]
    for name, packets in sent.items():
        yield Suspicion(name, packets, f"all of the {packets:,} packets sent to {name} were lost")


def _alike(packets: int, lost: int) -> bool:
    return packets >= _HOLE_PACKETS and abs(packets - lost) <= (1 - _HOLE) * lost


def unresponsive(phase: Readings, handed: Mapping[str, int]) -> frozenset[str]:
    """Servers whose data plane seems to be down: no counters, or nothing counted of what was put on their ports."""
    return frozenset(
        name
        for name, counted in phase.items()
        if counted.error or (handed.get(name) and not counted.received.get("external"))
    )


def _cables(plan: ClusterPlan, phase: Readings) -> list[Suspicion]:
    found = []
    for link in plan.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            (sender, out), (receiver, into) = near.split(":", 1), far.split(":", 1)
            sent = phase.get(sender, ServerCounters()).ports.get(out)
            got = phase.get(receiver, ServerCounters()).ports.get(into)
            if sent and got and sent[1] > got[0]:
                missing = sent[1] - got[0]
                text = f"{missing:,} of {sent[1]:,} packets sent on {near} did not arrive at {far}"
                found.append(Suspicion(receiver, missing, text, sender, missing / sent[1]))
    return found
