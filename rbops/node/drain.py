"""Servers that this one sends nothing through: kept in a file, and told to the data plane whenever it is loaded."""

from __future__ import annotations

import json
from contextlib import suppress

from rbops.dataplane.base import Drainable, Plane
from rbops.errors import Mismatch, UsageError, Where
from rbops.node.schema import NodeConfig
from rbops.node.state import State, read_json, write_whole

__all__ = ["by_run", "change", "drained_of", "release", "renew"]


def drained_of(state: State, config: NodeConfig) -> list[int]:
    """The indexes of the servers that are left out; none any more when the cluster has another number of servers."""
    kept = read_json(state.drained) or {}
    if kept.get("servers") != config.dataplane.fabric.servers:
        return []
    return sorted(kept["drained"])


def change(
    plane: Plane, state: State, config: NodeConfig, server: int, *, drained: bool, run: str | None = None
) -> list[int]:
    """Leave ``server`` out, or not any more; those that are left out now. ``run``: only for as long as that run works.

    Raises UsageError (2) for a server that is not there, Mismatch (3) where the data plane cannot.
    """
    fabric, where = config.dataplane.fabric, Where(server=config.server)
    if not isinstance(plane, Drainable):
        raise Mismatch("the data plane has no intermediates that it could leave out", code="node.no-drain", where=where)
    if not 0 <= server < fabric.servers or server == fabric.server:
        raise UsageError(f"{server} is the index of no other server", code="node.drain-server", where=where)
    plane.set_drained(server, drained=drained)
    rest = {*drained_of(state, config)} - {server}
    now = sorted(rest | {server} if drained else rest)
    runs = {index: by for index, by in _runs(state).items() if index in rest}
    if drained and run:
        runs[server] = run
    record = {"servers": fabric.servers, "drained": now, "runs": {str(index): by for index, by in runs.items()}}
    write_whole(state.drained, json.dumps(record).encode())
    return now


def release(plane: Plane, state: State, config: NodeConfig, run: str) -> None:
    """Use again what a run left out that is gone."""
    for server in sorted({*drained_of(state, config)} & by_run(state, run)):
        change(plane, state, config, server, drained=False)


def by_run(state: State, run: str) -> frozenset[int]:
    """The servers that a run drained, and nobody else."""
    return frozenset(server for server, by in _runs(state).items() if by == run)


def _runs(state: State) -> dict[int, str]:
    """By which run a server was drained, where it was one."""
    return {int(index): run for index, run in (read_json(state.drained) or {}).get("runs", {}).items()}


def renew(plane: object, state: State, config: NodeConfig) -> None:
    """Tell a data plane that was loaded again."""
    if isinstance(plane, Drainable):
        with suppress(Mismatch):
            for server in drained_of(state, config):
                plane.set_drained(server, drained=True)
