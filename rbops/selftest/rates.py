"""Rates of a router by MLRsearch: the load without loss (NDR) and with little loss (PDR), with their bounds.

The search is FD.io CSIT's library (draft-ietf-bmwg-mlrsearch): trials at loads that it chooses, several for each bound,
narrowed until a bound that holds and one that does not are ``width`` apart. With one trial for each load and no
exception it is RFC 2544's search (section 26.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rbops.selftest.rateresult import NDR_LOSS, PDR_LOSS, Bounds, RateRun, Trial

__all__ = ["Method", "SearchShape", "find_rates"]

Method = Literal["mlr", "rfc2544"]

Measure = Callable[[float, float | None], Trial]
"""Runs a trial: seconds, and packets a second of all ports together (None: as fast as the testers can)."""

_LEAST = 1e-3
"""Of the testers' rate: below that nothing is searched."""

_REACHED = 0.99
"""Of the offered load: a trial that sent less was limited by the testers."""


@dataclass(frozen=True, slots=True)
class SearchShape:
    """How a search goes: seconds of a trial, of all trials at a bound, and at most; relative width of the bounds."""

    method: Method = "mlr"
    trial_s: float = 0.5
    sum_s: float = 1.5
    width: float = 0.005
    limit_s: float = 60.0


class _Measurer:
    """What the library calls for a trial; keeps them all."""

    def __init__(self, measure: Measure, deadline: float, say: Callable[[str], None]) -> None:
        self._measure, self._deadline, self._say = measure, deadline, say
        self.trials: list[Trial] = []

    def measure(self, intended_duration: float, intended_load: float) -> Any:
        """One trial; what was not sent counts against the load."""
        from MLRsearch import MeasurementResult

        left = self._deadline - time.monotonic()
        if left < intended_duration:
            raise TimeoutError
        self._say(f"trial {len(self.trials) + 1}: {intended_load / 1e6:.3f} Mpps, {left:.0f} s left")
        begun = time.monotonic()
        trial = self._measure(intended_duration, intended_load)
        self.trials.append(trial)
        handed = trial.sent - trial.unsent
        # A tester that was late sent as many packets in more time: the load was not offered.
        intended = (
            round(handed * intended_load / trial.sent_pps) if trial.sent_pps < _REACHED * intended_load else handed
        )
        return MeasurementResult(
            intended_duration=intended_duration,
            intended_load=intended_load,
            offered_count=handed,
            loss_count=trial.lost,
            intended_count=max(handed, intended),
            duration_with_overheads=time.monotonic() - begun,
        )


def find_rates(
    measure: Measure, size: int, run: int, shape: SearchShape, say: Callable[[str], None] = lambda _: None
) -> RateRun:
    """Search with trials of ``size``-byte frames; ``run`` is this run's number, for the result.

    The testers' own rate is measured first: no load above it is offered. A search that time ended has the bounds that
    its trials prove.
    """
    begun = time.monotonic()
    ceiling = measure(shape.trial_s, None)
    measurer = _Measurer(measure, begun + shape.limit_s, say)
    goals = {loss: _goal(loss, shape) for loss in (NDR_LOSS, PDR_LOSS)}
    found, complete = _search(measurer, ceiling.sent_pps, goals, shape)
    if not complete:
        found = {loss: _proven(measurer.trials, loss) for loss in goals}
    ndr, pdr = (
        Bounds(loss, *found[loss], limited=_limited(measurer.trials, found[loss], ceiling.sent_pps, loss))
        for loss in (NDR_LOSS, PDR_LOSS)
    )
    return RateRun(
        size, run, shape.method, shape.width, shape.trial_s, ceiling.sent_pps, ndr, pdr, complete,
        (ceiling, *measurer.trials), time.monotonic() - begun,
    )  # fmt: skip


def _goal(loss: float, shape: SearchShape) -> Any:
    from MLRsearch import SearchGoal

    single = shape.method == "rfc2544"
    return SearchGoal(
        loss_ratio=loss,
        exceed_ratio=0.0 if single else 0.5,
        relative_width=shape.width,
        initial_trial_duration=shape.trial_s,
        final_trial_duration=shape.trial_s,
        duration_sum=shape.trial_s if single else shape.sum_s,
        preceding_targets=2,
        expansion_coefficient=2,
        fail_fast=False,
    )


def _search(
    measurer: _Measurer, most_pps: float, goals: dict[float, Any], shape: SearchShape
) -> tuple[dict[float, tuple[float, float | None]], bool]:
    """(lower, upper) of each goal, and whether the search came to its end."""
    from MLRsearch import Config, MultipleLossRatioSearch

    config = Config(
        goals=list(goals.values()),
        min_load=max(1.0, most_pps * _LEAST),
        max_load=max(2.0, most_pps),
        search_duration_max=shape.limit_s,
        warmup_duration=0.0,
    )
    try:
        results = MultipleLossRatioSearch(config=config).search(measurer=measurer, debug=lambda _: None)
    except (TimeoutError, RuntimeError):  # the library's own limit of time is a RuntimeError
        return {}, False
    return {
        loss: (
            float(lower) if (lower := results[goal].relevant_lower_bound) else 0.0,
            float(upper) if (upper := results[goal].relevant_upper_bound) else None,
        )
        for loss, goal in goals.items()
    }, True


def _proven(trials: list[Trial], loss: float) -> tuple[float, float | None]:
    """What single trials prove: the lowest load that did not hold, and the highest below it that did."""
    bad = [trial.offered_pps for trial in trials if trial.offered_pps and not _holds(trial, loss)]
    upper = min(bad, default=None)
    good = [trial.offered_pps for trial in trials if trial.offered_pps and _holds(trial, loss)]
    return max((load for load in good if upper is None or load < upper), default=0.0), upper


def _holds(trial: Trial, loss: float) -> bool:
    offered = trial.offered_pps or trial.sent_pps
    return trial.sent > 0 and trial.sent_pps >= _REACHED * offered and trial.loss_ratio <= loss


def _limited(trials: list[Trial], bounds: tuple[float, float | None], most_pps: float, loss: float) -> bool:
    """Whether the testers decided: the bound is their own rate, or they could not send the load above it."""
    _, upper = bounds
    if upper is None:
        return True
    above = [trial for trial in trials if trial.offered_pps and abs(trial.offered_pps - upper) < upper * 1e-6]
    return upper >= most_pps * (1 - 1e-6) or (
        bool(above) and all(trial.sent_pps < _REACHED * upper and trial.loss_ratio <= loss for trial in above)
    )
