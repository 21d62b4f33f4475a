"""The outputs of the look-up: one for each port and neighbour of the router, numbered alike on every server."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.plan import PUNT, ClusterPlan

__all__ = ["FIRST", "NO_HOST", "NO_ROUTE", "Outputs", "outputs"]

NO_ROUTE, NO_HOST, FIRST = 0, 1, 2
"""What matches no route; what is no host's address; the first port's kernel."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """``numbers``: (external port, adjacency) -> output of the look-up, in order; ``count`` outputs in all."""

    numbers: dict[tuple[int, int], int]

    @property
    def count(self) -> int:
        """How many outputs the look-up has."""
        return FIRST + len(self.numbers)


def outputs(plan: ClusterPlan) -> Outputs:
    """Every port has an output for its owner's kernel and ARP (adjacency 0), and one for each neighbour.

    They do not depend on routes: a change of routes alone leaves every server's configuration as it is.
    """
    near = {port.id: port.adjacencies for s in plan.servers for port in s.ports if port.id is not None}
    pairs = [(port, index) for port in sorted(near) for index in (PUNT, *(a.index for a in near[port]))]
    return Outputs({pair: FIRST + number for number, pair in enumerate(pairs)})
