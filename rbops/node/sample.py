"""Everything that this server measures, read at one time: for ``rbops status`` and for the exporter."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from rbops import __version__
from rbops.dataplane.base import Plane
from rbops.errors import Mismatch
from rbops.node import fib, guard, queues, tunnelcounts
from rbops.node.lock import held
from rbops.node.schema import NodeConfig
from rbops.node.state import State, read_json
from rbops.node.system import System

__all__ = ["cpus", "take"]

_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat (proc(5)): user, nice, system, irq, softirq, steal."""
_SOFTIRQ = 6


def take(
    config: NodeConfig,
    names: Mapping[str, str],
    plane: Plane,
    system: System,
    state: State,
    daemon: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """One reading. ``names``: planned port -> device. ``daemon``: what the routing daemon says, where one is planned.

    ``at_s`` is of the monotonic clock, so that two readings give rates. ``counters`` is None while the data plane is
    not loaded; ``error`` says why.
    """
    found: dict[str, Any] = {
        "schema_version": 1,
        "program": __version__,
        "cluster": config.cluster,
        "digest": config.digest,
        "server": config.server,
        "index": config.index,
        "ports": [
            {"name": port.name, "kind": port.kind, "peer": port.peer, "rate_bps": port.rate_bps, "id": port.id}
            for port in config.ports
        ],
        "servers": _servers(config),
        "transaction": read_json(state.snapshot / "manifest.json") is not None,
        "lock": held(state) is not None,
        "restored": (guard.restored(state) or {"count": 0})["count"],
    }
    try:
        found["dataplane"] = plane.status()
        found["counters"] = plane.counters() if found["dataplane"]["loaded"] else None
    except Mismatch as error:
        found |= {"dataplane": {"loaded": False, "kind": config.dataplane.kind}, "counters": None, "error": str(error)}
    found["queues"] = queues.read(system, config, names)
    found["cpus"] = cpus(system, config)
    if (routes := fib.read_status()) is not None:
        found["routes"] = routes
    if daemon is not None:
        found["daemon"] = daemon
    if config.ipsec is not None:
        found["tunnels"] = tunnelcounts.read(config.ipsec)
    return {**found, "at_s": time.monotonic()}


def _servers(config: NodeConfig) -> dict[str, str]:
    """Index -> name, of this server and its neighbours."""
    near = {
        str(port.peer_server): port.peer.partition(":")[0]
        for port in config.ports
        if port.peer_server is not None and port.peer is not None
    }
    return {str(config.index): config.server, **near}


def cpus(system: System, config: NodeConfig) -> dict[str, dict[str, float]]:
    """Seconds since boot that each data-plane core was busy, and those of it in softirqs, where packets are."""
    tick = os.sysconf("SC_CLK_TCK")
    wanted = {f"cpu{core}": str(core) for core in config.cores}
    found = {}
    for line in (system.read("/proc/stat") or "").splitlines():
        name, *words = line.split()
        if name in wanted:
            columns = [int(word) for word in words]
            busy = sum(columns[at] for at in _BUSY)
            found[wanted[name]] = {"busy_s": busy / tick, "softirq_s": columns[_SOFTIRQ] / tick}
    return found
