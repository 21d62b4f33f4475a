"""Rates with their bounds, as frozen values with a JSON form.

``size`` is bytes with FCS; of a ``mix`` of sizes the mean in whole bytes, with which bits are worked out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["NDR_LOSS", "PDR_LOSS", "Bounds", "RateResult", "RateRun", "RateSummary", "Trial", "summaries"]

NDR_LOSS, PDR_LOSS = 0.0, 0.005
"""The loss that a non-drop rate and a partial drop rate allow (CSIT's)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One step of the rate search; rates are of all ports together.

    ``offered_pps`` None: as fast as the testers can.
    """

    offered_pps: float | None
    sent_pps: float
    sent: int
    lost: int
    unsent: int

    @property
    def passed(self) -> bool:
        """Whether every packet was sent and came through."""
        return self.sent > 0 and self.lost == 0 and self.unsent == 0

    @property
    def loss_ratio(self) -> float:
        """Packets lost or not sent, over packets written."""
        return (self.lost + self.unsent) / self.sent if self.sent else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "offered_pps": None if self.offered_pps is None else round(self.offered_pps),
            "sent_pps": round(self.sent_pps),
            "sent": self.sent,
            "lost": self.lost,
            "unsent": self.unsent,
            "passed": self.passed,
        }


@dataclass(frozen=True, slots=True)
class RateResult:
    """The highest rate without loss that was found, all ports at once (RFC 2544 section 26.1).

    ``limit``: what ended the search: ``testers`` (they cannot send faster), ``precision`` (the next
    rate with loss is within a few percent), ``loss`` (no rate was free of loss) or ``time``. ``rate_pps`` 0: none
    was found.
    """

    size: int
    rate_pps: float
    limit: Literal["testers", "precision", "loss", "time"]
    trials: tuple[Trial, ...]
    mix: str | None = None

    @property
    def rate_bps(self) -> float:
        """The rate in bits a second."""
        return self.rate_pps * self.size * 8

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "size": self.size,
            "mix": self.mix,
            "rate_pps": round(self.rate_pps),
            "rate_bps": round(self.rate_bps),
            "limit": self.limit,
            "trials": [trial.to_dict() for trial in self.trials],
        }


@dataclass(frozen=True, slots=True)
class Bounds:
    """The highest load that held ``loss_ratio``, and the lowest that did not; packets a second, all ports together.

    ``lower_pps`` 0: none held. ``upper_pps`` None: all held. ``limited``: the testers were the limit, not the router.
    """

    loss_ratio: float
    lower_pps: float
    upper_pps: float | None
    limited: bool = False

    @property
    def width(self) -> float | None:
        """How far apart they are, in parts of the upper one."""
        return None if not self.upper_pps else (self.upper_pps - self.lower_pps) / self.upper_pps

    def to_dict(self, size: int) -> dict[str, Any]:
        """The JSON form."""
        return {
            "loss_ratio": self.loss_ratio,
            "lower_pps": round(self.lower_pps),
            "upper_pps": None if self.upper_pps is None else round(self.upper_pps),
            "lower_bps": round(self.lower_pps * size * 8),
            "upper_bps": None if self.upper_pps is None else round(self.upper_pps * size * 8),
            "width": None if self.width is None else round(self.width, 6),
            "limited_by_testers": self.limited,
        }


@dataclass(frozen=True, slots=True)
class RateRun:
    """One search with ``size``-byte frames. ``ceiling_pps``: what the testers could send, measured first.

    ``complete``: the bounds are ``width`` apart or better; otherwise time was up. The ceiling's trial is the first of
    ``trials``.
    """

    size: int
    run: int
    method: str
    width: float
    trial_s: float
    ceiling_pps: float
    ndr: Bounds
    pdr: Bounds
    complete: bool
    trials: tuple[Trial, ...]
    seconds: float
    family: int = 4
    mix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "family": self.family,
            "size": self.size,
            "mix": self.mix,
            "run": self.run,
            "method": self.method,
            "width": self.width,
            "trial_seconds": self.trial_s,
            "ceiling_pps": round(self.ceiling_pps),
            "ndr": self.ndr.to_dict(self.size),
            "pdr": self.pdr.to_dict(self.size),
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
            "trials": [trial.to_dict() for trial in self.trials],
        }


@dataclass(frozen=True, slots=True)
class RateSummary:
    """A rate over several runs: ``spread`` is highest less lowest, in parts of the mean."""

    size: int
    name: str
    rates_pps: tuple[float, ...]
    family: int = 4
    mix: str | None = None

    @property
    def mean_pps(self) -> float:
        """The mean of the runs' lower bounds."""
        return sum(self.rates_pps) / len(self.rates_pps)

    @property
    def spread(self) -> float:
        """0 where every run found the same, or nothing."""
        return (max(self.rates_pps) - min(self.rates_pps)) / self.mean_pps if self.mean_pps else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "family": self.family,
            "size": self.size,
            "mix": self.mix,
            "rate": self.name,
            "runs": len(self.rates_pps),
            "mean_pps": round(self.mean_pps),
            "mean_bps": round(self.mean_pps * self.size * 8),
            "spread": round(self.spread, 6),
        }


def summaries(runs: Sequence[RateRun]) -> Iterable[RateSummary]:
    """NDR and PDR of each family and frame size over its runs."""
    for family, size, mix in dict.fromkeys((run.family, run.size, run.mix) for run in runs):
        own = [run for run in runs if (run.family, run.size, run.mix) == (family, size, mix)]
        yield RateSummary(size, "ndr", tuple(run.ndr.lower_pps for run in own), family, mix)
        yield RateSummary(size, "pdr", tuple(run.pdr.lower_pps for run in own), family, mix)
