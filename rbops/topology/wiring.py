"""Which server is cabled to which: the full mesh, and the k-ary n-fly stage by stage (paper 3.3).

The fly. Port servers are column 0, the intermediate servers columns 1 to n, with M servers each;
cables run from column i to column i+1 and from column n back to column 0. Transition i gives every
server ``fanout[i]`` cables and is the generalised perfect shuffle: port j of server a leads to
server ``(fanout[i] * a + j) mod M`` of the next column, at its port ``(fanout[i] * a + j) div M``.
That is a bijection between the two columns' ports for every M; for M a power of the fan-out it is
the omega network, which is the k-ary n-fly up to the numbering of its servers.

After all n+1 transitions a packet can have reached every server of column 0 over equally many
paths (or one more), so that the fly carries each link of VLB's logical mesh, and VLB's two phases
are two rounds through it. Cables carry both directions: half of the traffic goes round forwards,
half backwards, which loads all k ports of a server with 2sR/k where both sides have k/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Cable", "fly_cables", "fly_fanouts", "fly_stages", "imbalance", "mesh_cables"]

_SMALLEST = 2


class Cable(NamedTuple):
    """A cable between servers ``a`` and ``b`` (indexes)."""

    a: int
    b: int


def mesh_cables(servers: int, parallel: int = 1) -> Iterator[Cable]:
    """Every pair of servers joined by ``parallel`` cables."""
    for a in range(servers):
        for b in range(a + 1, servers):
            for _ in range(parallel):
                yield Cable(a, b)


def fly_stages(servers: int, degree: int) -> int:
    """The paper's n = ceil(log_k M): the intermediate servers per port server."""
    stages, reach = 1, degree
    while reach < servers:
        stages, reach = stages + 1, reach * degree
    return stages


def fly_fanouts(servers: int, degree: int) -> tuple[int, ...] | None:
    """Cables per server and transition, n+1 numbers; None when ``degree`` ports cannot make a fly.

    Neighbouring transitions share a server's ports, so they add up to ``degree`` at most. n is the
    paper's unless that few ports do not reach every server both ways: then it grows.
    """
    low, high = degree // 2, degree - degree // 2
    if high < _SMALLEST:
        return None
    for stages in range(fly_stages(servers, degree), 2 * servers.bit_length() + 2):
        uneven = low != high and low >= 1 and stages % 2 == 1
        fanouts = (high, low) * ((stages + 1) // 2) if uneven else (low,) * (stages + 1)
        if math.prod(fanouts) >= servers:
            return fanouts
    return None


def imbalance(servers: int, fanouts: tuple[int, ...]) -> float:
    """How much more than its even share the busiest link carries at most, as a factor from 1 to 2.

    Pairs of servers have floor or ceil of (paths / M) paths; only when both occur is it above 1.
    """
    paths = math.prod(fanouts)
    return paths / servers / (paths // servers)


def fly_cables(servers: int, fanouts: tuple[int, ...]) -> Iterator[Cable]:
    """All cables, transition by transition; server ``a`` of column i has index ``i * M + a``."""
    columns = len(fanouts)
    for column, fanout in enumerate(fanouts):
        here, there = column * servers, (column + 1) % columns * servers
        for a in range(servers):
            for j in range(fanout):
                yield Cable(here + a, there + (fanout * a + j) % servers)
