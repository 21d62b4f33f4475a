"""Latency from the times that testers noted: percentiles, a histogram, and how much it varies.

Generator and sink note the time of the same packets by their machine's CLOCK_MONOTONIC. Between testers on one machine
a packet's latency is from its writing in the sending tester to its check in the receiving one. Between machines, whose
clocks differ, it is a round trip: by the clock of the tester that sent the first packet, less the time that the other
tester had it, by that one's clock (RFC 5357, 2: the reflector's two timestamps). The testers' own part is measured by
itself, on a cable without a router, and given beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Crossing = tuple[NDArray[np.int64], NDArray[np.int64]]

__all__ = [
    "PERCENTILES",
    "Distribution",
    "LatencyPoint",
    "Way",
    "crossings",
    "distribution",
    "round_trips",
    "summed",
]

Way = Literal["one way", "round trip"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_REACHED = 0.99
_DIGITS = 64
"""Parts of an octave in the histogram: a value is known to 1.6 %."""

ANSWER_NS = 20_000_000
"""The answer to a packet is one that its receiver sends at most so much later: so long must two clocks run alike."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of ``samples`` packets, seconds. ``percentiles_s``: those of ``PERCENTILES``, exact.

    ``variation_s``: mean difference of a packet's latency from the one before in its flow (RFC 5481: IPDV, unsigned).
    ``histogram``: (upper bound of a class in ns, packets), classes 1.6 % wide.
    """

    samples: int
    min_s: float
    percentiles_s: tuple[float, ...]
    max_s: float
    mean_s: float
    variation_s: float
    histogram: tuple[tuple[int, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "samples": self.samples,
            "min_s": round(self.min_s, 9),
            **{
                f"p{percent:g}_s": round(value, 9)
                for percent, value in zip(PERCENTILES, self.percentiles_s, strict=True)
            },
            "max_s": round(self.max_s, 9),
            "mean_s": round(self.mean_s, 9),
            "ipdv_mean_s": round(self.variation_s, 9),
            "pdv_p99.9_s": round(self.percentiles_s[-1] - self.min_s, 9),
            "histogram_ns": [list(one) for one in self.histogram],
        }


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """Latency at one load, of all ports together: ``part`` of the rate that was found (None: unloaded).

    ``floor``: of the testers alone, sending the same way over a cable without a router. ``way``: whether times are one
    way, or there and back.
    """

    size: int
    part: float | None
    offered_pps: float
    sent_pps: float
    sent: int
    lost: int
    found: Distribution
    floor: Distribution
    family: int = 4
    mix: str | None = None
    way: Way = "one way"

    @property
    def reached(self) -> bool:
        """Whether the load was offered: the testers sent 99 % of it or more."""
        return self.sent_pps >= _REACHED * self.offered_pps

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "family": self.family,
            "size": self.size,
            "mix": self.mix,
            "part": self.part,
            "way": self.way,
            "offered_pps": round(self.offered_pps),
            "sent_pps": round(self.sent_pps),
            "reached": self.reached,
            "sent": self.sent,
            "lost": self.lost,
            **self.found.to_dict(),
            "floor": self.floor.to_dict(),
        }


def crossings(
    sent: bytes, received: bytes, position: tuple[int, int], source: int, flows: int, room: int, testers: int
) -> list[Crossing]:
    """(when written, when come) of the packets of ``source`` to one destination, an array each for each flow, in order.

    ``sent`` and ``received`` are the two testers' tables; of packets without one of their times nothing is given.
    ``position``: the destination's place among those that ``source`` sends to, and their number. The two times are by
    the clocks of the two testers.
    """
    import numpy as np

    place, count = position
    written = np.frombuffer(sent, np.uint64).reshape(flows, count, room)[:, place]
    came = np.frombuffer(received, np.uint64).reshape(testers, flows, room)[source]
    found = []
    for flow in range(flows):
        both = (written[flow] > 0) & (came[flow] > 0)
        found.append((written[flow][both].astype(np.int64), came[flow][both].astype(np.int64)))
    return found


def round_trips(there: Sequence[Crossing], back: Sequence[Crossing], seed: int) -> NDArray[np.int64]:
    """Nanoseconds of a packet there and of one back, without the time between them, in order of coming there.

    The one back is any of those that left within ``ANSWER_NS`` after the first one came, each as likely, so that none
    stands for its burst; a packet without any is left out.
    """
    import numpy as np

    sent, came = _joined(there)
    answered, ended = _joined(back)
    sent, came = sent[(order := np.argsort(came, kind="stable"))], came[order]
    answered, ended = answered[(order := np.argsort(answered, kind="stable"))], ended[order]
    first = np.searchsorted(answered, came)
    last = np.searchsorted(answered, came + ANSWER_NS)
    have = last > first
    first, last, sent, came = first[have], last[have], sent[have], came[have]
    chosen = first + np.floor(np.random.default_rng(seed).random(len(first)) * (last - first)).astype(np.int64)
    found: NDArray[np.int64] = (ended[chosen] - sent) - (answered[chosen] - came)
    return found


def summed(ones: Sequence[NDArray[np.int64]], others: Sequence[NDArray[np.int64]], seed: int) -> NDArray[np.int64]:
    """One of these and one of the others together, drawn without an order, as often as there are of both."""
    import numpy as np

    draw = np.random.default_rng(seed)
    one, other = (draw.permutation(np.concatenate(flows)) for flows in (ones, others))
    most = min(len(one), len(other))
    together: NDArray[np.int64] = one[:most] + other[:most]
    return together


def _joined(flows: Sequence[Crossing]) -> Crossing:
    import numpy as np

    none = np.zeros(0, np.int64)
    return np.concatenate([none, *(one for one, _ in flows)]), np.concatenate([none, *(two for _, two in flows)])


def distribution(flows: Sequence[NDArray[np.int64]]) -> Distribution | None:
    """Of all flows' packets together; None without any."""
    import numpy as np

    values = np.sort(np.concatenate(flows)) if flows else np.zeros(0, np.int64)
    if not len(values):
        return None
    steps = [np.abs(np.diff(flow)) for flow in flows if len(flow) > 1]
    between = np.concatenate(steps) if steps else np.zeros(1, np.int64)
    # The nearest rank: a value that was measured.
    ranks = [min(len(values) - 1, int(np.ceil(len(values) * percent / 100)) - 1) for percent in PERCENTILES]
    classes, counts = np.unique(np.ceil(np.log2(np.maximum(values, 1)) * _DIGITS).astype(np.int64), return_counts=True)
    return Distribution(
        samples=len(values),
        min_s=float(values[0]) / 1e9,
        percentiles_s=tuple(float(values[max(0, rank)]) / 1e9 for rank in ranks),
        max_s=float(values[-1]) / 1e9,
        mean_s=float(values.mean()) / 1e9,
        variation_s=float(between.mean()) / 1e9,
        histogram=tuple(
            (round(2.0 ** (number / _DIGITS)), int(count)) for number, count in zip(classes, counts, strict=True)
        ),
    )
