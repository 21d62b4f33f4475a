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

from rbops.vlb.compiled import compiled

__all__ = ["Reordering", "measure"]

Ints = npt.NDArray[np.signedinteger[Any]]
Bools = npt.NDArray[np.bool_]


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
    overtaken = np.zeros(int(flow.max(initial=0)) + 1, dtype=np.bool_)
    _overtaken(flow, left, overtaken)
    # Most flows keep their order: only the others are sorted.
    concerned = np.flatnonzero(overtaken[flow])
    flows = flow[concerned]
    order = np.lexsort((left[concerned], flows))  # stable: of equal ones the earlier first
    flows = flows[order]
    late = np.zeros(len(order), dtype=np.bool_)
    _late(flows, order, late)
    begins = late.copy()
    begins[1:] &= ~(late[:-1] & (flows[1:] == flows[:-1]))
    return Reordering(len(flow), int(late.sum()), int(begins.sum()))


@compiled
def _overtaken(flow: Ints, left: Ints, overtaken: Bools) -> None:
    """Mark flows with a packet that left before an earlier one of theirs."""
    latest = np.zeros(len(overtaken), dtype=np.int64)
    for packet in range(len(flow)):
        if left[packet] < latest[flow[packet]]:
            overtaken[flow[packet]] = True
        else:
            latest[flow[packet]] = left[packet]


@compiled
def _late(flows: Ints, entered: Ints, late: Bools) -> None:
    """Mark departures, sorted by flow and time, that one of their flow which ``entered`` later has overtaken."""
    newest = -1
    for packet in range(len(flows)):
        if packet and flows[packet] != flows[packet - 1]:
            newest = -1
        late[packet] = entered[packet] < newest
        newest = max(newest, entered[packet])
