"""The paper's reordering metric over arrays (6.2): how many same-flow packet sequences left reordered.

The same definition as the self-test's ``rbops.selftest.reordering``: a packet is *late* when a packet
of its flow that entered after it has left before it; a *reordered sequence* is an unbroken run of
late packets among a flow's departures (the paper's p1 p4 p2 p3 p5 has one); the *fraction* is
reordered sequences over packets that left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.vlb.order import grouped

__all__ = ["Reordering", "measure"]

Ints = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Reordering:
    """Counts over all flows: packets that left, late ones, reordered sequences."""

    packets: int
    late: int
    sequences: int

    @property
    def fraction(self) -> float:
        """Reordered sequences over packets, 0 to 1; 0 without packets."""
        return self.sequences / self.packets if self.packets else 0.0


def measure(flow: Ints, left: Ints) -> Reordering:
    """The metric of packets given in the order in which they entered.

    ``flow`` their flows' numbers, ``left`` when they left (any integer clock; equal: in order of entry).
    """
    count = len(flow)
    if not count:
        return Reordering(0, 0, 0)
    order = grouped(flow)
    flows = flow[order].astype(np.int64)
    # Packets by flow, then entry; sorting them by flow and departure leaves most where they are.
    departures = _by_departure(flows, left[order].astype(np.int64))
    # Flows lie one behind the other, so one running maximum serves all.
    late = departures < np.maximum.accumulate(departures)
    begins = late.copy()
    begins[1:] &= ~(late[:-1] & (flows[1:] == flows[:-1]))
    return Reordering(count, int(late.sum()), int(begins.sum()))


def _by_departure(flows: npt.NDArray[np.int64], left: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    left -= left.min()
    apart = int(left.max()) + 1
    if apart * (int(flows[-1]) + 1) >= 1 << 62:
        return np.lexsort((left, flows))
    left += flows * apart
    return np.argsort(left, kind="stable")
