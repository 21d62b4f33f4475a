"""One input port at its line rate for one output port of another server: more than the direct path may carry.

A tester sends from one core, and on veth all its frames reach the same core of the server: it gets what one core of
as many as the server has would of the line rate. Flows begin and end, as in the trace of paper 6.2:
``_ACTIVE`` at a time send ``_BURST`` packets each.
"""

from __future__ import annotations

from dataclasses import replace

from rbops.selftest.session import Session
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["flows", "groups", "run"]

_FLOWS, _ACTIVE, _BURST = 1024, 32, 64


def run(session: Session, seconds: float) -> None:
    """Send for ``seconds``; order is counted, not required."""
    testers, options = session.bench.testers, session.options
    sizes = session.bench.sizes(options.pair_size)
    first = testers[0]
    last = next((item for item in reversed(testers) if item.at.server != first.at.server), testers[-1])
    cores = len(session.plan.server(first.at.server).cores.dataplane)
    pps = first.at.rate_bps / cores / (sizes.size * 8)
    shape = {"flows": options.flows} if options.flows else groups(len(testers), pps * seconds)
    destinations = {first.index: (last.index,)}
    traffic = Traffic("pair", sizes, destinations, seconds, pps, None, chunk_at(pps))
    active, burst = shape.get("active"), shape.get("burst", 1)
    traffic = replace(traffic, flows=shape["flows"], active=active, burst=burst)
    session.checked(traffic, ordered=False)


def flows(testers: int) -> int:
    """As many as the sinks' tables hold, in whole groups."""
    return max(2, min(_FLOWS, 65536 // testers) // _ACTIVE) * _ACTIVE


def groups(testers: int, packets: float) -> dict[str, int]:
    """Flows, how many at a time, and each one's burst: not more of them in one round than a slow router is offered."""
    count, burst = flows(testers), _BURST
    if count * burst > packets:
        count = max(_ACTIVE, int(packets / burst) // _ACTIVE * _ACTIVE)
        burst = max(1, min(burst, int(packets) // count))
    return {"flows": count, "active": _ACTIVE, "burst": burst}
