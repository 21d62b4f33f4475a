"""The highest rate without loss, by bounded bisection (RFC 2544 section 26.1; FD.io CSIT's loss-ratio search, goal 0).

The first trial is as fast as the testers can. If it loses nothing, that is the answer and the testers
were the limit. Otherwise the interval between the highest rate that passed and the lowest that did not
is halved until it is narrow, or until time is up. While nothing has passed, what came through the trial
before is offered if that is less, and then twice what passed at most: testers can be a hundred times as fast
as the router.
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
        offered = min((low + high) / 2, 2 * low or _through(trials[-1]) or high)
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


def _through(trial: Trial) -> float:
    """Packets a second that the router carried in a trial."""
    return trial.sent_pps * (1 - trial.lost / trial.sent) if trial.sent else 0.0
