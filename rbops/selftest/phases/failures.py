"""Something breaks on the way of a stream of packets, and is mended: what the stream loses, and for how long.

The stream goes from the first port to the last one of another server, slowly enough for the direct cable. What is
broken is at the output server, on that cable, or an intermediate server while that cable is cut. Everything that was
broken is mended again, also when the phase ends early.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rbops.dataplane import registry
from rbops.errors import CheckFailed
from rbops.selftest.bench import run_phase
from rbops.selftest.outage import Outage
from rbops.selftest.result import Fault
from rbops.selftest.session import Session
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["LONGEST_S", "NAME", "Break", "run"]

NAME = "failures"
LONGEST_S = 0.05
"""A broken path is left within that time."""

_PPS = 4000.0
_BREAK_S, _MEND_S, _DELAY_S, _MARGIN_S = 2.0, 5.0, 0.5, 0.3
_SETTLE_S, _POLL_S = 15.0, 0.2
_UNITS = "rbops-watch.service"
_FEWEST_SERVERS = 3


@dataclass(frozen=True, slots=True)
class Break:
    """An event: what breaks on ``server`` and what mends it, as shell commands; ``ports`` are planned names.

    ``share`` of the stream goes that way. ``first`` is broken before, without being measured.
    """

    event: str
    server: str
    ports: tuple[str, ...]
    breaks: str
    mends: str
    share: float = 1.0
    first: Break | None = None


def run(session: Session, seconds: float) -> None:
    """Measure each event; its time does not depend on ``seconds``."""
    del seconds
    if not session.reaches_servers:
        session.notes.append("failures: no way to run commands on the servers")
        return
    events = _events(session)
    if not events:
        session.notes.append("failures: two servers with testers and a cable between them are needed")
    for event in events:
        session.say(f"{NAME}: {event.event} at {event.server}")
        with ExitStack() as stack:
            if event.first is not None:
                session.on(event.first.server, event.first.breaks)
                stack.callback(session.on, event.first.server, event.first.mends)
                time.sleep(_DELAY_S)
            stack.callback(session.on, event.server, event.mends)  # it can be repeated
            _measure(session, event, back=False)
            _measure(session, event, back=True)
        _settle(session)


def _events(session: Session) -> list[Break]:
    testers, plan = session.bench.testers, session.plan
    source = testers[0].at.server
    target = next((tester.at.server for tester in reversed(testers) if tester.at.server != source), None)
    if target is None:
        return []
    names = {name: _devices(session, name) for name in (source, target)}
    port = _port_to(session, target, source)
    if port is None:
        return []
    device = names[target][port]
    cut = Break("cable cut", target, (port,), f"ip link set dev {device} down", f"ip link set dev {device} up")
    plane = registry.controller(plan.forwarding.dataplane)
    found = [cut] if plane.balances else []
    if off := plane.detached(device):
        found.append(Break("program detached, carrier up", target, (port,), off, "rbops-node apply"))
    if plane.answers_probes:
        found.append(
            Break(
                "watch stopped (SIGSTOP)",
                target,
                (),
                f"systemctl kill -s STOP {_UNITS}",
                f"systemctl kill -s CONT {_UNITS}",
            )
        )
    middle = [server.name for server in plan.servers if server.name not in (source, target)]
    if plane.balances and len(plan.servers) >= _FEWEST_SERVERS:
        found.append(_gone(session, middle[0], cut, 1 / len(middle)))
        if plane.process:
            found.append(_hung(session, middle[0], plane.process, cut, 1 / len(middle)))
    return found


def _inside(session: Session, server: str) -> tuple[str, ...]:
    return tuple(port.name for port in session.plan.server(server).ports if port.kind == "internal")


def _hung(session: Session, server: str, unit: str, cut: Break, share: float) -> Break:
    """An intermediate's data plane stands still while its carriers stay, and while the direct cable is cut."""
    stop, go_on = (f"systemctl kill -s {signal} {unit}" for signal in ("STOP", "CONT"))
    ports = _inside(session, server)
    return Break("data plane stopped (SIGSTOP), carrier up", server, ports, stop, go_on, share, first=cut)


def _gone(session: Session, server: str, cut: Break, share: float) -> Break:
    """All cables of an intermediate lose their carrier, as when its power is cut, while the direct cable is cut."""
    ports = _inside(session, server)
    names = _devices(session, server)
    down, up = ("; ".join(f"ip link set dev {names[port]} {state}" for port in ports) for state in ("down", "up"))
    return Break("intermediate server gone", server, ports, down, up, share, first=cut)


def _port_to(session: Session, server: str, peer: str) -> str | None:
    """The planned port of a server's cable to another."""
    ends = (f"{peer}:",)
    return next(
        (
            port.name
            for port in session.plan.server(server).ports
            if port.kind == "internal" and port.peer is not None and str(port.peer).startswith(ends)
        ),
        None,
    )


def _devices(session: Session, server: str) -> dict[str, str]:
    """Planned port -> device."""
    found: dict[str, str] = _status(session, server)["ports"]
    return found


def _status(session: Session, server: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(session.on(server, "rbops-node status --json"))
    return found


def _measure(session: Session, event: Break, *, back: bool) -> None:
    """Break, or mend, while the stream runs."""
    seconds = _MEND_S if back else _BREAK_S
    testers = session.bench.testers
    last = next(tester for tester in reversed(testers) if tester.at.server != testers[0].at.server)
    traffic = Traffic(
        NAME,
        session.sizes,
        {testers[0].index: (last.index,)},
        seconds,
        _PPS,
        None,
        chunk_at(_PPS),
        session.flows,
    )
    started, ended = time.monotonic(), 0.0

    def act() -> None:
        nonlocal started, ended
        started = time.monotonic()
        time.sleep(_DELAY_S)
        session.on(event.server, event.mends if back else event.breaks)
        ended = time.monotonic()

    phase = run_phase(session.bench, traffic, act).phase
    if ended - started > seconds - _MARGIN_S:
        session.notes.append(f"{NAME}: {event.event}: {event.server} took too long to do it, not measured")
        return
    lost = max(0, phase.lost)
    outage = Outage(event.event, back, event.server, event.ports, _PPS, phase.sent, lost, event.share)
    session.outages.append(outage)
    if outage.seconds > LONGEST_S:
        what = f"{event.event}{', mended' if back else ''} at {event.server}"
        text = f"{what}: packets lost for {outage.seconds * 1000:.0f} ms, expected at most {LONGEST_S * 1000:.0f} ms"
        session.faults.append(Fault("reroute", text, NAME, lost, testers[0].at.port, last.at.port, event.server))


def _settle(session: Session) -> None:
    """Return when all cables are used again."""
    deadline = time.monotonic() + _SETTLE_S
    while any(_status(session, server.name)["dataplane"].get("dead") for server in session.plan.servers):
        if time.monotonic() > deadline:
            raise CheckFailed("cables are still left out after they were mended", code="selftest.settle")
        time.sleep(_POLL_S)
