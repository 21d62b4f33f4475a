"""A soak: one load for a long time, what was lost of it, and what that proves of the loss there is.

In the spirit of PLRsearch (draft-vpolak-bmwg-plrsearch): a low loss ratio needs many packets over a long time. Nothing
is searched here; the load is given, and the result is a bound. The bound on the loss ratio takes losses as independent
(Poisson); where they come in bursts, the part of the periods that had any says more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CONFIDENCE", "Slice", "SoakResult", "loss_bound", "part_bound"]

CONFIDENCE = 0.95
"""How sure the upper bounds are, one-sided."""

_STEPS = 100
_MANY = 100
_DEVIATIONS = 1.6448536
"""Of a normal distribution, below which it is with ``CONFIDENCE``."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A period of a soak: packets sent and lost, and how long they were sent."""

    sent: int
    lost: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SoakResult:
    """A soak at ``offered_pps``, all ports together, which was ``part`` of the rate that was found.

    ``seconds`` is the whole time; between the slices nothing is sent. ``complete``: it was as long as was asked for.
    """

    size: int
    part: float
    offered_pps: float
    seconds: float
    slices: tuple[Slice, ...]
    complete: bool
    family: int = 4
    mix: str | None = None

    @property
    def sent(self) -> int:
        """Packets that the testers' devices took."""
        return sum(each.sent for each in self.slices)

    @property
    def lost(self) -> int:
        """Packets lost in the router."""
        return sum(each.lost for each in self.slices)

    @property
    def sending_s(self) -> float:
        """Time in which packets were sent."""
        return sum(each.seconds for each in self.slices)

    @property
    def sent_pps(self) -> float:
        """While packets were sent."""
        return self.sent / self.sending_s if self.sending_s else 0.0

    @property
    def loss_ratio(self) -> float:
        """Lost over sent."""
        return self.lost / self.sent if self.sent else 0.0

    @property
    def lossy(self) -> int:
        """Slices in which a packet was lost."""
        return sum(each.lost > 0 for each in self.slices)

    @property
    def worst(self) -> float:
        """The highest loss ratio of a slice."""
        return max((each.lost / each.sent for each in self.slices if each.sent), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "family": self.family,
            "size": self.size,
            "mix": self.mix,
            "part": self.part,
            "offered_pps": round(self.offered_pps),
            "sent_pps": round(self.sent_pps),
            "seconds": round(self.seconds, 3),
            "sending_seconds": round(self.sending_s, 3),
            "complete": self.complete,
            "sent": self.sent,
            "lost": self.lost,
            "loss_ratio": self.loss_ratio,
            "confidence": CONFIDENCE,
            "loss_ratio_upper": loss_bound(self.lost, self.sent),
            "slices_with_loss": self.lossy,
            "slices_with_loss_upper": part_bound(self.lossy, len(self.slices)),
            "worst_slice_loss_ratio": self.worst,
            "slices": [[each.sent, each.lost, round(each.seconds, 6)] for each in self.slices],
        }


def loss_bound(lost: int, sent: int) -> float:
    """The loss ratio that is not exceeded with ``CONFIDENCE`` when ``lost`` of ``sent`` were, each by itself.

    The exact bound for a Poisson count, of many losses to a few parts in 10,000 (Wilson and Hilferty); 3.0 / sent when
    none was lost. 1 without packets.
    """
    if not sent:
        return 1.0
    if lost > _MANY:
        part = 1 / (9 * (lost + 1))
        return min(1.0, (lost + 1) * (1 - part + _DEVIATIONS * math.sqrt(part)) ** 3 / sent)
    high = lost + 10 * math.sqrt(lost + 1) + 10
    return min(1.0, _root(lambda mean: _poisson(lost, mean), 0.0, high) / sent)


def part_bound(hits: int, tries: int) -> float:
    """The probability not exceeded with ``CONFIDENCE`` when ``hits`` of ``tries`` happened (Clopper and Pearson)."""
    if hits >= tries:
        return 1.0
    return _root(lambda chance: _binomial(hits, tries, chance), 0.0, 1.0)


def _root(probability: Callable[[float], float], low: float, high: float) -> float:
    """Where a probability that falls with its argument is 1 - ``CONFIDENCE``."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if probability(middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _poisson(most: int, mean: float) -> float:
    """The probability of at most ``most`` where ``mean`` are expected."""
    if mean <= 0:
        return 1.0
    logs = (count * math.log(mean) - mean - math.lgamma(count + 1) for count in range(most + 1))
    return sum(math.exp(each) for each in logs)


def _binomial(most: int, tries: int, chance: float) -> float:
    """The probability of at most ``most`` hits."""
    if chance <= 0:
        return 1.0
    if chance >= 1:
        return 0.0
    parts = (
        math.lgamma(tries + 1) - math.lgamma(hits + 1) - math.lgamma(tries - hits + 1)
        + hits * math.log(chance) + (tries - hits) * math.log1p(-chance)
        for hits in range(most + 1)
    )  # fmt: skip
    return sum(math.exp(part) for part in parts)
