"""NDR and PDR of all ports at once, with bounds, for several frame sizes and in several runs; only when asked for."""

from __future__ import annotations

from dataclasses import replace

from rbops.selftest.bench import run_phase
from rbops.selftest.rateresult import Trial
from rbops.selftest.rates import find_rates
from rbops.selftest.session import Session
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["NAME", "run"]

NAME = "rates"


def run(session: Session, seconds: float) -> None:
    """Search for each size and run; what is found is the session's ``rate_runs``. ``seconds`` is not used."""
    del seconds
    wanted = session.options.rates
    for number in range(1, wanted.runs + 1):
        for sizes in dict.fromkeys(session.bench.sizes(size) for size in wanted.sizes):

            def measure(trial_s: float, offered: float | None, sizes: FrameSizes = sizes) -> Trial:
                return _trial(session, sizes, trial_s, offered)

            def say(text: str, sizes: FrameSizes = sizes, number: int = number) -> None:
                session.say(f"{session.bench.named(NAME)}: {sizes.named}, run {number} of {wanted.runs}, {text}")

            found = find_rates(measure, sizes.size, number, wanted.shape, say)
            session.rate_runs.append(replace(found, family=session.bench.family, mix=sizes.mix))


def _trial(session: Session, sizes: FrameSizes, seconds: float, offered: float | None) -> Trial:
    senders = len(session.bench.testers)
    pps = None if offered is None else offered / senders
    traffic = Traffic(NAME, sizes, session.everyone, seconds, pps, None, chunk_at(pps), flows=session.flows)
    outcome = run_phase(session.bench, traffic)
    session.judged(outcome)
    phase = outcome.phase
    return Trial(offered, sum(source.rate_pps for source in phase.sources), phase.sent, phase.lost, phase.unsent)
