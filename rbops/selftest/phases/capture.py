"""A capture's flows between the router's ports: packets in the capture's order and of its sizes, again and again."""

from __future__ import annotations

from rbops.selftest.conversations import mapped
from rbops.selftest.phases.matrix import below_quota
from rbops.selftest.session import Session
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["NAME", "flows", "run"]

NAME = "capture"

_FLOWS = 256
_FASTEST_PPS = 1_000_000.0
_SECONDS = 2.0


def flows(testers: int) -> int:
    """Between two ports at most; as many as the sinks' tables hold."""
    return max(1, min(_FLOWS, 65536 // testers))


def run(session: Session, seconds: float) -> None:
    """For two seconds, at the rate of the matrix phase at the busiest port; ``seconds`` is not used.

    Order is counted and not required: some flows of a capture may send more than goes directly.
    """
    del seconds
    found, bench = session.options.capture, session.bench
    if found is None:
        return
    most = flows(len(bench.testers))
    here = mapped(found, len(bench.testers), most, bench.family)
    sizes = FrameSizes(tuple(size for order in here.order.values() for _, _, size in order), found.name)
    pps = (below_quota(session, sizes) or _FASTEST_PPS) / max(1.0, here.busiest)
    to = {near: tuple(dict.fromkeys(far for far, _, _ in order)) for near, order in here.order.items()}
    traffic = Traffic(
        NAME, sizes, to, _SECONDS, pps, chunk=chunk_at(pps), flows=most, parts=here.parts, order=here.order
    )
    count = sum(len(order) for order in here.order.values())
    text = f"{bench.named(NAME)}: {count:,} packets of {found.name} in {here.flows:,} flows, in its order"
    if here.shared:
        text += f"; {here.shared:,} flows share the headers of others, {most} between two ports differ"
    if here.moved:
        text += f"; {here.moved:,} packets between hosts behind one port are for the next port"
    session.notes.append(text)
    session.checked(traffic, ordered=False)
