"""The highest rate without loss, by bounded bisection (RFC 2544 section 26.1; FD.io CSIT's loss-ratio search, goal 0).

The first trial is as fast as the testers can, or at a given rate, from where the search doubles until a trial
loses packets. If the testers cannot send faster, they were the limit. Otherwise the interval between the highest
rate that passed and the lowest that did not is halved until it is narrow, or until time is up. While nothing has
passed, what came through the trial before is offered if that is less than half, and then twice what passed at
most: testers can be a hundred times as fast as the router.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from rbops.selftest.rateresult import RateResult, Trial

__all__ = ["search"]

_PRECISION = 0.05
_TRIALS = 12


def search(
    run: Callable[[float | None], Trial],
    *,
    size: int,
    time_left: Callable[[float], bool],
    start_pps: float | None = None,
    least_pps: float = 1.0,
) -> RateResult:
    """Search with ``run(offered_pps)``, where offered is all ports together and None as fast as possible.

    ``time_left(found_pps)`` says whether another trial fits, where ``found_pps`` was free of loss, 0: nothing yet.
    ``start_pps`` is the first trial's rate, for a router that is known to be slow; below ``least_pps`` nothing is
    tried. ``size`` is bytes with FCS, for the result.
    """
    trials: list[Trial] = []
    low, high = 0.0, math.inf
    offered = start_pps
    while True:
        trial = run(offered)
        trials.append(trial)
        if not trial.passed:
            high = trial.sent_pps if offered is None else offered
        elif offered is None:
            return RateResult(size, trial.sent_pps, "testers", tuple(trials))
        else:
            # A tester may send less than requested; only what it sent is proven.
            low = max(low, min(trial.sent_pps, offered))
            if trial.sent_pps < offered * (1 - _PRECISION):
                return RateResult(size, low, "testers", tuple(trials))
        limit = _limit(low, high, least_pps) or ("time" if len(trials) >= _TRIALS or not time_left(low) else None)
        if limit:
            return RateResult(size, low, limit, tuple(trials))
        offered = max(least_pps, min((low + high) / 2, 2 * low or _through(trial) or high))


def _limit(low: float, high: float, least: float) -> Literal["precision", "loss"] | None:
    """The rate above which nothing needs to be searched."""
    if low and low >= high * (1 - _PRECISION):
        return "precision"
    return "loss" if high <= least else None


def _through(trial: Trial) -> float:
    """Packets a second that the router carried in a trial."""
    return trial.sent_pps * (1 - trial.lost / trial.sent) if trial.sent else 0.0
