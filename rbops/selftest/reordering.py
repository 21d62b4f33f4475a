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

RFC 4737's reordered ratio is late packets over packets; it is given as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Reordering", "measure"]


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
