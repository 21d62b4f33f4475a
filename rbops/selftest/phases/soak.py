"""A load below the rate that was found, of all ports at once, for a long time; only when asked for."""

from __future__ import annotations

import time

from rbops.selftest.bench import run_phase
from rbops.selftest.session import Session
from rbops.selftest.sizes import FrameSizes
from rbops.selftest.soak import Slice, SoakResult
from rbops.selftest.traffic import Traffic, chunk_at

__all__ = ["NAME", "run"]

NAME = "soak"

_SLICE_S = 10.0
"""So long packets are sent at a time; what came of them is read in between."""

_ROOM = 50_000_000
"""Packets of a slice: the sinks' tables hold some more."""

_REPORTS = 60
"""Lines of progress, at most."""


def run(session: Session, seconds: float) -> None:
    """Send for the time that was asked for; the result is the session's ``soaks``. ``seconds`` is not used."""
    del seconds
    rates = session.found_rates()
    if not rates:
        session.notes.append("soak: no rate was found that could be kept")
        return
    sizes, rate = next(iter(rates.items()))
    _soak(session, sizes, rate * session.options.soak.part)


def _soak(session: Session, sizes: FrameSizes, offered: float) -> None:
    wanted, senders = session.options.soak, len(session.bench.testers)
    pps = offered / senders
    begun = told = time.monotonic()
    slices: list[Slice] = []
    session.say(f"{session.bench.named(NAME)}: {sizes.named}, {offered / 1e6:.4f} Mpps for {wanted.seconds:.0f} s")
    while (left := wanted.seconds - (time.monotonic() - begun)) > 0:
        part = min(_SLICE_S, left, _ROOM / offered)
        traffic = Traffic(NAME, sizes, session.everyone, part, pps, None, chunk_at(pps), flows=session.flows)
        outcome = run_phase(session.bench, traffic)
        session.judged(outcome)
        phase = outcome.phase
        slices.append(Slice(phase.sent - phase.unsent, phase.lost, phase.seconds))
        if time.monotonic() - told >= wanted.seconds / _REPORTS:
            told = time.monotonic()
            lost = sum(each.lost for each in slices)
            sent = sum(each.sent for each in slices)
            session.say(f"{NAME}: {told - begun:.0f} of {wanted.seconds:.0f} s, {lost:,} of {sent:,} packets lost")
        if session.faults:
            break
    took = time.monotonic() - begun
    found = SoakResult(
        sizes.size, wanted.part, offered, took, tuple(slices), took >= wanted.seconds, session.bench.family, sizes.mix
    )
    session.soaks.append(found)
