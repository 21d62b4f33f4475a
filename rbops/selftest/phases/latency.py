"""Latency of all ports at once, unloaded and at 10, 50 and 90 % of the rate that was found; only when asked for."""

from __future__ import annotations

import base64
from itertools import permutations
from typing import Any

import rbops.selftest.floor as alone
from rbops.selftest.bench import run_phase
from rbops.selftest.latency import LatencyPoint, Way, crossings, distribution, round_trips, summed
from rbops.selftest.session import Session
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic, chunk_at
from rbops.selftest.wire import FCS_BYTES

__all__ = ["NAME", "PARTS", "run"]

NAME = "latency"

PARTS = (None, 0.1, 0.5, 0.9)
_SECONDS = 2.0
_UNLOADED_PPS = 200.0
"""A second and port: a packet has the router to itself."""


def run(session: Session, seconds: float) -> None:
    """Measure at each load; the results are the session's ``latencies``. ``seconds`` is not used."""
    del seconds
    rates = session.found_rates()
    clocks = {tester.clock for tester in session.bench.testers}
    if len(clocks) > 1:
        session.notes.append(
            f"latency: testers on {len(clocks)} machines with a clock each, between which round trips are timed"
        )
    if not rates:
        session.notes.append("latency: no rate was found, so only unloaded")
    for sizes, rate in (rates or {session.sizes: 0.0}).items():
        for part in PARTS if rate else PARTS[:1]:
            _point(session, sizes, part, _UNLOADED_PPS if part is None else rate * part / len(session.bench.testers))


def _point(session: Session, sizes: FrameSizes, part: float | None, pps: float) -> None:
    bench = session.bench
    at = "unloaded" if part is None else f"at {part:.0%} of the rate"
    together = pps * len(bench.testers) / 1e6
    session.say(f"{bench.named(NAME)}: {sizes.named} {at}, {together:.4f} Mpps for {_SECONDS:.0f} s")
    # Under load in the bursts with which the rate was found: more of them could not be sent.
    chunk = 1 if part is None else chunk_at(pps)
    traffic = Traffic(
        NAME, sizes, session.everyone, _SECONDS, pps, None, chunk, flows=session.flows, stamped=True
    )  # fmt: skip
    outcome = run_phase(bench, traffic)
    session.judged(outcome)
    phase = outcome.phase
    sent_pps = sum(source.rate_pps for source in phase.sources)
    offered = pps * len(phase.sources)
    timed = False
    for way, times in _timed(session, traffic, outcome.room).items():
        found = distribution(times)
        floor = distribution(_alone(session, sizes, pps, chunk, way)) if found else None
        if found is None or floor is None:
            continue
        timed = True
        loads = (offered, sent_pps, phase.sent, phase.lost)
        session.latencies.append(LatencyPoint(sizes.size, part, *loads, found, floor, bench.family, sizes.mix, way))
    if not timed:
        session.notes.append(f"latency: {sizes.named} {at}: no packet was timed")


def _timed(session: Session, traffic: Traffic, room: int) -> dict[Way, list[Any]]:
    """Nanoseconds one way between testers of one machine, and there and back between those of two."""
    bench = session.bench
    testers, flows = len(bench.testers), traffic.flows
    wanted = [
        {"sent": len(traffic.destinations[tester.index]) * flows * room, "received": testers * flows * room}
        for tester in bench.testers
    ]
    answers = bench.agents.each("stamps", wanted)
    tables = [{name: base64.b64decode(table) for name, table in answer.items()} for answer in answers]

    def between(source: int, to: int) -> list[Any]:
        others = traffic.destinations[source]
        place = (others.index(to), len(others))
        return crossings(tables[source]["sent"], tables[to]["received"], place, source, flows, room, testers)

    found: dict[Way, list[Any]] = {"one way": [], "round trip": []}
    for near, far in permutations(bench.testers, 2):
        if near.clock == far.clock:
            found["one way"] += [came - written for written, came in between(near.index, far.index)]
        elif near.index < far.index:
            there, back = between(near.index, far.index), between(far.index, near.index)
            found["round trip"].append(round_trips(there, back, session.options.seed))
    return found


def _alone(session: Session, sizes: FrameSizes, pps: float, chunk: int, way: Way) -> list[Any]:
    """The same sent by one tester to itself over a cable, without a router; of round trips by two, both together."""
    bench = session.bench
    ends = [0]
    if way == "round trip":
        ends.append(next(one.index for one in bench.testers if one.clock != bench.testers[0].clock))
    found = []
    for end in ends:
        table = bench.agents.all[end].call(
            "floor",
            length=sizes.largest - FCS_BYTES,
            seconds=0.5,
            pps=max(pps, 2000.0),
            chunk=chunk,
            schedule=base64.b64encode(sizes.schedule).decode(),
            timeout_s=30.0,
        )
        sent, received = (base64.b64decode(table[name]) for name in ("sent", "received"))
        times = crossings(sent, received, (0, 1), 0, alone.FLOWS, alone.ROOM, 1)
        found.append([came - written for written, came in times])
    return found[0] if way == "one way" else [summed(found[0], found[1], session.options.seed)]
