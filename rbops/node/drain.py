"""Servers that this one sends nothing through: kept in a file, and told to the data plane whenever it is loaded.

A change that gives the cluster another number of servers holds newcomers back: they are left out from the first packet
of the new number on. It is settled with the change's confirmation, or undone with its revert.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from rbops.dataplane.base import Drainable, Plane
from rbops.errors import Mismatch, UsageError, Where
from rbops.node.schema import NodeConfig
from rbops.node.state import State, read_json, write_whole

__all__ = ["by_others", "change", "drained_of", "hold", "release", "renew", "settle", "sync", "undo"]


def drained_of(state: State, config: NodeConfig) -> list[int]:
    """The indexes of the servers that are left out; of a cluster with another number of servers than before, those
    that its change holds.
    """
    for path in (state.drained, state.held):
        kept = read_json(path) or {}
        if kept.get("servers") == config.dataplane.fabric.servers:
            return sorted(kept["drained"])
    return []


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
    """Use again what other runs left out: they are gone, as ``run`` has this server now."""
    for server in sorted({*drained_of(state, config)} & by_others(state, run)):
        change(plane, state, config, server, drained=False)


def hold(plane: Plane, state: State, config: NodeConfig, run: str, servers: int, newcomers: Iterable[int]) -> list[int]:
    """As soon as the cluster has ``servers`` servers leave out ``newcomers``, and those that are left out now."""
    now = [server for server in drained_of(state, config) if server < servers]
    left_out = sorted({*now, *newcomers} - {config.dataplane.fabric.server})
    record = {"run": run, "servers": servers, "drained": left_out, "before": read_json(state.drained)}
    write_whole(state.held, json.dumps(record).encode())
    if servers == config.dataplane.fabric.servers:
        for server in set(left_out) - set(now):
            change(plane, state, config, server, drained=True, run=run)
    return left_out


def settle(state: State, config: NodeConfig) -> None:
    """With the confirmation: what is left out is that of the present number of servers."""
    held = read_json(state.held)
    if held is None:
        return
    kept = {"servers": config.dataplane.fabric.servers, "drained": drained_of(state, config), "runs": {}}
    if (read_json(state.drained) or {}).get("servers") != kept["servers"]:
        write_whole(state.drained, json.dumps(kept).encode())
    state.held.unlink(missing_ok=True)


def undo(state: State, run: str | None, *, keep: bool = False) -> bool:
    """Before a revert: what was left out before the change of ``run``, or of any. Whether it held something.

    ``keep``: and the servers that the change was about to remove, until the run uses them again.
    """
    held = read_json(state.held)
    if held is None or run not in (None, held["run"]):
        return False
    before, now = held["before"], read_json(state.drained)
    if keep and now is not None and now["servers"] != held["servers"]:
        before = _with_those_of(held["run"], now, before)
    with suppress(OSError):  # a full disk keeps no server from going back
        if before is None:
            state.drained.unlink(missing_ok=True)
        else:
            write_whole(state.drained, json.dumps(before).encode())
        state.held.unlink(missing_ok=True)
    return True


def _with_those_of(run: str, now: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The earlier record, and what the run has drained since."""
    same = before is not None and before["servers"] == now["servers"]
    drained, runs = (set(before["drained"]), before["runs"]) if before is not None and same else (set(), {})
    mine = {index: by for index, by in now["runs"].items() if by == run and int(index) not in drained}
    return {
        "servers": now["servers"],
        "drained": sorted(drained | {int(index) for index in mine}),
        "runs": {**runs, **mine},
    }


def sync(plane: object, state: State, config: NodeConfig) -> None:
    """Tell a data plane of every server whether it is left out."""
    fabric, left_out = config.dataplane.fabric, drained_of(state, config)
    if isinstance(plane, Drainable):
        with suppress(Mismatch):
            for server in {*range(fabric.servers)} - {fabric.server}:
                plane.set_drained(server, drained=server in left_out)


def by_others(state: State, run: str) -> frozenset[int]:
    """The servers that other runs than ``run`` drained, and no operator."""
    return frozenset(server for server, by in _runs(state).items() if by != run)


def _runs(state: State) -> dict[int, str]:
    """By which run a server was drained, where it was one."""
    return {int(index): run for index, run in (read_json(state.drained) or {}).get("runs", {}).items()}


def renew(plane: object, state: State, config: NodeConfig) -> None:
    """Tell a data plane that was loaded again."""
    if isinstance(plane, Drainable):
        with suppress(Mismatch):
            for server in drained_of(state, config):
                plane.set_drained(server, drained=True)
