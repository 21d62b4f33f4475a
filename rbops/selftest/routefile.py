"""The routes of a plan's route file, for choosing addresses among them."""

from __future__ import annotations

import csv
from pathlib import Path

from rbops.errors import UsageError, Where
from rbops.plan import ClusterPlan, Route

__all__ = ["read_routes"]

_COLUMNS = 2


def read_routes(plan: ClusterPlan) -> list[Route]:
    """The file's routes (``prefix,via`` lines) with port and adjacency; nothing without a file.

    A next hop that is not in the plan is skipped: the planner has refused it before. Raises
    UsageError when the file cannot be read any more.
    """
    if plan.routes.file is None:
        return []
    hops = {
        adjacency.address: (port.id, adjacency.index)
        for server in plan.servers
        for port in server.ports
        if port.id is not None
        for adjacency in port.adjacencies
    }
    found = []
    try:
        with Path(plan.routes.file).open(encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file):
                if len(row) < _COLUMNS or "/" not in row[0] or row[1].strip() not in hops:
                    continue
                if row[0].lstrip().startswith("#"):
                    continue
                via = row[1].strip()
                found.append(Route(row[0].strip(), *hops[via], via))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(str(error), code="selftest.route-file", where=Where(file=plan.routes.file)) from error
    return found
