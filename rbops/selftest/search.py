"""The highest rate without loss, by bounded bisection (RFC 2544 section 26.1; FD.io CSIT's loss-ratio search, goal 0).

The first trial is as fast as the testers can. If it loses nothing, that is the answer and the testers
were the limit. Otherwise the interval between the highest rate that passed and the lowest that did not
is halved until it is narrow, or until time is up.
"""

from __future__ import annotations

from collections.abc import Callable

from rbops.selftest.result import RateResult, Trial

__all__ = ["search"]

_PRECISION = 0.05
_TRIALS = 12


def search(run: Callable[[float | None], Trial], *, size: int, time_left: Callable[[], bool]) -> RateResult:
    """Search with ``run(offered_pps)``, where offered is all ports together and None as fast as possible.

    ``time_left`` says whether another trial fits. ``size`` is bytes with FCS, for the result.
    """
    first = run(None)
    trials = [first]
    if first.passed:
        return RateResult(size, first.sent_pps, "testers", tuple(trials))
    low, high = 0.0, first.sent_pps
    while time_left() and len(trials) < _TRIALS:
        if low and (high - low) / high <= _PRECISION:
            return RateResult(size, low, "precision", tuple(trials))
        offered = (low + high) / 2
        trial = run(offered)
        trials.append(trial)
        if trial.passed:
            # A tester may fall short of what it was asked for; only what was really sent is proven.
            low = max(low, min(trial.sent_pps, offered))
            if trial.sent_pps < offered * (1 - _PRECISION):
                return RateResult(size, low, "testers", tuple(trials))
        else:
            high = offered
        if high < 1:
            break
    return RateResult(size, low, "time", tuple(trials))
