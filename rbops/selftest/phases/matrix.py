"""Every port to every other one at once, below the direct quota: every packet must arrive, in order within its flow."""

from __future__ import annotations

from rbops.dataplane import registry
from rbops.selftest.options import OVERALL_S
from rbops.selftest.session import Session
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["below_quota", "run"]

_HEADROOM = 0.5
"""The part of the direct quota that the matrix uses at most, so that nothing needs to be balanced."""

_SOCKET_PART = 1 / 16
"""The part of the predicted rate at which the matrix offers packets to a router on sockets."""


def run(session: Session, seconds: float) -> None:
    """Send for ``seconds``, or for as long as the packets that ``--packets`` asks for take."""
    pps = below_quota(session, session.sizes)
    options = session.options
    frames = None if options.packets is None else options.packets * (len(session.bench.testers) - 1)
    if frames is not None:
        # The number is requested, not the time; what a slow machine does not send by then is reported.
        seconds = max(seconds, min(OVERALL_S, (frames / pps if pps else 0) + OVERALL_S / 2))
    traffic = Traffic(
        "matrix", session.sizes, session.everyone, seconds, pps, frames, chunk_at(pps), flows=session.flows
    )
    forwarding = session.plan.forwarding
    keeps_order = forwarding.routing == "direct-vlb" and forwarding.flowlet_timeout_s > 0
    outcome = session.checked(traffic, ordered=keeps_order, queues=True)
    sent = min(source.sent for source in outcome.phase.sources)
    if frames is not None and sent < frames:
        name = outcome.phase.name
        session.notes.append(f"{name}: only {sent:,} of {frames:,} packets a port could be sent in {seconds:.0f} s")


def below_quota(session: Session, sizes: FrameSizes) -> float | None:
    """The packet rate of one source at which every flow stays well below the direct quota and its port's rate."""
    plan, testers = session.plan, session.bench.testers
    quota = plan.forwarding.direct_quota_bps
    bits = (sizes.mean - 4) * 8
    shared = max(len(server.external_ports) for server in plan.servers)
    slowest = float("inf")
    for tester in testers:
        cores = max(1, len(plan.server(tester.at.server).cores.dataplane))
        direct = quota / cores / (shared * shared) * (len(testers) - 1) if quota else float("inf")
        slowest = min(slowest, _HEADROOM * min(direct, tester.at.rate_bps) / bits)
    if registry.controller(plan.forwarding.dataplane).loses_early(plan):
        # Sockets lose packets long before line rate, and in a lab all servers share this machine's cores.
        slowest = min(slowest, _SOCKET_PART * plan.prediction.rate_pps / len(testers))
    return None if slowest == float("inf") else slowest
