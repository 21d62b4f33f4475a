"""The highest rate without loss of all ports at once."""

from __future__ import annotations

import time
from dataclasses import replace

from rbops.dataplane import registry
from rbops.selftest.bench import run_phase
from rbops.selftest.rateresult import Trial
from rbops.selftest.result import Phase
from rbops.selftest.search import search
from rbops.selftest.session import Session
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["run"]

_TRIAL_S = 0.5

_PATIENCE = 3
"""Times the phase's seconds while no trial has passed: on a busy machine one trial may use all of them."""


def run(session: Session, seconds: float) -> None:
    """Search for ``seconds``; the result is the session's ``rate``."""
    started = time.monotonic()
    trial_s = min(_TRIAL_S, seconds / 4)
    sizes, senders = session.sizes, len(session.bench.testers)
    session.say(f"{session.bench.named('rate')}: {sizes.named}, trials of {trial_s:g} s")

    def trial(offered: float | None) -> Trial:
        pps = None if offered is None else offered / senders
        traffic = Traffic("rate", sizes, session.everyone, trial_s, pps, None, chunk_at(pps), flows=session.flows)
        outcome = run_phase(session.bench, traffic)
        session.judged(outcome)
        sent_pps = sum(source.rate_pps for source in outcome.phase.sources)
        return Trial(offered, sent_pps, outcome.phase.sent, outcome.phase.lost, outcome.phase.unsent)

    def time_left(found_pps: float) -> bool:
        return time.monotonic() + trial_s < started + seconds * (1 if found_pps else _PATIENCE)

    # Fewer packets than one round over all flows prove nothing, and a round is always ended, beyond the trial's time.
    least = senders * (senders - 1) * session.flows / trial_s
    start = _first_rate(session)
    found = search(trial, size=sizes.size, time_left=time_left, start_pps=start, least_pps=least)
    session.rate = replace(found, mix=sizes.mix)


def _proves(session: Session, phase: Phase) -> bool:
    return phase.family == session.bench.family and phase.all_ports and phase.received > 0 and not phase.lost


def _first_rate(session: Session) -> float | None:
    """Of the search, all ports together: for sockets the predicted rate, or twice what all ports together proved."""
    if not registry.controller(session.plan.forwarding.dataplane).loses_early(session.plan):
        return None
    proved = [2 * phase.rate_pps for phase in session.phases if _proves(session, phase)]
    return max(1.0, min([float(session.plan.prediction.rate_pps), *proved]))
