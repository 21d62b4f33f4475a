"""The paper's reordering metric, defined once for sink, model and simulator.

Paper 6.2: "the fraction of same-flow packet sequences that were reordered within their TCP/UDP flow;
for instance, if a TCP flow consists of 5 packets that enter the cluster in sequence (p1, p2, p3, p4,
p5) and exit the cluster in sequence (p1, p4, p2, p3, p5), we count one reordered sequence."

Made precise here:

- A packet is *late* when a packet of its flow that entered after it has already left.
- A *reordered sequence* is an unbroken run of late packets among the arrivals of one flow. In the
  example p2 and p3 are late and follow each other: one reordered sequence.
- The *fraction* is reordered sequences over packets: every packet that leaves might have begun one.
- A packet that leaves for the second time is a duplicate. It counts for nothing here, and a lost
  packet makes no other late.

RFC 4737's reordered ratio is late packets over packets; it is given as well. So are two measures of a late packet by
that RFC, among the last ``RECENT`` arrivals of its flow:

- The *extent* (4.2.2): how many arrivals ago the first packet came that was to follow it.
- It is *n-reordered* (5.3) when each of the n packets that arrived right before it was to follow it; the highest such
  n is its degree here. TCP takes 3-reordered packets for lost (5.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["RECENT", "Lateness", "Reordering", "lateness", "measure"]

RECENT = 64
"""Arrivals of a flow that are remembered: an extent or degree of one less is that or more."""


@dataclass(frozen=True, slots=True)
class Reordering:
    """Counts over any number of flows; they add up with ``+``."""

    packets: int = 0
    late: int = 0
    sequences: int = 0

    @property
    def fraction(self) -> float:
        """Reordered sequences over packets (paper 6.2), 0 to 1; 0 without packets."""
        return self.sequences / self.packets if self.packets else 0.0

    @property
    def late_ratio(self) -> float:
        """Late packets over packets (RFC 4737 section 4.1), 0 to 1; 0 without packets."""
        return self.late / self.packets if self.packets else 0.0

    def __add__(self, other: Reordering) -> Reordering:
        return Reordering(self.packets + other.packets, self.late + other.late, self.sequences + other.sequences)


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of late packets, how many have each extent and each degree, by number from 0; they add up with ``+``."""

    extents: tuple[int, ...] = (0,) * RECENT
    degrees: tuple[int, ...] = (0,) * RECENT

    @property
    def packets(self) -> int:
        """Late packets."""
        return sum(self.extents)

    @property
    def mean_extent(self) -> float:
        """0 without late packets."""
        return sum(extent * count for extent, count in enumerate(self.extents)) / max(1, self.packets)

    @property
    def most(self) -> int:
        """The largest extent."""
        return max((extent for extent, count in enumerate(self.extents) if count), default=0)

    def reordered(self, number: int) -> int:
        """Packets that are n-reordered."""
        return sum(self.degrees[number:])

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON: extents and degrees that occurred, with their packets."""
        return {
            "window": RECENT - 1,
            "mean_extent": round(self.mean_extent, 6),
            "extents": [[extent, count] for extent, count in enumerate(self.extents) if count],
            "degrees": [[degree, count] for degree, count in enumerate(self.degrees) if count],
        }

    def __add__(self, other: Lateness) -> Lateness:
        extents, degrees = (
            tuple(map(int.__add__, one, two))
            for one, two in ((self.extents, other.extents), (self.degrees, other.degrees))
        )
        return Lateness(extents, degrees)


def lateness(arrivals: Sequence[int]) -> Lateness:
    """Of one flow, from different sequence numbers as they left."""
    extents, degrees = [0] * RECENT, [0] * RECENT
    for at, number in enumerate(arrivals):
        before = arrivals[max(0, at - RECENT + 1) : at][::-1]
        later = [back for back, other in enumerate(before, 1) if other > number]
        if not any(other > number for other in arrivals[:at]):
            continue
        extents[later[-1] if later else 0] += 1
        degrees[next((back for back, other in enumerate(before) if other <= number), len(before))] += 1
    return Lateness(tuple(extents), tuple(degrees))


def measure(arrivals: Iterable[int]) -> Reordering:
    """The metric of one flow, from sequence numbers (in order of entry) as they left."""
    seen: set[int] = set()
    highest: int | None = None
    late = sequences = 0
    inside = False
    for number in arrivals:
        if number in seen:
            continue
        seen.add(number)
        if highest is None or number > highest:
            highest, inside = number, False
            continue
        late += 1
        sequences += not inside
        inside = True
    return Reordering(len(seen), late, sequences)
