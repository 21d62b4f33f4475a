"""Latency from the times that testers noted: percentiles, a histogram, and how much it varies.

Generator and sink note the time of the same packets by the same clock (CLOCK_MONOTONIC), so this is between testers on
one machine. A packet's latency is from its writing in the sending tester to its check in the receiving one. The
testers' own part is measured by itself, on a cable without a router, and given beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PERCENTILES", "Distribution", "LatencyPoint", "distribution", "matched"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_REACHED = 0.99
_DIGITS = 64
"""Parts of an octave in the histogram: a value is known to 1.6 %."""


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

    ``floor``: of the testers alone, sending the same way over a cable without a router.
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
            "offered_pps": round(self.offered_pps),
            "sent_pps": round(self.sent_pps),
            "reached": self.reached,
            "sent": self.sent,
            "lost": self.lost,
            **self.found.to_dict(),
            "floor": self.floor.to_dict(),
        }


def matched(
    sent: str,
    received: Mapping[int, str],
    destinations: Sequence[int],
    source: int,
    flows: int,
    room: int,
    testers: int,
) -> list[NDArray[np.int64]]:
    """Nanoseconds of each packet of ``source`` whose two times are known, an array for each flow, in order of sending.

    ``sent`` and ``received`` (by destination, of those by the same clock) are the testers' tables as the agents give
    them.
    """
    import numpy as np

    written = np.frombuffer(base64.b64decode(sent), np.uint64).reshape(flows, len(destinations), room)
    found = []
    for position, to in enumerate(destinations):
        if to not in received:
            continue
        came = np.frombuffer(base64.b64decode(received[to]), np.uint64).reshape(testers, flows, room)[source]
        for flow in range(flows):
            both = (written[flow, position] > 0) & (came[flow] > 0)
            found.append(came[flow][both].astype(np.int64) - written[flow, position][both].astype(np.int64))
    return found


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
