"""Whether a phase overloaded a tester or the router, and the slower traffic to repeat it with.

Loss by overload says nothing about correct forwarding. A phase that lost a large part of its packets, while some of
every pair arrived, is repeated at half the rate that was delivered. A router that loses packets for another reason
loses them again.
"""

from __future__ import annotations

from dataclasses import replace

from rbops.selftest.result import Phase
from rbops.selftest.traffic import Traffic

__all__ = ["OVERLOAD", "slower"]

OVERLOAD = 0.05
"""The lost part that counts as overload; an overloaded router loses most, one with a fault a few."""

_SHARE = 0.5
_FASTEST_SLOW_PPS = 200_000.0
_SHORT_CHUNK = 64


def slower(traffic: Traffic, phase: Phase) -> tuple[Traffic, str] | None:
    """Slower traffic to repeat the phase with, and why; None when nothing was overloaded."""
    outran = sum(source.unsent for source in phase.sources if 0 < source.unsent < source.sent)
    if outran:
        pps = _FASTEST_SLOW_PPS if traffic.pps is None else traffic.pps / 2
        return _at_rate(traffic, pps), f"a tester sent faster than its own device ({outran:,} frames)"
    if phase.lost > OVERLOAD * phase.sent and all(pair.received for pair in phase.pairs):
        through = sum(pair.received for pair in phase.pairs) / phase.seconds / len(phase.sources)
        return _at_rate(traffic, through * _SHARE), f"the router lost {phase.lost:,} of {phase.sent:,} packets"
    return None


def _at_rate(traffic: Traffic, pps: float) -> Traffic:
    chunk = max(1, min(_SHORT_CHUNK, int(pps / 1000)))
    if traffic.active is None:
        return replace(traffic, pps=pps, chunk=chunk)
    # Flows that begin and end: as many groups as fit in the time.
    groups = int(pps * traffic.seconds / traffic.burst / traffic.active)
    flows = min(traffic.flows, max(1, groups) * traffic.active)
    return replace(traffic, pps=pps, chunk=chunk, flows=flows)
