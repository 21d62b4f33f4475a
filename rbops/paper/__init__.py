"""The paper's numbers beside rbops's own, computed now: what the table "paper / rbops" and the tests are made of."""

from __future__ import annotations

from rbops.paper import balancing, cluster, server
from rbops.paper.entry import Entry

__all__ = ["Entry", "entries"]


def entries() -> tuple[Entry, ...]:
    """Every number of the paper that is about servers or clusters, in the paper's order of parts.

    Takes about a second: the reordering experiment is simulated.
    """
    return (*server.entries(), *cluster.entries(), *balancing.entries())
