"""Whether a phase was too much for a tester or for the router, and what to offer instead.

What a router loses because it is offered more than it can take says nothing about how it forwards. A phase that
lost a large part of what it sent, and of each pair something arrived, is repeated at half the rate that came
through. A router that loses packets for another reason loses them again.
"""

from __future__ import annotations

from dataclasses import replace

from rbops.selftest.result import Phase
from rbops.selftest.traffic import Traffic

__all__ = ["OVERLOAD", "less"]

OVERLOAD = 0.05
"""The part that has to be lost; a router that is slow loses most, one with a fault a few."""

_SHARE = 0.5
_FASTEST_SLOW_PPS = 200_000.0
_SHORT_CHUNK = 64


def less(traffic: Traffic, phase: Phase) -> tuple[Traffic, str] | None:
    """What to offer instead of ``traffic``, and why; None when it was not too much."""
    outran = sum(source.unsent for source in phase.sources if 0 < source.unsent < source.sent)
    if outran:
        pps = _FASTEST_SLOW_PPS if traffic.pps is None else traffic.pps / 2
        return _slower(traffic, pps), f"a tester outran its own device ({outran:,} frames)"
    if phase.lost > OVERLOAD * phase.sent and all(pair.received for pair in phase.pairs):
        through = sum(pair.received for pair in phase.pairs) / phase.seconds / len(phase.sources)
        return _slower(traffic, through * _SHARE), f"the router lost {phase.lost:,} of {phase.sent:,} packets"
    return None


def _slower(traffic: Traffic, pps: float) -> Traffic:
    chunk = max(1, min(_SHORT_CHUNK, int(pps / 1000)))
    if traffic.active is None:
        return replace(traffic, pps=pps, chunk=chunk)
    # Flows that begin and end: as many groups of them as have their turn in the time.
    groups = int(pps * traffic.seconds / traffic.burst / traffic.active)
    flows = min(traffic.flows, max(1, groups) * traffic.active)
    return replace(traffic, pps=pps, chunk=chunk, flows=flows)
