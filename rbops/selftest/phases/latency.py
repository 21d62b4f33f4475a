"""Latency of all ports at once, unloaded and at 10, 50 and 90 % of the rate that was found; only when asked for."""

from __future__ import annotations

import base64
from typing import Any

import rbops.selftest.floor as alone
from rbops.selftest.bench import run_phase
from rbops.selftest.latency import LatencyPoint, distribution, matched
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
    if len(clocks) == len(session.bench.testers):
        session.notes.append("latency: not measured, each tester is on a machine, and has a clock, of its own")
        return
    if len(clocks) > 1:
        session.notes.append(
            f"latency: testers on {len(clocks)} machines, only packets between testers of one machine are timed"
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
    found = distribution(_flows(session, traffic, outcome.room))
    floor = distribution(_alone(session, sizes, pps, chunk))
    if found is None or floor is None:
        session.notes.append(f"latency: {sizes.named} {at}: no packet was timed")
        return
    phase = outcome.phase
    sent_pps = sum(source.rate_pps for source in phase.sources)
    offered = pps * len(phase.sources)
    session.latencies.append(
        LatencyPoint(sizes.size, part, offered, sent_pps, phase.sent, phase.lost, found, floor, bench.family, sizes.mix)
    )


def _flows(session: Session, traffic: Traffic, room: int) -> list[Any]:
    bench = session.bench
    testers, flows = len(bench.testers), traffic.flows
    wanted = [
        {"sent": len(traffic.destinations[tester.index]) * flows * room, "received": testers * flows * room}
        for tester in bench.testers
    ]
    tables = bench.agents.each("stamps", wanted)
    pairs = list(zip(bench.testers, tables, strict=True))
    found = []
    for tester, table in pairs:
        received = {other.index: its["received"] for other, its in pairs if other.clock == tester.clock}
        to = traffic.destinations[tester.index]
        found += matched(table["sent"], received, to, tester.index, flows, room, testers)
    return found


def _alone(session: Session, sizes: FrameSizes, pps: float, chunk: int) -> list[Any]:
    """The same sent by one tester to itself over a cable, without a router."""
    table = session.bench.agents.all[0].call(
        "floor",
        length=sizes.largest - FCS_BYTES,
        seconds=0.5,
        pps=max(pps, 2000.0),
        chunk=chunk,
        schedule=base64.b64encode(sizes.schedule).decode(),
        timeout_s=30.0,
    )
    return matched(table["sent"], {0: table["received"]}, (0,), 0, alone.FLOWS, alone.ROOM, 1)
